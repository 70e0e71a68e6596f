package eval_test

import (
	"encoding/json"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

// holds says whether a condition holds for a context.
func holds(t *testing.T, c flyball.Condition, ec *flyball.EvaluationContext, segments ...flyball.Segment) bool {
	t.Helper()
	f := newFlag("team.flag")
	f.Default.Variant = "off"
	f.Rules = []flyball.Rule{{ID: "r", If: c, Serve: flyball.Serve{Variant: "on"}}}
	doc := ruleset(f)
	doc.Segments = segments
	return compile(t, doc).Evaluate("team.flag", ec, time.Now, nil).Variant == "on"
}

type plan string

func TestOperators(t *testing.T) {
	at := time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		op     flyball.Op
		values flyball.Values
		given  any
		want   bool
	}{
		{"in: an equal string", flyball.OpIn, flyball.Values{"CA", "US"}, "US", true},
		{"in: another string", flyball.OpIn, flyball.Values{"CA", "US"}, "us", false},
		{"in: one of many strings", flyball.OpIn, many("k", 50), "k49", true},
		{"in: none of many strings", flyball.OpIn, many("k", 50), "k50", false},
		{"in: a string of a named type", flyball.OpIn, flyball.Values{"pro"}, plan("pro"), true},
		{"in: an integer equals the same number as a fraction", flyball.OpIn, flyball.Values{int64(42)}, 42.0, true},
		{"in: a fraction equals the same number as an integer", flyball.OpIn, flyball.Values{42.0}, int32(42), true},
		{"in: numbers of any Go type", flyball.OpIn, flyball.Values{int64(7)}, uint8(7), true},
		{"in: a large integer keeps every digit", flyball.OpIn, flyball.Values{int64(1<<53 + 1)}, int64(1 << 53), false},
		{"in: a large integer equals itself", flyball.OpIn, flyball.Values{int64(1<<53 + 1)}, int64(1<<53 + 1), true},
		{"in: a double near a large integer is not it", flyball.OpIn, flyball.Values{int64(1<<53 + 1)}, float64(1 << 53), false},
		{"in: a fraction", flyball.OpIn, flyball.Values{0.5, 1.5}, 1.5, true},
		{"in: minus zero is zero", flyball.OpIn, flyball.Values{int64(0)}, math.Copysign(0, -1), true},
		{"in: not a number equals nothing", flyball.OpIn, flyball.Values{0.0}, math.NaN(), false},
		{"in: a digit string is no number", flyball.OpIn, flyball.Values{int64(42)}, "42", false},
		{"in: a number is no digit string", flyball.OpIn, flyball.Values{"42"}, 42, false},
		{"in: true", flyball.OpIn, flyball.Values{true}, true, true},
		{"in: false is not true", flyball.OpIn, flyball.Values{true}, false, false},
		{"in: true is not 1", flyball.OpIn, flyball.Values{int64(1)}, true, false},
		{"in: a list shares one", flyball.OpIn, flyball.Values{"a", "b"}, []any{"x", "b"}, true},
		{"in: a list shares none", flyball.OpIn, flyball.Values{"a", "b"}, []any{"x", 1, nil}, false},
		{"in: a list of strings shares one", flyball.OpIn, flyball.Values{"a", "b"}, []string{"x", "a"}, true},
		{"in: a list of numbers shares one", flyball.OpIn, flyball.Values{int64(3)}, []int{1, 2, 3}, true},
		{"in: a list of a named type shares one", flyball.OpIn, flyball.Values{"pro"}, []plan{"pro"}, true},
		{"in: a list in a list is no value", flyball.OpIn, flyball.Values{"a"}, []any{[]any{"a"}}, false},
		{"in: an empty list shares none", flyball.OpIn, flyball.Values{"a"}, []any{}, false},
		{"in: a map is no value", flyball.OpIn, flyball.Values{"a"}, map[string]any{"a": "a"}, false},
		{"startsWith", flyball.OpStartsWith, flyball.Values{"x", "user-"}, "user-1", true},
		{"startsWith: another start", flyball.OpStartsWith, flyball.Values{"user-"}, "a user-1", false},
		{"startsWith: a number has none", flyball.OpStartsWith, flyball.Values{"4"}, 42, false},
		{"startsWith: a list has none", flyball.OpStartsWith, flyball.Values{"a"}, []string{"a"}, false},
		{"endsWith", flyball.OpEndsWith, flyball.Values{"@example.com"}, "ann@example.com", true},
		{"endsWith: another end", flyball.OpEndsWith, flyball.Values{"@example.com"}, "ann@example.com.evil.org", false},
		{"contains", flyball.OpContains, flyball.Values{"beta"}, "a-beta-b", true},
		{"contains: not there", flyball.OpContains, flyball.Values{"beta"}, "a-Beta-b", false},
		{"matches", flyball.OpMatches, flyball.Values{`^v\d+$`, `^w`}, "w1", true},
		{"matches: not", flyball.OpMatches, flyball.Values{`^v\d+$`}, "v1x", false},
		{"matches: an input at the limit", flyball.OpMatches, flyball.Values{"^a+$"}, strings.Repeat("a", 1024), true},
		{"matches: an input over the limit never does", flyball.OpMatches, flyball.Values{"^a+$"}, strings.Repeat("a", 1025), false},
		{"lt", flyball.OpLT, flyball.Values{int64(18)}, 17.9, true},
		{"lt: equal", flyball.OpLT, flyball.Values{int64(18)}, 18, false},
		{"lt: alternatives need one", flyball.OpLT, flyball.Values{int64(1), int64(20), int64(5)}, 18, true},
		{"lt: a digit string is no number", flyball.OpLT, flyball.Values{int64(18)}, "17", false},
		{"lt: a large integer keeps every digit", flyball.OpLT, flyball.Values{int64(math.MaxInt64)}, int64(math.MaxInt64 - 1), true},
		{"lt: not a number", flyball.OpLT, flyball.Values{int64(18)}, math.NaN(), false},
		{"lte: equal", flyball.OpLTE, flyball.Values{int64(18)}, 18.0, true},
		{"lte: above", flyball.OpLTE, flyball.Values{int64(18)}, 18.5, false},
		{"gt", flyball.OpGT, flyball.Values{int64(18)}, 18.5, true},
		{"gt: equal", flyball.OpGT, flyball.Values{18.0}, 18, false},
		{"gt: alternatives need one", flyball.OpGT, flyball.Values{int64(50), int64(10)}, 18, true},
		{"gt: above all integers", flyball.OpGT, flyball.Values{int64(math.MaxInt64)}, uint64(math.MaxUint64), true},
		{"gte: equal", flyball.OpGTE, flyball.Values{int64(18)}, 18, true},
		{"gte: below", flyball.OpGTE, flyball.Values{int64(18)}, 17, false},
		{"before: a string", flyball.OpBefore, flyball.Values{"2026-11-21T19:00:00Z"}, "2026-11-21T19:59:59+01:00", true},
		{"before: the same moment", flyball.OpBefore, flyball.Values{"2026-11-21T19:00:00Z"}, "2026-11-21T20:00:00+01:00", false},
		{"before: epoch seconds", flyball.OpBefore, flyball.Values{"2026-11-21T19:00:00Z"}, at.Unix() - 1, true},
		{"before: a time", flyball.OpBefore, flyball.Values{"2026-11-21T19:00:00Z"}, at.Add(-time.Microsecond), true},
		{"before: no time at all", flyball.OpBefore, flyball.Values{"2026-11-21T19:00:00Z"}, "yesterday, or so I think", false},
		{"after: alternatives need one", flyball.OpAfter, flyball.Values{"2030-01-01T00:00:00Z", float64(at.Unix())}, at.Add(time.Second), true},
		{"after: the same moment", flyball.OpAfter, flyball.Values{"2026-11-21T19:00:00Z"}, at, false},
		{"after: a boolean is no time", flyball.OpAfter, flyball.Values{"2026-11-21T19:00:00Z"}, true, false},
		{"semverEq: build and v are nothing", flyball.OpSemverEq, flyball.Values{"1.2.0"}, "v1.2+build.5", true},
		{"semverEq: a pre-release is another", flyball.OpSemverEq, flyball.Values{"1.2.0"}, "1.2.0-rc.1", false},
		{"semverLt: a pre-release comes first", flyball.OpSemverLT, flyball.Values{"1.2.0"}, "1.2.0-rc.1", true},
		{"semverLt: by number, not by letter", flyball.OpSemverLT, flyball.Values{"1.10.0"}, "1.9.0", true},
		{"semverLte", flyball.OpSemverLTE, flyball.Values{"1.10.0"}, "1.10", true},
		{"semverGt", flyball.OpSemverGT, flyball.Values{"9.0.0", "1.10.0"}, "1.10.1", true},
		{"semverGt: equal", flyball.OpSemverGT, flyball.Values{"1.10.0"}, "1.10.0", false},
		{"semverGte", flyball.OpSemverGTE, flyball.Values{"2"}, "2.0.0", true},
		{"semverGte: no version", flyball.OpSemverGTE, flyball.Values{"0.0.0"}, "latest", false},
		{"semverGte: a number is no version", flyball.OpSemverGTE, flyball.Values{"1.0.0"}, 2.0, false},
		{"cidr", flyball.OpCIDR, flyball.Values{"192.168.0.0/16", "10.0.0.0/8"}, "10.1.2.3", true},
		{"cidr: outside", flyball.OpCIDR, flyball.Values{"10.0.0.0/8"}, "11.0.0.1", false},
		{"cidr: an address alone", flyball.OpCIDR, flyball.Values{"10.0.0.1"}, "10.0.0.1", true},
		{"cidr: IPv4 in IPv6 form", flyball.OpCIDR, flyball.Values{"10.0.0.0/8"}, "::ffff:10.1.2.3", true},
		{"cidr: a prefix in IPv6 form", flyball.OpCIDR, flyball.Values{"::ffff:10.0.0.0/104"}, "10.1.2.3", true},
		{"cidr: IPv6 with a zone", flyball.OpCIDR, flyball.Values{"fe80::/10"}, "fe80::1%eth0", true},
		{"cidr: no address", flyball.OpCIDR, flyball.Values{"10.0.0.0/8"}, "10.1.2", false},
		{"cidr: another type", flyball.OpCIDR, flyball.Values{"10.0.0.0/8"}, netip.MustParseAddr("10.1.2.3"), false},
		{"exists", flyball.OpExists, flyball.Values{true}, "", true},
		{"exists: false is there", flyball.OpExists, flyball.Values{true}, false, true},
		{"exists: null is not there", flyball.OpExists, flyball.Values{true}, nil, false},
		{"exists: a nil pointer is not there", flyball.OpExists, flyball.Values{false}, (*int)(nil), true},
		{"exists: wished away, but there", flyball.OpExists, flyball.Values{false}, "x", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ec := &flyball.EvaluationContext{Attributes: flyball.Attributes{"a": tt.given, "deep": map[string]any{"er": tt.given}}}
			test := is("a", tt.op, tt.values...)
			if got := holds(t, test, ec); got != tt.want {
				t.Errorf("%v %s %v: %v, want %v", tt.given, tt.op, tt.values, got, tt.want)
			}
			if got := holds(t, is("deep.er", tt.op, tt.values...), ec); got != tt.want {
				t.Errorf("nested: %v %s %v: %v, want %v", tt.given, tt.op, tt.values, got, tt.want)
			}
			if got := holds(t, flyball.Condition{Not: &test}, ec); got == tt.want {
				t.Errorf("not %v %s %v: %v, want %v", tt.given, tt.op, tt.values, got, !tt.want)
			}
		})
	}
}

func many(prefix string, n int) flyball.Values {
	var v flyball.Values
	for i := range n {
		v = append(v, prefix+string(rune('0'+i/10))+string(rune('0'+i%10)))
	}
	return v
}

// operands returns values for every operator that almost anything meets.
func operands() map[flyball.Op]flyball.Values {
	return map[flyball.Op]flyball.Values{
		flyball.OpIn: {"", false, int64(0)}, flyball.OpStartsWith: {""}, flyball.OpEndsWith: {""}, flyball.OpContains: {""},
		flyball.OpMatches: {".*"}, flyball.OpLT: {int64(5)}, flyball.OpLTE: {int64(5)}, flyball.OpGT: {int64(-5)}, flyball.OpGTE: {int64(0)},
		flyball.OpBefore: {int64(5)}, flyball.OpAfter: {int64(-5)}, flyball.OpSemverEq: {"0"}, flyball.OpSemverLT: {"1"},
		flyball.OpSemverLTE: {"1"}, flyball.OpSemverGT: {"0"}, flyball.OpSemverGTE: {"0"}, flyball.OpCIDR: {"::/0", "0.0.0.0/0"},
		flyball.OpExists: {true},
	}
}

// A test on an attribute that the context lacks is false, and its negation
// true, whatever the operator.
func TestMissingAttributesFailEveryTest(t *testing.T) {
	for op, values := range operands() {
		for _, path := range []string{"gone", "a.gone", "gone.a", `["a.b"]`, flyball.AttributeTargetingKey, flyball.AttributeTargetingKind} {
			test := is(path, op, values...)
			ec := &flyball.EvaluationContext{Attributes: flyball.Attributes{"a": "text"}}
			if holds(t, test, ec) || holds(t, test, nil) {
				t.Errorf("%s on %s holds without the attribute", op, path)
			}
			if !holds(t, flyball.Condition{Not: &test}, ec) {
				t.Errorf("not %s on %s does not hold without the attribute", op, path)
			}
		}
	}
}

func TestAttributePaths(t *testing.T) {
	ec := &flyball.EvaluationContext{TargetingKey: "user-1", Attributes: flyball.Attributes{
		"plan": "pro", "dotted.name": "yes", flyball.AttributeTargetingKind: "user", flyball.AttributeTargetingKey: "ignored",
		"device": map[string]any{"os": "ios", "app": flyball.Attributes{"version": "1.2.3"}, "a.b": map[string]string{"c": "d"}},
		"labels": map[plan]plan{"tier": "gold"},
	}}
	for path, value := range map[string]string{
		"plan": "pro", "device.os": "ios", "device.app.version": "1.2.3", `["dotted.name"]`: "yes", `device["a.b"].c`: "d",
		`["device"]["os"]`: "ios", "labels.tier": "gold", "targetingKey": "user-1", `["targetingKey"]`: "user-1", "targetingKind": "user",
	} {
		if !holds(t, is(path, flyball.OpIn, value), ec) {
			t.Errorf("%s is not %q", path, value)
		}
		if holds(t, is(path, flyball.OpIn, value+"x"), ec) {
			t.Errorf("%s is %q", path, value+"x")
		}
	}
}

func TestConditionsNest(t *testing.T) {
	yes, no := is("yes", flyball.OpExists, true), is("no", flyball.OpExists, true)
	all := func(c ...flyball.Condition) flyball.Condition { return flyball.Condition{All: c} }
	any := func(c ...flyball.Condition) flyball.Condition { return flyball.Condition{Any: c} }
	not := func(c flyball.Condition) flyball.Condition { return flyball.Condition{Not: &c} }
	ec := &flyball.EvaluationContext{Attributes: flyball.Attributes{"yes": 1}}
	for _, tt := range []struct {
		name string
		c    flyball.Condition
		want bool
	}{
		{"all of one", all(yes), true},
		{"all needs every one", all(yes, no), false},
		{"any needs one", any(no, yes), true},
		{"any of none that holds", any(no, no), false},
		{"not", not(no), true},
		{"not not", not(not(yes)), true},
		{"five deep", all(any(not(any(no))), yes), true},
		{"none of", not(any(no, yes)), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := holds(t, tt.c, ec); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestSegments(t *testing.T) {
	paying := is("plan", flyball.OpIn, "pro")
	both := flyball.Condition{All: []flyball.Condition{{Segment: "listed"}, {Not: &flyball.Condition{Segment: "paying"}}}}
	segments := []flyball.Segment{
		{Key: "listed", Owner: "team", Include: []string{"ann", "bob"}, Exclude: []string{"bob", "eve"}, If: &paying},
		{Key: "paying", Owner: "team", If: &paying},
		{Key: "nested", Owner: "team", If: &both},
		{Key: "empty", Owner: "team"},
	}
	for _, tt := range []struct {
		name, segment, key, plan string
		want                     bool
	}{
		{"included", "listed", "ann", "", true},
		{"excluded beats included", "listed", "bob", "", false},
		{"excluded beats the condition", "listed", "eve", "pro", false},
		{"the condition decides for others", "listed", "zoe", "pro", true},
		{"and keeps others out", "listed", "zoe", "free", false},
		{"no key, but the condition holds", "listed", "", "pro", true},
		{"no key and no condition", "listed", "", "", false},
		{"a segment of segments", "nested", "ann", "free", true},
		{"a segment of segments, the negated one holds", "nested", "zoe", "pro", false},
		{"an empty segment holds nobody", "empty", "ann", "pro", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ec := &flyball.EvaluationContext{TargetingKey: tt.key, Attributes: flyball.Attributes{"plan": tt.plan}}
			if got := holds(t, flyball.Condition{Segment: tt.segment}, ec, segments...); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			// Asked twice in one evaluation, and once for the flag's own ring.
			twice := flyball.Condition{All: []flyball.Condition{{Segment: tt.segment}, {Segment: tt.segment}}}
			if got := holds(t, twice, ec, segments...); got != tt.want {
				t.Errorf("asked twice: got %v, want %v", got, tt.want)
			}
		})
	}
}

// FuzzCondition reads any JSON as a condition: it is refused with a reason, or
// it compiles and evaluates for any context.
func FuzzCondition(f *testing.F) {
	for _, seed := range []string{
		`{"attribute":"a","op":"in","values":["x",1,true]}`, `{"all":[{"any":[{"not":{"segment":"beta-testers"}}]}]}`,
		`{"attribute":"a.b","op":"matches","values":["^(a|b)+$"]}`, `{"attribute":"[\"a.b\"]","op":"exists","values":[false]}`,
		`{"attribute":"ip","op":"cidr","values":["10.0.0.0/8"]}`, `{"attribute":"v","op":"semverGte","values":["1.2"]}`,
		`{"attribute":"t","op":"before","values":[1e300]}`, `{"attribute":"t","op":"in","values":null}`, `{"all":[]}`, `{}`, `{"all":null}`,
		`{"attribute":"[\"","op":"in","values":[1]}`, `{"attribute":"a","op":"madeUp","values":[1]}`,
	} {
		f.Add([]byte(seed), "x", 1.5)
	}
	f.Fuzz(func(t *testing.T, data []byte, s string, n float64) {
		var c flyball.Condition
		if json.Unmarshal(data, &c) != nil {
			return
		}
		not := flyball.Condition{Not: &c}
		if c.Validate() != nil || not.Validate() != nil || len(c.Segments(nil)) > 0 {
			return
		}
		for _, v := range []any{s, n, int64(n), []any{s, n, nil}, map[string]any{s: n}, nil, true, time.Unix(0, int64(n))} {
			ec := &flyball.EvaluationContext{TargetingKey: s, Attributes: flyball.Attributes{"a": v, "t": v, "v": v, "ip": v, s: v}}
			if holds(t, c, ec) == holds(t, not, ec) {
				t.Fatalf("%s holds as its own negation does for %v", data, v)
			}
		}
	})
}
