package service

import (
	"math"

	"github.com/flyballdev/flyball"
)

// sureness is how many standard errors an interval reaches to either side. It is
// that of 99 %, where 95 % is promised, for the weights of a sample are known
// only about, and so is how many users there are.
const sureness = 2.576

// A scale turns contexts of a sample into users, with an interval.
type scale struct {
	weights []float64
	total   float64
	n       float64 // how many equally likely contexts are worth as much (Kish, "Survey Sampling", 1965)
	all     flyball.Estimate
}

func scaleOf(contexts []SampledContext, users flyball.Estimate) scale {
	s := scale{weights: make([]float64, len(contexts)), all: users}
	squares := 0.0
	for i, c := range contexts {
		w := c.Weight
		if !(w > 0) || math.IsInf(w, 1) {
			w = 1
		}
		s.weights[i] = w
		s.total += w
		squares += w * w
	}
	if squares > 0 {
		s.n = s.total * s.total / squares
	}
	return s
}

// sum is the weight of those that were hit.
func (s scale) sum(of hits) (sum float64) {
	for i, hit := range of {
		if hit {
			sum += s.weights[i]
		}
	}
	return sum
}

// share returns the share of all users that those stand for that were hit.
func (s scale) share(of hits) flyball.Estimate {
	if s.total == 0 {
		return flyball.Estimate{High: 1}
	}
	return wilson(min(1, s.sum(of)/s.total), s.n)
}

// users returns how many users those stand for that were hit.
func (s scale) users(of hits) flyball.Estimate { return times(s.share(of), s.all) }

// times multiplies two estimates.
func times(a, b flyball.Estimate) flyball.Estimate {
	return flyball.Estimate{Value: a.Value * b.Value, Low: a.Low * b.Low, High: a.High * b.High}
}

// wilson returns a share that was seen among n with its interval (Wilson,
// "Probable inference, the law of succession, and statistical inference", 1927).
func wilson(p, n float64) flyball.Estimate {
	const z = sureness
	centre, width := p+z*z/(2*n), z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	scale := 1 + z*z/n
	e := flyball.Estimate{Value: p, Low: max(0, (centre-width)/scale), High: min(1, (centre+width)/scale)}
	if p == 0 {
		e.Low = 0 // and not what rounding leaves of it
	}
	if p == 1 {
		e.High = 1
	}
	return e
}
