package rollout

import (
	"fmt"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
)

// Next decides what is to be done with a rollout now. It does nothing itself.
//
// The order of its rules is the policy:
//
//  1. A rollout that has ended stays as it is; a pending one starts.
//  2. A breach that aborts goes before everything, also while paused: a pause
//     keeps users exposed.
//  3. A lease that has ended, or a budget that is spent, stops the rollout.
//     Its evaluators are, or must be, on control.
//  4. A breach steps back or holds, as the plan says; silence holds or aborts.
//  5. A paused rollout waits for its person. Its lease is not renewed: a pause
//     leaves what is served exactly as it is, its end included.
//  6. Data that cannot be trusted (sample-ratio mismatch, losses, crossed or
//     unjoined units, numbers that are none) hold it, and never abort it.
//  7. A gate that timed out, or evidence that is unsure for too long, holds it,
//     or does what the plan says.
//  8. What held it is over: it resumes, and advances at a later look.
//  9. All that an advance needs is there: one step up, never two, or the end.
//
// If it would wait, it renews a lease at half-life, as soon as the judge says
// healthy on fresh data that can be trusted. A lease is what bounds exposure that
// nobody has shown to be safe, so doubt lets it end. On everybody there is no
// control, and it is renewed while nothing objects. The lease of a pulse is
// never renewed.
//
// A plan without guardrails has nothing that could be shown healthy. It
// advances on its hold and on fresh data of enough units, which prove at
// least that the fleet serves both variants as the weights say.
func Next(s Situation) Decision {
	s.Rollout.RolloutPlan = s.Rollout.WithDefaults()
	if id := s.Evidence.Rollout; id != "" && id != s.Rollout.ID {
		s.Evidence = flyball.Evidence{} // it speaks of another rollout
	}
	s.Rollout.LeaseUntil = s.lease()
	d := decide(s)
	if until, why := s.renewal(); d.Action == Wait && until != nil {
		d.Action, d.LeaseUntil, d.Why = Renew, until, why
	}
	d.Why = clip(d.Why)
	return d
}

func decide(s Situation) Decision {
	r := s.Rollout
	switch {
	case !r.State.Live():
		return s.does(Wait, "the rollout is %s", r.State)
	case r.At < 0 || r.At >= len(r.Steps):
		return s.does(Wait, "the plan has no step %d", r.At)
	case r.State == flyball.RolloutPending:
		return s.start()
	}
	for _, rule := range []func(Situation) (Decision, bool){
		Situation.breachAborts, Situation.leaseEnded, Situation.budgetSpent, Situation.breachStepsBack,
		Situation.silence, Situation.breachHolds, Situation.paused, Situation.blocked,
		Situation.gateTimedOut, Situation.unsureHolds, Situation.resumes,
	} {
		if d, applies := rule(s); applies {
			return d
		}
	}
	return s.onward()
}

// does returns a decision that leaves the step and its lease as they are.
func (s Situation) does(a Action, format string, args ...any) Decision {
	r := s.Rollout
	return Decision{
		Action: a, Step: r.At, LeaseUntil: r.LeaseUntil, Why: fmt.Sprintf(format, args...),
		Revision: r.Revision, At: s.Now,
	}
}

// begins returns a decision after which another step is in force, with a
// lease of its own.
func (s Situation) begins(a Action, step int, format string, args ...any) Decision {
	d := s.does(a, format, args...)
	d.Step, d.LeaseUntil = step, nil
	if lease := s.Rollout.Steps[step].Lease; lease > 0 {
		d.LeaseUntil = &flyball.Time{Time: s.Now.Add(lease.Std())}
	}
	return d
}

// holds keeps the rollout from moving: a running one comes to hold, any other
// stays in its state.
func (s Situation) holds(format string, args ...any) Decision {
	if s.Rollout.State == flyball.RolloutRunning {
		return s.does(Hold, format, args...)
	}
	return s.does(Wait, format, args...)
}

func (s Situation) start() Decision {
	if why := s.unconverged(); why != "" {
		return s.does(Wait, "%s", why)
	}
	return s.begins(Start, 0, "starts at %s", share(s.Rollout.Steps[0].PPM))
}

// A breach.

func (s Situation) breachAborts() (Decision, bool) {
	why, breached := s.breached()
	switch s.Rollout.OnBreach {
	case flyball.BreachHold:
		return Decision{}, false
	case flyball.BreachStepBack:
		if s.Rollout.At > 0 || s.breachAnswered() {
			return Decision{}, false
		}
		why += "; there is no step to go back to"
	}
	return s.does(Abort, "guardrail breached: %s", why), breached
}

func (s Situation) breachStepsBack() (Decision, bool) {
	why, breached := s.breached()
	if !breached || s.Rollout.OnBreach != flyball.BreachStepBack || s.breachAnswered() {
		return Decision{}, false
	}
	return s.begins(StepBack, s.Rollout.At-1, "guardrail breached: %s", why), true
}

func (s Situation) breachHolds() (Decision, bool) {
	why, breached := s.breached()
	return s.holds("guardrail breached: %s", why), breached
}

// breached says whether the judge has shown harm, and words for it. Evidence
// of an earlier step counts: it is the same treatment. On everybody there is
// no control, and so only the streams count, and the overall verdict.
func (s Situation) breached() (string, bool) {
	e := s.Evidence
	var why []string
	for _, g := range e.Guardrails {
		if g.Verdict == flyball.Breached && s.counts(g) {
			why = append(why, s.says(g))
		}
	}
	if e.Verdict == flyball.Breached && len(why) == 0 {
		why = append(why, orElse(e.Why, "the judge says so"))
	}
	return strings.Join(why, "; "), len(why) > 0
}

// breachAnswered says whether the rollout has already stepped back for all
// that is breached. Without it one lasting verdict would walk it down step by
// step. A breach that does not tell its time is given the step's hold to go
// away.
func (s Situation) breachAnswered() bool {
	r, e := s.Rollout, s.Evidence
	if !r.SteppedBack {
		return false // at most an advance outran it
	}
	if e.Step > r.At {
		return true // the judge has not heard of the step back
	}
	settling, timed := s.gone(r.SteppedAt) < r.Steps[r.At].Hold.Std(), false
	for _, g := range e.Guardrails {
		if g.Verdict != flyball.Breached || !s.counts(g) {
			continue
		}
		if at := g.FirstTripped; at == nil && !settling || at != nil && at.After(r.SteppedAt) {
			return false
		}
		timed = true
	}
	return timed || settling
}

// Leases and budgets.

func (s Situation) leaseEnded() (Decision, bool) {
	r := s.Rollout
	if !over(r.LeaseUntil, s.Now) {
		return Decision{}, false
	}
	// The steps of a pulse are leased for exactly their hold. One that has all
	// that it needs hands over to the next, whose lease is another.
	if r.Then == flyball.ThenOff && r.State == flyball.RolloutRunning && r.At < len(r.Steps)-1 {
		_, breached := s.breached()
		firm, proof := s.lacks()
		if !breached && len(s.distrust())+len(firm)+len(proof) == 0 {
			return s.onward(), true
		}
	}
	return s.does(Stop, "lease ended"), true
}

// budgetSpent stops the rollout at its ceilings. To hold would not do: a step
// that is held goes on exposing whoever comes by.
func (s Situation) budgetSpent() (Decision, bool) {
	b, units, minutes := s.Rollout.Budget, s.Evidence.Units.Treatment, s.unitMinutes()
	switch {
	case b.ExposedUnits > 0 && units >= b.ExposedUnits:
		return s.does(Stop, "budget spent: %d units exposed of %d", units, b.ExposedUnits), true
	case b.UnitMinutes > 0 && minutes >= float64(b.UnitMinutes):
		return s.does(Stop, "budget spent: %.0f unit-minutes of %d", minutes, b.UnitMinutes), true
	}
	return Decision{}, false
}

// unitMinutes is how much exposure the rollout has spent, as the judge counts
// it. Where it did not, it is bounded from above by the units exposed so far,
// each for the whole time since the start.
func (s Situation) unitMinutes() float64 {
	if m := s.Evidence.UnitMinutes; m > 0 {
		return m
	}
	return float64(s.Evidence.Units.Treatment) * max(0, s.gone(s.Rollout.StartedAt)).Minutes()
}

// lease returns the end of the lease in force. A step that is leased and has
// lost the end of its lease is leased from its begin: it must end all the same.
func (s Situation) lease() *flyball.Time {
	r := s.Rollout
	if r.LeaseUntil != nil || r.State == flyball.RolloutPending || r.At < 0 || r.At >= len(r.Steps) || r.Steps[r.At].Lease <= 0 {
		return r.LeaseUntil
	}
	return &flyball.Time{Time: r.SteppedAt.Add(r.Steps[r.At].Lease.Std())}
}

// renewal returns the end of a renewed lease, if one is due and deserved.
func (s Situation) renewal() (*flyball.Time, string) {
	r := s.Rollout
	if r.State != flyball.RolloutRunning && r.State != flyball.RolloutHolding || r.At < 0 || r.At >= len(r.Steps) {
		return nil, ""
	}
	lease := r.Steps[r.At].Lease.Std()
	if r.Then == flyball.ThenOff || lease <= 0 || r.LeaseUntil == nil || r.LeaseUntil.Sub(s.Now) > lease/2 {
		return nil, ""
	}
	if _, breached := s.breached(); breached || !s.ownEvidence() || len(s.distrust()) > 0 || s.stale() != "" {
		return nil, ""
	}
	grounds := "nothing objects"
	if s.hasControl() {
		if len(s.unproven()) > 0 {
			return nil, ""
		}
		grounds = "evidence is healthy"
	}
	return &flyball.Time{Time: s.Now.Add(lease)}, fmt.Sprintf("the lease is renewed for %s: %s, and data are fresh", span(lease), grounds)
}

// Silence, pauses, distrust.

func (s Situation) silence() (Decision, bool) {
	r := s.Rollout
	arm, d := s.quietest()
	if !s.hasControl() || d < r.OnSilence.After.Std() {
		return Decision{}, false
	}
	if r.OnSilence.Then == "abort" {
		return s.does(Abort, "silence: no data of %s for %s, and no data is never health", arm, span(d)), true
	}
	return s.holds("silence: no data of %s for %s, and no data is never health", arm, span(d)), true
}

func (s Situation) paused() (Decision, bool) {
	return s.does(Wait, "paused until a person resumes it"), s.Rollout.State == flyball.RolloutPaused
}

func (s Situation) blocked() (Decision, bool) {
	why := s.distrust()
	return s.holds("%s", strings.Join(why, "; ")), len(why) > 0
}

// Gates and doubt.

// gateTimedOut counts a gate's time from the end of the hold: before, nobody
// need have looked.
func (s Situation) gateTimedOut() (Decision, bool) {
	waited := s.gone(s.Rollout.SteppedAt) - s.dwell()
	for i, g := range s.Rollout.Steps[s.Rollout.At].Gates {
		why := s.shut(i)
		if why == "" || g.Timeout == 0 || waited < g.Timeout.Std() {
			continue
		}
		if g.OnTimeout == "abort" {
			return s.does(Abort, "gate timed out after %s: %s", span(waited), why), true
		}
		return s.holds("gate timed out after %s: %s", span(waited), why), true
	}
	return Decision{}, false
}

func (s Situation) unsureHolds() (Decision, bool) {
	_, proof := s.lacks()
	if len(proof) == 0 || !s.unsureTooLong() || s.Rollout.OnUnsure.Then == "advance" {
		return Decision{}, false
	}
	d := s.holds("unsure for %s: %s", span(s.gone(s.Rollout.SteppedAt)), strings.Join(proof, "; "))
	d.Waits = proof
	return d, true
}

func (s Situation) unsureTooLong() bool {
	return s.gone(s.Rollout.SteppedAt) >= max(s.Rollout.OnUnsure.After.Std(), s.dwell())
}

// resumes lifts a hold whose reason is gone. Data must be back, not only
// younger than the silence that the plan bears.
func (s Situation) resumes() (Decision, bool) {
	r := s.Rollout
	if r.State != flyball.RolloutHolding {
		return Decision{}, false
	}
	if why := s.stale(); why != "" && s.hasControl() {
		return s.does(Wait, "%s", why), true
	}
	calm := min(Calm, r.Steps[r.At].Hold.Std())
	if left := calm - s.gone(r.Since); !r.Since.IsZero() && left > 0 {
		return s.does(Wait, "what held it is over; it resumes in %s", span(left)), true
	}
	return s.does(Resume, "what held it is over"), true
}

// onward advances or finishes a running rollout, if nothing is lacking.
func (s Situation) onward() Decision {
	r := s.Rollout
	if s.pulse() && !over(r.LeaseUntil, s.Now) {
		return s.does(Wait, "the pulse lasts %s more", span(s.until(r.LeaseUntil)))
	}
	firm, proof := s.lacks()
	absence := len(proof) > 0 && s.unsureTooLong() && r.OnUnsure.Then == "advance"
	if len(firm) > 0 || len(proof) > 0 && !absence {
		waits := append(firm, proof...)
		d := s.does(Wait, "%s", strings.Join(waits, "; "))
		d.Waits = waits
		return d
	}
	reason := s.grounds()
	if absence {
		reason = fmt.Sprintf("absence of evidence: unsure for %s, and the plan says to advance; %s",
			span(s.gone(r.SteppedAt)), strings.Join(proof, "; "))
	}
	d := s.does(Finish, "every step held: %s", reason)
	if r.At < len(r.Steps)-1 {
		d = s.begins(Advance, r.At+1, "from %s to %s: %s", share(r.Steps[r.At].PPM), share(r.Steps[r.At+1].PPM), reason)
	}
	d.AbsenceOfEvidence = absence
	return d
}

func (s Situation) pulse() bool { return s.Rollout.Then == flyball.ThenOff }

func (s Situation) until(t *flyball.Time) time.Duration {
	if t == nil {
		return 0
	}
	return t.Sub(s.Now)
}
