package service

import (
	"context"
	"slices"

	"github.com/flyballdev/flyball"
)

// openReview notes that a change was made though others ought to have approved
// it, so that somebody else looks at it afterwards: a request that is applied
// already and stays open until it is reviewed.
func (e *edit) openReview(p *flyball.Plan) error {
	r := flyball.ChangeRequest{
		ID: newID(6), Operation: e.change.action, Plan: *p, Proposer: e.principal.Actor, Reason: e.change.reason,
		CreatedAt: e.at, ExpiresAt: e.at, State: flyball.RequestReview, AppliedBy: e.principal.ID, AppliedAt: &flyball.Time{Time: e.at},
	}
	e.request = &r
	return e.tx.InsertChangeRequest(r)
}

// ReviewChange closes the review that a broken glass opened. It takes somebody
// who could have approved the change.
func (s *Service) ReviewChange(ctx context.Context, in DecideChange) (flyball.ChangeRequest, error) {
	_, err := s.change(ctx, changeOf{
		access: Approve, action: "change.review", subject: in.ID, reason: in.Reason,
		apply: func(e *edit) error {
			r, err := e.tx.ChangeRequest(in.ID)
			if err != nil {
				return err
			}
			if r.State != flyball.RequestReview {
				return flyball.Errorf(flyball.Conflict, "change %s is %s: there is nothing to review", in.ID, stateOf(r.ChangeRequest, e.at)).With("state", r.State)
			}
			if why, err := e.mayApprove(e.principal.ID, r.ChangeRequest, r.Plan.Needs.From); err != nil {
				return err
			} else if why != "" || e.principal.Kind == flyball.TokenAgent {
				return flyball.Errorf(flyball.Forbidden, "%s may not review %s: %s", e.principal.ID, in.ID, orElse(why, "only people do"))
			}
			before := brieflyOf(r.ChangeRequest)
			r.State = flyball.RequestApplied
			r.Approvals = append(slices.Clone(r.Approvals), flyball.Approval{By: e.principal.ID, At: e.at, Digest: r.Plan.Digest, Reason: in.Reason})
			if _, err := e.record("change", in.ID, "", before, brieflyOf(r.ChangeRequest)); err != nil {
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
