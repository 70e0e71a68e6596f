package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
)

// lacks returns what an advance still needs: firm conditions, and proof, which
// is what the plan's onUnsure may waive.
func (s Situation) lacks() (firm, proof []string) {
	r := s.Rollout
	add := func(list *[]string, why string) {
		if why != "" {
			*list = append(*list, why)
		}
	}
	add(&firm, s.young())
	if s.hasControl() {
		add(&firm, s.absent())
		add(&firm, s.stale())
	}
	for i := range r.Steps[r.At].Gates {
		add(&firm, s.shut(i))
	}
	if r.At < len(r.Steps)-1 {
		add(&firm, s.unconverged())
		add(&firm, s.unaffordable())
		add(&firm, s.Frozen)
	}
	if s.hasControl() {
		add(&proof, s.fewUnits())
		proof = append(proof, s.unproven()...)
	} else {
		proof = append(proof, s.unwatched()...)
	}
	return firm, proof
}

// hasControl says whether anybody is on control; on everybody nobody is, and
// what compares the arms is suspended.
func (s Situation) hasControl() bool { return s.Rollout.Steps[s.Rollout.At].PPM < flyball.PPM }

// counts says whether a guardrail's verdict counts at this step: on everybody
// only that of a stream does, which needs no control.
func (s Situation) counts(g flyball.MetricEvidence) bool {
	return s.hasControl() || g.Stream != nil && !g.Stream.Suspended
}

// unwatched lists, on everybody, the streams that are not shown to be well.
func (s Situation) unwatched() (why []string) {
	for _, g := range s.Rollout.Guardrails {
		if of := s.Metrics[g.Metric].Of.Prometheus; of == nil || of.ByVariant() {
			continue
		}
		i := slices.IndexFunc(s.Evidence.Guardrails, func(e flyball.MetricEvidence) bool { return e.Metric == g.Metric })
		if i < 0 {
			why = append(why, g.Metric+": no evidence")
		} else if e := s.Evidence.Guardrails[i]; e.Verdict != flyball.Healthy {
			why = append(why, s.says(e))
		}
	}
	return why
}

// dwell is how long the step lasts at least: its hold, the lag of telemetry,
// and the longest window in which an outcome of a unit counts. A pulse lasts
// as long as its lease, which is its hold.
func (s Situation) dwell() time.Duration {
	r := s.Rollout
	d := r.Steps[r.At].Hold.Std()
	if s.pulse() && over(r.LeaseUntil, s.Now) {
		d = 0 // the lease was granted a moment before the step began
	}
	if !s.hasControl() {
		return d
	}
	d = max(d, s.Evidence.Lag.Std())
	for _, g := range r.Guardrails {
		if m := s.Metrics[g.Metric].WithDefaults(); m.Analysis == flyball.AnalysisUnit {
			d = max(d, m.Window.Std())
		}
	}
	return d
}

// Due returns the earliest moment at which the step in force may be left,
// should all else be in place.
func (s Situation) Due() time.Time {
	s.Rollout.RolloutPlan = s.Rollout.WithDefaults()
	if r := s.Rollout; r.At < 0 || r.At >= len(r.Steps) {
		return time.Time{}
	}
	return s.Rollout.SteppedAt.Add(s.dwell() + s.Now.Sub(s.Rollout.SteppedAt) - s.gone(s.Rollout.SteppedAt))
}

func (s Situation) young() string {
	gone, dwell := s.gone(s.Rollout.SteppedAt), s.dwell()
	switch {
	case gone < 0:
		return fmt.Sprintf("the step seems to begin in %s: the clock was set back", span(-gone))
	case gone < dwell:
		return fmt.Sprintf("the step is %s old, of %s", span(gone), span(dwell))
	}
	return ""
}

// ownEvidence says whether the evidence is about this rollout at this step.
func (s Situation) ownEvidence() bool {
	return s.Evidence.Rollout == s.Rollout.ID && s.Evidence.Step == s.Rollout.At
}

func (s Situation) absent() string {
	switch e := s.Evidence; {
	case e.Rollout != s.Rollout.ID:
		return "there is no evidence yet"
	case e.Step != s.Rollout.At:
		return fmt.Sprintf("the judge still looks at step %d", e.Step+1)
	}
	return ""
}

// quietest returns the arm that has been silent for longest. An arm that was
// never heard of counts from the begin of the step.
func (s Situation) quietest() (arm string, silent time.Duration) {
	silence := func(last time.Time) time.Duration {
		if last.IsZero() {
			last = s.Rollout.SteppedAt
		}
		return s.gone(last)
	}
	last := s.Evidence.Last
	arm, silent = s.Rollout.Treatment, silence(last.Treatment)
	if d := silence(last.Control); s.hasControl() && d > silent {
		arm, silent = s.Rollout.Control, d
	}
	return arm, silent
}

// stale says why data are not fresh. Where the clock leapt, the longest time
// that they may be old counts. Data from the future are not: they would
// stay fresh for as long as the clocks disagree.
func (s Situation) stale() string {
	last := s.Evidence.Last
	arms := []struct {
		name string
		last time.Time
	}{{s.Rollout.Treatment, last.Treatment}, {s.Rollout.Control, last.Control}}
	if !s.hasControl() {
		arms = arms[:1]
	}
	for _, a := range arms {
		switch d, doubt := s.Now.Sub(a.last), s.doubt(a.last); {
		case a.last.IsZero():
			return fmt.Sprintf("no data of %s yet", a.name)
		case d > Freshness:
			return fmt.Sprintf("the last data of %s are %s old", a.name, span(d))
		case d+doubt > Freshness:
			return fmt.Sprintf("the last data of %s may be %s old, since the clock was set back", a.name, span(d+doubt))
		case d < -Freshness:
			return fmt.Sprintf("the last data of %s are from the future, by %s: clocks disagree", a.name, span(-d))
		}
	}
	return ""
}

// distrust lists why the data cannot be trusted. On everybody the arms are no
// longer compared, and only what the judge itself forbids counts, such as an
// alarm of a single stream.
func (s Situation) distrust() []string {
	e := s.Evidence
	why := slices.Clone(e.Blocks)
	if !s.hasControl() {
		return why
	}
	if e.SRM.Mismatch {
		why = append(why, fmt.Sprintf("sample-ratio mismatch: the arms' sizes do not fit their weights, Bayes factor %s of %s",
			number(e.SRM.BayesFactor), number(e.SRM.Threshold)))
	}
	if e.Lossy != "" {
		why = append(why, "telemetry is lossy: "+e.Lossy)
	}
	// Which arm the crossed units belong to is not told: the smaller one is
	// taken, in which they weigh most.
	if arm := min(e.Units.Control, e.Units.Treatment); e.Crossed > 0 && float64(e.Crossed) > MaxCrossed*float64(arm) {
		why = append(why, fmt.Sprintf("%d units were seen in both arms, more than %s of an arm of %d", e.Crossed, percent(MaxCrossed), arm))
	}
	if all := float64(e.Joined) + float64(e.Unjoined); e.Unjoined > 0 && float64(e.Unjoined) > MaxUnjoined*all {
		why = append(why, fmt.Sprintf("%d of %.0f observations have no exposure, more than %s", e.Unjoined, all, percent(MaxUnjoined)))
	}
	return append(why, s.absurd()...)
}

// absurd lists numbers that no honest judge gives. They never advance, and
// they never abort.
func (s Situation) absurd() (why []string) {
	e := s.Evidence
	for _, g := range e.Guardrails {
		numbers := []float64{g.E, g.Threshold, g.AdvanceE, g.AdvanceThreshold, g.AdvanceMargin}
		for _, p := range []*float64{g.Estimate, g.Control, g.Treatment} {
			if p != nil {
				numbers = append(numbers, *p)
			}
		}
		if g.Interval != nil {
			numbers = append(numbers, g.Interval[:]...)
		}
		unsound := func(f float64) bool { return f-f != 0 }
		switch {
		case slices.ContainsFunc(numbers, unsound) || g.E < 0 || g.AdvanceE < 0 || g.N.Control < 0 || g.N.Treatment < 0:
			why = append(why, fmt.Sprintf("impossible numbers in the evidence of %s", g.Metric))
		case g.Threshold > 0 && g.E >= g.Threshold:
			why = append(why, fmt.Sprintf("%s contradicts itself: e=%s of %s is a breach, the verdict is %s", g.Metric, number(g.E), number(g.Threshold), g.Verdict))
		}
	}
	if srm := e.SRM; srm.BayesFactor-srm.BayesFactor != 0 && !srm.Mismatch || srm.BayesFactor < 0 {
		why = append(why, "impossible numbers in the sample ratio")
	}
	for _, n := range []int64{e.Units.Control, e.Units.Treatment, e.StepUnits.Control, e.StepUnits.Treatment, e.Crossed, e.Joined, e.Unjoined} {
		if n < 0 {
			return append(why, "the evidence counts fewer than no units")
		}
	}
	return why
}

// shut says why a gate of the step in force is not open. A pass counts for the
// step that it was given for, and only since that step began: nobody can
// approve what they have not seen. Who may open a gate is not judged here.
func (s Situation) shut(gate int) string {
	r := s.Rollout
	g := r.Steps[r.At].Gates[gate]
	by := make(map[flyball.ActorID]bool)
	for _, p := range r.Passed {
		if p.Step == r.At && p.Gate == gate && !p.At.Before(r.SteppedAt) {
			by[p.By] = true
		}
	}
	switch {
	case g.Agent != "" && len(by) == 0:
		return fmt.Sprintf("waits for the word of %s", g.Agent)
	case len(by) < g.Approval:
		return fmt.Sprintf("waits for approval: %d of %d", len(by), g.Approval)
	}
	return ""
}

// unconverged says why a stateful flag may not take a step: no instance may
// lag behind another by more than one.
func (s Situation) unconverged() string {
	f := s.Fleet
	switch {
	case !s.Stateful:
		return ""
	case f.Instances <= 0 && f.Remote <= 0:
		return "no instance has told which version it runs"
	case f.Head.Version < s.Rollout.SteppedIn:
		return fmt.Sprintf("the fleet is known up to version %d, the step began in %d", f.Head.Version, s.Rollout.SteppedIn)
	case f.Converged >= f.Instances:
		return ""
	}
	why := fmt.Sprintf("%d of %d instances are at version %d", f.Converged, f.Instances, f.Head.Version)
	var behind []string
	for _, i := range f.Behind[:min(4, len(f.Behind))] {
		behind = append(behind, fmt.Sprintf("%s at %d", i.ID, i.Applied.Version))
	}
	if len(behind) > 0 {
		why += "; behind: " + strings.Join(behind, ", ")
	}
	return why
}

// unaffordable forecasts whether the next step would go over the budget at
// once, and so throw away a healthy rollout.
func (s Situation) unaffordable() string {
	r := s.Rollout
	budget, units := r.Budget.ExposedUnits, float64(s.Evidence.Units.Treatment)
	next := units * float64(r.Steps[r.At+1].PPM) / float64(r.Steps[r.At].PPM)
	if budget == 0 || next < float64(budget) {
		return ""
	}
	return fmt.Sprintf("the next step would expose about %.0f units, the budget is %d", next, budget)
}

func (s Situation) fewUnits() string {
	if n := s.Evidence.StepUnits.Treatment; n < MinUnits {
		return fmt.Sprintf("%d units of %s, of %d needed", n, s.Rollout.Treatment, MinUnits)
	}
	return ""
}

// unproven lists the guardrails not yet shown to be within the next step's
// margin. A guardrail of which the evidence says nothing is one of them.
func (s Situation) unproven() (why []string) {
	e := s.Evidence
	wanted := make(map[string]int)
	for _, g := range s.Rollout.Guardrails {
		wanted[g.Metric]++
	}
	for _, g := range e.Guardrails {
		wanted[g.Metric]--
		if g.Verdict != flyball.Healthy {
			why = append(why, s.says(g))
		}
	}
	for i, g := range s.Rollout.Guardrails {
		first := slices.IndexFunc(s.Rollout.Guardrails, func(o flyball.Guardrail) bool { return o.Metric == g.Metric }) == i
		if first && wanted[g.Metric] > 0 {
			why = append(why, g.Metric+": no evidence")
		}
	}
	if len(why) == 0 && len(s.Rollout.Guardrails) > 0 && e.Verdict != flyball.Healthy {
		why = append(why, "not shown to be healthy: "+orElse(e.Why, "the judge is unsure"))
	}
	return why
}
