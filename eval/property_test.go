package eval_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// What rules and contexts are drawn from: few names and few values, so that
// they meet.
var (
	someNames = []string{"plan", "age", "tags", "born", "version", "ip", "device.os", "account.id", "deep.er.est", `["dotted.name"]`, "targetingKey", "targetingKind", "gone", "ключ"}
	someUnits = []string{"", "user-1", "user-2", "user-3", "user-4", "ann", "Ünïcödé 🎈", "\u0000", "e\u0301", "\u00e9"}
	someText  = []any{"", "pro", "free", "Pro", "e\u0301", "\u00e9", "日本語", "1.2.3", "v1.2", "1.2.3-rc.1", "10.0.0.1", "10.1.2.3", "::1", "2026-11-21T12:00:00Z", "2026-11-21T13:00:00+01:00", "a@example.com", "true", "42"}
	someTold  = []any{int64(0), int64(1), int64(42), int64(-7), int64(1<<53 + 1), int64(math.MaxInt64), int64(math.MinInt64), 0.5, 42.0, -0.25, 1e300, float64(1 << 53), 9223372036854775808.0, int64(1795262400), true, false}
	someGiven = []any{nil, plan("pro"), 42, int8(42), uint64(42), uint64(math.MaxUint64), float32(0.5), math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1),
		noon, noon.Add(time.Microsecond), (*int)(nil), struct{}{}, map[string]any{"os": "ios", "id": int64(7), "er": map[string]string{"est": "pro"}},
		map[plan]plan{"os": "pro"}, []any{"pro", 42, nil, []any{"pro"}}, []string{"free", "pro"}, []int{1, 42}, []plan{"pro"}, [2]bool{true, false}, []any{}}
	someOps = []flyball.Op{flyball.OpIn, flyball.OpIn, flyball.OpStartsWith, flyball.OpEndsWith, flyball.OpContains, flyball.OpMatches, flyball.OpLT, flyball.OpLTE, flyball.OpGT, flyball.OpGTE, flyball.OpBefore,
		flyball.OpAfter, flyball.OpSemverEq, flyball.OpSemverLT, flyball.OpSemverLTE, flyball.OpSemverGT, flyball.OpSemverGTE, flyball.OpCIDR, flyball.OpExists}
)

func drawTest(t *rapid.T) flyball.Condition {
	c := flyball.Condition{Attribute: rapid.SampledFrom(someNames).Draw(t, "attribute"), Op: rapid.SampledFrom(someOps).Draw(t, "op")}
	pool := someText
	switch c.Op {
	case flyball.OpExists:
		c.Values = flyball.Values{rapid.Bool().Draw(t, "exists")}
		return c
	case flyball.OpIn:
		pool = append(append([]any{}, someText...), someTold...)
	case flyball.OpMatches:
		pool = []any{"^p", "o$", `^\d+`, "(?i)PRO", "日"}
	case flyball.OpLT, flyball.OpLTE, flyball.OpGT, flyball.OpGTE:
		pool = someTold[:len(someTold)-2]
	case flyball.OpBefore, flyball.OpAfter:
		pool = []any{"2026-11-21T12:00:00Z", int64(1795262400), 1795262400.5, "1990-01-01T00:00:00-05:00"}
	case flyball.OpSemverEq, flyball.OpSemverLT, flyball.OpSemverLTE, flyball.OpSemverGT, flyball.OpSemverGTE:
		pool = []any{"1.2.3", "1.2", "2", "1.2.3-rc.2", "1.10.0"}
	case flyball.OpCIDR:
		pool = []any{"10.0.0.0/8", "10.1.2.3/32", "::/0", "0.0.0.0/0"}
	}
	n := rapid.IntRange(1, 3).Draw(t, "values")
	if c.Op == flyball.OpIn && rapid.IntRange(0, 4).Draw(t, "many") == 0 {
		n = 20
	}
	for range n {
		c.Values = append(c.Values, rapid.SampledFrom(pool).Draw(t, "value"))
	}
	return c
}

func drawCondition(t *rapid.T, depth int, segments []string) flyball.Condition {
	kind := rapid.IntRange(0, 6).Draw(t, "kind")
	switch {
	case depth == 5 || kind < 3:
	case kind == 3 && len(segments) > 0:
		return flyball.Condition{Segment: rapid.SampledFrom(segments).Draw(t, "segment")}
	case kind == 4:
		c := drawCondition(t, depth+1, segments)
		return flyball.Condition{Not: &c}
	case kind > 4:
		var parts []flyball.Condition
		for range rapid.IntRange(1, 3).Draw(t, "parts") {
			parts = append(parts, drawCondition(t, depth+1, segments))
		}
		if kind == 5 {
			return flyball.Condition{All: parts}
		}
		return flyball.Condition{Any: parts}
	}
	return drawTest(t)
}

func drawServe(t *rapid.T) flyball.Serve {
	if rapid.Bool().Draw(t, "plain") {
		return flyball.Serve{Variant: rapid.SampledFrom([]string{"on", "off", "dim"}).Draw(t, "variant")}
	}
	a := rapid.SampledFrom([]int{0, 1, 100_000, 500_000, flyball.PPM}).Draw(t, "ppm")
	s := split("on", a, "off", flyball.PPM-a)
	s.Split.By = rapid.SampledFrom([]string{"", "targetingKey", "account.id", "plan", "age"}).Draw(t, "by")
	return s
}

func drawTime(t *rapid.T, name string) *flyball.Time {
	return rapid.SampledFrom([]*flyball.Time{nil, nil, at(noon), at(noon.Add(1)), at(noon.Add(-1))}).Draw(t, name)
}

func drawDocument(t *rapid.T) flyball.Ruleset {
	doc := story()
	doc.Flags = doc.Flags[1:]
	var segments []string
	for i := range rapid.IntRange(0, 3).Draw(t, "segments") {
		s := flyball.Segment{Key: fmt.Sprintf("segment-%d", i), Owner: "team"}
		s.Include = rapid.SliceOfN(rapid.SampledFrom(someUnits[1:]), 0, 3).Draw(t, "include")
		s.Exclude = rapid.SliceOfN(rapid.SampledFrom(someUnits[1:]), 0, 2).Draw(t, "exclude")
		if rapid.Bool().Draw(t, "conditional") {
			c := drawCondition(t, 3, segments)
			s.If = &c
		}
		doc.Segments, segments = append(doc.Segments, s), append(segments, s.Key)
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "flags") {
		f := newFlag(fmt.Sprintf("team.drawn-%d", i))
		f.Variants = flyball.Variants{"on": true, "off": false, "dim": false}
		f.Default = drawServe(t)
		for j := range rapid.IntRange(0, 4).Draw(t, "rules") {
			r := flyball.Rule{ID: fmt.Sprint("rule-", j), If: drawCondition(t, 1, segments), Serve: drawServe(t)}
			r.NotBefore = drawTime(t, "notBefore")
			if r.NotAfter = drawTime(t, "notAfter"); r.NotBefore != nil && r.NotAfter != nil && !r.NotBefore.Before(r.NotAfter.Time) {
				r.NotAfter = nil
			}
			f.Rules = append(f.Rules, r)
		}
		if rapid.IntRange(0, 2).Draw(t, "prerequisite") == 0 {
			other := rapid.SampledFrom(doc.Flags).Draw(t, "needs").Key
			f.Prerequisites = []flyball.Prerequisite{{Flag: other, Variant: rapid.SampledFrom([]string{"on", "off"}).Draw(t, "variant")}}
		}
		if rapid.IntRange(0, 2).Draw(t, "rollout") == 0 {
			drawRollout(t, &f)
		}
		switch rapid.IntRange(0, 9).Draw(t, "state") {
		case 0:
			killed(&f)
		case 1:
			disabled(&f)
		}
		doc.Flags = append(doc.Flags, f)
	}
	return doc
}

func drawRollout(t *rapid.T, f *flyball.RulesetFlag) {
	f.Rollout = overlay(rapid.SampledFrom([]int{0, 1, 50_000, 500_000, flyball.PPM}).Draw(t, "share"))
	f.Rollout.ID, f.Rollout.NotAfter = "ro-"+f.Key, drawTime(t, "lease")
	f.Rollout.Unit = rapid.SampledFrom([]string{"targetingKey", "account.id", "plan"}).Draw(t, "unit")
	if len(f.Rules) > 0 && rapid.Bool().Draw(t, "on a rule") {
		f.Rollout.Where, f.Rules[0].Serve = f.Rules[0].ID, off
	} else {
		f.Default = off
	}
}

func drawContext(t *rapid.T) *flyball.EvaluationContext {
	ec := &flyball.EvaluationContext{TargetingKey: rapid.SampledFrom(someUnits).Draw(t, "unit")}
	given := append(append(append([]any{}, someText...), someTold...), someGiven...)
	for range rapid.IntRange(0, 12).Draw(t, "attributes") {
		if ec.Attributes == nil {
			ec.Attributes = flyball.Attributes{}
		}
		name := rapid.SampledFrom([]string{"plan", "age", "tags", "born", "version", "ip", "device", "account", "deep", "dotted.name", "targetingKind", "targetingKey", "ключ", "", "x"}).Draw(t, "name")
		ec.Attributes[name] = rapid.SampledFrom(given).Draw(t, "given")
	}
	return ec
}

// Both forms of a context get the same resolutions and exposures, and those
// are the ones that the reference, which reads the document word by word,
// says.
func TestBothFormsOfContextResolveAsTheReferenceDoes(t *testing.T) {
	same := cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b })
	rapid.Check(t, func(t *rapid.T) {
		doc := drawDocument(t)
		rs, err := eval.Compile(doc)
		if err != nil {
			t.Fatalf("drawn, but not valid: %v", err)
		}
		for range 5 {
			ec := drawContext(t)
			c := eval.ContextOf(ec)
			back := eval.ContextOf(c.EvaluationContext())
			for _, f := range doc.Flags {
				e := reference{doc: doc, now: noon}
				want := e.evaluate(f.Key, ec)
				var told [3][]string
				tell := func(i int) func(string, flyball.Resolution) {
					return func(flag string, r flyball.Resolution) { told[i] = append(told[i], flag+" "+r.Variant) }
				}
				now := func() time.Time { return noon }
				for i, got := range []flyball.Resolution{
					rs.Evaluate(f.Key, ec, now, tell(0)), rs.EvaluateContext(f.Key, c, now, tell(1)), rs.EvaluateContext(f.Key, back, now, tell(2)),
				} {
					if diff := cmp.Diff(want, got, same) + cmp.Diff(e.exposed, told[i]); diff != "" {
						t.Fatalf("%s in form %d for %+v, the reference -, ours +:\n%s", f.Key, i, ec, diff)
					}
				}
			}
		}
	})
}
