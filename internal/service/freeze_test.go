package service

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

// A rule that is made before a freeze raises nothing within it.
func TestNothingIsSetUpToRiseInAFreeze(t *testing.T) {
	t.Parallel()
	h := newShop(t, nil)
	at := func(d time.Duration) *flyball.Time { return &flyball.Time{Time: now().Add(d)} }
	y := flyball.DefaultPolicy()
	y.Freezes = []flyball.Freeze{{From: flyball.Start{Time: *at(time.Hour)}, To: *at(2 * time.Hour), Environments: []string{"production"}, Reason: "the holidays"}}
	must[flyball.Policy](t)(h.s.SetPolicy(h.ctx, SetPolicy{Policy: y, Reason: "a test"}))
	for what, c := range map[string]struct {
		serve        string
		begins, ends *flyball.Time
		refused      bool
	}{
		"it begins there":                     {serve: "b", begins: at(90 * time.Minute), refused: true},
		"it begins there, and ends later":     {serve: "b", begins: at(90 * time.Minute), ends: at(5 * time.Hour), refused: true},
		"it begins before, and ends there":    {serve: "b", begins: at(30 * time.Minute), ends: at(90 * time.Minute)},
		"it begins after it":                  {serve: "b", begins: at(3 * time.Hour)},
		"it is safe until some time in there": {serve: "safe", ends: at(90 * time.Minute)}, // a retreat never waits
		"it is safe from then on":             {serve: "safe", begins: at(90 * time.Minute)},
	} {
		rule := flyball.Rule{ID: "later", If: flyball.Condition{Segment: "testers"}, Serve: flyball.Serve{Variant: c.serve}, NotBefore: c.begins, NotAfter: c.ends}
		p := h.plan(func(ctx context.Context) error {
			_, err := h.s.AddRule(ctx, AddRule{FlagIn: in(kindOf), Rule: rule})
			return err
		})
		if refused := strings.Contains(p.Refused, "the holidays"); refused != c.refused {
			t.Errorf("%s: refused %q, retreat %v", what, p.Refused, p.Retreat)
		}
	}
}
