package main

import (
	"fmt"
	"image/color"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/stat/distuv"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/flyballdev/flyball/internal/stats"
)

// The traffic of all pictures: 200 requests a second, of which 5 % have the
// treatment; 1 % of control's requests fail; the margin is 5 %, α is 1 %.
const (
	rate  = 200.0
	share = 0.05
	fails = 0.01
	alpha = 0.01
)

var margin = stats.Margin{Relative: 0.05}

// A world gives the errors of one window after the other.
type world struct {
	seconds float64 // of a window
	random  rand.Source
}

// window returns the errors of a window in which the treatment fails so often.
func (w world) window(treatment float64) stats.Events {
	n := rate * w.seconds
	return stats.Events{
		Share:     share,
		Treatment: int64(distuv.Poisson{Lambda: n * share * treatment, Src: w.random}.Rand()),
		Control:   int64(distuv.Poisson{Lambda: n * (1 - share) * fails, Src: w.random}.Rand()),
	}
}

func newWorld(seed, stream uint64, seconds float64) world {
	return world{seconds: seconds, random: rand.NewPCG(seed, stream)}
}

// peeking compares, over many rollouts of a treatment that is as good as
// control, how many were called bad by a test that is made for one look and by
// the breaker.
func peeking(seed uint64) (*plot.Plot, error) {
	const rollouts, window, hours = 500, 10.0, 24
	called := map[string][]float64{"z": make([]float64, hours*60+1), "breaker": make([]float64, hours*60+1)}
	for r := range rollouts {
		w := newWorld(seed, uint64(r), window)
		labels := stats.NewLabels(stats.Margin{}, stats.NewSchedule(1, 0))
		var treatment, control, bad, tripped float64
		for i := 1; i <= hours*3600/int(window); i++ {
			e := w.window(fails)
			labels.Observe(float64(i)*window, e)
			treatment, control = treatment+float64(e.Treatment), control+float64(e.Control)
			// Of all errors the treatment has its share, if nothing is wrong.
			all := treatment + control
			if z := (treatment - share*all) / math.Sqrt(all*share*(1-share)); bad == 0 && all > 50 && z > 2.326 {
				bad = float64(i) * window
			}
			if tripped == 0 && labels.Tripped(alpha) {
				tripped = float64(i) * window
			}
		}
		mark(called["z"], bad, rollouts)
		mark(called["breaker"], tripped, rollouts)
	}
	p := sheet("Looking every ten seconds at something that is fine", "hours", "called bad, % of rollouts")
	p.Y.Min, p.Y.Max = 0, 32
	if err := line(p, "a test made for one look, at 1 %", orange, false, hourly(called["z"])); err != nil {
		return nil, err
	}
	if err := line(p, "the breaker, at 1 % in all", blue, false, hourly(called["breaker"])); err != nil {
		return nil, err
	}
	return p, level(p, "1 %", 1, hours)
}

// mark counts a rollout from the minute in which it was called bad.
func mark(minutes []float64, at float64, of int) {
	if at == 0 {
		return
	}
	for m := int(math.Ceil(at / 60)); m < len(minutes); m++ {
		minutes[m] += 100 / float64(of)
	}
}

func hourly(minutes []float64) plotter.XYs {
	points := make(plotter.XYs, len(minutes))
	for m, y := range minutes {
		points[m] = plotter.XY{X: float64(m) / 60, Y: y}
	}
	return points
}

// path returns the evidence of one rollout, second by second, until it trips or
// the time is over.
func path(w world, s stats.Schedule, until float64, treatment func(t float64) float64) plotter.XYs {
	labels := stats.NewLabels(margin, s)
	points := plotter.XYs{{X: 0, Y: labels.E()}}
	for t := w.seconds; t <= until; t += w.seconds {
		labels.Observe(t, w.window(treatment(t)))
		points = append(points, plotter.XY{X: t, Y: max(labels.E(), 1e-4)})
		if labels.Tripped(alpha) {
			break
		}
	}
	return points
}

// evidence draws the e-values of some rollouts that are fine and of some that
// are not.
func evidence(seed uint64) (*plot.Plot, error) {
	const until = 300.0
	p := sheet("Evidence of harm, rollout by rollout", "seconds", "e-value")
	logarithmic(p, 1e-3, 1e6)
	for _, kind := range []struct {
		name  string
		rate  float64
		color color.Color
		n     int
	}{{"fails as control does, 1 %", fails, blue, 15}, {"fails at 2 %", 0.02, grey, 5}, {"fails at 5 %", 0.05, orange, 5}} {
		for i := range kind.n {
			name := ""
			if i == 0 {
				name = kind.name
			}
			w := newWorld(seed, uint64(i)+uint64(1e6*kind.rate), 1)
			points := path(w, stats.NewSchedule(1, 0), until, func(float64) float64 { return kind.rate })
			if err := line(p, name, kind.color, false, points); err != nil {
				return nil, err
			}
		}
	}
	return p, level(p, "trips at 1/α = 100", 1/alpha, until)
}

// change compares the breaker with a test of a constant difference, where the
// treatment is fine for half an hour and then is not.
func change(seed uint64) (*plot.Plot, error) {
	const broke, until = 1800.0, 2400.0
	breaks := func(t float64) float64 {
		if t > broke {
			return 0.05
		}
		return fails
	}
	p := sheet("Fine for half an hour, then 5 % fail", "minutes", "e-value")
	logarithmic(p, 1e-4, 1e5)
	for _, test := range []struct {
		name     string
		schedule stats.Schedule
		color    color.Color
	}{
		{"the breaker: the change may come at any time", stats.NewSchedule(1, 0), blue},
		{"a test of a difference from the start on", stats.FromStart(), orange},
	} {
		points := path(newWorld(seed, 7, 1), test.schedule, until, breaks)
		took := points[len(points)-1].X - broke
		for i := range points {
			points[i].X /= 60
		}
		if err := line(p, fmt.Sprintf("%s (%.0f s)", test.name, took), test.color, false, points); err != nil {
			return nil, err
		}
	}
	return p, level(p, "trips at 100", 1/alpha, until/60)
}

// interval draws an estimate with its anytime-valid interval, and the interval
// that is good for one look only.
func interval(seed uint64) (*plot.Plot, error) {
	const hours = 3.0
	w, ratio := newWorld(seed, 3, 10), stats.RateRatio{}
	var estimate, low, high, lowOnce, highOnce plotter.XYs
	for t := w.seconds; t <= hours*3600; t += w.seconds {
		ratio.Observe(w.window(fails))
		r, ok := ratio.Estimate()
		i, told := ratio.Interval(alpha)
		if !ok || !told || t < 300 {
			continue
		}
		once := math.Exp(2.576 * math.Sqrt(ratio.Noise/(ratio.Treatment*ratio.Control)))
		at := t / 3600
		estimate = append(estimate, plotter.XY{X: at, Y: r})
		low, high = append(low, plotter.XY{X: at, Y: i.Low}), append(high, plotter.XY{X: at, Y: i.High})
		lowOnce, highOnce = append(lowOnce, plotter.XY{X: at, Y: r / once}), append(highOnce, plotter.XY{X: at, Y: r * once})
	}
	p := sheet("The error rate of the treatment, as a multiple of control's", "hours", "ratio")
	p.Y.Min, p.Y.Max = 0.2, 2.2
	for _, l := range []struct {
		name   string
		color  color.Color
		dashed bool
		points plotter.XYs
	}{
		{"estimate", blue, false, estimate},
		{"holds at all times together, 99 %", orange, false, low}, {"", orange, false, high},
		{"holds at one moment, 99 %", grey, true, lowOnce}, {"", grey, true, highOnce},
	} {
		if err := line(p, l.name, l.color, l.dashed, l.points); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// margins draws what must be excluded before a share is entered.
func margins(uint64) (*plot.Plot, error) {
	p := sheet("What must be ruled out before more users get it", "share to be entered, %", "times control's errors")
	var points plotter.XYs
	for percent := 2.0; percent <= 100; percent += 0.5 {
		points = append(points, plotter.XY{X: percent, Y: margin.StepRatio(percent / 100)})
	}
	p.X.Min, p.Y.Min, p.Y.Max = 0, 1, 4
	return p, line(p, "with a margin of 5 %", blue, false, points)
}
