package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/flyballdev/flyball/bench/target"
)

type config struct {
	runs, atOnce, instances int
	rate                    float64 // requests a second
	usual, bad              float64 // shares of failures
	binary                  string
}

// usual is what the target is about.
var usual = config{instances: 50, rate: 200, usual: 0.01, bad: 0.20}

// treated is the share of the treatment in the step that is bad, in parts per
// million.
const treated = 50_000

// setting tells what was measured.
type setting struct {
	Instances         int     `json:"instances"`
	RequestsPerSecond float64 `json:"requestsPerSecond"`
	Share             string  `json:"share"`
	Usual             string  `json:"usualErrors"`
	Bad               string  `json:"badErrors"`
	Alpha             float64 `json:"alpha"`
	Margin            float64 `json:"margin"`
	AtOnce            int     `json:"atOnce"`
}

// quantiles are of seconds.
type quantiles struct {
	P50 float64   `json:"p50"`
	P90 float64   `json:"p90"`
	P99 float64   `json:"p99"`
	Max float64   `json:"max"`
	All []float64 `json:"all"`
}

func quantilesOf(all []time.Duration) *quantiles {
	if len(all) == 0 {
		return nil
	}
	q := &quantiles{}
	for _, d := range all {
		q.All = append(q.All, d.Seconds())
	}
	slices.Sort(q.All)
	at := func(p float64) float64 { return q.All[min(int(p*float64(len(all))), len(all)-1)] }
	q.P50, q.P90, q.P99, q.Max = at(.5), at(.9), at(.99), at(1)
	return q
}

func (q *quantiles) p50() float64  { return q.or().P50 }
func (q *quantiles) p90() float64  { return q.or().P90 }
func (q *quantiles) p99() float64  { return q.or().P99 }
func (q *quantiles) most() float64 { return q.or().Max }

func (q *quantiles) or() quantiles {
	if q == nil {
		return quantiles{}
	}
	return *q
}

// A kind is when the treatment turns bad, with what was measured of it.
type kind struct {
	Name     string     `json:"badFrom"`
	Target   string     `json:"target"`
	Runs     int        `json:"runs"`
	Missed   int        `json:"missed" doc:"never taken back within a minute"`
	Early    int        `json:"early" doc:"taken back while it did no harm; done anew"`
	Whole    *quantiles `json:"wholeSeconds" doc:"from the completion of the first failed request of the treatment to the last instance's swap"`
	Crossing *quantiles `json:"crossingSeconds" doc:"from the completion of the observation that crossed to the last instance's swap"`
	Spread   *quantiles `json:"spreadSeconds" doc:"from the abort's commit to the last instance's swap"`

	second bool
}

type figures struct {
	Setting setting `json:"setting"`
	Kinds   []*kind `json:"kinds"`
}

func bench(ctx context.Context, c config) (f figures, err error) {
	debug.SetGCPercent(400) // the instances' memory is nobody's concern
	if c.binary, err = target.Binary(ctx, c.binary); err != nil {
		return f, err
	}
	share := func(x float64) string { return fmt.Sprintf("%.4g %%", 100*x) }
	f.Setting = setting{
		Instances: c.instances, RequestsPerSecond: c.rate, Share: share(treated / 1e6), Usual: share(c.usual), Bad: share(c.bad),
		Alpha: .01, Margin: .05, AtOnce: c.atOnce,
	}
	f.Kinds = []*kind{
		{Name: "the first step", Target: "p50 ≤ 2.5 s, p90 ≤ 5 s; crossing p99 ≤ 0.6 s"},
		{Name: "the second step", Target: "p50 ≤ 3 s, p90 ≤ 6 s; crossing p99 ≤ 0.6 s", second: true},
	}
	for _, k := range f.Kinds {
		if err := k.measure(ctx, c); err != nil {
			return f, fmt.Errorf("bad from %s: %w", k.Name, err)
		}
	}
	return f, nil
}

// measure does all runs of a kind, some at once.
func (k *kind) measure(ctx context.Context, c config) error {
	var mu sync.Mutex
	var whole, crossing, spread []time.Duration
	var failed error
	left := c.runs
	more := func() bool {
		mu.Lock()
		defer mu.Unlock()
		left--
		return left >= 0 && failed == nil
	}
	note := func(r outcome, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			failed = err
		case r.early:
			k.Early++
			left++
		case r.missed:
			k.Runs++
			k.Missed++
			whole = append(whole, patience)
		default:
			k.Runs++
			whole, crossing, spread = append(whole, r.whole), append(crossing, r.crossing), append(spread, r.spread)
		}
	}
	var workers sync.WaitGroup
	for range c.atOnce {
		workers.Go(func() {
			for more() {
				dir, err := os.MkdirTemp("", "flyball-bench-")
				if err != nil {
					note(outcome{}, err)
					return
				}
				note(run(ctx, c, dir, k.second))
				os.RemoveAll(dir)
			}
		})
	}
	workers.Wait()
	k.Whole, k.Crossing, k.Spread = quantilesOf(whole), quantilesOf(crossing), quantilesOf(spread)
	return failed
}
