package provider

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/google/go-cmp/cmp"
	"github.com/open-feature/go-sdk/openfeature"
)

// An answer is what a caller is told, whichever way it asks.
type answer struct {
	Value           any
	Variant, Reason string
	Code            string
}

func answered[T any](d Detail[T]) answer {
	r := d.Resolution
	return answer{d.Value, r.Variant, string(r.Reason), string(r.ErrorCode)}
}

func answeredBy(v any, d openfeature.EvaluationDetails) answer {
	return answer{v, d.Variant, string(d.Reason), string(d.ErrorCode)}
}

// ways are the ways to evaluate a flag as each type: through OpenFeature, with
// the client and bound once. The values alone must be those of the details.
func ways(t *testing.T, p *Provider, of *openfeature.Client) map[string]func(key string, flat map[string]any) []answer {
	ctx, c := t.Context(), p.Client()
	context := func(flat map[string]any) openfeature.EvaluationContext {
		key, _ := flat["targetingKey"].(string)
		rest := maps.Clone(flat)
		delete(rest, "targetingKey")
		if key == "" {
			return openfeature.NewTargetlessEvaluationContext(rest)
		}
		return openfeature.NewEvaluationContext(key, rest)
	}
	return map[string]func(string, map[string]any) []answer{
		"OpenFeature": func(key string, flat map[string]any) []answer {
			ec := context(flat)
			b, _ := of.BooleanValueDetails(ctx, key, true, ec)
			s, _ := of.StringValueDetails(ctx, key, "mine", ec)
			i, _ := of.IntValueDetails(ctx, key, -1, ec)
			f, _ := of.FloatValueDetails(ctx, key, -1.5, ec)
			o, _ := of.ObjectValueDetails(ctx, key, nil, ec)
			return []answer{answeredBy(b.Value, b.EvaluationDetails), answeredBy(s.Value, s.EvaluationDetails), answeredBy(i.Value, i.EvaluationDetails), answeredBy(f.Value, f.EvaluationDetails), answeredBy(o.Value, o.EvaluationDetails)}
		},
		"client's details": func(key string, flat map[string]any) []answer {
			ec := eval.ContextOfFlat(flat)
			return []answer{answered(c.BoolDetail(ctx, key, true, ec)), answered(c.StringDetail(ctx, key, "mine", ec)), answered(c.IntDetail(ctx, key, -1, ec)), answered(c.FloatDetail(ctx, key, -1.5, ec)), answered(c.ObjectDetail(ctx, key, nil, ec))}
		},
		"client's values": func(key string, flat map[string]any) []answer {
			ec := eval.ContextOfFlat(flat)
			return []answer{{Value: c.Bool(ctx, key, true, ec)}, {Value: c.String(ctx, key, "mine", ec)}, {Value: c.Int(ctx, key, -1, ec)}, {Value: c.Float(ctx, key, -1.5, ec)}, {Value: c.Object(ctx, key, nil, ec)}}
		},
		"bound flags' details": func(key string, flat map[string]any) []answer {
			ec := eval.ContextOfFlat(flat)
			return []answer{answered(c.BoolFlag(key, true).Detail(ec)), answered(c.StringFlag(key, "mine").Detail(ec)), answered(c.IntFlag(key, -1).Detail(ec)), answered(c.FloatFlag(key, -1.5).Detail(ec)), answered(c.ObjectFlag(key, nil).Detail(ec))}
		},
		"bound flags' values": func(key string, flat map[string]any) []answer {
			ec := eval.ContextOfFlat(flat)
			return []answer{{Value: c.BoolFlag(key, true).Value(ec)}, {Value: c.StringFlag(key, "mine").Value(ec)}, {Value: c.IntFlag(key, -1).Value(ec)}, {Value: c.FloatFlag(key, -1.5).Value(ec)}, {Value: c.ObjectFlag(key, nil).Value(ec)}}
		},
	}
}

// Whichever way a program asks, it is told the same, and so is the server.
func TestAllWaysToEvaluateAnswerAndRecordAlike(t *testing.T) {
	doc := typed()
	needing := newFlag("team.needing") // whose prerequisite's rollout exposes
	needing.Prerequisites = []flyball.Prerequisite{{Flag: "team.ramp", Variant: "on"}}
	tenants := ramp("team.tenants", 500_000, 3)
	tenants.Rollout.Unit = "account.id"
	doc.Flags = append(doc.Flags, needing, tenants)
	contexts := []map[string]any{
		{}, {"targetingKey": "user-1", "country": "CA"}, {"targetingKey": "user-2", "account": map[string]any{"id": int64(7)}}, {"account": map[string]any{"id": int64(8)}, "country": []any{"CA"}},
	}
	type record struct {
		Exposures []string
		Counts    map[string]int64
		Unknown   map[string]bool
	}
	answers, records := map[string][]answer{}, map[string]record{}
	var names []string
	for _, name := range []string{"OpenFeature", "client's details", "client's values", "bound flags' details", "bound flags' values"} {
		s := newServer(t, doc)
		p := newProvider(t, s)
		_, of := registered(t, p)
		ask := ways(t, p, of)[name]
		for range 3 {
			for _, flat := range contexts {
				for _, f := range doc.Flags {
					answers[name] = append(answers[name], ask(f.Key, flat)...)
				}
				answers[name] = append(answers[name], ask("team.typo", flat)...)
			}
		}
		closed(t, p)
		var r record
		var exposures []flyball.Exposure
		exposures, _, r.Counts, r.Unknown = all(s.received())
		for _, e := range exposures {
			r.Exposures = append(r.Exposures, fmt.Sprintf("%s=%s to %s by %q in %s %d, version %d", e.Flag, e.Variant, e.Unit, e.By, e.Rollout, e.Step, e.Version))
		}
		slices.Sort(r.Exposures)
		records[name], names = r, append(names, name)
	}
	want := records[names[0]]
	if len(want.Exposures) < 4 || len(want.Counts) < 10 || !want.Unknown["team.typo"] {
		t.Errorf("this records too little to tell anything: %+v", want)
	}
	for i, name := range names[1:] {
		if diff := cmp.Diff(want, records[name]); diff != "" {
			t.Errorf("records of OpenFeature -, of the %s +:\n%s", name, diff)
		}
		expect := answers[names[0]]
		if i%2 == 1 { // values alone
			expect = slices.Clone(expect)
			for j := range expect {
				expect[j] = answer{Value: expect[j].Value}
			}
		}
		if diff := cmp.Diff(expect, answers[name]); diff != "" {
			t.Errorf("answers of OpenFeature -, of the %s +:\n%s", name, diff)
		}
	}
}

// A bound flag follows the rulesets, and no count is lost meanwhile.
func TestABoundFlagFollowsTheRulesets(t *testing.T) {
	version := func(v int64) flyball.Ruleset {
		a, b := newFlag("team.a"), newFlag("team.b")
		a.Variants, a.Default.Variant = flyball.Variants{"on": true, "off": false, fmt.Sprint("v", v): v%2 == 0}, fmt.Sprint("v", v)
		b.Rules = []flyball.Rule{{ID: "r", If: flyball.Condition{Attribute: "n", Op: flyball.OpIn, Values: flyball.Values{v}}, Serve: flyball.Serve{Variant: "off"}}}
		return ruleset(v, a, b)
	}
	s := newServer(t, version(1))
	p := started(t, s)
	a, b, gone := p.Client().BoolFlag("team.a", true), p.Client().BoolFlag("team.b", false), p.Client().BoolFlag("team.gone", true)
	const goroutines, each = 4, 5000
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			c := eval.NewContext("user-1").Int("n", 3)
			for range each {
				a.Value(c)
				b.Value(c)
				if !gone.Value(c) {
					t.Error("an unknown flag has no default")
				}
			}
		})
	}
	for v := int64(2); v <= 20; v++ {
		s.publish(version(v))
		until(t, "the next version", func() bool { return p.Version().Version == v })
		if d := a.Detail(nil); d.Value != (v%2 == 0) || d.Resolution.Version != v || d.Resolution.Variant != fmt.Sprint("v", v) {
			t.Errorf("version %d: %+v", v, d)
		}
		if got := b.Value(eval.NewContext("").Int("n", v)); got {
			t.Errorf("version %d: the rule does not match", v)
		}
	}
	wg.Wait()
	closed(t, p)
	_, _, counts, unknown := all(s.received())
	sum := map[string]int64{}
	for key, n := range counts {
		sum[key[:len("team.a")]] += n
	}
	want := map[string]int64{"team.a": goroutines*each + 19, "team.b": goroutines*each + 19}
	if diff := cmp.Diff(want, sum); diff != "" || !unknown["team.gone"] {
		t.Errorf("unknown %v, counts want -, got +:\n%s", unknown, diff)
	}
}

// Before the first ruleset, and where evaluation itself is broken, callers get
// their defaults.
func TestTheClientAlwaysAnswers(t *testing.T) {
	p := offline(t, nil)
	c := p.Client()
	bound := c.IntFlag("team.int", 7)
	if d := c.IntDetail(t.Context(), "team.int", 7, nil); d.Value != 7 || d.Resolution.ErrorCode != flyball.ErrorProviderNotReady {
		t.Errorf("without a ruleset: %+v", d)
	}
	if d := bound.Detail(nil); d.Value != 7 || d.Resolution.ErrorCode != flyball.ErrorProviderNotReady {
		t.Errorf("bound, without a ruleset: %+v", d)
	}
	doc := typed()
	rs, err := eval.Compile(doc)
	if err != nil {
		t.Fatal(err)
	}
	p.rules.Offer(rs)
	if bound.Value(nil) != 42 {
		t.Error("a bound flag does not see the first ruleset")
	}
	broken := &Flag[bool]{p: p, key: "team.bool", fallback: true, as: func(any) (bool, bool) { panic("a bug") }}
	broken.bound.Store(&binding[bool]{rules: rs, flag: rs.Find("team.bool")})
	if d := broken.Detail(nil); !d.Value || d.Resolution.ErrorCode != flyball.ErrorGeneral || p.troubled.Load() != rs {
		t.Errorf("a panic became %+v", d)
	}
	if d := detail(p, t.Context(), "team.bool", true, nil, broken.as); !d.Value || d.Resolution.ErrorCode != flyball.ErrorGeneral {
		t.Errorf("a panic became %+v", d)
	}
}

// A ctx carries an evaluation context to where there is none at hand.
func TestACtxCarriesAnEvaluationContext(t *testing.T) {
	doc := typed()
	p := offline(t, &doc)
	c, canada := p.Client(), eval.NewContext("user-1").String("country", "CA")
	ctx := With(t.Context(), canada)
	if !c.Bool(ctx, "team.ruled", false, nil) {
		t.Error("what ctx carries is not used")
	}
	if c.Bool(ctx, "team.ruled", false, eval.NewContext("user-1")) || c.Bool(t.Context(), "team.ruled", false, nil) {
		t.Error("a context that is given does not win over what ctx carries")
	}
}

// What a caller does with an object is its own affair.
func TestObjectsAreTheCallersOwn(t *testing.T) {
	doc := typed()
	p := offline(t, &doc)
	c := p.Client()
	bound := c.ObjectFlag("team.object", nil)
	want := c.Object(t.Context(), "team.object", nil, nil)
	for _, v := range []any{c.Object(t.Context(), "team.object", nil, nil), bound.Value(nil), bound.Detail(nil).Value, bound.Detail(nil).Resolution.Value, c.ObjectDetail(t.Context(), "team.object", nil, nil).Resolution.Value} {
		m := v.(map[string]any)
		m["list"].([]any)[0] = "mine"
		delete(m, "deep")
	}
	if diff := cmp.Diff(want, bound.Value(nil)); diff != "" {
		t.Errorf("a caller changed the flag for all:\n%s", diff)
	}
}

func TestTheClientDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	doc := typed()
	p := offline(t, &doc)
	c, ctx, ec := p.Client(), t.Context(), eval.NewContext("user-1").String("country", "CA")
	on, ruled, text := c.BoolFlag("team.bool", false), c.BoolFlag("team.ruled", false), c.StringFlag("team.string", "")
	for name, evaluate := range map[string]func(){
		"Bool": func() { c.Bool(ctx, "team.bool", false, ec) }, "Bool by a rule": func() { c.Bool(ctx, "team.ruled", false, ec) },
		"BoolDetail": func() { c.BoolDetail(ctx, "team.ruled", false, ec) }, "String": func() { c.String(ctx, "team.string", "", ec) },
		"Int": func() { c.Int(ctx, "team.int", 0, ec) }, "Float": func() { c.Float(ctx, "team.fraction", 0, ec) },
		"a rollout": func() { c.Bool(ctx, "team.ramp", false, ec) }, "Evaluate": func() { p.Evaluate("team.ruled", user("user-1")) },
		"a bound flag": func() { on.Value(ec) }, "a bound flag by a rule": func() { ruled.Value(ec) }, "its details": func() { ruled.Detail(ec) }, "a bound string": func() { text.Value(ec) },
	} {
		evaluate() // the first one may make room for what it counts
		if n := testing.AllocsPerRun(100, evaluate); n > 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// offline returns a provider that follows nobody, with a ruleset.
func offline(t testing.TB, doc *flyball.Ruleset) *Provider {
	t.Helper()
	p, err := New(Options{Server: "http://127.0.0.1:1", Token: "fb_sdk_good"})
	if err != nil {
		t.Fatal(err)
	}
	if doc != nil {
		rs, err := eval.Compile(*doc)
		if err != nil {
			t.Fatal(err)
		}
		p.rules.Offer(rs)
		p.record.live(rs.Live())
	}
	return p
}

// Benchmarks of the direct client; those of evaluation itself are in package
// eval. All but the floors count what they evaluate.

func benchmarked(b *testing.B) (*Provider, *eval.Context) {
	var doc flyball.Ruleset
	for i := range 1003 {
		doc.Flags = append(doc.Flags, newFlag(fmt.Sprintf("team.flag-%04d", i)))
	}
	doc = ruleset(1, append(doc.Flags, ramp("team.ramp", 500_000, 0))...)
	b.ReportAllocs()
	return offline(b, &doc), eval.NewContext("user-1").String("country", "CA").Int("age", 42)
}

var sink bool

// What a flag bound once costs at least: is it still in force, and its value.
func BenchmarkBoolFlagFloor(b *testing.B) {
	p, _ := benchmarked(b)
	rules, value := p.rules.Current(), true
	for b.Loop() {
		if p.rules.Current() == rules {
			sink = value
		}
	}
}

// All but the count.
func BenchmarkBoolFlagUncounted(b *testing.B) {
	p, _ := benchmarked(b)
	f := p.Client().BoolFlag("team.flag-0500", false)
	f.bind()
	for b.Loop() {
		if b := f.bound.Load(); b != nil && b.constant && b.rules == f.p.rules.Current() {
			sink = b.value
		}
	}
}

func BenchmarkBoolFlag(b *testing.B) {
	p, c := benchmarked(b)
	f := p.Client().BoolFlag("team.flag-0500", false)
	for b.Loop() {
		sink = f.Value(c)
	}
}

func BenchmarkBoolFlagParallel(b *testing.B) {
	p, c := benchmarked(b)
	f := p.Client().BoolFlag("team.flag-0500", false)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			f.Value(c)
		}
	})
}

func BenchmarkBool(b *testing.B) {
	p, c := benchmarked(b)
	client, ctx := p.Client(), context.Background()
	for b.Loop() {
		sink = client.Bool(ctx, "team.flag-0500", false, c)
	}
}

func BenchmarkBoolParallel(b *testing.B) {
	p, c := benchmarked(b)
	client, ctx := p.Client(), context.Background()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			client.Bool(ctx, "team.flag-0500", false, c)
		}
	})
}

func BenchmarkBoolThroughOpenFeature(b *testing.B) {
	p, _ := benchmarked(b)
	flat := openfeature.FlattenedContext{"targetingKey": "user-1", "country": "CA", "age": int64(42)}
	for b.Loop() {
		sink = p.BooleanEvaluation(context.Background(), "team.flag-0500", false, flat).Value
	}
}

// A rollout's exposure, known already, which is what a hot loop meets.
func BenchmarkExposure(b *testing.B) {
	p, c := benchmarked(b)
	client, ctx := p.Client(), context.Background()
	for b.Loop() {
		sink = client.Bool(ctx, "team.ramp", false, c)
	}
}

func BenchmarkExposureBound(b *testing.B) {
	p, c := benchmarked(b)
	f := p.Client().BoolFlag("team.ramp", false)
	for b.Loop() {
		sink = f.Value(c)
	}
}

func BenchmarkTally(b *testing.B) {
	t := newRecorder().tally("team.flag", "on")
	for b.Loop() {
		t.add()
	}
}

func BenchmarkTallyParallel(b *testing.B) {
	t := newRecorder().tally("team.flag", "on")
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			t.add()
		}
	})
}

func BenchmarkCount(b *testing.B) {
	r := newRecorder()
	b.ReportAllocs()
	for b.Loop() {
		r.count("team.flag", "on")
	}
}
