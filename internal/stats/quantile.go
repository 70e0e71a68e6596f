package stats

import "math"

// An Exceedance is the breaker for a quantile of a metric, such as the 99th
// percentile of latency. It turns observations into events: one of control that
// exceeds c, the q-quantile of the control observations before this window, and
// one of the treatment that exceeds (1+d)·c + δ. By the margin alone the treatment
// exceeds no more often than control, and [Labels] with ratio 1 watches that.
//
// Null: (x_T − δ)/(1+d) is stochastically not above x_C. The guarantee is [exact] for
// any c that was fixed before the window, however good; for the weaker null "the
// quantile is within the margin" it is [asymptotic], as c comes near to control's quantile.
// Where higher is better the events are below c and (1−d)·c − δ instead.
//
// Feed observations with Add and end each judging window with Close. Both arms'
// sketches serve the report as well. A test of the opposite, that the quantile is
// within a step's margin, runs beside it on thresholds of its own.
type Exceedance struct {
	Labels
	Q      float64      `json:"q"`
	Window Tail         `json:"window"`
	Shown  []TailWithin `json:"shown,omitempty"` // one for each planned step
	Arms   [2]Sketch    `json:"arms"`            // control, treatment
}

// A TailWithin gathers the evidence that a quantile is within the margin of one
// step.
type TailWithin struct {
	NonInferiority
	Window Tail `json:"window"`
}

// A Tail counts, in one judging window, how many observations of each arm there
// were and how many of them were beyond that arm's threshold.
type Tail struct {
	Margin  Margin     `json:"margin"`
	AtLeast float64    `json:"atLeast,omitempty"` // part of control's quantile that the margin is at the least
	Known   bool       `json:"known,omitempty"`   // whether the thresholds are set
	Limit   [2]float64 `json:"limit"`             // control, treatment
	N       [2]int64   `json:"n"`
	X       [2]int64   `json:"x"`
}

// NewExceedance returns the breaker of the q-quantile with margin m, which tells
// of each of the planned shares (0 to 1) whether the quantile is within that
// step's margin.
func NewExceedance(q float64, m Margin, s Schedule, shares ...float64) Exceedance {
	e := Exceedance{Labels: NewLabels(Margin{}, s), Q: q, Window: Tail{Margin: m}}
	for _, a := range shares {
		e.Shown = append(e.Shown, TailWithin{NonInferiority: NewNonInferiority(1), Window: Tail{Margin: m, AtLeast: HarmBudget / max(a, smallestShare)}})
	}
	return e
}

// MinControl returns how many control observations it takes until the q-quantile
// is estimated: five beyond it on the side that is bad.
func (e *Exceedance) MinControl() float64 {
	if e.Window.Margin.HigherIsBetter {
		return MinTail / e.Q
	}
	return MinTail / (1 - e.Q)
}

// Add counts an observation into the open window.
func (e *Exceedance) Add(treatment bool, x float64) {
	if !(math.Abs(x) <= MaxValue) {
		return
	}
	arm := armOf(treatment)
	e.Window.add(arm, x)
	for i := range e.Shown {
		e.Shown[i].Window.add(arm, x)
	}
	e.Arms[arm].Add(x)
}

func (w *Tail) add(arm int, x float64) {
	if !w.Known {
		return
	}
	w.N[arm]++
	if x > w.Limit[arm] != w.Margin.HigherIsBetter && x != w.Limit[arm] {
		w.X[arm]++
	}
}

// Close judges the window that ends at t, in seconds since the rollout's start,
// and sets the thresholds of the next from what control has shown until now. A
// window in which one arm is missing stays open, with its thresholds. design is
// the design effect of the observations of one unit, as in [Events].
func (e *Exceedance) Close(t, design float64) {
	if w := &e.Window; w.Known {
		if w.N[0] == 0 || w.N[1] == 0 {
			return
		}
		e.Labels.Observe(t, w.events(design))
		for i := range e.Shown {
			e.Shown[i].Observe(e.Shown[i].Window.events(design))
		}
	}
	if e.Arms[0].Count() < e.MinControl() {
		return
	}
	c := e.Arms[0].Quantile(e.Q)
	e.Window.open(c)
	for i := range e.Shown {
		e.Shown[i].Window.open(c)
	}
}

// Step gives the start of a step its mass, and asks for fresh evidence.
func (e *Exceedance) Step(t float64) {
	e.Labels.Step(t)
	for i := range e.Shown {
		e.Shown[i].Step()
	}
}

func (w *Tail) events(design float64) Events {
	return Events{
		Share:     float64(w.N[1]) / float64(w.N[0]+w.N[1]),
		Treatment: w.X[1], Control: w.X[0], DesignEffect: design,
	}
}

// open sets the thresholds of the next window from control's quantile c.
func (w *Tail) open(c float64) {
	size, least, sign := math.Abs(c), w.AtLeast, 1.0
	if w.Margin.HigherIsBetter {
		least, sign = least/(1+least), -1 // as far from 1 as the inverse of what is allowed upwards
	}
	far := sign * max(w.Margin.Relative*size+w.Margin.Absolute, least*size)
	*w = Tail{Margin: w.Margin, AtLeast: w.AtLeast, Known: true, Limit: [2]float64{c, c + far}}
}

// quantileRanks returns between which parts of n values the q-quantile must lie,
// at all n together with probability 1 − alpha. How many values are at or below it
// differs from q·n by a sum of centred coin tosses, to which the beta-binomial
// mixture applies.
func quantileRanks(q, n, alpha, opt float64) (low, high float64) {
	out := func(p float64) bool {
		return betaBinomial((p-q)*n, q*(1-q)*n, q*(1-q)*opt, q, 1-q, alpha) >= math.Log(1/alpha)
	}
	return bisect(q, 0, out), bisect(q, 1, out)
}

// ProportionInterval returns bounds of the chance of success that hold at all
// times together with probability 1 − alpha, tightest at opt trials: the
// beta-binomial confidence sequence of Howard et al. (2021), [exact] for
// independent trials.
func ProportionInterval(successes, trials, alpha, opt float64) (Interval, bool) {
	if !(trials > 0 && successes >= 0 && successes <= trials && trials <= MaxValue && alpha > 0 && alpha < 1 && opt > 0) {
		return Interval{}, false
	}
	p := successes / trials
	out := func(x float64) bool {
		if x <= 0 || x >= 1 {
			return true
		}
		v := x * (1 - x)
		return betaBinomial((p-x)*trials, v*trials, v*opt, x, 1-x, proportionTuning) >= math.Log(1/alpha)
	}
	i := Interval{Low: 0, High: 1}
	if p > 0 {
		i.Low = bisect(p, 0, out)
	}
	if p < 1 {
		i.High = bisect(p, 1, out)
	}
	return i, true
}

// The error at which the mixture of ProportionInterval is tightest; any would be
// valid.
const proportionTuning = 0.05

// betaBinomial returns the logarithm of the two-sided beta-binomial mixture at a
// sum s of increments in {−g, h} with intrinsic time v, tuned to be tightest at
// time opt and error alpha (Howard et al. 2021, proposition 7).
func betaBinomial(s, v, opt, g, h, alpha float64) float64 {
	r := max(Rho(opt, alpha)-g*h, 1e-3*g*h)
	w := g + h
	return v/(g*h)*math.Log(w) - (v+h*s)/(h*w)*math.Log(g) - (v-g*s)/(g*w)*math.Log(h) +
		logBeta((r+v-g*s)/(g*w), (r+v+h*s)/(h*w)) - logBeta(r/(g*w), r/(h*w))
}

func logBeta(a, b float64) float64 { return logGamma(a) + logGamma(b) - logGamma(a+b) }

// bisect returns where between from and to it becomes true that out, which is
// false at from; to if nowhere.
func bisect(from, to float64, out func(float64) bool) float64 {
	if !out(to) {
		return to
	}
	for range 100 {
		mid := (from + to) / 2
		if mid == from || mid == to {
			break
		}
		if out(mid) {
			to = mid
		} else {
			from = mid
		}
	}
	return to
}
