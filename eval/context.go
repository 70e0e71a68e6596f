package eval

import (
	"iter"
	"math"
	"time"

	"github.com/flyballdev/flyball"
)

// A Context is what a flag is evaluated for, in a form for hot loops: it is
// built without a map and read without hashing. It means exactly what a
// [flyball.EvaluationContext] of the same attributes means.
//
//	c := eval.NewContext("user-4711").String("country", "CA").Int("age", 42)
//
// Build it once for a request and evaluate many flags with it. Up to eight
// attributes cost no allocation but the context's own, and not even that where
// it does not outlive the function that builds it. Once it is built, any number
// of goroutines may read it. Reading is a scan, so that it
// is quickest with few attributes; with more than fifty, a map is quicker. The
// zero Context is an empty one. Do not copy one: the copy would share what the
// other changes.
type Context struct {
	key    string
	n      int
	first  [8]entry // n of them
	more   []entry  // what first has no room for
	others []any    // values as they were given: those that an entry does not hold
}

// An entry is an attribute of a context.
type entry struct {
	name  string
	tag   tag
	other uint32 // counted from 1: where the value is as it was given, if that tells more
	value value
}

// A tag tells most names apart without reading them.
type tag uint32

func tagOf(name string) tag {
	n := len(name)
	if n == 0 {
		return 0
	}
	return tag(name[0]) | tag(name[n/2])<<8 | tag(name[n-1])<<16 | tag(n)<<24
}

// NewContext returns a context without attributes. The targeting key names the
// unit, as a rule a user; it may be empty.
func NewContext(targetingKey string) *Context { return &Context{key: targetingKey} }

// Reset makes c a context without attributes, and returns it. It is for those
// who build one context after another in the same place.
func (c *Context) Reset(targetingKey string) *Context {
	clear(c.more)
	clear(c.others)
	*c = Context{key: targetingKey, more: c.more[:0], others: c.others[:0]}
	return c
}

// Retarget changes the targeting key and nothing else, and returns c.
func (c *Context) Retarget(targetingKey string) *Context {
	c.key = targetingKey
	return c
}

// ContextOf returns the context that means what ec, which may be nil, means.
// Lists and maps are shared with it.
func ContextOf(ec *flyball.EvaluationContext) *Context {
	if ec == nil {
		return &Context{}
	}
	c := &Context{key: ec.TargetingKey}
	for name, v := range ec.Attributes {
		c.Set(name, v)
	}
	return c
}

// ContextOfFlat returns the context that means what OpenFeature's flattened
// one means: the targeting key is an entry of the map.
func ContextOfFlat(flat map[string]any) *Context {
	key, _ := flat[flyball.AttributeTargetingKey].(string)
	return ContextOf(&flyball.EvaluationContext{TargetingKey: key, Attributes: flat})
}

// EvaluationContext returns the same context with a map. Integers come back as
// int64, every other value as it was given.
func (c *Context) EvaluationContext() *flyball.EvaluationContext {
	ec := &flyball.EvaluationContext{TargetingKey: c.key}
	for name, v := range c.All() {
		if ec.Attributes == nil {
			ec.Attributes = flyball.Attributes{}
		}
		ec.Attributes[name] = v
	}
	return ec
}

// TargetingKey returns the targeting key; empty if there is none, or no
// context.
func (c *Context) TargetingKey() string {
	if c == nil {
		return ""
	}
	return c.key
}

// All returns every attribute, in the order in which they were first set.
func (c *Context) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for _, entries := range [][]entry{c.first[:c.n], c.more} {
			for i := range entries {
				if !yield(entries[i].name, c.given(&entries[i])) {
					return
				}
			}
		}
	}
}

// String sets an attribute and returns c. A name that was set before gets the
// new value, here and in all that follow.
func (c *Context) String(name, v string) *Context {
	c.at(name).value = value{kind: isText, text: v}
	return c
}

// Int sets an attribute to an integer and returns c.
func (c *Context) Int(name string, v int64) *Context {
	c.at(name).value = value{kind: isWhole, bits: uint64(v)}
	return c
}

// Float sets an attribute to a number and returns c.
func (c *Context) Float(name string, v float64) *Context {
	c.at(name).value = value{kind: isFloat, bits: math.Float64bits(v)}
	return c
}

// Bool sets an attribute to a boolean and returns c.
func (c *Context) Bool(name string, v bool) *Context {
	c.at(name).value = value{kind: isBool, bits: uint64(index(v))}
	return c
}

// Time sets an attribute to a point in time and returns c.
func (c *Context) Time(name string, v time.Time) *Context { return c.Set(name, v) }

// Set sets an attribute to a value of any type that
// [flyball.EvaluationContext] takes, and returns c. Lists and maps must not be
// changed afterwards. A nil is no value: the attribute is missing.
func (c *Context) Set(name string, v any) *Context {
	e := c.at(name)
	e.value = valueOf(v)
	switch v.(type) {
	case string, bool, int, int64, float64, nil:
		return c
	}
	c.others = append(c.others, v)
	e.other = uint32(len(c.others))
	return c
}

// at returns the entry of a name, a new one if there is none yet.
func (c *Context) at(name string) *entry {
	tag := tagOf(name)
	e := c.find(tag, name)
	switch {
	case e != nil:
		c.forget(e)
	case c.n < len(c.first):
		e = &c.first[c.n]
		c.n++
		e.name, e.tag = name, tag
	default:
		c.more = append(c.more, entry{name: name, tag: tag})
		e = &c.more[len(c.more)-1]
	}
	return e
}

// forget makes room where a value was kept as it was given, so that a context
// whose attributes are set again and again does not grow.
func (c *Context) forget(e *entry) {
	if e.other == 0 {
		return
	}
	last := uint32(len(c.others))
	for _, entries := range [][]entry{c.first[:c.n], c.more} {
		for i := range entries {
			if entries[i].other == last {
				entries[i].other = e.other
			}
		}
	}
	c.others[e.other-1] = c.others[last-1]
	c.others = c.others[:last-1]
	e.other = 0
}

// find returns the entry of a name; nil if there is none.
func (c *Context) find(tag tag, name string) *entry {
	for i := range c.first[:c.n] {
		if e := &c.first[i]; e.tag == tag && e.name == name {
			return e
		}
	}
	for i := range c.more {
		if e := &c.more[i]; e.tag == tag && e.name == name {
			return e
		}
	}
	return nil
}

// given returns a value as it was given.
func (c *Context) given(e *entry) any {
	if e.other > 0 {
		return c.others[e.other-1]
	}
	switch v := e.value; v.kind {
	case isText:
		return v.text
	case isWhole:
		return int64(v.bits)
	case isFloat:
		return math.Float64frombits(v.bits)
	case isBool:
		return v.bits != 0
	}
	return nil
}
