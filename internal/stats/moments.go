package stats

import "math"

// Moments are the count, sum and sum of squares of some values, usually of one
// value for each unit of an arm.
type Moments struct {
	N     float64 `json:"n"`
	Sum   float64 `json:"sum"`
	SumSq float64 `json:"sumSq"`
}

// Add counts the value x of a new unit, unless x is NaN or beyond [MaxValue]: one
// such value would be all that is ever seen again.
func (m *Moments) Add(x float64) {
	if math.Abs(x) <= MaxValue {
		m.N++
		m.Replace(0, x)
	}
}

// Replace tells that the value of a unit that was counted before grew from old
// to x, as the sum over a unit's observations does. The variance stays that
// between units, exactly, at no more cost than an Add. It leaves out what Add would.
func (m *Moments) Replace(old, x float64) {
	if !(max(math.Abs(old), math.Abs(x)) <= MaxValue) {
		return
	}
	m.Sum += x - old
	m.SumSq += (x - old) * (x + old)
}

// Merge adds the values of o.
func (m *Moments) Merge(o Moments) {
	m.N += o.N
	m.Sum += o.Sum
	m.SumSq += o.SumSq
}

// Mean returns the mean, 0 if there are no values.
func (m Moments) Mean() float64 {
	if m.N == 0 {
		return 0
	}
	return m.Sum / m.N
}

// Variance returns the unbiased variance, 0 if there are fewer than two values.
func (m Moments) Variance() float64 {
	if m.N < 2 {
		return 0
	}
	return max(0, (m.SumSq-m.Sum*m.Sum/m.N)/(m.N-1))
}

// An Estimate is a value and the variance of it.
type Estimate struct {
	Value float64 `json:"value"`
	V     float64 `json:"v"`
}

// Estimate returns the mean as an estimate of that of the law that the values
// come from.
func (m Moments) Estimate() Estimate {
	return Estimate{m.Mean(), m.Variance() / max(m.N, 1)}
}

// DesignEffect returns Kish's Σm²/Σm for values m that say how many events each
// unit had: 1 if none had more than one, and about as many as the units have if
// all are alike. Evidence raised to its inverse counts units in place of events.
func (m Moments) DesignEffect() float64 {
	if !(m.Sum > 0) {
		return 1
	}
	return max(1, m.SumSq/m.Sum)
}

// A Contrast is an estimate of a difference and its variance. As a [Margin] made
// it, above 0 means worse than the margin allows.
type Contrast struct {
	Theta float64 `json:"theta"`
	V     float64 `json:"v"` // 0 where nothing is known
}

// Contrast returns by how much the treatment's mean is beyond the margin,
// m_T − (1+d)·m_C − δ, or (1−d)·m_C − δ − m_T where higher is better. It is linear
// in both means: a ratio of means would divide by a control mean that is itself
// uncertain. An arm of fewer than two units gives the zero Contrast.
func (m Margin) Contrast(treatment, control Moments) Contrast {
	if treatment.N < 2 || control.N < 2 {
		return Contrast{}
	}
	return m.contrast(treatment.Estimate(), control.Estimate())
}

func (m Margin) contrast(treatment, control Estimate) Contrast {
	slope, sign := m.Ratio(), 1.0
	if m.HigherIsBetter {
		sign = -1
	}
	return Contrast{
		Theta: sign*(treatment.Value-slope*control.Value) - m.Absolute,
		V:     treatment.V + slope*slope*control.V,
	}
}

// Pool returns the mean of contrasts, weighted by their information 1/V: those
// of a rollout's steps, whose arms must never be added up across steps, since a
// rate that moves while the treatment grows would look like its effect. The
// contrasts must be independent: no unit in two of them. The part of the
// information that contrast c brought is Pool(…).V / c.V.
func Pool(contrasts ...Contrast) Contrast {
	score, information := 0.0, 0.0
	for _, c := range contrasts {
		if c.known() {
			score += c.Theta / c.V
			information += 1 / c.V
		}
	}
	if information == 0 {
		return Contrast{}
	}
	return Contrast{Theta: score / information, V: 1 / information}
}

// Within tells whether the contrasts of a rollout's steps, made with a step's
// margin ([Margin.AtStep]) and in order, show together that the treatment is
// within it, at error alpha, and whether the last of them, the present step's,
// brought at least [FreshInformation] of that.
func Within(steps []Contrast, tau, alpha float64) bool {
	if len(steps) == 0 || !steps[len(steps)-1].known() {
		return false
	}
	all := Pool(steps...)
	return all.Negate().LogE(tau) >= math.Log(1/alpha) && all.V >= FreshInformation*steps[len(steps)-1].V
}

// Negate returns the contrast with which to test the opposite: that the
// treatment is within the margin.
func (c Contrast) Negate() Contrast { return Contrast{Theta: -c.Theta, V: c.V} }

// LogE returns the logarithm of the evidence that the difference is above 0; see
// [NormalMixture].
func (c Contrast) LogE(tau float64) float64 { return NormalMixture(c.Theta, c.V, tau) }

// Interval returns bounds that hold at all times together with probability
// 1 − alpha; see [Radius]. tau is the scale of differences at which they are to be
// tightest. It is false where nothing is known.
func (c Contrast) Interval(tau, alpha float64) (Interval, bool) {
	if !c.known() || !scales(tau) {
		return Interval{}, false
	}
	r := Radius(1/c.V, 1/(tau*tau), alpha)
	return Interval{Low: c.Theta - r, High: c.Theta + r}, true
}

// known tells whether there is an estimate, within bounds in which no square or
// quotient of it overflows.
func (c Contrast) known() bool {
	return c.V >= 1/MaxValue && c.V <= MaxValue*MaxValue && math.Abs(c.Theta) <= MaxValue
}

// scales tells whether tau can be the scale of a mixture.
func scales(tau float64) bool { return tau >= 1/MaxValue && tau <= MaxValue }

// An Interval is closed and finite.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}
