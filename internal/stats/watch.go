package stats

import "math"

// A Watch is the recursion for watching without an end,
//
//	R[k] ← (1 + R[k]) · L[k],   R = Σ Weights[k] · R[k],
//
// which alarms when R reaches ARL. While nothing is wrong R − (number of updates) is
// a supermartingale, so that an alarm comes after ARL updates on average, or later:
// [exact] if each L has expectation at most 1 given the past (Shin, Ramdas and
// Rinaldo, "E-detectors", 2023). A [Breaker] promises more, no false trip in the
// whole rollout, but only while it has mass to give out.
type Watch struct {
	Weights Alternatives `json:"weights"`
	R       Alternatives `json:"r"`
	ARL     float64      `json:"arl"`     // updates between false alarms, on average
	Alarmed bool         `json:"alarmed"` // since it was made, or restarted
}

// NewWatch returns a watch of k equally weighted alternatives (1 to 6).
func NewWatch(k int, arl float64) Watch {
	w := Watch{ARL: arl}
	k = min(max(k, 1), len(w.Weights))
	for i := range k {
		w.Weights[i] = 1 / float64(k)
	}
	return w
}

// Multiply counts one update and tells whether there is an alarm. It is one
// update, however many events its ratios are the product of.
func (w *Watch) Multiply(ratios *Alternatives) bool {
	for k := range w.R {
		r := (1 + w.R[k]) * ratios[k]
		if !(r >= floor) { // NaN too
			r = 0
		}
		w.R[k] = min(r, ceiling)
	}
	if w.Statistic() >= w.ARL {
		w.Alarmed = true
	}
	return w.Alarmed
}

// Statistic returns R, the mean over the alternatives.
func (w *Watch) Statistic() float64 {
	sum := 0.0
	for k, r := range w.R {
		sum += w.Weights[k] * r
	}
	return sum
}

// Restart begins anew, as after an alarm that was dealt with.
func (w *Watch) Restart() { w.R, w.Alarmed = Alternatives{}, false }

// A RateWatch watches a rate for as long as a control group is held back, with
// the label process of [Labels] and its assumptions. The update is the batch.
type RateWatch struct {
	Watch
	Ratio float64      `json:"ratio"`
	Grid  Alternatives `json:"grid"`
}

// NewRateWatch returns the watch of a rate with margin m and a false alarm once in
// arl batches.
func NewRateWatch(m Margin, arl float64) RateWatch {
	l := NewLabels(m, FromStart())
	return RateWatch{Watch: Watch{Weights: l.Weights, ARL: arl}, Ratio: l.Ratio, Grid: l.Grid}
}

// Observe counts a batch and tells whether there is an alarm. One in which only
// one arm could have had events says nothing and is skipped.
func (w *RateWatch) Observe(e Events) bool {
	if !e.usable() || e.Treatment+e.Control == 0 {
		return w.Alarmed
	}
	ratios := ratiosOf(e, w.Ratio, &w.Grid, max(e.DesignEffect, 1))
	return w.Multiply(&ratios)
}

// A Monitor watches a single stream that has no control group beside it, such as
// the use of memory: it learns the stream's level, its dependence on the sample
// before and its noise, takes them out,
//
//	e_t = y_t − μ − φ·(y_{t−1} − μ),   z = e/s,
//
// and watches z, clipped to ±4 and divided by 1.15, for a shift of 1, 2, 3, 5 or 8
// in both directions. While it suspects one it stops learning, so that the shift
// does not become the norm. After [MonitorWarmUp] samples it may alarm.
//
// The time between false alarms is as told only if the stream is as the model
// says, an autoregression of order one around a slow level; without the whitening
// all streams alarm within a day. What it finds is a reason to hold a rollout, not
// to end one: nothing says that the treatment did it.
type Monitor struct {
	Rise  Watch   `json:"rise"`
	Fall  Watch   `json:"fall"`
	N     float64 `json:"n"`     // samples that were learnt from
	Level float64 `json:"level"` // μ
	Last  float64 `json:"last"`  // y of the sample before
	Var   float64 `json:"var"`   // of y − μ, clipped
	Cov   float64 `json:"cov"`   // with that of the sample before
	Abs   float64 `json:"abs"`   // mean |e|, clipped
}

// What a Monitor learns by, in samples.
const (
	MonitorWarmUp = 600
	levelSpan     = 300
	noiseSpan     = 1800 // with 600, streams of strong dependence alarm four times as often
	mostPhi       = 0.97
	absToSigma    = 1.2533 // √(π/2), a normal law's standard deviation in mean absolute deviations
	clippedNoise  = 6      // in s: no more of a sample is learnt
	clippedShift  = 4      // in s: no more of a sample is believed
	heavyTails    = 1.15   // by how much less clipped noise is believed than a normal law's
)

var shifts = Alternatives{1, 2, 3, 5, 8, 0}

// NewMonitor returns a monitor that alarms falsely once in so many samples, if the
// stream is as the model says: each of its two watches half as often.
func NewMonitor(samples float64) Monitor {
	return Monitor{Rise: NewWatch(5, 2*samples), Fall: NewWatch(5, 2*samples)}
}

// Observe counts a sample and tells whether there is an alarm. What is not a
// number, or beyond [MaxValue], is left out.
func (m *Monitor) Observe(y float64) bool {
	if !(math.Abs(y) <= MaxValue) {
		return m.Alarmed()
	}
	if m.N == 0 {
		m.N, m.Level, m.Last = 1, y, y
		return false
	}
	e := y - m.Level - m.phi()*(m.Last-m.Level)
	if m.N >= MonitorWarmUp && m.Abs > 0 {
		m.weigh(e / (absToSigma * m.Abs))
	}
	if !m.suspects() {
		m.learn(y, e)
	}
	m.Last = y
	return m.Alarmed()
}

// weigh lets both watches see a whitened sample.
func (m *Monitor) weigh(z float64) {
	rise, fall := shiftRatios(z), shiftRatios(-z)
	m.Rise.Multiply(&rise)
	m.Fall.Multiply(&fall)
}

func shiftRatios(z float64) (ratios Alternatives) {
	z = min(max(z, -clippedShift), clippedShift) / heavyTails
	for k, d := range shifts {
		ratios[k] = math.Exp(d*z - d*d/2)
	}
	return ratios
}

// suspects tells whether a shift is likely enough that nothing is learnt.
func (m *Monitor) suspects() bool {
	return max(m.Rise.Statistic(), m.Fall.Statistic()) > math.Sqrt(m.Rise.ARL)
}

// learn takes a sample and its innovation into what is known of the stream. The
// first samples weigh 1/n each, as in a plain mean; what is far out counts as if it
// were six standard deviations away.
func (m *Monitor) learn(y, e float64) {
	m.N++
	noise := max(1/m.N, 1.0/noiseSpan)
	before, now := m.Last-m.Level, y-m.Level
	if m.N > warmNoise {
		most := clippedNoise * math.Sqrt(m.Var)
		before, now = min(max(before, -most), most), min(max(now, -most), most)
		most = clippedNoise * absToSigma * m.Abs
		e = min(max(e, -most), most)
	}
	m.Level += max(1/m.N, 1.0/levelSpan) * now
	m.Var += noise * (now*now - m.Var)
	m.Cov += noise * (now*before - m.Cov)
	m.Abs += noise * (math.Abs(e) - m.Abs)
}

// warmNoise is after how many samples their spread is known well enough to clip by.
const warmNoise = 50

func (m *Monitor) phi() float64 {
	if !(m.Var > 0) {
		return 0
	}
	return min(max(m.Cov/m.Var, 0), mostPhi)
}

// Alarmed tells whether there was an alarm since the last Restart.
func (m *Monitor) Alarmed() bool { return m.Rise.Alarmed || m.Fall.Alarmed }

// Restart begins to watch anew, with what is known of the stream.
func (m *Monitor) Restart() {
	m.Rise.Restart()
	m.Fall.Restart()
}

// A HardLimit is a plain rule without statistics: a value beyond Value at every
// sample of at least so many Seconds, such as a CPU above 90 % for half a minute.
type HardLimit struct {
	Value   float64 `json:"value"`
	Below   bool    `json:"below,omitempty"` // beyond is below Value
	Seconds float64 `json:"seconds"`
	MaxGap  float64 `json:"maxGap,omitempty"` // seconds without a sample that end a duration; 0 is Seconds
	Beyond  bool    `json:"beyond,omitempty"`
	Since   float64 `json:"since,omitempty"`
	Last    float64 `json:"last,omitempty"`
}

// Observe counts the sample x of time t, in seconds, and tells whether the limit
// has been exceeded for long enough. What is no number ends nothing and begins
// nothing, nor does a sample that is older than the last.
func (h *HardLimit) Observe(t, x float64) bool {
	if math.IsNaN(x) || math.IsNaN(t) || h.Beyond && t < h.Last {
		return h.exceeded()
	}
	gap := h.MaxGap
	if gap <= 0 {
		gap = h.Seconds
	}
	beyond := x > h.Value
	if h.Below {
		beyond = x < h.Value
	}
	if beyond && (!h.Beyond || t-h.Last > gap) {
		h.Since = t
	}
	h.Beyond, h.Last = beyond, t
	return h.exceeded()
}

func (h *HardLimit) exceeded() bool { return h.Beyond && h.Last-h.Since >= h.Seconds }
