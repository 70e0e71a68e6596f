// Command server measures remote evaluation over HTTP (OFREP): `flyball serve`
// on one core, and beside it the least that a Go server can do, net/http with
// answers that are ready, both asked by wrk on another core.
//
//	go -C bench run ./server [-seconds 1] [-rounds 4] [-flyball PATH] [-results FOLDER]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/flyballdev/flyball/bench/record"
)

func main() {
	var c config
	flag.IntVar(&c.seconds, "seconds", 1, "how long each measurement takes")
	flag.IntVar(&c.rounds, "rounds", 4, "how often each is measured; the best counts")
	flag.StringVar(&c.binary, "flyball", "", "the flyball program; built if empty")
	folder := flag.String("results", "results", "where the results are written")
	answers := flag.String("floor", "", "be the floor: serve the answers in this file")
	flag.Parse()
	if *answers != "" {
		record.Fail(serveFloor(*answers))
		return
	}
	record.Do("server", *folder, func(ctx context.Context) (figures, error) { return bench(ctx, c) }, show)
}

// show prints what was found out.
func show(out io.Writer, run *record.Run, f figures) {
	fmt.Fprintf(out, "%s\n\n", run)
	t := record.Table{{"requests/s (p50/p99 ms)", "floor", "flyball", "share of the floor", "CPU µs/request, floor", "flyball", "share by CPU", "target"}}
	for _, r := range f.Loaded {
		t = append(t, []string{r.Case, r.Floor.String(), r.Flyball.String(), fmt.Sprintf("%.2f", r.Share),
			fmt.Sprintf("%.1f", r.Floor.CPU), fmt.Sprintf("%.1f", r.Flyball.CPU), fmt.Sprintf("%.2f", r.ByCPU), r.Target})
	}
	t.Print(out)
	fmt.Fprintln(out)
	u := record.Table{{"one connection (p50/p99 µs)", "floor", "flyball", "target"}}
	for _, r := range f.Unloaded {
		micros := func(l load) string { return fmt.Sprintf("%.0f/%.0f", 1000*l.P50, 1000*l.P99) }
		u = append(u, []string{r.Case, micros(r.Floor), micros(r.Flyball), r.Target})
	}
	u.Print(out)
	fmt.Fprintf(out, "\nMemory, start/peak: flyball %d/%d MB (target 30/50), floor %d/%d MB. Ready %.0f ms after the start of the process.\n",
		f.Flyball.Start>>20, f.Flyball.Peak>>20, f.Floor.Start>>20, f.Floor.Peak>>20, f.ReadyMS)
}
