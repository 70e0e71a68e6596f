package stats

import "math"

// Traffic is how fast what is measured arrives: trials, observations or units.
type Traffic struct {
	PerSecond float64
	Share     float64 // the treatment's part of it
}

func (t Traffic) sound() bool {
	return t.PerSecond > 0 && t.PerSecond <= MaxValue && t.Share > 0 && t.Share < 1
}

// Power is the chance with which planning wants harm to be found, or health shown.
const Power = 0.8

const (
	powerZ   = 0.8416212335729143 // normal quantiles: of Power,
	advanceZ = 1.6448536269514722 // and of 1 − AdvanceAlpha
	mostHarm = 1e4                // times the margin, beyond which nothing is looked for
	doubling = 60                 // of a standard error, beyond which nothing is either
)

// A walk is the logarithm of an alternative's evidence for a steady harm: how much
// it has to gain until the breaker trips, what it gains in a second, and the
// variance of that.
type walk struct{ need, drift, variance float64 }

// walks returns the walk of each alternative of a rate's breaker if the treatment's
// rate is ratio times control's, base, from the start.
func walks(l Labels, ratio, base, alpha float64, t Traffic) (all []walk) {
	null := odds(t.Share, l.Ratio)
	treatment := t.PerSecond * t.Share * min(1, base*ratio)
	control := t.PerSecond * (1 - t.Share) * base
	for k, g := range l.Grid {
		if l.Weights[k] == 0 {
			continue
		}
		down := math.Log(null / odds(t.Share, l.Ratio*g))
		up := down + math.Log(g)
		all = append(all, walk{
			need:  math.Log(1/alpha) - math.Log(l.Weights[k]*l.M[k]),
			drift: treatment*up + control*down, variance: treatment*up*up + control*down*down,
		})
	}
	return all
}

// by returns the chance that the walk has gained what it needs after so many
// seconds: that of a Brownian motion with its drift and variance (Siegmund,
// "Sequential analysis", 1985).
func (w walk) by(seconds float64) float64 {
	sd := math.Sqrt(w.variance * seconds)
	if sd == 0 {
		return 0
	}
	reached := math.Exp(logPhi((w.drift*seconds - w.need) / sd))
	return min(1, reached+math.Exp(min(0, 2*w.need*w.drift/w.variance+logPhi((-w.drift*seconds-w.need)/sd))))
}

// TimeToTrip returns after how many seconds, on average, the breaker of a rate
// trips if the treatment's rate has been ratio times control's, base, from the
// start: what the alternative that is nearest has to gain, log(1/(α·mass)), over
// what it gains each second, the rate of events times the divergence of the labels.
// +Inf if that is within the margin. An estimate within a fifth or so; the luck of
// the last event, and evidence of the other alternatives, shorten it.
func TimeToTrip(m Margin, s Schedule, ratio, base, alpha float64, t Traffic) float64 {
	best := math.Inf(1)
	if !t.sound() || !(base > 0 && base <= 1 && ratio >= 0 && alpha > 0 && alpha < 1) {
		return best
	}
	for _, w := range walks(NewLabels(m, s), ratio, base, alpha, t) {
		if w.drift > 0 {
			best = min(best, w.need/w.drift)
		}
	}
	return best
}

// SmallestRatio returns the rate ratio nearest to the margin that the breaker of a
// rate finds within so many seconds with the chance [Power]; false if there is none.
// Of a quantile's breaker the base is 1 − q, and the ratio that of exceedances: at
// 3 a p99 is what the p97 was.
func SmallestRatio(m Margin, s Schedule, base, alpha float64, t Traffic, seconds float64) (ratio float64, ok bool) {
	if !t.sound() || !(base > 0 && base < 1 && alpha > 0 && alpha < 1 && seconds > 0) {
		return 0, false
	}
	l := NewLabels(m, s)
	found := func(ratio float64) bool {
		for _, w := range walks(l, ratio, base, alpha, t) {
			if w.drift > 0 && w.by(seconds) >= Power {
				return true
			}
		}
		return false
	}
	most := min(1/base, m.Ratio()*mostHarm)
	if m.HigherIsBetter {
		most = 0
	}
	if !found(most) {
		return 0, false
	}
	return bisect(m.Ratio(), most, found), true
}

// variance returns the variance of a [Contrast] of means after so many seconds, if a
// unit's standard deviation is sd in both arms.
func (t Traffic) variance(m Margin, sd, seconds float64) float64 {
	n, slope := t.PerSecond*seconds, m.Ratio()
	return sd * sd * (1/(n*t.Share) + slope*slope/(n*(1-t.Share)))
}

// SmallestDifference returns the least by which a mean is beyond the margin, in the
// metric's unit, that a [Contrast] finds within so many seconds with the chance
// [Power]: where NormalMixture reaches 1/α although the estimate is by the normal
// law's quantile too low. It needs [MinUnits] in each arm; false before.
func SmallestDifference(m Margin, mean, sd, alpha float64, t Traffic, seconds float64) (difference float64, ok bool) {
	if !t.sound() || !(sd > 0 && sd <= MaxValue && alpha > 0 && alpha < 1 && seconds > 0) {
		return 0, false
	}
	if n := t.PerSecond * seconds; n*min(t.Share, 1-t.Share) < MinUnits {
		return 0, false
	}
	v, tau := t.variance(m, sd, seconds), m.Tau(mean)
	if !scales(tau) {
		return 0, false
	}
	found := func(x float64) bool {
		return NormalMixture(x-powerZ*math.Sqrt(v), v, tau) >= math.Log(1/alpha)
	}
	most := math.Sqrt(v)
	for range doubling {
		if found(most) {
			return bisect(0, most, found), true
		}
		most *= 2
	}
	return 0, false
}

// TimeToAdvance returns how many seconds it takes to show, with the chance [Power],
// that a rate is within a step's ratio ([Margin.StepRatio]) if both arms have the
// rate base: until there are
//
//	N = ((z.95 + z.8) / log ratio)² / (π(1−π))
//
// events in both arms together, what a test with a fixed end would need. The
// evidence that may be looked at all the time needs about as long: its median is
// within a fifth of that. +Inf where there is nothing to show.
func TimeToAdvance(ratio, base float64, t Traffic) float64 {
	if !t.sound() || !(base > 0 && base <= 1 && ratio > 0) || ratio == 1 {
		return math.Inf(1)
	}
	return neededInformation(ratio) / (t.Share * (1 - t.Share)) / (t.PerSecond * base)
}

// neededInformation is about the logarithm of a ratio.
func neededInformation(ratio float64) float64 {
	z := (advanceZ + powerZ) / math.Log(ratio)
	return z * z
}

// TimeToAdvanceMean returns how many seconds it takes to show, with the chance
// [Power], that a mean is within a step's margin ([Margin.AtStep]) if the arms are
// alike: until the standard error is margin/(z.95 + z.8), with [MinUnits] in each.
func TimeToAdvanceMean(atStep Margin, sd float64, t Traffic) float64 {
	if !t.sound() || !(sd >= 0 && sd <= MaxValue && atStep.Absolute > 0) {
		return math.Inf(1)
	}
	z := (advanceZ + powerZ) / atStep.Absolute
	units := MinUnits / (t.PerSecond * min(t.Share, 1-t.Share))
	return max(units, t.variance(Margin{}, sd, 1)*z*z)
}

// Remaining returns how many seconds are left until have has grown to need at the
// present rate: 0 if it has, +Inf if it does not grow.
func Remaining(have, need, perSecond float64) float64 {
	switch {
	case have >= need:
		return 0
	case !(perSecond > 0):
		return math.Inf(1)
	}
	return (need - have) / perSecond
}

// TimeToEnough returns how many seconds are left until there is information enough
// for [NonInferiority.Shown] to come out true with the chance [Power], if the arms
// are alike, at the rate at which it came in the present step's so many seconds. The
// present step must bring its part of it too.
func (n *NonInferiority) TimeToEnough(stepSeconds float64) float64 {
	if !(stepSeconds > 0) || n.Ratio == 1 && n.Fresh == 0 {
		return math.Inf(1)
	}
	rate, need := n.Fresh/stepSeconds, n.needed()*n.Design
	old := n.Information - n.Fresh
	fresh := FreshInformation / (1 - FreshInformation) * old
	return max(Remaining(n.Information, need, rate), Remaining(n.Fresh, fresh, rate))
}

// needed returns the information that it takes if the arms are alike.
func (n *NonInferiority) needed() float64 {
	if n.Ratio == 1 { // of an Exceedance the thresholds hold the margin: a tail .6 times as thick is supposed
		return neededInformation(gridWithin[1])
	}
	return neededInformation(n.Ratio)
}
