package ingest

import (
	"fmt"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/store"
)

// An outcome at exactly exposure + window counts, in both forms; a microsecond
// later it does not.
func TestAWindowHoldsItsLastMoment(t *testing.T) {
	const window = 10 * time.Minute
	metric := flyball.Metric{Key: "errors", Type: flyball.MetricRate, Better: flyball.BetterLower, Window: flyball.Duration(window)}
	for _, tt := range []struct {
		name   string
		t      time.Duration // of the outcome, after the exposure
		counts bool
	}{
		{"before the exposure, within the slack of clocks", -2 * time.Second, true},
		{"long before the exposure", -2*time.Second - time.Microsecond, false},
		{"with the exposure", 0, true},
		{"at the last moment", window, true},
		{"just after it", window + time.Microsecond, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.05}, metric)
			s := newStage(t, p, m)
			unit, at := s.unitIn(0, 0), time.Minute
			s.send(at, "a", s.met(at, unit, 0))
			s.send(at+max(0, tt.t)+time.Second, "a", saw(at+tt.t, unit, "errors", 1)) // a second of lag
			s.send(at+window+20*time.Second, "a")
			g := s.judge.trials[0].gauges[0]
			want := int64(0)
			if tt.counts {
				want = 1
			}
			if got := g.Events[treatment]; got != want {
				t.Errorf("%d first events, want %d", got, want)
			}
			if c := g.Compared.Strata[0][treatment]; c.N != 1 || c.Sum != float64(want) {
				t.Errorf("the contrast has %g of %g units, want %d of 1", c.Sum, c.N, want)
			}
		})
	}
}

// In a step only those count whose window ended within it, in both arms alike,
// and only the cohorts whose fate the step decided.
func TestAStepCutsWindowsInBothArmsAlike(t *testing.T) {
	const window, end = time.Minute, 10 * time.Minute
	metric := flyball.Metric{Key: "errors", Type: flyball.MetricRate, Better: flyball.BetterLower, Window: flyball.Duration(window)}
	p, m := guarded(plan(200_000, 600_000, 800_000), flyball.Margin{Relative: 0.05}, metric)
	for _, tt := range []struct {
		entered time.Duration
		counts  float64
	}{
		{end - window - 7*time.Second, 1}, // its window, and the grace for what is under way, are over
		{end - window + time.Second, 0},
		{end - time.Second, 0},
	} {
		s := newStage(t, p, m)
		first, second, third, never := s.unitIn(0, 0), s.unitIn(1, 0), s.unitIn(2, 0), s.unitIn(3, 0)
		s.send(tt.entered, "a", s.met(tt.entered, first, 0), s.met(tt.entered, second, 0), s.met(tt.entered, third, 0))
		s.step(end, 1)
		back := end + 10*time.Second
		s.send(back, "a", s.met(back, first, 1), s.met(back, second, 1), s.met(back, third, 1), s.met(back, never, 1))
		s.send(back+2*window, "a")
		c := s.judge.trials[0].gauges[0].Compared.Strata
		if c[0][treatment].N != tt.counts || c[0][control].N != 2*tt.counts {
			t.Errorf("entered at %v: %g and %g units count in the first step, want %g and %g", tt.entered, c[0][treatment].N, c[0][control].N, tt.counts, 2*tt.counts)
		}
		if c[1][treatment].N != 1 || c[1][control].N != 2 {
			t.Errorf("%g and %g units count in the second step; want its own cohort, and the two after it", c[1][treatment].N, c[1][control].N)
		}
	}
}

// A window with one arm is carried on, and closes with the first batch that
// brings the other.
func TestAWindowIsCarriedUntilItHoldsBothArms(t *testing.T) {
	failures := flyball.Metric{Key: "failures", Type: flyball.MetricRate, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.05}, failures)
	s := newStage(t, p, m)
	request := func(at time.Duration, variant string, value float64) observation {
		return observation{t: us(at), metric: "failures", variant: variant, value: value}
	}
	g := s.judge.trials[0].gauges[0]
	s.send(time.Second, "a", request(time.Second, "off", 0), request(time.Second, "off", 1))
	s.send(2*time.Second, "a", request(2*time.Second, "off", 0))
	if g.Window.N != [2]int64{3, 0} {
		t.Fatalf("the window holds %v, want all three of control", g.Window.N)
	}
	s.send(3*time.Second, "a", request(3*time.Second, "on", 1))
	if g.Window.N != [2]int64{} || g.RequestsRatio.Noise != 2*0.25*0.75 {
		t.Errorf("the window holds %v, noise %g; want it judged with a share of a quarter", g.Window.N, g.RequestsRatio.Noise)
	}
	s.send(3*time.Second+10*time.Millisecond, "a", request(3*time.Second, "on", 0), request(3*time.Second, "off", 0))
	if g.Window.N != [2]int64{1, 1} {
		t.Errorf("the window holds %v: it closed before 50 ms", g.Window.N)
	}
}

// Ones alone do not tell how many requests there were: by request nothing can be
// said, neither good nor bad.
func TestEventsWithoutTrialsShowNothing(t *testing.T) {
	failures := flyball.Metric{Key: "failures", Type: flyball.MetricRate, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.05}, failures)
	s := newStage(t, p, m)
	for i := range 2000 {
		at, variant := time.Duration(i)*time.Second, "on"
		if i%4 == 0 {
			variant = "off"
		}
		s.send(at, "a", observation{t: us(at), metric: "failures", variant: variant, value: 1})
	}
	if e := s.evidence(); e.Guardrails[0].Verdict != flyball.Unsure {
		t.Errorf("%s: %s", e.Guardrails[0].Verdict, e.Guardrails[0].Why)
	}
}

// With everybody on treatment there is nothing to compare: nothing trips, and
// nothing is called healthy.
func TestOnEverybodyNothingIsCompared(t *testing.T) {
	p, m := guarded(plan(500_000, 1_000_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	s := newStage(t, p, m)
	s.step(time.Second, 1)
	for i := range 500 {
		at := time.Second + time.Duration(i)*time.Second
		unit := fmt.Sprint(i)
		s.send(at, "a", s.met(at, unit, 1), saw(at, unit, "errors", 1))
	}
	if e := s.evidence(); e.Verdict != flyball.Unsure || e.SRM.Mismatch || len(e.Blocks) > 0 || e.StepUnits != (flyball.Arms{Treatment: 500}) {
		t.Errorf("%+v", e)
	}
}

// BenchmarkJudge tells how many exposures and observations a judge takes in: a
// mean and a rate by request and an error rate by unit, from a log.
func BenchmarkJudge(b *testing.B) {
	latency := flyball.Metric{Key: "latency", Type: flyball.MetricMean, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	failures := flyball.Metric{Key: "failures", Type: flyball.MetricRate, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	p, m := guarded(plan(50_000, 500_000), flyball.Margin{Relative: 0.05}, errorsByUnit, latency, failures)
	s := newStage(b, p, m)
	const batches, items = 500, 500
	var log []store.LogEntry
	for n := range batches {
		at := time.Duration(n) * 10 * time.Millisecond
		r := &record{trusted: true, instance: flyball.InstanceInfo{ID: "a"}, seq: int64(n)}
		for i := range items {
			unit := fmt.Sprintf("user-%d", (n*items+i)%20_000)
			switch i % 10 {
			case 0:
				x := s.met(at, unit, 0)
				r.exposures = append(r.exposures, x)
			case 1, 2, 3, 4:
				r.observations = append(r.observations, saw(at, unit, "latency", float64(eval.Point("x", unit))))
			default:
				r.observations = append(r.observations, saw(at, unit, "failures", float64(flag(i == 7 && n%10 == 0))))
			}
		}
		log = append(log, store.LogEntry{Kind: store.KindBatch, Environment: "production", At: epoch.Add(at), Body: r.encode()})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		e := log[n%batches]
		e.Seq = s.judge.Seq() + 1
		e.At = epoch.Add(time.Duration(n) * 10 * time.Millisecond)
		s.judge.Apply(e)
	}
	b.ReportMetric(float64(items*b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkCheckpoint tells what a checkpoint of 100,000 units costs.
func BenchmarkCheckpoint(b *testing.B) {
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	s := newStage(b, p, m)
	for i := range 100 {
		var items []any
		for n := range 1000 {
			items = append(items, s.met(time.Second, fmt.Sprint(1000*i+n), 0))
		}
		s.send(time.Second, "a", items...)
	}
	for b.Loop() {
		b.SetBytes(int64(len(state(b, s.judge))))
	}
}
