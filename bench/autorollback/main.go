// Command autorollback measures how fast a bad treatment is taken back, end to
// end: a real server, real providers, simulated requests of which a treatment
// fails more than the control. The time runs from the completion of the first
// failed request of the treatment to the moment when the last instance serves
// without the rollout.
//
//	go -C bench run ./autorollback [-runs 100] [-at-once 2] [-flyball PATH] [-results FOLDER]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/flyballdev/flyball/bench/record"
)

func main() {
	c := usual
	flag.IntVar(&c.runs, "runs", 100, "how many rollouts of each kind")
	flag.IntVar(&c.atOnce, "at-once", 2, "how many at once; more than the machine carries is delay, and is measured as such")
	flag.StringVar(&c.binary, "flyball", "", "the flyball program; built if empty")
	folder := flag.String("results", "results", "where the results are written")
	flag.Parse()
	record.Do("autorollback", *folder, func(ctx context.Context) (figures, error) { return bench(ctx, c) }, show)
}

// show prints what was found out.
func show(out io.Writer, run *record.Run, f figures) {
	fmt.Fprintf(out, "%s\n\n%d instances, %.0f requests a second, %s of them treated, errors at %s where %s is usual.\n\n",
		run, f.Setting.Instances, f.Setting.RequestsPerSecond, f.Setting.Share, f.Setting.Bad, f.Setting.Usual)
	s := func(q *quantiles, x float64) string {
		if q == nil {
			return "–"
		}
		return fmt.Sprintf("%.2f s", x)
	}
	t := record.Table{{"bad from", "runs", "first failure → last instance p50", "p90", "max", "crossing → last instance p50", "p99", "abort → last instance p99", "target"}}
	for _, k := range f.Kinds {
		whole, cross, last := k.Whole, k.Crossing, k.Spread
		t = append(t, []string{
			k.Name, fmt.Sprint(k.Runs), s(whole, whole.p50()), s(whole, whole.p90()), s(whole, whole.most()),
			s(cross, cross.p50()), s(cross, cross.p99()), s(last, last.p99()), k.Target,
		})
	}
	t.Print(out)
	for _, k := range f.Kinds {
		if k.Missed > 0 || k.Early > 0 {
			fmt.Fprintf(out, "%s: %d never taken back within a minute, %d taken back while it did no harm\n", k.Name, k.Missed, k.Early)
		}
	}
}
