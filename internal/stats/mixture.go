package stats

import "math"

// NormalMixture returns log E against the null that a difference is at most 0,
// from its estimate theta with variance v:
//
//	log E = log 2 − ½·log(1+τ²I) + z²/2 + log Φ(z),   I = 1/v,  z = (θ/v)·τ/√(1+τ²I).
//
// It is the likelihood ratio mixed over a half-normal of scale tau, the one-sided
// normal mixture of Howard, Ramdas, McAuliffe and Sekhon ("Time-uniform,
// nonparametric, nonasymptotic confidence sequences", 2021) with ρ = 1/τ². By the
// central limit theorem, [asymptotic]: ask for [MinUnits] in each arm, and use
// [Labels] for rare events. Without information (v or tau not above 0) it is 0.
func NormalMixture(theta, v, tau float64) float64 {
	if !(Contrast{theta, v}).known() || !scales(tau) {
		return 0
	}
	grown := 1 + tau*tau/v
	z := theta / v * tau / math.Sqrt(grown)
	return min(math.Ln2-math.Log(grown)/2+logScaledPhi(z), math.MaxFloat64)
}

// logPhi returns the logarithm of the standard normal distribution function.
func logPhi(z float64) float64 {
	if z > 5 { // Φ is within a rounding of 1; what is missing to it is not
		return math.Log1p(-math.Erfc(z/math.Sqrt2) / 2)
	}
	return logScaledPhi(z) - z*z/2
}

// logScaledPhi returns z²/2 + log Φ(z). Far below 0 the two are huge and nearly
// cancel, and Φ itself underflows: a treatment much better than control would
// get evidence of harm out of rounding errors. There it is the asymptotic series
// of Mills' ratio, which has no large terms at all (Abramowitz and Stegun
// 26.2.12); from −20 on seven terms are exact to the last bit but one.
func logScaledPhi(z float64) float64 {
	if z > -20 {
		if z > 5 {
			return z*z/2 + logPhi(z)
		}
		return z*z/2 + math.Log(math.Erfc(-z/math.Sqrt2)/2)
	}
	q, series, term := 1/(z*z), 1.0, 1.0
	for odd := 1.0; odd <= 13; odd += 2 {
		term *= -odd * q
		series += term
	}
	return math.Log(series) - math.Log(-z) - math.Log(2*math.Pi)/2
}

// Rho returns the ρ at which a two-sided mixture with error alpha is tightest
// when the information 1/V is as told: I/(2·log(1/α) + log(1 + 2·log(1/α))). For
// a one-sided test give twice its alpha. τ = 1/√ρ. A third of the information
// that is planned for served well.
func Rho(information, alpha float64) float64 {
	l := 2 * math.Log(1/alpha)
	return information / (l + math.Log1p(l))
}

// Radius returns the half width of the two-sided normal-mixture confidence
// sequence around an estimate with so much information (1/V). All intervals over
// time together hold with probability 1 − alpha, [asymptotic] (Robbins 1970; Howard et al. 2021).
func Radius(information, rho, alpha float64) float64 {
	i := information
	return math.Sqrt((i+rho)*(math.Log1p(i/rho)+2*math.Log(1/alpha))) / i
}
