package service

import (
	"context"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// propose keeps a planned change for others to approve.
func (s *Service) propose(ctx context.Context, p Principal, c changeOf, m *Manner, what Proposal) error {
	plan := m.Plan()
	if plan.Refused != "" {
		return flyball.Errorf(flyball.Forbidden, "%s", plan.Refused)
	}
	r := flyball.ChangeRequest{
		ID: newID(6), Operation: what.Operation, Input: what.Input, Plan: *plan, Proposer: p.Actor, Reason: c.reason, State: flyball.RequestOpen,
	}
	_, err := s.change(WithManner(ctx, usual), changeOf{
		access: Write, action: "change.propose", subject: r.ID, flag: c.flag, reason: c.reason,
		apply: func(e *edit) error {
			policy, err := policyOf(e.tx)
			if err != nil {
				return err
			}
			r.CreatedAt, r.ExpiresAt = e.at, e.at.Add(policy.TTL.Std())
			if _, err := e.record("change", r.ID, "", nil, map[string]any{"operation": r.Operation, "subject": plan.Subject, "digest": plan.Digest}); err != nil {
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

// use spends a request's approvals on the change in hand, which must be exactly
// the one that was approved, by enough people who may approve it now.
func (e *edit) use(id string, p *flyball.Plan) error {
	r, err := e.open(id)
	if err != nil {
		return err
	}
	if r.Plan.Digest != p.Digest {
		return flyball.Errorf(flyball.Conflict, "what %s would change has been changed since it was proposed, so its approvals are void: propose it again", id).
			With("digest", p.Digest).With("proposed", r.Plan.Digest)
	}
	var valid []flyball.Approval
	for _, a := range r.Approvals {
		if why, err := e.mayApprove(a.By, r.ChangeRequest, p.Needs.From); err != nil {
			return err
		} else if why == "" && a.Digest == p.Digest {
			valid = append(valid, a)
		}
	}
	if len(valid) < p.Needs.Number {
		return flyball.Errorf(flyball.Forbidden, "%s has %d valid approvals of %d", id, len(valid), p.Needs.Number).With("needs", p.Needs).With("approvals", valid)
	}
	r.Approvals, r.State = valid, flyball.RequestApplied
	r.AppliedBy, r.AppliedAt = e.principal.ID, &flyball.Time{Time: e.at}
	e.request = &r.ChangeRequest
	return e.tx.UpdateChangeRequest(r)
}

// open returns a request that can still be decided.
func (e *edit) open(id string) (store.RequestRecord, error) {
	r, err := e.tx.ChangeRequest(id)
	if err != nil {
		return r, err
	}
	if state := stateOf(r.ChangeRequest, e.at); state != flyball.RequestOpen {
		return r, flyball.Errorf(flyball.Conflict, "change %s is %s: propose it again", id, state).With("state", state)
	}
	return r, nil
}

func stateOf(r flyball.ChangeRequest, now time.Time) flyball.RequestState {
	if r.State == flyball.RequestOpen && !now.Before(r.ExpiresAt) {
		return flyball.RequestExpired
	}
	return r.State
}

// mayApprove says why somebody may not approve a request; "" if they may. It is
// asked when they approve, and again when the change is made.
func (e *edit) mayApprove(who flyball.ActorID, r flyball.ChangeRequest, from []flyball.Grant) (why string, err error) {
	if who.Kind() != "user" {
		return "only people approve", nil
	}
	if who == r.Proposer.ID || who == r.Proposer.OnBehalfOf {
		return "nobody approves what they proposed themselves, or through an agent", nil
	}
	if r.Proposer.Token != "" {
		t, _, err := e.tx.TokenByID(r.Proposer.Token)
		if err == nil && (t.CreatedBy == who && t.Actor.Kind() != "user" || t.Actor == who) {
			return "nobody approves what was proposed with a token that they answer for", nil
		}
		if err != nil && flyball.CodeOf(err) != flyball.NotFound {
			return "", err
		}
	}
	grants, err := e.grantsOf(who)
	if err != nil {
		return "", err
	}
	for _, g := range from {
		if !grants.Allow(g.Role, g.Environment, g.Team) {
			return "it takes the role approver in " + g.Environment + " for team " + g.Team, nil
		}
	}
	return "", nil
}

// ListChanges narrows the requests for approval.
type ListChanges struct {
	All   bool `json:"all,omitempty" doc:"those that are decided or expired too"`
	Limit int  `json:"limit,omitempty" minimum:"0" maximum:"1000" doc:"how many at most (default 50)"`
}

// Changes are requests for approval, the latest first.
type Changes struct {
	Changes []flyball.ChangeRequest `json:"changes"`
}

// ListChanges lists requests for approval, the latest first.
func (s *Service) ListChanges(ctx context.Context, in ListChanges) (Changes, error) {
	out := Changes{Changes: []flyball.ChangeRequest{}}
	p, err := principalOf(ctx)
	if err != nil {
		return out, err
	}
	if in.Limit == 0 {
		in.Limit = 50
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		all, err := tx.ChangeRequests(!in.All, in.Limit)
		for _, r := range all {
			r.State = stateOf(r.ChangeRequest, time.Now())
			if (in.All || r.State == flyball.RequestOpen || r.State == flyball.RequestReview) && p.may(r.Plan.Subject) == nil {
				out.Changes = append(out.Changes, r.ChangeRequest)
			}
		}
		return err
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
		err = p.may(out.Plan.Subject)
	}
	if err != nil {
		return flyball.ChangeRequest{}, err
	}
	out.State = stateOf(out, time.Now())
	return out, nil
}

// DecideChange is a person's decision on a request.
type DecideChange struct {
	ID     string `json:"id" doc:"the change's id"`
	Digest string `json:"digest,omitempty" doc:"the digest of what you looked at; another one is a conflict"`
	Reason string `json:"reason" doc:"what you looked at, or why not"`
}

// ApproveChange gives one person's consent to exactly what was proposed.
func (s *Service) ApproveChange(ctx context.Context, in DecideChange) (flyball.ChangeRequest, error) {
	return s.decide(ctx, "change.approve", in, func(e *edit, r *flyball.ChangeRequest) error {
		why, err := e.mayApprove(e.principal.ID, *r, r.Plan.Needs.From)
		if err != nil {
			return err
		}
		for _, g := range r.Plan.Needs.From { // the token that they use may be narrower than they are
			if why == "" && !e.principal.allows(g.Role, g.Environment, g.Team) {
				why = "this token does not give the role approver in " + g.Environment + " for team " + g.Team
			}
		}
		if e.principal.Kind == flyball.TokenAgent || why != "" {
			return flyball.Errorf(flyball.Forbidden, "%s may not approve %s: %s", e.principal.ID, r.ID, orElse(why, "only people approve"))
		}
		if slices.ContainsFunc(r.Approvals, func(a flyball.Approval) bool { return a.By == e.principal.ID }) {
			return nil
		}
		r.Approvals = append(slices.Clone(r.Approvals), flyball.Approval{By: e.principal.ID, At: e.at, Digest: r.Plan.Digest, Reason: in.Reason})
		return nil
	})
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// RejectChange ends a request: its proposer takes it back, or somebody who might
// have approved it does not.
func (s *Service) RejectChange(ctx context.Context, in DecideChange) (flyball.ChangeRequest, error) {
	return s.decide(ctx, "change.reject", in, func(e *edit, r *flyball.ChangeRequest) error {
		if e.principal.ID != r.Proposer.ID {
			if why, err := e.mayApprove(e.principal.ID, *r, r.Plan.Needs.From); err != nil {
				return err
			} else if why != "" {
				return flyball.Errorf(flyball.Forbidden, "%s may not reject %s: %s", e.principal.ID, r.ID, why)
			}
		}
		r.State, r.RejectedBy, r.RejectedAs = flyball.RequestRejected, e.principal.ID, in.Reason
		return nil
	})
}

func (s *Service) decide(ctx context.Context, action string, in DecideChange, alter func(*edit, *flyball.ChangeRequest) error) (flyball.ChangeRequest, error) {
	_, err := s.change(ctx, changeOf{
		access: Approve, action: action, subject: in.ID, reason: in.Reason,
		apply: func(e *edit) error {
			r, err := e.open(in.ID)
			if err != nil {
				return err
			}
			if err := e.principal.may(r.Plan.Subject); err != nil {
				return err
			}
			if in.Digest != "" && in.Digest != r.Plan.Digest {
				return flyball.Errorf(flyball.Conflict, "change %s is another than you looked at: read it again", in.ID).With("digest", r.Plan.Digest)
			}
			before := r.ChangeRequest
			if err := alter(e, &r.ChangeRequest); err != nil {
				return err
			}
			if changed, err := e.record("change", in.ID, "", brieflyOf(before), brieflyOf(r.ChangeRequest)); err != nil || !changed {
				return err
			}
			return e.tx.UpdateChangeRequest(r)
		},
	})
	if err != nil {
		return flyball.ChangeRequest{}, err
	}
	return s.Change(ctx, ChangeID{ID: in.ID})
}

// brieflyOf is what the audit log keeps of a decision; the plan stands in the
// entry of the change itself.
func brieflyOf(r flyball.ChangeRequest) any {
	return map[string]any{"state": r.State, "approvals": r.Approvals, "rejectedBy": r.RejectedBy, "digest": r.Plan.Digest}
}
