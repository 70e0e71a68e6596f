package service

import (
	"context"
	"strings"
	"testing"

	"github.com/flyballdev/flyball"
)

// guardedBy starts a rollout with a guardrail, or with none if it is empty.
func (h *shop) guardedBy(g flyball.Guardrail, ppms ...int) func(context.Context) error {
	plan := flyball.RolloutPlan{Flag: fastOf, Environment: "production", Treatment: "on", Control: "off"}
	for _, ppm := range ppms {
		plan.Steps = append(plan.Steps, flyball.Step{PPM: ppm})
	}
	if g.Metric != "" {
		plan.Guardrails = []flyball.Guardrail{g}
	}
	return func(ctx context.Context) error {
		_, err := h.s.StartRollout(ctx, StartRollout{RolloutPlan: plan, Reason: "a test"})
		return err
	}
}

// Who writes a rollout chooses its guardrails; policy says which of them count.
func TestARolloutIsGuardedByWhatPolicyAsksFor(t *testing.T) {
	t.Parallel()
	h := newShop(t, nil)
	must[MetricView](t)(h.s.CreateMetric(h.ctx, PutMetric{Metric: flyball.Metric{Key: "shop.whims", Type: flyball.MetricRate, Better: "lower"}, Reason: "a test"}))
	ask := func(of ...flyball.RequiredGuardrail) error {
		y := flyball.DefaultPolicy()
		y.Guardrails = of
		_, err := h.s.SetPolicy(h.ctx, SetPolicy{Policy: y, Reason: "a test"})
		return err
	}
	relative, absolute := flyball.Margin{Relative: 0.1}, flyball.Margin{Absolute: 3}
	for what, tt := range map[string]struct {
		asks  flyball.RequiredGuardrail
		has   flyball.Guardrail
		needs int
	}{
		"it is there":                      {flyball.RequiredGuardrail{Metric: "shop.errors", Margin: relative}, flyball.Guardrail{Metric: "shop.errors", Margin: relative}, 0},
		"it is narrower":                   {flyball.RequiredGuardrail{Metric: "shop.errors", Margin: relative}, flyball.Guardrail{Metric: "shop.errors", Margin: flyball.Margin{Relative: 0.01}}, 0},
		"it is wider":                      {flyball.RequiredGuardrail{Metric: "shop.errors", Margin: relative}, flyball.Guardrail{Metric: "shop.errors", Margin: flyball.Margin{Relative: 10}}, 2},
		"its margin is of another kind":    {flyball.RequiredGuardrail{Metric: "shop.errors", Margin: relative}, flyball.Guardrail{Metric: "shop.errors", Margin: flyball.Margin{Absolute: 1e9}}, 2},
		"it is absolute":                   {flyball.RequiredGuardrail{Metric: "shop.errors", Margin: absolute}, flyball.Guardrail{Metric: "shop.errors", Margin: absolute}, 0},
		"it is absolute, and wider":        {flyball.RequiredGuardrail{Metric: "shop.errors", Margin: absolute}, flyball.Guardrail{Metric: "shop.errors", Margin: flyball.Margin{Absolute: 4}}, 2},
		"any margin will do":               {flyball.RequiredGuardrail{Metric: "shop.errors"}, flyball.Guardrail{Metric: "shop.errors", Margin: flyball.Margin{Relative: 10}}, 0},
		"another metric does not stand in": {flyball.RequiredGuardrail{Metric: "shop.errors"}, flyball.Guardrail{Metric: "shop.whims", Margin: relative}, 2},
		"it is asked for elsewhere":        {flyball.RequiredGuardrail{Metric: "shop.errors", Environments: []string{"development"}}, flyball.Guardrail{Metric: "shop.whims", Margin: relative}, 0},
	} {
		if err := ask(tt.asks); err != nil {
			t.Fatal(err)
		}
		p := h.plan(h.guardedBy(tt.has, 5000, 1_000_000))
		if p.Needs.Number != tt.needs || p.Staged != (tt.needs == 0) || strings.Contains(strings.Join(p.Why, ";"), "counts as unguarded") != (tt.needs > 0) {
			t.Errorf("%s: needs %d, staged %v, %q", what, p.Needs.Number, p.Staged, p.Why)
		}
	}
	if err := ask(flyball.RequiredGuardrail{Metric: "shop.nothing"}); flyball.CodeOf(err) != flyball.Invalid || !strings.Contains(err.Error(), "guardrails[0].metric") {
		t.Errorf("a metric that there is not: %v", err)
	}
	if err := ask(flyball.RequiredGuardrail{Metric: "shop.errors", Margin: flyball.Margin{Relative: 1, Absolute: 1}}); flyball.CodeOf(err) != flyball.Invalid {
		t.Errorf("two margins: %v", err)
	}
}
