package main

import (
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball/bench/record"
)

// Ten bad rollouts at full traffic are all taken back from every instance. What
// a busy machine adds is left room for: the benchmark has the figures.
func TestABadRolloutIsTakenBackInSeconds(t *testing.T) {
	c := usual
	c.runs, c.atOnce = 5, 2
	f, err := bench(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range f.Kinds {
		t.Logf("bad from %s: p50 %.2f s, p90 %.2f s; from the crossing %.2f s", k.Name, k.Whole.P50, k.Whole.P90, k.Crossing.p50())
		if k.Runs != 5 || k.Missed > 0 {
			t.Errorf("bad from %s: %d of %d were not taken back", k.Name, k.Missed, k.Runs)
		}
		if k.Whole.P50 > 10 {
			t.Errorf("bad from %s: the median takes %.1f s", k.Name, k.Whole.P50)
		}
		if k.Crossing.p50() <= 0 || k.Spread.p50() <= 0 || k.Crossing.p50() >= k.Whole.Max {
			t.Errorf("bad from %s: %+v, %+v of %+v", k.Name, k.Crossing, k.Spread, k.Whole)
		}
	}
	var out strings.Builder
	show(&out, record.Begin("autorollback", "test"), f)
	if !strings.Contains(out.String(), "| the second step ") {
		t.Errorf("no row for the second step in\n%s", out.String())
	}
}

func TestQuantiles(t *testing.T) {
	var all []time.Duration
	for i := range 10 {
		all = append(all, time.Duration(10-i)*time.Second)
	}
	q := quantilesOf(all)
	if q.P50 != 6 || q.P90 != 10 || q.Max != 10 || len(q.All) != 10 {
		t.Errorf("of 1 to 10 s: %+v", q)
	}
	if none := quantilesOf(nil); none.p50() != 0 || none.most() != 0 {
		t.Error("of nothing there is something")
	}
}
