package rollout

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/flyballdev/flyball"
)

// check holds a change against the invariants, in terms of what truly was.
func (w *sim) check(was, r flyball.Rollout, s Situation, d Decision, p *proc) {
	if w.killed || !was.State.Live() {
		w.fault("%s after the end: a kill is sticky", d.Action)
	}
	if was.Revision != s.Rollout.Revision || r.Revision != was.Revision+1 {
		w.fault("%s on revision %d, decided on %d, made %d", d.Action, was.Revision, s.Rollout.Revision, r.Revision)
	}
	if was.State == flyball.RolloutPaused && !d.Action.Retreats() {
		w.fault("%s while paused", d.Action)
	}
	switch d.Action {
	case Start:
		if r.At != 0 || was.State != flyball.RolloutPending {
			w.fault("started at step %d from %s", r.At, was.State)
		}
	case Advance, Finish:
		if d.Action == Advance && r.At != was.At+1 || d.Action == Finish && r.At != was.At {
			w.fault("%s from step %d to %d", d.Action, was.At, r.At)
		}
		if was.State != flyball.RolloutRunning {
			w.fault("%s while %s", d.Action, was.State)
		}
		w.checkHeld(was, d, p)
		if was.Steps[was.At].PPM < flyball.PPM {
			w.checkEvidence(was, s, d, p)
		}
	case StepBack:
		if r.At != was.At-1 {
			w.fault("stepped back from %d to %d", was.At, r.At)
		}
	case Renew:
		w.checkFresh(s, d, p)
		if s.Evidence.Verdict == flyball.Breached || over(was.LeaseUntil, w.now()) || was.Then == flyball.ThenOff {
			w.fault("renewed a lease that ended, that of a pulse, or under a breach")
		}
		doubted := func(g flyball.MetricEvidence) bool { return g.Verdict != flyball.Healthy }
		if was.Steps[was.At].PPM < flyball.PPM && slices.ContainsFunc(s.Evidence.Guardrails, doubted) {
			w.fault("renewed a lease of which nobody showed that it does no harm")
		}
	default:
		if r.At != was.At {
			w.fault("%s moved from step %d to %d", d.Action, was.At, r.At)
		}
	}
	w.checkLease(was, r, d)
}

// checkLease wants a step that is leased to have its lease, counted from the
// decision, and nothing but a decision about leases to move it.
func (w *sim) checkLease(was, r flyball.Rollout, d Decision) {
	switch d.Action {
	case Start, Advance, StepBack, Renew:
		lease := r.Steps[r.At].Lease.Std()
		if lease == 0 && r.LeaseUntil != nil || lease > 0 && (r.LeaseUntil == nil || !r.LeaseUntil.Equal(d.At.Add(lease))) {
			w.fault("%s: step %d is leased for %v, and runs until %v", d.Action, r.At, lease, r.LeaseUntil)
		}
	default:
		if r.LeaseUntil != was.LeaseUntil {
			w.fault("%s moved the end of a lease", d.Action)
		}
	}
}

// checkHeld wants the step to have lasted, in true time. A process that was
// not there when the clock leapt cannot know of it.
func (w *sim) checkHeld(was flyball.Rollout, d Decision, p *proc) {
	unknown := time.Duration(0)
	for _, l := range w.leaps {
		if l.by > 0 && l.at >= w.entered && l.at <= p.started {
			unknown += l.by
		}
	}
	hold := was.Steps[was.At].Hold.Std()
	if was.Then == flyball.ThenOff {
		hold -= MaxAge // a lease runs from the decision, the step from the commit
		if len(w.leaps) > 0 {
			hold = 0 // a pulse ends by the clock on the wall, as its evaluators see it
		}
	}
	if held := w.gone - w.entered + unknown; held < hold {
		w.fault("%s after %v of a hold of %v", d.Action, held, hold)
	}
	if g := was.Steps[was.At].Gates; len(g) > 0 && !slices.ContainsFunc(was.Passed, func(g flyball.GatePass) bool { return g.Step == was.At }) {
		w.fault("%s through a closed gate", d.Action)
	}
}

// checkEvidence wants what a decision rested on to have been fresh, finite,
// sufficient and trusted.
func (w *sim) checkEvidence(was flyball.Rollout, s Situation, d Decision, p *proc) {
	w.checkFresh(s, d, p)
	e := s.Evidence
	if e.Rollout != was.ID || e.Step != was.At {
		w.fault("%s on evidence of step %d at step %d", d.Action, e.Step, was.At)
	}
	sufficient := e.StepUnits.Treatment >= 100
	healthy := 0
	for _, g := range e.Guardrails {
		for _, f := range []float64{g.E, g.AdvanceE} {
			if math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
				w.fault("%s on a number that is none", d.Action)
			}
		}
		if g.Verdict == flyball.Breached {
			w.fault("%s under a breach", d.Action)
		}
		if g.Verdict == flyball.Healthy {
			healthy++
		}
	}
	if !(sufficient && healthy == len(was.Guardrails)) && !(d.AbsenceOfEvidence && was.OnUnsure.Then == "advance") {
		w.fault("%s on insufficient evidence, unlabelled", d.Action)
	}
	n, err := strconv.Atoi(e.Why)
	if err != nil {
		w.fault("%s without evidence", d.Action)
		return
	}
	for _, bad := range []string{"NaN", "Inf", "negative", "mismatch", "lossy", "crossed", "unjoined", "blocked", "contradiction", "breached", "old step"} {
		if w.told[n].mood == bad {
			w.fault("%s on evidence that is %s", d.Action, bad)
		}
	}
}

// checkFresh wants both arms to have been heard, in true time, shortly before.
// A process that was not there when the clock was set back cannot know of it.
func (w *sim) checkFresh(s Situation, d Decision, p *proc) {
	n, err := strconv.Atoi(s.Evidence.Why)
	if err != nil {
		w.fault("%s without evidence", d.Action)
		return
	}
	for arm, heard := range w.told[n].heard {
		if arm == 0 && s.Rollout.Steps[s.Rollout.At].PPM == flyball.PPM {
			continue
		}
		unknown := time.Duration(0)
		for _, l := range w.leaps {
			if l.by < 0 && l.at >= heard && l.at <= p.started {
				unknown -= l.by
			}
		}
		if age := w.gone - heard; age > Freshness+MaxAge+unknown {
			w.fault("%s on data that are %v old", d.Action, age)
		}
	}
}
