package ingest

import (
	"github.com/flyballdev/flyball"
)

// A ratio is compared by the two sums of each unit, since its events are not
// independent of each other: orders and visits, or, of a rate by request whose
// margin is absolute, failures and requests. Observations that no unit joins have
// no part in it.

// ratios says whether the units of a gauge have two sums.
func (g *gauge) ratios() bool {
	return g.metric.Type == flyball.MetricRatio || g.ratesRequests()
}

// ratesRequests says whether the gauge compares shares of requests.
func (g *gauge) ratesRequests() bool {
	m := g.metric
	return m.Type == flyball.MetricRate && m.Analysis == flyball.AnalysisRequest && !g.success && g.margin.Absolute > 0 && g.Join != byRequest
}

// gather adds an observation to the sums of a unit.
func (g *gauge) gather(s *slot, o *observation, x float64) {
	s.n++
	if g.metric.Type == flyball.MetricRate {
		s.sum += x
		s.per++
		return
	}
	if o.metric == g.metric.Numerator {
		s.sum += x
	}
	if o.metric == g.metric.Denominator {
		s.per += o.value
	}
}

func (g *gauge) compareRatio(t *trial, d datum, x float64) {
	u, s := &t.units[d.unit], t.slot(d.unit, g)
	switch {
	case g.forms.contrast == running && s.flags&slotEntered != 0:
		sum, per := s.sum, s.per
		g.gather(s, d.o, x)
		g.Compared.Ratios[g.Compared.strata()-1][t.arm(u)].Replace(sum, per, s.sum, s.per)
		g.Compared.Dirty = true
	case g.forms.contrast == running:
		g.gather(s, d.o, x)
		s.flags |= slotEntered
		g.addRatio(t.arm(u), s)
	case s.flags&slotEntered == 0 && g.inWindow(u, d.o.t):
		g.gather(s, d.o, x)
	}
}

// addRatio takes in the sums of a new unit; one that did nothing has none.
func (g *gauge) addRatio(arm int, s *slot) {
	if s.n == 0 {
		return
	}
	c := &g.Compared
	c.Ratios[c.strata()-1][arm].Add(s.sum, s.per)
	c.Dirty = true
	c.freezeDue(g, arm)
}

// inWindow says whether something at a time is an outcome of the unit's present
// stratum.
func (g *gauge) inWindow(u *unit, at int64) bool {
	return at >= u.entry-earliest.Microseconds() && at <= u.entry+g.windowOf()
}

// names returns the observations that a metric is made of.
func names(m flyball.Metric) []string {
	if m.Type == flyball.MetricRatio && m.Numerator != m.Denominator {
		return []string{m.Numerator, m.Denominator}
	} else if m.Type == flyball.MetricRatio {
		return []string{m.Numerator}
	}
	return []string{m.Of.Observation}
}
