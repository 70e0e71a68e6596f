package eval_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// goldenPoints2 returns 100,000 points: a hundred seeds of a thousand units.
func goldenPoints2(t *testing.T) []byte {
	var b bytes.Buffer
	teams, prefixes := []string{"payments", "growth", "search", "ключ", "日本"}, []string{"user-", "", "acct_", "018f3c1e-0000-7000-8000-", "ü", "x:y:", "🎈", "ann+", "192.168.0.", "a-rather-long-unit-name-that-fills-several-blocks-"}
	for i := range 100 {
		p := points{Seed: fmt.Sprintf("%s.area-%d.flag%s", teams[i%5], i/5, strings.Repeat("x", i%4)), Prefix: prefixes[i/10], From: i * 977}
		for i := range 1000 {
			p.Points = append(p.Points, eval.Point(p.Seed, p.unit(i)))
		}
		line, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	return b.Bytes()
}

// goldenValues are what the attribute "v" is in the contexts of the operators'
// vectors, each in a context of its own.
var goldenValues = []any{
	nil, "", "CA", "ca", "pro", "Professional", "é", "e\u0301", "日本語", "🎈", "\u0000", "a\nb", "true", "42",
	"ann@example.com", "eve@evil.org", "ANN@EXAMPLE.COM", strings.Repeat("a", 1024), strings.Repeat("a", 1025),
	"1.2.3", "v1.2", "1.10.0", "1.10.0+build.5", "1.10.0-rc.1", "1.10.0-rc.10", "2", "01.2.3", "latest", "1.99999999999999999999.0",
	"10.1.2.3", "::ffff:10.1.2.3", "192.168.0.1", "2001:db8::1", "fe80::1%eth0", "10.1.2", "010.1.2.3",
	"2000-01-01T00:00:00Z", "2000-01-01T01:00:00+01:00", "1999-12-31T23:59:59.999999Z", "2000-01-01T00:00:00.000001Z", "2000-01-01", "2000-13-01T00:00:00Z",
	int64(0), int64(1), int64(-1), int64(17), int64(18), int64(42), 17.5, 18.5, 0.1, -0.25, 1e300, -1e300, 5e-324,
	int64(946684800), 946684799.5, int64(100_000_000_001), int64(1 << 53), int64(1<<53 + 1), float64(1 << 60), int64(math.MaxInt64), int64(math.MinInt64), 9223372036854775808.0,
	true, false, []any{}, []any{"CA", "x"}, []any{int64(42), true, nil}, []any{[]any{"CA"}}, []any{17.5, "pro"}, map[string]any{}, map[string]any{"CA": "CA"},
}

// goldenOperands are the values of the operators' vectors, a flag for each.
var goldenOperands = []struct {
	op   flyball.Op
	each []flyball.Values
}{
	{flyball.OpIn, []flyball.Values{{"CA", "MX"}, {""}, {"é", "日本語", "🎈", "\u0000"}, {int64(42), 17.5, int64(0)}, {int64(1<<53 + 1)}, {9223372036854775808.0, 1e300}, {true}, {"true", "42", false}, manyValues()}},
	{flyball.OpStartsWith, []flyball.Values{{"ann", "日"}, {""}}},
	{flyball.OpEndsWith, []flyball.Values{{"@example.com", "語"}, {"a"}}},
	{flyball.OpContains, []flyball.Values{{"evil", "本"}, {"\n"}}},
	{flyball.OpMatches, []flyball.Values{{`^[a-z]+@(example|evil)\.(com|org)$`}, {`^a+$`}, {`^\p{Han}+$`, `^.$`}, {`(?i)^PRO`}}},
	{flyball.OpLT, []flyball.Values{{int64(18)}, {int64(-1), 17.6}, {int64(math.MaxInt64)}}},
	{flyball.OpLTE, []flyball.Values{{int64(18)}, {17.5}, {9223372036854775808.0}}},
	{flyball.OpGT, []flyball.Values{{int64(18)}, {int64(1 << 53)}, {int64(math.MinInt64)}}},
	{flyball.OpGTE, []flyball.Values{{int64(18)}, {int64(100), 18.5}, {float64(1 << 60)}}},
	{flyball.OpBefore, []flyball.Values{{"2000-01-01T00:00:00Z"}, {int64(946684800)}, {946684799.75, "1970-01-01T00:00:00+01:00"}}},
	{flyball.OpAfter, []flyball.Values{{"2000-01-01T00:00:00Z"}, {"2000-01-01T00:00:00.0000005Z"}, {int64(946684800), int64(0)}}},
	{flyball.OpSemverEq, []flyball.Values{{"1.10.0"}, {"1.2", "2.0.0-0"}}},
	{flyball.OpSemverLT, []flyball.Values{{"1.10.0"}, {"1.10.0-rc.2"}}},
	{flyball.OpSemverLTE, []flyball.Values{{"v1.10"}}},
	{flyball.OpSemverGT, []flyball.Values{{"1.9.9"}, {"1.10.0-rc.9", "3"}}},
	{flyball.OpSemverGTE, []flyball.Values{{"1.10.0"}}},
	{flyball.OpCIDR, []flyball.Values{{"10.0.0.0/8"}, {"2001:db8::/32", "192.168.0.1"}, {"::/0"}, {"::ffff:10.0.0.0/104", "fe80::/10"}}},
	{flyball.OpExists, []flyball.Values{{true}, {false}}},
}

func manyValues() flyball.Values {
	values := flyball.Values{"pro", int64(18), 0.1, true}
	for i := range 40 {
		values = append(values, fmt.Sprint("value-", i))
	}
	return values
}

func goldenEvaluations2(t *testing.T) []byte {
	g := evaluations{Ruleset: flyball.Ruleset{Environment: "production", Epoch: 3, Version: 1 << 40}, Contexts: map[string]flyball.EvaluationContext{}}
	g.Ruleset.Segments = goldenSegments()
	var values []string
	for i, v := range goldenValues {
		name := fmt.Sprintf("v%02d", i)
		values = append(values, name)
		g.Contexts[name] = flyball.EvaluationContext{TargetingKey: "user-1", Attributes: flyball.Attributes{"v": v}}
	}
	for _, o := range goldenOperands {
		for i, operands := range o.each {
			f := withRule(is("v", o.op, operands...))
			f.Key = fmt.Sprintf("team.%s-%d", strings.ToLower(string(o.op)), i)
			f.Flag, f.Seed = f.Key, f.Key
			g.Ruleset.Flags = append(g.Ruleset.Flags, f)
		}
	}
	operators := len(g.Ruleset.Flags)
	g.Ruleset.Flags = append(g.Ruleset.Flags, goldenStructures()...)
	units := goldenUnits(g.Contexts)
	rs := compile(t, g.Ruleset)
	add := func(flag, context string, now time.Time) {
		c := evaluationCase{Flag: flag, Context: context, Now: now}
		want, exposures := c.evaluate(t, rs, g.Contexts)
		c.Want, c.Exposures = json.RawMessage(want), exposures
		g.Cases = append(g.Cases, c)
	}
	for i, f := range g.Ruleset.Flags {
		if i < operators {
			for _, name := range values {
				add(f.Key, name, noon)
			}
			continue
		}
		for _, name := range units {
			add(f.Key, name, noon)
			if strings.Contains(f.Key, "lease") || strings.Contains(f.Key, "dated") {
				add(f.Key, name, noon.Add(-time.Microsecond))
				add(f.Key, name, noon.Add(time.Microsecond))
			}
		}
	}
	for _, name := range units {
		add("team.unknown", name, noon)
		add("", name, noon)
	}
	data, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.ReplaceAll(data, []byte(`{"flag":"`), []byte("\n"+`{"flag":"`))
	return append(data, '\n')
}

// goldenUnits adds the contexts of the structures' vectors, and returns their
// names: units at the very edges of the shares of the seed "team.flag".
func goldenUnits(contexts map[string]flyball.EvaluationContext) []string {
	add := func(name string, ec flyball.EvaluationContext) { contexts[name] = ec }
	add("nobody", flyball.EvaluationContext{})
	add("anonymous", flyball.EvaluationContext{Attributes: flyball.Attributes{"country": "CA", "account": map[string]any{"id": int64(7)}}})
	for _, edge := range []uint32{0, 1, 49_999, 50_000, 333_332, 333_333, 666_665, 666_666, flyball.PPM - 1} {
		add(fmt.Sprintf("at-%06d", edge), flyball.EvaluationContext{TargetingKey: unitBetween("team.flag", edge, edge+1), Attributes: flyball.Attributes{"country": "CA"}})
	}
	add("ann", flyball.EvaluationContext{TargetingKey: "ann", Attributes: flyball.Attributes{"country": "US", "plan": "pro"}})
	add("eve", flyball.EvaluationContext{TargetingKey: "eve", Attributes: flyball.Attributes{"country": "CA", "plan": "pro"}})
	add("Ünïcödé", flyball.EvaluationContext{TargetingKey: "Ünïcödé 🎈", Attributes: flyball.Attributes{"targetingKind": "device", "dotted.name": "yes", "ключ": "да"}})
	add("tenant", flyball.EvaluationContext{TargetingKey: "user-3", Attributes: flyball.Attributes{"account": map[string]any{"id": int64(9007199254740993), "beta": true}, "device": map[string]any{"os": map[string]any{"name": "ios"}}}})
	add("large", flyball.EvaluationContext{TargetingKey: "user-4", Attributes: flyball.Attributes{"account": map[string]any{"id": 9223372036854775808.0}, "targetingKey": "ignored"}})
	add("fraction", flyball.EvaluationContext{TargetingKey: "user-5", Attributes: flyball.Attributes{"account": map[string]any{"id": 7.5}, "device": "ios"}})
	add("nothing", flyball.EvaluationContext{TargetingKey: "user-6", Attributes: flyball.Attributes{"account": nil, "country": nil, "plan": nil}})
	var names []string
	for name := range contexts {
		if !strings.HasPrefix(name, "v") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func goldenSegments() []flyball.Segment {
	pro, insider := is("plan", flyball.OpIn, "pro"), flyball.Condition{Segment: "insiders"}
	nested := flyball.Condition{All: []flyball.Condition{insider, {Not: &flyball.Condition{Segment: "strangers"}}}}
	return []flyball.Segment{
		{Key: "empty", Owner: "team"},
		{Key: "insiders", Owner: "team", Include: []string{"ann", "eve", "Ünïcödé 🎈"}, Exclude: []string{"eve"}, If: &pro},
		{Key: "strangers", Owner: "team", Exclude: []string{"user-3"}, If: &flyball.Condition{Not: &insider}},
		{Key: "nested", Owner: "team", Include: []string{"user-5"}, If: &nested},
	}
}

// goldenStructures returns a flag for everything but operators.
func goldenStructures() []flyball.RulesetFlag {
	doc := story()
	var flags []flyball.RulesetFlag
	add := func(key string, changes ...change) {
		f := story(changes...).Flags[0]
		f.Key, f.Flag = key, key // the seed stays: all are on one ring
		flags = append(flags, f)
	}
	when := func(c flyball.Condition) change {
		return func(f *flyball.RulesetFlag) {
			f.Rules = append(f.Rules, flyball.Rule{ID: fmt.Sprint("rule-", len(f.Rules)), If: c, Serve: on})
		}
	}
	thirds := func(by string) flyball.Serve {
		return flyball.Serve{Split: &flyball.Split{By: by, Weights: []flyball.Weight{{Variant: "on", PPM: 333_333}, {Variant: "off", PPM: 333_333}, {Variant: "dim", PPM: 333_334}}}}
	}
	add("team.static")
	add("team.killed-split", byDefault(thirds("")), killed)
	add("team.killed-rollout", rolledOut(flyball.PPM), needs("team.off", "on"), killed)
	add("team.dark", canada(on), needs("team.off", "on"), disabled)
	add("team.dark-and-killed", disabled, killed)
	for _, ppm := range []int{0, 1, 50_000, 999_999, flyball.PPM} {
		add(fmt.Sprintf("team.split-%d", ppm), byDefault(split("on", ppm, "off", flyball.PPM-ppm)))
		add(fmt.Sprintf("team.rollout-%d", ppm), rolledOut(ppm))
	}
	for name, by := range map[string]string{"key": "", "named-key": "targetingKey", "account": "account.id", "boolean": "account.beta", "kind": "targetingKind", "map": "account", "cyrillic": "ключ"} {
		add("team.thirds-by-"+name, byDefault(thirds(by)))
		add("team.rule-thirds-by-"+name, canada(thirds(by)))
		if by != "" {
			add("team.rollout-by-"+name, rolledOut(500_000, func(o *flyball.Overlay) { o.Unit = by }))
		}
	}
	add("team.dated-from", canada(on), dated(at(noon), nil))
	add("team.dated-until", canada(on), dated(nil, at(noon)))
	add("team.dated-instant", canada(on), dated(at(noon), at(noon.Add(time.Microsecond))))
	add("team.leased", rolledOut(500_000, leased(noon)))
	add("team.leased-by-account", rolledOut(flyball.PPM, byAccount, leased(noon)))
	add("team.leased-dated", canada(off), dated(nil, at(noon)), rolledOut(flyball.PPM, onRule, leased(noon.Add(time.Microsecond))))
	add("team.rollout-on-rule", canada(off), rolledOut(50_000, onRule), byDefault(on))
	add("team.rollout-behind-rule", canada(on), rolledOut(50_000))
	add("team.rollout-second-rule", when(is("plan", flyball.OpIn, "pro")), canada(off), rolledOut(50_000, onRule))
	add("team.needs-on", needs("team.on", "on"))
	add("team.needs-off", needs("team.on", "off"), canada(on))
	add("team.needs-killed", needs("team.killed", "off"), canada(on))
	add("team.needs-disabled", needs("team.disabled", "off"))
	add("team.needs-split", needs("team.split", "on"), byDefault(on))
	add("team.needs-ramp", needs("team.ramp", "on"), byDefault(on))
	add("team.needs-ramp-and-ramps", needs("team.ramp", "on"), rolledOut(50_000, func(o *flyball.Overlay) { o.ID = "ro-2" }))
	add("team.needs-chain", needs("team.needs-ramp-and-ramps", "on"), needs("team.thirds-by-key", "on"), byDefault(on))
	for _, s := range goldenSegments() {
		add("team.in-"+s.Key, when(flyball.Condition{Segment: s.Key}))
		add("team.out-of-"+s.Key, when(flyball.Condition{Not: &flyball.Condition{Segment: s.Key}}))
	}
	exists := func(path string) flyball.Condition { return is(path, flyball.OpExists, true) }
	for i, path := range []string{"targetingKey", "targetingKind", "account", "account.id", "device.os.name", `["dotted.name"]`, `device["os"]`, "ключ", "country"} {
		add(fmt.Sprintf("team.path-%d", i), when(exists(path)))
	}
	gone := exists("gone")
	deep := flyball.Condition{All: []flyball.Condition{{Any: []flyball.Condition{{Not: &flyball.Condition{Any: []flyball.Condition{gone, exists("plan")}}}, {Segment: "nested"}}}, exists("targetingKey")}}
	add("team.five-deep", when(deep))
	add("team.rules-in-order", when(flyball.Condition{All: []flyball.Condition{exists("plan"), gone}}), when(exists("plan")), when(exists("country")), when(deep), byDefault(split("dim", 1, "off", 999_999)))
	return append(append(doc.Flags[1:], flags...), goldenTypes()...)
}

// goldenTypes returns flags whose values some languages read with loss.
func goldenTypes() (flags []flyball.RulesetFlag) {
	for i, v := range []struct {
		of    flyball.FlagType
		value any
	}{
		{flyball.TypeString, ""}, {flyball.TypeString, "日本語 🎈 e\u0301 \u0000"}, {flyball.TypeInteger, int64(0)}, {flyball.TypeInteger, int64(1<<53 + 1)},
		{flyball.TypeInteger, int64(math.MaxInt64)}, {flyball.TypeInteger, int64(math.MinInt64)}, {flyball.TypeNumber, 0.1}, {flyball.TypeNumber, 5e-324}, {flyball.TypeNumber, math.MaxFloat64},
		{flyball.TypeNumber, int64(3)}, {flyball.TypeNumber, -0.5}, {flyball.TypeBoolean, false}, {flyball.TypeObject, map[string]any{}}, {flyball.TypeObject, []any{}},
		{flyball.TypeObject, map[string]any{"large": int64(1<<53 + 1), "float": 0.1, "null": nil, "": "empty", "list": []any{nil, []any{}, map[string]any{"deep": true}}}},
		{flyball.TypeObject, []any{int64(1), 1.5, "x", nil, false, map[string]any{}}},
	} {
		f := newFlag(fmt.Sprintf("team.type-%02d", i))
		f.Type, f.Variants, f.SafeVariant, f.OffVariant = v.of, flyball.Variants{"on": v.value}, "on", "on"
		flags = append(flags, f)
	}
	return flags
}
