package eval_test

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/google/go-cmp/cmp"
)

func TestAContextHoldsWhatItWasBuiltOf(t *testing.T) {
	list := []any{"a", int64(1)}
	c := eval.NewContext("user-1").String("plan", "pro").Int("age", math.MinInt64).Float("share", 0.1).Bool("beta", false).
		Time("born", noon).Set("tags", list).Set("tier", plan("gold")).Set("n", 7).Set("huge", uint64(math.MaxUint64)).Set("gone", nil).
		String("", "nameless").String("ключ", "значение").Float("whole", 42)
	want := &flyball.EvaluationContext{TargetingKey: "user-1", Attributes: flyball.Attributes{
		"plan": "pro", "age": int64(math.MinInt64), "share": 0.1, "beta": false, "born": noon, "tags": list, "tier": plan("gold"),
		"n": int64(7), "huge": uint64(math.MaxUint64), "gone": nil, "": "nameless", "ключ": "значение", "whole": 42.0,
	}}
	if diff := cmp.Diff(want, c.EvaluationContext()); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if diff := cmp.Diff(want, eval.ContextOf(want).EvaluationContext()); diff != "" {
		t.Errorf("there and back again, want -, got +:\n%s", diff)
	}
	var none *eval.Context
	if none.TargetingKey() != "" || eval.ContextOf(nil).TargetingKey() != "" {
		t.Error("nobody has a targeting key")
	}
}

// OpenFeature's flattened context carries the targeting key among the
// attributes.
func TestAFlattenedContextConvertsWithoutLoss(t *testing.T) {
	flat := map[string]any{"targetingKey": "user-1", "country": "CA", "age": int64(42), "device": map[string]any{"os": "ios"}}
	want := &flyball.EvaluationContext{TargetingKey: "user-1", Attributes: flat}
	if diff := cmp.Diff(want, eval.ContextOfFlat(flat).EvaluationContext()); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if key := eval.ContextOfFlat(map[string]any{"targetingKey": 7}).TargetingKey(); key != "" {
		t.Errorf("a number became the targeting key %q", key)
	}
}

// A context that is kept and set again, as a loop may do, holds the last
// values and does not grow.
func TestAttributesCanBeSetAgain(t *testing.T) {
	c := eval.NewContext("user-1")
	want := flyball.Attributes{}
	for round := range 3 {
		for i := range 20 {
			name := fmt.Sprint("attribute-", i)
			switch (i + round) % 3 {
			case 0:
				want[name] = []string{name, fmt.Sprint(round)}
			case 1:
				want[name] = fmt.Sprint(round)
			case 2:
				want[name] = map[string]any{"round": int64(round)}
			}
			c.Set(name, want[name])
		}
		if diff := cmp.Diff(want, c.EvaluationContext().Attributes); diff != "" {
			t.Fatalf("round %d, want -, got +:\n%s", round, diff)
		}
	}
	list := []string{"a"}
	if n := testing.AllocsPerRun(100, func() { c.Set("attribute-0", list).String("attribute-1", "x") }); n > 1 { // the list's header, in an any
		t.Errorf("setting attributes again allocates %v times", n)
	}
}

func TestAContextCanBeSharedOnceItIsBuilt(t *testing.T) {
	rs, c := compile(t, story(canada(on), rolledOut(500_000, byAccount))), eval.ContextOf(user(low))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				if r := rs.EvaluateContext("team.flag", c, time.Now, nil); r.Rule != "canada" {
					t.Errorf("%+v", r)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A flag may test more attributes and ask more questions than an evaluation
// remembers.
func TestWideFlagsResolveAsTheReferenceDoes(t *testing.T) {
	f := newFlag("team.wide")
	f.Default.Variant = "off"
	for i := range 100 {
		both := flyball.Condition{All: []flyball.Condition{
			is(fmt.Sprint("a", i%20), flyball.OpIn, int64(i)), is(fmt.Sprint("a", i%7), flyball.OpGTE, int64(i-50)), is("a0", flyball.OpExists, true),
		}}
		f.Rules = append(f.Rules, flyball.Rule{ID: fmt.Sprint("r", i), Serve: on, If: both})
	}
	needing := newFlag("team.needing")
	needing.Default.Variant, needing.Rules = "off", f.Rules[50:]
	needing.Prerequisites = []flyball.Prerequisite{{Flag: "team.wide", Variant: "on"}}
	doc := ruleset(f, needing)
	rs, served := compile(t, doc), map[string]int{}
	for i := range 200 {
		ec := &flyball.EvaluationContext{Attributes: flyball.Attributes{}}
		for j := range 20 {
			ec.Attributes[fmt.Sprint("a", j)] = i + j*i%3
		}
		for _, key := range []string{"team.wide", "team.needing"} {
			want := (&reference{doc: doc, now: noon}).evaluate(key, ec)
			served[key+" "+want.Variant]++
			if got := rs.Evaluate(key, ec, nil, nil); got != want {
				t.Errorf("%s %d with a map: %+v, want %+v", key, i, got, want)
			}
			if got := rs.EvaluateContext(key, eval.ContextOf(ec), nil, nil); got != want {
				t.Errorf("%s %d with a context: %+v, want %+v", key, i, got, want)
			}
		}
	}
	if len(served) != 4 {
		t.Errorf("not both variants of both flags are reached: %v", served)
	}
}

func TestAContextIsBuiltAnewInTheSamePlace(t *testing.T) {
	c := eval.NewContext("u")
	for i := range 20 {
		c.Int(fmt.Sprint("n", i), int64(i)).Set("list", []any{i})
	}
	c.Reset("v").String("a", "x")
	want := &flyball.EvaluationContext{TargetingKey: "v", Attributes: flyball.Attributes{"a": "x"}}
	if d := cmp.Diff(want, c.EvaluationContext()); d != "" {
		t.Errorf("it is (-want +got):\n%s", d)
	}
	if got := c.Retarget("w").EvaluationContext(); got.TargetingKey != "w" || got.Attributes["a"] != "x" {
		t.Errorf("then it is %+v", got)
	}
}
