package rollout

import (
	"slices"
	"time"
)

const (
	leapSize = 2 * time.Second // less is the clock being disciplined
	maxLeaps = 64
)

// A clock finds leaps of the wall clock by holding it against the monotonic
// one, so that an NTP step, or a machine that slept, does not end every hold
// at once, and old data do not look fresh.
type clock struct {
	first time.Time
	ahead time.Duration // of the wall, against the monotonic clock, since first
	leaps []Leap
}

// look notes a reading of [time.Now], and returns the leaps so far, of which
// the caller owns the list.
func (c *clock) look(now time.Time) []Leap {
	if c.first.IsZero() {
		c.first = now
	}
	return c.see(now.Round(0), now.Sub(c.first))
}

// see notes a reading of the wall, and how much time has gone by since the
// first one.
func (c *clock) see(wall time.Time, gone time.Duration) []Leap {
	ahead := wall.Sub(c.first.Round(0)) - gone
	if by := ahead - c.ahead; by.Abs() >= leapSize {
		c.leaps = append(c.leaps, Leap{At: wall, By: by})
		c.leaps = c.leaps[max(0, len(c.leaps)-maxLeaps):]
	}
	c.ahead = ahead
	return slices.Clone(c.leaps)
}

// gone returns how much time went by from t to now, not counting what the
// clock leapt over. It is negative if t is still to come. Where the clock was
// set back it may be too little, and never too much.
func (s Situation) gone(t time.Time) time.Duration {
	d := s.Now.Sub(t)
	for _, l := range s.Leaps {
		if l.By > 0 && l.At.After(t) && !l.At.After(s.Now) {
			d -= min(l.By, l.At.Sub(t))
		}
	}
	return d
}

// doubt returns by how much gone may be too little for t, since the clock was
// set back: the clock shows such a time twice, and it may be the first.
func (s Situation) doubt(t time.Time) (d time.Duration) {
	for _, l := range s.Leaps {
		if l.By < 0 && !t.After(l.At.Add(-l.By)) {
			d -= l.By
		}
	}
	return d
}
