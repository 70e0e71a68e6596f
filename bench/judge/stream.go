package main

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
)

// A service answers 200 requests a second. Each is treated by the toss of a coin,
// and fails by the toss of another: nobody comes twice.
type service struct {
	Rate    float64 `json:"requestsPerSecond"`
	Share   float64 `json:"share"`
	Healthy float64 `json:"healthy"` // chance of failure in control, and in treatment before the change
	Broken  float64 `json:"broken"`  // and in treatment after it
	Change  float64 `json:"changeSeconds"`
	End     float64 `json:"-"` // seconds after which nobody looks any more
}

// A tally is what a run has shown so far, by arm: control, treatment.
type tally struct{ n, x [2]float64 }

func (c *tally) count(arm int, failed bool) {
	c.n[arm]++
	if failed {
		c.x[arm]++
	}
}

func (c *tally) add(o *tally) {
	for arm := range 2 {
		c.n[arm] += o.n[arm]
		c.x[arm] += o.x[arm]
	}
}

func (c *tally) rate(arm int) float64 { return c.x[arm] / math.Max(c.n[arm], 1) }

// A watcher watches one run. Its functions tell whether to stop the rollout; nil
// ones are not called.
type watcher struct {
	treated func(t float64, failed bool) bool   // at each request of the treatment
	slice   func(t float64, slice *tally) bool  // what came in each 50 ms
	batch   func(t float64, batch *tally) bool  // what came since the last batch, at the end of the 50 ms of each failure, and each second
	second  func(at float64, sofar *tally) bool // each second
}

// window is how long requests are gathered before they are judged, in seconds.
const window = 0.05

// run lets the watchers watch one run, and returns when each of them stopped it;
// +Inf if it did not. Only the treatment's requests and control's failures are
// drawn one by one: of control's other requests their number is enough.
func (s service) run(seed uint64, watchers []watcher) []float64 {
	r := rand.New(rand.NewPCG(seed, 0x5eed))
	stops := make([]float64, len(watchers))
	open := len(watchers)
	for i := range stops {
		stops[i] = math.Inf(1)
	}
	// What nobody looks at need not be shown.
	treated := slices.ContainsFunc(watchers, func(v watcher) bool { return v.treated != nil })
	sliced := slices.ContainsFunc(watchers, func(v watcher) bool { return v.slice != nil })
	drawn := s.Share + (1-s.Share)*s.Healthy
	next := func() float64 { return 1 + math.Floor(r.ExpFloat64()/-math.Log1p(-drawn)) }
	perWindow := math.Round(s.Rate * window)
	perSecond := int(math.Round(1 / window))
	var sofar, batch tally
	each := func(t float64, look func(*watcher) bool) {
		for i := range watchers {
			if math.IsInf(stops[i], 1) && look(&watchers[i]) {
				stops[i] = t
				open--
			}
		}
	}
	for w, at := 1, next(); open > 0; w++ {
		t := float64(w) * window
		if t > s.End {
			break
		}
		slice := tally{}
		for ; at <= float64(w)*perWindow; at += next() {
			if r.Float64()*drawn >= s.Share {
				slice.count(0, true)
				continue
			}
			when, p := at/s.Rate, s.Healthy
			if when > s.Change {
				p = s.Broken
			}
			failed := r.Float64() < p
			slice.count(1, failed)
			if treated {
				each(when, func(v *watcher) bool { return v.treated != nil && v.treated(when, failed) })
			}
		}
		slice.n[0] = perWindow - slice.n[1]
		batch.add(&slice)
		if sliced {
			each(t, func(v *watcher) bool { return v.slice != nil && v.slice(t, &slice) })
		}
		whole := w%perSecond == 0
		if !whole && slice.x[0]+slice.x[1] == 0 {
			continue
		}
		sofar.add(&batch)
		each(t, func(v *watcher) bool { return v.batch != nil && v.batch(t, &batch) })
		batch = tally{}
		if whole {
			each(t, func(v *watcher) bool { return v.second != nil && v.second(t, &sofar) })
		}
	}
	return stops
}

// repeat runs the service n times, on all processors, with new watchers each time,
// and returns when each watcher stopped each run.
func (s service) repeat(seed uint64, n int, begin func() []watcher) [][]float64 {
	all := make([][]float64, n)
	var wait sync.WaitGroup
	workers := runtime.NumCPU()
	for worker := range workers {
		wait.Go(func() {
			for i := worker; i < n; i += workers {
				all[i] = s.run(seed+uint64(i), begin())
			}
		})
	}
	wait.Wait()
	return all
}
