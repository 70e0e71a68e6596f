package ingest

import (
	"math"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/stats"
)

// A comparison holds the moments from which a contrast is made: of each step
// its own, over the units whose fate the step itself decided. Those are, at step
// k, the units of cohort k and, beside them, all of later cohorts. Raw counts of
// several steps are never added up, and no unit decides two of them.
type comparison struct {
	Strata [][2]stats.Moments `json:"strata,omitempty"`
	Ratios [][2]stats.Pairs   `json:"ratios,omitempty"` // in their place where units have two sums

	// The cap on extreme values, and the control mean that scales the test, are
	// learnt from the first control units and then stay.
	Warm     []warmValue `json:"warm,omitempty"`
	Cap      float64     `json:"cap,omitempty"`
	Mean     float64     `json:"mean,omitempty"`
	Frozen   bool        `json:"frozen,omitempty"`
	Overflow bool        `json:"overflow,omitempty"` // Warm was full before there was control enough

	Dirty      bool           `json:"dirty,omitempty"`
	Judged     bool           `json:"judged,omitempty"` // there was enough to judge
	LogE       float64        `json:"logE"`
	LogAdvance float64        `json:"logAdvance"`
	Fresh      bool           `json:"fresh,omitempty"`
	Difference stats.Contrast `json:"difference,omitzero"` // treatment less control
	AtStep     float64        `json:"atStep"`              // information when the step began
}

// A warmValue is a value that entered before the cap was known.
type warmValue struct {
	Stratum int     `json:"s"`
	Arm     int     `json:"a"`
	X       float64 `json:"x"`
}

// begin makes the first stratum: of ratios, where the gauge compares those.
func (c *comparison) begin(ratios bool) {
	if ratios {
		c.Ratios = make([][2]stats.Pairs, 1)
	} else {
		c.Strata = make([][2]stats.Moments, 1)
	}
}

// step begins a stratum.
func (c *comparison) step(t *trial) {
	c.AtStep = 0
	if c.Difference.V > 0 {
		c.AtStep = 1 / c.Difference.V
	}
	switch {
	case t.Recorded || c.strata() == maxStrata:
	case c.Ratios != nil:
		c.Ratios = append(c.Ratios, [2]stats.Pairs{})
	default:
		c.Strata = append(c.Strata, [2]stats.Moments{})
	}
}

// capped returns x as it counts.
func (c *comparison) capped(x float64) float64 {
	if c.Cap > 0 {
		return min(x, c.Cap)
	}
	return x
}

// add takes in the value of a new unit, and returns its place among the values
// from which the cap is learnt, counted from 1; 0 if it has none.
func (c *comparison) add(g *gauge, arm int, x float64) (warm int32) {
	s := len(c.Strata) - 1
	c.Strata[s][arm].Add(c.capped(x))
	c.Dirty = true
	if c.Frozen {
		return 0
	}
	if g.learnsCap() && !c.Overflow {
		if len(c.Warm) == maxWarm {
			c.Overflow, c.Warm = true, nil
		} else {
			c.Warm = append(c.Warm, warmValue{s, arm, x})
			warm = int32(len(c.Warm))
		}
	}
	c.freezeDue(g, arm)
	return warm
}

// freezeDue learns the cap and the control mean as soon as there are units enough.
func (c *comparison) freezeDue(g *gauge, arm int) {
	if !c.Frozen && arm == control && c.all(control).n >= stats.WarmUpUnits {
		c.freeze(g)
	}
}

// replace tells that a unit's value changed.
func (c *comparison) replace(arm int, old, x float64, warm int32) {
	c.Strata[len(c.Strata)-1][arm].Replace(c.capped(old), c.capped(x))
	c.Dirty = true
	if n := int(warm); n > 0 && n <= len(c.Warm) {
		c.Warm[n-1].X = x
	}
}

func (g *gauge) learnsCap() bool {
	return g.metric.Type == flyball.MetricMean && g.metric.Cap == 0
}

// A level is what a comparison knows of an arm.
type level struct {
	n    float64 // units
	sum  float64 // of their values; of ratios, of the numerators
	mean float64 // of ratios, the ratio of the sums
}

func (c *comparison) strata() int { return max(len(c.Strata), len(c.Ratios)) }

// of returns what a stratum holds of an arm.
func (c *comparison) of(stratum, arm int) level {
	if c.Ratios != nil {
		p := c.Ratios[stratum][arm]
		return level{p.N, p.X, p.Ratio().Value}
	}
	m := c.Strata[stratum][arm]
	return level{m.N, m.Sum, m.Mean()}
}

// all returns what all strata together hold of an arm. Raw sums over steps serve
// reports and scales; no verdict rests on them.
func (c *comparison) all(arm int) level {
	if c.Ratios != nil {
		var all stats.Pairs
		for i := range c.Ratios {
			all.Merge(c.Ratios[i][arm])
		}
		return level{all.N, all.X, all.Ratio().Value}
	}
	var all stats.Moments
	for i := range c.Strata {
		all.Merge(c.Strata[i][arm])
	}
	return level{all.N, all.Sum, all.Mean()}
}

// contrast compares the arms of a stratum.
func (c *comparison) contrast(stratum int, m stats.Margin) stats.Contrast {
	if c.Ratios != nil {
		return m.RatioContrast(c.Ratios[stratum][treatment], c.Ratios[stratum][control])
	}
	return m.Contrast(c.Strata[stratum][treatment], c.Strata[stratum][control])
}

func (c *comparison) controlMean() float64 {
	if c.Frozen {
		return c.Mean
	}
	return c.all(control).mean
}

// freeze learns the cap, counts what came before anew under it, and keeps the
// control mean as it is now.
func (c *comparison) freeze(g *gauge) {
	if len(c.Warm) > 0 {
		var values []float64
		for _, w := range c.Warm {
			if w.Arm == control {
				values = append(values, w.X)
			}
		}
		c.Cap = stats.CapOf(values)
		for i := range c.Strata {
			c.Strata[i] = [2]stats.Moments{}
		}
		for _, w := range c.Warm {
			c.Strata[w.Stratum][w.Arm].Add(c.capped(w.X))
		}
		c.Warm = nil
	}
	c.Mean = c.controlMean()
	c.Frozen = true
}

// draw computes the evidence anew if something came in.
func (c *comparison) draw(g *gauge, t *trial) {
	if g.forms.contrast == none || !c.Dirty {
		return
	}
	c.Dirty = false
	mean := c.controlMean()
	advance, within := g.advanceMargin(t, mean)
	var breaker, show, plain []stats.Contrast
	for i := range c.strata() {
		if !g.enough(c.of(i, treatment), c.of(i, control)) {
			continue
		}
		breaker = append(breaker, c.contrast(i, g.margin))
		show = append(show, c.contrast(i, advance).Negate())
		plain = append(plain, c.contrast(i, stats.Margin{}))
	}
	c.Difference = stats.Pool(plain...)
	c.Judged = c.Difference.V > 0
	if !c.Judged {
		return
	}
	b, s := stats.Pool(breaker...), stats.Pool(show...)
	if g.success { // the evidence is for "better"
		b = b.Negate()
	}
	c.LogE = b.LogE(g.margin.Tau(mean))
	c.LogAdvance = s.LogE(within.Tau(mean))
	information := 1 / c.Difference.V
	c.Fresh = information-c.AtStep >= stats.FreshInformation*information
}

// enough says whether a stratum holds enough for the central limit theorem.
func (g *gauge) enough(tr, co level) bool {
	if tr.n < stats.MinUnits || co.n < stats.MinUnits {
		return false
	}
	if g.metric.Type != flyball.MetricRate {
		return true
	}
	if g.forms.contrast != mature && !g.Zeros {
		return false // without trials there is no rate
	}
	return tr.sum >= stats.MinEventsInArm && co.sum >= stats.MinEventsInArm && tr.sum+co.sum >= stats.MinEvents
}

// advanceMargin returns the margin that an advance must show, and the one that
// tunes its test.
func (g *gauge) advanceMargin(t *trial, mean float64) (m, tuning stats.Margin) {
	if t.Final {
		return g.margin, g.margin
	}
	share := float64(t.Entry.Rollout.Steps[t.next()].PPM) / flyball.PPM
	m = g.margin.AtStep(share, mean)
	tuning = m
	if g.metric.Type == flyball.MetricRate && g.margin.Absolute == 0 {
		m = stats.Margin{Relative: math.Abs(1 - g.margin.StepRatio(share)), HigherIsBetter: g.margin.HigherIsBetter}
	}
	return m, tuning
}

// compare takes an observation into the contrast.
func (g *gauge) compare(t *trial, d datum, x float64) {
	if g.forms.contrast == none {
		return
	}
	if g.forms.contrast == each {
		g.Compared.add(g, d.arm, x)
		return
	}
	if d.unit < 0 {
		return
	}
	u, s := &t.units[d.unit], t.slot(d.unit, g)
	if int(u.stratum) != t.Stratum+1 || int(u.cohort) < t.at() {
		return
	}
	if g.forms.ratio {
		g.compareRatio(t, d, x)
		return
	}
	if g.forms.contrast == running {
		old := s.sum / float64(max(s.n, 1))
		s.sum += x
		s.n++
		if s.flags&slotEntered == 0 {
			s.flags |= slotEntered
			s.warm = g.Compared.add(g, t.arm(u), x)
		} else {
			g.Compared.replace(t.arm(u), old, s.sum/float64(s.n), s.warm)
		}
		return
	}
	if s.flags&slotEntered == 0 && g.inWindow(u, d.o.t) {
		s.sum += x
		s.n++
	}
}

// mature takes in the outcomes of units whose window has ended. A rate's is
// whether there was an event. Of a mean of which more is better, such as
// revenue, it is the sum, nothing being 0; of one of which less is better, such
// as latency, it is the unit's own mean, and a unit without a value has none.
func (g *gauge) mature(t *trial) {
	if g.forms.contrast != mature {
		return
	}
	open := t.Clock - g.windowOf() - g.grace(t)
	for g.MatureHead < len(t.entries) && t.units[t.entries[g.MatureHead]].entry < open {
		n := t.entries[g.MatureHead]
		g.MatureHead++
		u, s := &t.units[n], t.known(n, g)
		if s == nil { // of a route, say, that the unit never took
			s = &slot{}
		}
		if int(u.cohort) < t.at() || s.flags&slotEntered != 0 {
			continue
		}
		s.flags |= slotEntered
		x := s.sum
		switch {
		case g.forms.ratio:
			g.addRatio(t.arm(u), s)
			continue
		case g.metric.Type == flyball.MetricRate:
			x = min(x, 1)
		case !g.margin.HigherIsBetter:
			if s.n == 0 {
				continue
			}
			x /= float64(s.n)
		}
		g.Compared.add(g, t.arm(u), x)
	}
}
