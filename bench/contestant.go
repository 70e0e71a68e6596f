package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/open-feature/go-sdk/openfeature"
	"github.com/open-feature/go-sdk/openfeature/memprovider"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// A contestant evaluates flags. On prepares it for a workload; what that
// returns evaluates one flag, for the one user of all workloads.
type contestant struct {
	name string
	on   func(workload) func(key string) flyball.Resolution
}

var user = &flyball.EvaluationContext{TargetingKey: "user-4711", Attributes: attributes}

// contestants are all who take part, first the floor and then ours.
func contestants() ([]contestant, error) {
	ours := map[string]*eval.Holder{}
	for _, w := range workloads {
		compiled, err := eval.Compile(w.ruleset())
		if err != nil {
			return nil, fmt.Errorf("compile %s: %w", w.name, err)
		}
		ours[w.name] = new(eval.Holder)
		ours[w.name].Offer(compiled)
	}
	return []contestant{
		{"floor", floor},
		{"flyball", func(w workload) func(string) flyball.Resolution {
			h := ours[w.name]
			return func(key string) flyball.Resolution { return h.Current().Evaluate(key, user, time.Now, nil) }
		}},
		{"OpenFeature in memory", inMemory},
		{"the same through its client", throughClient},
	}, nil
}

// A hand is a flag as a programmer writes it down who needs no platform.
type hand struct {
	on, off any
	rules   [10]struct {
		id      string
		least   int
		country string
	}
}

// floor is the least that any evaluator does: load the flags in force, look
// one up, decide by code written for the occasion, and fill a resolution.
func floor(w workload) func(key string) flyball.Resolution {
	byKey := map[string]*hand{}
	for _, key := range allKeys {
		h := &hand{on: true, off: false}
		if w.kind == object {
			h.on = thing
		}
		for i := range h.rules {
			h.rules[i].id, h.rules[i].least, h.rules[i].country = fmt.Sprint("r", i), least(i), country(i)
		}
		byKey[key] = h
	}
	testers := map[string]struct{}{}
	for n := range 1000 {
		testers[fmt.Sprintf("beta-user-%d", n)] = struct{}{}
	}
	current := new(atomic.Pointer[map[string]*hand])
	current.Store(&byKey)
	find := func(key string) *hand { return (*current.Load())[key] }
	switch w.kind {
	case canada:
		return func(key string) flyball.Resolution { return find(key).ifCanada(user.Attributes) }
	case tenth:
		return func(key string) flyball.Resolution { return find(key).inTenth(key, user.TargetingKey) }
	case tenRules:
		return func(key string) flyball.Resolution { return find(key).byTenRules(testers, user) }
	}
	return func(key string) flyball.Resolution {
		return flyball.Resolution{Value: find(key).on, Variant: "on", Reason: flyball.ReasonStatic, Version: version}
	}
}

func (h *hand) ifCanada(a flyball.Attributes) flyball.Resolution {
	country, _ := a["country"].(string)
	email, _ := a["email"].(string)
	if country == "CA" && strings.HasSuffix(email, "@mycompany.com") {
		return flyball.Resolution{Value: h.on, Variant: "on", Reason: flyball.ReasonTargetingMatch, Rule: "canada", Version: version}
	}
	return flyball.Resolution{Value: h.off, Variant: "off", Reason: flyball.ReasonDefault, Version: version}
}

func (h *hand) inTenth(key, unit string) flyball.Resolution {
	if eval.Point(key, unit) < tenthPPM {
		return flyball.Resolution{Value: h.on, Variant: "on", Reason: flyball.ReasonSplit, Version: version}
	}
	return flyball.Resolution{Value: h.off, Variant: "off", Reason: flyball.ReasonSplit, Version: version}
}

func (h *hand) byTenRules(testers map[string]struct{}, ec *flyball.EvaluationContext) flyball.Resolution {
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
			return flyball.Resolution{Value: h.on, Variant: "on", Reason: flyball.ReasonTargetingMatch, Rule: r.id, Version: version}
		}
	}
	return flyball.Resolution{Value: h.off, Variant: "off", Reason: flyball.ReasonDefault, Version: version}
}

// memory is the SDK's provider for tests, whose rules are functions: those of
// the floor.
func memory(w workload) *memprovider.InMemoryProvider {
	decide := floor(w)
	all := map[string]memprovider.InMemoryFlag{}
	for _, key := range allKeys {
		f := memprovider.InMemoryFlag{Key: key, State: memprovider.Enabled, DefaultVariant: "on", Variants: map[string]any{"on": true, "off": false}}
		if w.kind == object {
			f.Variants["on"] = thing
		}
		if w.kind != plain && w.kind != object {
			evaluator := func(f memprovider.InMemoryFlag, _ openfeature.FlattenedContext) (any, openfeature.ProviderResolutionDetail) {
				r := decide(f.Key)
				return r.Value, openfeature.ProviderResolutionDetail{Variant: r.Variant, Reason: openfeature.Reason(r.Reason)}
			}
			f.ContextEvaluator = &evaluator
		}
		all[key] = f
	}
	return memprovider.NewInMemoryProvider(all)
}

func inMemory(w workload) func(key string) flyball.Resolution {
	p, ctx := memory(w), context.Background()
	flat := openfeature.FlattenedContext{openfeature.TargetingKey: user.TargetingKey}
	for name, v := range attributes {
		flat[name] = v
	}
	if w.kind == object {
		return func(key string) flyball.Resolution {
			r := p.ObjectEvaluation(ctx, key, nil, flat)
			return flyball.Resolution{Value: r.Value, Variant: r.Variant, Reason: flyball.Reason(r.Reason)}
		}
	}
	return func(key string) flyball.Resolution {
		r := p.BooleanEvaluation(ctx, key, false, flat)
		return flyball.Resolution{Value: r.Value, Variant: r.Variant, Reason: flyball.Reason(r.Reason)}
	}
}

// throughClient is how a program calls the same provider: by the SDK, which
// merges contexts and runs hooks at each evaluation.
func throughClient(w workload) func(key string) flyball.Resolution {
	ctx := context.Background()
	if err := openfeature.SetNamedProviderWithContextAndWait(ctx, w.name, memory(w)); err != nil {
		panic(err) // the provider has nothing that could fail
	}
	client := openfeature.NewClient(w.name)
	ec := openfeature.NewEvaluationContext(user.TargetingKey, attributes)
	if w.kind == object {
		return func(key string) flyball.Resolution {
			r, _ := client.ObjectValueDetails(ctx, key, nil, ec)
			return flyball.Resolution{Value: r.Value, Variant: r.Variant, Reason: flyball.Reason(r.Reason)}
		}
	}
	return func(key string) flyball.Resolution {
		r, _ := client.BooleanValueDetails(ctx, key, false, ec)
		return flyball.Resolution{Value: r.Value, Variant: r.Variant, Reason: flyball.Reason(r.Reason)}
	}
}
