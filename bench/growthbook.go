package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/growthbook/growthbook-golang"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/bench/workload"
)

type object = map[string]any

// growthBook is the GrowthBook SDK with features from memory. Its saved groups
// are what segments are elsewhere; of their two forms this is the faster.
func growthBook(ctx context.Context) ([]contestant, error) {
	features := object{}
	for _, key := range workload.Everything {
		features[key] = growthBookFeature(key)
	}
	payload, err := json.Marshal(object{"features": features, "savedGroups": object{workload.SegmentKey: object{"type": "list", "attributeKey": "id", "values": workload.Testers}}})
	if err != nil {
		return nil, err
	}
	client, err := growthbook.NewClient(ctx, growthbook.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, fmt.Errorf("GrowthBook: %w", err)
	}
	context.AfterFunc(ctx, func() { client.Close() })
	if err := client.UpdateFromApiResponseJSON(string(payload)); err != nil {
		return nil, fmt.Errorf("GrowthBook: %w", err)
	}
	on := func(w workload.Workload, user *flyball.EvaluationContext) (evaluator, bool) {
		attributes := growthbook.Attributes{"id": user.TargetingKey}
		for name, v := range user.Attributes {
			attributes[name] = v
		}
		child, err := client.WithAttributes(attributes)
		if err != nil {
			return evaluator{}, false
		}
		call := func(key string) *growthbook.FeatureResult { return child.EvalFeature(ctx, key) }
		return evaluating(call, func(r *growthbook.FeatureResult) any { return r.Value }), !w.Everywhere
	}
	return []contestant{{Name: "GrowthBook", on: on, own: true}}, nil
}

func growthBookFeature(key string) object {
	force := func(condition object) object { return object{"condition": condition, "force": true} }
	noRival := object{"$not": object{"email": object{"$regex": "@rival\\.com$"}}}
	switch workload.KindOf(key) {
	case workload.KindObject:
		return object{"defaultValue": workload.Thing}
	case workload.KindCanada:
		return object{"defaultValue": false, "rules": []object{force(object{"country": object{"$in": []string{"CA"}}, "email": object{"$regex": "@mycompany\\.com$"}})}}
	case workload.KindTenth:
		return object{"defaultValue": false, "rules": []object{{"force": true, "coverage": 0.1, "hashAttribute": "id", "hashVersion": 2, "seed": key}}}
	case workload.KindTen:
		var rules []object
		for i := range workload.Rules {
			rules = append(rules, force(object{"$and": []object{
				{"$or": []object{
					{"$and": []object{{"plan": object{"$in": []string{"pro", "enterprise"}}}, {"age": object{"$gte": workload.Least(i)}}}},
					{"$savedGroup": object{"id": workload.SegmentKey}},
				}},
				{"country": object{"$in": []string{workload.Country(i), "YY"}}},
				noRival,
			}}))
		}
		return object{"defaultValue": false, "rules": rules}
	}
	return object{"defaultValue": true}
}
