package service

import (
	"context"
	"slices"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// RolloutIn names a rollout, and why it changes.
type RolloutIn struct {
	ID     string `json:"id" doc:"the rollout's id, or its flag's key if it has one live rollout"`
	Reason string `json:"reason" doc:"why it changes"`
}

// PauseRollout keeps a rollout at its step until it is resumed. A breach ends
// it all the same.
func (s *Service) PauseRollout(ctx context.Context, in RolloutIn) (RolloutView, error) {
	return s.moveRollout(ctx, "rollout.pause", in, func(e *edit, r *flyball.Rollout) error {
		if r.State == flyball.RolloutPaused && e.principal.Kind != flyball.TokenAgent {
			byAgent, err := e.pausedByAgent(r.Flag, r.ID)
			if err != nil || !byAgent {
				return err
			}
			r.Why, r.Since = e.change.reason, e.at // so that no agent lets it go on
		}
		r.State = flyball.RolloutPaused
		return nil
	})
}

// ResumeRollout lets a paused rollout go on from its step.
func (s *Service) ResumeRollout(ctx context.Context, in RolloutIn) (RolloutView, error) {
	return s.moveRollout(ctx, "rollout.resume", in, func(e *edit, r *flyball.Rollout) error {
		if r.State != flyball.RolloutPaused && r.State != flyball.RolloutHolding {
			return nil
		}
		r.State = flyball.RolloutRunning
		return nil
	})
}

// StepBackRollout takes a rollout one step down, and pauses it there: who steps
// back wants to look, and what climbs again by itself in a minute is not looked
// at. It is a retreat: it waits for nobody.
func (s *Service) StepBackRollout(ctx context.Context, in RolloutIn) (RolloutView, error) {
	return s.moveRollout(ctx, "rollout.stepBack", in, func(e *edit, r *flyball.Rollout) error {
		if r.At == 0 {
			return flyball.Errorf(flyball.Conflict, "%s is at its first step, and there is none below it: abort the rollout instead", r.Flag).With("at", r.At)
		}
		r.State, r.At, r.SteppedAt, r.SteppedBack, r.Unproven = flyball.RolloutPaused, r.At-1, e.at, true, false
		r.Why, r.Since, r.LeaseUntil = e.change.reason, e.at, nil
		if lease := r.Steps[r.At].Lease; lease > 0 {
			r.LeaseUntil = &flyball.Time{Time: e.at.Add(lease.Std())}
		}
		if _, err := e.touch(r.Environment); err != nil {
			return err
		}
		r.SteppedIn = e.nextVersion(r.Environment)
		return nil
	})
}

// AbortRollout takes the treatment back from everybody, at once. It is a
// retreat: it waits for nobody.
func (s *Service) AbortRollout(ctx context.Context, in RolloutIn) (RolloutView, error) {
	return s.moveRollout(ctx, "rollout.abort", in, func(e *edit, r *flyball.Rollout) error {
		r.State = flyball.RolloutAborted
		return nil
	})
}

// PassGate opens a gate of a rollout's step in force.
type PassGate struct {
	RolloutIn
	Gate int `json:"gate,omitempty" minimum:"0" doc:"which gate of the step, counted from 0"`
}

// PassGate opens a gate of a rollout's step in force: an agent opens the gate
// that names it, and people the others, each person once.
func (s *Service) PassGate(ctx context.Context, in PassGate) (RolloutView, error) {
	return s.moveRollout(ctx, "rollout.pass", in.RolloutIn, func(e *edit, r *flyball.Rollout) error {
		gates := r.Steps[r.At].Gates
		if in.Gate >= len(gates) {
			return flyball.FieldErrorf("gate", "step %d has %d gates", r.At, len(gates))
		}
		g, by := gates[in.Gate], e.principal.ID
		switch {
		case g.Agent != "" && by != flyball.ActorID("agent:"+g.Agent):
			return flyball.Errorf(flyball.Forbidden, "this gate is opened by agent:%s, and you are %s", g.Agent, by)
		case g.Approval > 0 && (by.Kind() != "user" || by == r.StartedBy):
			return flyball.Errorf(flyball.Forbidden, "this gate is opened by a person other than %s, and you are %s", r.StartedBy, by)
		case g.Approval > 0:
			owner, err := e.owner(r.Flag)
			if err != nil {
				return err
			}
			if !e.principal.allows(flyball.RoleApprover, r.Environment, owner) {
				return flyball.Errorf(flyball.Forbidden, "this gate is opened by an approver for team %s in %s, and %s is none", owner, r.Environment, by)
			}
			if err := e.mayOpen(*r); err != nil {
				return err
			}
		}
		given := slices.ContainsFunc(r.Passed, func(p flyball.GatePass) bool {
			return p.Step == r.At && p.Gate == in.Gate && p.By == by && !p.At.Before(r.SteppedAt)
		})
		if !given {
			r.Passed = append(slices.Clone(r.Passed), flyball.GatePass{Step: r.At, Gate: in.Gate, By: by, At: e.at})
		}
		return nil
	})
}

// mayOpen says whether the principal's word on a rollout is that of somebody else
// than whoever proposed it or set it in motion, and proved to be theirs, as that of
// whoever approves a change.
func (e *edit) mayOpen(r flyball.Rollout) error {
	if err := e.principal.provedLately(e.at); err != nil {
		return err
	}
	made, err := e.tx.Made("rollout", r.Environment, r.ID)
	if err != nil || made == nil {
		return err
	}
	starters := []flyball.Actor{made.Actor}
	if made.Change != "" {
		request, err := e.tx.ChangeRequest(made.Change)
		if err != nil {
			return err
		}
		starters = append(starters, request.Proposer)
	}
	for _, starter := range starters {
		parties, err := e.parties(starter)
		if err != nil {
			return err
		}
		why, err := e.madeBy(starter)
		if err != nil {
			return err
		}
		if why != "" || slices.Contains(parties, e.principal.ID) {
			return flyball.Errorf(flyball.Forbidden, "this gate is opened by a person other than %s and whoever stands behind them, and you are %s", starter.ID, e.principal.ID)
		}
	}
	return nil
}

// moveRollout changes a live rollout by a person's word.
func (s *Service) moveRollout(ctx context.Context, action string, in RolloutIn, alter func(*edit, *flyball.Rollout) error) (RolloutView, error) {
	var flag string
	err := s.db.View(ctx, func(tx *store.Tx) error {
		r, err := find(tx, in.ID)
		in.ID, flag = r.ID, r.Flag
		return err
	})
	if err != nil {
		return RolloutView{}, err
	}
	_, err = s.change(ctx, changeOf{
		access: Write, action: action, subject: flag, flag: flag, reason: in.Reason,
		apply: func(e *edit) error {
			before, err := e.tx.Rollout(in.ID)
			if err != nil {
				return err
			}
			if !before.State.Live() {
				return flyball.Errorf(flyball.Conflict, "the rollout is %s since %s: start a new one", before.State, before.EndedAt.Format("2006-01-02 15:04:05")).With("state", before.State)
			}
			r := before
			if err := alter(e, &r); err != nil {
				return err
			}
			if r.State != before.State {
				r.Why, r.Since = in.Reason, e.at
			}
			return e.moveRollout(before, r)
		},
	})
	if err != nil {
		return RolloutView{}, err
	}
	return s.Rollout(ctx, RolloutID{ID: in.ID})
}
