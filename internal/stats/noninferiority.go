package stats

import "math"

// NonInferiority gathers the evidence, from the same [Events] that a breaker
// judges, that a rate is not beyond the margin of one step of the plan. It is
// [Labels] with null and alternatives exchanged: null "the ratio is at Ratio or
// beyond", alternatives {.4, .6, .75, .87, .95} · Ratio (their inverses where
// higher is better), and no prior on the time of a change. Keep one for each
// planned margin and feed all of them from the start: what earlier steps have
// shown then counts for the later margins too. [exact] as Labels is.
type NonInferiority struct {
	Ratio       float64    `json:"ratio"`
	LogL        [5]float64 `json:"logL"`        // log likelihood ratio of each alternative to the null, untempered
	Design      float64    `json:"design"`      // the latest design effect, at least 1: what LogL is divided by
	Information float64    `json:"information"` // Σ (x_T+x_C)·π·(1−π), about the log ratio, since the start
	Fresh       float64    `json:"fresh"`       // of that, since the present step began
}

// The factors, from the margin inwards, that NonInferiority looks for.
var gridWithin = [5]float64{0.4, 0.6, 0.75, 0.87, 0.95}

// NewNonInferiority returns the evidence for the step margin ratio, as
// [Margin.StepRatio] gives it: above 1 where lower is better, below 1 where
// higher is.
func NewNonInferiority(ratio float64) NonInferiority {
	return NonInferiority{Ratio: ratio, Design: 1}
}

// Step tells that a step begins.
func (n *NonInferiority) Step() { n.Fresh = 0 }

// Observe counts a batch.
func (n *NonInferiority) Observe(e Events) {
	if !e.usable() {
		return
	}
	treatment, events := float64(e.Treatment), float64(e.Treatment+e.Control)
	null := odds(e.Share, n.Ratio)
	for k, g := range gridWithin {
		if n.Ratio < 1 {
			g = 1 / g
		}
		n.LogL[k] += treatment*math.Log(g) + events*math.Log(null/odds(e.Share, n.Ratio*g))
	}
	n.Design = max(e.DesignEffect, 1)
	i := events * e.Share * (1 - e.Share)
	n.Information += i
	n.Fresh += i
}

// LogE returns the logarithm of the evidence that the ratio is within the
// margin, always finite.
func (n *NonInferiority) LogE() float64 {
	top := max(n.LogL[0], n.LogL[1], n.LogL[2], n.LogL[3], n.LogL[4])
	sum := 0.0
	for _, l := range n.LogL {
		sum += math.Exp((l - top) / n.Design)
	}
	return top/n.Design + math.Log(sum/float64(len(n.LogL)))
}

// Shown tells whether the ratio is now shown to be within the margin, at error
// alpha, and the present step brought at least [FreshInformation] of what shows
// it: what was seen at little load cannot vouch for much. Unlike a breaker it
// looks at the evidence as it stands, not at its peak: a rate that has worsened
// since may not advance.
func (n *NonInferiority) Shown(alpha float64) bool {
	return n.LogE() >= math.Log(1/alpha) && n.Fresh >= FreshInformation*n.Information
}
