package ingest

import (
	"math"
	"time"

	"github.com/flyballdev/flyball"
)

// A track is how the evidence of a gauge came about in the step in force, in
// few points: when it is full, every second one goes, and the next ones come
// half as often.
type track struct {
	Every  int64        `json:"every,omitempty"`
	Points []trackPoint `json:"points,omitempty"`
}

// A trackPoint holds logarithms of e-values, and the time in microseconds.
type trackPoint struct {
	T       int64   `json:"t"`
	E       float64 `json:"e"`
	Advance float64 `json:"a"`
}

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
func (t *track) add(p trackPoint) {
	if t.Every == 0 {
		t.Every = trackEvery.Microseconds()
	}
	if n := len(t.Points); n > 1 && p.T-t.Points[n-2].T < t.Every {
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

func (t *track) told() []flyball.TrackPoint {
	all := make([]flyball.TrackPoint, len(t.Points))
	for i, p := range t.Points {
		all[i] = flyball.TrackPoint{At: fromMicros(p.T), E: math.Exp(p.E), AdvanceE: math.Exp(p.Advance)}
	}
	return all
}

// slope returns by how much a second something has grown over the latter half
// of the track; ok is false if that is too short to tell.
func (t *track) slope(of func(trackPoint) float64) (perSecond float64, ok bool) {
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
	grows, ok := g.Track.slope(shown)
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
