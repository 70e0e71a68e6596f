package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cucumber/godog"
	"github.com/open-feature/go-sdk/openfeature"
	"github.com/open-feature/go-sdk/openfeature/isolated"

	"github.com/flyballdev/flyball/provider"
)

// A scenario is one scenario of OpenFeature's suites, with an OpenFeature of
// its own.
type scenario struct {
	t             *testing.T
	server, token string
	ends          []func()

	api     *openfeature.EvaluationAPI
	client  *openfeature.Client
	seen    *witness
	kind    string // of the flag
	key     string
	or      string // the fallback
	context map[string]any
	details openfeature.InterfaceEvaluationDetails
	hooks   []*hook
	levels  []string
	at      map[string]map[string]any // context by level
	took    time.Duration
}

func (s *scenario) end() {
	for _, f := range slices.Backward(s.ends) {
		f()
	}
}

// A witness is the provider, and keeps the context that it was last given.
type witness struct {
	*provider.Provider
	given openfeature.FlattenedContext
}

func (w *witness) BooleanEvaluation(ctx context.Context, flag string, or bool, flat openfeature.FlattenedContext) openfeature.BoolResolutionDetail {
	w.given = maps.Clone(flat)
	return w.Provider.BooleanEvaluation(ctx, flag, or, flat)
}

// provider registers a provider that is in a state, by what really leads there.
func (s *scenario) provider(state string) error {
	wire := &cable{gone: make(chan struct{})}
	o := provider.Options{Server: s.server, Token: s.token, Transport: wire, InitTimeout: 10 * time.Second, Logger: slog.New(slog.DiscardHandler)}
	switch state {
	case "fatal":
		o.Token = "fb_sdk_nobody"
	case "error":
		wire.pull()
		o.InitTimeout = 100 * time.Millisecond
	case "not ready": // it waits for a server that accepts connections and says nothing
		mute, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.ends = append(s.ends, func() { mute.Close() })
		o.Server, o.Transport = "http://"+mute.Addr().String(), nil
	}
	p, err := provider.New(o)
	if err != nil {
		return err
	}
	s.end() // what a scenario's background has registered
	s.ends = nil
	s.api, s.seen = isolated.NewAPI(), &witness{Provider: p}
	s.client = s.api.NewClient()
	s.ends = append(s.ends, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.Close(ctx)
		_ = s.api.Shutdown(ctx)
	})
	switch state {
	case "not ready":
		return s.api.SetProvider(context.Background(), s.seen)
	case "fatal", "error":
		if err := s.api.SetProviderAndWait(context.Background(), s.seen); err == nil {
			return errors.New("it started")
		}
		return nil
	}
	if err := s.api.SetProviderAndWait(context.Background(), s.seen); err != nil {
		return err
	}
	if state == "stale" {
		wire.pull()
		return soon(s.client, openfeature.StaleState)
	}
	return soon(s.client, openfeature.ReadyState)
}

// meant reads what a step says as a value of a kind.
func meant(kind, text string) (v any, err error) {
	text = strings.ReplaceAll(text, `\"`, `"`)
	switch kind {
	case "boolean":
		return strconv.ParseBool(text)
	case "integer":
		return strconv.ParseInt(text, 10, 64)
	case "float":
		return strconv.ParseFloat(text, 64)
	case "object":
		err = json.Unmarshal([]byte(text), &v)
		return v, err
	}
	return text, nil
}

// evaluate asks OpenFeature for the details of the scenario's flag.
func (s *scenario) evaluate(options ...openfeature.Option) error {
	or, err := meant(s.kind, s.or)
	if err != nil {
		return err
	}
	ec := openfeature.NewTargetlessEvaluationContext(s.context)
	switch or := or.(type) {
	case bool:
		s.details = details(s.client.BooleanValueDetails(s.t.Context(), s.key, or, ec, options...))
	case int64:
		s.details = details(s.client.IntValueDetails(s.t.Context(), s.key, or, ec, options...))
	case float64:
		s.details = details(s.client.FloatValueDetails(s.t.Context(), s.key, or, ec, options...))
	case string:
		s.details = details(s.client.StringValueDetails(s.t.Context(), s.key, or, ec, options...))
	default:
		s.details = details(s.client.ObjectValueDetails(s.t.Context(), s.key, or, ec, options...))
	}
	return nil
}

// details leaves the error out: the details tell it too.
func details[T any](d openfeature.GenericEvaluationDetails[T], _ error) openfeature.InterfaceEvaluationDetails {
	return openfeature.InterfaceEvaluationDetails{Value: d.Value, EvaluationDetails: d.EvaluationDetails}
}

// flag says which flag a scenario is about.
func (s *scenario) flag(kind, key, or string) error {
	s.kind, s.key, s.or = strings.ToLower(kind), key, or
	return nil
}

// evaluated is flag and evaluate at once, as the older suite has it.
func (s *scenario) evaluated(kind, key, or string) error {
	return errors.Join(s.flag(kind, key, or), s.evaluate())
}

func (s *scenario) valueIs(want string) error           { return same(s.kind, want, s.details.Value) }
func (s *scenario) kindValueIs(kind, want string) error { return same(kind, want, s.details.Value) }
func (s *scenario) variantIs(want string) error {
	return equal("variant", s.details.Variant, want)
}
func (s *scenario) reasonIs(want string) error {
	return equal("reason", s.details.Reason, openfeature.Reason(want))
}
func (s *scenario) codeIs(want string) error {
	return equal("error code", s.details.ErrorCode, openfeature.ErrorCode(want))
}

func (s *scenario) steps(sc *godog.ScenarioContext) {
	sc.Step(`^an? (stable|not ready|error|fatal|stale) provider$`, s.provider)
	sc.Step(`^an? (\w+)-flag with key "([^"]*)" and a fallback value "(.*)"$`, s.flag)
	sc.Step(`^a context containing a key "([^"]*)", with type "([^"]*)" and with value "([^"]*)"$`, func(key, kind, text string) error {
		v, err := meant(strings.ToLower(kind), text)
		s.with(key, v)
		return err
	})
	sc.Step(`^a context containing a key "([^"]*)" with null value$`, func(key string) { s.with(key, nil) })
	sc.Step(`^the flag was evaluated with details$`, func() error { return s.evaluate() })
	sc.Step(`^the resolved details value should be "(.*)"$`, s.valueIs)
	sc.Step(`^the reason should be "([^"]*)"$`, s.reasonIs)
	sc.Step(`^the variant should be "([^"]*)"$`, s.variantIs)
	sc.Step(`^the error-code should be "([^"]*)"$`, s.codeIs)
	sc.Step(`^the flag key should be "([^"]*)"$`, func(want string) error { return equal("key", s.details.FlagKey, want) })
	sc.Step(`^the provider status should be "([^"]*)"$`, func(want string) error { return equal("status", s.client.State(), openfeature.State(want)) })
	free := errors.New("there is no free-form metadata") // each scenario that asks for it is inapplicable
	sc.Step(`^the resolved metadata should contain$`, func(*godog.Table) error { return free })
	sc.Step(`^the resolved metadata is empty$`, func() error { return free })
	s.olderSteps(sc)
	s.hookSteps(sc)
	s.mergeSteps(sc)
	s.promiseSteps(sc)
}

func (s *scenario) with(key string, v any) {
	if s.context == nil {
		s.context = map[string]any{}
	}
	s.context[key] = v
}

// olderSteps are those of evaluation.feature.
func (s *scenario) olderSteps(sc *godog.ScenarioContext) {
	sc.Step(`^an? (boolean|string|integer|float) flag with key "([^"]*)" is evaluated with (?:details and )?default value "?([^"]*)"?$`, s.evaluated)
	sc.Step(`^an object flag with key "([^"]*)" is evaluated with (?:details and )?a null default value$`, func(key string) error { return s.evaluated("object", key, "null") })
	sc.Step(`^a flag with key "([^"]*)" is evaluated with default value "([^"]*)"$`, func(key, or string) error { return s.evaluated("string", key, or) })
	sc.Step(`^a non-existent string flag with key "([^"]*)" is evaluated with details and a fallback value "([^"]*)"$`, func(key, or string) error { return s.evaluated("string", key, or) })
	sc.Step(`^a string flag with key "([^"]*)" is evaluated as an integer, with details and a fallback value (\d+)$`, func(key, or string) error { return s.evaluated("integer", key, or) })
	sc.Step(`^the resolved (boolean|string|integer|float) value should be "?([^"]*)"?$`, s.kindValueIs)
	sc.Step(`^the resolved string response should be "([^"]*)"$`, s.valueIs)
	sc.Step(`^the resolved flag value is "([^"]*)" when the context is empty$`, func(want string) error {
		s.context = nil
		return errors.Join(s.evaluate(), s.valueIs(want))
	})
	sc.Step(`^the resolved (boolean|string|integer|float) details value should be "?([^"]*)"?, the variant should be "([^"]*)", and the reason should be "([^"]*)"$`,
		func(kind, want, variant, reason string) error {
			return errors.Join(s.kindValueIs(kind, want), s.variantIs(variant), s.reasonIs(reason))
		})
	sc.Step(`^the variant should be "([^"]*)", and the reason should be "([^"]*)"$`, func(variant, reason string) error {
		return errors.Join(s.variantIs(variant), s.reasonIs(reason))
	})
	sc.Step(`^the resolved object (?:details )?value should be contain fields "([^"]*)", "([^"]*)", and "([^"]*)", with values "([^"]*)", "([^"]*)" and (\d+), respectively$`,
		func(a, b, c, x, y, z string) error {
			return same("object", fmt.Sprintf(`{%q: %s, %q: %q, %q: %s}`, a, x, b, y, c, z), s.details.Value)
		})
	sc.Step(`^context contains keys "([^"]*)", "([^"]*)", "([^"]*)", "([^"]*)" with values "([^"]*)", "([^"]*)", (\d+), "([^"]*)"$`,
		func(a, b, c, d, w, x string, y int64, z string) error {
			customer, err := strconv.ParseBool(z)
			s.context = map[string]any{a: w, b: x, c: y, d: customer}
			return err
		})
	sc.Step(`^the default (?:string|integer) value should be returned$`, func() error { return s.valueIs(s.or) })
	sc.Step(`^the reason should indicate an error and the error code should indicate a (?:missing flag|type mismatch) with "([^"]*)"$`, func(code string) error {
		return errors.Join(s.reasonIs("ERROR"), s.codeIs(code))
	})
}

// A hook notes which of its stages were called, and with what.
type hook struct {
	name    string
	order   *[]string
	details map[string]openfeature.InterfaceEvaluationDetails
	adds    map[string]any // to the context, before evaluation
}

func (s *scenario) newHook(name string, order *[]string) *hook {
	h := &hook{name: name, order: order, details: map[string]openfeature.InterfaceEvaluationDetails{}}
	s.hooks = append(s.hooks, h)
	return h
}

func (h *hook) called(stage string, d openfeature.InterfaceEvaluationDetails) {
	h.details[stage] = d
	if h.order != nil {
		*h.order = append(*h.order, stage+" "+h.name)
	}
}

func (h *hook) Before(context.Context, openfeature.HookContext, openfeature.HookHints) (*openfeature.EvaluationContext, error) {
	h.called("before", openfeature.InterfaceEvaluationDetails{})
	if h.adds == nil {
		return nil, nil
	}
	ec := openfeature.NewTargetlessEvaluationContext(h.adds)
	return &ec, nil
}

func (h *hook) After(_ context.Context, _ openfeature.HookContext, d openfeature.InterfaceEvaluationDetails, _ openfeature.HookHints) error {
	h.called("after", d)
	return nil
}

func (h *hook) Error(context.Context, openfeature.HookContext, error, openfeature.HookHints) {
	h.called("error", openfeature.InterfaceEvaluationDetails{})
}

func (h *hook) Finally(_ context.Context, _ openfeature.HookContext, d openfeature.InterfaceEvaluationDetails, _ openfeature.HookHints) {
	h.called("finally", d)
}

// hookSteps are those of hooks.feature, and of evaluation options with hooks.
func (s *scenario) hookSteps(sc *godog.ScenarioContext) {
	sc.Step(`^a client with added hook$`, func() { s.client.AddHooks(s.newHook("client", nil)) })
	sc.Step(`^the "(\w+)" hook should have been executed$`, func(stage string) error {
		if _, ok := s.hooks[0].details[stage]; !ok {
			return fmt.Errorf("%s was not called", stage)
		}
		return nil
	})
	sc.Step(`^the "([^"]*)" hooks should be called with evaluation details$`, func(stages string, table *godog.Table) error {
		var errs []error
		for _, stage := range strings.Split(stages, ", ") {
			d, ok := s.hooks[0].details[stage]
			if !ok {
				errs = append(errs, fmt.Errorf("%s was not called", stage))
			}
			got := map[string]any{"flag_key": d.FlagKey, "value": d.Value, "variant": d.Variant, "reason": string(d.Reason), "error_code": string(d.ErrorCode)}
			for _, row := range table.Rows[1:] {
				kind, key, want := row.Cells[0].Value, row.Cells[1].Value, row.Cells[2].Value
				if want == "null" { // what Go has none of is empty
					want = ""
				}
				if err := same(kind, want, got[key]); err != nil {
					errs = append(errs, fmt.Errorf("%s, %s: %w", stage, key, err))
				}
			}
		}
		return errors.Join(errs...)
	})
	var order []string
	sc.Step(`^evaluation options containing specific hooks$`, func() { s.newHook("1", &order); s.newHook("2", &order) })
	sc.Step(`^the flag was evaluated with details using the evaluation options$`, func() error {
		return s.evaluate(openfeature.WithHooks(s.hooks[0], s.hooks[1]))
	})
	sc.Step(`^the specified hooks should execute during evaluation$`, func() error { return equal("number of calls", len(order), 6) })
	sc.Step(`^the hook order should be maintained$`, func() error {
		return equal("order", strings.Join(order, ", "), "before 1, before 2, after 2, after 1, finally 2, finally 1")
	})
}

// mergeSteps are those of contextMerging.feature.
func (s *scenario) mergeSteps(sc *godog.ScenarioContext) {
	add := func(key, v, level string) error {
		if s.at == nil {
			s.at = map[string]map[string]any{}
		}
		if s.at[level] == nil {
			s.at[level] = map[string]any{}
		}
		s.at[level][key] = v
		return nil
	}
	sc.Step(`^a stable provider with retrievable context is registered$`, func() error { return s.provider("stable") })
	sc.Step(`^A context entry with key "([^"]*)" and value "([^"]*)" is added to the "([^"]*)" level$`, add)
	sc.Step(`^A table with levels of increasing precedence$`, func(table *godog.Table) {
		for _, row := range table.Rows {
			s.levels = append(s.levels, row.Cells[0].Value)
		}
	})
	sc.Step(`^Context entries for each level from API level down to the "([^"]*)" level, with key "([^"]*)" and value "([^"]*)"$`, func(last, key, v string) error {
		for _, level := range s.levels {
			text := "of " + level // each level's own, so that only precedence makes it the last one's
			if level == last {
				text = v
			}
			if err := add(key, text, level); err != nil || level == last {
				return err
			}
		}
		return fmt.Errorf("there is no level %s", last)
	})
	sc.Step(`^Some flag was evaluated$`, func() {
		of := func(level string) openfeature.EvaluationContext {
			return openfeature.NewTargetlessEvaluationContext(s.at[level])
		}
		s.api.SetEvaluationContext(of("API"))
		s.client.SetEvaluationContext(of("Client"))
		h := s.newHook("before", nil)
		h.adds = s.at["Before Hooks"]
		s.client.AddHooks(h)
		ctx := openfeature.WithTransactionContext(s.t.Context(), of("Transaction"))
		s.details = details(s.client.BooleanValueDetails(ctx, "boolean-flag", false, of("Invocation")))
	})
	sc.Step(`^The merged context contains an entry with key "([^"]*)" and value "([^"]*)"$`, func(key, want string) error {
		return equal[any]("entry "+key, s.seen.given[key], want)
	})
}

// promiseSteps are those about what OpenFeature promises of any evaluation.
func (s *scenario) promiseSteps(sc *godog.ScenarioContext) {
	sc.Step(`^the flag was evaluated with details asynchronously$`, func() error {
		done := make(chan error, 1)
		began := time.Now()
		go func() { done <- s.evaluate() }() // Go's way of not waiting
		s.took = time.Since(began)
		select {
		case err := <-done:
			return err
		case <-time.After(5 * time.Second):
			return errors.New("it never completes")
		}
	})
	sc.Step(`^the evaluation should complete without blocking$`, func() error {
		if s.took > time.Second {
			return fmt.Errorf("the caller waited %v", s.took)
		}
		return nil
	})
	var before map[string]any
	sc.Step(`^an evaluation context with modifiable data$`, func() {
		s.context = map[string]any{"email": "a@example.com", "list": []any{"x"}, "deep": map[string]any{"y": int64(1)}}
		before = map[string]any{"email": "a@example.com", "list": []any{"x"}, "deep": map[string]any{"y": int64(1)}}
	})
	sc.Step(`^the original evaluation context should remain unmodified$`, func() error {
		return equal("context", fmt.Sprint(s.context), fmt.Sprint(before))
	})
	sc.Step(`^the evaluation details should be immutable$`, func() error { // changing what was returned changes no other answer
		first := fmt.Sprint(s.details)
		s.details.FlagMetadata["mine"] = true
		return errors.Join(s.evaluate(), equal("second answer", fmt.Sprint(s.details), first))
	})
}
