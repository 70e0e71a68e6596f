package stats

import (
	"math"
	"slices"
	"sort"
	"testing"
)

// A canary is a service of 200 requests a second of which each fails on its own,
// a share of them served by the treatment. Only failures are drawn, and the gaps
// between them, which is the same process at a hundredth of the work.
type canary struct {
	share, healthy, broken float64 // probabilities of treatment, of failure, of the treatment's after change
	change, end            float64 // seconds
}

const requestRate = 200.0

// run feeds the failures to see, in order, until it says that it is enough.
func (c canary) run(s *stream, see func(t float64, treatment bool) bool) {
	request := 0.0
	for {
		p := c.healthy
		broken := request/requestRate >= c.change
		if broken {
			p = c.broken
		}
		ofTreatment := c.share * p
		any := ofTreatment + (1-c.share)*c.healthy
		next := request + s.gap(any)
		if !broken && next/requestRate > c.change { // no failure before the change: begin anew from it
			request = c.change * requestRate
			continue
		}
		request = next
		t := request / requestRate
		if t > c.end || !see(t, s.chance(ofTreatment/any)) {
			return
		}
	}
}

// trip returns when the breaker tripped, in seconds from the start.
func (c canary) trip(s *stream, l Labels) (float64, bool) {
	at := math.Inf(1)
	c.run(s, func(t float64, treatment bool) bool {
		l.Observe(t, event(c.share, treatment))
		if l.Tripped(BreakerAlpha) {
			at = t
		}
		return math.IsInf(at, 1)
	})
	return at, !math.IsInf(at, 1)
}

func event(share float64, treatment bool) Events {
	if treatment {
		return Events{Share: share, Treatment: 1}
	}
	return Events{Share: share, Control: 1}
}

// Errors are found as soon as was measured for a breaker of this kind, plus a
// tenth: at 200 requests a second of which 5 % are treated and 1 % fail.
func TestDetectionDelay(t *testing.T) {
	const seed = 101
	n := runs(600, 600)
	for _, tt := range []struct{ change, broken, most float64 }{
		{0, 0.015, 880}, {0, 0.02, 228}, {0, 0.05, 22.6}, {0, 0.2, 2.6},
		{1800, 0.015, 1600}, {1800, 0.02, 450}, {1800, 0.05, 50}, {1800, 0.2, 6.2},
	} {
		var delays []float64
		early := 0
		for i := range n {
			c := canary{share: 0.05, healthy: 0.01, broken: tt.broken, change: tt.change, end: tt.change + 86400}
			l := NewLabels(Margin{Relative: 0.05}, NewSchedule(1, 0))
			l.Limit = 1 / BreakerAlpha
			at, ok := c.trip(seedOf(seed, i), l)
			switch {
			case !ok:
				t.Errorf("run %d of %+v never tripped (seed %d)", i, tt, seed)
			case at <= tt.change:
				early++
			default:
				delays = append(delays, at-tt.change)
			}
		}
		got := mean(delays)
		slices.Sort(delays)
		t.Logf("change at %4.0f s to %4.1f %%: mean %.2f s, median %.2f s, p90 %.2f s; %d too early",
			tt.change, 100*tt.broken, got, delays[len(delays)/2], delays[len(delays)*9/10], early)
		// Under the race detector there are few runs, so their mean has some slack.
		if slack := 1 + 3/math.Sqrt(float64(n)); got > tt.most && !(raceDetector && got <= tt.most*slack) {
			t.Errorf("%+v: mean delay %.2f s, at most %.2f s (seed %d)", tt, got, tt.most, seed)
		}
	}
}

func mean(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / float64(len(xs))
}

// A healthy rollout trips once in a hundred at most, also if its treatment is as
// bad as the margin just allows.
func TestHealthyRolloutsDoNotTrip(t *testing.T) {
	const seed = 102
	hours := 1.0
	if nightly {
		hours = 24
	}
	n := runs(1000, 1000)
	for _, rate := range []float64{0.01, 0.0105} {
		for _, limit := range []float64{0, 1 / BreakerAlpha} {
			tripped := 0
			for i := range n {
				c := canary{share: 0.05, healthy: 0.01, broken: rate, end: hours * 3600}
				l := NewLabels(Margin{Relative: 0.05}, NewSchedule(1, 0))
				l.Limit = limit
				if _, ok := c.trip(seedOf(seed, i), l); ok {
					tripped++
				}
			}
			checkFalse(t, seed, n, tripped, BreakerAlpha)
		}
	}
}

// With a limit, evidence beyond it is given to the other outcome, and what is
// expected of it all is still exactly 1: counted over every sequence of labels.
func TestALimitIsAFairBet(t *testing.T) {
	const limit, events = 5.0, 14
	for _, m := range []Margin{{Relative: 0.05}, {Relative: 0.1, HigherIsBetter: true}} {
		share := 0.2 // the outcome that trips is the rarer one
		if m.HigherIsBetter {
			share = 0.8
		}
		theta := share * m.Ratio() / odds(share, m.Ratio())
		expected, tripped, raised := 0.0, 0.0, 0
		var walk func(l Labels, chance float64, n int)
		walk = func(l Labels, chance float64, n int) {
			if l.E() > limit+0.5 { // the mass of the time since the last event may come on top
				t.Fatalf("E %v beyond its limit", l.E())
			}
			if n == events || l.Tripped(1/limit) {
				expected += chance * (l.E() + 1 - l.Spent)
				if l.Tripped(1 / limit) {
					tripped += chance
				}
				return
			}
			at := float64(n) * 6000 // the mass of a day is spent on the way
			for _, treatment := range []bool{false, true} {
				next, plain, p := l, l, 1-theta
				if treatment {
					p = theta
				}
				plain.Limit = 0
				next.Observe(at, event(share, treatment))
				plain.Observe(at, event(share, treatment))
				if next.E() > plain.E()*(1+1e-12) {
					raised++
				}
				walk(next, chance*p, n+1)
			}
		}
		l := NewLabels(m, NewSchedule(1, 0))
		l.Limit = limit
		walk(l, 1, 0)
		if math.Abs(expected-1) > 1e-6 || tripped > 1/limit || raised == 0 {
			t.Errorf("%+v: expected %v, want 1; tripped with chance %v, at most %v; raised %d times", m, expected, tripped, 1/limit, raised)
		}
		t.Logf("%+v: tripped with chance %.4f of %.4f, raised %d times", m, tripped, 1/limit, raised)
	}
}

// A fall in conversion is found, and none is seen where there is none.
func TestAFallIsFound(t *testing.T) {
	const seed = 103
	n := runs(1000, 200)
	margin := Margin{Relative: 0.05, HigherIsBetter: true}
	tripped := 0
	var delays []float64
	for i := range n {
		s := seedOf(seed, i)
		boundary := canary{share: 0.2, healthy: 0.05, broken: 0.05 * 0.95, end: 1200}
		if _, ok := boundary.trip(s, NewLabels(margin, NewSchedule(1, 0))); ok {
			tripped++
		}
		halved := canary{share: 0.2, healthy: 0.05, broken: 0.025, end: 3600}
		at, _ := halved.trip(s, NewLabels(margin, NewSchedule(1, 0)))
		delays = append(delays, at)
	}
	checkFalse(t, seed, n, tripped, BreakerAlpha)
	// The least that any test needs on average is log(1/α) over the information
	// per second: here 10 events a second, each with D(θ(.5)‖θ(.95)) nats.
	if got := mean(delays); got > 60 {
		t.Errorf("half of the conversions lost: found after %.1f s on average (seed %d)", got, seed)
	} else {
		t.Logf("half of the conversions lost: found after %.1f s", got)
	}
}

// Five times the errors in both arms for two minutes is nobody's fault.
func TestACommonOutageDoesNotTrip(t *testing.T) {
	const seed = 104
	n := runs(500, 500)
	tripped := 0
	for i := range n {
		s, l := seedOf(seed, i), NewLabels(Margin{Relative: 0.05}, NewSchedule(1, 0))
		for at := 0.0; at < 3600; {
			rate := 0.01
			if at >= 1200 && at < 1320 {
				rate = 0.05
			}
			at += s.exponential() / (rate * requestRate)
			l.Observe(at, event(0.05, s.chance(0.05)))
		}
		if l.Tripped(BreakerAlpha) {
			tripped++
		}
	}
	checkFalse(t, seed, n, tripped, BreakerAlpha)
}

// The treatment grows while the error rate of everybody rises sixfold. Added up
// over the steps, the treatment would look far worse than control; compared
// batch by batch it does not.
func TestARampOnARisingBaselineDoesNotTrip(t *testing.T) {
	const seed = 105
	n := runs(500, 500)
	shares := []float64{0.01, 0.05, 0.2, 0.5}
	tripped := 0
	for i := range n {
		s, l := seedOf(seed, i), NewLabels(Margin{Relative: 0.05}, NewSchedule(len(shares), 0))
		step := 0
		for at := 0.0; ; {
			at += s.exponential() / (0.03 * requestRate)
			if at >= 3600 {
				break
			}
			for ; int(at/900) > step; step++ {
				l.Step(float64(step+1) * 900)
			}
			if s.uniform()*0.03 < 0.005+at/3600*0.025 { // thinned to the rate of now
				l.Observe(at, event(shares[step], s.chance(shares[step])))
			}
		}
		if l.Tripped(BreakerAlpha) {
			tripped++
		}
	}
	checkFalse(t, seed, n, tripped, BreakerAlpha)
}

// What breaks at the second step is found at once, for its start has mass.
func TestAFaultAtTheSecondStepIsFound(t *testing.T) {
	const seed = 106
	n := runs(600, 600)
	delay := func(step bool) float64 {
		var delays []float64
		for i := range n {
			s, l := seedOf(seed, i), NewLabels(Margin{Relative: 0.05}, NewSchedule(5, 0))
			canary{share: 0.01, healthy: 0.01, broken: 0.01, end: 1800}.run(s, func(t float64, treatment bool) bool {
				l.Observe(t, event(0.01, treatment))
				return true
			})
			if l.Tripped(BreakerAlpha) {
				continue
			}
			if step {
				l.Step(1800)
			}
			canary{share: 0.05, healthy: 0.01, broken: 0.2, end: 3600}.run(s, func(t float64, treatment bool) bool {
				l.Observe(1800+t, event(0.05, treatment))
				if l.Tripped(BreakerAlpha) {
					delays = append(delays, t)
				}
				return !l.Tripped(BreakerAlpha)
			})
		}
		return mean(delays)
	}
	with, without := delay(true), delay(false)
	t.Logf("mean delay %.2f s; without the step's mass %.2f s", with, without)
	if with > 3.6 && !raceDetector || without < with {
		t.Errorf("mean delay %.2f s, at most 3.6; without the step's mass %.2f s (seed %d)", with, without, seed)
	}
}

// One user who makes 30 % of all requests, no more faulty than the others, must
// not look like a fault of the treatment that he happens to have.
func TestAHotUserDoesNotTrip(t *testing.T) {
	const seed = 107
	n := runs(300, 300)
	measured, configured := 0, 0
	for i := range n {
		s := seedOf(seed, i)
		good := NewLabels(Margin{Relative: 0.05}, NewSchedule(1, 0))
		bad := good
		for window := 1; window <= 600*4; window++ { // of 250 ms, 50 requests
			var requests, failed [2]int64
			for range 50 {
				arm := 0
				if s.chance(0.3) || s.chance(0.05) {
					arm = 1
				}
				requests[arm]++
			}
			for arm := range failed {
				for range requests[arm] {
					if s.chance(0.01) {
						failed[arm]++
					}
				}
			}
			e := Events{Share: float64(requests[1]) / 50, Treatment: failed[1], Control: failed[0]}
			good.Observe(float64(window)/4, e)
			e.Share = 0.05
			bad.Observe(float64(window)/4, e)
		}
		if good.Tripped(BreakerAlpha) {
			measured++
		}
		if bad.Tripped(BreakerAlpha) {
			configured++
		}
	}
	checkFalse(t, seed, n, measured, BreakerAlpha)
	if configured < n*9/10 {
		t.Errorf("the configured share tripped only %d of %d: the test does not show the trap (seed %d)", configured, n, seed)
	}
}

// Users who fail always or never make requests alike. Counting each request on
// its own would trip many healthy rollouts; the first error of a unit, or the
// requests tempered by the design effect, trip hardly any.
func TestAlikeRequestsOfAUserDoNotTrip(t *testing.T) {
	const seed = 108
	n := runs(1500, 300)
	const users, share = 3000, 0.2
	type failure struct {
		at   float64
		user int
	}
	var naive, tempered, first int
	for i := range n {
		s := seedOf(seed, i)
		treated := make([]bool, users)
		var failures []failure
		atRisk := RiskSet{}
		for u := range users {
			treated[u] = s.chance(share)
			if treated[u] {
				atRisk.Expose(1, 0)
			} else {
				atRisk.Expose(0, 1)
			}
			p := s.beta(0.02, 0.02*99)
			for range int(s.gap(1.0 / 20)) {
				if s.chance(p) {
					failures = append(failures, failure{s.uniform() * 600, u})
				}
			}
		}
		sort.Slice(failures, func(i, j int) bool { return failures[i].at < failures[j].at })

		perRequest := NewLabels(Margin{Relative: 0.05}, NewSchedule(1, 0))
		byDesign, firsts := perRequest, perRequest
		var erring Moments
		count := make([]float64, users)
		for _, f := range failures {
			e := event(share, treated[f.user])
			perRequest.Observe(f.at, e)
			if count[f.user] == 0 {
				firsts.Observe(f.at, atRisk.Event(treated[f.user]))
				erring.N++
			}
			erring.Replace(count[f.user], count[f.user]+1)
			count[f.user]++
			e.DesignEffect = erring.DesignEffect()
			byDesign.Observe(f.at, e)
		}
		for l, k := range map[*Labels]*int{&perRequest: &naive, &byDesign: &tempered, &firsts: &first} {
			if l.Tripped(BreakerAlpha) {
				*k++
			}
		}
	}
	t.Logf("of %d: per request %d, tempered %d, first events %d", n, naive, tempered, first)
	checkFalse(t, seed, n, first, BreakerAlpha)
	checkFalse(t, seed, n, tempered, BreakerAlpha)
	if naive < n/20 {
		t.Errorf("requests counted one by one tripped only %d of %d: the test does not show the trap (seed %d)", naive, n, seed)
	}
}

// Non-inferiority is shown about as soon as a test with a fixed end would have
// shown it, and at the margin itself hardly ever.
func TestNonInferiority(t *testing.T) {
	const seed = 109
	n := runs(600, 100)
	for _, tt := range []struct{ share, a float64 }{{0.01, 0.05}, {0.05, 0.2}, {0.2, 0.5}, {0.5, 1}} {
		if tt.a == 1 && !nightly { // 10,000 events in a run
			continue
		}
		ratio := Margin{Relative: 0.05}.StepRatio(tt.a)
		// What a test with a fixed end needs for a power of 80 %.
		fixed := math.Pow((1.645+0.842)/math.Log(ratio), 2) / (tt.share * (1 - tt.share)) / (0.01 * requestRate)
		shown := func(s *stream, rate, end float64) float64 {
			at, e := math.Inf(1), NewNonInferiority(ratio)
			canary{share: tt.share, healthy: 0.01, broken: rate, end: end}.run(s, func(t float64, treatment bool) bool {
				e.Observe(event(tt.share, treatment))
				if e.Shown(AdvanceAlpha) {
					at = t
				}
				return math.IsInf(at, 1)
			})
			return at
		}
		var times []float64
		wrong := 0
		for i := range n {
			times = append(times, shown(seedOf(seed, i), 0.01, 10*fixed))
			if !math.IsInf(shown(seedOf(seed+1, i), 0.01*ratio, 3*fixed), 1) {
				wrong++
			}
		}
		slices.Sort(times)
		median := times[n/2]
		t.Logf("ratio %.2f: median %.0f s, with a fixed end %.0f s; at the margin %d of %d shown", ratio, median, fixed, wrong, n)
		if most := fixed * (1.1 + 2/math.Sqrt(float64(n))); median > most && !raceDetector {
			t.Errorf("ratio %.2f: median %.0f s, at most %.0f (seed %d)", ratio, median, most, seed)
		}
		if most := mostFalse(n, AdvanceAlpha); wrong > most {
			t.Errorf("ratio %.2f: %d of %d at the margin shown within it, at most %d may (seed %d)", ratio, wrong, n, most, seed)
		}
	}
}

// The mirror image holds where higher is better.
func TestNonInferiorityOfAConversion(t *testing.T) {
	const seed = 110
	n := runs(600, 100)
	margin := Margin{Relative: 0.05, HigherIsBetter: true}
	ratio := margin.StepRatio(0.5)
	wrong, right := 0, 0
	for i := range n {
		for rate, k := range map[float64]*int{0.05: &right, 0.05 * ratio: &wrong} {
			e := NewNonInferiority(ratio)
			canary{share: 0.5, healthy: 0.05, broken: rate, end: 800}.run(seedOf(seed, i), func(t float64, treatment bool) bool {
				e.Observe(event(0.5, treatment))
				if e.Shown(AdvanceAlpha) {
					*k++
				}
				return !e.Shown(AdvanceAlpha)
			})
		}
	}
	t.Logf("ratio %.3f: of %d, %d shown where equal, %d at the margin", ratio, n, right, wrong)
	if right < n*85/100 || wrong > mostFalse(n, AdvanceAlpha) {
		t.Errorf("of %d, %d shown where equal, %d at the margin (seed %d)", n, right, wrong, seed)
	}
}

// When all but a twentieth are treated it is the same test the other way about.
func TestAHoldbackIsWatched(t *testing.T) {
	const seed = 112
	n := runs(1000, 300)
	for _, limit := range []float64{0, 1 / BreakerAlpha} {
		tripped, found := 0, 0
		for i := range n {
			for rate, k := range map[float64]*int{0.0105: &tripped, 0.03: &found} {
				l := NewLabels(Margin{Relative: 0.05}, NewSchedule(1, 0))
				l.Limit = limit
				if _, ok := (canary{share: 0.95, healthy: 0.01, broken: rate, end: 600}).trip(seedOf(seed, i), l); ok {
					*k++
				}
			}
		}
		checkFalse(t, seed, n, tripped, BreakerAlpha)
		if found < n*95/100 {
			t.Errorf("three times the errors found in %d of %d within ten minutes (seed %d)", found, n, seed)
		}
	}
}

// The interval of the rate ratio covers the truth at all times together.
func TestRateRatioCovers(t *testing.T) {
	const seed = 111
	n := runs(2000, 200)
	for _, tt := range []struct{ share, ratio float64 }{{0.05, 1}, {0.5, 1}, {0.05, 4}, {0.95, 0.5}} {
		missed := 0
		var r RateRatio
		for i := range n {
			r = RateRatio{}
			out, seen := false, 0
			canary{share: tt.share, healthy: 0.01, broken: 0.01 * tt.ratio, end: 3600}.run(seedOf(seed, i), func(t float64, treatment bool) bool {
				r.Observe(event(tt.share, treatment))
				if seen++; seen%5 != 0 { // a look at each fifth event
					return true
				}
				if b, ok := r.Interval(0.05); ok && (b.Low > tt.ratio || b.High < tt.ratio) {
					out = true
				}
				return true
			})
			if out {
				missed++
			}
		}
		got, _ := r.Estimate()
		b, _ := r.Interval(0.05)
		t.Logf("share %.2f ratio %.1f: %d of %d left the interval; the last run ends at %.2f [%.2f, %.2f]",
			tt.share, tt.ratio, missed, n, got, b.Low, b.High)
		if most := mostFalse(n, 0.05); missed > most {
			t.Errorf("share %.2f ratio %.1f: %d of %d left the 95 %% interval, at most %d may (seed %d)", tt.share, tt.ratio, missed, n, most, seed)
		}
	}
}
