package ingest

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

func basketOf(analysis flyball.Analysis, better flyball.Better) flyball.Metric {
	return flyball.Metric{Key: "basket", Type: flyball.MetricRatio, Numerator: "orders", Denominator: "visits", Better: better,
		Analysis: analysis, Window: flyball.Duration(2 * time.Minute)}
}

// shoppers come and visit, some much more often than others; treated ones order
// factor times as often.
func shoppers(t testing.TB, name string, n int, factor float64) (all []happening) {
	rng := seeded(t)
	for user := range n {
		unit := fmt.Sprintf("%s/%d", name, user)
		at := time.Duration(rng.Float64() * float64(18*time.Minute))
		all = append(all, happening{at: us(at), exposure: &exposure{t: us(at), rollout: "r1", unit: unit}})
		rate := 0.1 + 0.3*rng.Float64()
		if int(eval.Point("seed", unit)) < 500_000 {
			rate *= factor
		}
		for range min(30, int(2/math.Pow(1-rng.Float64(), 0.8))) {
			at += time.Duration(rng.ExpFloat64() * float64(2*time.Second))
			v, o := saw(at, unit, "visits", 1), saw(at, unit, "orders", 0)
			if rng.Float64() < rate {
				o.value = 1
			}
			all = append(all, happening{at: us(at), observation: &v}, happening{at: us(at), observation: &o})
		}
	}
	return all
}

// A ratio is judged as a guardrail and as a success metric, both when windows of
// units have ended and as they go.
func TestARatioIsJudgedByTheSumsOfUnits(t *testing.T) {
	for _, analysis := range []flyball.Analysis{flyball.AnalysisUnit, flyball.AnalysisRequest} {
		for _, tt := range []struct {
			factor        float64
			guard, better flyball.Verdict
		}{
			{1, flyball.Healthy, flyball.Unsure},
			{0.6, flyball.Breached, flyball.Unsure},
			{1.4, flyball.Healthy, flyball.Healthy},
		} {
			p, m := guarded(plan(500_000, 1_000_000), flyball.Margin{Relative: 0.1}, basketOf(analysis, flyball.BetterHigher))
			p.Success = []flyball.Success{{Metric: "basket"}}
			all := shoppers(t, fmt.Sprint(analysis, tt.factor), 4000, tt.factor)
			tr := play(p, m, all, nil)
			e := tr.evidence(epoch.Add(time.Hour))
			g, s := e.Guardrails[0], e.Success[0]
			if g.Verdict != tt.guard || s.Verdict != tt.better || g.Interval == nil {
				t.Errorf("%s, %g: guardrail %s (%s), success %s; %+v", analysis, tt.factor, g.Verdict, g.Why, s.Verdict, g)
				continue
			}
			if want := 0.25 * (tt.factor - 1); math.Abs(*g.Estimate-want) > 0.02 || g.Interval[0] > want || g.Interval[1] < want {
				t.Errorf("%s, %g: estimate %.3f in %.3f, want %.3f", analysis, tt.factor, *g.Estimate, *g.Interval, want)
			}
		}
	}
}

// The sums of units are what a count over all of them gives.
func TestTheSumsOfARatioAreExact(t *testing.T) {
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.1}, basketOf(flyball.AnalysisRequest, flyball.BetterHigher))
	all := shoppers(t, "exact", 500, 1)
	var orders, visits [2]float64
	for _, h := range all {
		if o := h.observation; o != nil {
			arm := control
			if int(eval.Point("seed", o.unit)) < 500_000 {
				arm = treatment
			}
			if o.metric == "orders" {
				orders[arm] += o.value
			} else {
				visits[arm] += o.value
			}
		}
	}
	c := play(p, m, all, nil).gauges[0].Compared.Ratios[0]
	for arm := range c {
		if c[arm].X != orders[arm] || c[arm].Y != visits[arm] {
			t.Errorf("arm %d: %g of %g, want %g of %g", arm, c[arm].X, c[arm].Y, orders[arm], visits[arm])
		}
	}
}

func TestHealthyRatiosDoNotTrip(t *testing.T) {
	t.Parallel()
	p, m := guarded(plan(500_000), flyball.Margin{}, basketOf(flyball.AnalysisRequest, flyball.BetterLower))
	p.Alpha = 0.1
	n, tripped := repeated(200), 0
	for run := range n {
		if play(p, m, shoppers(t, fmt.Sprint("aa", run), 600, 1), nil).breached() {
			tripped++
		}
	}
	t.Logf("%d of %d healthy rollouts tripped", tripped, n)
	if tripped > max(1, n*17/100) {
		t.Errorf("%d of %d healthy rollouts tripped at alpha 10 %%", tripped, n)
	}
}

func TestARatioWithoutUnitsIsToldToNeedThem(t *testing.T) {
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.1}, basketOf(flyball.AnalysisUnit, flyball.BetterHigher))
	s := newStage(t, p, m)
	for _, variant := range []string{"on", "off"} {
		s.send(time.Second, "a", observation{t: us(time.Second), metric: "orders", variant: variant, value: 1})
	}
	if g := s.evidence().Guardrails[0]; g.Verdict != flyball.Unsure || !strings.Contains(g.Why, "no unit joins") {
		t.Errorf("%s: %s", g.Verdict, g.Why)
	}
}
