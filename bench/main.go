// Command bench measures how long an evaluation takes, beside the least that
// any evaluator does and beside others, all in one run: figures of different
// runs, or of different machines, say little about each other.
//
//	go -C bench run . [-benchtime 200ms] [-rounds 5]
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"testing"
	"text/tabwriter"

	"github.com/flyballdev/flyball"
)

func main() {
	testing.Init()
	rounds := flag.Int("rounds", 5, "how often each is measured; the best counts")
	benchtime := flag.String("benchtime", "100ms", "how long each measurement takes")
	flag.Parse()
	if err := flag.Set("test.benchtime", *benchtime); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	entrants, err := contestants()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	table(os.Stdout, entrants, *rounds)
}

// table measures and prints, a row for each workload.
func table(out io.Writer, entrants []contestant, rounds int) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "ns/op (allocations)\t")
	for _, c := range entrants {
		fmt.Fprintf(w, "%s\t", c.name)
	}
	fmt.Fprintf(w, "%s / %s\t\n", entrants[1].name, entrants[0].name)
	for _, load := range workloads {
		results := measure(load, entrants, rounds)
		fmt.Fprintf(w, "%s: %s\t", load.name, load.about)
		for _, r := range results {
			fmt.Fprintf(w, "%.1f (%d)\t", r.ns, r.allocations)
		}
		fmt.Fprintf(w, "%.2f\t\n", results[1].ns/results[0].ns)
	}
	w.Flush()
}

// A result is the best of several measurements.
type result struct {
	ns          float64
	allocations int64
}

// measure lets the contestants take turns, so that whatever else the machine
// does hits all of them alike.
func measure(load workload, entrants []contestant, rounds int) []result {
	best, evaluators := make([]result, len(entrants)), make([]func(string) flyball.Resolution, len(entrants))
	for i, c := range entrants {
		evaluators[i] = c.on(load)
	}
	for round := range rounds {
		for i, evaluate := range evaluators {
			keys := load.keys()
			r := testing.Benchmark(func(b *testing.B) {
				b.ReportAllocs()
				at := 0
				for b.Loop() {
					evaluate(keys[at])
					if at++; at == len(keys) {
						at = 0
					}
				}
			})
			ns := float64(r.T.Nanoseconds()) / float64(r.N)
			if round == 0 || ns < best[i].ns {
				best[i] = result{ns: ns, allocations: r.AllocsPerOp()}
			}
		}
	}
	return best
}
