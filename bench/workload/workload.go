// Package workload is what is measured: a ruleset of 1,004 flags, users to
// evaluate them for, and W1 to W5, which say which flags for whom.
package workload

import (
	"fmt"
	"math/rand/v2"

	"github.com/flyballdev/flyball"
)

// The flags of the ruleset: 1,000 plain ones, and one of each other kind.
const (
	Environment = "production"
	Canada      = "bench.one.rule"
	Tenth       = "bench.one.split"
	TenRules    = "bench.ten.rules"
	Object      = "bench.one.object"
)

// Plain are the keys of the flags that are on and have no rules.
var Plain = func() (keys []string) {
	for n := range 1000 {
		keys = append(keys, fmt.Sprintf("team.domain.flag-%04d", n))
	}
	return keys
}()

// Everything are the keys of all 1,004 flags.
var Everything = append([]string{Canada, Object, Tenth, TenRules}, Plain...)

// A Kind says what a flag asks of an evaluator.
type Kind int

// The kinds of flags.
const (
	KindPlain  Kind = iota // on, without rules
	KindCanada             // one rule of two tests
	KindTenth              // a split of 10 %
	KindTen                // ten rules, three deep, and a segment
	KindObject             // plain, with an object for a value
)

// A Workload evaluates flags in turn for one user.
type Workload struct {
	Name, About string
	Kind        Kind
	Keys        []string // evaluated in turn: where there are many, none stays in the nearest cache
	User        *flyball.EvaluationContext
	Everywhere  bool    // every one of the 1,004 flags is of the kind; peers take no part
	AtMost      float64 // how much longer than the floor ours may take
}

// All are the workloads.
var All = []Workload{
	{Name: "W1", About: "boolean, on, no rules; 1,000 in turn", Keys: Plain, User: Ann, AtMost: 3.5}, // the aim is 2.5
	{Name: "W2", About: "one rule of two tests, which match", Kind: KindCanada, Keys: []string{Canada}, User: Ann, AtMost: 2.5},
	{Name: "W2 miss", About: "the same, which do not", Kind: KindCanada, Keys: []string{Canada}, User: stranger, AtMost: 2.5},
	{Name: "W3", About: "a split of 10 %", Kind: KindTenth, Keys: []string{Tenth}, User: Ann, AtMost: 2.5},
	{Name: "W4", About: "ten rules, three deep, a segment of 1,000; the last matches", Kind: KindTen, Keys: []string{TenRules}, User: Ann, AtMost: 2.5},
	{Name: "W5", About: "an object", Kind: KindObject, Keys: []string{Object}, User: Ann, AtMost: 3.5}, // the aim is 2.5
	{Name: "W2 ×1,004", About: "as W2, 1,004 such flags in turn; W3 to W5 alike", Kind: KindCanada, Keys: Everything, User: Ann, Everywhere: true},
	{Name: "W3 ×1,004", Kind: KindTenth, Keys: Everything, User: Ann, Everywhere: true},
	{Name: "W4 ×1,004", Kind: KindTen, Keys: Everything, User: Ann, Everywhere: true},
	{Name: "W5 ×1,004", Kind: KindObject, Keys: Everything, User: Ann, Everywhere: true},
}

// Ann is the user for whom flags are evaluated.
var Ann = &flyball.EvaluationContext{TargetingKey: "user-4711", Attributes: flyball.Attributes{
	"country": "CA", "email": "ann@mycompany.com", "plan": "pro", "age": 42, "os": "ios", "version": "2.3.1",
}}

var stranger = &flyball.EvaluationContext{TargetingKey: "user-4711", Attributes: flyball.Attributes{
	"country": "US", "email": "ann@mycompany.com", "plan": "pro", "age": 42, "os": "ios", "version": "2.3.1",
}}

// Users are n users who differ in all that rules ask for. Each has every
// attribute: evaluators differ about those that are missing.
func Users(n int) []*flyball.EvaluationContext {
	r := rand.New(rand.NewPCG(1, 2))
	users := []*flyball.EvaluationContext{Ann, stranger}
	for len(users) < n {
		key := fmt.Sprintf("user-%d", r.IntN(1_000_000))
		if r.IntN(4) == 0 {
			key = fmt.Sprintf("beta-user-%d", r.IntN(1100)) // some of them are no tester either
		}
		users = append(users, &flyball.EvaluationContext{TargetingKey: key, Attributes: flyball.Attributes{
			"country": pick(r, "CA", "US", "ZZ", "YY", "DE"),
			"email":   pick(r, "ann", "bob") + pick(r, "@mycompany.com", "@rival.com", "@mycompany.com.example"),
			"plan":    pick(r, "pro", "free", "enterprise"), "age": []int{7, 17, 18, 42, 999, 1000, 1200}[r.IntN(7)],
			"os": pick(r, "ios", "android"), "version": "2.3.1",
		}})
	}
	return users[:n]
}

func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }

// TenthPPM is the share of the split.
const TenthPPM = flyball.PPM / 10

// Thing is the object.
var Thing = map[string]any{"color": "red", "size": int64(7)}

// Version is that of the rulesets here.
const Version = 7

// Testers are the units of the segment.
var Testers = func() (units []string) {
	for n := range 1000 {
		units = append(units, fmt.Sprintf("beta-user-%d", n))
	}
	return units
}()

// SegmentKey is the key of the segment of [Testers].
const SegmentKey = "beta-testers"

// KindOf says of which kind a flag is.
func KindOf(key string) Kind {
	switch key {
	case Canada:
		return KindCanada
	case Tenth:
		return KindTenth
	case TenRules:
		return KindTen
	case Object:
		return KindObject
	}
	return KindPlain
}

// Ruleset returns the ruleset of a workload as a server publishes it.
func (w Workload) Ruleset() flyball.Ruleset {
	rs := flyball.Ruleset{Environment: Environment, Epoch: 1, Version: Version, Segments: []flyball.Segment{segment()}}
	for _, key := range Everything {
		kind := KindOf(key)
		if w.Everywhere {
			kind = w.Kind
		}
		f, c := flagOf(key, kind)
		rs.Flags = append(rs.Flags, flyball.NewRulesetFlag(f, c))
	}
	return rs
}

func segment() flyball.Segment {
	return flyball.Segment{Key: SegmentKey, Owner: "default", Include: Testers}
}

// flagOf returns a flag of a kind, and what is served for it.
func flagOf(key string, kind Kind) (flyball.Flag, flyball.FlagConfig) {
	f := flyball.Flag{
		Key: key, Kind: flyball.KindOps, Owner: "default", Type: flyball.TypeBoolean,
		Variants: flyball.Variants{"on": true, "off": false}, SafeVariant: "off",
	}
	if kind == KindObject {
		f.Type, f.Variants = flyball.TypeObject, flyball.Variants{"on": Thing, "off": map[string]any{}}
	}
	c := flyball.NewFlagConfig(f)
	c.Enabled, c.Default, c.Seed = true, flyball.Serve{Variant: "on"}, key
	switch kind {
	case KindCanada:
		c.Default.Variant = "off"
		c.Rules = []flyball.Rule{{ID: "canada", Serve: flyball.Serve{Variant: "on"}, If: flyball.Condition{All: []flyball.Condition{
			is("country", flyball.OpIn, "CA"), is("email", flyball.OpEndsWith, "@mycompany.com"),
		}}}}
	case KindTenth:
		c.Default = flyball.Serve{Split: &flyball.Split{Weights: []flyball.Weight{{Variant: "on", PPM: TenthPPM}, {Variant: "off", PPM: flyball.PPM - TenthPPM}}}}
	case KindTen:
		c.Default.Variant, c.Rules = "off", tenRules()
	}
	return f, c
}

// Rules is how many rules W4 has.
const Rules = 10

// Least is the age that a rule asks for; no one is as old as most of them do.
func Least(rule int) int {
	if rule == Rules-1 {
		return 18
	}
	return 1000
}

// Country is the country that a rule asks for, beside YY.
func Country(rule int) string {
	if rule == Rules-1 {
		return "CA"
	}
	return "ZZ"
}

func tenRules() []flyball.Rule {
	var rules []flyball.Rule
	for i := range Rules {
		rules = append(rules, flyball.Rule{ID: fmt.Sprint("r", i), Serve: flyball.Serve{Variant: "on"}, If: flyball.Condition{All: []flyball.Condition{
			{Any: []flyball.Condition{
				{All: []flyball.Condition{is("plan", flyball.OpIn, "pro", "enterprise"), is("age", flyball.OpGTE, int64(Least(i)))}},
				{Segment: SegmentKey},
			}},
			is("country", flyball.OpIn, Country(i), "YY"),
			{Not: &flyball.Condition{Attribute: "email", Op: flyball.OpEndsWith, Values: flyball.Values{"@rival.com"}}},
		}}})
	}
	return rules
}

func is(attribute string, op flyball.Op, values ...any) flyball.Condition {
	return flyball.Condition{Attribute: attribute, Op: op, Values: values}
}
