package stats

import "math"

// Strata are the risk sets of first events that may come long after the exposure,
// such as conversions within a week: units are compared only with those first
// exposed at about the same time, whose windows are as far. New units, who had
// little time yet, would otherwise dilute the arm that happened to get more of them
// of late. It is the stratified form of the safe logrank test (see [Labels]) and
// needs no waiting; [exact] under the sharp null.
//
// Times are seconds since the rollout's start. The buckets stand in a ring: when a
// bucket's place is needed again, the windows of the units in it have ended.
type Strata struct {
	Window  float64               `json:"window"`  // seconds within which an event counts
	Buckets [strataBuckets]Bucket `json:"buckets"` // a ring
}

// A Bucket is the risk set of the units first exposed in one span of time.
type Bucket struct {
	Number int64   `json:"number,omitempty"` // of the span
	AtRisk RiskSet `json:"atRisk,omitzero"`
}

// The window is cut in two less than there are places: one is being filled, and
// one is not yet over entirely.
const strataBuckets = 64

// NewStrata returns empty risk sets for events within so many seconds.
func NewStrata(window float64) Strata { return Strata{Window: max(window, 1)} }

func (s *Strata) number(t float64) int64 {
	return int64(math.Floor(min(max(t, 0), 1e15) / (s.Window / (strataBuckets - 2))))
}

// bucket returns the bucket of units first exposed at t, nil if its place has gone
// to a later one.
func (s *Strata) bucket(t float64) *Bucket {
	n := s.number(t)
	b := &s.Buckets[n%strataBuckets]
	switch {
	case b.Number > n:
		return nil
	case b.Number < n:
		*b = Bucket{Number: n}
	}
	return b
}

// Expose adds units that were first exposed at t.
func (s *Strata) Expose(t float64, treatment, control int64) {
	if b := s.bucket(t); b != nil {
		b.AtRisk.Expose(treatment, control)
	}
}

// Ramp moves units first exposed at t that had no event yet from control to
// treatment; fewer than 0 move back.
func (s *Strata) Ramp(t float64, moved int64) {
	if b := s.bucket(t); b != nil {
		b.AtRisk.Ramp(moved)
	}
}

// Event tells that a unit first exposed at first had its first event at t, and
// returns what [Labels] and its like must be told of it. Its Share is 0, which they
// skip, if the event came after the window.
func (s *Strata) Event(first, t float64, treatment bool) Events {
	if !(t-first <= s.Window) {
		return Events{}
	}
	b := s.bucket(first)
	if b == nil {
		return Events{}
	}
	return b.AtRisk.Event(treatment)
}
