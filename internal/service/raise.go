package service

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// A raise is one thing that a change exposes users to, or lets be exposed to:
// what a rule or the default serves, or a rollout with all of its steps.
type raise struct {
	environment string
	ppm         int           // the share of users that may get a variant other than the safe one
	ends        *flyball.Time // of a rule: when it ends by itself
	rollout     *flyball.Rollout
}

// raises lists what a change exposes users to that they were not exposed to
// before. What cannot be told apart is told as the larger.
func (e *edit) raises(rollouts []flyball.Rollout) (all []raise, err error) {
	for _, edit := range e.edits {
		if edit.Noun != "config" || edit.After == nil {
			continue
		}
		f, err := e.tx.Flag(edit.Key)
		if err != nil {
			return nil, err
		}
		before, after := flyball.NewFlagConfig(f.Flag), flyball.FlagConfig{}
		if edit.Before != nil {
			if err := json.Unmarshal(edit.Before, &before); err != nil {
				return nil, err
			}
		}
		if err := json.Unmarshal(edit.After, &after); err != nil {
			return nil, err
		}
		for _, r := range exposes(f.Flag, before, after) {
			r.environment = edit.Environment
			all = append(all, r)
		}
	}
	for _, r := range rollouts {
		f, err := e.tx.Flag(r.Flag)
		if err != nil {
			return nil, err
		}
		ppm := 0
		if r.Treatment != f.SafeVariant {
			ppm = r.Steps[len(r.Steps)-1].PPM // steps rise
		}
		all = append(all, raise{environment: r.Environment, ppm: ppm, rollout: &r})
	}
	return all, nil
}

// exposes lists what a configuration serves, other than the safe variant, that
// another did not serve in that place. Live rollouts are told by themselves.
func exposes(f flyball.Flag, before, after flyball.FlagConfig) (all []raise) {
	add := func(s flyball.Serve, ends *flyball.Time) {
		if ppm := unsafeShare(f, s); ppm > 0 {
			all = append(all, raise{ppm: ppm, ends: ends})
		}
	}
	after = withOwnRule(before, after)
	off := flyball.Serve{Variant: after.OffVariant}
	switch {
	case after.Killed != nil:
		return nil
	case !after.Enabled:
		if before.Killed != nil || before.Enabled || before.OffVariant != after.OffVariant {
			add(off, nil)
		}
		if !before.Enabled { // what it would serve counts already: whoever enables it may not look
			before.Enabled, after.Enabled = true, true
			all = append(all, exposes(f, before, after)...)
		}
		return all
	}
	if lowers(f, before, after) {
		return nil
	}
	same := keepsOrder(before, after)
	for _, r := range after.Rules {
		if was, at := before.Rule(r.ID); !same || at < 0 || !shrinks(f, was.Serve, r.Serve) {
			add(r.Serve, r.NotAfter)
		}
	}
	if !same || !shrinks(f, before.Default, after.Default) {
		add(after.Default, nil)
	}
	if !same && len(after.Prerequisites) > 0 {
		add(off, nil)
	}
	if o := after.Rollout; !same && o != nil && o.Treatment != f.SafeVariant {
		all = append(all, raise{ppm: o.PPM, ends: o.NotAfter})
	}
	return all
}

// keepsOrder says that all questions that a configuration asked are still asked,
// in their order, so that new rules only take users away from the others.
func keepsOrder(before, after flyball.FlagConfig) bool {
	if before.Killed != nil || !before.Enabled || before.OffVariant != after.OffVariant || !slices.Equal(before.Prerequisites, after.Prerequisites) {
		return false
	}
	at := 0
	for _, r := range before.Rules {
		next := slices.IndexFunc(after.Rules[at:], func(o flyball.Rule) bool { return o.ID == r.ID })
		if next < 0 {
			return false
		}
		at += next + 1
		o := after.Rules[at-1]
		if !sameJSON(r.If, o.If) || !sameJSON(r.NotBefore, o.NotBefore) || !sameJSON(r.NotAfter, o.NotAfter) {
			return false
		}
	}
	return true
}

// unsafeShare is the share of units that get a variant other than the safe one.
func unsafeShare(f flyball.Flag, s flyball.Serve) (ppm int) {
	if s.Split == nil {
		if s.Variant == f.SafeVariant {
			return 0
		}
		return flyball.PPM
	}
	for _, w := range s.Split.Weights {
		if w.Variant != f.SafeVariant {
			ppm += w.PPM
		}
	}
	return ppm
}

// within says how a raise goes beyond the limits that concern it alone.
func (r raise) within(envelope flyball.Envelope, now time.Time) *flyball.Beyond {
	if r.ppm > envelope.MaxPPM {
		return beyond("maxPpm", r.ppm, envelope.MaxPPM, "it exposes up to %s of the users of %s, and %s is the most",
			percent(float64(r.ppm)/flyball.PPM), r.environment, percent(float64(envelope.MaxPPM)/flyball.PPM))
	}
	most := envelope.MaxMinutesPerExposure
	if most == 0 || r.ppm == 0 {
		return nil
	}
	over := func(asked any, format string, args ...any) *flyball.Beyond {
		return beyond("maxMinutesPerExposure", asked, most, "%s; every exposure of the agent ends by itself after %d minutes at most", fmt.Sprintf(format, args...), most)
	}
	if r.rollout == nil {
		switch {
		case r.ends == nil:
			return over("no end", "it has no end: make it a rollout that is a pulse or has leases, or a rule with notAfter")
		case minutes(r.ends.Sub(now)) > most:
			return over(minutes(r.ends.Sub(now)), "its rule ends after %d minutes", minutes(r.ends.Sub(now)))
		}
		return nil
	}
	for i, s := range r.rollout.Steps {
		switch {
		case s.Lease == 0:
			return over("no end", "step %d has no lease: give it one, or make the rollout a pulse (then: off)", i)
		case minutes(s.Lease.Std()) > most:
			return over(minutes(s.Lease.Std()), "the lease of step %d lasts %d minutes", i, minutes(s.Lease.Std()))
		}
	}
	if p := r.rollout; p.Then != flyball.ThenOff && (len(p.Guardrails) == 0 || p.OnUnsure.Then != "hold") {
		return over("kept without evidence", "what is kept after the last step must have been shown healthy: give it guardrails and onUnsure hold, or make it a pulse (then: off)")
	}
	return nil
}

// reach says how many users the raises may expose, and for how long, against the
// limits of both; and notes what they use.
func (e *edit) reach(envelope flyball.Envelope, raises []raise, uses *store.AgentUse) (*flyball.Beyond, error) {
	for _, r := range raises {
		if r.ppm == 0 {
			continue
		}
		units, known, err := e.units(r)
		if err != nil {
			return nil, err
		}
		if !known && envelope.MaxUnits == 0 && envelope.MaxUnitMinutesPerDay == 0 {
			continue
		}
		if !known {
			most := envelope.MaxUnits
			return beyond("maxUnits", "unknown", most, "how many users %s has is not known, so the rollout must say how many it exposes at most: budget.exposedUnits", r.environment), nil
		}
		if most := envelope.MaxUnits; most > 0 && units > most {
			return beyond("maxUnits", units, most, "it exposes up to %d users, and %d is the most: set budget.exposedUnits", units, most), nil
		}
		uses.UnitMinutes += r.unitMinutes(units, e.at)
	}
	return nil, nil
}

// units returns how many users a raise exposes at most.
func (e *edit) units(r raise) (n int64, known bool, err error) {
	n = math.MaxInt64
	if r.rollout != nil && r.rollout.Budget.ExposedUnits > 0 {
		n, known = r.rollout.Budget.ExposedUnits, true
	}
	if e.service.sample == nil {
		return n, known, nil
	}
	sample, err := e.service.sample(e.tx.Context(), r.environment)
	if err != nil || sample.Users.High <= 0 {
		return n, known, err
	}
	return min(n, int64(math.Ceil(sample.Users.High*float64(r.ppm)/flyball.PPM))), true, nil
}

// unitMinutes is what a raise takes of a day's users times minutes: a rollout
// that is kept, and what has no end, take all of a day.
func (r raise) unitMinutes(units int64, now time.Time) int64 {
	long := dayOfMinutes
	switch {
	case r.rollout != nil && r.rollout.Then == flyball.ThenOff:
		long = 0
		for _, s := range r.rollout.Steps {
			long += minutes(max(s.Hold, s.Lease).Std())
		}
	case r.rollout == nil && r.ends != nil:
		long = minutes(r.ends.Sub(now))
	}
	n := times64(units, int64(max(0, min(long, dayOfMinutes))))
	if r.rollout != nil && r.rollout.Budget.UnitMinutes > 0 {
		n = min(n, r.rollout.Budget.UnitMinutes)
	}
	return n
}

// times64 multiplies without running over.
func times64(a, b int64) int64 {
	if a > 0 && b > math.MaxInt64/4/a {
		return math.MaxInt64 / 4
	}
	return a * b
}
