package eval_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// A workload is a ruleset of 1,004 flags of one kind, and a user of six
// attributes for whom they are evaluated, one after the other. By hand is what
// a programmer would write in their place.
//
// W1 is a boolean flag, on, without rules; W2 one rule of two tests, W2Miss the
// same for a user whom it misses; W3 a split of 10 %; W4 ten rules in order,
// three deep, with a segment of 1,000 keys, of which only the last matches; W5
// an object.
type workload struct {
	name   string
	user   *flyball.EvaluationContext
	alter  func(f *flyball.RulesetFlag)
	byHand func(h *hand, ec *flyball.EvaluationContext) flyball.Resolution
}

const workloadFlags = 1004

var workloads = []workload{
	{"W1", canadian, func(*flyball.RulesetFlag) {}, (*hand).plain},
	{"W2", canadian, oneRule, (*hand).oneRule},
	{"W2Miss", german, oneRule, (*hand).oneRule},
	{"W3", canadian, tenth, (*hand).tenth},
	{"W4", canadian, tenRules, (*hand).tenRules},
	{"W5", canadian, object, (*hand).plain},
}

var (
	canadian = &flyball.EvaluationContext{TargetingKey: "user-4711", Attributes: flyball.Attributes{
		"country": "CA", "email": "ann@mycompany.com", "plan": "pro", "age": 42, "os": "ios", "version": "2.3.1",
	}}
	german = &flyball.EvaluationContext{TargetingKey: "user-4712", Attributes: flyball.Attributes{
		"country": "DE", "email": "eva@mycompany.com", "plan": "pro", "age": 42, "os": "ios", "version": "2.3.1",
	}}
)

func (w workload) document() flyball.Ruleset {
	doc := flyball.Ruleset{Environment: "production", Epoch: 1, Version: 7}
	doc.Segments = []flyball.Segment{{Key: "beta-testers", Owner: "team"}}
	for i := range 1000 {
		doc.Segments[0].Include = append(doc.Segments[0].Include, fmt.Sprintf("beta-user-%d", i))
	}
	for i := range workloadFlags {
		f := newFlag(fmt.Sprintf("team.domain.flag-%04d", i))
		w.alter(&f)
		doc.Flags = append(doc.Flags, f)
	}
	return doc
}

func oneRule(f *flyball.RulesetFlag) {
	f.Default.Variant = "off"
	f.Rules = []flyball.Rule{{ID: "canada", Serve: on, If: flyball.Condition{All: []flyball.Condition{
		is("country", flyball.OpIn, "CA"), is("email", flyball.OpEndsWith, "@mycompany.com"),
	}}}}
}

func tenth(f *flyball.RulesetFlag) { f.Default = split("on", 100_000, "off", 900_000) }

func tenRules(f *flyball.RulesetFlag) {
	f.Default.Variant = "off"
	for i := range 10 {
		f.Rules = append(f.Rules, flyball.Rule{ID: fmt.Sprint("r", i), Serve: on, If: flyball.Condition{All: []flyball.Condition{
			{Any: []flyball.Condition{
				{All: []flyball.Condition{is("plan", flyball.OpIn, "pro", "enterprise"), is("age", flyball.OpGTE, int64(least(i)))}},
				{Segment: "beta-testers"},
			}},
			is("country", flyball.OpIn, country(i), "YY"),
			{Not: &flyball.Condition{Attribute: "email", Op: flyball.OpEndsWith, Values: flyball.Values{"@rival.com"}}},
		}}})
	}
}

func object(f *flyball.RulesetFlag) {
	f.Type = flyball.TypeObject
	f.Variants = flyball.Variants{"on": map[string]any{"color": "red", "size": int64(7)}, "off": map[string]any{}}
}

// least is the age that a rule asks for, and country the country: those of the
// last rule alone are anybody's.
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

// A hand is a flag as a programmer writes it down who needs no platform. What
// it answers is compiled in, and so are the operators.
type hand struct {
	key     string
	on, off any
	version int64
	testers map[string]struct{}
	rules   []handRule
}

type handRule struct {
	id      string
	least   int
	country string
}

func (w workload) hands() *atomic.Pointer[map[string]*hand] {
	doc, byKey := w.document(), map[string]*hand{}
	testers := map[string]struct{}{}
	for _, key := range doc.Segments[0].Include {
		testers[key] = struct{}{}
	}
	for _, f := range doc.Flags {
		h := &hand{key: f.Key, on: f.Variants["on"], off: f.Variants["off"], version: doc.Version, testers: testers}
		for i, r := range f.Rules {
			h.rules = append(h.rules, handRule{r.ID, least(i), country(i)})
		}
		byKey[f.Key] = h
	}
	current := new(atomic.Pointer[map[string]*hand])
	current.Store(&byKey)
	return current
}

func (h *hand) plain(*flyball.EvaluationContext) flyball.Resolution {
	return flyball.Resolution{Value: h.on, Variant: "on", Reason: flyball.ReasonStatic, Version: h.version}
}

func (h *hand) oneRule(ec *flyball.EvaluationContext) flyball.Resolution {
	country, _ := ec.Attributes["country"].(string)
	email, _ := ec.Attributes["email"].(string)
	if country == "CA" && strings.HasSuffix(email, "@mycompany.com") {
		return flyball.Resolution{Value: h.on, Variant: "on", Reason: flyball.ReasonTargetingMatch, Rule: h.rules[0].id, Version: h.version}
	}
	return flyball.Resolution{Value: h.off, Variant: "off", Reason: flyball.ReasonDefault, Version: h.version}
}

func (h *hand) tenth(ec *flyball.EvaluationContext) flyball.Resolution {
	if eval.Point(h.key, ec.TargetingKey) < 100_000 {
		return flyball.Resolution{Value: h.on, Variant: "on", Reason: flyball.ReasonSplit, Version: h.version}
	}
	return flyball.Resolution{Value: h.off, Variant: "off", Reason: flyball.ReasonSplit, Version: h.version}
}

func (h *hand) tenRules(ec *flyball.EvaluationContext) flyball.Resolution {
	plan, _ := ec.Attributes["plan"].(string)
	age, _ := ec.Attributes["age"].(int)
	country, _ := ec.Attributes["country"].(string)
	email, _ := ec.Attributes["email"].(string)
	for i := range h.rules {
		r := &h.rules[i]
		in := (plan == "pro" || plan == "enterprise") && age >= r.least
		if !in {
			_, in = h.testers[ec.TargetingKey]
		}
		if in && (country == r.country || country == "YY") && !strings.HasSuffix(email, "@rival.com") {
			return flyball.Resolution{Value: h.on, Variant: "on", Reason: flyball.ReasonTargetingMatch, Rule: r.id, Version: h.version}
		}
	}
	return flyball.Resolution{Value: h.off, Variant: "off", Reason: flyball.ReasonDefault, Version: h.version}
}

// evaluators returns three ways to evaluate a workload's flags, and their
// keys: by hand, with a map of attributes and with a context. Each loads what
// is in force anew, as programs do.
func (w workload) evaluators() (keys []string, floor, ours, oursContext func(key string) flyball.Resolution) {
	doc := w.document()
	rs, err := eval.Compile(doc)
	if err != nil {
		panic(err)
	}
	h, hands, c := new(eval.Holder), w.hands(), eval.ContextOf(w.user)
	h.Offer(rs)
	floor = func(key string) flyball.Resolution { return w.byHand((*hands.Load())[key], w.user) }
	ours = func(key string) flyball.Resolution { return h.Current().Evaluate(key, w.user, time.Now, nil) }
	oursContext = func(key string) flyball.Resolution { return h.Current().EvaluateContext(key, c, time.Now, nil) }
	for _, f := range doc.Flags {
		keys = append(keys, f.Key)
	}
	return keys, floor, ours, oursContext
}
