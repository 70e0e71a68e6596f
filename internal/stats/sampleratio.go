package stats

import "math"

// SampleRatio returns the logarithm of the Bayes factor for "the arms do not have
// the planned shares": counts[i] units fell in arm i, which should get shares[i]
// of them (above 0, with sum 1). prior says how near to the plan the
// alternatives stand, in units; [SampleRatioPrior] by default. A mismatch is
// shown when it reaches log(1/alpha) at any time; it is [exact] under continuous
// looking (Lindon and Malek, "Anytime-valid inference for multinomial count
// data", 2022).
//
// Over the steps of a rollout add up the values of each step with its own shares
// and counts, a unit counted once, in the step where it was first seen. An arm
// whose share is 0 takes no part, nor does an argument that is no number.
func SampleRatio(counts, shares []float64, prior float64) float64 {
	n, logBF := 0.0, 0.0
	for i := range min(len(counts), len(shares)) {
		c, s := counts[i], shares[i]
		if !(s > 0 && c >= 0 && c <= math.MaxFloat64) {
			continue
		}
		n += c
		logBF += logGamma(prior*s+c) - logGamma(prior*s) - c*math.Log(s)
	}
	return logBF + logGamma(prior) - logGamma(prior+n)
}

func logGamma(x float64) float64 {
	l, _ := math.Lgamma(x)
	return l
}
