package stats

import (
	"math"
	"time"
)

// A Schedule says how a breaker spreads its prior belief about when a change
// for the worse happens. The masses of all moments together never exceed 1,
// which is what bounds the false trips; where a moment has mass m, a change at
// that moment is found log(1/m) nats later than it could be.
type Schedule struct {
	Start   float64 `json:"start"`   // at the rollout's first moment
	Step    float64 `json:"step"`    // at the next step's start; each later step has half of the one before
	Rate    float64 `json:"rate"`    // for each second until Horizon
	Horizon float64 `json:"horizon"` // seconds
}

// NewSchedule returns the schedule for a plan of so many steps, whose holds take
// horizon together; a horizon below [MinHorizon] is raised to it.
//
// With one step .6 of the mass stands at the start. With several it is .5, and each
// later start is a likely moment for a change and has mass too, taken from the
// uniform part: .1, .05, .025 and so on.
func NewSchedule(steps int, horizon time.Duration) Schedule {
	h := max(horizon, MinHorizon).Seconds()
	if steps <= 1 {
		return Schedule{Start: 0.6, Rate: 0.4 / h, Horizon: h}
	}
	return Schedule{Start: 0.5, Step: 0.1, Rate: 0.3 / h, Horizon: h}
}

// FromStart is the schedule of a test that looks for a difference which was
// there from the first moment, and for no other.
func FromStart() Schedule { return Schedule{Start: 1} }

// Alternatives holds one number for each alternative hypothesis of a test: a
// size of harm that it looks for. A test with fewer gives the rest weight 0.
type Alternatives [6]float64

// A Breaker is the recursion that all breakers share,
//
//	M[k] ← (M[k] + g) · L[k],   E = Σ Weights[k] · M[k],
//
// where L[k] is the likelihood ratio, or the bet, of alternative k on what just
// arrived, and g the mass that the [Schedule] puts on "the change is now". With
// one alternative it is the Shiryaev–Roberts statistic with a proper prior on
// the time of the change, so it finds what was bad from the first request as
// well as what broke after a healthy hour. E plus the mass not yet spent is a
// non-negative supermartingale that begins at 1 (Shin, Ramdas and Rinaldo,
// "E-detectors", 2023), so P(E ever reaches 1/α) ≤ α if no harm is beyond the
// margin at any time: [exact] if each ratio has expectation at most 1 given the past.
type Breaker struct {
	Schedule Schedule     `json:"schedule"`
	Weights  Alternatives `json:"weights"` // sum to 1
	M        Alternatives `json:"m"`
	Spent    float64      `json:"spent"` // mass given out so far, at most 1
	Time     float64      `json:"time"`  // seconds since the rollout's start, up to which mass was given out
	Steps    int          `json:"steps"` // later step starts that had their mass
	Peak     float64      `json:"peak"`  // the highest E so far
	// Limit is the E at which the breaker's owner acts, 1/α; 0 if it is to be as good
	// for any. What E would exceed it by is of no use to anyone, and is given to the
	// other outcome instead: see [Labels]. E then never exceeds it.
	Limit float64 `json:"limit,omitempty"`
	// Design is the largest design effect that the evidence was tempered by;
	// 0 and 1 say that it never was.
	Design float64 `json:"design,omitempty"`
}

// Evidence above ceiling is enough for anything, and JSON could not carry an
// infinity. Below floor it is none, and it would soon be a denormal number,
// with which a processor is a hundred times slower.
const (
	ceiling = 1e300
	floor   = 1e-300
)

// NewBreaker returns a breaker at time 0 with k equally weighted alternatives
// (1 to 6; other values are taken as the nearest).
func NewBreaker(k int, s Schedule) Breaker {
	k = min(max(k, 1), len(Alternatives{}))
	b := Breaker{Schedule: s}
	b.Spent = min(max(s.Start, 0), 1)
	b.Peak = b.Spent
	for i := range b.M {
		b.M[i] = b.Spent
		if i < k {
			b.Weights[i] = 1 / float64(k)
		}
	}
	return b
}

// Multiply gives out the mass that is due at t, in seconds since the rollout's
// start, and then multiplies each alternative by its ratio. The times and
// whatever else shapes the ratios must not depend on the labels or values that
// the ratios judge. A t that is not later than the last gives out no mass.
func (b *Breaker) Multiply(t float64, ratios *Alternatives) {
	g := b.spend(t)
	e := 0.0
	for k := range b.M {
		m := (b.M[k] + g) * ratios[k]
		if !(m >= floor) { // NaN too: an absurd ratio may silence a test, never trip it
			m = 0
		}
		b.M[k] = m
		e += b.Weights[k] * m
	}
	if e > ceiling {
		for k := range b.M {
			b.M[k] = min(b.M[k], ceiling)
		}
		e = ceiling
	}
	if e > b.Peak {
		b.Peak = e
	}
}

// choose is Multiply for one of two outcomes, of which the first has, by the null
// hypothesis, a chance of at most theta and the larger ratios. If the first would
// take E beyond Limit, the excess buys nothing, so that both may be raised until
// what is expected of min(E, Limit) is E again: a bet that stops at the limit is
// not played for more (Fischer and Ramdas, "Improving Wald's (approximate)
// sequential probability ratio test by avoiding overshoot", 2024). The bound on
// false trips stays exact, and what is near the limit is found sooner.
func (b *Breaker) choose(t, theta float64, first bool, yes, no *Alternatives) {
	g, up, down := b.spend(t), 0.0, 0.0
	for k := range b.M {
		m := b.Weights[k] * (b.M[k] + g)
		up += m * yes[k]
		down += m * no[k]
	}
	ratios, raise := no, 1.0
	if first {
		ratios = yes
	}
	if up > b.Limit && down > 0 && down < up {
		raise = 1 + theta/(1-theta)*(up-b.Limit)/down
	}
	if first && up*raise > b.Limit {
		raise = b.Limit * (1 + 1e-9) / up // that much more, so that no rounding keeps it from the limit
	}
	e := 0.0
	for k := range b.M {
		m := (b.M[k] + g) * ratios[k] * raise
		if !(m >= floor) {
			m = 0
		}
		b.M[k] = m
		e += b.Weights[k] * m
	}
	b.Peak = max(b.Peak, e)
}

// Step gives out the mass of a step that starts at t. Call it before anything
// of the new step is counted, once for each later step, also when a step that
// was taken back is taken again.
func (b *Breaker) Step(t float64) {
	g := b.spend(t)
	start := min(math.Ldexp(b.Schedule.Step, -b.Steps), 1-b.Spent)
	b.Spent += start
	b.Steps++
	for k := range b.M {
		b.M[k] = min(b.M[k]+g+start, ceiling)
	}
	b.Peak = max(b.Peak, b.E())
}

// spend returns the mass that is due between the last time and t, and books it.
//
// Beyond the horizon what the step starts have left is given out by halves, one
// half in each further horizon: a rollout that lasts longer than it was planned
// to must not go blind, nor get more than its mass.
func (b *Breaker) spend(t float64) float64 {
	if !(t > b.Time) || t > math.MaxFloat64 {
		return 0
	}
	s, left, g := &b.Schedule, 1-b.Spent, 0.0
	switch {
	case t <= s.Horizon:
		g = s.Rate * (t - b.Time)
	case left < 1e-9: // what rounding left
		g = left
	default:
		g = max(0, s.Rate*(s.Horizon-b.Time))
		g += (left - g) * -math.Expm1(-math.Ln2*(t-max(b.Time, s.Horizon))/s.Horizon)
	}
	if !(g < left) {
		g = left
	}
	b.Time = t
	b.Spent += g
	return g
}

// temper takes note of a design effect and returns the one to temper by: the
// largest so far. When it grows, what is already there is tempered anew, as the
// units that repeat themselves were then counted too fully. That may only shrink
// it: an effect that is estimated anew each time must not create evidence.
func (b *Breaker) temper(d float64) float64 {
	was := max(b.Design, 1)
	if d <= was || b.Spent == 0 {
		return was
	}
	for k, m := range b.M {
		b.M[k] = min(m, b.Spent*math.Pow(m/b.Spent, was/d))
	}
	b.Design = d
	return d
}

// E returns the evidence that the margin is exceeded.
func (b *Breaker) E() float64 {
	e := 0.0
	for k, m := range b.M {
		e += b.Weights[k] * m
	}
	return e
}

// LogE returns the natural logarithm of E, always finite.
func (b *Breaker) LogE() float64 { return finiteLog(b.E()) }

// Tripped tells whether E has ever reached 1/alpha. It never turns false again.
func (b *Breaker) Tripped(alpha float64) bool { return b.Peak >= 1/alpha }

// P returns the anytime-valid p-value: the smallest alpha at which the breaker
// would have tripped, at most 1.
func (b *Breaker) P() float64 { return min(1, 1/b.Peak) }

func finiteLog(e float64) float64 { return math.Log(max(e, math.SmallestNonzeroFloat64)) }
