package service

import (
	"context"
	"path"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// ListAudit narrows the audit log.
type ListAudit struct {
	Environment string        `json:"environment,omitempty" doc:"only changes of one"`
	Subject     string        `json:"subject,omitempty" doc:"the key or id of what was changed"`
	Actor       string        `json:"actor,omitempty" doc:"who changed it"`
	Action      string        `json:"action,omitempty" maxLength:"128" doc:"what was done: an action, or a glob such as flag.* or rollout.*" example:"flag.kill"`
	From        *flyball.Time `json:"from,omitempty" doc:"only entries of this time on" example:"2026-11-21T19:00:00Z"`
	To          *flyball.Time `json:"to,omitempty" doc:"only entries before this time"`
	After       int64         `json:"after,omitempty" minimum:"0" doc:"only entries after this one, oldest first"`
	Before      int64         `json:"before,omitempty" minimum:"0" doc:"only entries before this one, newest first"`
	Limit       int           `json:"limit,omitempty" minimum:"0" maximum:"1000" doc:"how many at most (default 50)"`
}

// Audit is a part of the audit log.
type Audit struct {
	Entries []flyball.AuditEntry `json:"entries"`
	More    bool                 `json:"more,omitempty" doc:"whether there are further entries"`
	Next    int64                `json:"next,omitempty" doc:"where they go on: the value of before, or of after if that was given"`
}

// maxAuditBytes is how much of the audit log is told at once: an entry may hold a
// segment of a hundred thousand, before and after.
const maxAuditBytes = 16 << 20

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
	if _, err := path.Match(in.Action, ""); err != nil {
		return out, flyball.FieldErrorf("action", "%q is neither an action, such as flag.kill, nor a glob, such as flag.*", in.Action)
	}
	out.Entries = []flyball.AuditEntry{}
	which := store.AuditFilter{
		Environment: in.Environment, Subject: in.Subject, Actor: flyball.ActorID(in.Actor), Action: in.Action,
		AfterSeq: in.After, BeforeSeq: in.Before, Limit: in.Limit, Bytes: maxAuditBytes, OldestFirst: in.After > 0,
	}
	if in.From != nil {
		which.From = in.From.Time
	}
	if in.To != nil {
		which.To = in.To.Time
	}
	which.Limit++ // one more tells whether there are more
	bytes := 0
	for !out.More {
		var found []flyball.AuditEntry
		err := s.db.View(ctx, func(tx *store.Tx) (err error) {
			found, err = tx.Audit(which)
			return err
		})
		if err != nil {
			return Audit{}, err
		}
		read := 0
		for _, e := range found {
			read += store.Size(e)
			which.AfterSeq, which.BeforeSeq = after(which, e.Seq)
			if !p.sees(e) {
				continue
			}
			if out.More = len(out.Entries) == in.Limit || bytes >= maxAuditBytes; out.More {
				out.Next = out.Entries[len(out.Entries)-1].Seq
				break
			}
			out.Entries = append(out.Entries, e)
			bytes += store.Size(e)
		}
		if len(found) < which.Limit && read < maxAuditBytes {
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
