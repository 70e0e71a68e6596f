package eval

import (
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
)

// A test is a compiled test of an attribute.
type test struct {
	op      operator
	at      attribute
	want    bool                // exists
	bound   number              // lt, lte, gt, gte: the easiest of the values; before, after: in microseconds
	strings []string            // in, startsWith, endsWith, contains
	set     map[string]struct{} // in: many strings, in place of the list
	rest    *operands
}

// operands are the values that few tests have.
type operands struct {
	integers map[int64]struct{} // in
	floats   []float64          // in: those that are no int64
	bools    [2]bool            // in: false, true
	patterns []*regexp.Regexp   // matches
	versions []flyball.Version  // semver…
	prefixes []netip.Prefix     // cidr
}

// An operator is a [flyball.Op] that is quick to switch on.
type operator uint8

const (
	opNone operator = iota
	opIn
	opStartsWith
	opEndsWith
	opContains
	opMatches
	opLT
	opLTE
	opGT
	opGTE
	opBefore
	opAfter
	opSemverEq
	opSemverLT
	opSemverLTE
	opSemverGT
	opSemverGTE
	opCIDR
	opExists
)

var operators = map[flyball.Op]operator{
	flyball.OpIn: opIn, flyball.OpStartsWith: opStartsWith, flyball.OpEndsWith: opEndsWith, flyball.OpContains: opContains,
	flyball.OpMatches: opMatches, flyball.OpLT: opLT, flyball.OpLTE: opLTE, flyball.OpGT: opGT, flyball.OpGTE: opGTE,
	flyball.OpBefore: opBefore, flyball.OpAfter: opAfter, flyball.OpSemverEq: opSemverEq, flyball.OpSemverLT: opSemverLT,
	flyball.OpSemverLTE: opSemverLTE, flyball.OpSemverGT: opSemverGT, flyball.OpSemverGTE: opSemverGTE,
	flyball.OpCIDR: opCIDR, flyball.OpExists: opExists,
}

// few is how many strings are compared one by one; more are looked up.
const few = 8

func compileTest(c flyball.Condition) *test {
	t := &test{op: operators[c.Op], at: compileAttribute(c.Attribute), rest: &operands{}}
	for i, v := range c.Values {
		switch t.op {
		case opIn:
			t.addIn(v)
		case opExists:
			t.want, _ = v.(bool)
		case opLT, opLTE, opGT, opGTE:
			n, _ := valueOf(v).number()
			t.ease(n, i == 0)
		case opBefore, opAfter:
			at, _ := flyball.Instant(v)
			t.ease(number{whole: true, i: at}, i == 0)
		default:
			if s, ok := v.(string); ok {
				t.addString(s)
			}
		}
	}
	if t.op == opIn && len(t.strings) > few {
		t.set, t.strings = setOf(t.strings), nil
	}
	return t
}

// ease makes n the bound if it is the first or easier to meet: one of the
// values must hold.
func (t *test) ease(n number, first bool) {
	order := n.compare(t.bound)
	switch t.op {
	case opLT, opLTE, opBefore:
		first = first || order > 0
	default:
		first = first || order < 0
	}
	if first {
		t.bound = n
	}
}

func (t *test) addIn(v any) {
	switch v := v.(type) {
	case string:
		t.strings = append(t.strings, v)
	case bool:
		t.rest.bools[index(v)] = true
	default:
		if n, ok := valueOf(v).number(); ok && n.whole {
			if t.rest.integers == nil {
				t.rest.integers = map[int64]struct{}{}
			}
			t.rest.integers[n.i] = struct{}{}
		} else if ok {
			t.rest.floats = append(t.rest.floats, n.f)
		}
	}
}

func (t *test) addString(s string) {
	switch t.op {
	case opMatches:
		if p, err := flyball.CompilePattern(s); err == nil {
			t.rest.patterns = append(t.rest.patterns, p)
		}
	case opCIDR:
		if p, err := flyball.ParsePrefix(s); err == nil {
			t.rest.prefixes = append(t.rest.prefixes, unmapped(p))
		}
	case opSemverEq, opSemverLT, opSemverLTE, opSemverGT, opSemverGTE:
		if v, ok := flyball.ParseVersion(s); ok {
			t.rest.versions = append(t.rest.versions, v)
		}
	default:
		t.strings = append(t.strings, s)
	}
}

// unmapped writes a prefix of IPv4 addresses in IPv6 form as what it is.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// holds says whether the test holds; slot is where the evaluation remembers
// the attribute.
func (t *test) holds(st *state, c *Context, slot uint8) bool {
	v := st.value(c, &t.at, slot)
	switch {
	case t.op == opExists:
		return (v.kind != isAbsent) == t.want
	case v.kind == isText:
		return t.holdsString(v.text)
	case v.kind == isAbsent:
		return false
	case v.kind == isOther:
		return t.holdsOther(st.attribute(c, &t.at, slot))
	case t.op == opIn:
		return t.equals(v)
	}
	return t.holdsNumber(v)
}

func (t *test) holdsString(s string) bool {
	switch t.op {
	case opIn:
		for _, v := range t.strings {
			if s == v {
				return true
			}
		}
		if t.set != nil {
			_, in := t.set[s]
			return in
		}
	case opStartsWith:
		for _, v := range t.strings {
			if strings.HasPrefix(s, v) {
				return true
			}
		}
	case opEndsWith:
		for _, v := range t.strings {
			if strings.HasSuffix(s, v) {
				return true
			}
		}
	case opContains:
		for _, v := range t.strings {
			if strings.Contains(s, v) {
				return true
			}
		}
	case opMatches:
		for _, p := range t.rest.patterns {
			if len(s) <= flyball.MaxMatchBytes && p.MatchString(s) {
				return true
			}
		}
	case opBefore, opAfter:
		return len(s) >= len("2006-01-02T15:04:05Z") && t.holdsInstant(s)
	case opCIDR:
		return t.holdsAddress(s)
	case opSemverEq, opSemverLT, opSemverLTE, opSemverGT, opSemverGTE:
		return t.holdsVersion(s)
	}
	return false
}

// equals says whether a value, no list, is one of the test's.
func (t *test) equals(v value) bool {
	switch v.kind {
	case isText:
		return t.holdsString(v.text)
	case isBool:
		return t.rest.bools[v.bits&1]
	}
	n, ok := v.number()
	return ok && t.inNumbers(n)
}

// holdsOther tests what is neither text, a number nor a boolean: a list may
// share one of the values, and a time may lie before or after.
func (t *test) holdsOther(v any) bool {
	switch t.op {
	case opBefore, opAfter:
		at, ok := v.(time.Time)
		return ok && at.Year() >= -9999 && at.Year() <= 9999 && t.holdsInstant(at)
	case opIn:
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				if t.equals(valueOf(e)) { // a list in a list equals nothing
					return true
				}
			}
			return false
		case []string:
			for _, e := range v {
				if t.holdsString(e) {
					return true
				}
			}
			return false
		}
		return t.holdsAnyOf(v)
	}
	return false
}

func (t *test) inNumbers(n number) bool {
	if n.whole {
		_, in := t.rest.integers[n.i]
		return in
	}
	for _, f := range t.rest.floats {
		if n.f == f {
			return true
		}
	}
	return false
}

func (t *test) holdsNumber(v value) bool {
	n, ok := v.number()
	if !ok {
		return false
	}
	switch order := n.compare(t.bound); t.op {
	case opLT:
		return order < 0
	case opLTE:
		return order <= 0
	case opGT:
		return order > 0
	case opGTE:
		return order >= 0
	case opBefore, opAfter:
		if n.whole {
			return t.holdsInstant(n.i)
		}
		return t.holdsInstant(n.f)
	}
	return false
}

func (t *test) holdsInstant(v any) bool {
	at, ok := flyball.Instant(v)
	if t.op == opBefore {
		return ok && at < t.bound.i
	}
	return ok && at > t.bound.i
}

func (t *test) holdsAddress(s string) bool {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	for _, p := range t.rest.prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

func (t *test) holdsVersion(s string) bool {
	v, ok := flyball.ParseVersion(s)
	if !ok {
		return false
	}
	for _, w := range t.rest.versions {
		order := v.Compare(w)
		holds := false
		switch t.op {
		case opSemverEq:
			holds = order == 0
		case opSemverLT:
			holds = order < 0
		case opSemverLTE:
			holds = order <= 0
		case opSemverGT:
			holds = order > 0
		case opSemverGTE:
			holds = order >= 0
		}
		if holds {
			return true
		}
	}
	return false
}

// holdsAnyOf tests the elements of a list of any Go type.
func (t *test) holdsAnyOf(v any) bool {
	r := reflect.ValueOf(v)
	if k := r.Kind(); k != reflect.Slice && k != reflect.Array {
		return false
	}
	for i := range r.Len() {
		if t.equals(valueOf(r.Index(i).Interface())) {
			return true
		}
	}
	return false
}
