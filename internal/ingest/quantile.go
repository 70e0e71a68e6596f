package ingest

import (
	"math"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/stats"
)

// A quantile is watched through the observations that are beyond it: of control
// beyond its own quantile, of the treatment beyond that and the margin. By unit
// the event is a unit's first observation that is, by request each one. That the
// quantile is within a step's margin is shown by all observations, tempered by
// their design effect, in both.

// beginTail makes the state of a quantile's test.
func (g *gauge) beginTail(t *trial, s stats.Schedule) {
	if g.metric.Type != flyball.MetricQuantile {
		return
	}
	g.First = stats.NewLabels(stats.Margin{}, s)
	if t.Final || g.success { // the margin itself must be shown
		g.Tail = stats.NewExceedance(g.metric.Quantile, g.margin, s, 1)
		g.Tail.Shown[0].Window.AtLeast = 0
		return
	}
	var shares []float64
	for _, step := range t.Entry.Rollout.Steps {
		shares = append(shares, float64(step.PPM)/flyball.PPM)
	}
	g.Tail = stats.NewExceedance(g.metric.Quantile, g.margin, s, shares...)
}

func (g *gauge) countQuantile(t *trial, d datum, x float64) {
	if d.unit >= 0 && d.o.t > t.units[d.unit].first+g.windowOf() {
		return
	}
	before := g.Tail.Window.X[d.arm]
	g.Tail.Add(d.arm == treatment, x)
	if g.Tail.Window.X[d.arm] == before || d.unit < 0 {
		return
	}
	g.repeat(t.slot(d.unit, g))
	g.firstEvent(t, d)
}

// closeTail judges a window, if both arms are in it. At a step one that is not
// closed goes with the old shares.
func (g *gauge) closeTail(t *trial, step bool) {
	w := &g.Tail.Window
	open := w.Known && (w.N[control] == 0 || w.N[treatment] == 0)
	if open && !step {
		return
	}
	if open {
		w.N, w.X = [2]int64{}, [2]int64{}
		for i := range g.Tail.Shown {
			g.Tail.Shown[i].Window.N, g.Tail.Shown[i].Window.X = [2]int64{}, [2]int64{}
		}
		return
	}
	g.Tail.Close(t.seconds(), g.Design)
	g.Window.Opened = t.Clock
	g.temper()
	g.check(t)
}

// tailShown holds the evidence that the quantile is within the margin of the next
// step, or of a success metric that it is better.
func (g *gauge) tailShown(t *trial) *stats.TailWithin {
	return &g.Tail.Shown[min(t.next(), len(g.Tail.Shown)-1)]
}

// reportTail tells the quantiles of both arms over the whole rollout, and their
// difference.
func (g *gauge) reportTail(t *trial, m *flyball.MetricEvidence) {
	q, arms := g.metric.Quantile, &g.Tail.Arms
	m.N = flyball.Arms{Control: int64(arms[control].Count()), Treatment: int64(arms[treatment].Count())}
	if w := &g.tailShown(t).Window; !g.success && w.Known {
		m.AdvanceMargin = math.Abs(w.Limit[treatment] - w.Limit[control])
	}
	if m.N.Control == 0 || m.N.Treatment == 0 {
		return
	}
	c, tr := arms[control].Quantile(q), arms[treatment].Quantile(q)
	m.Control, m.Treatment, m.Estimate = &c, &tr, pointer(tr-c)
	// Each arm's bounds hold with half of alpha, so that their difference does
	// with all of it.
	opt, half := tightestTail*g.Tail.MinControl(), t.Entry.Rollout.Alpha/2
	ci, ok := arms[control].Interval(q, half, opt)
	ti, too := arms[treatment].Interval(q, half, opt)
	if ok && too {
		m.Interval = &[2]float64{ti.Low - ci.High, ti.High - ci.Low}
	}
}

// tightestTail says at how many times the least number of observations the
// interval of a quantile is tightest.
const tightestTail = 10
