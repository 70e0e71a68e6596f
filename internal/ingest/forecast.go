package ingest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/rollout"
	"github.com/flyballdev/flyball/internal/stats"
)

// Forecast tells what a plan comes to at a traffic: what was seen of it, and
// what is said to be instead. The plan has its defaults, and fits its metrics.
func Forecast(plan flyball.RolloutPlan, metrics []flyball.Metric, seen []flyball.MetricTraffic, given flyball.PlanTraffic) flyball.RolloutForecast {
	f := forecast{plan: plan, given: given, out: flyball.RolloutForecast{RolloutPlan: plan, Traffic: []flyball.AssumedTraffic{}}}
	for _, g := range plan.Guardrails {
		i := slices.IndexFunc(metrics, func(m flyball.Metric) bool { return m.Key == g.Metric })
		if i < 0 {
			continue
		}
		f.add(g, metrics[i].WithDefaults(), seen)
	}
	f.units = f.unitsOf(seen)
	f.schedule = scheduleOf(plan)
	whole, known := time.Duration(0), true
	for i := range plan.Steps {
		s := f.step(i, whole)
		if s.Takes == nil {
			known = false
		} else {
			whole += s.Takes.Std()
		}
		f.out.Ladder = append(f.out.Ladder, s)
	}
	if known {
		f.out.Takes = pointerTo(flyball.Duration(whole.Round(time.Second)))
	}
	f.warn()
	return f.out
}

// Forecast tells what a plan comes to at the traffic that was observed lately.
func (r *Runner) Forecast(ctx context.Context, plan flyball.RolloutPlan, metrics []flyball.Metric, given flyball.PlanTraffic) (flyball.RolloutForecast, error) {
	seen, err := r.Traffic(ctx, plan.Environment, time.Now())
	return Forecast(plan, metrics, seen, given), err
}

// scheduleOf is the schedule by which the judge spends its evidence on a plan.
func scheduleOf(plan flyball.RolloutPlan) stats.Schedule {
	horizon := time.Duration(0)
	for _, s := range plan.Steps {
		horizon += s.Hold.Std()
	}
	return stats.NewSchedule(len(plan.Steps), horizon)
}

// A forecast is one being made.
type forecast struct {
	plan     flyball.RolloutPlan
	given    flyball.PlanTraffic
	metrics  []forecastMetric
	units    []flyball.UnitsSeen // of whoever reaches the flag, as far as is known
	schedule stats.Schedule
	out      flyball.RolloutForecast
}

// A forecastMetric is a guardrail with its traffic.
type forecastMetric struct {
	flyball.Metric
	margin    stats.Margin
	alpha     float64
	trials    float64 // a second; 0 is not known
	base      float64 // -1 is not known
	deviation float64 // -1 is not known
	shown     float64 // seconds' worth of evidence gathered in earlier steps, times π(1−π)
}

// add works out what is judged of a guardrail, and how much of it there is.
func (f *forecast) add(g flyball.Guardrail, m flyball.Metric, seen []flyball.MetricTraffic) {
	fm := forecastMetric{Metric: m, base: -1, deviation: -1, alpha: f.plan.Alpha / float64(len(f.plan.Guardrails)), margin: stats.Margin{
		Relative: g.Margin.Relative, Absolute: g.Margin.Absolute, HigherIsBetter: m.Better == flyball.BetterHigher,
	}}
	byRequest := m.Analysis == flyball.AnalysisRequest
	if byRequest && !requestUnit(f.plan.Unit) {
		fm.alpha /= 2 // two forms, half for each
	}
	from := "unknown"
	i := slices.IndexFunc(seen, func(t flyball.MetricTraffic) bool { return t.Observation == m.Of.Observation })
	if i >= 0 {
		from = "observed"
		fm.observed(seen[i], byRequest)
	}
	if v := f.given.RequestsPerSecond; v > 0 && byRequest {
		fm.trials, from = v, "given"
	}
	if v := f.given.UnitsPerDay; v > 0 && !byRequest {
		fm.trials, from = v/flowMemory.Seconds(), "given"
	}
	if v, ok := f.given.Baseline[m.Key]; ok {
		fm.base, from = v, "given"
	}
	if v, ok := f.given.Deviation[m.Key]; ok {
		fm.deviation, from = v, "given"
	}
	f.metrics = append(f.metrics, fm)
	f.out.Traffic = append(f.out.Traffic, fm.assumed(from))
}

// observed takes over what was seen. A unit's rate is that of at least one event
// among its observations.
func (m *forecastMetric) observed(t flyball.MetricTraffic, byRequest bool) {
	perDay := unitsIn(t.Units, flowMemory)
	m.trials, m.base, m.deviation = t.PerSecond, t.Mean, t.Deviation
	if m.Type == flyball.MetricRate {
		m.base = t.Ones
	}
	if byRequest {
		return
	}
	m.trials = perDay / flowMemory.Seconds()
	if m.Type == flyball.MetricRate && m.trials > 0 {
		m.base = -math.Expm1(max(1, t.PerSecond/m.trials) * math.Log1p(-min(t.Ones, 1-1e-12)))
	}
}

func (m *forecastMetric) assumed(from string) flyball.AssumedTraffic {
	a := flyball.AssumedTraffic{Metric: m.Key, From: from}
	if m.trials > 0 {
		a.Trials = &m.trials
		if m.Analysis != flyball.AnalysisRequest {
			a.UnitsPerDay = pointerTo(m.trials * flowMemory.Seconds())
		}
	}
	if m.base >= 0 {
		a.Baseline = &m.base
	}
	if m.deviation >= 0 && m.Type != flyball.MetricRate {
		a.Deviation = &m.deviation
	}
	return a
}

// unitsOf says how many distinct units come in which time: of the metric that
// saw the most.
func (f *forecast) unitsOf(seen []flyball.MetricTraffic) (most []flyball.UnitsSeen) {
	if perDay := f.given.UnitsPerDay; perDay > 0 {
		return []flyball.UnitsSeen{{In: flyball.Duration(flowMemory), N: perDay}}
	}
	for _, m := range f.metrics {
		i := slices.IndexFunc(seen, func(t flyball.MetricTraffic) bool { return t.Observation == m.Of.Observation })
		if i >= 0 && unitsIn(seen[i].Units, flowMemory) > unitsIn(most, flowMemory) {
			most = seen[i].Units
		}
	}
	if rate := f.given.RequestsPerSecond; len(most) == 0 && rate > 0 && requestUnit(f.plan.Unit) {
		return []flyball.UnitsSeen{{In: flyball.Duration(flowMemory), N: rate * flowMemory.Seconds()}}
	}
	return most
}

// unitsIn says how many distinct units come in a time: between what was seen in
// two times in proportion, and beyond the longest as new ones came last, since
// most of those who come were there before.
func unitsIn(seen []flyball.UnitsSeen, in time.Duration) float64 {
	at, n, rate := time.Duration(0), 0.0, 0.0
	for _, s := range seen {
		if s.In.Std() <= at {
			continue
		}
		rate = max(0, s.N-n) / float64(s.In.Std()-at)
		if in <= s.In.Std() {
			break
		}
		at, n = s.In.Std(), s.N
	}
	return n + rate*float64(in-at)
}

// step forecasts one step, which begins when the rollout is so old.
func (f *forecast) step(i int, begins time.Duration) flyball.StepForecast {
	s := f.plan.Steps[i]
	out := flyball.StepForecast{PPM: s.PPM, AtLeast: flyball.Duration(f.dwell(i)), WaitsFor: "hold"}
	share := float64(s.PPM) / flyball.PPM
	takes, known := out.AtLeast.Std(), true
	waits := func(d *flyball.Duration, what string) {
		if known = known && d != nil; d != nil && d.Std() > takes {
			takes, out.WaitsFor = d.Std(), what
		}
	}
	if s.PPM < flyball.PPM {
		waits(f.hundred(share), "units")
		for m := range f.metrics {
			g := f.metrics[m].guardrail(f.plan, i)
			waits(g.ShownIn, g.Metric)
			out.Guardrails = append(out.Guardrails, g)
		}
	}
	if u := f.plan.OnUnsure; u.Then == "advance" && (!known || takes > u.After.Std()) && s.PPM < flyball.PPM {
		takes, known, out.WaitsFor = max(u.After.Std(), out.AtLeast.Std()), true, "unsure"
	}
	if f.plan.Then == flyball.ThenOff {
		takes, known, out.WaitsFor = s.Hold.Std(), true, "hold"
	}
	seconds := takes.Seconds()
	for m := range f.metrics {
		f.metrics[m].detect(&out, m, f.schedule, seconds, share)
	}
	if !known {
		out.WaitsFor = "unknown"
		return out
	}
	out.Takes = pointerTo(flyball.Duration(takes.Round(time.Second)))
	if len(f.units) > 0 {
		out.Exposes = pointerTo(math.Round(share * unitsIn(f.units, begins+takes)))
	}
	return out
}

// dwell is how long a step lasts at least.
func (f *forecast) dwell(i int) time.Duration {
	d := f.plan.Steps[i].Hold.Std()
	for _, m := range f.metrics {
		if m.Analysis == flyball.AnalysisUnit && f.plan.Steps[i].PPM < flyball.PPM && f.plan.Then != flyball.ThenOff {
			d = max(d, m.Window.Std())
		}
	}
	return d
}

// hundred is how long it takes until enough units have the treatment.
func (f *forecast) hundred(share float64) *flyball.Duration {
	if len(f.units) == 0 {
		return nil
	}
	last := f.units[len(f.units)-1]
	if last.N <= 0 {
		return nil
	}
	low, high := time.Duration(0), flowMemory*365
	if share*unitsIn(f.units, high) < rollout.MinUnits {
		return nil
	}
	for high-low > time.Second {
		if mid := (low + high) / 2; share*unitsIn(f.units, mid) >= rollout.MinUnits {
			high = mid
		} else {
			low = mid
		}
	}
	return pointerTo(flyball.Duration(high.Round(time.Second)))
}

// guardrail says how long a step takes to be shown healthy.
func (m *forecastMetric) guardrail(plan flyball.RolloutPlan, i int) flyball.GuardrailForecast {
	g := flyball.GuardrailForecast{Metric: m.Key}
	share := float64(plan.Steps[i].PPM) / flyball.PPM
	next := float64(plan.Steps[min(i+1, len(plan.Steps)-1)].PPM) / flyball.PPM
	weight := share * (1 - share)
	t := stats.Traffic{PerSecond: m.trials, Share: share}
	needs := math.Inf(1)
	switch {
	case m.Type == flyball.MetricRate:
		g.AdvanceMargin = m.margin.StepRatio(next)
		needs = stats.TimeToAdvance(g.AdvanceMargin, m.base, t)
	case m.base >= 0:
		at := m.margin.AtStep(next, m.base)
		g.AdvanceMargin = at.Absolute
		needs = stats.TimeToAdvanceMean(at, m.deviation, t)
	}
	if g.Why = m.unknown(); g.Why != "" {
		return g
	}
	if math.IsInf(needs, 0) || math.IsNaN(needs) || needs > farAway.Seconds() {
		g.Why = "at this traffic it is not shown to be healthy in years"
		return g
	}
	left := max(needs-m.shown/weight, stats.FreshInformation*needs)
	m.shown += left * weight
	g.ShownIn = pointerTo(flyball.Duration(time.Duration(left * float64(time.Second)).Round(time.Second)))
	return g
}

// unknown says what is not known of the metric, "" if all is.
func (m *forecastMetric) unknown() string {
	trials := "requestsPerSecond"
	if m.Analysis != flyball.AnalysisRequest {
		trials = "unitsPerDay"
	}
	switch {
	case m.trials <= 0:
		return fmt.Sprintf("nothing was observed of %q lately: say --traffic '{%s: …}'", m.Of.Observation, trials)
	case m.base < 0:
		return fmt.Sprintf("nobody knows what %q is now: say --traffic '{baseline: {%s: …}}'", m.Key, m.Key)
	case m.Type == flyball.MetricRate && m.base == 0:
		return fmt.Sprintf("no event of %q was observed lately: say what is usual, --traffic '{baseline: {%s: …}}'", m.Key, m.Key)
	case m.Type != flyball.MetricRate && m.deviation < 0:
		return fmt.Sprintf("nobody knows how much %q varies: say --traffic '{deviation: {%s: …}}'", m.Key, m.Key)
	}
	return ""
}

// detect says what harm is found within a step.
func (m *forecastMetric) detect(out *flyball.StepForecast, i int, s stats.Schedule, seconds, share float64) {
	if i >= len(out.Guardrails) || m.unknown() != "" {
		return
	}
	t := stats.Traffic{PerSecond: m.trials, Share: share}
	var harm float64
	var ok bool
	if m.Type == flyball.MetricRate {
		harm, ok = stats.SmallestRatio(m.margin, s, m.base, m.alpha, t, seconds)
	} else {
		if harm, ok = stats.SmallestDifference(m.margin, m.base, m.deviation, m.alpha, t, seconds); ok {
			harm += max(m.margin.Absolute, m.margin.Relative*math.Abs(m.base))
		}
	}
	if ok && !math.IsInf(harm, 0) && !math.IsNaN(harm) {
		out.Guardrails[i].Detectable = &harm
	}
}

// warn notes what people should look at.
func (f *forecast) warn() {
	note := func(format string, args ...any) { f.out.Notes = append(f.out.Notes, fmt.Sprintf(format, args...)) }
	for i := range f.metrics {
		if why := f.metrics[i].unknown(); why != "" {
			note("%s", why)
		}
	}
	if len(f.units) == 0 {
		note("nobody knows how many units reach the flag: say --traffic '{unitsPerDay: …}'")
	} else if last := f.units[len(f.units)-1].In; f.out.Takes != nil && f.out.Takes.Std() > 10*last.Std() {
		note("units were seen for %v only, and exposures are told as if new ones kept coming: say --traffic '{unitsPerDay: …}'", last.Std().Round(time.Second))
	}
	if len(f.plan.Guardrails) == 0 {
		note("the plan has no guardrails: it rises by the clock, and nothing takes it back")
	}
	for i, s := range f.out.Ladder {
		step := f.plan.Steps[i]
		if lease := step.Lease.Std(); lease > 0 && f.plan.Then != flyball.ThenOff && s.PPM < flyball.PPM && (s.Takes == nil || s.WaitsFor != "hold" && s.Takes.Std() > lease) {
			note("step %d is leased for %v, and may not be shown healthy in that time: it would then be stopped", i, step.Lease)
		}
		if u := f.plan.OnUnsure; u.Then == "hold" && s.Takes != nil && s.Takes.Std() > u.After.Std() && s.WaitsFor != "hold" {
			note("step %d is expected to hold after %v, since it is unsure until %v", i, u.After, *s.Takes)
		}
		if b := f.plan.Budget.ExposedUnits; b > 0 && s.Exposes != nil && *s.Exposes >= float64(b) {
			note("step %d exposes about %.0f units, the budget is %d: it would not be taken, or be stopped", i, *s.Exposes, b)
		}
		if len(step.Gates) > 0 {
			note("step %d waits for %d gates besides", i, len(step.Gates))
		}
	}
}

func pointerTo[T any](v T) *T { return &v }
