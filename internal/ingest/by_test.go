package ingest

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

// on returns an observation with a route.
func on(o observation, route string) observation {
	o.attributes = []attribute{{"route", route}}
	return o
}

func byRoute(p flyball.RolloutPlan) flyball.RolloutPlan {
	for i := range p.Guardrails {
		p.Guardrails[i].By = "route"
	}
	return p
}

var (
	failuresByRequest = flyball.Metric{Key: "failures", Type: flyball.MetricRate, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	latencyByRequest  = flyball.Metric{Key: "latency", Type: flyball.MetricMean, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
)

// The first eight values that control shows are judged, each at an eighth of
// alpha; the treatment alone makes none, and the rest is others.
func TestControlDecidesWhichValuesAreJudged(t *testing.T) {
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.05}, failuresByRequest)
	s := newStage(t, byRoute(p), m)
	request := func(variant string) observation {
		return observation{t: us(time.Second), metric: "failures", variant: variant}
	}
	s.send(time.Second, "a", on(request("on"), "new"), request("off"))
	for i := range 10 {
		at := time.Duration(i+2) * time.Second
		o := request("off")
		o.t = us(at)
		s.send(at, "a", on(o, fmt.Sprint("r", i)))
	}
	late := request("on")
	late.t = us(12 * time.Second)
	s.send(12*time.Second, "a", on(late, "r3"), on(late, "r9"))
	s.sendRecord(13*time.Second, &record{instance: flyball.InstanceInfo{ID: "browser"}}, on(request("off"), "forged"))
	g := s.evidence().Guardrails[0]
	var values []string
	for _, v := range g.Slots {
		values = append(values, v.Value)
		if v.Threshold != 800 || v.By != "route" {
			t.Errorf("%s: threshold %g by %q, want 8/alpha by route", v.Value, v.Threshold, v.By)
		}
	}
	if want := []string{"r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"}; !slices.Equal(values, want) {
		t.Errorf("judged are %v, want %v", values, want)
	}
	if *g.Others != (flyball.Arms{Control: 3, Treatment: 2}) || g.Threshold != 800 || g.N != (flyball.Arms{Control: 11, Treatment: 3}) {
		t.Errorf("others %+v, threshold %g, n %+v; want all in the whole", *g.Others, g.Threshold, g.N)
	}
	if n := g.Slots[3].N; n != (flyball.Arms{Control: 1, Treatment: 1}) {
		t.Errorf("r3 has %+v", n)
	}
}

// A shop is 30 requests a second on four routes, one of which has a thirtieth of
// them.
func shop(s *stage, seconds int, slow func(route int, treated bool) float64) {
	rng := seeded(s.t)
	for n := range 30 * seconds {
		at := time.Duration(n) * time.Second / 30
		route := min(3, rng.IntN(90)/29)
		o := observation{t: us(at), metric: "latency", variant: "off"}
		treated := rng.IntN(10) == 0
		if treated {
			o.variant = "on"
		}
		o.value = 100 * math.Exp(0.5*rng.NormFloat64()) * slow(route, treated)
		s.send(at, "a", on(o, fmt.Sprint("/", route)))
	}
}

// A fault of a rare route drowns in the whole, and not where each route counts.
func TestAFaultOfARareRouteIsFound(t *testing.T) {
	fault := func(route int, treated bool) float64 {
		if treated && route == 3 {
			return 4
		}
		return 1
	}
	for _, by := range []bool{false, true} {
		p, m := guarded(plan(100_000), flyball.Margin{Relative: 0.2}, latencyByRequest)
		if by {
			p = byRoute(p)
		}
		s := newStage(t, p, m)
		s.log = nil
		shop(s, 20*60, fault)
		e := s.evidence()
		if by != (e.Verdict == flyball.Breached) {
			t.Errorf("by route %v: %s, %s", by, e.Verdict, e.Why)
		}
		if !by {
			continue
		}
		g := e.Guardrails[0]
		if e.Why != "latency: route=/3 is worse than the margin" || *g.Treatment < 2*(*g.Control) || g.E < g.Threshold {
			t.Errorf("%s; %+v: want the numbers of the route", e.Why, g)
		}
		for _, v := range g.Slots {
			if (v.Verdict == flyball.Breached) != (v.Value == "/3") {
				t.Errorf("%s is %s", v.Value, v.Verdict)
			}
		}
	}
}

// A route with too little data does not block for ever; one that there is some
// evidence against does.
func TestARareRouteBlocksNoAdvanceUnlessItIsSuspect(t *testing.T) {
	p, m := guarded(plan(100_000, 200_000), flyball.Margin{Relative: 0.2}, latencyByRequest)
	s := newStage(t, byRoute(p), m)
	shop(s, 12*60, func(int, bool) float64 { return 1 })
	g := s.evidence().Guardrails[0]
	rare := g.Slots[slices.IndexFunc(g.Slots, func(v flyball.MetricEvidence) bool { return v.Value == "/3" })]
	if g.Verdict != flyball.Healthy || rare.Verdict != flyball.Unsure {
		t.Errorf("the whole is %s (%s), the rare route %s", g.Verdict, g.Why, rare.Verdict)
	}
	whole := s.judge.trials[0].gauges[0]
	v := whole.values[slices.IndexFunc(whole.values, func(v *gauge) bool { return v.value == "/3" })]
	for k := range v.PairAll.M {
		v.PairAll.M[k] = 30
	}
	at := 12*time.Minute + time.Second
	s.send(at, "a", observation{t: us(at), metric: "latency", variant: "off", value: 100, attributes: []attribute{{"route", "/0"}}})
	if g := s.evidence().Guardrails[0]; g.Verdict != flyball.Unsure || g.Why != "route=/3: there is evidence of harm, which must fall before an advance" {
		t.Errorf("%s: %s, E %g", g.Verdict, g.Why, g.E)
	}
}

// By unit too: each unit's first error on each route, users who come and go,
// busy ones and frail ones. Nothing is wrong, and next to nothing trips.
func TestHealthyRoutesDoNotTrip(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	slow := flyball.Metric{Key: "p90", Type: flyball.MetricQuantile, Quantile: 0.9, Of: flyball.Source{Observation: "latency"}, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	p, m := guarded(plan(100_000, 300_000), flyball.Margin{}, errorsByUnit, slow)
	p.Alpha = 0.1
	n, tripped := repeated(200), 0
	for run := range n {
		var all []happening
		for user := range 600 {
			unit := fmt.Sprintf("%d/%d", run, user)
			at := time.Duration(rng.Float64() * float64(18*time.Minute))
			all = append(all, happening{at: us(at), exposure: &exposure{t: us(at), rollout: "r1", unit: unit}})
			frail, pace := rng.Float64()*rng.Float64(), math.Exp(rng.NormFloat64())
			for range 1 + rng.IntN(6) {
				at += time.Duration(rng.ExpFloat64() * float64(10*time.Second))
				route := fmt.Sprint(rng.IntN(10))
				l := on(saw(at, unit, "latency", pace*rng.ExpFloat64()), route)
				all = append(all, happening{at: us(at), observation: &l})
				if rng.Float64() < frail {
					o := on(saw(at, unit, "errors", 1), route)
					all = append(all, happening{at: us(at), observation: &o})
				}
			}
		}
		if play(byRoute(p), m, all, []time.Duration{9 * time.Minute}).breached() {
			tripped++
		}
	}
	t.Logf("%d of %d healthy rollouts tripped", tripped, n)
	if tripped > n/10 {
		t.Errorf("%d of %d healthy rollouts tripped, want at most 10 %%", tripped, n)
	}
}

// Of each kind of guardrail by an attribute the risk sets and the sums of a value
// are those of a rollout that has this value alone.
func TestAValueIsJudgedAsIfItWereAlone(t *testing.T) {
	rng := seeded(t)
	cost := flyball.Metric{Key: "cost", Type: flyball.MetricMean, Better: flyball.BetterLower, Window: flyball.Duration(time.Minute)}
	short := errorsByUnit
	short.Window = flyball.Duration(time.Minute)
	p, m := guarded(plan(300_000, 600_000), flyball.Margin{Relative: 0.1}, short, cost, failuresByRequest)
	var all, alone []happening
	for user := range 2000 {
		unit := fmt.Sprint(user)
		at := time.Duration(rng.Float64() * float64(20*time.Minute))
		x := happening{at: us(at), exposure: &exposure{t: us(at), rollout: "r1", unit: unit}}
		y := x
		y.exposure = new(exposure)
		*y.exposure = *x.exposure
		all, alone = append(all, x), append(alone, y)
		for i := range 4 {
			at += time.Duration(rng.Float64() * float64(20*time.Second))
			for _, o := range []observation{saw(at, unit, "errors", float64(rng.IntN(2))), saw(at, unit, "cost", rng.ExpFloat64()), saw(at, unit, "failures", float64(rng.IntN(2)))} {
				o = on(o, fmt.Sprint(i%2))
				all = append(all, happening{at: us(at), observation: &o})
				if i%2 == 1 {
					alone = append(alone, happening{at: us(at), observation: &o})
				}
			}
		}
	}
	steps := []time.Duration{10 * time.Minute}
	whole, single := play(byRoute(p), m, all, steps), play(p, m, alone, steps)
	for i, g := range single.gauges {
		k := slices.IndexFunc(whole.gauges[i].values, func(v *gauge) bool { return v.value == "1" })
		v := whole.gauges[i].values[k]
		if v.Events != g.Events || v.Entered != g.Entered || v.Compared.of(1, control) != g.Compared.of(1, control) || v.Risk != g.Risk {
			t.Errorf("%s: %v %v %+v %v, alone %v %v %+v %v", g.metric.Key, v.Events, v.Entered, v.Compared.of(1, control), v.Risk,
				g.Events, g.Entered, g.Compared.of(1, control), g.Risk)
		}
		if g.Events == [2]int64{} && i == 0 || g.Entered[control].N == 0 {
			t.Errorf("%s: nothing was judged", g.metric.Key)
		}
	}
}

// With no room for more pairs of unit and value the evidence is lossy.
func TestTooManyPairsOfUnitAndValueAreTold(t *testing.T) {
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	s := newStage(t, byRoute(p), m)
	unit := s.unitIn(1, 0)
	s.send(time.Second, "a", s.met(time.Second, unit, 0))
	tr := s.judge.trials[0]
	tr.parts = make([]part, MaxParts)
	s.send(2*time.Second, "a", on(saw(2*time.Second, unit, "errors", 1), "/"))
	if e := s.evidence(); e.Lossy == "" || e.Guardrails[0].Slots[0].N.Control != 1 || tr.gauges[0].values[0].Events != [2]int64{} {
		t.Errorf("lossy %q, %+v", e.Lossy, e.Guardrails[0].Slots)
	}
}

// Where nothing tells the attribute nothing is judged, and nothing is healthy.
func TestWithoutTheAttributeNothingIsHealthy(t *testing.T) {
	p, m := guarded(plan(500_000, 1_000_000), flyball.Margin{Relative: 3}, failuresByRequest)
	s := newStage(t, byRoute(p), m)
	for i := range 4000 {
		at := time.Duration(i) * 60 * time.Millisecond
		variant := [2]string{"on", "off"}[i%2]
		s.send(at, "a", observation{t: us(at), metric: "failures", variant: variant, value: float64(i / 2 % 2)})
	}
	if g := s.evidence().Guardrails[0]; g.Verdict != flyball.Unsure || g.AdvanceE < 20 || g.Why != `no observation of control tells its "route"` {
		t.Errorf("%s: %s, advance E %g", g.Verdict, g.Why, g.AdvanceE)
	}
}
