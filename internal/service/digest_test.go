package service

import (
	"context"
	"testing"

	"github.com/flyballdev/flyball"
)

// A change has another digest once what it rests on was edited, though its own edits
// are the same.
func TestADigestHoldsWhatTheChangeRestsOn(t *testing.T) {
	t.Parallel()
	h := newShop(t, nil)
	group := func(update bool, include ...string) func(context.Context) error {
		put := PutSegment{Segment: flyball.Segment{Key: "guests", Owner: "default", Include: include}, Reason: "a test"}
		return func(ctx context.Context) (err error) {
			if update {
				_, err = h.s.UpdateSegment(ctx, put)
			} else {
				_, err = h.s.CreateSegment(ctx, put)
			}
			return err
		}
	}
	if err := group(false, "u1")(h.ctx); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ change, edit func(context.Context) error }{
		"a segment": {edit: group(true, "u1", "u2"), change: func(ctx context.Context) error {
			_, err := h.s.AddRule(ctx, AddRule{FlagIn: in(fastOf), Rule: flyball.Rule{ID: "more", If: flyball.Condition{Segment: "guests"}, Serve: flyball.Serve{Variant: "on"}}})
			return err
		}},
		"a prerequisite": {change: h.needs(fastOf, idle, "on"), edit: h.serve(idle, split(5_000))},
		"a metric": {change: h.start(true, 5_000), edit: func(ctx context.Context) error {
			_, err := h.s.UpdateMetric(ctx, PutMetric{Metric: flyball.Metric{Key: "shop.errors", Type: flyball.MetricRate, Better: "higher"}, Reason: "a test"})
			return err
		}},
	} {
		before := h.plan(c.change).Digest
		if again := h.plan(c.change).Digest; again != before {
			t.Errorf("%s: the same change has two digests", what)
		}
		if err := c.edit(h.ctx); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if h.plan(c.change).Digest == before {
			t.Errorf("%s that the change rests on is no part of its digest", what)
		}
	}
}
