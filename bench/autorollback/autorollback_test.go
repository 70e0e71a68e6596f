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

func TestWhatCrossedIsInTheWindowThatTripped(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(1_000_000 + int64(ms)) }
	all := []sentBatch{
		{sent: at(0), answered: at(10), earliest: at(-200), failed: at(-150)}, // long before
		{sent: at(900), answered: at(910), earliest: at(700)},
		{sent: at(990), answered: at(1010), earliest: at(800), failed: at(850)},
		{sent: at(1020), answered: at(1030), earliest: at(790), failed: at(790)}, // after
	}
	if got := crossing(all, at(1000)); !got.Equal(at(850)) {
		t.Errorf("it crossed at %v", got.Sub(at(0)))
	}
	all[2].failed = time.Time{}
	if got := crossing(all, at(1000)); !got.Equal(at(700)) {
		t.Errorf("without a failure it crossed at %v", got.Sub(at(0)))
	}
	if !crossing(nil, at(0)).IsZero() {
		t.Error("of nothing something crossed")
	}
}
