package service

import (
	"context"
	"errors"
	"slices"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// StartRollout is a plan that is to be set in motion.
type StartRollout struct {
	flyball.RolloutPlan
	Reason string `json:"reason" doc:"why it is started"`
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
