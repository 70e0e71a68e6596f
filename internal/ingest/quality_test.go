package ingest

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

func kinds(e flyball.Evidence) (all []flyball.QualityKind) {
	for _, q := range e.Quality {
		all = append(all, q.Kind)
	}
	return all
}

// What is wrong with the data is told by kind, and only while it is so.
func TestWhatIsWrongWithTheDataIsTold(t *testing.T) {
	p, m := guarded(plan(500_000, 1_000_000), flyball.Margin{Relative: .05}, errorsByUnit)
	s := newStage(t, p, m)
	in, out := s.unitIn(0, 0), s.unitIn(1, 0)
	at := func(d time.Duration) flyball.Evidence {
		e, _ := s.judge.Evidence("r1", epoch.Add(d))
		return e
	}
	want := func(e flyball.Evidence, kinds_ ...flyball.QualityKind) {
		t.Helper()
		if got := kinds(e); !slices.Equal(got, kinds_) {
			t.Errorf("%v, want %v: %+v", got, kinds_, e.Quality)
		}
	}
	want(at(5 * time.Second)) // young
	want(at(20*time.Second), flyball.QualityArmMissing, flyball.QualityArmMissing)
	s.send(21*time.Second, "a", s.met(21*time.Second, in, 0))
	want(at(22*time.Second), flyball.QualityArmMissing)
	s.send(22*time.Second, "a", s.met(22*time.Second, out, 0))
	want(at(23 * time.Second))
	want(at(40*time.Second), flyball.QualitySilent, flyball.QualitySilent)

	s.send(41*time.Second, "a", s.met(41*time.Second, in, 0), s.met(41*time.Second, out, 0), saw(0, in, "errors", 1))
	s.sendRecord(41*time.Second, &record{instance: flyball.InstanceInfo{ID: "browser"}}, saw(41*time.Second, in, "errors", 1))
	e := at(42 * time.Second)
	want(e, flyball.QualityUntrusted)
	if e.Quality[0].Blocks || e.Untrusted != 1 {
		t.Errorf("%+v", e.Quality)
	}
	s.send(20*time.Minute, "a", s.met(20*time.Minute, in, 0), s.met(20*time.Minute, out, 0), saw(30*time.Second, in, "errors", 1))
	if e := at(20 * time.Minute); e.Late != 1 || !slices.Contains(kinds(e), flyball.QualityLate) {
		t.Errorf("late: %d, %+v", e.Late, e.Quality)
	}
	crossed := s.met(20*time.Minute, in, 0)
	crossed.variant = "off"
	s.send(20*time.Minute, "a", crossed)
	s.seqs["a"] += 3 // batches that never come
	s.send(20*time.Minute, "a", s.met(20*time.Minute, out, 0))
	e = at(20 * time.Minute)
	want(e, flyball.QualityLossy, flyball.QualityCrossed, flyball.QualityLate, flyball.QualityUntrusted)
	for _, q := range e.Quality[:2] {
		if !q.Blocks || q.Why == "" {
			t.Errorf("%+v does not block", q)
		}
	}
	s.step(21*time.Minute, 1)
	s.send(21*time.Minute, "a", s.met(21*time.Minute, in, 1))
	for _, q := range at(21 * time.Minute).Quality { // nobody is compared any more
		if q.Blocks {
			t.Errorf("on everybody %+v blocks", q)
		}
	}
}

// Exposure is counted unit by unit, from when each was first treated, while the
// step treats it, and after a restart as before.
func TestUnitMinutesAreCounted(t *testing.T) {
	p, m := guarded(plan(100_000, 500_000), flyball.Margin{Relative: .05}, errorsByUnit)
	s := newStage(t, p, m)
	want := func(minutes float64) {
		t.Helper()
		if e := s.evidence(); math.Abs(e.UnitMinutes-minutes) > 1e-6 {
			t.Errorf("%v unit-minutes, want %v", e.UnitMinutes, minutes)
		}
	}
	s.send(0, "a", s.met(0, s.unitIn(0, 0), 0), s.met(0, s.unitIn(0, 1), 0), s.met(0, s.unitIn(1, 0), 0))
	s.send(time.Minute, "a", s.met(time.Minute, s.unitIn(0, 2), 0))
	want(2)
	s.send(2*time.Minute, "a", s.met(2*time.Minute, s.unitIn(0, 2), 0))
	want(5)
	s.step(3*time.Minute, 1) // a unit of the second cohort counts once it is seen treated
	want(8)
	s.send(4*time.Minute, "a", s.met(4*time.Minute, s.unitIn(1, 0), 1))
	want(11)
	state, err := s.judge.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	if s.judge, err = Restore(state); err != nil {
		t.Fatal(err)
	}
	s.step(5*time.Minute, 0) // taken back from the second cohort
	want(15)
	s.change(6*time.Minute, func(r *flyball.Rollout) { r.State = flyball.RolloutAborted })
	want(18)
	s.send(9*time.Minute, "a", s.met(9*time.Minute, s.unitIn(0, 0), 0))
	want(18)
}

// The time until there is enough comes true, about, and the track of how it came
// about stays small.
func TestWhatIsEnoughIsForetold(t *testing.T) {
	failures := flyball.Metric{Key: "failures", Type: flyball.MetricRate, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	p, m := guarded(plan(500_000, 1_000_000), flyball.Margin{Relative: .5}, failures)
	s := newStage(t, p, m)
	rng := seeded(t)
	foretold, told := time.Duration(0), time.Duration(0)
	for n := 1; n <= 4000; n++ {
		at := time.Duration(n) * time.Second
		var items []any
		for i := range 20 {
			o := observation{t: us(at), metric: "failures", variant: []string{"on", "off"}[i%2]}
			if rng.Float64() < .02 {
				o.value = 1
			}
			items = append(items, o)
		}
		s.send(at, "a", items...)
		e := s.evidence()
		g := e.Guardrails[0]
		if len(g.Track) > maxTrack {
			t.Fatalf("a track of %d points", len(g.Track))
		}
		if last := g.Track[len(g.Track)-1]; !last.At.Equal(epoch.Add(at)) {
			t.Fatalf("the last point is of %v, not of %v", last.At.Sub(epoch), at)
		}
		if g.Verdict == flyball.Healthy {
			if *g.EnoughIn != 0 || *e.EnoughIn != 0 {
				t.Errorf("healthy, and enough in %v", g.EnoughIn)
			}
			told = at
			break
		}
		if foretold == 0 && g.AdvanceE > 4 && g.EnoughIn != nil {
			foretold = at + g.EnoughIn.Std()
			if *e.EnoughIn != *g.EnoughIn {
				t.Errorf("%v of one, %v of all", g.EnoughIn, e.EnoughIn)
			}
		}
	}
	t.Logf("foretold for %v, came at %v", foretold, told)
	if told == 0 || foretold == 0 || foretold > 3*told || told > 3*foretold {
		t.Errorf("foretold for %v, came at %v", foretold, told)
	}
}

// A winner is named once a success metric is better, and never while a guardrail
// is in doubt or the data are bad.
func TestAWinnerIsNamed(t *testing.T) {
	sales := flyball.Metric{Key: "sales", Type: flyball.MetricRate, Better: flyball.BetterHigher, Analysis: flyball.AnalysisRequest}
	failures := flyball.Metric{Key: "failures", Type: flyball.MetricRate, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	p, m := guarded(plan(500_000, 1_000_000), flyball.Margin{Relative: .5}, failures)
	p.Success = []flyball.Success{{Metric: "sales"}}
	s := newStage(t, p, append(m, sales))
	rng := seeded(t)
	var first *flyball.Winner
	for n := 1; n <= 2000 && first == nil; n++ {
		at := time.Duration(n) * time.Second
		var items []any
		for i := range 40 {
			variant, chance := "on", .4
			if i%2 == 0 {
				variant, chance = "off", .3
			}
			for _, o := range []observation{{metric: "sales", value: chance}, {metric: "failures", value: .05}} {
				o.t, o.variant = us(at), variant
				if rng.Float64() < o.value {
					o.value = 1
				} else {
					o.value = 0
				}
				items = append(items, o)
			}
		}
		s.send(at, "a", items...)
		if e := s.evidence(); e.Winner != nil {
			if e.Guardrails[0].Verdict != flyball.Healthy || e.Success[0].Verdict != flyball.Healthy {
				t.Fatalf("a winner while %s and %s", e.Guardrails[0].Verdict, e.Success[0].Verdict)
			}
			first = e.Winner
		}
	}
	if first == nil || first.Variant != "on" || first.Metric != "sales" || !first.Early {
		t.Fatalf("the winner is %+v", first)
	}
	s.seqs["a"] += 2
	s.send(time.Hour, "a", observation{t: us(time.Hour), metric: "sales", variant: "on"}, observation{t: us(time.Hour), metric: "sales", variant: "off"})
	if e := s.evidence(); e.Winner != nil || e.Lossy == "" {
		t.Errorf("a winner on lossy data: %s", fmt.Sprint(e.Winner))
	}
}
