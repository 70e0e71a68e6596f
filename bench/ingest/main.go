// Command ingest measures how much telemetry a server takes in: `flyball serve`
// on SQLite, batches of 500 observations over HTTP, each on disk before it is
// acknowledged, with a rollout that is judged by them. It counts them again in
// the rollout's evidence, and looks at what evaluations and changes take
// meanwhile. The sender shares the cores.
//
//	go -C bench run ./ingest [-seconds 5] [-rounds 3] [-rate 50000] [-flyball PATH] [-results FOLDER]
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
	flag.IntVar(&c.seconds, "seconds", 5, "how long each measurement takes")
	flag.IntVar(&c.rounds, "rounds", 3, "how often each is measured; the best counts")
	flag.IntVar(&c.rate, "rate", 50_000, "observations a second, at which others are looked at")
	flag.StringVar(&c.binary, "flyball", "", "the flyball program; built if empty")
	folder := flag.String("results", "results", "where the results are written")
	flag.Parse()
	record.Do("ingest", *folder, func(ctx context.Context) (figures, error) { return bench(ctx, c) }, show)
}

// show prints what was found out.
func show(out io.Writer, run *record.Run, f figures) {
	fmt.Fprintf(out, "%s\n\n", run)
	t := record.Table{{"ingest, batches of 500", "", "target"}}
	row := func(name, value, target string) { t = append(t, []string{name, value, target}) }
	row("observations/s, as fast as it goes", fmt.Sprintf("%.0f", f.Fastest), "≥ 50,000")
	row("CPU per 1,000 observations, server", fmt.Sprintf("%.1f ms", f.ServerCPUMS), "–")
	row("CPU per 1,000 observations, sender", fmt.Sprintf("%.1f ms", f.SenderCPUMS), "–")
	row("memory, start/peak", fmt.Sprintf("%d/%d MB", f.Start>>20, f.Peak>>20), "≤ 256 MB")
	row("sent twice, a fifth of the batches", fmt.Sprintf("%d observations of %d too many or missing", f.Wrong, f.Sent), "0")
	t.Print(out)
	fmt.Fprintln(out)
	u := record.Table{{"meanwhile (p50/p99 ms)", "quiet", fmt.Sprintf("%.0f observations/s", f.Paced), "p99", "target"}}
	for _, m := range f.Meanwhile {
		u = append(u, []string{m.Case, m.Quiet.String(), m.Busy.String(), fmt.Sprintf("%+.0f %%", 100*(m.Ratio-1)), "≤ +20 %"})
	}
	u.Print(out)
}
