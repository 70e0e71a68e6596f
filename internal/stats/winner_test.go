package stats

import (
	"math"
	"slices"
	"testing"
)

func TestChoose(t *testing.T) {
	better, unsure, none := Contrast{0.03, 1e-5}, Contrast{0.004, 1e-5}, Contrast{0.0001, 1e-7}
	contest := Contest{Alpha: 0.05, Tau: []float64{0.02}, MDE: []float64{0.005}, Sound: true, Whole: true}
	tie := func(u, v int) Contrast { return Contrast{0.001, 1e-5} }
	first := func(u, v int) Contrast { return Contrast{0.03 * float64(v-u), 1e-5} }
	one := func(c Contrast) Candidate { return Candidate{Success: []Contrast{c}, Safe: true} }
	unsafe := one(better)
	unsafe.Safe = false
	for name, tt := range map[string]struct {
		candidates []Candidate
		change     func(c *Contest)
		rival      func(u, v int) Contrast
		winner     int
		tied       []int
		futile     bool
		blocked    bool
	}{
		"one is better":              {[]Candidate{one(better)}, nil, tie, 0, nil, false, false},
		"none is":                    {[]Candidate{one(unsure)}, nil, tie, -1, nil, false, false},
		"the second alone":           {[]Candidate{one(unsure), one(better)}, nil, tie, 1, nil, false, false},
		"two, equally":               {[]Candidate{one(better), one(better)}, nil, tie, -1, []int{0, 1}, false, false},
		"two, one of them the best":  {[]Candidate{one(better), one(better)}, nil, first, 0, nil, false, false},
		"the unsafe one is no rival": {[]Candidate{unsafe, one(better)}, nil, first, 1, nil, false, false},
		"unsafe":                     {[]Candidate{unsafe}, nil, tie, -1, nil, false, true},
		"a mismatch":                 {[]Candidate{one(better)}, func(c *Contest) { c.Sound = false }, tie, -1, nil, false, true},
		"before a week":              {[]Candidate{one(better)}, func(c *Contest) { c.Whole = false }, tie, -1, nil, false, true},
		"nothing is left to find":    {[]Candidate{one(none), one(none)}, nil, tie, -1, nil, true, false},
		"any difference matters":     {[]Candidate{one(none)}, func(c *Contest) { c.MDE = nil }, tie, -1, nil, false, false},
		"nobody":                     {nil, nil, tie, -1, nil, false, false},
	} {
		c := contest
		if tt.change != nil {
			tt.change(&c)
		}
		r := c.Choose(tt.candidates, tt.rival)
		if r.Winner != tt.winner || !slices.Equal(r.Tied, tt.tied) || r.Futile != tt.futile || (r.Blocked != "") != tt.blocked {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// Two variants and control, 30 % of whose units convert. With looks all the time a
// variant that is no better wins hardly ever, and one that is is found.
func TestAWinnerIsFoundAndNoneIsMadeUp(t *testing.T) {
	const seed = 431
	n := runs(1000, 250)
	const units, look = 120_000, 1500
	win := func(s *stream, rates [3]float64) int {
		contest := Contest{Alpha: 0.05, Tau: []float64{Margin{}.Tau(0.3)}, Sound: true, Whole: true}
		var arms [3]Moments
		for at := look; at <= units; at += look {
			for arm, rate := range rates {
				k := s.binomial(look/3, rate)
				arms[arm].Merge(Moments{N: look / 3, Sum: k, SumSq: k})
			}
			against := func(u, v int) Contrast { return Margin{}.Contrast(arms[u], arms[v]) }
			r := contest.Choose([]Candidate{
				{Success: []Contrast{against(1, 0)}, Safe: true}, {Success: []Contrast{against(2, 0)}, Safe: true},
			}, func(u, v int) Contrast { return against(u+1, v+1) })
			if r.Winner >= 0 || r.Tied != nil {
				return r.Winner
			}
		}
		return -2 // nothing found
	}
	wrong, found, other := 0, 0, 0
	for i := range n {
		if win(seedOf(seed, i), [3]float64{0.3, 0.3, 0.3}) != -2 {
			wrong++
		}
		switch win(seedOf(seed, i), [3]float64{0.3, 0.3, 0.33}) {
		case 1:
			found++
		case 0:
			other++
		}
	}
	t.Logf("of %d, %d found something where nothing was, %d the better one, %d the other", n, wrong, found, other)
	if wrong > mostFalse(n, 0.05) || found < n*9/10 || other > mostFalse(n, 0.05) {
		t.Errorf("of %d, %d found something where nothing was, %d the better one, %d the other (seed %d)", n, wrong, found, other, seed)
	}
}

// binomial returns how many of n succeed, each with chance p, exactly.
func (s *stream) binomial(n int, p float64) float64 {
	k := 0.0
	for at := s.gap(p); at <= float64(n); at += s.gap(p) {
		k++
	}
	return k
}

// Of 30 % conversion, 3 % more is found about as soon as a test with a fixed end
// would have, and an A/A test finds nothing.
func TestConversionLift(t *testing.T) {
	const seed = 432
	n := runs(1000, 250)
	const most, look = 120_000, 500
	needed := func(s *stream, lift float64) float64 {
		var a, b Moments
		for at := look; at <= most; at += look {
			x, y := s.binomial(look/2, 0.3), s.binomial(look/2, 0.3*(1+lift))
			a.Merge(Moments{look / 2, x, x})
			b.Merge(Moments{look / 2, y, y})
			if (Margin{}).Contrast(b, a).LogE(1/math.Sqrt(Rho(most/3/(4*0.3*0.7), 2*0.05))) >= math.Log(1/0.05) {
				return float64(at)
			}
		}
		return math.Inf(1)
	}
	wrong := 0
	var times []float64
	for i := range n {
		if !math.IsInf(needed(seedOf(seed, i), 0), 1) {
			wrong++
		}
		times = append(times, needed(seedOf(seed, i), 0.03))
	}
	slices.Sort(times)
	found, _ := slices.BinarySearch(times, math.Inf(1))
	t.Logf("+3 %%: median %.0f units, found %.0f %%; A/A %d of %d", times[n/2], 100*float64(found)/float64(n), wrong, n)
	if wrong > mostFalse(n, 0.05) || times[n/2] > 61_500*(1.1+3/math.Sqrt(float64(n))) {
		t.Errorf("+3 %%: median %.0f units; A/A %d of %d (seed %d)", times[n/2], wrong, n, seed)
	}
}
