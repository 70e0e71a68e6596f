package main

import (
	"context"

	"github.com/open-feature/go-sdk/openfeature"
	"github.com/open-feature/go-sdk/openfeature/memprovider"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/bench/workload"
)

// inMemory is the OpenFeature SDK's own provider. Its rules are functions:
// those of the floor. What the SDK costs is what it takes beyond the provider.
func inMemory(ctx context.Context) ([]contestant, error) {
	p := memory()
	client, err := openFeatureClient(ctx, "in-memory", p)
	if err != nil {
		return nil, err
	}
	direct := func(w workload.Workload, user *flyball.EvaluationContext) (evaluator, bool) {
		ctx, flat := context.Background(), openfeature.FlattenedContext{openfeature.TargetingKey: user.TargetingKey}
		for name, v := range user.Attributes {
			flat[name] = v
		}
		if w.Kind == workload.KindObject {
			return evaluating(func(key string) any { return p.ObjectEvaluation(ctx, key, nil, flat).Value }, same), !w.Everywhere
		}
		return evaluating(func(key string) bool { return p.BooleanEvaluation(ctx, key, false, flat).Value }, same), !w.Everywhere
	}
	return []contestant{
		{Name: "in-memory provider", on: direct},
		{Name: "in-memory by OpenFeature", on: byOpenFeature(client)},
	}, nil
}

func memory() *memprovider.InMemoryProvider {
	all := map[string]memprovider.InMemoryFlag{}
	for _, key := range workload.Everything {
		kind := workload.KindOf(key)
		f := memprovider.InMemoryFlag{Key: key, State: memprovider.Enabled, DefaultVariant: "on", Variants: map[string]any{"on": true, "off": false}}
		switch kind {
		case workload.KindPlain:
		case workload.KindObject:
			f.Variants["on"] = workload.Thing
		default:
			f.ContextEvaluator = ruleOf(kind)
		}
		all[key] = f
	}
	return memprovider.NewInMemoryProvider(all)
}

// ruleOf is the floor's rule of a kind, as such a provider takes it. It reads
// its user from the context of each call.
func ruleOf(kind workload.Kind) memprovider.ContextEvaluator {
	rule := func(f memprovider.InMemoryFlag, flat openfeature.FlattenedContext) (any, openfeature.ProviderResolutionDetail) {
		user := flyball.EvaluationContext{Attributes: flyball.Attributes(flat)}
		user.TargetingKey, _ = flat[openfeature.TargetingKey].(string)
		h := (*byHand.Load())[f.Key]
		var r flyball.Resolution
		switch kind {
		case workload.KindCanada:
			r = h.ifCanada(user.Attributes)
		case workload.KindTenth:
			r = h.inTenth(f.Key, user.TargetingKey)
		case workload.KindTen:
			r = h.byTenRules(&user)
		}
		return r.Value, openfeature.ProviderResolutionDetail{Variant: r.Variant, Reason: openfeature.Reason(r.Reason)}
	}
	return &rule
}
