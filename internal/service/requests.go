package service

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// Limits of requests for approval.
const (
	maxOpen        = 100      // by one proposer
	maxOpenBytes   = 32 << 20 // of them all together
	maxStoredEdits = 1 << 20  // bytes; what is larger is told by its difference alone
)

// propose keeps a planned change for others to approve.
func (s *Service) propose(ctx context.Context, p Principal, c changeOf, m *Manner) error {
	plan := *m.Plan()
	if plan.Refused != "" {
		return flyball.Errorf(flyball.Forbidden, "%s", plan.Refused).With("risk", plan.Risk)
	}
	if body, err := json.Marshal(plan.Edits); err != nil || len(body) > maxStoredEdits {
		plan.Edits = []flyball.Edit{}
	}
	r := flyball.ChangeRequest{
		ID: newID(6), Operation: m.Propose.Operation, Flag: c.flag, Plan: plan, Proposer: p.Actor, Reason: c.reason, State: flyball.RequestOpen,
	}
	var err error
	if r.Input, err = s.keep(*m.Propose, r.ID); err != nil {
		return err
	}
	_, err = s.change(WithManner(ctx, usual), changeOf{
		access: c.access, action: "change.propose", subject: plan.Subject, flag: c.flag, reason: c.reason,
		apply: func(e *edit) error {
			policy, err := policyOf(e.tx)
			if err != nil {
				return err
			}
			n, bytes, err := e.tx.CountOpen(p.ID, e.at)
			if err != nil {
				return err
			}
			if n >= maxOpen || n > 0 && bytes+int64(len(r.Input)) > maxOpenBytes {
				return flyball.Errorf(flyball.Conflict, "%s has %d open changes, and no more are kept: take some back (flyball change reject)", p.ID, n)
			}
			r.CreatedAt, r.ExpiresAt = e.at, e.at.Add(policy.TTL.Std())
			told := map[string]any{"operation": r.Operation, "action": plan.Action, "digest": plan.Digest, "risk": plan.Risk, "needs": plan.Needs, "difference": plan.Difference}
			if _, err := e.record("change", r.ID, placeOf(plan), nil, told); err != nil {
				return err
			}
			return e.tx.InsertChangeRequest(r)
		},
	})
	if err == nil {
		m.requested(&r)
	}
	return err
}

// A sealedInput is an input that holds secrets.
type sealedInput struct {
	Sealed []byte `json:"sealed"`
}

// keep returns an input as it is kept: sealed, if it holds secrets.
func (s *Service) keep(p Proposal, id string) (json.RawMessage, error) {
	if !p.Secret {
		return p.Input, nil
	}
	if s.seal == nil {
		return nil, flyball.Errorf(flyball.Unavailable, "this server has no key to keep secrets with")
	}
	sealed, err := s.seal.Seal(p.Input, "change "+id)
	if err != nil {
		return nil, err
	}
	return json.Marshal(sealedInput{sealed})
}

// InputOf returns what a capability is run with when a request is applied.
func (s *Service) InputOf(r flyball.ChangeRequest) (json.RawMessage, error) {
	return s.opened(r.Input, r.ID)
}

// opened returns an input that was kept under an id.
func (s *Service) opened(kept json.RawMessage, id string) (json.RawMessage, error) {
	var in sealedInput
	if json.Unmarshal(kept, &in) != nil || in.Sealed == nil || s.seal == nil {
		return kept, nil
	}
	return s.seal.Open(in.Sealed, "change "+id)
}

// use spends a request's approvals on the change in hand, which must be exactly
// the one that was approved, by enough people who may approve it now.
func (e *edit) use(id string, p *flyball.Plan) error {
	r, err := e.requestIn(id, flyball.RequestOpen)
	if err != nil {
		return err
	}
	if r.Plan.Digest != p.Digest {
		return flyball.Errorf(flyball.Conflict, "what %s would change has been changed since it was proposed, so its approvals are void: propose it again", id).
			With("digest", p.Digest).With("proposed", r.Plan.Digest)
	}
	valid, void := []flyball.Approval{}, []string{}
	for _, a := range r.Approvals {
		switch why, err := e.mayApprove(a.By, r.ChangeRequest, p.Needs.From); {
		case err != nil:
			return err
		case why != "" || a.Digest != p.Digest:
			void = append(void, fmt.Sprintf("%s: %s", a.By, orElse(why, "approved something else")))
		default:
			valid = append(valid, a)
		}
	}
	if len(valid) < p.Needs.Number {
		return flyball.Errorf(flyball.Forbidden, "change %s has %d of the %s that it needs, from %s", id, len(valid), people(p.Needs.Number), inWords(p.Needs.From)).
			With("needs", p.Needs).With("approvals", valid).With("void", void)
	}
	r.Approvals, r.State = valid, flyball.RequestApplied
	r.AppliedBy, r.AppliedAt, r.AppliedAs = e.principal.ID, &flyball.Time{Time: e.at}, e.manner.Said
	e.request = &r.ChangeRequest
	return e.tx.UpdateChangeRequest(r)
}

// requestIn returns a request that is in a state; any other is a conflict.
func (e *edit) requestIn(id string, want flyball.RequestState) (store.RequestRecord, error) {
	r, err := e.tx.ChangeRequest(id)
	if err != nil {
		return r, err
	}
	state := stateOf(r.ChangeRequest, e.at)
	switch {
	case state == want:
		return r, nil
	case want == flyball.RequestReview:
		return r, flyball.Errorf(flyball.Conflict, "change %s is %s: there is nothing to review", id, state).With("state", state)
	case state == flyball.RequestReview:
		return r, flyball.Errorf(flyball.Conflict, "change %s was made already, by breaking the glass: look at it (flyball change review %s)", id, id).With("state", state)
	}
	return r, flyball.Errorf(flyball.Conflict, "change %s is %s: propose it again", id, state).With("state", state)
}

func stateOf(r flyball.ChangeRequest, now time.Time) flyball.RequestState {
	if r.State == flyball.RequestOpen && !now.Before(r.ExpiresAt) {
		return flyball.RequestExpired
	}
	return r.State
}

// inWords tells what somebody must be.
func inWords(from []flyball.Grant) string {
	text := ""
	for i, g := range from {
		if i > 0 {
			text += " and "
		}
		if text += "the role " + string(g.Role); g.Team != "" {
			text += " for team " + g.Team
		}
		if g.Environment != "" {
			text += " in " + g.Environment
		}
	}
	return text
}

// ListChanges narrows the requests for approval.
type ListChanges struct {
	All    bool   `json:"all,omitempty" doc:"those that are decided or expired too"`
	Before string `json:"before,omitempty" doc:"only those that come after this one in the list, by its id"`
	Limit  int    `json:"limit,omitempty" minimum:"0" maximum:"1000" doc:"how many at most (default 50)"`
}

// Changes are requests for approval in brief: those to be reviewed first, then
// the latest first.
type Changes struct {
	Changes []flyball.ChangeRequest `json:"changes"`
	More    bool                    `json:"more,omitempty" doc:"whether there are further ones"`
	Next    string                  `json:"next,omitempty" doc:"where they go on: the value of before"`
}

// ListChanges lists requests for approval in brief: those to be reviewed first,
// then the latest first.
func (s *Service) ListChanges(ctx context.Context, in ListChanges) (Changes, error) {
	out := Changes{Changes: []flyball.ChangeRequest{}}
	p, err := principalOf(ctx)
	if err != nil {
		return out, err
	}
	if in.Limit == 0 {
		in.Limit = 50
	}
	at, before := now(), in.Before
	err = s.db.View(ctx, func(tx *store.Tx) error {
		if _, err := tx.ChangeRequest(before); before != "" && err != nil {
			return flyball.FieldErrorf("before", "there is no change %q", before)
		}
		for {
			all, err := tx.ChangeRequests(!in.All, at, before, in.Limit+1) // one more tells whether there are more
			if err != nil {
				return err
			}
			for _, r := range all {
				if before = r.ID; p.may(r.Flag) != nil {
					continue
				}
				if out.More = len(out.Changes) == in.Limit; out.More {
					out.Next = out.Changes[in.Limit-1].ID
					return nil
				}
				r.State = stateOf(r.ChangeRequest, at)
				out.Changes = append(out.Changes, r.ChangeRequest)
			}
			if len(all) <= in.Limit {
				return nil
			}
		}
	})
	return out, err
}

// ChangeID names a request for approval.
type ChangeID struct {
	ID string `json:"id" doc:"the change's id"`
}

// Change returns a request for approval.
func (s *Service) Change(ctx context.Context, in ChangeID) (out flyball.ChangeRequest, err error) {
	p, err := principalOf(ctx)
	if err != nil {
		return out, err
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		r, err := tx.ChangeRequest(in.ID)
		out = r.ChangeRequest
		return err
	})
	if err == nil {
		err = p.may(out.Flag)
	}
	if err != nil {
		return flyball.ChangeRequest{}, err
	}
	out.State = stateOf(out, time.Now())
	return out, nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
