package rollout

import (
	"slices"
	"time"

	"github.com/flyballdev/flyball"
)

// After returns r as it is once d has been carried out at now, its revision
// raised by one. The caller writes it by compare-and-set on r's revision, in
// the transaction that changes what users get, and fills in SteppedIn, which
// only that transaction knows. [Wait] returns r unchanged.
//
// It answers [flyball.Conflict] if the rollout changed since the decision, if
// a decision that exposes users is older than [MaxAge], or if a lease ended
// meanwhile: a controller that slept between deciding and doing must not act
// on what it remembers. A retreat is never too old.
func After(r flyball.Rollout, d Decision, now time.Time) (flyball.Rollout, error) {
	if d.Action == Wait {
		return r, nil
	}
	if err := fits(r, d, now); err != nil {
		return r, err
	}
	was := r.State
	r.Revision++
	switch d.Action {
	case Start:
		r.State, r.StartedAt = flyball.RolloutRunning, now
		r = stepped(r, d, now)
	case Advance:
		r = stepped(r, d, now)
	case StepBack:
		if r.State != flyball.RolloutPaused { // a pause is lifted by people only
			r.State = flyball.RolloutHolding
		}
		r = stepped(r, d, now)
		r.SteppedBack = true
	case Hold:
		r.State = flyball.RolloutHolding
	case Resume:
		r.State = flyball.RolloutRunning
	case Renew:
		r.LeaseUntil = d.LeaseUntil
		return r, nil // why it is in its state is as it was
	case Abort:
		r = ended(r, flyball.RolloutAborted, now)
	case Stop:
		r = ended(r, flyball.RolloutStopped, now)
	case Finish:
		r = ended(r, flyball.RolloutCompleted, now)
	}
	r.Why = d.Why
	if r.State != was {
		r.Since = now
	}
	return r, nil
}

func stepped(r flyball.Rollout, d Decision, now time.Time) flyball.Rollout {
	r.At, r.SteppedAt, r.SteppedBack, r.LeaseUntil = d.Step, now, false, d.LeaseUntil
	r.Unproven = d.AbsenceOfEvidence
	return r
}

func ended(r flyball.Rollout, state flyball.RolloutState, now time.Time) flyball.Rollout {
	r.State, r.EndedAt = state, &flyball.Time{Time: now}
	return r
}

// from lists the states in which an action may find a rollout; a retreat may
// find it in any that is live.
var from = map[Action][]flyball.RolloutState{
	Start:   {flyball.RolloutPending},
	Advance: {flyball.RolloutRunning},
	Hold:    {flyball.RolloutRunning},
	Resume:  {flyball.RolloutHolding},
	Finish:  {flyball.RolloutRunning},
	Renew:   {flyball.RolloutRunning, flyball.RolloutHolding},
}

// fits says why d may not be carried out on r at now.
func fits(r flyball.Rollout, d Decision, now time.Time) error {
	states, known := from[d.Action]
	if !known && !d.Action.Retreats() {
		return flyball.Errorf(flyball.Internal, "rollout %s: there is no action %q", r.ID, d.Action)
	}
	if r.Revision != d.Revision {
		return conflict(r, "changed since revision %d, on which %s was decided: it is at %d", d.Revision, d.Action, r.Revision)
	}
	if d.Action.Retreats() && !r.State.Live() || known && !slices.Contains(states, r.State) {
		return conflict(r, "is %s: too late to %s", r.State, d.Action)
	}
	step := r.At
	switch d.Action {
	case Start:
		step = 0
	case Advance:
		step++
	case StepBack:
		step--
	}
	if d.Step != step || step < 0 || step >= len(r.Steps) {
		return conflict(r, "is at step %d of %d: no %s to step %d", r.At, len(r.Steps), d.Action, d.Step)
	}
	if age := now.Sub(d.At); d.Action.Exposes() && (age > MaxAge || age < -MaxAge) {
		return conflict(r, "the decision to %s is %v old: decide anew", d.Action, age)
	}
	return leaseFits(r, d, now)
}

// leaseFits says why the leases forbid d: one that has ended is never
// extended. A pulse may go on to its next step, whose lease is another.
func leaseFits(r flyball.Rollout, d Decision, now time.Time) error {
	if d.Action == Renew && d.LeaseUntil == nil {
		return conflict(r, "a renewal needs a lease")
	}
	lives := d.Action == Renew || d.Action == StepBack || d.Action == Finish || d.Action == Advance && r.Then != flyball.ThenOff
	if lives && over(r.LeaseUntil, now) {
		return conflict(r, "the lease ended at %s: too late to %s", r.LeaseUntil.Format(time.RFC3339), d.Action)
	}
	if d.Action.Exposes() && over(d.LeaseUntil, now) {
		return conflict(r, "the lease to grant ended at %s: decide anew", d.LeaseUntil.Format(time.RFC3339))
	}
	return nil
}

// over says whether a lease has ended: it holds up to, not including, its end.
func over(lease *flyball.Time, now time.Time) bool {
	return lease != nil && !now.Before(lease.Time)
}

func conflict(r flyball.Rollout, format string, args ...any) error {
	return flyball.Errorf(flyball.Conflict, "rollout %s: "+format, append([]any{r.ID}, args...)...)
}
