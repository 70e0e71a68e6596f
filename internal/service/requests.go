package service

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// Limits of requests for approval.
const (
	maxOpen        = 100     // by one proposer
	maxStoredEdits = 1 << 20 // bytes; what is larger is told by its difference alone
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
			n, err := e.tx.CountOpen(p.ID, e.at)
			if err != nil {
				return err
			}
			if n >= maxOpen {
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
	r.AppliedBy, r.AppliedAt = e.principal.ID, &flyball.Time{Time: e.at}
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
		if err == nil && t.CreatedBy == who && t.Actor.Kind() != "user" {
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
			return "it takes " + inWords([]flyball.Grant{g}), nil
		}
	}
	return "", nil
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
				r.Input, r.Plan.Edits, r.Plan.Previews = nil, []flyball.Edit{}, nil
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

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
