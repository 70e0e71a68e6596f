package service

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/rollout"
	"github.com/flyballdev/flyball/internal/store"
)

// Small steps that nobody approves add up, until somebody has looked, until
// everybody is safe, or for a day.
func TestManySmallStepsAreALargeOne(t *testing.T) {
	t.Parallel()
	h := newShop(t, nil)
	glass := WithManner(h.ctx, &Manner{BreakGlass: true})
	wants := func(what string, ppm int, risk flyball.Risk, why string) {
		t.Helper()
		change := h.serve(fastOf, split(ppm))
		p := h.plan(change)
		if p.Risk != risk || !strings.Contains(strings.Join(p.Why, "; "), why) {
			t.Errorf("%s: risk %s, want %s: %q", what, p.Risk, risk, p.Why)
		}
		if err := change(h.ctx); (flyball.CodeOf(err) == flyball.Forbidden) != (risk != flyball.RiskLow) {
			t.Errorf("%s: %v", what, err)
		}
	}
	wants("half a percent", 5_000, "low", "up to 0.5 %")
	wants("a little more", 9_000, "low", "0.9 % together with what nobody approved")
	wants("over one percent", 14_000, "medium", "1.4 % together with what nobody approved in the last 24 hours")
	wants("again, and less", 10_500, "medium", "1.05 % together")

	if err := h.serve(fastOf, flyball.Serve{Variant: "off"})(h.ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := h.s.RemoveRule(h.ctx, RemoveRule{FlagIn: in(fastOf), ID: "testers"}); err != nil {
		t.Fatal(err)
	}
	wants("once everybody is safe", 5_000, "low", "up to 0.5 %")

	if err := h.serve(fastOf, split(30_000))(glass); err != nil {
		t.Fatal(err)
	}
	wants("once somebody has to look at it", 35_000, "low", "up to 0.5 %")
	wants("after that", 39_900, "low", "0.99 % together")
	wants("the last one", 40_100, "medium", "1.01 % together")

	// By another way: a flag that it waits for.
	if err := h.needs(hangs, idle, "on")(glass); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{hangs, idle} {
		if err := h.update(key, func(f *flyball.Flag) { f.RiskTier = flyball.TierLow })(glass); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.serve(idle, split(6_000))(h.ctx); err != nil {
		t.Fatal(err)
	}
	if p := h.plan(h.serve(idle, split(12_000))); !strings.Contains(strings.Join(p.Why, "; "), "1.2 % together") {
		t.Errorf("by way of another flag: %q", p.Why)
	}

	err := h.db.Update(t.Context(), func(tx *store.Tx) error {
		long := time.Now().Add(-asksAfter - time.Minute)
		if err := tx.ForgetUnasked("production", fastOf); err != nil {
			return err
		}
		return tx.AddUnasked("production", 9000, long, long, []store.Unasked{{Flag: fastOf, PPM: 900_000}})
	})
	if err != nil {
		t.Fatal(err)
	}
	wants("a day later", 44_000, "low", "up to 0.41 %")
}

// Rollouts count by themselves, for each begins at its control; and what nobody
// can change without a trace counts only where environments are protected.
func TestRolloutsAndUnprotectedEnvironmentsDoNotAddUp(t *testing.T) {
	t.Parallel()
	h := newShop(t, nil)
	for range 3 {
		p := h.plan(h.start(true, 9_000, 1_000_000))
		if p.Risk != flyball.RiskLow {
			t.Errorf("a rollout is of %s risk: %q", p.Risk, p.Why)
		}
		if err := h.start(true, 9_000, 1_000_000)(h.ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := h.s.AbortRollout(h.ctx, RolloutIn{ID: fastOf, Reason: "a test"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, ppm := range []int{400_000, 800_000} {
		f := in(fastOf)
		f.Environment = "development"
		if _, err := h.s.SetDefault(context.WithoutCancel(h.ctx), SetDefault{FlagIn: f, Default: split(ppm)}); err != nil {
			t.Errorf("%d: %v", ppm, err)
		}
	}
}

// expose shows "on" to one in a thousand of a cohort, or of everybody.
func (h *shop) expose(cohort *flyball.Condition, then flyball.Then, guarded bool) func(context.Context) error {
	shown := Expose{FlagIn: in(fastOf), PPM: 1_000, If: cohort, For: flyball.Duration(time.Minute), Then: then}
	if guarded {
		shown.Guardrails = []flyball.Guardrail{{Metric: "shop.errors", Margin: flyball.Margin{Relative: 0.05}}}
	}
	return func(ctx context.Context) error { _, err := h.s.Expose(ctx, shown); return err }
}

// What is kept of one cohort after another, without guardrails, adds up; what is
// taken back does not.
func TestCohortsThatAreKeptAddUp(t *testing.T) {
	t.Parallel()
	sample := Sample{Users: flyball.Estimate{Value: 1e6, Low: 1e6, High: 1e6}}
	for i := range 2_000 {
		c := flyball.EvaluationContext{TargetingKey: fmt.Sprint("u", i), Attributes: flyball.Attributes{"shard": float64(i % 500)}}
		sample.Contexts = append(sample.Contexts, SampledContext{Unit: fmt.Sprint(i), At: time.Now(), Weight: 1, Context: c})
	}
	h := newShop(t, func(context.Context, string) (Sample, error) { return sample, nil })
	expose := func(shard int, then flyball.Then) (string, *flyball.Plan) {
		t.Helper()
		cohort := flyball.Condition{Attribute: "shard", Op: flyball.OpIn, Values: flyball.Values{float64(shard)}}
		shown := Expose{FlagIn: in(fastOf), PPM: flyball.PPM, If: &cohort, For: flyball.Duration(time.Minute), Then: then}
		plan := h.plan(func(ctx context.Context) error { _, err := h.s.Expose(ctx, shown); return err })
		if plan.Needs.Number > 0 {
			return "", plan
		}
		return must[RolloutView](t)(h.s.Expose(h.ctx, shown)).ID, plan
	}
	finish := func(id string, as rollout.Action) {
		t.Helper()
		if err := carry(t, h.s, h.ctx, id, rollout.Decision{Action: as}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		id, plan := expose(i, flyball.ThenOff)
		if id == "" {
			t.Fatalf("pulse %d needs %+v: %q", i, plan.Needs, plan.Why)
		}
		finish(id, rollout.Stop)
	}
	kept := 0
	for i := range 20 {
		id, _ := expose(i, flyball.ThenKeep)
		if id == "" {
			break
		}
		kept++
		finish(id, rollout.Finish)
	}
	if kept == 0 || kept > 5 {
		t.Errorf("%d cohorts of 0.2 %% each are kept before anybody is asked", kept)
	}
}

// Users whom rules name one by one count, though the sample tells of none of them:
// whoever tries finds out who is in it, and names the others.
func TestUsersWhoAreNamedCountThoughNoSampleTellsOfThem(t *testing.T) {
	t.Parallel()
	sample := Sample{Users: flyball.Estimate{Value: 1e5, Low: 1e5, High: 1e5}}
	for i := range 2_000 {
		c := flyball.EvaluationContext{TargetingKey: fmt.Sprint("u", i), Attributes: flyball.Attributes{"plan": "free"}}
		sample.Contexts = append(sample.Contexts, SampledContext{Unit: fmt.Sprint(i), At: time.Now(), Weight: 1, Context: c})
	}
	h := newShop(t, func(context.Context, string) (Sample, error) { return sample, nil })
	others := func(n int) (units []string) {
		for i := range n {
			units = append(units, fmt.Sprint("other", i))
		}
		return units
	}
	testers := func(n int) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := h.s.UpdateSegment(ctx, PutSegment{Segment: flyball.Segment{Key: "testers", Owner: "default", Include: others(n)}, Reason: "a test"})
			return err
		}
	}
	cohort := func(ppm int) func(context.Context) error {
		var values flyball.Values
		for _, unit := range others(1_000) {
			values = append(values, unit)
		}
		shown := Expose{FlagIn: in(fastOf), PPM: ppm, If: &flyball.Condition{Attribute: flyball.AttributeTargetingKey, Op: flyball.OpIn, Values: values}, For: flyball.Duration(time.Minute)}
		return func(ctx context.Context) error { _, err := h.s.Expose(ctx, shown); return err }
	}
	for what, c := range map[string]struct {
		change func(context.Context) error
		risk   flyball.Risk
	}{
		"a tenth of all in a segment":   {testers(10_000), "high"},
		"a few in a segment":            {testers(100), "low"},
		"a hundredth in a rule":         {cohort(flyball.PPM), "medium"},
		"some of a hundredth in a rule": {cohort(1_000), "low"},
		"a split beside who is named":   {h.serve(fastOf, split(2_000)), "low"},
		"everybody beside who is named": {h.serve(fastOf, flyball.Serve{Variant: "on"}), "high"},
		"nobody beside who was named":   {h.serve(fastOf, flyball.Serve{Variant: "off"}), "none"},
	} {
		m := &Manner{DryRun: true}
		if err := c.change(WithManner(h.ctx, m)); err != nil {
			t.Fatal(err)
		}
		if p := m.Plan(); p == nil && c.risk != "none" || p != nil && p.Risk != c.risk {
			t.Errorf("%s: risk %+v, want %s", what, p, c.risk)
		}
	}
	steps := 0
	for n := 300; n < 10_000 && testers(n)(h.ctx) == nil; n += 300 {
		steps++
	}
	if steps == 0 || steps > 4 {
		t.Errorf("%d steps of 0.3 %% each go through", steps)
	}
}
