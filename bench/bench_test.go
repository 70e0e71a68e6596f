package main

import (
	"flag"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

func entrants(t *testing.T) []contestant {
	t.Helper()
	all, err := contestants()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Whoever answers otherwise measures something else.
func TestAllContestantsAnswerAlike(t *testing.T) {
	all := entrants(t)
	for _, w := range workloads {
		served := map[string]int{}
		floor, ours := all[0].on(w), all[1].on(w)
		others := []func(string) flyball.Resolution{all[2].on(w), all[3].on(w)}
		for _, key := range w.keys() {
			want := floor(key)
			served[want.Variant]++
			if got := ours(key); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s, %s: ours says %+v, the floor %+v", w.name, key, got, want)
			}
			for i, other := range others {
				if got := other(key); !reflect.DeepEqual(got.Value, want.Value) || got.Variant != want.Variant {
					t.Fatalf("%s, %s: %s says %+v, the floor %+v", w.name, key, all[2+i].name, got, want)
				}
			}
		}
		if w.kind != tenth && served["on"] != len(w.keys()) {
			t.Errorf("%s serves on %d times of %d: it does not reach what it is to measure", w.name, served["on"], len(w.keys()))
		}
	}
}

// The floor is code for one user; for others it would have to agree too.
func TestTheFloorAgreesForOtherUsers(t *testing.T) {
	others := []*flyball.EvaluationContext{
		{TargetingKey: "beta-user-7", Attributes: flyball.Attributes{"country": "CA", "email": "bob@mycompany.com", "plan": "free", "age": 7}},
		{TargetingKey: "beta-user-7", Attributes: flyball.Attributes{"country": "CA", "email": "bob@rival.com", "plan": "free", "age": 7}},
		{TargetingKey: "user-1", Attributes: flyball.Attributes{"country": "ZZ", "email": "x", "plan": "pro", "age": 99}},
		{TargetingKey: "user-2", Attributes: flyball.Attributes{"country": "YY", "email": "x", "plan": "enterprise", "age": 18}},
		{TargetingKey: "user-3", Attributes: flyball.Attributes{}},
	}
	saved := user
	t.Cleanup(func() { user = saved })
	for _, w := range workloads {
		rs, err := eval.Compile(w.ruleset())
		if err != nil {
			t.Fatal(err)
		}
		decide := floor(w)
		for _, user = range others {
			for _, key := range w.keys() {
				want := rs.Evaluate(key, user, time.Now, nil)
				if got := decide(key); !reflect.DeepEqual(got, want) {
					t.Fatalf("%s, %s for %+v: the floor says %+v, ours %+v", w.name, key, user, got, want)
				}
			}
		}
	}
}

// Speed is a test. The ratio to the floor is taken in one run, by turns, and
// the best of each counts, so that a busy machine hits both alike.
func TestOursKeepsItsRatioToTheFloorAndDoesNotAllocate(t *testing.T) {
	quick(t)
	all := entrants(t)[:2]
	for _, w := range workloads {
		var ratio float64
		if w.atMost == 0 {
			continue
		}
		for range 3 { // a neighbour may have had all of one attempt
			results := measure(w, all, 5)
			if results[1].allocations > 0 {
				t.Fatalf("%s: ours allocates %d times; it runs on every request of every user", w.name, results[1].allocations)
			}
			if ratio = results[1].ns / results[0].ns; ratio <= w.atMost {
				t.Logf("%s: %.1f ns, %.2f of the floor's %.1f ns", w.name, results[1].ns, ratio, results[0].ns)
				break
			}
		}
		if ratio > w.atMost {
			t.Errorf("%s: ours takes %.2f times as long as the floor, at most %v", w.name, ratio, w.atMost)
		}
	}
}

func TestTheTableHasARowForEachWorkload(t *testing.T) {
	quick(t)
	var out strings.Builder
	table(&out, entrants(t), 1)
	for _, w := range workloads {
		if !strings.Contains(out.String(), w.name+": "+w.about) {
			t.Errorf("no row for %s in\n%s", w.name, out.String())
		}
	}
}

// quick makes each measurement a short one.
func quick(t *testing.T) {
	t.Helper()
	if err := flag.Set("test.benchtime", "20ms"); err != nil {
		t.Fatal(err)
	}
}
