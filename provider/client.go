package provider

import (
	"context"

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
	d := detail(c.p, ctx, key, fallback, ec, asObject)
	if d.Resolution.ErrorCode == "" {
		d.Value = own(d.Value)
		d.Resolution.Value = d.Value
	}
	return d
}

func value[T any](p *Provider, ctx context.Context, key string, fallback T, c *eval.Context, as func(any) (T, bool)) T {
	return detail(p, ctx, key, fallback, c, as).Value
}

func detail[T any](p *Provider, ctx context.Context, key string, fallback T, c *eval.Context, as func(any) (T, bool)) Detail[T] {
	if c == nil && ctx != nil {
		c, _ = ctx.Value(contextKey{}).(*eval.Context)
	}
	r := p.evaluateContext(key, c, func(v any) bool { _, ok := as(v); return ok })
	if r.ErrorCode != "" {
		return Detail[T]{fallback, r}
	}
	v, _ := as(r.Value)
	return Detail[T]{v, r}
}
