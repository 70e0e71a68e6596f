// Command stream measures how a change reaches clients: from just before the
// call that changes a flag until the rule is in force in each client, for one
// client and for thousands, at `flyball serve` and beside it at the least that
// a Go server can do, a bare hub of server-sent events.
//
//	go -C bench run ./stream [-sizes 1,1000,5000,10000] [-changes 20] [-flyball PATH] [-results FOLDER]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/flyballdev/flyball/bench/record"
)

func main() {
	var c config
	sizes := flag.String("sizes", "1,1000,5000,10000", "how many clients")
	flag.IntVar(&c.changes, "changes", 20, "how many changes each size sees; five times as many with one client")
	flag.IntVar(&c.writes, "writes", 200, "how many changes the CPU of one is measured by")
	flag.StringVar(&c.binary, "flyball", "", "the flyball program; built if empty")
	folder := flag.String("results", "results", "where the results are written")
	hub := flag.Bool("hub", false, "be the floor")
	flag.Parse()
	if *hub {
		record.Fail(serveHub())
		return
	}
	for size := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(size)
		record.Fail(err)
		c.sizes = append(c.sizes, n)
	}
	record.Do("stream", *folder, func(ctx context.Context) (figures, error) { return bench(ctx, c) }, show)
}

// show prints what was found out.
func show(out io.Writer, run *record.Run, f figures) {
	fmt.Fprintf(out, "%s\n\n(×n) is n times as long as the floor takes.\n\n", run)
	t := record.Table{{"clients", "connected in", "change → client p50", "p99", "max", "median change's p99", "real provider p50", "p99", "memory per idle client", "server's CPU per client", "target"}}
	ms := func(x float64) string { return fmt.Sprintf("%.1f ms", x) }
	for _, size := range f.Sizes {
		for _, row := range []struct {
			name string
			r    reach
		}{{"floor", size.Floor}, {"flyball", size.Flyball}} {
			ratio := func(x float64) string {
				if row.name == "floor" || x == 0 {
					return ""
				}
				return fmt.Sprintf(" (×%.1f)", x)
			}
			cells := []string{fmt.Sprintf("%d, %s", size.Clients, row.name), ms(row.r.ConnectMS), "–", "–", "–", "–", "–", "–", fmt.Sprintf("%.1f KB", row.r.ClientKB), fmt.Sprintf("%.0f µs", row.r.ClientUS), ""}
			if size.Clients == 1 {
				cells[8] = "–" // one is lost in the noise
			}
			if l := row.r.Light; l != nil {
				cells[2], cells[3], cells[4] = ms(l.P50), ms(l.P99)+ratio(size.Ratio), ms(l.Max)
				cells[5] = ms(row.r.TypicalMS) + ratio(size.Typical)
			}
			if p := row.r.Provider; p != nil {
				cells[6], cells[7], cells[10] = ms(p.P50), ms(p.P99), size.Target
			}
			t = append(t, cells)
		}
	}
	t.Print(out)
	fmt.Fprintf(out, "\nA flag write at 1,004 flags: %.1f ms of the server's CPU (target ≤ 3 ms), %.1f ms until it is answered.\n", f.Write.CPUMS, f.Write.AnswerMS)
	for _, s := range f.Skipped {
		fmt.Fprintln(out, s)
	}
}
