package main

import (
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/stat/distuv"
)

// An arm is what a formula needs to know of one arm.
type arm struct{ n, mean, variance float64 }

// proportion returns an arm in which x of n failed.
func proportion(n, x float64) arm { return arm{n, x / n, x / n * (1 - x/n)} }

// difference returns b − a, absolute or relative to a, and its standard error.
func difference(a, b arm, relative bool) (d, se float64) {
	if !relative {
		return b.mean - a.mean, math.Sqrt(a.variance/a.n + b.variance/b.n)
	}
	m := a.mean
	return (b.mean - m) / m, math.Sqrt(b.variance/b.n/(m*m) + a.variance/a.n*b.mean*b.mean/(m*m*m*m))
}

// asymptoticWidth returns the half width of the asymptotic confidence sequence
// (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, 2021) as GrowthBook tunes it.
func asymptoticWidth(se, n, alpha, tuning float64, oneSided bool) float64 {
	r := asymptoticRho2(alpha, tuning, oneSided)
	if oneSided {
		return se * math.Sqrt(n) * math.Sqrt(2*(n*r+1)/(n*n*r)*math.Log1p(math.Sqrt(n*r+1)/(2*alpha)))
	}
	return se * math.Sqrt(n) * math.Sqrt(2*(n*r+1)/(n*n*r)*math.Log(math.Sqrt(n*r+1)/alpha))
}

func asymptoticRho2(alpha, tuning float64, oneSided bool) float64 {
	if oneSided {
		alpha *= 2
	}
	l := -2 * math.Log(alpha)
	return (l + math.Log1p(l)) / tuning
}

// asymptoticP returns the p-value of the two-sided sequence.
func asymptoticP(d, se, n, alpha, tuning float64) float64 {
	r := n * asymptoticRho2(alpha, tuning, false)
	z := d / se
	return math.Min(1, math.Sqrt(r+1)*math.Exp(-z*z*r/(2*(r+1))))
}

// welch returns the p-value and the half width of Welch's test.
func welch(a, b arm, relative bool, alpha float64) (d, width, p float64) {
	d, se := difference(a, b, relative)
	va, vb := a.variance/a.n, b.variance/b.n
	df := (va + vb) * (va + vb) / (va*va/(a.n-1) + vb*vb/(b.n-1))
	t := distuv.StudentsT{Sigma: 1, Nu: df}
	return d, se * t.Quantile(1-alpha/2), 2 * t.CDF(-math.Abs(d/se))
}

// sequentialRatio returns the logarithm of the mixture likelihood ratio of a
// two-sided mSPRT (Johari, Koomen, Pekelis and Walsh, 2022).
func sequentialRatio(d, v, tau float64) float64 {
	return math.Log(v/(v+tau*tau))/2 + tau*tau*d*d/(2*v*(v+tau*tau))
}

// chiSquareP returns the p-value of a fixed-horizon test of sample ratios.
func chiSquareP(counts, weights []float64) float64 {
	n, w, x := 0.0, 0.0, 0.0
	for i := range counts {
		n += counts[i]
		w += weights[i]
	}
	for i := range counts {
		e := n * weights[i] / w
		x += (counts[i] - e) * (counts[i] - e) / e
	}
	return distuv.ChiSquared{K: float64(len(counts) - 1)}.Survival(x)
}

// divergence returns the Kullback–Leibler divergence between two coins.
func divergence(p, q float64) float64 {
	return p*math.Log(p/q) + (1-p)*math.Log((1-p)/(1-q))
}

// shift returns Hodges and Lehmann's estimate of by how much b is above a, and the
// lower end of its confidence interval by Mann and Whitney's test.
func shift(a, b []float64, confidence float64) (estimate, low float64) {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	m, n := float64(len(a)), float64(len(b))
	z := distuv.UnitNormal.Quantile((1 + confidence) / 2)
	k := math.Round(m*n/2 - z*math.Sqrt(m*n*(m+n+1)/12))
	return nthDifference(a, b, math.Ceil(m*n/2)), nthDifference(a, b, math.Max(k, 1))
}

// nthDifference returns the k-th smallest of all differences b − a, to a
// billionth of their range.
func nthDifference(a, b []float64, k float64) float64 {
	low, high := b[0]-a[len(a)-1], b[len(b)-1]-a[0]
	return low + (high-low)*float64(sort.Search(1<<30, func(i int) bool {
		d, count, j := low+(high-low)*float64(i)/(1<<30), 0, 0
		for _, x := range a {
			for j < len(b) && b[j]-x <= d {
				j++
			}
			count += j
		}
		return float64(count) >= k
	}))/(1<<30)
}
