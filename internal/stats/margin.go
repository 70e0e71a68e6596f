package stats

import "math"

// A Margin is how much worse than control a treatment may be: by a fraction of
// control's rate or mean, by an amount in the metric's unit, or both added. The
// zero Margin means "not worse at all" for a metric of which less is better.
type Margin struct {
	Relative       float64 `json:"relative,omitempty"` // 0.05 is 5 % of control
	Absolute       float64 `json:"absolute,omitempty"` // in the metric's unit
	HigherIsBetter bool    `json:"higherIsBetter,omitempty"`
}

// Ratio returns the rate ratio (treatment over control) at which the margin
// ends: 1 + Relative, or 1 − Relative where higher is better. Absolute plays no
// part in it.
func (m Margin) Ratio() float64 {
	if m.HigherIsBetter {
		return max(0, 1-m.Relative)
	}
	return 1 + m.Relative
}

// StepRatio returns the rate ratio that must be excluded before the treatment
// may grow to the share a (0 < a ≤ 1): 1 + max(Relative, HarmBudget/a), or the
// inverse of that where higher is better. A step to 5 % may thus double the
// errors of its few users and still cost the whole no more than the budget; the
// step to everybody must show the margin itself, or 5 %.
func (m Margin) StepRatio(a float64) float64 {
	r := 1 + max(m.Relative, HarmBudget/max(a, smallestShare))
	if m.HigherIsBetter {
		return 1 / r
	}
	return r
}

// AtStep returns the margin, in the metric's unit, that a mean must keep before
// the treatment may grow to the share a (0 < a ≤ 1). controlMean must be frozen
// before the evidence is looked at, or the margin would move with it.
func (m Margin) AtStep(a, controlMean float64) Margin {
	c := math.Abs(controlMean)
	return Margin{
		Absolute:       max(m.Absolute, m.Relative*c, HarmBudget/max(a, smallestShare)*c),
		HigherIsBetter: m.HigherIsBetter,
	}
}

// One in a million, the least that a weight can be, keeps the ratios finite.
const smallestShare = 1e-6

// Tau returns the scale τ of the differences that a [Contrast] should find
// soonest: half the absolute margin, but at least 5 % of control's mean. It is a
// tuning, not an assumption: any τ that was fixed before the data is valid.
func (m Margin) Tau(controlMean float64) float64 {
	return max(m.Absolute/2, 0.05*math.Abs(controlMean))
}
