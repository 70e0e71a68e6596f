package stats

import (
	"math"
	"slices"
)

// A Candidate is a variant that may win, beside control.
type Candidate struct {
	// Success are the contrasts of the success metrics, above 0 where the variant is
	// better than control.
	Success []Contrast
	// Safe tells whether every guardrail is shown to be within its final margin.
	Safe bool
}

// A Contest says how a winner is chosen.
type Contest struct {
	Alpha float64   // chance that a variant that is no better wins: .05 by default
	Tau   []float64 // scale of each success metric, as Margin.Tau gives it
	MDE   []float64 // of each success metric the least difference that matters; 0 if any does
	Sound bool      // no sample ratio mismatch
	Whole bool      // a full week has passed, or someone decided not to wait for it
}

// A Result is how a contest stands.
type Result struct {
	Better  []bool  `json:"better"`  // of each candidate: better than control by some metric
	E       float64 `json:"e"`       // the largest e-value of all, against 1/(α/(J·V))
	Winner  int     `json:"winner"`  // the candidate that won, or -1
	Tied    []int   `json:"tied"`    // those that none of the others is shown to beat, when several won
	Futile  bool    `json:"futile"`  // no difference that matters is left
	Blocked string  `json:"blocked"` // why there is no winner yet although one is better
}

// Choose finds the winner of an A/B/n test. Each of J success metrics of each of V
// candidates is tested at α/(J·V), valid under any dependence and at any time
// ([asymptotic], as [Contrast] is). A candidate wins that is better than control,
// whose guardrails are all shown to be within their final margin, which needs no
// correction as all of them must be, and that beats each other such candidate:
// rival(u, v) is the contrast of the first success metric, above 0 where u is
// better than v, and its interval at α over the number of pairs must exclude 0.
// Candidates that do not beat each other are tied.
//
// When every interval of every metric lies within ±MDE the contest is futile.
func (c Contest) Choose(candidates []Candidate, rival func(u, v int) Contrast) Result {
	r := Result{Winner: -1, Better: make([]bool, len(candidates)), Futile: len(candidates) > 0}
	tests := 0
	for _, v := range candidates {
		tests += min(len(v.Success), len(c.Tau))
	}
	alpha := c.Alpha / float64(max(tests, 1))
	var fit []int
	for i, v := range candidates {
		for j := range min(len(v.Success), len(c.Tau)) {
			e := math.Exp(min(v.Success[j].LogE(c.Tau[j]), maxLogE))
			r.E = max(r.E, e)
			r.Better[i] = r.Better[i] || e >= 1/alpha
		}
		r.Futile = r.Futile && c.futile(v, alpha)
		if r.Better[i] && v.Safe {
			fit = append(fit, i)
		}
	}
	switch {
	case !slices.Contains(r.Better, true):
		return r
	case !c.Sound:
		r.Blocked = "the arms do not have the planned shares"
	case len(fit) == 0:
		r.Blocked = "its guardrails are not all shown to be within their margins"
	case !c.Whole:
		r.Blocked = "a full week has not passed"
	default:
		r.Tied = c.best(fit, rival)
		if len(r.Tied) == 1 {
			r.Winner, r.Tied = r.Tied[0], nil
		}
	}
	return r
}

// maxLogE keeps an e-value finite.
const maxLogE = 690

// futile tells whether no difference that matters is left for a candidate.
func (c Contest) futile(v Candidate, alpha float64) bool {
	n := min(len(v.Success), len(c.Tau), len(c.MDE))
	for j := range n {
		i, ok := v.Success[j].Interval(c.Tau[j], alpha)
		if !ok || i.Low <= -c.MDE[j] || i.High >= c.MDE[j] {
			return false
		}
	}
	return n > 0 && n == len(v.Success)
}

// best returns those of the candidates that fit which no other is shown to beat.
func (c Contest) best(fit []int, rival func(u, v int) Contrast) []int {
	pairs := float64(max(1, len(fit)*(len(fit)-1)/2))
	var best []int
	for _, v := range fit {
		beaten := slices.ContainsFunc(fit, func(u int) bool {
			if u == v {
				return false
			}
			i, ok := rival(u, v).Interval(c.Tau[0], c.Alpha/pairs)
			return ok && i.Low > 0
		})
		if !beaten {
			best = append(best, v)
		}
	}
	return best
}
