package stats

import (
	"math"
	"slices"
	"testing"
)

var canaryTraffic = Traffic{PerSecond: requestRate, Share: 0.05}

// What is planned is what simulated rollouts then take.
func TestTimeToTripIsTrue(t *testing.T) {
	const seed = 461
	n := runs(600, 200)
	m, schedule := Margin{Relative: 0.05}, NewSchedule(1, 0)
	for _, broken := range []float64{0.015, 0.02, 0.05, 0.2} {
		var times []float64
		for i := range n {
			c := canary{share: 0.05, healthy: 0.01, broken: broken, end: 86400}
			at, _ := c.trip(seedOf(seed, i), NewLabels(m, schedule))
			times = append(times, at)
		}
		got, want := TimeToTrip(m, schedule, broken/0.01, 0.01, BreakerAlpha, canaryTraffic), mean(times)
		t.Logf("%.1f %%: planned %.1f s, took %.1f s", 100*broken, got, want)
		if got < 0.75*want || got > 1.35*want {
			t.Errorf("%.1f %%: planned %.2f s, took %.2f s (seed %d)", 100*broken, got, want, seed)
		}
	}
	if !math.IsInf(TimeToTrip(m, schedule, 1, 0.01, BreakerAlpha, canaryTraffic), 1) {
		t.Error("a healthy treatment trips on average")
	}
}

func TestSmallestRatioIsFoundAsOftenAsPlanned(t *testing.T) {
	const seed = 462
	n := runs(600, 200)
	schedule := NewSchedule(1, 0)
	for _, m := range []Margin{{Relative: 0.05}, {Relative: 0.05, HigherIsBetter: true}} {
		for _, seconds := range []float64{30, 300, 1800} {
			ratio, ok := SmallestRatio(m, schedule, 0.01, BreakerAlpha, canaryTraffic, seconds)
			if !ok {
				if !m.HigherIsBetter {
					t.Errorf("%+v, %v s: nothing is found", m, seconds)
				}
				continue // of 1 % of 5 % too little is left to be missed
			}
			found := 0
			for i := range n {
				c := canary{share: 0.05, healthy: 0.01, broken: 0.01 * ratio, end: seconds}
				if _, ok := c.trip(seedOf(seed, i), NewLabels(m, schedule)); ok {
					found++
				}
			}
			got := float64(found) / float64(n)
			t.Logf("%+v, %v s: %.2f times, found in %.0f %%", m, seconds, ratio, 100*got)
			if got < 0.68-2/math.Sqrt(float64(n)) || got > 0.95 {
				t.Errorf("%+v, %v s: %.2f times as many are found in %.0f %%, planned 80 (seed %d)", m, seconds, ratio, 100*got, seed)
			}
		}
	}
	if _, ok := SmallestRatio(Margin{}, schedule, 0.01, BreakerAlpha, Traffic{1, 0.01}, 10); ok {
		t.Error("ten requests find something")
	}
}

func TestSmallestDifferenceIsFoundAsOftenAsPlanned(t *testing.T) {
	const seed = 463
	n := runs(600, 200)
	m := Margin{Absolute: 10}
	traffic := Traffic{PerSecond: 20, Share: 0.2}
	for _, seconds := range []float64{60, 600} {
		beyond, ok := SmallestDifference(m, 100, 40, BreakerAlpha, traffic, seconds)
		found := 0
		for i := range n {
			s := seedOf(seed, i)
			var arms [2]Moments
			for unit := range int(seconds * 20) {
				arm := armOf(s.chance(0.2))
				arms[arm].Add(100 + 40*s.normal() + float64(arm)*(10+beyond))
				if unit%20 == 19 && arms[1].N >= MinUnits && m.Contrast(arms[1], arms[0]).LogE(m.Tau(100)) >= math.Log(1/BreakerAlpha) {
					found++
					break
				}
			}
		}
		got := float64(found) / float64(n)
		t.Logf("%v s: %.1f beyond the margin, found in %.0f %%", seconds, beyond, 100*got)
		if !ok || got < 0.72-1/math.Sqrt(float64(n)) || got > 0.93 {
			t.Errorf("%v s: %v beyond the margin, %v, is found in %.0f %%, planned 80 (seed %d)", seconds, beyond, ok, 100*got, seed)
		}
	}
	if _, ok := SmallestDifference(m, 100, 40, BreakerAlpha, traffic, 20); ok {
		t.Error("fewer units than are asked for find something")
	}
}

func TestTimeToAdvance(t *testing.T) {
	// What a test with a fixed end needs, as measured elsewhere.
	for _, tt := range []struct{ share, ratio, want float64 }{{0.01, 2, 650}, {0.05, 1.25, 1307}, {0.2, 1.1, 2127}, {0.5, 1.05, 5194}} {
		got := TimeToAdvance(tt.ratio, 0.01, Traffic{requestRate, tt.share})
		if math.Abs(got/tt.want-1) > 0.01 {
			t.Errorf("%+v: %.0f s", tt, got)
		}
	}
	if !math.IsInf(TimeToAdvance(1, 0.01, canaryTraffic), 1) || !math.IsInf(TimeToAdvance(2, 0.01, Traffic{}), 1) {
		t.Error("a time to show what cannot be shown")
	}
	at := Margin{Relative: 0.05}.AtStep(0.2, 100)
	if got := TimeToAdvanceMean(at, 40, Traffic{20, 0.2}); math.Abs(got-100/4.0) > 1e-9 { // by then the error is small enough
		t.Errorf("a mean: %v s, want 25, until there are 100 units", got)
	}
	if got, want := TimeToAdvanceMean(Margin{Absolute: 1}, 40, Traffic{20, 0.2}), 1600*(1/4.0+1/16.0)*math.Pow(advanceZ+powerZ, 2); math.Abs(got/want-1) > 1e-9 {
		t.Errorf("a mean: %v s, want %v", got, want)
	}
}

// A running gauge's forecast is about when it is shown.
func TestTimeToEnough(t *testing.T) {
	const seed = 464
	n := runs(400, 150)
	var errors []float64
	for i := range n {
		e, forecast := NewNonInferiority(1.25), math.NaN()
		end := math.Inf(1)
		canary{share: 0.05, healthy: 0.01, broken: 0.01, end: 20000}.run(seedOf(seed, i), func(t float64, treatment bool) bool {
			e.Observe(event(0.05, treatment))
			if math.IsNaN(forecast) && t > 200 {
				forecast = t + e.TimeToEnough(t)
			}
			if e.Shown(AdvanceAlpha) {
				end = t
			}
			return math.IsInf(end, 1)
		})
		if !math.IsNaN(forecast) {
			errors = append(errors, end/forecast)
		}
	}
	slices.Sort(errors)
	median := errors[len(errors)/2]
	t.Logf("shown after %.2f of the forecast in the median, %.2f to %.2f in most", median, errors[len(errors)/10], errors[len(errors)*9/10])
	if (median < 0.3 || median > 1.2) && !raceDetector {
		t.Errorf("shown after %.2f of the forecast in the median (seed %d)", median, seed)
	}
	e := NewNonInferiority(2)
	if !math.IsInf(e.TimeToEnough(100), 1) {
		t.Error("a forecast from nothing")
	}
	e.Information, e.Fresh = 1000, 10
	if got := e.TimeToEnough(10); math.Abs(got-(990.0/3-10)) > 1e-9 {
		t.Errorf("the present step's part: %v s, want 320", got)
	}
	if Remaining(5, 3, 0) != 0 || Remaining(1, 3, 2) != 1 || !math.IsInf(Remaining(1, 3, 0), 1) {
		t.Error("what remains")
	}
}
