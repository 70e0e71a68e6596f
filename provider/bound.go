package provider

import (
	"sync/atomic"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// A Flag is a flag that is bound once, where a program starts, and evaluated
// ever after without looking it up: it follows the rulesets that its provider
// receives. It means what the [Client]'s methods mean and is safe for use by
// any number of goroutines.
type Flag[T any] struct {
	p        *Provider
	key      string
	fallback T
	as       func(any) (T, bool)
	shared   bool // values are maps and lists, which callers must not share
	bound    atomic.Pointer[binding[T]]
}

// A binding is what a flag is in one ruleset.
type binding[T any] struct {
	rules    *eval.Ruleset
	flag     *eval.Flag // nil if there is no such flag
	constant bool       // every context gets value, which is counted by tally
	value    T
	tally    *tally
	tallies  []variantTally
}

type variantTally struct {
	variant string
	tally   *tally
}

// BoolFlag binds a boolean flag.
func (c Client) BoolFlag(key string, fallback bool) *Flag[bool] {
	return &Flag[bool]{p: c.p, key: key, fallback: fallback, as: asBool}
}

// StringFlag binds a string flag.
func (c Client) StringFlag(key, fallback string) *Flag[string] {
	return &Flag[string]{p: c.p, key: key, fallback: fallback, as: asString}
}

// IntFlag binds an integer flag.
func (c Client) IntFlag(key string, fallback int64) *Flag[int64] {
	return &Flag[int64]{p: c.p, key: key, fallback: fallback, as: asInt}
}

// FloatFlag binds a number flag.
func (c Client) FloatFlag(key string, fallback float64) *Flag[float64] {
	return &Flag[float64]{p: c.p, key: key, fallback: fallback, as: asFloat}
}

// ObjectFlag binds an object flag. Each value is the caller's own, and so is
// copied.
func (c Client) ObjectFlag(key string, fallback any) *Flag[any] {
	return &Flag[any]{p: c.p, key: key, fallback: fallback, as: asObject, shared: true}
}

// Value evaluates the flag. A nil context is nobody.
func (f *Flag[T]) Value(c *eval.Context) T {
	if b := f.bound.Load(); b != nil && b.constant && b.rules == f.p.rules.Current() {
		b.tally.add()
		f.p.sample.meet(c)
		return b.value
	}
	return f.evaluate(c)
}

// Detail evaluates the flag and tells how the value came about.
func (f *Flag[T]) Detail(c *eval.Context) Detail[T] {
	d := details(f.resolve(c))
	if f.shared {
		if o, ok := any(owned(Detail[any]{d.Value, d.Resolution})).(Detail[T]); ok {
			return o
		}
	}
	return d
}

func (f *Flag[T]) evaluate(c *eval.Context) T {
	if f.shared {
		return f.Detail(c).Value
	}
	v, _, _, _ := f.resolve(c)
	return v
}

// resolve evaluates the flag in the ruleset in force, and counts it.
func (f *Flag[T]) resolve(c *eval.Context) (v T, outcome *flyball.Resolution, by string, version int64) {
	b := f.bind()
	v, outcome, by, version = resolved(f.p, b.rules, b.flag, f.key, f.fallback, c, f.as)
	switch t := b.of(outcome.Variant); {
	case outcome.ErrorCode != "":
	case t != nil:
		t.add()
	default:
		f.p.record.count(f.key, outcome.Variant)
	}
	return v, outcome, by, version
}

// bind returns the binding to the ruleset in force.
func (f *Flag[T]) bind() *binding[T] {
	rules := f.p.rules.Current()
	b := f.bound.Load()
	if b != nil && b.rules == rules {
		return b
	}
	b = &binding[T]{rules: rules, flag: rules.Find(f.key)}
	if b.flag != nil {
		for variant := range rules.Flag(f.key).Variants {
			if t := f.p.record.tally(f.key, variant); t != nil {
				b.tallies = append(b.tallies, variantTally{variant, t})
			}
		}
		if r := b.flag.Constant(); r != nil && !f.shared {
			b.tally = b.of(r.Variant)
			b.value, b.constant = f.as(r.Value)
			b.constant = b.constant && b.tally != nil
		}
	}
	f.bound.Store(b)
	return b
}

// of returns the tally of a variant; nil if there is none.
func (b *binding[T]) of(variant string) *tally {
	for i := range b.tallies {
		if b.tallies[i].variant == variant {
			return b.tallies[i].tally
		}
	}
	return nil
}
