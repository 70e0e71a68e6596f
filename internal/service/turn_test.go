package service

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

// What takes something back does not queue behind changes that take long to be
// looked at, however many there are.
func TestARetreatDoesNotQueueBehindOtherChanges(t *testing.T) {
	t.Parallel()
	h := newShop(t, nil)
	if err := h.start(true, 5_000, 10_000)(h.ctx); err != nil {
		t.Fatal(err)
	}
	h.s.turn <- struct{}{} // somebody's change is looked at, for as long as this test lasts
	hurried, cancel := context.WithTimeout(h.ctx, 50*time.Millisecond)
	defer cancel()
	if err := h.serve(idle, flyball.Serve{Variant: "on"})(hurried); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another change: %v", err)
	}
	must[RolloutView](t)(h.s.PauseRollout(h.ctx, RolloutIn{ID: fastOf, Reason: "a test"}))
	must[RolloutView](t)(h.s.AbortRollout(h.ctx, RolloutIn{ID: fastOf, Reason: "a test"}))
	must[Configured](t)(h.s.KillFlag(h.ctx, in(kindOf)))
	must[Configured](t)(h.s.DisableFlag(h.ctx, in(fastOf)))
	must[Agents](t)(h.s.FreezeAgents(h.ctx, FreezeAgents{Reason: "a test"}))
}
