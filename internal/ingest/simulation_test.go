package ingest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// repeated returns how often a simulation runs, fewer times with -short.
func repeated(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

// A happening is an exposure or an observation at its time.
type happening struct {
	exposure    *exposure
	observation *observation
	at          int64
}

// play runs a rollout's trial over happenings, with the steps at their times.
func play(p flyball.RolloutPlan, metrics []flyball.Metric, all []happening, steps []time.Duration) *trial {
	slices.SortStableFunc(all, func(a, b happening) int { return int(a.at - b.at) })
	r := flyball.Rollout{ID: "r1", RolloutPlan: p, State: flyball.RolloutRunning, StartedAt: epoch, SteppedAt: epoch}
	t := newTrial(flyball.RolloutRecord{Rollout: r, Seed: "seed", Metrics: metrics}, us(0))
	next := 0
	until := func(at int64) {
		for next < len(steps) && us(steps[next]) <= at {
			t.advance(us(steps[next]))
			t.settle()
			next++
			r.At, r.SteppedAt = next, epoch.Add(steps[next-1])
			t.change(r)
		}
		t.advance(at)
	}
	for _, h := range all {
		until(h.at)
		if h.exposure != nil {
			h.exposure.step = t.at()
			arm := "off"
			if int(eval.Point("seed", h.exposure.unit)) < p.Steps[t.at()].PPM {
				arm = "on"
			}
			h.exposure.variant = arm
			t.expose(h.exposure)
		} else {
			t.observe(h.observation, true)
		}
		t.settle()
	}
	return t
}

// Users stay for two minutes, and fail at any moment of them alike. A judge that
// moved units into treatment only as they are seen again would compare those who
// are there with those who have long left.
func TestHealthyRampsDoNotTripWhileUsersComeAndGo(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	p, m := guarded(plan(10_000, 50_000, 200_000, 500_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	steps := []time.Duration{5 * time.Minute, 10 * time.Minute, 15 * time.Minute}
	n, tripped := repeated(500), 0
	for run := range n {
		var all []happening
		for user := range 1500 {
			unit := fmt.Sprintf("%d/%d", run, user)
			came := time.Duration(rng.Float64() * float64(20*time.Minute))
			for at := came; at < came+2*time.Minute; at += time.Minute { // exposed again and again
				all = append(all, happening{at: us(at), exposure: &exposure{t: us(at), rollout: "r1", unit: unit}})
			}
			if rng.Float64() < 0.15 {
				at := came + time.Duration(rng.Float64()*float64(2*time.Minute))
				o := saw(at, unit, "errors", 1)
				all = append(all, happening{at: us(at), observation: &o})
			}
		}
		if play(p, m, all, steps).breached() {
			tripped++
		}
	}
	t.Logf("%d of %d healthy ramps tripped", tripped, n)
	if tripped > 13*n/500 {
		t.Errorf("%d of %d healthy ramps tripped, want at most 13 of 500", tripped, n)
	}
}

// Errors become more by the minute while the treatment grows: raw counts over
// steps would show that as the treatment's doing.
func TestHealthyRampsDoNotTripWhileTheBaselineRises(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	metric := errorsByUnit
	metric.Window = flyball.Duration(time.Minute)
	p, m := guarded(plan(100_000, 500_000), flyball.Margin{}, metric)
	n, tripped, judged := repeated(500), 0, 0
	for run := range n {
		var all []happening
		for user := range 3000 {
			unit := fmt.Sprintf("%d/%d", run, user)
			at := time.Duration(rng.Float64() * float64(20*time.Minute))
			all = append(all, happening{at: us(at), exposure: &exposure{t: us(at), rollout: "r1", unit: unit}})
			if rate := 0.05 + 0.7*float64(at)/float64(20*time.Minute); rng.Float64() < rate {
				done := at + time.Duration(rng.Float64()*float64(70*time.Second)) // some of them too late to count
				o := saw(done, unit, "errors", 1)
				all = append(all, happening{at: us(done), observation: &o})
			}
		}
		tr := play(p, m, all, []time.Duration{10 * time.Minute})
		if tr.breached() {
			tripped++
		}
		if c := tr.gauges[0].Compared; c.Judged && c.AtStep > 0 && 1/c.Difference.V > 1.5*c.AtStep {
			judged++ // with evidence of both steps
		}
	}
	t.Logf("%d of %d healthy ramps tripped, %d judged", tripped, n, judged)
	if tripped > 13*n/500 || judged < n*9/10 {
		t.Errorf("%d of %d healthy ramps tripped, want at most 13 of 500; %d judged", tripped, n, judged)
	}
}

// A fault of a fifth of the treatment's requests is found soon though fifty
// instances send four times a second each: the treatment's share is that of all
// of them together, not of one instance's few requests.
func TestAFaultIsFoundSoonWhereManyInstancesSend(t *testing.T) {
	rng := seeded(t)
	const instances, rps, share = 50, 200.0, 0.05
	failures := flyball.Metric{Key: "failures", Type: flyball.MetricRate, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	p, m := guarded(plan(50_000), flyball.Margin{Relative: 0.05}, failures)
	var took []float64
	for range repeated(60) {
		s := newStage(t, p, m)
		s.log = nil
		waiting := make([][]any, instances)
		flush := make([]time.Duration, instances)
		for i := range flush {
			flush[i] = time.Duration(rng.Float64() * float64(250*time.Millisecond))
		}
		for at := time.Duration(0); len(s.tripped) == 0 && at < time.Minute; at += 5 * time.Millisecond {
			i := rng.IntN(instances)
			o := observation{t: us(at), metric: "failures", variant: "off"}
			rate := 0.01
			if rng.Float64() < share {
				o.variant, rate = "on", 0.2
			}
			if rng.Float64() < rate {
				o.value = 1
			}
			waiting[i] = append(waiting[i], o)
			for i := range flush {
				if at >= flush[i] {
					s.send(at, fmt.Sprint(i), waiting[i]...)
					waiting[i], flush[i] = nil, flush[i]+250*time.Millisecond
				}
			}
		}
		took = append(took, float64(s.judge.clock-us(0))/1e6)
	}
	slices.Sort(took)
	median := took[len(took)/2]
	t.Logf("median %.2f s, p90 %.2f s of %d runs", median, took[len(took)*9/10], len(took))
	if median > 2.8 {
		t.Errorf("a fault of 20 %% of requests is found after %.2f s (median), want 2.8", median)
	}
}

// Some users make most of the traffic, and some fail or are slow by themselves:
// by request that would look like an effect.
func TestBusyUsersDoNotTripAHealthyRollout(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	failures := flyball.Metric{Key: "failures", Type: flyball.MetricRate, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	latency := flyball.Metric{Key: "latency", Type: flyball.MetricMean, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	p, m := guarded(plan(200_000), flyball.Margin{Relative: 0.05}, failures, latency)
	p.Alpha = 0.02 // 1 % for each
	n, tripped := repeated(100), [2]int{}
	for run := range n {
		var all []happening
		for user := range 1000 {
			unit := fmt.Sprintf("%d/%d", run, user)
			rate, slow := 0.01, math.Exp(0.7*rng.NormFloat64())
			if user%100 == 0 {
				rate = 1
			}
			requests := min(200, int(2/math.Pow(1-rng.Float64(), 0.8))) // Zipf's law
			at := time.Duration(rng.Float64() * float64(5*time.Minute))
			all = append(all, happening{at: us(at), exposure: &exposure{t: us(at), rollout: "r1", unit: unit}})
			for range requests {
				at += time.Duration(rng.ExpFloat64() * float64(5*time.Second))
				f, l := saw(at, unit, "failures", 0), saw(at, unit, "latency", 100*slow*rng.ExpFloat64())
				if rng.Float64() < rate {
					f.value = 1
				}
				all = append(all, happening{at: us(at), observation: &f}, happening{at: us(at), observation: &l})
			}
		}
		tr := play(p, m, all, nil)
		for i := range tripped {
			if tr.gauges[i].TrippedAt != 0 {
				tripped[i]++
			}
		}
	}
	t.Logf("of %d healthy rollouts %d tripped by errors, %d by latency", n, tripped[0], tripped[1])
	if most := max(1, n/50); tripped[0] > most || tripped[1] > most {
		t.Errorf("of %d healthy rollouts %d tripped by errors and %d by latency, want at most 2 %%", n, tripped[0], tripped[1])
	}
}

// Exposures of treatment only, as code sends that forgets control, are a
// mismatch soon; equal triggers are none.
func TestUnequalTriggersAreASampleRatioMismatch(t *testing.T) {
	rng := seeded(t)
	p, m := guarded(plan(50_000, 200_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	run := func(name string, sends func(unit string, treated bool) bool) (mismatch bool) {
		var all []happening
		for user := range 10_000 {
			at := time.Duration(rng.Float64() * float64(20*time.Minute))
			unit := fmt.Sprintf("%s/%d", name, user)
			step := 0
			if at > 10*time.Minute {
				step = 1
			}
			if sends(unit, int(eval.Point("seed", unit)) < p.Steps[step].PPM) {
				all = append(all, happening{at: us(at), exposure: &exposure{t: us(at), rollout: "r1", unit: unit}})
			}
		}
		return play(p, m, all, []time.Duration{10 * time.Minute}).evidence(epoch.Add(time.Hour)).SRM.Mismatch
	}
	if run("sound", func(string, bool) bool { return true }) {
		t.Error("a sound assignment is called a mismatch")
	}
	if !run("only", func(_ string, treated bool) bool { return treated }) {
		t.Error("treatment alone is exposed, and nobody notices")
	}
	if !run("tilt", func(_ string, treated bool) bool { return treated || rng.Float64() < 0.7 }) {
		t.Error("a third of control is not exposed, and nobody notices")
	}
}

// A healthy treatment is shown to be, a harmful one trips, for each kind of
// guardrail; nightly it is a table of error rates.
func TestHarmIsFoundAndHealthIsShown(t *testing.T) {
	rng := seeded(t)
	minute := flyball.Duration(time.Minute)
	for _, tt := range []struct {
		name   string
		metric flyball.Metric
		margin flyball.Margin
		draw   func(harmed bool) float64
	}{
		{"rate by unit", flyball.Metric{Type: flyball.MetricRate, Better: flyball.BetterLower, Window: minute}, flyball.Margin{Relative: 0.6}, coin(rng, 0.1, 0.4)},
		{"rate by unit, no margin", flyball.Metric{Type: flyball.MetricRate, Better: flyball.BetterLower, Window: minute}, flyball.Margin{}, coin(rng, 0.9, 1)},
		{"rate by unit, absolute", flyball.Metric{Type: flyball.MetricRate, Better: flyball.BetterLower, Window: minute}, flyball.Margin{Absolute: 0.03}, coin(rng, 0.1, 0.3)},
		{"conversion by unit", flyball.Metric{Type: flyball.MetricRate, Better: flyball.BetterHigher, Window: minute}, flyball.Margin{Relative: 0.3}, coin(rng, 0.3, 0.1)},
		{"rate by request", flyball.Metric{Type: flyball.MetricRate, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}, flyball.Margin{Relative: 0.6}, coin(rng, 0.1, 0.4)},
		{"mean by unit", flyball.Metric{Type: flyball.MetricMean, Better: flyball.BetterLower, Window: minute}, flyball.Margin{Relative: 0.1}, noise(rng, 100, 200)},
		{"mean by unit, absolute", flyball.Metric{Type: flyball.MetricMean, Better: flyball.BetterLower, Window: minute}, flyball.Margin{Absolute: 20}, noise(rng, 100, 200)},
		{"revenue by unit", flyball.Metric{Type: flyball.MetricMean, Better: flyball.BetterHigher, Window: minute}, flyball.Margin{Relative: 0.2}, noise(rng, 100, 50)},
		{"mean by request", flyball.Metric{Type: flyball.MetricMean, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}, flyball.Margin{Relative: 0.1}, noise(rng, 100, 200)},
		{"rate by request, absolute", flyball.Metric{Type: flyball.MetricRate, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}, flyball.Margin{Absolute: 0.03}, coin(rng, 0.1, 0.3)},
		{"rate by unit, both", flyball.Metric{Type: flyball.MetricRate, Better: flyball.BetterLower, Window: minute}, flyball.Margin{Absolute: 0.03, Relative: 0.1}, coin(rng, 0.1, 0.3)},
		{"p90 by unit", flyball.Metric{Type: flyball.MetricQuantile, Quantile: 0.9, Better: flyball.BetterLower, Window: minute}, flyball.Margin{Relative: 0.2}, noise(rng, 100, 200)},
		{"p90 by request", flyball.Metric{Type: flyball.MetricQuantile, Quantile: 0.9, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}, flyball.Margin{Absolute: 50}, noise(rng, 100, 200)},
		{"lower quartile of throughput", flyball.Metric{Type: flyball.MetricQuantile, Quantile: 0.25, Better: flyball.BetterHigher, Analysis: flyball.AnalysisRequest}, flyball.Margin{Relative: 0.2}, noise(rng, 100, 40)},
		{"revenue by request", flyball.Metric{Type: flyball.MetricMean, Better: flyball.BetterHigher, Analysis: flyball.AnalysisRequest, Cap: 1000}, flyball.Margin{Relative: 0.1}, noise(rng, 100, 30)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.metric.Key = "m"
			p, m := guarded(plan(500_000, 1_000_000), tt.margin, tt.metric)
			for _, harmed := range []bool{false, true} {
				var all []happening
				for user := range 6000 {
					unit := fmt.Sprintf("%s/%v/%d", tt.name, harmed, user)
					at := time.Duration(rng.Float64() * float64(20*time.Minute))
					done := at + time.Duration(rng.Float64()*float64(30*time.Second))
					o := saw(done, unit, "m", tt.draw(harmed && int(eval.Point("seed", unit)) < 500_000))
					all = append(all, happening{at: us(at), exposure: &exposure{t: us(at), rollout: "r1", unit: unit}}, happening{at: us(done), observation: &o})
				}
				e := play(p, m, all, nil).evidence(epoch.Add(time.Hour))
				g := e.Guardrails[0]
				want := flyball.Healthy
				if harmed {
					want = flyball.Breached
				}
				t.Logf("harmed %v: %s", harmed, g.Why)
				if e.Verdict != want || g.Estimate == nil || g.Interval == nil || g.Control == nil || g.Treatment == nil || g.N.Control == 0 {
					t.Errorf("harmed %v: %s, want %s: %+v", harmed, e.Verdict, want, g)
				}
			}
		})
	}
}

func coin(rng *rand.Rand, healthy, harmed float64) func(bool) float64 {
	return func(bad bool) float64 {
		p := healthy
		if bad {
			p = harmed
		}
		if rng.Float64() < p {
			return 1
		}
		return 0
	}
}

func noise(rng *rand.Rand, healthy, harmed float64) func(bool) float64 {
	return func(bad bool) float64 {
		if bad {
			return harmed * rng.ExpFloat64()
		}
		return healthy * rng.ExpFloat64()
	}
}
