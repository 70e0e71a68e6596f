package stats

import (
	"math"
	"testing"
)

func trialMargins() []Margin {
	return []Margin{{}, {Relative: 0.05}, {Relative: 1}, {Relative: 0.1, HigherIsBetter: true}}
}

// worst returns the treatment's rates of the null at which control's is p: the one
// at the margin, and ones within it.
func worst(m Margin, p float64) []float64 {
	at := min(1, p*m.Ratio())
	if m.HigherIsBetter {
		return []float64{at, (1 + at) / 2, 1}
	}
	return []float64{at, at / 2, 0}
}

// chance returns how likely it is that x of n have the event.
func chance(n, x int64, p float64) float64 {
	c := 1.0
	for i := range x {
		c *= float64(n-i) / float64(i+1)
	}
	return c * math.Pow(p, float64(x)) * math.Pow(1-p, float64(n-x))
}

// Under every law of the null, whatever control's rate is and whatever it was
// thought to be, what is expected of each factor is at most 1.
func TestTrialFactorsAreFair(t *testing.T) {
	const treated, controls = 2, 5
	for _, m := range trialMargins() {
		for _, base := range []float64{0, 1e-6, 0.01, 0.1, 0.4, 0.95} {
			l := NewLabels(m, FromStart())
			l.Base = Baseline{X: base * 1e6, N: 1e6}
			for _, p := range []float64{0, 1e-4, 0.01, 0.05, 0.2, 0.5, 0.9, 1} {
				if base == 0 && p > 0.01 {
					continue // the label process, whose events must be rare in a batch
				}
				for _, pT := range worst(m, p) {
					var expected Alternatives
					for x := range int64(treated + 1) {
						for y := range int64(controls + 1) {
							e := Events{Share: treated / float64(treated+controls), Treatment: x, Control: y, TreatmentTrials: treated, ControlTrials: controls}
							f := l.trialBets(e)
							power(&f.none, &f.treatment, x)
							power(&f.none, &f.control, y)
							for k := range expected {
								expected[k] += chance(treated, x, pT) * chance(controls, y, p) * f.none[k]
							}
						}
					}
					for k, got := range expected {
						if slack := 1e-9 + 2*p*p*armSlack(base); got > 1+slack {
							t.Errorf("%+v, rates %v and %v, thought to be %v: alternative %d is expected to be %.9f", m, pT, p, base, k, got)
						}
					}
				}
			}
		}
	}
}

// armSlack allows the label process what it is only exact for in the limit of rare
// events.
func armSlack(base float64) float64 {
	if base == 0 {
		return 10
	}
	return 0
}

// With a limit too: counted over every outcome of some batches.
func TestTrialsWithALimitAreFair(t *testing.T) {
	const limit, batches = 4.0, 4
	for _, m := range trialMargins() {
		for _, p := range []float64{0.02, 0.1, 0.3, 0.6} {
			for _, pT := range worst(m, p)[:2] {
				expected, tripped := 0.0, 0.0
				var walk func(l Labels, sure float64, n int)
				walk = func(l Labels, sure float64, n int) {
					if n == batches || l.Tripped(1/limit) {
						expected += sure * (l.E() + 1 - l.Spent)
						if l.Tripped(1 / limit) {
							tripped += sure
						}
						return
					}
					for x := range int64(2) {
						for y := range int64(4) {
							next := l
							next.Observe(float64(n)*20000, Events{Share: 0.25, Treatment: x, Control: y, TreatmentTrials: 1, ControlTrials: 3})
							walk(next, sure*chance(1, x, pT)*chance(3, y, p), n+1)
						}
					}
				}
				l := NewLabels(m, NewSchedule(1, 0))
				l.Limit, l.Base = limit, Baseline{X: 100, N: 1000}
				walk(l, 1, 0)
				if expected > 1+1e-6 || tripped > 1/limit {
					t.Errorf("%+v, rates %v and %v: expected %.6f, tripped with chance %.4f", m, pT, p, expected, tripped)
				}
			}
		}
	}
}

// Where the rate is small, trials tell what labels do.
func TestTrialsOfARareEventAreLabels(t *testing.T) {
	for _, m := range trialMargins() {
		l := NewLabels(m, FromStart())
		l.Base = Baseline{X: 1, N: 1e9}
		e := Events{Share: 0.05, Treatment: 2, Control: 1, TreatmentTrials: 5, ControlTrials: 95}
		f := l.trialBets(e)
		power(&f.none, &f.treatment, 2)
		power(&f.none, &f.control, 1)
		want := ratiosOf(Events{Share: 0.05, Treatment: 2, Control: 1}, l.Ratio, &l.Grid, 1)
		for k := range want {
			if math.Abs(f.none[k]/want[k]-1) > 1e-5 {
				t.Errorf("%+v, alternative %d: %v, labels %v", m, k, f.none[k], want[k])
			}
		}
	}
}

// windows runs a service of 200 requests a second, judged by windows of 50 ms in
// which the share is measured, until it trips; 0 if it does not.
func windows(s *stream, l Labels, share, control, before, after, change, end float64) float64 {
	for window := 1; window <= int(end*20); window++ {
		at, p := float64(window)/20, before
		if at > change {
			p = after
		}
		n := int(s.binomial(10, share))
		if n == 0 || n == 10 {
			continue // this arm's requests are carried on in the product; here they are lost
		}
		x, y := s.binomial(n, p), s.binomial(10-n, control)
		l.Observe(at, Events{
			Share: float64(n) / 10, Treatment: int64(x), Control: int64(y),
			TreatmentTrials: int64(n), ControlTrials: int64(10 - n),
		})
		if l.Tripped(BreakerAlpha) {
			return at
		}
	}
	return 0
}

func TestTrialsAtTheBoundaryDoNotTrip(t *testing.T) {
	const seed = 451
	n, end := runs(1000, 400), 100.0
	if nightly {
		end = 3600
	}
	for _, tt := range []struct {
		m       Margin
		control float64
	}{{Margin{Relative: 0.05}, 0.01}, {Margin{Relative: 0.05}, 0.3}, {Margin{Relative: 0.1, HigherIsBetter: true}, 0.3}} {
		tripped := 0
		for i := range n {
			l := NewLabels(tt.m, NewSchedule(1, 0))
			l.Limit = 1 / BreakerAlpha
			at := tt.control * tt.m.Ratio()
			if windows(seedOf(seed, i), l, 0.1, tt.control, at, at, 0, end) > 0 {
				tripped++
			}
		}
		checkFalse(t, seed, n, tripped, BreakerAlpha)
	}
}

// Of an event that is not rare, what goes well tells too: a fall of a conversion of
// 30 % to 24 % is found in far fewer trials than by its successes' labels.
func TestTrialsTellMoreThanLabels(t *testing.T) {
	const seed = 452
	n := runs(500, 150)
	var trials, labels []float64
	for i := range n {
		for _, known := range []bool{true, false} {
			s, l := seedOf(seed, i), NewLabels(Margin{Relative: 0.05, HigherIsBetter: true}, NewSchedule(1, 0))
			for at := 1.0; at <= 20000; at++ {
				n := int64(s.binomial(20, 0.3))
				if n == 0 || n == 20 {
					continue
				}
				e := Events{Share: float64(n) / 20, Treatment: int64(s.binomial(int(n), 0.24)), Control: int64(s.binomial(int(20-n), 0.3))}
				if known {
					e.TreatmentTrials, e.ControlTrials = n, 20-n
				}
				if l.Observe(at, e); l.Tripped(BreakerAlpha) {
					if known {
						trials = append(trials, at)
					} else {
						labels = append(labels, at)
					}
					break
				}
			}
		}
	}
	t.Logf("found after %.0f batches with the trials, %.0f without", mean(trials), mean(labels))
	if len(trials) < n || mean(trials) > 0.9*mean(labels) {
		t.Errorf("found after %.0f batches with the trials (%d of %d), %.0f without (seed %d)", mean(trials), len(trials), n, mean(labels), seed)
	}
}
