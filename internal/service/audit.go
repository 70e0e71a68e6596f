package service

import (
	"context"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// ListAudit narrows the audit log.
type ListAudit struct {
	Environment string `json:"environment,omitempty" doc:"only changes of one"`
	Subject     string `json:"subject,omitempty" doc:"the key or id of what was changed"`
	Actor       string `json:"actor,omitempty" doc:"who changed it"`
	After       int64  `json:"after,omitempty" minimum:"0" doc:"only entries after this one, oldest first"`
	Before      int64  `json:"before,omitempty" minimum:"0" doc:"only entries before this one, newest first"`
	Limit       int    `json:"limit,omitempty" minimum:"0" maximum:"1000" doc:"how many at most (default 50)"`
}

// Audit is a part of the audit log.
type Audit struct {
	Entries []flyball.AuditEntry `json:"entries"`
}

// ListAudit lists who changed what, when and why: newest first, or from After
// on, oldest first. A token that is limited to some flags sees the changes of
// those.
func (s *Service) ListAudit(ctx context.Context, in ListAudit) (out Audit, err error) {
	p, err := principalOf(ctx)
	if err != nil {
		return out, err
	}
	if in.Limit == 0 {
		in.Limit = 50
	}
	out.Entries = []flyball.AuditEntry{}
	which := store.AuditFilter{
		Environment: in.Environment, Subject: in.Subject, Actor: flyball.ActorID(in.Actor),
		AfterSeq: in.After, BeforeSeq: in.Before, Limit: in.Limit, OldestFirst: in.After > 0,
	}
	for len(out.Entries) < in.Limit {
		var found []flyball.AuditEntry
		err := s.db.View(ctx, func(tx *store.Tx) (err error) {
			found, err = tx.Audit(which)
			return err
		})
		if err != nil {
			return Audit{}, err
		}
		for _, e := range found {
			if which.AfterSeq, which.BeforeSeq = after(which, e.Seq); len(out.Entries) < in.Limit && p.sees(e) {
				out.Entries = append(out.Entries, e)
			}
		}
		if len(found) < which.Limit {
			break
		}
	}
	return out, nil
}

// after returns the bounds of a filter that goes on after an entry.
func after(which store.AuditFilter, seq int64) (afterSeq, beforeSeq int64) {
	if which.OldestFirst {
		return seq, which.BeforeSeq
	}
	return which.AfterSeq, seq
}

// sees says whether a principal may read an audit entry: all that it tells of
// must concern flags that it may touch.
func (p Principal) sees(e flyball.AuditEntry) bool {
	if len(p.Flags) == 0 {
		return true
	}
	for _, edit := range e.Edits {
		switch edit.Noun {
		case "flag", "config":
			if p.may(edit.Key) != nil {
				return false
			}
		case "rollout": // of the flag that the entry is about
		default:
			return false
		}
	}
	return p.may(e.Subject) == nil
}
