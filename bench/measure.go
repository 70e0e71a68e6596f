package main

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/flyballdev/flyball/bench/record"
	"github.com/flyballdev/flyball/bench/workload"
)

// A result is the best of several measurements of one contestant on one
// workload.
type result struct {
	Contestant  string  `json:"contestant"`
	Workload    string  `json:"workload"`
	NS          float64 `json:"ns" doc:"for one evaluation, on one core"`
	Allocations int64   `json:"allocations"`
	NS2         float64 `json:"ns2,omitempty" doc:"the same with two cores at work: the time by how many were made"`
}

// measure lets the contestants take turns, so that whatever else the machine
// does hits all of them alike. Who does not take part has no result. With two
// cores it measures both one and two at work.
func measure(w workload.Workload, all []contestant, rounds int, long time.Duration, cores int) []*result {
	best, evaluators := make([]*result, len(all)), make([]evaluator, len(all))
	for i, c := range all {
		if e, ok := c.on(w, w.User); ok {
			evaluators[i], best[i] = e, &result{Contestant: c.Name, Workload: w.Name}
		}
	}
	for round := range rounds {
		for i, r := range best {
			if r == nil {
				continue
			}
			ns, allocations := evaluators[i].time(w.Keys, 1, long)
			if round == 0 || ns < r.NS {
				r.NS, r.Allocations = ns, allocations
			}
			if cores < 2 {
				continue
			}
			if ns, _ := evaluators[i].time(w.Keys, 2, long); round == 0 || ns < r.NS2 {
				r.NS2 = ns
			}
		}
	}
	return best
}

// time evaluates for about as long as asked, on some cores.
func (e evaluator) time(keys []string, cores int, long time.Duration) (ns float64, allocations int64) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	runtime.GC() // of what the one before left
	n := 100
	for {
		took, mallocs := e.run(keys, cores, n)
		if took >= long || n >= 1<<30 {
			all := float64(n * cores)
			return float64(took.Nanoseconds()) / all, int64(float64(mallocs) / all)
		}
		next := int(1.2 * float64(n) * float64(long) / float64(max(took, time.Microsecond)))
		n = min(max(next, 2*n), 100*n)
	}
}

// run evaluates n times on each core.
func (e evaluator) run(keys []string, cores, n int) (took time.Duration, mallocs uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	if cores == 1 {
		e.loop(keys, 0, n)
	} else {
		var wg sync.WaitGroup
		for core := range cores {
			wg.Go(func() { e.loop(keys, core*len(keys)/cores, n) })
		}
		wg.Wait()
	}
	took = time.Since(began)
	runtime.ReadMemStats(&after)
	return took, after.Mallocs - before.Mallocs
}

// tables show, for each contestant and workload, the time with its allocations
// and how many times as long as ours and as the floor that is: on one core, on
// two, and where each flag of 1,004 is of the kind.
func tables(results [][]*result, names []string) []record.Table {
	one := func(r *result) float64 { return r.NS }
	two := func(r *result) float64 { return r.NS2 }
	return []record.Table{
		tableOf(results, names, "one core", one, func(w workload.Workload) bool { return !w.Everywhere }),
		tableOf(results, names, "two cores", two, func(w workload.Workload) bool { return w.Name == "W1" || w.Name == "W4" }),
		tableOf(results, names, "one core, 1,004 flags of the kind in turn", one, func(w workload.Workload) bool { return w.Everywhere }),
	}
}

func tableOf(results [][]*result, names []string, what string, of func(*result) float64, shown func(workload.Workload) bool) record.Table {
	head, rows := []string{what}, make([][]string, len(names))
	for n, w := range workload.All {
		if !shown(w) {
			continue
		}
		head = append(head, w.Name)
		for i, r := range results[n] {
			rows[i] = append(rows[i], cell(r, results[n][0], results[n][1], of))
		}
	}
	t := record.Table{head}
	for i, row := range rows {
		if slices.ContainsFunc(row, func(cell string) bool { return cell != "–" }) {
			t = append(t, append([]string{names[i]}, row...))
		}
	}
	return t
}

func cell(r, floor, ours *result, of func(*result) float64) string {
	if r == nil || of(r) == 0 {
		return "–"
	}
	return fmt.Sprintf("%s (%d) ×%s ×%s", digits(of(r)), r.Allocations, digits(of(r)/of(ours)), digits(of(r)/of(floor)))
}

// digits shows a number to about three of them.
func digits(x float64) string {
	switch {
	case x < 10:
		return fmt.Sprintf("%.2f", x)
	case x < 100:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}
