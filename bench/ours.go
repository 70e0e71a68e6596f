package main

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/bench/workload"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/provider"
)

// ours is the evaluator alone, as servers and SDKs have it: for a context of a
// map of attributes, and for one that is built once and read without hashing.
func ours() ([]contestant, error) {
	holders := map[string]*eval.Holder{}
	for _, w := range workload.All {
		rs, err := eval.Compile(w.Ruleset())
		if err != nil {
			return nil, fmt.Errorf("compile: %w", err)
		}
		holders[w.Name] = new(eval.Holder)
		holders[w.Name].Offer(rs)
	}
	holders[""] = holders[workload.All[0].Name] // of no workload by name
	mapped := func(w workload.Workload, user *flyball.EvaluationContext) (evaluator, bool) {
		h := holders[w.Name]
		return resolving(func(key string) flyball.Resolution { return h.Current().Evaluate(key, user, time.Now, nil) }), true
	}
	built := func(w workload.Workload, user *flyball.EvaluationContext) (evaluator, bool) {
		h, c := holders[w.Name], eval.ContextOf(user)
		return resolving(func(key string) flyball.Resolution { return h.Current().EvaluateContext(key, c, time.Now, nil) }), true
	}
	return []contestant{
		{Name: "flyball eval", on: mapped, whole: true},
		{Name: "flyball eval, context built", on: built, whole: true},
	}, nil
}

// ourProvider is what programs use: a provider that follows a real server. It
// is called by flags that are bound once, by its typed client, and by the
// OpenFeature SDK. All of them count evaluations.
func ourProvider(ctx context.Context, server, token string) ([]contestant, error) {
	p, err := provider.New(provider.Options{Server: server, Token: token, Service: "bench", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	openFeature, err := openFeatureClient(ctx, "flyball", p)
	if err != nil {
		return nil, err
	}
	client := p.Client()
	typed := func(w workload.Workload, user *flyball.EvaluationContext) (evaluator, bool) {
		c := eval.ContextOf(user)
		if w.Kind == workload.KindObject {
			return evaluating(func(key string) any { return client.Object(ctx, key, nil, c) }, same), !w.Everywhere
		}
		return evaluating(func(key string) bool { return client.Bool(ctx, key, false, c) }, same), !w.Everywhere
	}
	bound := func(w workload.Workload, user *flyball.EvaluationContext) (evaluator, bool) {
		if w.Kind == workload.KindObject {
			return binding(w.Keys, eval.ContextOf(user), func(key string) *provider.Flag[any] { return client.ObjectFlag(key, nil) }), !w.Everywhere
		}
		return binding(w.Keys, eval.ContextOf(user), func(key string) *provider.Flag[bool] { return client.BoolFlag(key, false) }), !w.Everywhere
	}
	return []contestant{
		{Name: "flyball bound flag", on: bound},
		{Name: "flyball client", on: typed},
		{Name: "flyball by OpenFeature", on: byOpenFeature(openFeature)},
	}, nil
}

// binding makes an evaluator of flags that are bound once, so that none is
// looked up by its key.
func binding[T any](keys []string, c *eval.Context, bind func(key string) *provider.Flag[T]) evaluator {
	flags, byKey := []*provider.Flag[T]{}, map[string]*provider.Flag[T]{}
	for _, key := range keys {
		f := bind(key)
		flags = append(flags, f)
		byKey[key] = f
	}
	return evaluator{
		loop:   func(_ []string, at, n int) { turnBound(flags, c, at, n) },
		answer: func(key string) any { return byKey[key].Value(c) },
	}
}

//go:noinline
func turnBound[T any](flags []*provider.Flag[T], c *eval.Context, at, n int) {
	var last T
	for range n {
		last = flags[at].Value(c)
		if at++; at == len(flags) {
			at = 0
		}
	}
	runtime.KeepAlive(last)
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
			return evaluating(func(key string) any { v, _ := client.ObjectValue(ctx, key, nil, ec); return v }, same), !w.Everywhere
		}
		return evaluating(func(key string) bool { v, _ := client.BooleanValue(ctx, key, false, ec); return v }, same), !w.Everywhere
	}
}
