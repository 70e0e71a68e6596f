package main

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/bench/workload"
	"github.com/flyballdev/flyball/eval"
)

// A hand is a flag as a programmer writes it down who needs no platform.
type hand struct {
	on, off, thing any
	rules          [workload.Rules]struct {
		id      string
		least   int
		country string
	}
}

// byHand are all flags, and the units of the segment, as such a programmer
// keeps them.
var byHand = func() *atomic.Pointer[map[string]*hand] {
	byKey := map[string]*hand{}
	for _, key := range workload.Everything {
		h := &hand{on: true, off: false, thing: workload.Thing}
		for i := range h.rules {
			h.rules[i].id, h.rules[i].least, h.rules[i].country = fmt.Sprint("r", i), workload.Least(i), workload.Country(i)
		}
		byKey[key] = h
	}
	current := new(atomic.Pointer[map[string]*hand])
	current.Store(&byKey)
	return current
}()

var testers = func() map[string]struct{} {
	units := map[string]struct{}{}
	for _, unit := range workload.Testers {
		units[unit] = struct{}{}
	}
	return units
}()

// floor is the least that any evaluator does: load the flags in force, look
// one up, decide by code written for the occasion, and fill a resolution.
func floor(w workload.Workload, user *flyball.EvaluationContext) (evaluator, bool) {
	find := func(key string) *hand { return (*byHand.Load())[key] }
	switch w.Kind {
	case workload.KindCanada:
		return resolving(func(key string) flyball.Resolution { return find(key).ifCanada(user.Attributes) }), true
	case workload.KindTenth:
		return resolving(func(key string) flyball.Resolution { return find(key).inTenth(key, user.TargetingKey) }), true
	case workload.KindObject:
		return resolving(func(key string) flyball.Resolution {
			return flyball.Resolution{Value: find(key).thing, Variant: "on", Reason: flyball.ReasonStatic, Version: workload.Version}
		}), true
	case workload.KindTen:
		return resolving(func(key string) flyball.Resolution { return find(key).byTenRules(user) }), true
	}
	return resolving(func(key string) flyball.Resolution {
		return flyball.Resolution{Value: find(key).on, Variant: "on", Reason: flyball.ReasonStatic, Version: workload.Version}
	}), true
}

func (h *hand) ifCanada(a flyball.Attributes) flyball.Resolution {
	country, _ := a["country"].(string)
	email, _ := a["email"].(string)
	if country == "CA" && strings.HasSuffix(email, "@mycompany.com") {
		return flyball.Resolution{Value: h.on, Variant: "on", Reason: flyball.ReasonTargetingMatch, Rule: "canada", Version: workload.Version}
	}
	return flyball.Resolution{Value: h.off, Variant: "off", Reason: flyball.ReasonDefault, Version: workload.Version}
}

func (h *hand) inTenth(key, unit string) flyball.Resolution {
	if eval.Point(key, unit) < workload.TenthPPM {
		return flyball.Resolution{Value: h.on, Variant: "on", Reason: flyball.ReasonSplit, Version: workload.Version}
	}
	return flyball.Resolution{Value: h.off, Variant: "off", Reason: flyball.ReasonSplit, Version: workload.Version}
}

func (h *hand) byTenRules(ec *flyball.EvaluationContext) flyball.Resolution {
	plan, _ := ec.Attributes["plan"].(string)
	age, _ := ec.Attributes["age"].(int)
	country, _ := ec.Attributes["country"].(string)
	email, _ := ec.Attributes["email"].(string)
	for i := range h.rules {
		r := &h.rules[i]
		in := (plan == "pro" || plan == "enterprise") && age >= r.least
		if !in {
			_, in = testers[ec.TargetingKey]
		}
		if in && (country == r.country || country == "YY") && !strings.HasSuffix(email, "@rival.com") {
			return flyball.Resolution{Value: h.on, Variant: "on", Reason: flyball.ReasonTargetingMatch, Rule: r.id, Version: workload.Version}
		}
	}
	return flyball.Resolution{Value: h.off, Variant: "off", Reason: flyball.ReasonDefault, Version: workload.Version}
}
