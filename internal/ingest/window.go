package ingest

import (
	"github.com/flyballdev/flyball/internal/stats"
)

// A window is a judging window of requests: all that arrived, over all
// instances, since the last one. It closes when it is old enough and holds both
// arms; one with a single arm is carried on, never skipped.
type window struct {
	Opened int64    `json:"opened"`
	N      [2]int64 `json:"n"` // trials
	X      [2]int64 `json:"x"` // of them with the event
}

// A block gathers observations of both arms for a paired bet.
type block struct {
	Opened int64      `json:"opened"`
	N      [2]float64 `json:"n"`
	Sum    [2]float64 `json:"sum"`
}

// fullBlock is how many control observations close a block at once. One alone
// could be so high that the bet's floor binds.
const fullBlock = 4

func (b *block) add(arm int, x float64) {
	b.N[arm]++
	b.Sum[arm] += x
}

func (b *block) full() bool { return b.N[treatment] >= 1 && b.N[control] >= fullBlock }

func (b *block) both() bool { return b.N[treatment] >= 1 && b.N[control] >= 1 }

func (b *block) take(clock int64, design float64) stats.Block {
	s := stats.Block{Treatment: b.Sum[treatment] / b.N[treatment], Control: b.Sum[control] / b.N[control], DesignEffect: design}
	*b = block{Opened: clock}
	return s
}

// closeWindows judges what has been gathered for long enough. At a step all
// that holds both arms is judged, and the rest is dropped with the old shares.
func (g *gauge) closeWindows(t *trial, step bool) {
	due := func(opened int64) bool { return step || t.Clock-opened >= stats.JudgingWindow.Microseconds() }
	if g.forms.requests && due(g.Window.Opened) {
		if g.Window.N[control] > 0 && g.Window.N[treatment] > 0 {
			g.closeRequests(t)
		} else if step {
			g.Window = window{Opened: t.Clock}
		}
	}
	if g.forms.tail && due(g.Window.Opened) {
		g.closeTail(t, step)
	}
	if g.forms.pairAll && due(g.AllPair.Opened) {
		if g.AllPair.both() {
			g.closeAll(t)
		} else if step {
			g.AllPair = block{Opened: t.Clock}
		}
	}
	if g.forms.pairUnit && due(g.UnitPair.Opened) {
		if g.UnitPair.both() {
			g.closeUnit(t)
		} else if step {
			g.UnitPair = block{Opened: t.Clock}
		}
	}
}

// closeRequests judges a window of requests by the share that the treatment
// had of them. The design effect is that of the windows before, so that it does
// not depend on what it tempers. While nothing but events is sent, the share of
// the trials is not known, and there is nothing to judge.
func (g *gauge) closeRequests(t *trial) {
	w := g.Window
	g.Window = window{Opened: t.Clock}
	if g.Zeros {
		e := stats.Events{
			Share:     float64(w.N[treatment]) / float64(w.N[treatment]+w.N[control]),
			Treatment: w.X[treatment], Control: w.X[control], DesignEffect: g.Design,
		}
		if g.Join == byRequest { // what goes well of one user tells little of another
			e.TreatmentTrials, e.ControlTrials = w.N[treatment], w.N[control]
		}
		g.Requests.Observe(t.seconds(), e)
		for i := range g.RequestsShown {
			g.RequestsShown[i].Observe(e)
		}
		g.RequestsRatio.Observe(e)
	}
	g.temper()
	g.check(t)
}

func (g *gauge) closeAll(t *trial) {
	g.PairAll.Observe(t.seconds(), g.AllPair.take(t.Clock, g.Design))
	g.temper()
	g.check(t)
}

func (g *gauge) closeUnit(t *trial) {
	g.PairUnit.Observe(t.seconds(), g.UnitPair.take(t.Clock, 0))
	g.check(t)
}

// temper takes over the design effect for what comes next.
func (g *gauge) temper() {
	if g.Join == byUnit {
		g.Design = g.Repeats.DesignEffect()
	}
}
