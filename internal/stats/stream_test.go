package stats

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// A splitmix64 is the generator of Steele, Lea and Flood ("Fast splittable
// pseudorandom number generators", 2014): a few operations, the same numbers in
// every language, and any seed is as good as another.
type splitmix64 uint64

func (s *splitmix64) Uint64() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// A stream draws from the laws that the simulations need.
type stream struct {
	source splitmix64
	laws   *rand.Rand // over source
}

func newStream(seed uint64) *stream {
	s := &stream{source: splitmix64(seed)}
	s.laws = rand.New(&s.source)
	return s
}

// uniform returns a number in [0, 1), made of the upper bits.
func (s *stream) uniform() float64 { return float64(s.source.Uint64()>>11) / (1 << 53) }

func (s *stream) chance(p float64) bool { return s.uniform() < p }

func (s *stream) exponential() float64 { return s.laws.ExpFloat64() }

func (s *stream) normal() float64 { return s.laws.NormFloat64() }

func (s *stream) logNormal(mu, sigma float64) float64 { return math.Exp(mu + sigma*s.normal()) }

// gap returns how many trials of probability p it takes to the first success.
func (s *stream) gap(p float64) float64 {
	return 1 + math.Floor(-s.exponential()/math.Log1p(-p))
}

// gamma draws from the gamma law of scale 1 (Marsaglia and Tsang 2000).
func (s *stream) gamma(shape float64) float64 {
	if shape < 1 {
		return s.gamma(shape+1) * math.Pow(1-s.uniform(), 1/shape)
	}
	d := shape - 1.0/3
	for {
		x := s.normal()
		v := math.Pow(1+x/math.Sqrt(9*d), 3)
		if v > 0 && math.Log(1-s.uniform()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

func (s *stream) beta(a, b float64) float64 {
	x := s.gamma(a)
	return x / (x + s.gamma(b))
}

// seedOf returns the stream of run i of a test, whose seed base a failure prints.
func seedOf(base, i int) *stream {
	s := splitmix64(base)
	return newStream(s.Uint64() + uint64(i))
}

var nightly = os.Getenv("FLYBALL_NIGHTLY") == "1"

// runs returns how often to repeat a simulation: under the race detector a
// fraction, at night the whole.
func runs(whole, quick int) int {
	switch {
	case raceDetector:
		return max(quick/10, 20)
	case nightly:
		return whole
	}
	return quick
}

// mostFalse returns how many of n healthy runs may trip at chance alpha: the
// 99.9 % quantile of the binomial law.
func mostFalse(n int, alpha float64) int {
	term := math.Exp(float64(n) * math.Log1p(-alpha))
	sum, k := term, 0
	for sum < 0.999 {
		term *= float64(n-k) / float64(k+1) * alpha / (1 - alpha)
		k++
		sum += term
	}
	return k
}

func checkFalse(t *testing.T, seed, n, tripped int, alpha float64) {
	t.Helper()
	t.Logf("%d of %d healthy runs tripped (%.2f %%)", tripped, n, 100*float64(tripped)/float64(n))
	if most := mostFalse(n, alpha); tripped > most {
		t.Errorf("%d of %d healthy runs tripped, at most %d may (seed %d)", tripped, n, most, seed)
	}
}
