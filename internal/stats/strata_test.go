package stats

import (
	"math"
	"sort"
	"testing"
)

func TestStrata(t *testing.T) {
	s := NewStrata(620) // buckets of 10 s
	s.Expose(5, 1, 4)
	s.Expose(9.9, 0, 5)
	s.Expose(10, 3, 3)
	if e := s.Event(5, 20, true); e != (Events{Share: 0.1, Treatment: 1}) {
		t.Errorf("first event %+v", e)
	}
	if e := s.Event(10, 630, false); e != (Events{Share: 0.5, Control: 1}) {
		t.Errorf("an event at exactly the window's end: %+v", e)
	}
	if e := s.Event(10, 630.1, false); e != (Events{}) {
		t.Errorf("an event after its window: %+v", e)
	}
	s.Ramp(15, 2) // the two left in control
	if e := s.Event(15, 30, true); e != (Events{Share: 1, Treatment: 1}) {
		t.Errorf("after all are in treatment: %+v", e)
	}
	s.Expose(645, 1, 1) // takes the place of the first bucket
	if e := s.Event(5, 600, false); e != (Events{}) {
		t.Errorf("an event of a bucket that is gone: %+v", e)
	}
	if e := s.Event(645, 650, true); e != (Events{Share: 0.5, Treatment: 1}) {
		t.Errorf("the bucket in its place: %+v", e)
	}
}

// A ramp turns mostly new units over, and units convert most often in their first
// hours: who was exposed lately converts more. Risk sets by the time of the first
// exposure keep that from looking like an effect; one for all does not.
func TestStrataKeepExposureAgesApart(t *testing.T) {
	const seed = 441
	n := runs(1000, 300)
	type conversion struct {
		first, at float64
		treatment bool
	}
	const window, ramp, end = 3600.0, 3600.0, 7200.0
	wrongStrata, wrongPooled, found := 0, 0, 0
	for i := range n {
		for _, effect := range []float64{1, 3} {
			s, strata, pooled := seedOf(seed, i), NewStrata(window), RiskSet{}
			a, b := NewLabels(Margin{}, NewSchedule(1, 0)), NewLabels(Margin{}, NewSchedule(1, 0))
			var conversions []conversion
			var exposed []conversion
			for first := 0.0; first < end; first += s.exponential() * 2 {
				share := 0.05
				if first >= ramp {
					share = 0.5
				}
				c := conversion{first: first, treatment: s.chance(share)}
				exposed = append(exposed, c)
				rate := 0.2 / 600
				if c.treatment {
					rate *= effect
				}
				if c.at = first + s.exponential()/rate; s.chance(0.3) && c.at <= min(first+window, end) {
					conversions = append(conversions, c)
				}
			}
			sort.Slice(conversions, func(i, j int) bool { return conversions[i].at < conversions[j].at })
			for _, c := range conversions {
				for len(exposed) > 0 && exposed[0].first <= c.at {
					t, k := int64(armOf(exposed[0].treatment)), int64(1-armOf(exposed[0].treatment))
					strata.Expose(exposed[0].first, t, k)
					pooled.Expose(t, k)
					exposed = exposed[1:]
				}
				a.Observe(c.at, strata.Event(c.first, c.at, c.treatment))
				b.Observe(c.at, pooled.Event(c.treatment))
			}
			switch {
			case effect == 1 && a.Tripped(BreakerAlpha):
				wrongStrata++
			case effect == 3 && a.Tripped(BreakerAlpha):
				found++
			}
			if effect == 1 && b.Tripped(BreakerAlpha) {
				wrongPooled++
			}
		}
	}
	t.Logf("of %d, by exposure time %d wrong, all together %d wrong, %d found", n, wrongStrata, wrongPooled, found)
	checkFalse(t, seed, n, wrongStrata, BreakerAlpha)
	if found < n*9/10 {
		t.Errorf("three times the conversions found in %d of %d (seed %d)", found, n, seed)
	}
}

// Over steps with shares of their own, and with looks all the time, sound shares
// are flagged once in a thousand at most; units counted again at each step are not.
func TestSharesOverSteps(t *testing.T) {
	const seed = 442
	n := runs(1000, 300)
	steps := []float64{0.05, 0.2, 0.5}
	flagged := func(s *stream, skew float64) bool {
		c := NewShareCheck(1-steps[0], steps[0])
		for k, share := range steps {
			if k > 0 {
				c.Step(1-share, share)
			}
			for range 60 {
				treated := s.binomial(200, share*skew)
				c.Expose(200-int64(treated), int64(treated))
			}
		}
		return c.Mismatch(SampleRatioAlpha)
	}
	wrong, found := 0, 0
	for i := range n {
		if flagged(seedOf(seed, i), 1) {
			wrong++
		}
		if flagged(seedOf(seed, i), 1.1) {
			found++
		}
	}
	checkFalse(t, seed, n, wrong, SampleRatioAlpha)
	if found < n*9/10 {
		t.Errorf("shares a tenth too large found in %d of %d (seed %d)", found, n, seed)
	}
	one, two := NewShareCheck(0.5, 0.5), NewShareCheck(0.5, 0.5)
	one.Expose(5200, 4800)
	near(t, "log E", one.LogE(), SampleRatio([]float64{5200, 4800}, []float64{0.5, 0.5}, SampleRatioPrior))
	two.Expose(5200, 4800)
	two.Step(0.9, 0.1)
	near(t, "log E after a step", two.LogE(), one.LogE())
	two.Expose(-1, 0, 7)
	near(t, "log E after nonsense", two.LogE(), one.LogE())
}

// A treatment that loses its telemetry is found; one in ten lost in both arms,
// however the windows end, is not.
func TestMissingOutcomes(t *testing.T) {
	const seed = 443
	n := runs(1000, 300)
	lose := func(s *stream, treatment float64) bool {
		m := NewMissing(NewSchedule(1, 0))
		for second := 1.0; second <= 600; second++ {
			var ended, lost [2]int64
			for range 20 {
				arm := armOf(s.chance(0.1))
				ended[arm]++
				if s.chance([]float64{0.1, treatment}[arm]) {
					lost[arm]++
				}
			}
			m.Observe(second, ended, lost)
		}
		return m.Tripped(BreakerAlpha)
	}
	wrong, found := 0, 0
	for i := range n {
		if lose(seedOf(seed, i), 0.1) {
			wrong++
		}
		if lose(seedOf(seed, i), 0.2) {
			found++
		}
	}
	checkFalse(t, seed, n, wrong, BreakerAlpha)
	if found < n*95/100 {
		t.Errorf("a treatment that loses twice as much found in %d of %d (seed %d)", found, n, seed)
	}
	m := NewMissing(NewSchedule(1, 0))
	m.Observe(1, [2]int64{5, -1}, [2]int64{})
	m.Observe(1, [2]int64{5, 5}, [2]int64{0, 6})
	if m.Ended != [2]int64{} || math.Abs(m.E()-m.Spent) > 1e-12 {
		t.Errorf("nonsense was counted: %+v", m)
	}
}
