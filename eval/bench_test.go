package eval_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// The workloads: a ruleset of 1,004 flags and a context of six attributes. W1
// is a boolean flag without rules; W2 one rule of two tests; W3 a 10 % split;
// W4 ten rules three deep with a segment of 1,000 keys, of which only the last
// matches; W5 an object.
const workloadFlags = 1004

func workload() flyball.Ruleset {
	doc := flyball.Ruleset{Environment: "production", Epoch: 1, Version: 7}
	doc.Segments = []flyball.Segment{{Key: "beta-testers", Owner: "team"}}
	for i := range 1000 {
		doc.Segments[0].Include = append(doc.Segments[0].Include, fmt.Sprintf("beta-user-%d", i))
	}
	for i := range workloadFlags {
		f := newFlag(fmt.Sprintf("team.domain.flag-%04d", i))
		if i >= 1000 {
			f = newFlag(fmt.Sprintf("team.domain.w%d", i-998))
		}
		switch i - 998 {
		case 2:
			f.Rules = []flyball.Rule{{ID: "canada", Serve: flyball.Serve{Variant: "on"}, If: flyball.Condition{All: []flyball.Condition{
				is("country", flyball.OpIn, "CA"), is("email", flyball.OpEndsWith, "@mycompany.com")}}}}
		case 3:
			f.Default = split("on", 100_000, "off", 900_000)
		case 4:
			f.Rules = tenRules()
		case 5:
			f.Type = flyball.TypeObject
			f.Variants = flyball.Variants{"on": map[string]any{"color": "red", "size": int64(7)}, "off": map[string]any{}}
		}
		doc.Flags = append(doc.Flags, f)
	}
	return doc
}

func tenRules() []flyball.Rule {
	var rules []flyball.Rule
	for i := range 10 {
		last := i == 9
		country, least := "ZZ", 1000
		if last {
			country, least = "CA", 18
		}
		rules = append(rules, flyball.Rule{ID: fmt.Sprint("r", i), Serve: flyball.Serve{Variant: "on"}, If: flyball.Condition{All: []flyball.Condition{
			{Any: []flyball.Condition{
				{All: []flyball.Condition{is("plan", flyball.OpIn, "pro", "enterprise"), is("age", flyball.OpGTE, int64(least))}},
				{Segment: "beta-testers"},
			}},
			is("country", flyball.OpIn, country, "YY"),
			{Not: &flyball.Condition{Attribute: "email", Op: flyball.OpEndsWith, Values: flyball.Values{"@rival.com"}}},
		}}})
	}
	return rules
}

var sixAttributes = &flyball.EvaluationContext{TargetingKey: "user-4711", Attributes: flyball.Attributes{
	"country": "CA", "email": "ann@mycompany.com", "plan": "pro", "age": 42, "os": "ios", "version": "2.3.1",
}}

// floor is the least that any evaluator does: an atomic load, a lookup, and a
// filled resolution.
func BenchmarkFloor(b *testing.B) {
	doc := workload()
	m := map[string]*flyball.Resolution{}
	keys := make([]string, 0, len(doc.Flags))
	for _, f := range doc.Flags {
		m[f.Key] = &flyball.Resolution{Value: true, Variant: "on", Reason: flyball.ReasonStatic, Version: 7}
		keys = append(keys, f.Key)
	}
	var current atomic.Pointer[map[string]*flyball.Resolution]
	current.Store(&m)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		sink = *(*current.Load())[keys[i%len(keys)]]
	}
}

var sink flyball.Resolution

// floorBy is what a programmer would write by hand in place of one flag: the
// same lookup of the flag, the same reads of the context, and the same filled
// resolution, of which decide picks one of two.
func floorBy(b *testing.B, key string, decide func(ec *flyball.EvaluationContext) bool) {
	m := map[string]*[2]flyball.Resolution{}
	for _, f := range workload().Flags {
		m[f.Key] = &[2]flyball.Resolution{
			{Value: true, Variant: "on", Reason: flyball.ReasonTargetingMatch, Rule: "r9", Version: 7},
			{Value: false, Variant: "off", Reason: flyball.ReasonDefault, Version: 7},
		}
	}
	var current atomic.Pointer[map[string]*[2]flyball.Resolution]
	current.Store(&m)
	b.ReportAllocs()
	for b.Loop() {
		r := (*current.Load())[key]
		if decide(sixAttributes) {
			sink = r[0]
		} else {
			sink = r[1]
		}
	}
}

func text(ec *flyball.EvaluationContext, name string) string {
	s, _ := ec.Attributes[name].(string)
	return s
}

func BenchmarkFloorW2(b *testing.B) {
	floorBy(b, "team.domain.w2", func(ec *flyball.EvaluationContext) bool {
		return text(ec, "country") == "CA" && strings.HasSuffix(text(ec, "email"), "@mycompany.com")
	})
}

func BenchmarkFloorW3(b *testing.B) {
	floorBy(b, "team.domain.w3", func(ec *flyball.EvaluationContext) bool {
		return eval.Point("team.domain.w3", ec.TargetingKey) < 100_000
	})
}

func BenchmarkFloorW4(b *testing.B) {
	segment := map[string]struct{}{}
	for _, key := range workload().Segments[0].Include {
		segment[key] = struct{}{}
	}
	least := []int{1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 18}
	countries := []string{"ZZ", "ZZ", "ZZ", "ZZ", "ZZ", "ZZ", "ZZ", "ZZ", "ZZ", "CA"}
	floorBy(b, "team.domain.w4", func(ec *flyball.EvaluationContext) bool {
		for i := range 10 {
			plan := text(ec, "plan")
			age, _ := ec.Attributes["age"].(int)
			in := (plan == "pro" || plan == "enterprise") && age >= least[i]
			if !in {
				_, in = segment[ec.TargetingKey]
			}
			if !in {
				continue
			}
			if c := text(ec, "country"); (c == countries[i] || c == "YY") && !strings.HasSuffix(text(ec, "email"), "@rival.com") {
				return true
			}
		}
		return false
	})
}

// benchmark evaluates W1 with keys in rotation, and the others' one flag each.
func benchmark(b *testing.B, keys ...string) {
	rs, err := eval.Compile(workload())
	if err != nil {
		b.Fatal(err)
	}
	var h eval.Holder
	h.Offer(rs)
	if len(keys) == 0 {
		keys = rs.Keys()[:1000]
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		sink = h.Current().Evaluate(keys[i%len(keys)], sixAttributes, time.Now, nil)
	}
}

func BenchmarkW1(b *testing.B) { benchmark(b) }
func BenchmarkW2(b *testing.B) { benchmark(b, "team.domain.w2") }
func BenchmarkW3(b *testing.B) { benchmark(b, "team.domain.w3") }
func BenchmarkW4(b *testing.B) { benchmark(b, "team.domain.w4") }
func BenchmarkW5(b *testing.B) { benchmark(b, "team.domain.w5") }

func BenchmarkCompile(b *testing.B) {
	doc := workload()
	for b.Loop() {
		if _, err := eval.Compile(doc); err != nil {
			b.Fatal(err)
		}
	}
}

func TestEvaluateDoesNotAllocate(t *testing.T) {
	rs := compile(t, workload())
	for _, key := range []string{"team.domain.flag-0500", "team.domain.w2", "team.domain.w3", "team.domain.w4", "team.domain.w5"} {
		if n := testing.AllocsPerRun(100, func() { sink = rs.Evaluate(key, sixAttributes, time.Now, nil) }); n > 0 {
			t.Errorf("%s: Evaluate allocates %v times; it runs on every request of every user", key, n)
		}
	}
}
