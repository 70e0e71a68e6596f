package service

import (
	"context"
	"slices"

	"github.com/flyballdev/flyball"
)

// mayApprove says why somebody may not approve a request; "" if they may. It is
// asked when they approve, and again when the change is made.
func (e *edit) mayApprove(who flyball.ActorID, r flyball.ChangeRequest, from []flyball.Grant) (why string, err error) {
	if who.Kind() != "user" {
		return "only people approve", nil
	}
	parties, err := e.parties(r.Proposer)
	switch {
	case err != nil:
		return "", err
	case who == r.Proposer.ID || who == r.Proposer.OnBehalfOf:
		return "nobody approves what they proposed themselves, or through an agent", nil
	case slices.Contains(parties, who):
		return "nobody approves what was proposed with a token that they answer for", nil
	}
	grants, err := e.grantsOf(who)
	if err != nil {
		return "", err
	}
	for _, g := range from {
		if !grants.Allow(g.Role, g.Environment, g.Team) {
			return "it takes " + inWords([]flyball.Grant{g}), nil
		}
	}
	return "", nil
}

// parties are those who count as one with whoever did something: they themselves,
// the person behind an agent, and who made the token of an agent or a service.
func (e *edit) parties(of flyball.Actor) ([]flyball.ActorID, error) {
	all := []flyball.ActorID{of.ID}
	if of.OnBehalfOf != "" {
		all = append(all, of.OnBehalfOf)
	}
	if of.Token == "" || of.ID.Kind() == "user" {
		return all, nil
	}
	t, _, err := e.tx.TokenByID(of.Token)
	if flyball.CodeOf(err) == flyball.NotFound {
		return all, nil
	}
	return append(all, t.CreatedBy), err
}

// DecideChange is a person's decision on a request.
type DecideChange struct {
	ID     string `json:"id" doc:"the change's id"`
	Digest string `json:"digest,omitempty" doc:"the digest of what you looked at; another one is a conflict"`
	Reason string `json:"reason" doc:"what you looked at, or why not"`
}

// ApproveChange gives one person's consent to exactly what was proposed.
func (s *Service) ApproveChange(ctx context.Context, in DecideChange) (flyball.ChangeRequest, error) {
	return s.decide(ctx, "change.approve", in, flyball.RequestOpen, func(e *edit, r *flyball.ChangeRequest) error { return e.approve(r) })
}

// approve adds the principal's consent to a request, once.
func (e *edit) approve(r *flyball.ChangeRequest) error {
	why, err := e.mayApprove(e.principal.ID, *r, r.Plan.Needs.From)
	if err != nil {
		return err
	}
	if why == "" {
		if why, err = e.madeBy(r.Proposer); err != nil {
			return err
		}
	}
	for _, g := range r.Plan.Needs.From {
		if why == "" && !e.principal.allows(g.Role, g.Environment, g.Team) {
			why = "it takes " + inWords([]flyball.Grant{g}) + ", and this token has less"
		}
	}
	if why != "" {
		return flyball.Errorf(flyball.Forbidden, "%s may not do this to change %s: %s", e.principal.ID, r.ID, why).With("from", r.Plan.Needs.From)
	}
	if !slices.ContainsFunc(r.Approvals, func(a flyball.Approval) bool { return a.By == e.principal.ID }) {
		r.Approvals = append(slices.Clone(r.Approvals), flyball.Approval{By: e.principal.ID, At: e.at, Digest: r.Plan.Digest, Reason: e.change.reason})
	}
	return nil
}

// madeBy says why the principal's token approves nothing of a proposer: it was
// made by them, whomever it acts as, so that they hold both ends.
func (e *edit) madeBy(proposer flyball.Actor) (why string, err error) {
	if e.principal.Token == "" || e.principal.Session {
		return "", nil
	}
	t, _, err := e.tx.TokenByID(e.principal.Token)
	if flyball.CodeOf(err) == flyball.NotFound {
		return "", nil
	}
	if err == nil && (t.CreatedBy == proposer.ID || proposer.OnBehalfOf != "" && t.CreatedBy == proposer.OnBehalfOf) {
		why = "nobody approves what they proposed, and this token was made by its proposer: sign in, or use one that somebody else made"
	}
	return why, err
}

// RejectChange ends a request: its proposer, or the person behind that agent,
// takes it back, or somebody who might have approved it does not.
func (s *Service) RejectChange(ctx context.Context, in DecideChange) (flyball.ChangeRequest, error) {
	return s.decide(ctx, "change.reject", in, flyball.RequestOpen, func(e *edit, r *flyball.ChangeRequest) error {
		if who := e.principal.ID; who != r.Proposer.ID && who != r.Proposer.OnBehalfOf {
			if err := e.approve(new(*r)); err != nil {
				return err
			}
		}
		r.State, r.RejectedBy, r.RejectedAs = flyball.RequestRejected, e.principal.ID, in.Reason
		return nil
	})
}

// ReviewChange closes the review that a broken glass opened. It takes somebody
// who could have approved the change.
func (s *Service) ReviewChange(ctx context.Context, in DecideChange) (flyball.ChangeRequest, error) {
	return s.decide(ctx, "change.review", in, flyball.RequestReview, func(e *edit, r *flyball.ChangeRequest) error {
		r.State = flyball.RequestApplied
		return e.approve(r)
	})
}

// decide alters a request that is in a state, by a person's word.
func (s *Service) decide(ctx context.Context, action string, in DecideChange, state flyball.RequestState, alter func(*edit, *flyball.ChangeRequest) error) (flyball.ChangeRequest, error) {
	about, err := s.Change(ctx, ChangeID{ID: in.ID})
	if err != nil {
		return about, err
	}
	_, err = s.change(ctx, changeOf{
		access: Approve, action: action, subject: about.Plan.Subject, flag: about.Flag, reason: in.Reason,
		apply: func(e *edit) error {
			r, err := e.requestIn(in.ID, state)
			if err != nil {
				return err
			}
			if in.Digest != "" && in.Digest != r.Plan.Digest {
				return flyball.Errorf(flyball.Conflict, "change %s is another than you looked at: read it again", in.ID).With("digest", r.Plan.Digest)
			}
			before := r.ChangeRequest
			if err := alter(e, &r.ChangeRequest); err != nil {
				return err
			}
			if changed, err := e.record("change", in.ID, placeOf(r.Plan), brieflyOf(before), brieflyOf(r.ChangeRequest)); err != nil || !changed {
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

// placeOf names the environment that a plan alters, if there is but one.
func placeOf(p flyball.Plan) string {
	for env := range p.Versions {
		if len(p.Versions) == 1 {
			return env
		}
	}
	return ""
}

// brieflyOf is what the audit log keeps of a decision; the plan stands in the
// entry of the proposal, and of the change itself.
func brieflyOf(r flyball.ChangeRequest) any {
	return map[string]any{"state": r.State, "approvals": r.Approvals, "rejectedBy": r.RejectedBy, "action": r.Plan.Action, "digest": r.Plan.Digest}
}
