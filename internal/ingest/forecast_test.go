package ingest

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

// perSecond plays so many seconds of observations: of new units, a hundred a
// second, of which one in ten has an error.
func (s *stage) perSecond(seconds int) {
	n := 0
	for i := range seconds {
		at := time.Duration(i) * time.Second
		var items []any
		for range 100 {
			v := 0.0
			if n++; n%10 == 0 {
				v = 1
			}
			items = append(items, saw(at, fmt.Sprintf("user-%d", n%20_000), "errors", v))
		}
		s.send(at, "a", items...)
	}
}

func TestTheTrafficIsKnownBeforeARolloutRuns(t *testing.T) {
	s := newStage(t, plan(100_000), nil)
	s.perSecond(1800)
	told := s.judge.flows.told("production", s.judge.clock)
	if len(told) != 1 || len(s.judge.flows.told("staging", s.judge.clock)) != 0 {
		t.Fatalf("%+v", told)
	}
	m := told[0]
	if math.Abs(m.PerSecond-100) > 5 || math.Abs(m.Ones-.1) > .01 || math.Abs(m.Mean-.1) > .01 || math.Abs(m.Deviation-.3) > .01 {
		t.Errorf("%+v", m)
	}
	// 6,000 units in a minute, and then the same 20,000 over and over.
	for in, want := range map[time.Duration]float64{time.Minute: 6_000, 10 * time.Minute: 20_000, 30 * time.Minute: 20_000} {
		if got := unitsIn(m.Units, in); math.Abs(got/want-1) > .35 {
			t.Errorf("%.0f units in %v, want about %.0f", got, in, want)
		}
	}
	f := s.judge.flows.all()[0]
	if len(f.Units) > flowUnits {
		t.Errorf("a sample of %d units", len(f.Units))
	}
	state, err := s.judge.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Restore(state)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.flows.told("production", s.judge.clock); fmt.Sprint(got) != fmt.Sprint(told) {
		t.Errorf("after a restart it is %+v", got)
	}
	for i := range 2 * maxFlows {
		s.send(time.Hour, "a", saw(time.Hour, "user-1", fmt.Sprintf("metric-%d", i), 1))
	}
	if n := len(s.judge.flows.flows); n != maxFlows {
		t.Errorf("%d flows are kept, at most %d", n, maxFlows)
	}
	s.send(80*time.Hour, "a", saw(80*time.Hour, "user-1", "errors", 1))
	if n := len(s.judge.flows.flows); n > 1 {
		t.Errorf("%d flows are kept that nobody sends any more", n)
	}
}

var requestErrors = flyball.Metric{Key: "errors", Type: flyball.MetricRate, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}

// The figures of the guide to statistics: 200 requests a second, 1 % errors.
func TestAForecastTellsTimesUsersAndWhatIsFound(t *testing.T) {
	p, m := guarded(plan(50_000, 200_000, 1_000_000), flyball.Margin{Relative: .05}, requestErrors)
	p.Unit = "requestId"
	for i := range p.Steps {
		p.Steps[i].Hold = flyball.Duration(5 * time.Minute)
	}
	f := Forecast(p, m, nil, flyball.PlanTraffic{RequestsPerSecond: 200, UnitsPerDay: 200 * 86400, Baseline: map[string]float64{"errors": .01}})
	if f.Takes == nil || len(f.Ladder) != 3 || f.Traffic[0].From != "given" {
		t.Fatalf("%+v", f)
	}
	first, second, last := f.Ladder[0], f.Ladder[1], f.Ladder[2]
	if first.WaitsFor != "errors" || first.Takes.Std() < 10*time.Minute || first.Takes.Std() > 60*time.Minute {
		t.Errorf("the first step takes %v, for %s", first.Takes, first.WaitsFor)
	}
	if *second.Takes <= *first.Takes || *last.Takes != flyball.Duration(5*time.Minute) || last.WaitsFor != "hold" || len(last.Guardrails) != 0 {
		t.Errorf("then %v and %v", second.Takes, last.Takes)
	}
	if *first.Exposes <= 0 || *second.Exposes <= *first.Exposes || *second.Exposes >= *last.Exposes {
		t.Errorf("exposed are %v, %v and %v", *first.Exposes, *second.Exposes, *last.Exposes)
	}
	g, h := first.Guardrails[0], second.Guardrails[0]
	if g.Detectable == nil || *g.Detectable < 1.1 || *g.Detectable > 2 || h.Detectable == nil || *h.Detectable >= *g.Detectable {
		t.Errorf("found are %v and %v", g.Detectable, h.Detectable)
	}
	if math.Abs(g.AdvanceMargin-1.25) > 1e-9 || math.Abs(h.AdvanceMargin-1.05) > 1e-9 {
		t.Errorf("margins %v and %v", g.AdvanceMargin, h.AdvanceMargin)
	}
	if len(f.Notes) != 0 {
		t.Errorf("notes: %q", f.Notes)
	}
	p.OnUnsure.After, p.Budget.ExposedUnits = flyball.Duration(time.Hour), 1000
	few := Forecast(p, m, nil, flyball.PlanTraffic{RequestsPerSecond: 200, UnitsPerDay: 1000, Baseline: map[string]float64{"errors": .01}})
	if few.Ladder[0].WaitsFor != "units" || few.Ladder[0].Takes.Std() < 24*time.Hour || len(few.Notes) < 3 {
		t.Errorf("of a thousand users a day: %+v", few)
	}
}

func TestAForecastSaysWhatIsNotKnown(t *testing.T) {
	p, m := guarded(plan(50_000, 1_000_000), flyball.Margin{Relative: .05}, requestErrors)
	p.Steps[0].Lease = flyball.Duration(time.Hour)
	f := Forecast(p, m, nil, flyball.PlanTraffic{})
	s := f.Ladder[0]
	if f.Takes != nil || s.Takes != nil || s.WaitsFor != "unknown" || s.Exposes != nil || s.Guardrails[0].Detectable != nil || s.Guardrails[0].Why == "" || f.Traffic[0].From != "unknown" {
		t.Errorf("%+v", f)
	}
	if len(f.Notes) != 3 { // of the metric, of the units, of the lease
		t.Errorf("notes: %q", f.Notes)
	}
	p.OnUnsure = flyball.OnUnsure{After: flyball.Duration(time.Hour), Then: "advance"}
	if f := Forecast(p, m, nil, flyball.PlanTraffic{}); f.Ladder[0].WaitsFor != "unsure" || f.Ladder[0].Takes.Std() != time.Hour {
		t.Errorf("%+v", f.Ladder[0])
	}
	for _, odd := range []flyball.PlanTraffic{
		{RequestsPerSecond: 1e12, UnitsPerDay: 1e12, Baseline: map[string]float64{"errors": 1e12}},
		{RequestsPerSecond: 1e-300, UnitsPerDay: 1e-300, Baseline: map[string]float64{"errors": 1e-300}},
		{RequestsPerSecond: 1, UnitsPerDay: 1, Baseline: map[string]float64{"errors": 0}},
		{RequestsPerSecond: 1, UnitsPerDay: 1, Baseline: map[string]float64{"errors": 1}},
	} {
		for _, s := range Forecast(p, m, nil, odd).Ladder {
			for _, x := range []*float64{s.Exposes} {
				if x != nil && (math.IsNaN(*x) || math.IsInf(*x, 0)) {
					t.Errorf("%+v: %v", odd, *x)
				}
			}
		}
	}
}
