package ingest

import (
	"fmt"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/google/go-cmp/cmp"
)

// Of a whole rollout it is told how exposure and effects came about, however many
// steps it took and whoever looks when, in few points, each of which was so.
func TestTheCourseOfARolloutIsOfAllItsStepsInFewPoints(t *testing.T) {
	failures := flyball.Metric{Key: "failures", Type: flyball.MetricRate, Better: flyball.BetterLower}
	latency := flyball.Metric{Key: "latency", Type: flyball.MetricMean, Better: flyball.BetterLower, Cap: 10, Window: flyball.Duration(10 * time.Second)}
	p, m := guarded(plan(200_000, 500_000), flyball.Margin{Relative: .5}, failures, latency)
	s := newStage(t, p, m)
	rng := seeded(t)
	var was []flyball.Evidence
	const seconds, stepped = 1500, 500
	for n := 1; n <= seconds; n++ {
		at, step := time.Duration(n)*time.Second, 0
		if n >= stepped {
			step = 1
		}
		if n == stepped {
			s.step(at, 1)
		}
		var items []any
		for i := range 4 {
			unit := fmt.Sprint(n, "-", i)
			items = append(items, s.met(at, unit, step), saw(at, unit, "failures", float64(rng.IntN(2))), saw(at, unit, "latency", rng.Float64()))
		}
		s.send(at, "a", items...)
		was = append(was, s.evidence())
	}
	now := was[len(was)-1]
	at := func(when time.Time) flyball.Evidence { return was[int(when.Sub(epoch)/time.Second)-1] }
	wholeCourse := func(what string, all []time.Time) {
		t.Helper()
		if n := len(all); n < maxTrack/2 || n > maxTrack {
			t.Fatalf("%s: %d points", what, n)
		}
		if first := all[0].Sub(epoch); first > time.Minute || first <= 0 {
			t.Errorf("%s begins at %v", what, first)
		}
		if last := all[len(all)-1].Sub(epoch); last < seconds*time.Second*9/10 {
			t.Errorf("%s ends at %v", what, last)
		}
	}
	var times []time.Time
	for _, p := range now.Course {
		times = append(times, p.At)
		if want := at(p.At).Units; p.Units != want {
			t.Errorf("at %v: %+v units, and there were %+v", p.At.Sub(epoch), p.Units, want)
		}
	}
	wholeCourse("exposure", times)
	for i, g := range now.Guardrails {
		times, known := []time.Time{}, 0
		for _, p := range g.Course {
			times = append(times, p.At)
			then := at(p.At).Guardrails[i]
			if diff := cmp.Diff([]any{then.Estimate, then.Interval}, []any{p.Estimate, p.Interval}); diff != "" {
				t.Errorf("%s at %v: %s", g.Metric, p.At.Sub(epoch), diff)
			}
			if p.Interval != nil {
				known++
			}
		}
		wholeCourse(g.Metric, times)
		if known < maxTrack/4 {
			t.Errorf("%s: only %d points have an interval", g.Metric, known)
		}
		if first := g.Track[0].At; first.Before(epoch.Add(stepped * time.Second)) {
			t.Errorf("%s: the evidence of the step begins at %v, before it", g.Metric, first.Sub(epoch))
		}
	}
	again, err := Restore(state(t, s.judge))
	if err != nil {
		t.Fatal(err)
	}
	e, _ := again.Evidence("r1", fromMicros(again.clock))
	if diff := cmp.Diff(now, e); diff != "" {
		t.Errorf("after a restart: %s", diff)
	}
}
