package ingest

import (
	"math"
	"time"

	"github.com/flyballdev/flyball"
)

// A track is how something came about, in few points: when it is full, every
// second one goes, and the next ones come half as often.
type track[P timed] struct {
	Every  int64 `json:"every,omitempty"`
	Points []P   `json:"points,omitempty"`
}

// timed is a point of a track: it has a time in microseconds.
type timed interface{ when() int64 }

// A trackPoint is of the evidence of a gauge in the step in force: it holds
// logarithms of e-values.
type trackPoint struct {
	T       int64   `json:"t"`
	E       float64 `json:"e"`
	Advance float64 `json:"a"`
}

// A unitPoint is how many units each arm had, since the rollout began.
type unitPoint struct {
	T int64    `json:"t"`
	N [2]int64 `json:"n"`
}

// An effectPoint is what was known of the effect on a metric, since the rollout
// began; of what was not known, nothing.
type effectPoint struct {
	T        int64       `json:"t"`
	Estimate *float64    `json:"x,omitempty"`
	Interval *[2]float64 `json:"i,omitempty"`
}

func (p trackPoint) when() int64  { return p.T }
func (p unitPoint) when() int64   { return p.T }
func (p effectPoint) when() int64 { return p.T }

const (
	maxTrack   = 32
	trackEvery = time.Second
	// trackFit is over how much of the step the growth of evidence is looked at,
	// at least.
	trackFit = 5 * time.Second
	// farAway is beyond which nothing sensible can be said.
	farAway = 5 * 365 * 24 * time.Hour
)

// add notes a point. The last one always tells how things stand now.
func (t *track[P]) add(p P) {
	if t.Every == 0 {
		t.Every = trackEvery.Microseconds()
	}
	if n := len(t.Points); n > 1 && p.when()-t.Points[n-2].when() < t.Every {
		t.Points[n-1] = p
		return
	}
	if t.Points = append(t.Points, p); len(t.Points) < maxTrack {
		return
	}
	last := t.Points[len(t.Points)-1]
	kept := t.Points[:0]
	for i := 0; i < maxTrack-1; i += 2 {
		kept = append(kept, t.Points[i])
	}
	t.Points, t.Every = append(kept, last), 2*t.Every
}

// due says whether a point would be one more, and not only a later last one. What
// takes time to find out is noted then alone.
func (t *track[P]) due(at int64) bool {
	n := len(t.Points)
	return n == 0 || at-t.Points[n-1].when() >= t.Every
}

// pointsOf returns the points as people read them.
func pointsOf[P timed, Q any](t *track[P], tell func(P) Q) []Q {
	all := make([]Q, len(t.Points))
	for i, p := range t.Points {
		all[i] = tell(p)
	}
	return all
}

func (p trackPoint) told() flyball.TrackPoint {
	return flyball.TrackPoint{At: fromMicros(p.T), E: math.Exp(p.E), AdvanceE: math.Exp(p.Advance)}
}

func (p unitPoint) told() flyball.UnitPoint {
	return flyball.UnitPoint{At: fromMicros(p.T), Units: armsOf(p.N)}
}

func (p effectPoint) told() flyball.EffectPoint {
	return flyball.EffectPoint{At: fromMicros(p.T), Estimate: p.Estimate, Interval: p.Interval}
}

// note notes how the rollout stands: who was exposed, and to what effect.
func (t *trial) note() {
	if t.Course.due(t.Clock) {
		t.Course.add(unitPoint{T: t.Clock, N: t.Units})
	}
	for _, g := range t.gauges {
		if g.unable != "" || !g.Course.due(t.Clock) {
			continue
		}
		var m flyball.MetricEvidence
		if g.measure(t, &m); m.Estimate != nil && finite(*m.Estimate) {
			p := effectPoint{T: t.Clock, Estimate: m.Estimate}
			if m.Interval != nil && finite(m.Interval[0]) && finite(m.Interval[1]) {
				p.Interval = m.Interval
			}
			g.Course.add(p)
		}
	}
}

// finite says whether a number can be written down as JSON.
func finite(x float64) bool { return !math.IsInf(x, 0) && !math.IsNaN(x) }

// slope returns by how much a second something has grown over the latter half
// of the track; ok is false if that is too short to tell.
func slope(t *track[trackPoint], of func(trackPoint) float64) (perSecond float64, ok bool) {
	n := len(t.Points)
	if n < 3 {
		return 0, false
	}
	a, b := t.Points[n/2-1], t.Points[n-1]
	if b.T-a.T < trackFit.Microseconds() {
		return 0, false
	}
	return (of(b) - of(a)) / (float64(b.T-a.T) / 1e6), true
}

// track notes how the evidence stands.
func (g *gauge) track(t *trial) {
	p := trackPoint{T: t.Clock, E: lnE(g.E)}
	if !g.success {
		e, _ := g.advance(t)
		p.Advance = lnE(e)
	}
	g.Track.add(p)
}

// lnE bounds the logarithm of an e-value, so that it can be written down.
func lnE(e float64) float64 { return math.Log(min(max(e, 1e-300), 1e300)) }

// enoughIn says how long it takes until the metric is shown healthy, or better,
// if its evidence grows as it lately did.
func (g *gauge) enoughIn(m *flyball.MetricEvidence) *flyball.Duration {
	shown, goal := func(p trackPoint) float64 { return p.Advance }, m.AdvanceThreshold
	if g.success {
		shown, goal = func(p trackPoint) float64 { return p.E }, m.Threshold
	}
	if m.Verdict == flyball.Healthy {
		return new(flyball.Duration)
	}
	grows, ok := slope(&g.Track, shown)
	if m.Verdict == flyball.Breached || !ok || grows <= 0 {
		return nil
	}
	left := max(0, math.Log(goal)-shown(g.Track.Points[len(g.Track.Points)-1])) / grows
	if left > farAway.Seconds() {
		return nil
	}
	d := flyball.Duration(max(time.Second, time.Duration(left*float64(time.Second)).Round(time.Second)))
	return &d
}

// enough returns the longest of the times until the guardrails are shown
// healthy, nil if one of them is not known.
func enough(all []flyball.MetricEvidence) *flyball.Duration {
	longest := new(flyball.Duration)
	for _, m := range all {
		if m.EnoughIn == nil {
			return nil
		}
		*longest = max(*longest, *m.EnoughIn)
	}
	return longest
}
