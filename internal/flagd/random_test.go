package flagd_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
)

// A dice makes random rulesets of every shape that flagd can express, and
// contexts in which all of their parts matter.
type dice struct {
	*rand.Rand
	now time.Time
}

func pick[T any](d dice, of ...T) T { return of[d.IntN(len(of))] }

func (d dice) chance(percent int) bool { return d.IntN(100) < percent }

var (
	units = []string{"user-1", "user-2", "a b", `quote"d`, `back\slash`, "$&", "$$1", "{}", "0", "false", "null", "-", "a:b", "<&>", "~!@#%^*()"}
	texts = []string{"CA", "US", "pro", "free", "", "0", "5", "true", "null", "a b", `q"uote`, "$&", "é", "naïve", "日本", "x.y", "😀", "4", "[object Object]"}
	// those of the second row are versions to us and none to flagd, or look so
	versions = []string{"1.2.3", "v1.2.3", "1.2", "v1", "2", "1.2.3-beta.1", "1.2.3-beta.2+b", "1.2.3+b7", "10.0.0", "01.2.3", "1.2.3.4", "1.2.x", " 1.2.3", "1.2.3 ", "V1.2.3", "vv1.2.3", "v 1.2.3", "", "beta", "1.2.3-9007199254740993", "1.2.3-1.x", "v", "1.2.3\n", "v1.2.3-rc", "1.2.3-rc.01a",
		"1.2.3-", "1.2.3-01", "1.2-beta", "1+b", "v2-rc.1", "9007199254740993.0.0", "1.2.3.4-beta", "10.0.19045.380312", "1.2.20240115123456789"}
	readable = 25
	numbers  = []any{int64(0), int64(1), int64(-1), int64(5), int64(18), 0.5, -2.25, 1e-7, 1e6, int64(1e15), 5.0, int64(1<<53 - 1), 3e300}
	// large are integers that JavaScript cannot tell from their neighbours
	large = []any{int64(1 << 53), int64(1<<53 + 1), int64(-1<<53 - 1), int64(1<<62 + 1)}
	paths = []string{"country", "plan", "age", "score", "beta", "groups", "device.os", "device.memory", "account.id", "account.name", "a.b.c", "a.b.c.d", "app-version", "ünï cöde", "missing", "toString", "device.toString", "groups.name", "targetingKind", `["quoted"]`, "device"}
)

func (d dice) unit() string {
	if d.chance(60) {
		return fmt.Sprint("user-", d.IntN(1_000_000))
	}
	return pick(d, units...)
}

func (d dice) scalar() any {
	switch d.IntN(4) {
	case 0:
		return d.chance(50)
	case 1:
		return pick(d, numbers...)
	default:
		return pick(d, texts...)
	}
}

// value is what an attribute of a context may hold: anything.
func (d dice) value() any {
	switch n := d.IntN(100); {
	case n < 70:
		return d.scalar()
	case n < 80:
		all := []any{}
		for range d.IntN(4) {
			all = append(all, d.value())
		}
		return all
	case n < 85:
		return nil
	case n < 90:
		return map[string]any{}
	case n < 92:
		return pick(d, large...)
	case n < 96:
		return pick(d, versions...)
	default:
		return map[string]any{pick(d, "os", "name", "b", "0"): d.scalar()}
	}
}

// attributes of a context, as JSON tells them.
func (d dice) attributes() map[string]any {
	all := map[string]any{}
	for _, name := range []string{"country", "plan", "age", "score", "beta", "groups", "app-version", "ünï cöde", "targetingKind", "quoted"} {
		if d.chance(80) {
			all[name] = d.value()
		}
	}
	if d.chance(90) {
		all["app-version"] = pick(d, versions[:readable]...)
		if d.chance(8) {
			all["app-version"] = pick(d, versions...)
		}
	}
	nest := func(name string, inner ...string) {
		switch m := map[string]any{}; {
		case d.chance(12):
			all[name] = d.value()
		case d.chance(90):
			for _, i := range inner {
				if d.chance(80) {
					m[i] = d.value()
					if i == "id" || i == "memory" {
						m[i] = asUnit(m[i])
					}
				}
			}
			all[name] = m
		}
	}
	all["plan"], all["age"], all["beta"] = asUnit(all["plan"]), asUnit(all["age"]), asUnit(all["beta"])
	nest("device", "os", "memory")
	nest("account", "id", "name")
	nest("a", "b")
	if m, ok := all["a"].(map[string]any); ok && d.chance(80) {
		m["b"] = map[string]any{"c": d.value()}
		if d.chance(50) {
			m["b"] = map[string]any{"c": map[string]any{"d": d.value()}}
		}
	}
	return all
}

// asUnit keeps to ASCII, beyond which JavaScript's hash is another.
func asUnit(v any) any {
	if s, ok := v.(string); ok && strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }) {
		return "gold"
	}
	return v
}

func (d dice) context() map[string]any {
	c := d.attributes()
	switch d.IntN(20) {
	case 0:
	case 1:
		c["targetingKey"] = ""
	default:
		c["targetingKey"] = d.unit()
	}
	return c
}

func (d dice) values(one func() any) flyball.Values {
	n := 1 + d.IntN(3)
	if d.chance(10) {
		n = 1 + d.IntN(80)
	}
	var all flyball.Values
	for range n {
		all = append(all, one())
	}
	return all
}

func (d dice) test() flyball.Condition {
	c := flyball.Condition{Attribute: pick(d, paths...)}
	if d.chance(10) {
		c.Attribute = "targetingKey"
	}
	text := func() any { return pick(d, texts...) }
	switch d.IntN(12) {
	case 0, 1, 2:
		c.Op, c.Values = flyball.OpIn, d.values(d.scalar)
		if c.Attribute == "targetingKey" {
			c.Values = d.values(func() any { return d.unit() })
		}
	case 3:
		c.Op, c.Values = flyball.OpStartsWith, d.values(text)
	case 4:
		c.Op, c.Values = flyball.OpEndsWith, d.values(text)
	case 5:
		c.Op, c.Values = flyball.OpContains, d.values(text)
	case 6, 7:
		c.Op = pick(d, flyball.OpLT, flyball.OpLTE, flyball.OpGT, flyball.OpGTE)
		c.Values = d.values(func() any { return pick(d, numbers...) })
	case 8:
		c.Op, c.Values = flyball.OpExists, flyball.Values{d.chance(50)}
	default:
		c.Op = pick(d, flyball.OpSemverEq, flyball.OpSemverLT, flyball.OpSemverLTE, flyball.OpSemverGT, flyball.OpSemverGTE)
		c.Values = d.values(func() any {
			return pick(d, "1.2.3", "v1.2.3", "1.2", "v1", "2", "1.2.3-beta.1", "1.2.3-beta.2", "1.2.3-2", "1.2-beta", "v1-rc", "1.2.3+b", "10", "0")
		})
		if d.chance(80) {
			c.Attribute = "app-version"
		}
	}
	return c
}

func (d dice) condition(depth int, segments []flyball.Segment) flyball.Condition {
	n := d.IntN(10)
	if depth == 0 && n < 6 {
		n = 9
	}
	parts := func() (all []flyball.Condition) {
		for range 1 + d.IntN(3) {
			all = append(all, d.condition(depth-1, segments))
		}
		return all
	}
	switch {
	case n < 2:
		return flyball.Condition{All: parts()}
	case n < 4:
		return flyball.Condition{Any: parts()}
	case n < 6:
		c := d.condition(depth-1, segments)
		return flyball.Condition{Not: &c}
	case n < 7 && len(segments) > 0:
		return flyball.Condition{Segment: pick(d, segments...).Key}
	}
	return d.test()
}

func (d dice) segment(i int, before []flyball.Segment) flyball.Segment {
	s := flyball.Segment{Key: fmt.Sprint("segment.", i), Owner: "team"}
	list := func() (keys []string) {
		for range d.IntN(4) * d.IntN(20) {
			keys = append(keys, d.unit())
		}
		return keys
	}
	s.Include, s.Exclude = list(), list()
	if d.chance(75) {
		c := d.condition(2, before)
		s.If = &c
	}
	return s
}

func (d dice) variants() (flyball.FlagType, flyball.Variants) {
	switch d.IntN(5) {
	case 0:
		return flyball.TypeBoolean, flyball.Variants{"on": true, "off": false, "c": true}
	case 1:
		return flyball.TypeString, flyball.Variants{"on": "é\"<&>", "off": "", "c": "null"}
	case 2:
		return flyball.TypeInteger, flyball.Variants{"on": int64(1<<53 - 1), "off": int64(0), "c": int64(-7)}
	case 3:
		return flyball.TypeNumber, flyball.Variants{"on": 0.1, "off": 1e-300, "c": int64(3)}
	}
	return flyball.TypeObject, flyball.Variants{
		"on": map[string]any{"a": []any{int64(1), nil, "x"}, "$ref": "#/b", "b": map[string]any{}}, "off": map[string]any{}, "c": map[string]any{"null": nil},
	}
}

func (d dice) by() string {
	return pick(d, "", "targetingKey", "targetingKey", "account.id", "plan", "age", "beta", "device.memory")
}

func (d dice) serve() flyball.Serve {
	if d.chance(40) {
		return flyball.Serve{Variant: pick(d, "on", "off", "c")}
	}
	names := []string{"on", "off", "c"}
	d.Shuffle(3, func(i, j int) { names[i], names[j] = names[j], names[i] })
	s, rest := &flyball.Split{By: d.by()}, flyball.PPM
	for i, n := 0, 1+d.IntN(3); i < n; i++ {
		ppm := rest
		if i < n-1 {
			ppm = d.IntN(rest + 1)
		}
		s.Weights, rest = append(s.Weights, flyball.Weight{Variant: names[i], PPM: ppm}), rest-ppm
	}
	return flyball.Serve{Split: s}
}

func (d dice) date() *flyball.Time {
	return &flyball.Time{Time: d.now.Add(time.Duration(d.IntN(7)-3) * time.Second)}
}

func (d dice) rule(i int, segments []flyball.Segment) flyball.Rule {
	r := flyball.Rule{ID: fmt.Sprint("rule-", i), If: d.condition(3, segments), Serve: d.serve()}
	if d.chance(20) {
		r.NotBefore = d.date()
	}
	if d.chance(20) {
		r.NotAfter = d.date()
		if r.NotBefore != nil && !r.NotBefore.Before(r.NotAfter.Time) {
			r.NotAfter = &flyball.Time{Time: r.NotBefore.Add(time.Second)}
		}
	}
	return r
}

func (d dice) flag(i int, before []flyball.RulesetFlag, segments []flyball.Segment) flyball.RulesetFlag {
	f := flyball.RulesetFlag{Key: fmt.Sprint("team.flag-", i), SafeVariant: pick(d, "on", "off", "c")}
	f.Type, f.Variants = d.variants()
	f.FlagConfig = flyball.FlagConfig{
		Flag: f.Key, Enabled: !d.chance(5), OffVariant: pick(d, "on", "off", "c"),
		Seed: pick(d, f.Key, "shared", `se"ed <&>`), HashVersion: flyball.HashVersion, Default: d.serve(),
	}
	if d.chance(4) {
		f.Killed = &flyball.Kill{At: d.now, By: "user:ann", Reason: "errors"}
	}
	for d.chance(25) && len(before) > 0 && len(f.Prerequisites) < 3 {
		f.Prerequisites = append(f.Prerequisites, flyball.Prerequisite{Flag: pick(d, before...).Key, Variant: pick(d, "on", "off", "c")})
	}
	for n := range d.IntN(5) {
		f.Rules = append(f.Rules, d.rule(n, segments))
	}
	if d.chance(30) {
		o := &flyball.Overlay{ID: "ro-1", Step: 1, Where: flyball.WhereDefault, Unit: d.by(), Treatment: "on", Control: "off", PPM: pick(d, 0, 100, 10_000, 500_000, d.IntN(flyball.PPM), flyball.PPM)}
		place := &f.Default
		if len(f.Rules) > 0 && d.chance(50) {
			r := &f.Rules[d.IntN(len(f.Rules))]
			o.Where, place = r.ID, &r.Serve
		}
		*place = flyball.Serve{Variant: o.Control}
		if d.chance(40) {
			o.NotAfter = d.date()
		}
		f.Rollout = o
	}
	return f
}

func (d dice) ruleset(flags int) flyball.Ruleset {
	rs := flyball.Ruleset{Environment: "production", Epoch: 1, Version: 7}
	for i := range 6 {
		rs.Segments = append(rs.Segments, d.segment(i, rs.Segments))
	}
	for i := range flags {
		rs.Flags = append(rs.Flags, d.flag(i, rs.Flags, rs.Segments))
	}
	return rs
}
