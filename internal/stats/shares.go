package stats

import "math"

// A ShareCheck tells over the steps of a rollout whether the arms get the shares
// that they should. Each step is judged by its own shares and counts, and the
// evidence is multiplied; see [SampleRatio]. Count a unit once, in the step where
// it was first seen: units that are counted in each step they return in gave up to
// fifteen times as many false flags. [exact]
//
// A mismatch blocks an advance and marks what was measured as unsound. It says
// nothing of harm, and is no reason to roll back.
type ShareCheck struct {
	Past   float64   `json:"past"` // logarithm of the factor of the steps before
	Shares []float64 `json:"shares"`
	Counts []float64 `json:"counts"`
	Peak   float64   `json:"peak"` // the highest logarithm so far
}

// NewShareCheck returns the check of a first step with these shares, of sum 1.
func NewShareCheck(shares ...float64) ShareCheck {
	return ShareCheck{Shares: shares, Counts: make([]float64, len(shares))}
}

// Step begins a step with other shares.
func (c *ShareCheck) Step(shares ...float64) {
	c.Past = c.LogE()
	c.Shares, c.Counts = shares, make([]float64, len(shares))
}

// Expose counts units that were seen for the first time, by arm. Give what came
// together in one call: between the arms of a batch there is nothing to look at.
func (c *ShareCheck) Expose(counts ...int64) {
	for arm := range min(len(counts), len(c.Counts)) {
		c.Counts[arm] += float64(max(counts[arm], 0))
	}
	c.Peak = max(c.Peak, c.LogE())
}

// LogE returns the logarithm of the evidence for a mismatch.
func (c *ShareCheck) LogE() float64 {
	return c.Past + SampleRatio(c.Counts, c.Shares, SampleRatioPrior)
}

// Mismatch tells whether a mismatch was ever shown, at error alpha.
func (c *ShareCheck) Mismatch(alpha float64) bool { return c.Peak >= math.Log(1/alpha) }

// Missing is the twin of a [ShareCheck]: it watches, in both arms, what part of the
// exposed units never had an outcome although their window has ended. A treatment
// that hangs or crashes its clients kills the telemetry that would tell of it, and
// is seen here. Null: the treatment's units go missing no more often than
// control's. It is [Labels] with the units whose window ended as the exposed ones,
// and as exact.
type Missing struct {
	Labels
	Ended [2]int64 `json:"ended"` // units whose window has ended: control, treatment
	Lost  [2]int64 `json:"lost"`  // of them without an outcome
}

// NewMissing returns the watch of missing outcomes.
func NewMissing(s Schedule) Missing { return Missing{Labels: NewLabels(Margin{}, s)} }

// Observe counts the units whose window ended since the last time, by arm, control
// first, and how many of them had no outcome. Give both arms together: those of one
// alone are not judged.
func (m *Missing) Observe(t float64, ended, lost [2]int64) {
	for arm := range ended {
		if ended[arm] < 0 || lost[arm] < 0 || lost[arm] > ended[arm] {
			return
		}
	}
	for arm := range ended {
		m.Ended[arm] += ended[arm]
		m.Lost[arm] += lost[arm]
	}
	m.Labels.Observe(t, Events{
		Share:     float64(ended[1]) / float64(ended[0]+ended[1]),
		Treatment: lost[1], Control: lost[0],
	})
}
