// Command bench measures how long an evaluation takes, beside the least that
// any evaluator does and beside others, all in one run: figures of different
// runs, or of different machines, say little about each other.
//
//	go -C bench run . [-time 25ms] [-rounds 8] [-flyball PATH] [-results FOLDER]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/flyballdev/flyball/bench/record"
	"github.com/flyballdev/flyball/bench/target"
	"github.com/flyballdev/flyball/bench/workload"
)

// peers are where the modules of others come from, whose versions are told.
var peers = []string{
	"github.com/launchdarkly/go-server-sdk", "github.com/Unleash/", "github.com/growthbook/", "github.com/thomaspoignant/", "github.com/open-feature/",
}

func main() {
	rounds := flag.Int("rounds", 8, "how often each is measured; the best counts")
	long := flag.Duration("time", 25*time.Millisecond, "how long each measurement takes at least")
	binary := flag.String("flyball", "", "the flyball program whose server the provider follows; built if empty")
	folder := flag.String("results", "results", "where the results are written")
	flag.Parse()
	run := record.Begin("eval", "make bench-eval")
	run.Versions = record.VersionsOf(peers...)
	results, err := bench(context.Background(), os.Stdout, *binary, *rounds, *long, run)
	if err == nil {
		var path string
		if path, err = run.Write(*folder, results); err == nil {
			fmt.Println("\nresults:", path)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// figures are what a run finds out.
type figures struct {
	Agreement agreement `json:"agreement"`
	Results   []*result `json:"results"`
}

func bench(ctx context.Context, out io.Writer, binary string, rounds int, long time.Duration, run *record.Run) (f figures, err error) {
	all, done, err := enter(ctx, binary)
	if err != nil {
		return f, err
	}
	defer done()
	if f.Agreement, err = agree(all, 300, 20_000); err != nil {
		return f, err
	}
	fmt.Fprintf(out, "%s\n\nAll agree on %d pairs of a flag and a user. Splits are by hashes that differ: of %d units,\n", run, f.Agreement.Pairs, f.Agreement.Units)
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
		fmt.Fprintf(out, "%s serves on to %.2f %%\n", c.Name, 100*f.Agreement.Shares[c.Name])
	}
	for _, w := range workload.All {
		if w.About != "" {
			fmt.Fprintf(out, "%s: %s\n", w.Name, w.About)
		}
	}
	fmt.Fprint(out, "\nns (allocations) ×ours ×floor\n\n")
	var results [][]*result
	for _, w := range workload.All {
		of := measure(w, all, rounds, long, runtime.NumCPU())
		results = append(results, of)
		for _, r := range of {
			if r != nil {
				f.Results = append(f.Results, r)
			}
		}
	}
	for _, t := range tables(results, names) {
		t.Print(out)
		fmt.Fprintln(out)
	}
	return f, nil
}

// enter starts a server for the provider, and returns all contestants. Who
// called it is done with them at done.
func enter(ctx context.Context, binary string) (all []contestant, done func(), err error) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // peers log there
	ctx, cancel := context.WithCancel(ctx)
	dir, err := os.MkdirTemp("", "flyball-bench-")
	if err != nil {
		cancel()
		return nil, nil, err
	}
	var server *target.Server
	done = func() {
		cancel()
		closing, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		openfeature.ShutdownWithContext(closing)
		if server != nil {
			server.Stop()
		}
		os.RemoveAll(dir)
	}
	if binary, err = target.Binary(ctx, binary); err == nil {
		server, err = target.Serve(binary, dir, "", target.Options{})
	}
	var token string
	if err == nil {
		err = server.Seed(ctx)
	}
	if err == nil {
		token, err = server.Token(ctx, workload.Environment)
	}
	if err == nil {
		all, err = contestants(ctx, server.URL, token)
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return all, done, nil
}
