package ingest

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/stats"
)

// A guardrail by an attribute, such as a route, must hold for each of its values:
// a fault in three percent of the traffic would drown in the rest. The first
// [stats.Breakdowns] values that control shows have a gauge of their own each, at
// its share of the guardrail's alpha, and keep it; whatever else there is, and
// observations without the attribute, are told as others and have no breaker.
// That control decides which, and not the treatment, makes the choice blind to
// what is judged.
//
// The guardrail is breached when one of its values is. It is shown to be healthy
// by all observations together, those of others too, since a value that is rare
// might otherwise never let a rollout advance; but not while the evidence against
// one of its values is such that it would suffice for an advance's opposite, 1 in
// 20: that one must first fall, or trip.

// A valueState is the state of the gauge of one value.
type valueState struct {
	Value string      `json:"value"`
	State *gaugeState `json:"state"`
}

// reopen makes the gauge of a value. With a nil state it is a new one.
func (g *gauge) reopen(t *trial, v valueState) *gauge {
	child := &gauge{
		metric: g.metric, margin: g.margin, alpha: g.alpha / stats.Breakdowns, unable: g.unable, value: v.Value,
		id: len(t.gauges) + g.id*stats.Breakdowns + len(g.values), gaugeState: v.State,
	}
	if v.State == nil {
		child.begin(t)
		g.Values = append(g.Values, valueState{v.Value, child.gaugeState})
	}
	child.choose(t)
	g.values = append(g.values, child)
	t.judged = append(t.judged, child)
	return child
}

// divide gives an observation to the gauge of its value.
func (g *gauge) divide(t *trial, d datum) {
	value, has := d.o.attribute(g.by)
	i := slices.IndexFunc(g.values, func(v *gauge) bool { return v.value == value })
	switch {
	case has && i < 0 && d.arm == control && len(g.values) < stats.Breakdowns:
		i = len(g.values)
		g.reopen(t, valueState{Value: value}).join(t, g)
	case !has || i < 0:
		g.Others[d.arm]++
		return
	}
	child := g.values[i]
	if d.unit >= 0 && t.slot(d.unit, child) == nil {
		return
	}
	child.count(t, d)
	g.check(t)
}

// join lets the gauge of a value begin in the middle of a rollout: whoever is at
// risk is at risk of this too.
func (g *gauge) join(t *trial, of *gauge) {
	g.RiskHead = of.RiskHead
	for i := g.RiskHead; i < len(t.units); i++ {
		if u := &t.units[i]; !u.crossed {
			g.atRisk(t, u)
		}
	}
}

// sumUp takes over what is worst among the values.
func (g *gauge) sumUp() {
	for i, v := range g.values {
		if i == 0 || v.E > g.E {
			g.E = v.E
		}
		if v.TrippedAt != 0 && g.TrippedAt == 0 {
			g.TrippedAt = v.TrippedAt
		}
	}
}

// worst returns the gauge of the value that there is most evidence against,
// itself where it is not judged by one.
func (g *gauge) worst() *gauge {
	if len(g.values) == 0 {
		return g
	}
	return slices.MaxFunc(g.values, func(a, b *gauge) int {
		return cmp.Or(cmp.Compare(flag(a.TrippedAt != 0), flag(b.TrippedAt != 0)), cmp.Compare(a.E, b.E))
	})
}

// reportAll tells what is known of a guardrail, and of each of its values.
func (g *gauge) reportAll(t *trial) flyball.MetricEvidence {
	m := g.report(t)
	if g.by == "" {
		return m
	}
	m.By, m.Threshold = g.by, stats.Breakdowns/g.alpha
	m.Others = &flyball.Arms{Control: g.Others[control], Treatment: g.Others[treatment]}
	for _, v := range g.values {
		s := v.report(t)
		s.By, s.Value = g.by, v.value
		m.Slots = append(m.Slots, s)
		if v == g.worst() && v.TrippedAt != 0 {
			m.E, m.Estimate, m.Interval, m.Control, m.Treatment, m.N = s.E, s.Estimate, s.Interval, s.Control, s.Treatment, s.N
			m.Why = fmt.Sprintf("%s=%s is %s", g.by, v.value, s.Why)
		}
	}
	return m
}

// suspect returns a value's gauge whose evidence forbids an advance.
func (g *gauge) suspect() *gauge {
	if w := g.worst(); w != g && w.E >= 1/stats.AdvanceAlpha {
		return w
	}
	return nil
}

// A part is what the gauge of a value knows of a unit that had this value. Most
// units have few of them.
type part struct {
	unit  int32
	gauge int32
	slot
}

// known returns what a gauge knows of a unit, nil if that is nothing.
func (t *trial) known(u int32, g *gauge) *slot {
	if g.id < len(t.gauges) {
		return &t.slots[int(u)*len(t.gauges)+g.id]
	}
	if i, ok := t.partOf[partKey(u, g.id)]; ok {
		return &t.parts[i].slot
	}
	return nil
}

// slot returns what a gauge knows of a unit, with room for it. It is nil if there
// is none, and valid until the next call.
func (t *trial) slot(u int32, g *gauge) *slot {
	if s := t.known(u, g); s != nil {
		return s
	}
	if len(t.parts) >= MaxParts {
		t.Crowded = true
		return nil
	}
	return t.addPart(part{unit: u, gauge: int32(g.id)})
}

func (t *trial) addPart(p part) *slot {
	t.partOf[partKey(p.unit, int(p.gauge))] = int32(len(t.parts))
	t.parts = append(t.parts, p)
	return &t.parts[len(t.parts)-1].slot
}

func partKey(u int32, gauge int) uint64 { return uint64(u)<<32 | uint64(gauge) }

// attribute returns the value of an attribute; ok is false if it has none.
func (o *observation) attribute(name string) (value string, ok bool) {
	for _, a := range o.attributes {
		if a.name == name {
			return a.value, true
		}
	}
	return "", false
}

func (a attribute) compare(b attribute) int {
	return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.value, b.value))
}

// attributesOf returns attributes as the judge sees them: values as text, in the
// order of names. What is no single value is left out.
func attributesOf(all flyball.Attributes) []attribute {
	if len(all) == 0 {
		return nil
	}
	out := make([]attribute, 0, len(all))
	for name, v := range all {
		switch v := v.(type) {
		case string:
			out = append(out, attribute{name, v})
		case bool:
			out = append(out, attribute{name, strconv.FormatBool(v)})
		case int64:
			out = append(out, attribute{name, strconv.FormatInt(v, 10)})
		case float64:
			out = append(out, attribute{name, strconv.FormatFloat(v, 'g', -1, 64)})
		}
	}
	slices.SortFunc(out, attribute.compare)
	return out
}
