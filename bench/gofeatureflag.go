package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	ffclient "github.com/thomaspoignant/go-feature-flag"
	"github.com/thomaspoignant/go-feature-flag/modules/core/ffcontext"
	"github.com/thomaspoignant/go-feature-flag/retriever/fileretriever"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/bench/workload"
)

// goFeatureFlag is the go-feature-flag module with a file of flags. It has no
// segments, so that its programs find out by themselves who is a tester and
// say so in the context: W4 asks less of it than of others.
func goFeatureFlag(ctx context.Context) ([]contestant, error) {
	flags := object{}
	for _, key := range workload.Everything {
		flags[key] = goFeatureFlagOf(key)
	}
	file, err := json.Marshal(flags)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "flyball-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // it is read at the start, and polling is off
	path := filepath.Join(dir, "flags.json")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return nil, err
	}
	client, err := ffclient.New(ffclient.Config{Context: ctx, PollingInterval: -1, FileFormat: "json", Retriever: &fileretriever.Retriever{Path: path}})
	if err != nil {
		return nil, fmt.Errorf("go-feature-flag: %w", err)
	}
	context.AfterFunc(ctx, client.Close)
	on := func(w workload.Workload, user *flyball.EvaluationContext) (evaluator, bool) {
		build := ffcontext.NewEvaluationContextBuilder(user.TargetingKey)
		for name, v := range user.Attributes {
			build.AddCustom(name, v)
		}
		_, tester := testers[user.TargetingKey]
		who := build.AddCustom("tester", tester).Build()
		if w.Kind == workload.KindObject {
			return evaluating(func(key string) object { v, _ := client.JSONVariation(key, who, nil); return v }, func(v object) any { return v }), !w.Everywhere
		}
		return evaluating(func(key string) bool { v, _ := client.BoolVariation(key, who, false); return v }, same), !w.Everywhere
	}
	return []contestant{{Name: "go-feature-flag", on: on, own: true}}, nil
}

func goFeatureFlagOf(key string) object {
	variations, serve := object{"on": true, "off": false}, object{"variation": "off"}
	var rules []object
	rule := func(name, query string) {
		rules = append(rules, object{"name": name, "query": query, "variation": "on"})
	}
	switch workload.KindOf(key) {
	case workload.KindPlain:
		serve["variation"] = "on"
	case workload.KindObject:
		variations, serve["variation"] = object{"on": workload.Thing, "off": object{}}, "on"
	case workload.KindCanada:
		rule("canada", `country in ["CA"] and email ew "@mycompany.com"`)
	case workload.KindTenth:
		serve = object{"percentage": object{"on": 10, "off": 90}}
	case workload.KindTen:
		for i := range workload.Rules {
			rule(fmt.Sprint("r", i), fmt.Sprintf(`((plan in ["pro","enterprise"] and age ge %d) or (tester eq true)) and (country in ["%s","YY"]) and not (email ew "@rival.com")`,
				workload.Least(i), workload.Country(i)))
		}
	}
	return object{"variations": variations, "targeting": rules, "defaultRule": serve}
}
