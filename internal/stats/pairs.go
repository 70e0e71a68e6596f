package stats

import "math"

// Pairs are the moments of two values of each unit of an arm: the numerator and
// denominator of a ratio metric, such as orders and visits, or a value and the
// same unit's value before the rollout.
type Pairs struct {
	N     float64 `json:"n"`
	X     float64 `json:"x"`
	XX    float64 `json:"xx"`
	Y     float64 `json:"y"`
	YY    float64 `json:"yy"`
	Cross float64 `json:"cross"`
}

// Add counts a new unit, unless one of its values is NaN or beyond [MaxValue].
func (p *Pairs) Add(x, y float64) {
	if max(math.Abs(x), math.Abs(y)) <= MaxValue {
		p.N++
		p.Replace(0, 0, x, y)
	}
}

// Replace tells that the values of a unit that was counted before changed from
// (oldX, oldY) to (x, y). The moments stay those between units, exactly.
func (p *Pairs) Replace(oldX, oldY, x, y float64) {
	if !(max(math.Abs(oldX), math.Abs(oldY), math.Abs(x), math.Abs(y)) <= MaxValue) {
		return
	}
	p.X += x - oldX
	p.XX += (x - oldX) * (x + oldX)
	p.Y += y - oldY
	p.YY += (y - oldY) * (y + oldY)
	p.Cross += x*y - oldX*oldY
}

// Merge adds the units of o.
func (p *Pairs) Merge(o Pairs) {
	p.N += o.N
	p.X += o.X
	p.XX += o.XX
	p.Y += o.Y
	p.YY += o.YY
	p.Cross += o.Cross
}

// x and y are the moments of each value alone.
func (p Pairs) x() Moments { return Moments{p.N, p.X, p.XX} }
func (p Pairs) y() Moments { return Moments{p.N, p.Y, p.YY} }

// covariance returns the unbiased covariance, 0 if there are fewer than two units.
func (p Pairs) covariance() float64 {
	if p.N < 2 {
		return 0
	}
	return (p.Cross - p.X*p.Y/p.N) / (p.N - 1)
}

// Ratio returns ΣX/ΣY with its variance when units, not events, were randomised,
//
//	V = (s_x²/ȳ² + x̄²·s_y²/ȳ⁴ − 2·x̄·s_xy/ȳ³) / n,
//
// by the delta method (Deng, Knoblich and Lu, "Applying the delta method in metric
// analytics", 2018). [asymptotic]: many units, and a ΣY that is not near 0. The
// zero Estimate where that sum is not above 0.
func (p Pairs) Ratio() Estimate {
	if !(p.Y > 0) || p.N < 2 {
		return Estimate{}
	}
	x, y := p.X/p.N, p.Y/p.N
	r := x / y
	// s_x² − 2r·s_xy + r²·s_y², the variance of x − r·y, all over ȳ².
	v := p.x().Variance() - 2*r*p.covariance() + r*r*p.y().Variance()
	return Estimate{r, max(v, 0) / (y * y) / p.N}
}

// Slope returns θ = cov(X, Y)/var(Y) over the units of all arms together: how much
// of X follows from Y, the value before the rollout. Take it from the time before
// the rollout, or from what was seen before a batch, and then keep it: the
// adjusted means are unbiased for any θ that does not depend on them.
func Slope(arms ...Pairs) float64 {
	var all Pairs
	for _, a := range arms {
		all.Merge(a)
	}
	v := all.y().Variance()
	if !(v > 0) {
		return 0
	}
	return all.covariance() / v
}

// Adjusted returns the mean of X − θ·Y, with its variance.
func (p Pairs) Adjusted(theta float64) Estimate {
	v := p.x().Variance() + theta*theta*p.y().Variance() - 2*theta*p.covariance()
	return Estimate{p.x().Mean() - theta*p.y().Mean(), max(v, 0) / max(p.N, 1)}
}

// RatioContrast returns by how much the treatment's ratio ΣX/ΣY is beyond the
// margin; as [Margin.Contrast] for units' ratios. [asymptotic]
func (m Margin) RatioContrast(treatment, control Pairs) Contrast {
	t, c := treatment.Ratio(), control.Ratio()
	if t.V <= 0 && c.V <= 0 {
		return Contrast{}
	}
	return m.contrast(t, c)
}

// AdjustedContrast returns by how much the treatment's mean of X is beyond the
// margin once what Y, the value before the rollout, had foretold is taken out
// (CUPED: Deng, Xu, Kohavi and Walker, "Improving the sensitivity of online
// controlled experiments by utilizing pre-experiment data", 2013). theta is
// [Slope]'s. [asymptotic]
//
// What is taken out is each arm's deviation from the common mean of Y, so that a
// relative margin remains relative to control's mean of X. That common mean is
// uncertain too, and its share in the variance is counted.
func (m Margin) AdjustedContrast(treatment, control Pairs, theta float64) Contrast {
	if treatment.N < 2 || control.N < 2 || m.Ratio() == 0 {
		return Contrast{}
	}
	slope, d := m.Ratio(), m.Ratio()-1
	part := treatment.N / (treatment.N + control.N)
	// (x_T − θ(y_T − ȳ)) − slope·(x_C − θ(y_C − ȳ)), sorted by arm.
	t := treatment.Adjusted(theta * (1 + d*part))
	c := control.Adjusted(theta * (1 - d*(1-part)/slope))
	return m.contrast(t, c)
}
