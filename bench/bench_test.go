package main

import (
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/bench/workload"
)

func TestAllContestantsAnswerAlike(t *testing.T) {
	all, done, err := enter(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	a, err := agree(all, 30, 2000)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Shares) != len(all) || a.Pairs < 30*len(workload.All) {
		t.Errorf("%d contestants agree on %d pairs and %d shares", len(all), a.Pairs, len(a.Shares))
	}
}

// own are the floor and the evaluator, which need no server.
func own(t *testing.T) []contestant {
	t.Helper()
	ours, err := ours()
	if err != nil {
		t.Fatal(err)
	}
	return append([]contestant{{Name: "floor", on: floor, whole: true}}, ours...)
}

func TestAWrongAnswerIsNoticed(t *testing.T) {
	always := func(value bool) contestant {
		return contestant{Name: "stubborn", own: true, on: func(w workload.Workload, _ *flyball.EvaluationContext) (evaluator, bool) {
			return evaluating(func(string) bool { return value }, same), w.Kind == workload.KindCanada || w.Kind == workload.KindTenth
		}}
	}
	if _, err := agree(append(own(t), always(true)), 30, 1000); err == nil || !strings.HasPrefix(err.Error(), "W2") {
		t.Errorf("who always says true is told apart by %v", err)
	}
	hasty := always(false)
	hasty.on = func(w workload.Workload, _ *flyball.EvaluationContext) (evaluator, bool) {
		return evaluating(func(string) bool { return false }, same), w.Kind == workload.KindTenth
	}
	if _, err := agree(append(own(t), hasty), 30, 1000); err == nil || !strings.Contains(err.Error(), "not to a tenth") {
		t.Errorf("who serves on to nobody is told apart by %v", err)
	}
}

// A workload that does not reach what it is to measure measures nothing.
func TestEachWorkloadReachesItsRule(t *testing.T) {
	want := map[string]any{"W1": true, "W2": true, "W2 miss": false, "W4": true, "W2 ×1,004": true, "W4 ×1,004": true}
	for _, c := range own(t) {
		for _, w := range workload.All {
			e, _ := c.on(w, w.User)
			for _, key := range w.Keys {
				r := e.full(key)
				if v, ok := want[w.Name]; ok && r.Value != v {
					t.Errorf("%s, %s: %s serves %v", w.Name, key, c.Name, r.Value)
				}
				if w.Kind == workload.KindTen && r.Rule != "r9" {
					t.Errorf("%s, %s: %s matches %q, not the last rule", w.Name, key, c.Name, r.Rule)
				}
			}
		}
	}
}

// Speed is a test. The ratio to the floor is taken in one run, by turns, and
// the best of each counts, so that a busy machine hits both alike.
func TestOursKeepsItsRatioToTheFloorAndDoesNotAllocate(t *testing.T) {
	all := own(t)[:2]
	for _, w := range workload.All {
		if w.AtMost == 0 {
			continue
		}
		var ratio float64
		for range 3 { // a neighbour may have had all of one attempt
			r := measure(w, all, 4, 5*time.Millisecond, 1)
			if r[1].Allocations > 0 {
				t.Fatalf("%s: ours allocates %d times; it runs on every request of every user", w.Name, r[1].Allocations)
			}
			if ratio = r[1].NS / r[0].NS; ratio <= w.AtMost {
				t.Logf("%s: %.1f ns, %.2f of the floor's %.1f ns", w.Name, r[1].NS, ratio, r[0].NS)
				break
			}
		}
		if ratio > w.AtMost {
			t.Errorf("%s: ours takes %.2f times as long as the floor, at most %v", w.Name, ratio, w.AtMost)
		}
	}
}

func TestTheTablesHaveAColumnForEachWorkload(t *testing.T) {
	all := own(t)
	var results [][]*result
	for _, w := range workload.All {
		results = append(results, measure(w, all, 1, time.Millisecond, 2))
	}
	var out strings.Builder
	for _, shown := range tables(results, []string{"floor", "ours", "ours, built"}) {
		shown.Print(&out)
		if len(shown) != 4 {
			t.Errorf("a table of %d rows", len(shown))
		}
		for _, row := range shown[1:] {
			for i, cell := range row {
				if cell == "" || cell == "–" {
					t.Errorf("%s has no %s", row[0], shown[0][i])
				}
			}
		}
	}
	for _, w := range workload.All {
		if !strings.Contains(out.String(), " "+w.Name+" |") {
			t.Errorf("no column for %s in\n%s", w.Name, out.String())
		}
	}
}
