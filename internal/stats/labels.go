package stats

import "math"

// Events are the events of one batch, such as the errors of one judging window:
// how many fell in which arm, and what share of all that could have fallen was
// the treatment's.
type Events struct {
	// Share is the treatment's part of what was exposed to the event in this
	// very batch: of the completed requests, or of the units at risk. The
	// configured allocation may stand for it only where the request itself was
	// randomised: one busy user would otherwise look like a fault.
	Share     float64
	Treatment int64
	Control   int64
	// How many trials each arm had, if the events are outcomes of trials that do not
	// depend on each other, such as requests of many users. Both 0 says that it is
	// not known. With them what went well is counted too.
	TreatmentTrials int64
	ControlTrials   int64
	// DesignEffect is by how much the events of one unit have so far repeated
	// each other (Moments.DesignEffect); 1 or less means that they are
	// independent, as first events of units are. A breaker keeps to the largest
	// that it was told.
	DesignEffect float64
}

// usable tells whether both arms could have had the events, and whether the
// numbers are such that no sum of them is ever infinite.
func (e Events) usable() bool {
	const most = 1e15 // beyond which not every whole number is a float64
	return e.Share > 0 && e.Share < 1 && e.DesignEffect <= MaxValue &&
		e.Treatment >= 0 && e.Control >= 0 && e.Treatment <= most && e.Control <= most &&
		(e.Treatment+e.Control > 0 || e.trials())
}

// trials tells whether the trials are known, and hold the events.
func (e Events) trials() bool {
	const most = 1e15
	return e.TreatmentTrials >= e.Treatment && e.ControlTrials >= e.Control &&
		e.TreatmentTrials+e.ControlTrials > 0 && e.TreatmentTrials <= most && e.ControlTrials <= most
}

// Labels is the breaker for events, such as errors or conversions. It asks of
// each event only in which arm it fell. If the rate ratio is r, the treatment
// has it with probability θ(r) = πr/(πr + 1 − π), where π is the treatment's
// share, whatever the rate is and however it moves. So it needs no baseline, no
// variance and no warm-up, and daily waves, outages that hit both arms and ramps
// leave it cold.
//
// Null: the ratio is never beyond Ratio. Alternatives: Ratio · Grid[k]. The
// guarantee is [exact] for any baseline and any allocation that does not foresee
// the labels (Lindon and Malek, "Anytime-valid inference for multinomial count
// data", 2022); on first events of units it is the safe logrank test (ter
// Schure, Pérez-Ortiz, Ly and Grünwald, 2020).
type Labels struct {
	Breaker
	Ratio float64      `json:"ratio"`
	Grid  Alternatives `json:"grid"`
	Base  Baseline     `json:"base,omitzero"` // of batches whose trials are known
}

// The factors, on top of the margin, that Labels looks for. The sixth of the
// second is not used, and as a factor 1 never moves.
var (
	gridAbove = Alternatives{1.2, 1.45, 2.1, 4, 8, 20}
	gridBelow = Alternatives{0.85, 0.7, 0.5, 0.3, 0.1, 1}
)

// weightsAbove spread the mass over gridAbove: great harm, of which each failure
// tells most and the time is shortest, has more of it. Grid and weights only tune how
// soon a harm is found; docs/detection.md tells what was tried.
var weightsAbove = Alternatives{1 / 7.2, 1 / 7.2, 1 / 7.2, 1 / 7.2, 1 / 7.2, 2.2 / 7.2}

// NewLabels returns the breaker of a rate with the relative margin m.
func NewLabels(m Margin, s Schedule) Labels {
	if m.HigherIsBetter {
		return Labels{Breaker: NewBreaker(5, s), Ratio: m.Ratio(), Grid: gridBelow}
	}
	l := Labels{Breaker: NewBreaker(6, s), Ratio: m.Ratio(), Grid: gridAbove}
	l.Weights = weightsAbove
	return l
}

// Observe counts a batch that ended at t, in seconds since the rollout's start.
// A batch in which only one arm could have had events says nothing and is
// skipped.
func (l *Labels) Observe(t float64, e Events) {
	if !e.usable() {
		return
	}
	d := l.temper(e.DesignEffect)
	switch {
	case d == 1 && e.trials():
		l.observeTrials(t, e)
	case e.Treatment+e.Control == 0:
	case d == 1 && l.Limit > 0 && e.Treatment+e.Control == 1 && l.E() <= l.Limit:
		control := ratiosOf(Events{Share: e.Share, Control: 1}, l.Ratio, &l.Grid, 1)
		treatment := control
		multiply(&treatment, &l.Grid)
		l.one(t, e, &treatment, &control)
	default:
		ratios := ratiosOf(e, l.Ratio, &l.Grid, d)
		l.Multiply(t, &ratios)
	}
}

// one counts a single event: with a limit, what one in the likelier arm would bring
// beyond it goes to the other. Of several events in one batch the law is only
// bounded, not known, and they are not raised.
func (l *Labels) one(t float64, e Events, treatment, control *Alternatives) {
	theta := e.Share * l.Ratio / odds(e.Share, l.Ratio)
	if l.Grid[0] < 1 { // fewer are worse: an event of control is what trips
		l.choose(t, 1-theta, e.Control == 1, control, treatment)
		return
	}
	l.choose(t, theta, e.Treatment == 1, treatment, control)
}

// ratiosOf returns the likelihood ratio of a usable batch for each alternative of
// the grid to the null ratio, tempered by the design effect d.
func ratiosOf(e Events, ratio float64, grid *Alternatives, d float64) (ratios Alternatives) {
	n := e.Treatment + e.Control
	var control Alternatives // of one event in control; one in treatment has Grid times that
	null := odds(e.Share, ratio)
	for k := range control {
		control[k] = null / odds(e.Share, ratio*grid[k])
		ratios[k] = control[k] // one by one: to copy what was just written in parts stalls the processor
	}
	switch {
	case n > few || d > 1:
		for k := range ratios {
			ratios[k] = math.Exp((float64(e.Treatment)*math.Log(grid[k]) + float64(n)*math.Log(control[k])) / d)
		}
	default: // what most windows hold; no logarithms
		for range n - 1 {
			multiply(&ratios, &control)
		}
		for range e.Treatment {
			multiply(&ratios, grid)
		}
	}
	return ratios
}

// few events are multiplied faster than their logarithms are taken.
const few = 16

func multiply(a, b *Alternatives) {
	for k := range a {
		a[k] *= b[k]
	}
}

// odds returns πr + 1 − π: how often, next to ratio 1, anyone has the event.
func odds(share, ratio float64) float64 { return 1 + share*(ratio-1) }

// A RiskSet counts the units that could still have their first event, in each
// arm. Units that fail all the time count once in it, which is what makes it
// proof against users who are alike only to themselves.
type RiskSet struct {
	Treatment int64 `json:"treatment"`
	Control   int64 `json:"control"`
}

// Expose adds units that were just seen for the first time.
func (r *RiskSet) Expose(treatment, control int64) {
	r.Treatment += treatment
	r.Control += control
}

// Ramp moves units that had no event yet from control to treatment: those of
// the cohort that a step turns over, all at once, seen again or not.
func (r *RiskSet) Ramp(moved int64) { r.Leave(0, moved); r.Treatment += moved }

// Leave removes units that can have no first event any more, because their
// window ended or they are not counted any longer.
func (r *RiskSet) Leave(treatment, control int64) {
	r.Treatment = max(0, r.Treatment-treatment)
	r.Control = max(0, r.Control-control)
}

// Event removes a unit that just had its first event and returns what [Labels],
// [NonInferiority] and [RateRatio] must be told of it.
func (r *RiskSet) Event(treatment bool) Events {
	e := Events{Share: r.Share()}
	if treatment {
		e.Treatment = 1
		r.Leave(1, 0)
	} else {
		e.Control = 1
		r.Leave(0, 1)
	}
	return e
}

// Share returns the treatment's share of the units at risk, 0 if there are none.
func (r *RiskSet) Share() float64 {
	if r.Treatment <= 0 {
		return 0
	}
	return float64(r.Treatment) / float64(r.Treatment+r.Control)
}
