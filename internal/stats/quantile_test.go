package stats

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
)

func TestQuantileConfidenceSequenceOracle(t *testing.T) {
	var o struct{ Values map[string]float64 }
	oracle(t, "confseq", &o)
	got, ok := ProportionInterval(37, 1000, 0.05, 1000)
	if !ok {
		t.Fatal("no interval")
	}
	near(t, "low", got.Low, o.Values["bernoulli_ci_lower(37/1000,alpha=0.05,t_opt=1000)"])
	near(t, "high", got.High, o.Values["bernoulli_ci_upper(37/1000,alpha=0.05,t_opt=1000)"])
	// The normal law is its limit where increments are small against what is summed.
	s, v := 1000.0, 1e5
	near(t, "log mixture", betaBinomial(s, v, v, 0.01, 0.01, 0.05), -math.Log1p(v/Rho(v, 0.05))/2+s*s/(2*(v+Rho(v, 0.05))))
}

// pages draws a page's latency, of median 148 ms.
func pages(s *stream) float64 { return s.logNormal(5, 0.6) }

// slow feeds requests to the breaker of the p99, with windows of 50 ms, until it
// trips; 0 if it does not.
func slow(s *stream, e Exceedance, end float64, treated func(x float64) float64) float64 {
	for request := 1; request <= int(end*requestRate); request++ {
		x, treatment := pages(s), s.chance(0.05)
		if treatment {
			x = treated(x)
		}
		e.Add(treatment, x)
		if request%10 != 0 {
			continue
		}
		e.Close(float64(request)/requestRate, 1)
		if e.Tripped(BreakerAlpha) {
			return float64(request) / requestRate
		}
	}
	return 0
}

// A treatment that is as slow as the margin just allows does not trip.
func TestExceedanceAtTheBoundaryDoesNotTrip(t *testing.T) {
	const seed = 401
	n, end := runs(1000, 400), 120.0
	if nightly {
		end = 1200
	}
	for _, m := range []Margin{{}, {Absolute: 100}, {Relative: 0.2}} {
		tripped := 0
		for i := range n {
			if slow(seedOf(seed, i), NewExceedance(0.99, m, NewSchedule(1, 0)), end, func(x float64) float64 {
				return x*(1+m.Relative) + m.Absolute
			}) > 0 {
				tripped++
			}
		}
		checkFalse(t, seed, n, tripped, BreakerAlpha)
	}
}

// The delays were measured by another program, from a control quantile that was
// known at once; here the first few seconds only learn it.
func TestExceedanceDelay(t *testing.T) {
	const seed = 402
	n := runs(300, 60)
	for _, tt := range []struct {
		what    string
		most    float64
		treated func(s *stream) func(float64) float64
	}{
		{"×1.8", 7.0, func(*stream) func(float64) float64 { return func(x float64) float64 { return 1.8 * x } }},
		{"×2.5", 2.1, func(*stream) func(float64) float64 { return func(x float64) float64 { return 2.5 * x } }},
		{"5 % of requests +2 s", 13.2, some(0.05)},
		{"10 % of requests +2 s", 5.3, some(0.1)},
	} {
		var delays []float64
		for i := range n {
			s := seedOf(seed, i)
			if at := slow(s, NewExceedance(0.99, Margin{}, NewSchedule(1, 0)), 600, tt.treated(s)); at > 0 {
				delays = append(delays, at)
			}
		}
		got := mean(delays)
		t.Logf("%s: %.1f s", tt.what, got)
		if most := tt.most*(1.1+2/math.Sqrt(float64(n))) + 3; got > most || len(delays) < n {
			t.Errorf("%s: mean delay %.2f s, at most %.2f; %d of %d found (seed %d)", tt.what, got, most, len(delays), n, seed)
		}
	}
}

func some(share float64) func(*stream) func(float64) float64 {
	return func(s *stream) func(float64) float64 {
		return func(x float64) float64 {
			if s.chance(share) {
				x += 2000
			}
			return x
		}
	}
}

// That a quantile is within the next step's margin is shown where it is so, and
// hardly ever where the treatment stands at that margin.
func TestQuantileWithinAStepsMargin(t *testing.T) {
	const seed = 403
	n := runs(1000, 100)
	for _, higher := range []bool{false, true} {
		right, wrong := 0, 0
		for i := range n {
			q, m := 0.95, Margin{HigherIsBetter: higher}
			at := 1.25 // into 20 %
			if higher {
				q, at = 0.05, 1/at
			}
			for factor, k := range map[float64]*int{1: &right, at: &wrong} {
				s, e := seedOf(seed, i), NewExceedance(q, m, NewSchedule(1, 0), 0.2)
				for request := 1; request <= 300*requestRate; request++ {
					x, treatment := pages(s), s.chance(0.2)
					if treatment {
						x *= factor
					}
					e.Add(treatment, x)
					if request%50 == 0 {
						e.Close(float64(request)/requestRate, 1)
						if e.Shown[0].Shown(AdvanceAlpha) {
							*k++
							break
						}
					}
				}
			}
		}
		t.Logf("higher %v: of %d, %d shown where equal, %d at the margin", higher, n, right, wrong)
		if right < n*9/10 || wrong > mostFalse(n, AdvanceAlpha) {
			t.Errorf("higher %v: of %d, %d shown where equal, %d at the margin (seed %d)", higher, n, right, wrong, seed)
		}
	}
}

// The interval of a quantile covers it at all times together, and is not so wide
// as to say nothing.
func TestQuantileIntervalCovers(t *testing.T) {
	const seed = 404
	n := runs(1000, 100)
	for _, q := range []float64{0.5, 0.95, 0.99} {
		truth := math.Exp(5 + 0.6*math.Sqrt2*math.Erfinv(2*q-1))
		missed := 0
		var last Interval
		for i := range n {
			s, k := seedOf(seed, i), Sketch{}
			for x := 1; x <= 20000; x++ {
				k.Add(pages(s))
				if x%200 != 0 {
					continue
				}
				var ok bool
				if last, ok = k.Interval(q, 0.05, 10000); ok && (last.Low > truth || last.High < truth) {
					missed++
					break
				}
			}
		}
		t.Logf("q=%v: %d of %d left the interval; the last is %.0f–%.0f of %.0f", q, missed, n, last.Low, last.High, truth)
		if most := mostFalse(n, 0.05); missed > most || last.High > 1.3*truth {
			t.Errorf("q=%v: %d of %d left the 95 %% interval, at most %d may; the last is %+v of %v (seed %d)", q, missed, n, most, last, truth, seed)
		}
	}
	if _, ok := (Sketch{}).Interval(0.5, 0.05, 100); ok {
		t.Error("an interval of nothing")
	}
}

// Quantiles are within 1 % of the exact ones, for values of any size and sign.
func TestSketchQuantiles(t *testing.T) {
	s, k := newStream(405), Sketch{}
	var all []float64
	for range 5000 {
		x := s.normal() * math.Exp(5*s.normal())
		all = append(all, x)
		k.Add(x)
	}
	k.Add(math.NaN())
	k.Add(math.Inf(1))
	slices.Sort(all)
	for _, q := range []float64{0, 0.001, 0.1, 0.5, 0.9, 0.999, 1} {
		rank := q * float64(len(all)-1)
		low, high := all[int(math.Floor(rank))], all[int(math.Ceil(rank))]
		if got := k.Quantile(q); got < low-0.01*math.Abs(low) || got > high+0.01*math.Abs(high) {
			t.Errorf("q=%v: got %v, want %v to %v", q, got, low, high)
		}
	}
	if k.Count() != 5000 {
		t.Errorf("count %v, want 5000", k.Count())
	}
}

// A breaker of a quantile that was restored continues as the other does.
func TestAnExceedanceRestartsBitEqual(t *testing.T) {
	m := Margin{Relative: 0.1}
	whole := NewExceedance(0.9, m, NewSchedule(3, 0), 0.05, 1)
	restarted := NewExceedance(0.9, m, NewSchedule(3, 0), 0.05, 1)
	a, b := newStream(406), newStream(406)
	feed := func(e *Exceedance, s *stream, i int) {
		e.Add(s.chance(0.3), pages(s)*s.logNormal(0, 3))
		if i%7 == 0 {
			e.Close(float64(i)*0.01, 1+float64(i)/3000)
		}
		if i == 1500 {
			e.Step(15)
		}
	}
	for i := range 3000 {
		feed(&whole, a, i)
		feed(&restarted, b, i)
		if i%13 != 0 {
			continue
		}
		data, err := json.Marshal(restarted)
		if err != nil {
			t.Fatal(err)
		}
		restarted = Exceedance{}
		if err := json.Unmarshal(data, &restarted); err != nil {
			t.Fatal(err)
		}
		again, _ := json.Marshal(restarted)
		other, _ := json.Marshal(whole)
		if string(again) != string(other) {
			t.Fatalf("after %d observations:\nrestarted %s\nwhole     %s", i+1, again, other)
		}
	}
	if whole.Peak <= whole.Spent || whole.Shown[0].Information == 0 {
		t.Errorf("the run does not exercise the tests: %+v", whole)
	}
	var k Sketch
	if err := k.UnmarshalText([]byte("!")); err == nil {
		t.Error("no error for what is no base 64")
	}
}
