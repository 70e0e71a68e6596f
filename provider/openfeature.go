package provider

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/open-feature/go-sdk/openfeature"
)

const providerName = "flyball"

var (
	_ openfeature.FeatureProvider          = (*Provider)(nil)
	_ openfeature.ContextAwareStateHandler = (*Provider)(nil)
	_ openfeature.EventHandler             = (*Provider)(nil)
	_ openfeature.Tracker                  = (*Provider)(nil)
)

// Metadata names the provider.
func (p *Provider) Metadata() openfeature.Metadata { return openfeature.Metadata{Name: providerName} }

// Hooks returns none.
func (p *Provider) Hooks() []openfeature.Hook { return nil }

// EventChannel returns the channel of all events, the same each time.
func (p *Provider) EventChannel() <-chan openfeature.Event { return p.events }

// Init is [Provider.InitWithContext] without a context.
func (p *Provider) Init(ec openfeature.EvaluationContext) error {
	return p.InitWithContext(context.Background(), ec)
}

// InitWithContext is [Provider.Start] for OpenFeature: a refused token is
// fatal.
func (p *Provider) InitWithContext(ctx context.Context, _ openfeature.EvaluationContext) error {
	err := p.Start(ctx)
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	code := openfeature.GeneralCode
	switch flyball.CodeOf(err) {
	case flyball.Unauthenticated, flyball.Forbidden:
		code = openfeature.ProviderFatalCode
	}
	return &openfeature.ProviderInitError{ErrorCode: code, Message: err.Error()}
}

// Shutdown is [Provider.ShutdownWithContext] within five seconds.
func (p *Provider) Shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := p.ShutdownWithContext(ctx); err != nil {
		p.log.Warn("telemetry was lost at the end", "error", err)
	}
}

// ShutdownWithContext is [Provider.Close].
func (p *Provider) ShutdownWithContext(ctx context.Context) error { return p.Close(ctx) }

// Track records an observation of the metric name for the targeting key, with
// the details' value and up to eight of their attributes. An observation that
// cannot be used is logged and left out; one whose value is not finite, or
// that has no targeting key, cannot.
func (p *Provider) Track(_ context.Context, name string, ec openfeature.EvaluationContext, details openfeature.TrackingEventDetails) {
	o := flyball.Observation{Metric: name, Unit: ec.TargetingKey(), Value: details.Value()}
	attributes := details.Attributes()
	for _, k := range slices.Sorted(maps.Keys(attributes)) {
		if len(o.Attributes) == flyball.MaxAttributes {
			break
		}
		if v, ok := scalar(attributes[k]); ok {
			if o.Attributes == nil {
				o.Attributes = flyball.Attributes{}
			}
			o.Attributes[k] = v
		}
	}
	if err := p.Observe(o); err != nil {
		p.log.Warn("an observation cannot be used", "metric", name, "error", err)
	}
}

// scalar returns v if it can be an attribute of an observation.
func scalar(v any) (any, bool) {
	switch v := v.(type) {
	case string, bool:
		return v, true
	}
	n, ok := flyball.Number(v)
	if !ok || math.IsInf(n, 0) {
		return nil, false
	}
	return v, true
}

// BooleanEvaluation resolves a boolean flag.
func (p *Provider) BooleanEvaluation(_ context.Context, flag string, fallback bool, flat openfeature.FlattenedContext) openfeature.BoolResolutionDetail {
	return resolve(p, flag, fallback, flat, asBool)
}

// StringEvaluation resolves a string flag.
func (p *Provider) StringEvaluation(_ context.Context, flag string, fallback string, flat openfeature.FlattenedContext) openfeature.StringResolutionDetail {
	return resolve(p, flag, fallback, flat, asString)
}

// FloatEvaluation resolves a number flag, or an integer flag whose value a
// double holds exactly.
func (p *Provider) FloatEvaluation(_ context.Context, flag string, fallback float64, flat openfeature.FlattenedContext) openfeature.FloatResolutionDetail {
	return resolve(p, flag, fallback, flat, asFloat)
}

// IntEvaluation resolves an integer flag, or a number flag whose value has no
// fraction and fits 64 bits.
func (p *Provider) IntEvaluation(_ context.Context, flag string, fallback int64, flat openfeature.FlattenedContext) openfeature.IntResolutionDetail {
	return resolve(p, flag, fallback, flat, asInt)
}

// ObjectEvaluation resolves an object flag. The value is the caller's own.
func (p *Provider) ObjectEvaluation(_ context.Context, flag string, fallback any, flat openfeature.FlattenedContext) openfeature.InterfaceResolutionDetail {
	return resolve(p, flag, fallback, flat, asObject)
}

func asBool(v any) (bool, bool) { b, ok := v.(bool); return b, ok }

func asString(v any) (string, bool) { s, ok := v.(string); return s, ok }

func asObject(v any) (any, bool) {
	switch v.(type) {
	case map[string]any, []any:
		return v, true
	}
	return nil, false
}

func asFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		f := float64(v)
		return f, f < 1<<63 && int64(f) == v
	}
	return 0, false
}

func asInt(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case float64:
		return int64(v), v == math.Trunc(v) && v >= -1<<63 && v < 1<<63
	}
	return 0, false
}

func resolve[T any](p *Provider, flag string, fallback T, flat openfeature.FlattenedContext, as func(any) (T, bool)) openfeature.GenericResolutionDetail[T] {
	ec := flyball.EvaluationContext{Attributes: flyball.Attributes(flat)}
	ec.TargetingKey, _ = flat[openfeature.TargetingKey].(string)
	r := p.evaluate(flag, &ec, func(v any) bool { _, ok := as(v); return ok })
	out := openfeature.GenericResolutionDetail[T]{Value: fallback, ProviderResolutionDetail: openfeature.ProviderResolutionDetail{
		Reason: openfeature.Reason(r.Reason), Variant: r.Variant, ResolutionError: resolutionError(flag, r.ErrorCode), FlagMetadata: p.metadata(&r),
	}}
	if r.ErrorCode == "" {
		out.Value, _ = as(own(r.Value))
	}
	return out
}

// own returns a value that the caller may change: objects are copied.
func own(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for k, e := range v {
			c[k] = own(e)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, e := range v {
			c[i] = own(e)
		}
		return c
	}
	return v
}

func (p *Provider) metadata(r *flyball.Resolution) openfeature.FlagMetadata {
	rs := p.rules.Current()
	if rs == nil {
		return nil
	}
	m := openfeature.FlagMetadata{"flagSetId": rs.Environment(), "version": r.Version}
	if r.Rule != "" {
		m["rule"] = r.Rule
	}
	if r.Rollout != "" {
		m["rollout"], m["step"] = r.Rollout, int64(r.Step)
	}
	return m
}

func resolutionError(flag string, code flyball.ErrorCode) openfeature.ResolutionError {
	switch code {
	case "":
		return openfeature.ResolutionError{}
	case flyball.ErrorFlagNotFound:
		return openfeature.NewFlagNotFoundResolutionError("there is no flag " + flag)
	case flyball.ErrorTypeMismatch:
		return openfeature.NewTypeMismatchResolutionError("the value of " + flag + " is of another type")
	case flyball.ErrorTargetingKeyMissing:
		return openfeature.NewTargetingKeyMissingResolutionError("the split of " + flag + " needs a unit that the context lacks")
	case flyball.ErrorProviderNotReady:
		return openfeature.NewProviderNotReadyResolutionError("no ruleset yet")
	}
	return openfeature.NewGeneralResolutionError("evaluation of " + flag + " failed")
}
