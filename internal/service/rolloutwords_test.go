package service

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

// Who approves a rollout reads what it does, and nothing that only follows from
// it; nothing that was asked for is left out.
func TestARolloutIsPlannedInWords(t *testing.T) {
	t.Parallel()
	h := newShop(t, nil)
	plan := flyball.RolloutPlan{
		Flag: fastOf, Environment: "production", Treatment: "on", Control: "off", Unit: "account.id", Alpha: 0.05,
		Steps: []flyball.Step{
			{PPM: 1_000, Hold: flyball.Duration(10 * time.Minute)},
			{PPM: 500_000, Hold: flyball.Duration(time.Hour), Lease: flyball.Duration(2 * time.Hour), Gates: []flyball.Gate{{Approval: 1}, {Agent: "bot"}}},
		},
		Guardrails: []flyball.Guardrail{{Metric: "shop.errors", Margin: flyball.Margin{Relative: 0.05}, By: "route"}},
		OnUnsure:   flyball.OnUnsure{Then: "advance"}, Budget: flyball.Budget{ExposedUnits: 500},
	}
	start := func(ctx context.Context) error {
		_, err := h.s.StartRollout(ctx, StartRollout{RolloutPlan: plan, Reason: "a test"})
		return err
	}
	what := "rollout of " + fastOf + " in production: "
	want := []string{
		"new: " + what + `"on" in place of "off" where the default serves: 0.1 % for 10m → 50 % for 1h (lease 2h) and until it has one approval and until agent:bot lets it go on; then it is kept`,
		what + "must not worsen shop.errors by 5 %, for any route; a breach: abort",
		what + "alpha: 0.01 → 0.05",
		what + `budget: {"exposedUnits":500}`,
		what + `onUnsure.then: "hold" → "advance"`,
		what + `unit: "targetingKey" → "account.id"`,
	}
	if got := h.plan(start).Difference; !slices.Equal(got, want) {
		t.Errorf("it is planned as\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if err := start(WithManner(h.ctx, &Manner{BreakGlass: true})); err != nil {
		t.Fatal(err)
	}
	stop := func(ctx context.Context) error {
		_, err := h.s.AbortRollout(ctx, RolloutIn{ID: fastOf, Reason: "support calls"})
		return err
	}
	if got, want := h.plan(stop).Difference, []string{what + `state: "running" → "aborted"`, what + `why: "support calls"`}; !slices.Equal(got, want) {
		t.Errorf("its end is planned as\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
