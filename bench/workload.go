package main

import (
	"fmt"

	"github.com/flyballdev/flyball"
)

// flags is how many flags a ruleset has.
const flags = 1004

// A workload is a ruleset, of which some flags are of a kind and the others
// plain. Those of the kind are evaluated in turn: where there are many, none
// stays in the nearest cache.
type workload struct {
	name, about string
	kind        kind
	many        bool    // all flags are of the kind, else one is
	atMost      float64 // how much longer than the floor ours may take; 0 is not said
}

// A kind says what a flag asks of an evaluator.
type kind int

const (
	plain    kind = iota // on, without rules
	canada               // one rule of two tests
	tenth                // a split of 10 %
	tenRules             // ten rules, of which the last matches
	object               // plain, with an object for a value
)

var workloads = []workload{
	{"W1", "boolean, on, no rules; 1,004 in turn", plain, true, 2.5},
	{"W2", "one rule of two tests, which match", canada, false, 2.5},
	{"W3", "a split of 10 %", tenth, false, 2.5},
	{"W4", "ten rules, three deep, a segment of 1,000; the last matches", tenRules, false, 3.5}, // the aim is 2.5
	{"W5", "an object", object, false, 2.5},
	{"W4 ×1,004", "as W4, 1,004 such flags in turn", tenRules, true, 0},
}

// allKeys are the keys of the ruleset.
var allKeys = func() (keys []string) {
	for n := range flags {
		keys = append(keys, fmt.Sprintf("team.domain.flag-%04d", n))
	}
	return keys
}()

// keys are those of the kind, which are evaluated.
func (w workload) keys() []string {
	if w.many {
		return allKeys
	}
	return allKeys[500:501]
}

const tenthPPM = flyball.PPM / 10

var thing = map[string]any{"color": "red", "size": int64(7)}

// version is that of every ruleset here.
const version = 7

// ruleset is the workload as a server publishes it.
func (w workload) ruleset() flyball.Ruleset {
	rs := flyball.Ruleset{Environment: "production", Epoch: 1, Version: version, Segments: []flyball.Segment{{Key: "beta-testers", Owner: "team"}}}
	for n := range 1000 {
		rs.Segments[0].Include = append(rs.Segments[0].Include, fmt.Sprintf("beta-user-%d", n))
	}
	for _, key := range allKeys {
		f := flyball.Flag{Key: key, Type: flyball.TypeBoolean, Variants: flyball.Variants{"on": true, "off": false}, SafeVariant: "off"}
		r := flyball.NewRulesetFlag(f, flyball.NewFlagConfig(f))
		r.Enabled, r.Default.Variant = true, "on"
		if w.many || key == w.keys()[0] {
			w.kind.alter(&r)
		}
		rs.Flags = append(rs.Flags, r)
	}
	return rs
}

// alter makes a plain flag one of the kind.
func (k kind) alter(f *flyball.RulesetFlag) {
	switch k {
	case canada:
		f.Default.Variant = "off"
		f.Rules = []flyball.Rule{{ID: "canada", Serve: flyball.Serve{Variant: "on"}, If: flyball.Condition{All: []flyball.Condition{
			is("country", flyball.OpIn, "CA"), is("email", flyball.OpEndsWith, "@mycompany.com"),
		}}}}
	case tenth:
		f.Default = flyball.Serve{Split: &flyball.Split{Weights: []flyball.Weight{{Variant: "on", PPM: tenthPPM}, {Variant: "off", PPM: flyball.PPM - tenthPPM}}}}
	case tenRules:
		f.Default.Variant, f.Rules = "off", ten()
	case object:
		f.Type, f.Variants = flyball.TypeObject, flyball.Variants{"on": thing, "off": map[string]any{}}
	}
}

// least is the age that a rule asks for; no one is as old as most of them do.
func least(rule int) int {
	if rule == 9 {
		return 18
	}
	return 1000
}

func country(rule int) string {
	if rule == 9 {
		return "CA"
	}
	return "ZZ"
}

func ten() []flyball.Rule {
	var rules []flyball.Rule
	for i := range 10 {
		rules = append(rules, flyball.Rule{ID: fmt.Sprint("r", i), Serve: flyball.Serve{Variant: "on"}, If: flyball.Condition{All: []flyball.Condition{
			{Any: []flyball.Condition{
				{All: []flyball.Condition{is("plan", flyball.OpIn, "pro", "enterprise"), is("age", flyball.OpGTE, int64(least(i)))}},
				{Segment: "beta-testers"},
			}},
			is("country", flyball.OpIn, country(i), "YY"),
			{Not: &flyball.Condition{Attribute: "email", Op: flyball.OpEndsWith, Values: flyball.Values{"@rival.com"}}},
		}}})
	}
	return rules
}

func is(attribute string, op flyball.Op, values ...any) flyball.Condition {
	return flyball.Condition{Attribute: attribute, Op: op, Values: values}
}

// attributes are those of the user for whom flags are evaluated.
var attributes = flyball.Attributes{"country": "CA", "email": "ann@mycompany.com", "plan": "pro", "age": 42, "os": "ios", "version": "2.3.1"}
