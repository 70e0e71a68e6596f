package provider

import (
	"context"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// A Client evaluates flags without the OpenFeature SDK: typed, as a rule
// without an allocation, and with the same values, reasons and telemetry. It
// is safe for use by any number of goroutines.
//
// Every method answers with the given default where the flag cannot be
// evaluated or has another type; the Detail methods tell why. An integer is
// read as a number and the reverse where nothing of the value is lost. A nil
// evaluation context is the one that ctx carries (see [With]); without that,
// nobody.
type Client struct{ p *Provider }

// Client returns a client of the provider.
func (p *Provider) Client() Client { return Client{p} }

// A Detail is a value and how it came about. With an error code in the
// resolution, the value is the caller's default.
type Detail[T any] struct {
	Value      T
	Resolution flyball.Resolution
}

type contextKey struct{}

// With returns a ctx that carries an evaluation context to where flags are
// evaluated without one.
func With(ctx context.Context, c *eval.Context) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// Bool evaluates a boolean flag.
func (c Client) Bool(ctx context.Context, key string, fallback bool, ec *eval.Context) bool {
	return value(c.p, ctx, key, fallback, ec, asBool)
}

// BoolDetail is [Client.Bool] with how the value came about.
func (c Client) BoolDetail(ctx context.Context, key string, fallback bool, ec *eval.Context) Detail[bool] {
	return detail(c.p, ctx, key, fallback, ec, asBool)
}

// String evaluates a string flag.
func (c Client) String(ctx context.Context, key, fallback string, ec *eval.Context) string {
	return value(c.p, ctx, key, fallback, ec, asString)
}

// StringDetail is [Client.String] with how the value came about.
func (c Client) StringDetail(ctx context.Context, key, fallback string, ec *eval.Context) Detail[string] {
	return detail(c.p, ctx, key, fallback, ec, asString)
}

// Int evaluates an integer flag.
func (c Client) Int(ctx context.Context, key string, fallback int64, ec *eval.Context) int64 {
	return value(c.p, ctx, key, fallback, ec, asInt)
}

// IntDetail is [Client.Int] with how the value came about.
func (c Client) IntDetail(ctx context.Context, key string, fallback int64, ec *eval.Context) Detail[int64] {
	return detail(c.p, ctx, key, fallback, ec, asInt)
}

// Float evaluates a number flag.
func (c Client) Float(ctx context.Context, key string, fallback float64, ec *eval.Context) float64 {
	return value(c.p, ctx, key, fallback, ec, asFloat)
}

// FloatDetail is [Client.Float] with how the value came about.
func (c Client) FloatDetail(ctx context.Context, key string, fallback float64, ec *eval.Context) Detail[float64] {
	return detail(c.p, ctx, key, fallback, ec, asFloat)
}

// Object evaluates an object flag: a map[string]any or a []any, which is the
// caller's own.
func (c Client) Object(ctx context.Context, key string, fallback any, ec *eval.Context) any {
	return c.ObjectDetail(ctx, key, fallback, ec).Value
}

// ObjectDetail is [Client.Object] with how the value came about.
func (c Client) ObjectDetail(ctx context.Context, key string, fallback any, ec *eval.Context) Detail[any] {
	return owned(detail(c.p, ctx, key, fallback, ec, asObject))
}

// owned gives the caller an object that it may change.
func owned(d Detail[any]) Detail[any] {
	if d.Resolution.ErrorCode == "" {
		d.Value = own(d.Value)
		d.Resolution.Value = d.Value
	}
	return d
}

func value[T any](p *Provider, ctx context.Context, key string, fallback T, c *eval.Context, as func(any) (T, bool)) T {
	v, _, _, _ := find(p, ctx, key, fallback, c, as)
	return v
}

func detail[T any](p *Provider, ctx context.Context, key string, fallback T, c *eval.Context, as func(any) (T, bool)) Detail[T] {
	v, outcome, by, version := find(p, ctx, key, fallback, c, as)
	return details(v, outcome, by, version)
}

func details[T any](v T, outcome *flyball.Resolution, by string, version int64) Detail[T] {
	d := Detail[T]{v, *outcome}
	d.Resolution.By, d.Resolution.Version = by, version
	return d
}

// find looks a flag up, and resolves and counts it.
func find[T any](p *Provider, ctx context.Context, key string, fallback T, c *eval.Context, as func(any) (T, bool)) (v T, outcome *flyball.Resolution, by string, version int64) {
	if c == nil && ctx != nil {
		c, _ = ctx.Value(contextKey{}).(*eval.Context)
	}
	rules := p.rules.Current()
	v, outcome, by, version = resolved(p, rules, rules.Find(key), key, fallback, c, as)
	if outcome.ErrorCode == "" {
		p.record.count(key, outcome.Variant)
	}
	return v, outcome, by, version
}

// resolved evaluates a flag of a ruleset, nil if there is none, as
// [Provider.evaluate] does, though without a copy of the outcome: it is shared
// and lacks its By and version. A success is left to the caller to count.
func resolved[T any](p *Provider, rules *eval.Ruleset, flag *eval.Flag, key string, fallback T, c *eval.Context, as func(any) (T, bool)) (v T, outcome *flyball.Resolution, by string, version int64) {
	defer func() {
		if recover() != nil { // a bug of ours must not take the program down
			p.troubled.Store(rules)
			v, outcome, by, version = fallback, &flyball.Resolution{Reason: flyball.ReasonError, ErrorCode: flyball.ErrorGeneral}, "", 0
		}
	}()
	p.sample.meet(c)
	if flag == nil {
		r := rules.EvaluateContext(key, c, nil, nil)
		if r.ErrorCode == flyball.ErrorFlagNotFound {
			p.record.unknownFlag(key)
		}
		return fallback, &r, "", r.Version
	}
	version = rules.ID().Version
	if rules.Live() && c != nil {
		outcome, by = rules.Resolve(flag, c, time.Now, func(met string, r flyball.Resolution) {
			if _, fits := as(r.Value); fits || met != key {
				p.record.expose(met, c.TargetingKey(), &r)
			}
		})
	} else {
		outcome, by = rules.Resolve(flag, c, time.Now, nil)
	}
	if outcome.ErrorCode != "" {
		return fallback, outcome, by, version
	}
	v, fits := as(outcome.Value)
	if !fits {
		r := mismatch(outcome)
		return fallback, &r, "", version
	}
	return v, outcome, by, version
}
