package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/bench/workload"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/provider"
)

// ours is the evaluator alone, as servers and SDKs have it.
func ours() ([]contestant, error) {
	holders := map[bool]*eval.Holder{}
	for _, allTen := range []bool{false, true} {
		rs, err := eval.Compile(workload.Ruleset(allTen))
		if err != nil {
			return nil, fmt.Errorf("compile: %w", err)
		}
		holders[allTen] = new(eval.Holder)
		holders[allTen].Offer(rs)
	}
	on := func(w workload.Workload, user *flyball.EvaluationContext) (evaluator, bool) {
		h := holders[w.AllTen]
		return resolving(func(key string) flyball.Resolution { return h.Current().Evaluate(key, user, time.Now, nil) }), true
	}
	return []contestant{{Name: "flyball eval", on: on, whole: true}}, nil
}

// ourProvider is what programs use: a provider that follows a real server,
// called directly, and by the OpenFeature SDK. Both count evaluations.
func ourProvider(ctx context.Context, server, token string) ([]contestant, error) {
	p, err := provider.New(provider.Options{Server: server, Token: token, Service: "bench", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	client, err := openFeatureClient(ctx, "flyball", p)
	if err != nil {
		return nil, err
	}
	direct := func(w workload.Workload, user *flyball.EvaluationContext) (evaluator, bool) {
		return resolving(func(key string) flyball.Resolution { return p.Evaluate(key, user) }), !w.AllTen
	}
	return []contestant{
		{Name: "flyball provider", on: direct},
		{Name: "flyball by OpenFeature", on: byOpenFeature(client)},
	}, nil
}

// openFeatureClient sets a provider under a name of its own and returns a
// client of it.
func openFeatureClient(ctx context.Context, name string, p openfeature.FeatureProvider) (*openfeature.Client, error) {
	if err := openfeature.SetNamedProviderWithContextAndWait(ctx, name, p); err != nil {
		return nil, fmt.Errorf("provider of %s: %w", name, err)
	}
	return openfeature.NewClient(name), nil
}

// byOpenFeature is how programs call any provider: by the SDK, which merges
// contexts and runs hooks at each evaluation.
func byOpenFeature(client *openfeature.Client) func(workload.Workload, *flyball.EvaluationContext) (evaluator, bool) {
	return func(w workload.Workload, user *flyball.EvaluationContext) (evaluator, bool) {
		ctx, ec := context.Background(), openfeature.NewEvaluationContext(user.TargetingKey, user.Attributes)
		if w.Kind == workload.KindObject {
			return evaluating(func(key string) any { v, _ := client.ObjectValue(ctx, key, nil, ec); return v }, same), !w.AllTen
		}
		return evaluating(func(key string) bool { v, _ := client.BooleanValue(ctx, key, false, ec); return v }, same), !w.AllTen
	}
}
