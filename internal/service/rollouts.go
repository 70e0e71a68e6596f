package service

import (
	"context"
	"errors"
	"slices"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/rollout"
	"github.com/flyballdev/flyball/internal/store"
)

// StartRollout is a plan that is to be set in motion.
type StartRollout struct {
	flyball.RolloutPlan
	Reason string `json:"reason" doc:"why it is started"`
}

// RolloutView is a rollout with what the judge knows of it.
type RolloutView struct {
	flyball.Rollout
	Evidence *flyball.Evidence `json:"evidence,omitempty"`
}

// StartRollout sets a plan in motion: its first step serves at once.
func (s *Service) StartRollout(ctx context.Context, in StartRollout) (RolloutView, error) {
	plan := in.RolloutPlan.WithDefaults()
	if err := plan.Validate(); err != nil {
		return RolloutView{}, err
	}
	if err := s.fleetMayStep(ctx, plan); err != nil {
		return RolloutView{}, err
	}
	r := flyball.Rollout{ID: newID(8), RolloutPlan: plan, State: flyball.RolloutRunning}
	_, err := s.change(ctx, changeOf{
		access: Write, action: "rollout.start", subject: plan.Flag, flag: plan.Flag, reason: in.Reason,
		apply: func(e *edit) error { return e.startRollout(r) },
	})
	if err != nil || mannerOf(ctx).Plans() {
		return RolloutView{}, err
	}
	return s.Rollout(ctx, RolloutID{ID: r.ID})
}

// fleetMayStep refuses the first step of a stateful flag while instances run
// other rulesets than the one in force. (The controller holds its later steps.)
func (s *Service) fleetMayStep(ctx context.Context, p flyball.RolloutPlan) error {
	head, err := s.Published(p.Environment)
	if err != nil || s.fleet == nil {
		return err
	}
	var f store.FlagRecord
	err = s.db.View(ctx, func(tx *store.Tx) (err error) { f, err = tx.Flag(p.Flag); return err })
	if err != nil || f.Consistency != flyball.Stateful {
		return err
	}
	fleet, err := s.fleet(ctx, p.Environment, head.ID())
	if err != nil || fleet.Converged == fleet.Instances {
		return err
	}
	var ids []string
	for _, i := range fleet.Behind {
		ids = append(ids, i.ID)
	}
	return flyball.Errorf(flyball.Conflict, "%q is stateful and %d of %d instances do not run version %d: wait for them, or declare them gone (flyball fleet forget)",
		p.Flag, fleet.Instances-fleet.Converged, fleet.Instances, head.ID().Version).With("behind", ids)
}

// startable says why a plan may not be started now, and returns what its flag
// serves.
func (e *edit) startable(p flyball.RolloutPlan) (c flyball.FlagConfig, err error) {
	f, err := e.flag(p.Flag)
	if err != nil {
		return c, err
	}
	if c, _, err = e.config(p.Environment, p.Flag); err != nil {
		return c, err
	}
	if c.Rollout != nil {
		return c, flyball.Errorf(flyball.Conflict, "%s has a live rollout in %s already: %s", p.Flag, p.Environment, c.Rollout.ID).With("rollout", c.Rollout.ID)
	}
	return c, e.fits(p, f.Flag, c)
}

func (e *edit) startRollout(r flyball.Rollout) error {
	c, err := e.startable(r.RolloutPlan)
	if err != nil {
		return err
	}
	r.StartedBy, r.StartedAt, r.SteppedAt, r.Revision = e.principal.ID, e.at, e.at, 1
	r.Since = e.at
	if lease := r.Steps[0].Lease; lease > 0 {
		r.LeaseUntil = &flyball.Time{Time: e.at.Add(lease.Std())}
	}
	r.SteppedIn = e.nextVersion(r.Environment)
	c.Rollout = r.Overlay()
	if err := e.putConfig(r.Environment, c); err != nil {
		return err
	}
	return e.putRollout(nil, r, c.Seed)
}

// fits says what keeps a plan from starting on a flag as it is now.
func (e *edit) fits(p flyball.RolloutPlan, f flyball.Flag, c flyball.FlagConfig) error {
	var errs []error
	if _, ok := f.Variants[p.Treatment]; !ok {
		errs = append(errs, flyball.FieldErrorf("treatment", "%q is not one of the variants of %q", p.Treatment, f.Key))
	}
	serve, ok := c.Serve(p.Where)
	switch {
	case !ok:
		errs = append(errs, flyball.FieldErrorf("where", "%q is neither \"default\" nor the id of a rule of %q in %s", p.Where, f.Key, p.Environment))
	case serve.Split != nil || serve.Variant != p.Control:
		errs = append(errs, flyball.FieldErrorf("control", "the %s of %q in %s must serve one plain variant, the control %q", p.Where, f.Key, p.Environment, p.Control))
	}
	if c.Killed != nil {
		errs = append(errs, flyball.Errorf(flyball.Conflict, "%q is killed in %s (%s): resume it first", f.Key, p.Environment, c.Killed.Reason))
	} else if !c.Enabled {
		errs = append(errs, flyball.Errorf(flyball.Conflict, "%q is not enabled in %s: enable it first, since a rollout of a disabled flag reaches nobody", f.Key, p.Environment))
	}
	metrics, err := e.planMetrics(p)
	if err != nil {
		errs = append(errs, err)
	} else if e.service.judgeable != nil {
		errs = append(errs, e.service.judgeable(p, metrics))
	}
	return errors.Join(errs...)
}

// planMetrics returns a plan's metrics, and names every one that is missing.
func (e *edit) planMetrics(p flyball.RolloutPlan) ([]flyball.Metric, error) {
	var errs []error
	for _, key := range metricKeys(p) {
		if _, err := e.tx.Metric(key); flyball.CodeOf(err) == flyball.NotFound {
			errs = append(errs, flyball.FieldErrorf("guardrails", "there is no metric %q: create it first with \"flyball metric create %s\"", key, key))
		} else if err != nil {
			return nil, err
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return e.metrics(p)
}

// RolloutID names a rollout.
type RolloutID struct {
	ID string `json:"id" doc:"the rollout's id, or its flag's key"`
}

// RolloutIn names a rollout, and why it changes.
type RolloutIn struct {
	ID     string `json:"id" doc:"the rollout's id, or its flag's key if it has one live rollout"`
	Reason string `json:"reason" doc:"why it changes"`
}

// find returns a rollout by its id, or by its flag's key: the live one, else
// the last one.
func find(tx *store.Tx, id string) (flyball.Rollout, error) {
	r, err := tx.Rollout(id)
	if flyball.CodeOf(err) != flyball.NotFound {
		return r, err
	}
	all, lookErr := tx.Rollouts(store.RolloutFilter{Flag: id})
	if lookErr != nil || len(all) == 0 {
		return r, errors.Join(lookErr, err)
	}
	live := slices.DeleteFunc(slices.Clone(all), func(r flyball.Rollout) bool { return !r.State.Live() })
	switch len(live) {
	case 0:
		return slices.MaxFunc(all, func(a, b flyball.Rollout) int { return a.StartedAt.Compare(b.StartedAt) }), nil
	case 1:
		return live[0], nil
	}
	return r, flyball.FieldErrorf("id", "%q has a live rollout in %s and in %s: name one by its id, %s or %s", id, live[0].Environment, live[1].Environment, live[0].ID, live[1].ID)
}

// Rollout returns a rollout with what the judge knows of it.
func (s *Service) Rollout(ctx context.Context, in RolloutID) (out RolloutView, err error) {
	p, err := principalOf(ctx)
	if err != nil {
		return out, err
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		r, err := find(tx, in.ID)
		if err != nil {
			return err
		}
		out.Rollout = r
		return p.may(r.Flag)
	})
	if err != nil || s.evidence == nil {
		return out, err
	}
	e, found, err := s.evidence(ctx, out.ID)
	if found {
		out.Evidence = &e
	}
	return out, err
}

// ListRollouts narrows a list of rollouts.
type ListRollouts struct {
	Environment string `json:"environment,omitempty" doc:"only those of one"`
	Flag        string `json:"flag,omitempty" doc:"only those of one"`
	Live        bool   `json:"live,omitempty" doc:"only those that still serve"`
	Limit       int    `json:"limit,omitempty" minimum:"0" maximum:"1000" doc:"how many at most (default 100)"`
}

// Rollouts is a list of rollouts, newest first.
type Rollouts struct {
	Rollouts []flyball.Rollout `json:"rollouts"`
}

// ListRollouts lists rollouts, newest first.
func (s *Service) ListRollouts(ctx context.Context, in ListRollouts) (Rollouts, error) {
	out := Rollouts{Rollouts: []flyball.Rollout{}}
	p, err := principalOf(ctx)
	if err != nil {
		return out, err
	}
	if in.Limit == 0 {
		in.Limit = 100
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		found, err := tx.Rollouts(store.RolloutFilter{Environment: in.Environment, Flag: in.Flag, Live: in.Live, Limit: in.Limit})
		for _, r := range found {
			if p.may(r.Flag) == nil {
				out.Rollouts = append(out.Rollouts, r)
			}
		}
		return err
	})
	slices.SortStableFunc(out.Rollouts, func(a, b flyball.Rollout) int { return b.StartedAt.Compare(a.StartedAt) })
	return out, err
}

// LiveRollouts returns the ids of all rollouts that serve, however many there
// are: one that is left out is never moved.
func (s *Service) LiveRollouts(ctx context.Context) (ids []string, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		live, err := tx.Rollouts(store.RolloutFilter{Live: true})
		for _, r := range live {
			ids = append(ids, r.ID)
		}
		return err
	})
	return ids, err
}

// PauseRollout keeps a rollout at its step until it is resumed. A breach ends
// it all the same.
func (s *Service) PauseRollout(ctx context.Context, in RolloutIn) (RolloutView, error) {
	return s.moveRollout(ctx, "rollout.pause", in, func(e *edit, r *flyball.Rollout) error {
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

// moveRollout writes a rollout after a change, and what its environment serves
// because of it.
func (e *edit) moveRollout(before, r flyball.Rollout) error {
	c, _, err := e.config(r.Environment, r.Flag)
	if err != nil {
		return err
	}
	if err := e.place(&c, &r); err != nil {
		return err
	}
	if err := e.putConfig(r.Environment, c); err != nil {
		return err
	}
	return e.putRollout(&before, r, c.Seed)
}

// place makes a configuration serve what a rollout's state says: its overlay
// while it lives, what it ends in when it is complete, and nothing else.
func (e *edit) place(c *flyball.FlagConfig, r *flyball.Rollout) error {
	if r.State.Live() {
		c.Rollout = r.Overlay()
		return nil
	}
	c.Rollout = nil
	if r.EndedAt == nil {
		r.EndedAt = &flyball.Time{Time: e.at}
	}
	if r.State != flyball.RolloutCompleted {
		dropOwnRule(c, r.Where)
		return nil
	}
	end := flyball.Serve{Variant: r.Treatment}
	if last := r.Steps[len(r.Steps)-1].PPM; last < flyball.PPM {
		end = flyball.Serve{Split: &flyball.Split{By: r.Unit, Weights: []flyball.Weight{
			{Variant: r.Treatment, PPM: last}, {Variant: r.Control, PPM: flyball.PPM - last},
		}}}
	}
	if r.Where == flyball.WhereDefault {
		c.Default = end
		return nil
	}
	_, at := c.Rule(r.Where)
	if at < 0 {
		return flyball.Errorf(flyball.Conflict, "the rule %q is gone", r.Where)
	}
	c.Rules = slices.Clone(c.Rules)
	c.Rules[at].Serve = end
	return nil
}

// endRollout ends the live rollout of a configuration that is being edited, if
// there is one.
func (e *edit) endRollout(c *flyball.FlagConfig, why string) error {
	if c.Rollout == nil {
		return nil
	}
	before, err := e.tx.Rollout(c.Rollout.ID)
	if err != nil {
		return err
	}
	r := before
	r.State, r.Why, r.Since = flyball.RolloutStopped, why, e.at
	if err := e.place(c, &r); err != nil {
		return err
	}
	return e.putRollout(&before, r, c.Seed)
}

// decided is what the audit log keeps of an automatic decision.
type decided struct {
	Decision rollout.Decision `json:"decision"`
	Evidence flyball.Evidence `json:"evidence"`
}

// brief leaves out how evidence came about: the audit log keeps how it stood.
func brief(e flyball.Evidence) flyball.Evidence {
	e.Guardrails, e.Success = slices.Clone(e.Guardrails), slices.Clone(e.Success)
	for _, all := range [][]flyball.MetricEvidence{e.Guardrails, e.Success} {
		for i := range all {
			all[i].Track = nil
		}
	}
	return e
}

// Decide carries out what the controller decided about a rollout that it read,
// under the lease that makes it the only controller. Someone who changed the
// rollout meanwhile wins: the decision is a conflict, and is made anew.
func (s *Service) Decide(ctx context.Context, of rollout.Situation, d rollout.Decision, fence *Fence) error {
	r := of.Rollout
	_, err := s.change(AsController(ctx), changeOf{
		access: Write, action: "rollout." + string(d.Action), subject: r.Flag, flag: r.Flag, reason: d.Why,
		evidence: decided{Decision: d, Evidence: brief(of.Evidence)}, fence: fence,
		apply: func(e *edit) error {
			current, err := e.tx.Rollout(r.ID)
			if err != nil {
				return err
			}
			if _, err := e.touch(r.Environment); err != nil {
				return err
			}
			next, err := rollout.After(current, d, e.at)
			if err != nil {
				return err
			}
			if !next.SteppedAt.Equal(current.SteppedAt) {
				next.SteppedIn = e.nextVersion(r.Environment)
			}
			return e.moveRollout(current, next)
		},
	})
	return err
}

// Situation reads what a decision about a rollout rests on, save for the
// judge's part: evidence and fleet.
func (s *Service) Situation(ctx context.Context, id string) (out rollout.Situation, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		r, err := tx.Rollout(id)
		if err != nil {
			return err
		}
		f, err := tx.Flag(r.Flag)
		if err != nil {
			return err
		}
		out.Rollout, out.Stateful = r, f.Consistency == flyball.Stateful
		out.Metrics = map[string]flyball.Metric{}
		for _, key := range metricKeys(r.RolloutPlan) {
			m, err := tx.Metric(key)
			if err != nil {
				return err
			}
			out.Metrics[key] = m.Metric
		}
		head, err := s.Published(r.Environment)
		if err != nil {
			return err
		}
		out.Fleet.Head = head.ID()
		out.Frozen, err = frozenIn(tx, r.Environment, now())
		return err
	})
	return out, err
}

// Exposed returns what tells of the exposures in an environment whether their
// flag is known, to a public token only if public ones may see it, and whether
// their rollout is live. What rests on a newer ruleset than this process has
// heard of is taken for both. It is nil if there is no such environment.
func (s *Service) Exposed(environment string, trusted bool) func(flyball.Exposure) (known, live bool) {
	head, err := s.Published(environment)
	if err != nil {
		return nil
	}
	version := head.ID().Version
	return func(x flyball.Exposure) (known, live bool) {
		f := head.Compiled.Flag(x.Flag)
		switch {
		case x.Version > version:
			return true, true
		case f == nil || !trusted && !f.ClientVisible:
			return false, false
		}
		return true, f.Rollout != nil && f.Rollout.ID == x.Rollout
	}
}

// RolloutRuns says whether a rollout is live in an environment.
func (s *Service) RolloutRuns(environment string) bool {
	head, err := s.Published(environment)
	return err == nil && head.Compiled.Live()
}
