package provider

import (
	"sync/atomic"
	"time"

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
		return b.value
	}
	return f.evaluate(c)
}

// Detail evaluates the flag and tells how the value came about.
func (f *Flag[T]) Detail(c *eval.Context) Detail[T] {
	v, outcome, by := f.resolve(c)
	d := Detail[T]{v, *outcome}
	d.Resolution.By = by
	if f.shared && outcome.ErrorCode == "" {
		d.Value = f.own(v)
		d.Resolution.Value = d.Value
	}
	return d
}

func (f *Flag[T]) evaluate(c *eval.Context) T {
	v, outcome, _ := f.resolve(c)
	if f.shared && outcome.ErrorCode == "" {
		return f.own(v)
	}
	return v
}

func (f *Flag[T]) own(v T) T {
	mine, _ := own(v).(T)
	return mine
}

// resolve evaluates and records as [Provider.evaluateContext] does, though
// without a copy of the outcome.
func (f *Flag[T]) resolve(c *eval.Context) (v T, outcome *flyball.Resolution, by string) {
	b := f.bind()
	defer func() {
		if recover() != nil { // a bug of ours must not take the program down
			f.p.troubled.Store(b.rules)
			v, outcome, by = f.fallback, &flyball.Resolution{Reason: flyball.ReasonError, ErrorCode: flyball.ErrorGeneral}, ""
		}
	}()
	if b.flag == nil {
		r := f.p.evaluateContext(f.key, c, f.fits)
		return f.fallback, &r, ""
	}
	if b.rules.Live() {
		outcome, by = b.flag.Resolve(c, time.Now, func(flag string, r flyball.Resolution) {
			if c != nil && (flag != f.key || f.fits(r.Value)) {
				f.p.record.expose(flag, c.TargetingKey(), &r)
			}
		})
	} else {
		outcome, by = b.flag.Resolve(c, time.Now, nil)
	}
	if outcome.ErrorCode != "" {
		return f.fallback, outcome, by
	}
	v, fits := f.as(outcome.Value)
	if !fits {
		r := mismatch(outcome)
		return f.fallback, &r, ""
	}
	b.count(f, outcome.Variant)
	return v, outcome, by
}

func (f *Flag[T]) fits(v any) bool {
	_, ok := f.as(v)
	return ok
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

func (b *binding[T]) count(f *Flag[T], variant string) {
	if t := b.of(variant); t != nil {
		t.add()
		return
	}
	f.p.record.count(f.key, variant)
}
