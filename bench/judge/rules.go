package main

import (
	"math"

	"github.com/flyballdev/flyball/internal/stats"
)

// A contestant is a rule that stops a rollout.
type contestant struct {
	Name  string
	About string
	// begin makes it ready for a run in which the treatment breaks as told: only the
	// clairvoyant listens.
	begin func(s service) watcher
	// forgets says that after an alarm it is as in the beginning.
	forgets bool
}

const (
	alpha  = 0.01
	margin = 0.05
)

// contestants are all that take part; the first is ours.
func contestants() []contestant {
	return []contestant{
		{Name: "flyball", About: "the breaker with a limit, and trials by the configured share", begin: ours(newBreaker)},
		{Name: "flyball, share of 50 ms", About: "the share measured in windows of 50 ms or more, until both arms are in it", begin: measured(0.05)},
		{Name: "flyball, share of 250 ms", About: "the same", begin: measured(0.25)},
		{Name: "flyball, share of 1 s", About: "the same", begin: measured(1)},
		{Name: "flyball, plain", About: "no limit, no trials, the grid 1.2 1.4 1.8 3 8 25 evenly, half of the mass at the start", begin: ours(plainBreaker)},
		{Name: "normal mixture, 1 s", About: "one-sided, τ = .005, as means are judged, with our least numbers", begin: perSecond(1, mixture)},
		{Name: "1-min window > 1.05 × control, twice", About: "as a canary analysis that compares", begin: windowed(func(t *tally) bool { return t.rate(1) > (1+margin)*t.rate(0) }), forgets: true},
		{Name: "1-min window > 2 %, twice", About: "as one with a fixed threshold", begin: windowed(func(t *tally) bool { return t.rate(1) > 0.02 }), forgets: true},
		{Name: "Mann–Whitney, 10 min", About: "as Kayenta: points of a minute, confidence .98, tolerance .25", begin: kayenta},
		{Name: "GrowthBook, 60 min, α .05", About: "as shipped", begin: perSecond(3600, growthbook(0.05))},
		{Name: "GrowthBook's formula, 60 s, α .05", About: "its sequence, asked far more often than it is", begin: perSecond(60, growthbook(0.05))},
		{Name: "GrowthBook's formula, 1 s", begin: perSecond(1, growthbook(alpha))},
		{Name: "mSPRT, 1 s", About: "two-sided, τ = .005, tuned to a rate of 1.5 %", begin: perSecond(1, msprt)},
	}
}

// newBreaker is the breaker that the product runs.
func newBreaker() stats.Labels {
	l := stats.NewLabels(stats.Margin{Relative: margin}, stats.NewSchedule(1, 0))
	l.Limit = 1 / alpha
	return l
}

// plainBreaker is the one that the acceptance limits were measured with.
func plainBreaker() stats.Labels {
	l := stats.NewLabels(stats.Margin{Relative: margin}, stats.Schedule{Start: 0.5, Rate: 0.5 / 86400, Horizon: 86400})
	l.Grid = stats.Alternatives{1.2, 1.4, 1.8, 3, 8, 25}
	for k := range l.Weights {
		l.Weights[k], l.M[k] = 1.0/6, 0.5
	}
	return l
}

func ours(make func() stats.Labels) func(service) watcher {
	return func(s service) watcher {
		l := make()
		return watcher{batch: func(t float64, b *tally) bool {
			e := stats.Events{Share: s.Share, Treatment: int64(b.x[1]), Control: int64(b.x[0])}
			if l.Limit > 0 {
				e.TreatmentTrials, e.ControlTrials = int64(b.n[1]), int64(b.n[0])
			}
			l.Observe(t, e)
			return l.Tripped(alpha)
		}}
	}
}

// measured takes the share from what came in so many seconds, or more until both
// arms are in it, as the judge does where requests do not choose their arm.
func measured(seconds float64) func(service) watcher {
	return func(service) watcher {
		l := newBreaker()
		var kept tally
		closed := 0.0
		return watcher{slice: func(t float64, slice *tally) bool {
			kept.add(slice)
			if t-closed < seconds-window/2 || kept.n[0] == 0 || kept.n[1] == 0 {
				return false
			}
			l.Observe(t, stats.Events{
				Share:     kept.n[1] / (kept.n[0] + kept.n[1]),
				Treatment: int64(kept.x[1]), Control: int64(kept.x[0]),
				TreatmentTrials: int64(kept.n[1]), ControlTrials: int64(kept.n[0]),
			})
			closed, kept = t, tally{}
			return l.Tripped(alpha)
		}}
	}
}

// clairvoyant knows how often control fails, and how often the treatment will. With
// all of its mass at the start it also knows that it is bad from the start: Wald's
// test of one law against one other. Otherwise it has our prior on the moment.
func clairvoyant(start float64) func(service) watcher {
	return func(s service) watcher {
		null := (1 + margin) * s.Healthy
		bad, good := s.Broken/null, (1-s.Broken)/(1-null)
		m, spent, last := start, start, 0.0
		return watcher{treated: func(t float64, failed bool) bool {
			g := min((1-start)/86400*(t-last), 1-spent)
			last, spent = t, spent+g
			if m += g; failed {
				m *= bad
			} else {
				m *= good
			}
			return m >= 1/alpha
		}}
	}
}

// perSecond asks every so many seconds, once both arms have requests and one failed.
func perSecond(every float64, asks func(*tally) bool) func(service) watcher {
	return func(service) watcher {
		return watcher{second: func(at float64, c *tally) bool {
			return math.Mod(math.Round(at), every) == 0 && c.n[0] > 0 && c.n[1] > 0 && c.x[0]+c.x[1] > 0 && asks(c)
		}}
	}
}

func growthbook(alpha float64) func(*tally) bool {
	const tuning = 5000
	return func(c *tally) bool {
		d, se := beyond(c)
		return d > asymptoticWidth(se, c.n[0]+c.n[1], alpha, tuning, true)
	}
}

// beyond returns by how much the treatment's rate is beyond the margin, with its
// standard error. Others ask of the bare difference: small harm within the margin
// stops them in the end.
func beyond(c *tally) (d, se float64) {
	d, se = difference(proportion(c.n[0], c.x[0]), proportion(c.n[1], c.x[1]), false)
	return d - margin*c.rate(0), se
}

// msprt has the variance of the null, in which both arms fail alike: at first a
// kinder one than that of what was seen.
func msprt(c *tally) bool {
	const tau = 0.005
	d, _ := beyond(c)
	p := (c.x[0] + c.x[1]) / (c.n[0] + c.n[1])
	return d > 0 && sequentialRatio(d, p*(1-p)*(1/c.n[0]+1/c.n[1]), tau) >= math.Log(1/alpha)
}

func mixture(c *tally) bool {
	const tau = 0.005
	if c.n[0] < stats.MinUnits || c.n[1] < stats.MinUnits || c.x[0]+c.x[1] < stats.MinEvents || min(c.x[0], c.x[1]) < stats.MinEventsInArm {
		return false
	}
	arm := func(i int) stats.Moments { return stats.Moments{N: c.n[i], Sum: c.x[i], SumSq: c.x[i]} }
	return stats.Margin{Relative: margin}.Contrast(arm(1), arm(0)).LogE(tau) >= math.Log(1/alpha)
}

// windowed asks of each whole minute, and stops at the second in a row.
func windowed(bad func(*tally) bool) func(service) watcher {
	return func(service) watcher {
		var before tally
		row := 0
		return watcher{second: func(at float64, c *tally) bool {
			if math.Mod(math.Round(at), 60) != 0 {
				return false
			}
			minute := since(c, &before)
			before = *c
			if row++; !bad(&minute) {
				row = 0
			}
			if row < 2 {
				return false
			}
			row = 0
			return true
		}}
	}
}

func since(c, before *tally) (d tally) {
	for arm := range 2 {
		d.n[arm], d.x[arm] = c.n[arm]-before.n[arm], c.x[arm]-before.x[arm]
	}
	return d
}

func kayenta(service) watcher {
	var before tally
	var points [2][]float64
	return watcher{second: func(at float64, c *tally) bool {
		if math.Mod(math.Round(at), 60) != 0 {
			return false
		}
		minute := since(c, &before)
		before = *c
		for arm := range points {
			points[arm] = append(points[arm], minute.rate(arm))
		}
		if n := len(points[0]); n < 10 || n%10 != 0 {
			return false
		}
		estimate, low := shift(points[0], points[1], 0.98)
		return low > 0.25*math.Abs(estimate)
	}}
}
