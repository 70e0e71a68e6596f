package ingest

import (
	"math"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/stats"
)

// A datum is an observation with its arm; unit is -1 where none joins it.
type datum struct {
	arm    int
	unit   int32
	o      *observation
	weighs bool
}

// count takes an observation in.
func (g *gauge) count(t *trial, d datum) {
	x := d.o.value
	if !(math.Abs(x) <= stats.MaxValue) {
		return // no measurement; sums of such would overflow
	}
	if g.metric.Type == flyball.MetricRate {
		x = min(1, math.Ceil(max(x, 0)))
	} else if g.metric.Cap > 0 && g.metric.Type != flyball.MetricQuantile { // a cut tail has no quantile
		x = min(x, g.metric.Cap)
	}
	g.Totals[d.arm].Add(x)
	if !d.weighs || g.unable != "" {
		return
	}
	if g.Join == unknownJoin {
		g.Join = byUnit
		if d.unit < 0 {
			g.Join = byRequest
		}
		if g.Compared.Ratios != nil && !g.ratios() { // no unit has sums
			g.Compared.Ratios = nil
			g.Compared.begin(false)
		}
		g.choose(t)
	}
	g.Entered[d.arm].Add(x)
	switch g.metric.Type {
	case flyball.MetricRate:
		g.countRate(t, d, x)
	case flyball.MetricQuantile:
		g.countQuantile(t, d, x)
	case flyball.MetricMean:
		g.countMean(t, d, x)
	}
	g.compare(t, d, x)
	if g.by != "" {
		g.divide(t, d)
	}
}

// repeat notes that a unit had one more event, or observation.
func (g *gauge) repeat(s *slot) {
	if s.counts == 0 {
		g.Repeats.Add(1)
	} else {
		g.Repeats.Replace(float64(s.counts), float64(s.counts)+1)
	}
	s.counts++
}

func (g *gauge) countRate(t *trial, d datum, x float64) {
	g.Zeros = g.Zeros || x == 0
	if g.forms.requests {
		g.Window.N[d.arm]++
		g.Window.X[d.arm] += int64(x)
	}
	if x == 0 || d.unit < 0 {
		return
	}
	g.repeat(t.slot(d.unit, g))
	g.firstEvent(t, d)
}

// firstEvent counts the event of a unit, if it is its first.
func (g *gauge) firstEvent(t *trial, d datum) {
	s, u := t.slot(d.unit, g), &t.units[d.unit]
	if !g.forms.first || s.flags&slotHad != 0 || int(d.unit) < g.RiskHead || d.o.t > u.first+g.windowOf() {
		return
	}
	s.flags |= slotHad
	arm := t.arm(u)
	g.RiskBy[u.cohort]--
	g.Events[arm]++
	e := g.Risk.Event(arm == treatment)
	g.First.Observe(t.seconds(), e)
	for i := range g.FirstShown {
		g.FirstShown[i].Observe(e)
	}
	g.FirstRatio.Observe(e)
	g.check(t)
}

func (g *gauge) countMean(t *trial, d datum, x float64) {
	if g.forms.pairAll {
		g.AllPair.add(d.arm, x)
		if g.AllPair.full() {
			g.closeAll(t)
		}
	}
	if d.unit < 0 {
		return
	}
	s, u := t.slot(d.unit, g), &t.units[d.unit]
	g.repeat(s)
	if g.forms.pairUnit && s.flags&slotSeen == 0 && int(u.stratum) == t.Stratum+1 {
		s.flags |= slotSeen
		g.UnitPair.add(t.arm(u), x)
		if g.UnitPair.full() {
			g.closeUnit(t)
		}
	}
}

// windowOf returns how long after its first exposure a unit's event counts.
func (g *gauge) windowOf() int64 {
	if g.metric.Analysis == flyball.AnalysisRequest {
		return math.MaxInt64 / 4
	}
	return g.metric.Window.Std().Microseconds()
}

// grace is how long after its end a window stays open for what is under way.
func (g *gauge) grace(t *trial) int64 {
	if t.Recorded {
		return 0
	}
	return min(10*time.Second, g.metric.Window.Std()/10).Microseconds()
}

// labelled says whether units have first events.
func (g *gauge) labelled() bool {
	return g.metric.Type == flyball.MetricRate || g.metric.Type == flyball.MetricQuantile
}

// atRisk counts a new unit among those that can have a first event.
func (g *gauge) atRisk(t *trial, u *unit) {
	if !g.labelled() {
		return
	}
	arm := t.arm(u)
	g.RiskBy[u.cohort]++
	g.AtRisk[arm]++
	if arm == treatment {
		g.Risk.Expose(1, 0)
	} else {
		g.Risk.Expose(0, 1)
	}
}

// noRisk takes a unit out of those that can have a first event, unless it was
// out of them before.
func (g *gauge) noRisk(t *trial, i int32) {
	if !g.labelled() || int(i) < g.RiskHead {
		return
	}
	if s := t.known(i, g); s != nil && s.flags&slotHad != 0 {
		return
	}
	u := &t.units[i]
	g.RiskBy[u.cohort]--
	if t.arm(u) == treatment {
		g.Risk.Leave(1, 0)
	} else {
		g.Risk.Leave(0, 1)
	}
}

// leave takes units out of the risk set whose window has ended.
func (g *gauge) leave(t *trial) {
	if !g.labelled() || g.metric.Analysis == flyball.AnalysisRequest {
		return
	}
	open := t.Clock - g.windowOf() - g.grace(t)
	for g.RiskHead < len(t.units) && t.units[g.RiskHead].first < open {
		if !t.units[g.RiskHead].crossed { // who crossed has left already
			g.noRisk(t, int32(g.RiskHead))
		}
		g.RiskHead++
	}
}

// step begins a step: before decided the arms until now. Windows that hold one
// arm only belong to the old shares, and say nothing.
func (g *gauge) step(t *trial, before int) {
	g.closeWindows(t, !t.Recorded)
	now := t.seconds()
	g.First.Step(now)
	g.Requests.Step(now)
	g.PairUnit.Step(now)
	g.PairAll.Step(now)
	for i := range g.FirstShown {
		g.FirstShown[i].Step()
		g.RequestsShown[i].Step()
	}
	g.Compared.step(t)
	if g.forms.tail {
		g.Tail.Step(now)
	}
	if t.Recorded {
		return
	}
	g.Track = track[trackPoint]{}
	g.MatureHead = 0
	if g.labelled() {
		at := t.at()
		for c := min(before, at) + 1; c <= max(before, at); c++ {
			if at > before {
				g.Risk.Ramp(g.RiskBy[c])
			} else {
				g.Risk.Ramp(-g.RiskBy[c])
			}
		}
	}
}

// settle draws the contrast, and looks how things stand.
func (g *gauge) settle(t *trial) {
	if g.unable != "" {
		return
	}
	g.Compared.draw(g, t)
	g.check(t)
	g.Healthy = g.shown(t)
	if g.Healthy && g.HealthyAt == 0 {
		g.HealthyAt = t.Clock
	}
	g.track(t)
}

// check looks whether a breaker has tripped. What tripped stays as it was at
// that moment.
func (g *gauge) check(t *trial) {
	if g.TrippedAt != 0 {
		return
	}
	if g.by != "" {
		g.sumUp()
		return
	}
	g.E = slices.Max(g.evidence(t))
	if g.E >= 1/g.alpha {
		g.TrippedAt = t.Clock
	}
}

// evidence returns the e-value of each form that may trip, weighed by its part
// of alpha; never none.
func (g *gauge) evidence(t *trial) []float64 {
	all := make([]float64, 0, 2)
	f := &g.forms
	if f.first {
		all = append(all, g.First.E())
	}
	if f.requests {
		all = append(all, g.Requests.E())
	}
	if f.tail && g.success {
		all = append(all, math.Exp(min(g.tailShown(t).LogE(), 690)))
	} else if f.tail && f.tailBreaks {
		all = append(all, g.Tail.E())
	}
	if f.pairUnit {
		all = append(all, g.PairUnit.E())
	}
	if f.pairAll {
		all = append(all, g.PairAll.E())
	}
	// Of a rate by unit the contrast takes part when there are events enough.
	if f.breaks && (!f.first || g.Compared.Judged) {
		all = append(all, math.Exp(min(g.Compared.LogE, 690)))
	}
	if len(all) == 2 {
		all[0], all[1] = all[0]/2, all[1]/2
	}
	return all
}

// shown says whether the metric is shown to be within the next step's margin,
// or of a success metric that it is better.
func (g *gauge) shown(t *trial) bool {
	if g.success {
		return g.TrippedAt != 0
	}
	if g.TrippedAt != 0 || g.suspect() != nil || g.by != "" && len(g.values) == 0 {
		return false
	}
	e, fresh := g.advance(t)
	return fresh && e >= 1/t.advanceAlpha()
}

func (t *trial) advanceAlpha() float64 {
	if t.Final {
		return t.Entry.Rollout.Alpha
	}
	return stats.AdvanceAlpha
}

// advance returns the e-value against "worse than the next step's margin", and
// whether the present step brought enough of it. Of two forms it is the one
// that shows more, at half.
func (g *gauge) advance(t *trial) (e float64, fresh bool) {
	var all []stats.NonInferiority
	if g.forms.tail {
		all = append(all, g.tailShown(t).NonInferiority)
	} else if g.forms.first {
		all = append(all, g.FirstShown[t.next()])
	}
	if g.forms.requests {
		all = append(all, g.RequestsShown[t.next()])
	}
	if len(all) == 0 {
		return math.Exp(min(g.Compared.LogAdvance, 690)), g.Compared.Fresh && g.Compared.Judged
	}
	for _, n := range all {
		if v := math.Exp(min(n.LogE(), 690)) / float64(len(all)); v >= e {
			e, fresh = v, n.Fresh >= stats.FreshInformation*n.Information && n.Information > 0
		}
	}
	return e, fresh
}
