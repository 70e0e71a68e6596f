package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	unleashclient "github.com/Unleash/unleash-client-go/v4"
	unleashapi "github.com/Unleash/unleash-client-go/v4/api"
	unleashcontext "github.com/Unleash/unleash-client-go/v4/context"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/bench/workload"
)

// unleash is the Unleash SDK. Its bootstrap leaves segments out, so that its
// flags come from what stands in for a server, in this program. Constraints of
// a strategy must all hold and any strategy is enough: W4's rules are two
// strategies each.
func unleash(ctx context.Context) ([]contestant, error) {
	in := unleashapi.FeatureResponse{
		Response: unleashapi.Response{Version: 2},
		Segments: []unleashapi.Segment{{Id: 1, Constraints: []unleashapi.Constraint{oneOf("userId", workload.Testers...)}}},
	}
	for _, key := range workload.Everything {
		f, err := unleashFeature(key)
		if err != nil {
			return nil, err
		}
		in.Features = append(in.Features, f)
	}
	answer, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	client, err := unleashclient.NewClient(
		unleashclient.WithAppName("bench"), unleashclient.WithUrl("http://unleash.invalid/api"), unleashclient.WithDisableMetrics(true),
		unleashclient.WithRefreshInterval(24*time.Hour), unleashclient.WithStorage(&unleashclient.BootstrapStorage{Reader: bytes.NewReader(answer)}),
		unleashclient.WithHttpClient(&http.Client{Transport: canned(answer)}))
	if err != nil {
		return nil, fmt.Errorf("unleash: %w", err)
	}
	client.WaitForReady()
	context.AfterFunc(ctx, func() { client.Close() })
	on := func(w workload.Workload, user *flyball.EvaluationContext) (evaluator, bool) {
		who := unleashcontext.Context{UserId: user.TargetingKey, Properties: map[string]string{}}
		for _, name := range slices.Sorted(maps.Keys(user.Attributes)) {
			who.Properties[name] = fmt.Sprint(user.Attributes[name])
		}
		if w.Kind == workload.KindObject {
			call := func(key string) *unleashapi.Variant {
				return client.GetVariant(key, unleashclient.WithVariantContext(who))
			}
			return evaluating(call, func(v *unleashapi.Variant) (thing any) {
				json.Unmarshal([]byte(v.Payload.Value), &thing)
				return thing
			}), !w.Everywhere
		}
		return evaluating(func(key string) bool { return client.IsEnabled(key, unleashclient.WithContext(who)) }, same), !w.Everywhere
	}
	return []contestant{{Name: "Unleash", on: on, own: true}}, nil
}

// canned is a network in which each request has one answer.
type canned []byte

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(c)), Request: r}, nil
}

func oneOf(name string, values ...string) unleashapi.Constraint {
	return unleashapi.Constraint{ContextName: name, Operator: unleashapi.OperatorIn, Values: values}
}

func unleashFeature(key string) (unleashapi.Feature, error) {
	f := unleashapi.Feature{Name: key, Type: "release", Enabled: true}
	on := func(segments []int, constraints ...unleashapi.Constraint) {
		f.Strategies = append(f.Strategies, unleashapi.Strategy{Name: "default", Constraints: constraints, Segments: segments})
	}
	switch workload.KindOf(key) {
	case workload.KindPlain:
		on(nil)
	case workload.KindObject:
		on(nil)
		thing, err := json.Marshal(workload.Thing)
		if err != nil {
			return f, err
		}
		f.Variants = []unleashapi.VariantInternal{{Weight: 1000, Variant: unleashapi.Variant{Name: "on", Payload: unleashapi.Payload{Type: "json", Value: string(thing)}}}}
	case workload.KindCanada:
		on(nil, oneOf("country", "CA"), unleashapi.Constraint{ContextName: "email", Operator: unleashapi.OperatorStrEndsWith, Values: []string{"@mycompany.com"}})
	case workload.KindTenth:
		f.Strategies = []unleashapi.Strategy{{Name: "flexibleRollout", Parameters: unleashapi.ParameterMap{"rollout": "10", "stickiness": "userId", "groupId": key}}}
	case workload.KindTen:
		for i := range workload.Rules {
			where := oneOf("country", workload.Country(i), "YY")
			noRival := unleashapi.Constraint{ContextName: "email", Operator: unleashapi.OperatorStrEndsWith, Values: []string{"@rival.com"}, Inverted: true}
			on(nil, oneOf("plan", "pro", "enterprise"), unleashapi.Constraint{ContextName: "age", Operator: unleashapi.OperatorNumGte, Value: strconv.Itoa(workload.Least(i))}, where, noRival)
			on([]int{1}, where, noRival)
		}
	}
	return f, nil
}
