package stats

import (
	"encoding/base64"
	"fmt"
	"math"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/store"
)

// A Sketch counts values in buckets that grow by 2 %, so that any quantile is
// known within 1 %, whatever the values are, in a few kilobytes (Masson, Rim and
// Lee, "DDSketch", 2019). Of values so far apart that they would take more than
// [sketchBins] buckets the smallest are counted as one.
//
// Unlike the other types here it holds a reference: a copy is the same sketch.
// Encoded and decoded it answers as before, to the last bit. The zero Sketch is
// empty.
type Sketch struct{ held *ddsketch.DDSketch }

const (
	sketchAccuracy = 0.01
	sketchBins     = 2048 // from 1 to 10^17
)

// The one mapping of all sketches; it is not changed by use.
var sketchMapping = func() mapping.IndexMapping {
	m, err := mapping.NewLogarithmicMapping(sketchAccuracy)
	if err != nil {
		panic(err) // the accuracy is a constant that it takes
	}
	return m
}()

func sketchStore() store.Store { return store.NewCollapsingLowestDenseStore(sketchBins) }

// Add counts the value x. What is not a number, or beyond [MaxValue], is left out.
func (s *Sketch) Add(x float64) {
	if !(math.Abs(x) <= MaxValue) {
		return
	}
	if s.held == nil {
		s.held = ddsketch.NewDDSketch(sketchMapping, sketchStore(), sketchStore())
	}
	_ = s.held.Add(x) // only refuses what was left out above
}

// Count returns how many values there are.
func (s Sketch) Count() float64 {
	if s.held == nil {
		return 0
	}
	return s.held.GetCount()
}

// Quantile returns the q-quantile, within 1 % of its size; 0 of no values.
func (s Sketch) Quantile(q float64) float64 {
	if s.held == nil {
		return 0
	}
	x, err := s.held.GetValueAtQuantile(min(max(q, 0), 1))
	if err != nil || math.IsNaN(x) {
		return 0
	}
	return x
}

// Interval returns bounds of the q-quantile of the law that the values come from,
// which hold at all times together with probability 1 − alpha: the quantile
// confidence sequence of Howard and Ramdas ("Sequential estimation of quantiles",
// 2022), tightest when there are opt values. The ranks between which it must lie
// are [exact] for independent values; what is told is widened by the sketch's 1 %.
// It is false while one of the bounds would be beyond all values.
func (s Sketch) Interval(q, alpha, opt float64) (Interval, bool) {
	n := s.Count()
	if !(q > 0 && q < 1 && alpha > 0 && alpha < 1 && opt > 0) || n == 0 {
		return Interval{}, false
	}
	low, high := quantileRanks(q, n, alpha, opt)
	if low*n < 1 || high*n > n-1 {
		return Interval{}, false
	}
	// The k-th smallest of n stands at rank k−1 of n−1.
	at := func(k float64) float64 { return s.Quantile((k - 1) / (n - 1)) }
	l, h := at(math.Floor(low*n)), at(math.Floor(high*n)+1)
	return Interval{Low: l - sketchAccuracy*math.Abs(l), High: h + sketchAccuracy*math.Abs(h)}, true
}

// IsZero tells whether the sketch is empty, so that omitzero leaves it out.
func (s Sketch) IsZero() bool { return s.Count() == 0 }

// MarshalText encodes the sketch, without its mapping, in base 64.
func (s Sketch) MarshalText() ([]byte, error) {
	if s.held == nil {
		return nil, nil
	}
	var data []byte
	s.held.Encode(&data, true)
	return base64.StdEncoding.AppendEncode(nil, data), nil
}

// UnmarshalText decodes what [Sketch.MarshalText] wrote.
func (s *Sketch) UnmarshalText(text []byte) error {
	s.held = nil
	if len(text) == 0 {
		return nil
	}
	data, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return fmt.Errorf("a sketch: %w", err)
	}
	held, err := ddsketch.DecodeDDSketch(data, sketchStore, sketchMapping)
	if err != nil {
		return fmt.Errorf("a sketch: %w", err)
	}
	s.held = held
	return nil
}
