package eval

import (
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
)

// A condition is a compiled [flyball.Condition]. It is one struct and no
// interface, so that the state of an evaluation stays on the stack.
type condition struct {
	kind    kind
	parts   []condition // all, any; not has one
	segment *segment
	test    *test
}

type kind uint8

const (
	kindAll kind = iota
	kindAny
	kindNot
	kindSegment
	kindTest
)

// A segment is a compiled [flyball.Segment].
type segment struct {
	def     *flyball.Segment
	include map[string]struct{}
	exclude map[string]struct{}
	rest    *condition // nil if only listed keys are in
	tests   int        // how many tests an evaluation can need
}

// A test is a compiled test of an attribute. Which fields are set follows from
// the operator.
type test struct {
	op       flyball.Op
	at       attribute
	strings  []string            // in, few; startsWith, endsWith, contains
	set      map[string]struct{} // in, many
	integers map[int64]struct{}  // in
	floats   []float64           // in: those that are no int64
	bools    [2]bool             // in: false, true; exists: [1]
	patterns []*regexp.Regexp    // matches
	bound    number              // lt, lte, gt, gte: the easiest of the values
	instant  int64               // before, after: the same, in microseconds
	versions []flyball.Version   // semver…
	prefixes []netip.Prefix      // cidr
}

// An attribute is where a test or a split finds its value.
type attribute struct {
	unit bool     // the targeting key itself
	name string   // an attribute of the context
	rest []string // names in nested maps
}

func compileAttribute(path string) attribute {
	parts, err := flyball.ParsePath(path)
	if err != nil { // an empty path is the targeting key; others were refused before
		return attribute{unit: true}
	}
	unit := len(parts) == 1 && parts[0] == flyball.AttributeTargetingKey
	return attribute{unit: unit, name: parts[0], rest: parts[1:]}
}

// few is how many strings are compared one by one; more are looked up.
const few = 8

func compileTest(c flyball.Condition) *test {
	t := &test{op: c.Op, at: compileAttribute(c.Attribute)}
	for i, v := range c.Values {
		switch c.Op {
		case flyball.OpIn:
			t.addIn(v)
		case flyball.OpExists:
			t.bools[1], _ = v.(bool)
		case flyball.OpLT, flyball.OpLTE:
			if n, ok := numberOf(v); ok && (i == 0 || n.compare(t.bound) > 0) {
				t.bound = n
			}
		case flyball.OpGT, flyball.OpGTE:
			if n, ok := numberOf(v); ok && (i == 0 || n.compare(t.bound) < 0) {
				t.bound = n
			}
		case flyball.OpBefore:
			if at, ok := flyball.Instant(v); ok && (i == 0 || at > t.instant) {
				t.instant = at
			}
		case flyball.OpAfter:
			if at, ok := flyball.Instant(v); ok && (i == 0 || at < t.instant) {
				t.instant = at
			}
		default:
			if s, ok := v.(string); ok {
				t.addString(s)
			}
		}
	}
	if t.op == flyball.OpIn && len(t.strings) > few {
		t.set = setOf(t.strings)
	}
	return t
}

func (t *test) addIn(v any) {
	switch v := v.(type) {
	case string:
		t.strings = append(t.strings, v)
	case bool:
		t.bools[index(v)] = true
	default:
		if n, ok := numberOf(v); ok && n.whole {
			if t.integers == nil {
				t.integers = map[int64]struct{}{}
			}
			t.integers[n.i] = struct{}{}
		} else if ok {
			t.floats = append(t.floats, n.f)
		}
	}
}

func (t *test) addString(s string) {
	switch t.op {
	case flyball.OpMatches:
		if p, err := flyball.CompilePattern(s); err == nil {
			t.patterns = append(t.patterns, p)
		}
	case flyball.OpCIDR:
		if p, err := flyball.ParsePrefix(s); err == nil {
			t.prefixes = append(t.prefixes, unmapped(p))
		}
	case flyball.OpSemverEq, flyball.OpSemverLT, flyball.OpSemverLTE, flyball.OpSemverGT, flyball.OpSemverGTE:
		if v, ok := flyball.ParseVersion(s); ok {
			t.versions = append(t.versions, v)
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

func setOf(keys []string) map[string]struct{} {
	if len(keys) == 0 {
		return nil
	}
	set := make(map[string]struct{}, len(keys))
	for _, k := range keys {
		set[k] = struct{}{}
	}
	return set
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// holds says whether the condition holds for the context of st.
func (c *condition) holds(st *state) bool {
	switch c.kind {
	case kindTest:
		return c.test.holds(st)
	case kindAll:
		for i := range c.parts {
			if !c.parts[i].holds(st) {
				return false
			}
		}
		return true
	case kindAny:
		for i := range c.parts {
			if c.parts[i].holds(st) {
				return true
			}
		}
		return false
	case kindNot:
		return !c.parts[0].holds(st)
	}
	return c.segment.holds(st)
}

func (s *segment) holds(st *state) bool {
	if key := st.ec.TargetingKey; key != "" {
		if _, out := s.exclude[key]; out {
			return false
		}
		if _, in := s.include[key]; in {
			return true
		}
	}
	return s.rest != nil && s.rest.holds(st)
}

func (t *test) holds(st *state) bool {
	if t.at.unit {
		key := st.ec.TargetingKey
		if t.op == flyball.OpExists {
			return (key != "") == t.bools[1]
		}
		return key != "" && t.holdsString(key)
	}
	v := st.attribute(&t.at)
	if t.op == flyball.OpExists {
		return (v != nil) == t.bools[1]
	}
	if s, ok := v.(string); ok {
		return t.holdsString(s)
	}
	if v == nil {
		return false
	}
	return t.holdsOther(v)
}

func (t *test) holdsString(s string) bool {
	switch t.op {
	case flyball.OpIn:
		if t.set != nil {
			_, in := t.set[s]
			return in
		}
		for _, v := range t.strings {
			if s == v {
				return true
			}
		}
	case flyball.OpStartsWith:
		for _, v := range t.strings {
			if strings.HasPrefix(s, v) {
				return true
			}
		}
	case flyball.OpEndsWith:
		for _, v := range t.strings {
			if strings.HasSuffix(s, v) {
				return true
			}
		}
	case flyball.OpContains:
		for _, v := range t.strings {
			if strings.Contains(s, v) {
				return true
			}
		}
	case flyball.OpMatches:
		for _, p := range t.patterns {
			if len(s) <= flyball.MaxMatchBytes && p.MatchString(s) {
				return true
			}
		}
	case flyball.OpBefore, flyball.OpAfter:
		return len(s) >= len("2006-01-02T15:04:05Z") && t.holdsInstant(s)
	case flyball.OpCIDR:
		return t.holdsAddress(s)
	case flyball.OpSemverEq, flyball.OpSemverLT, flyball.OpSemverLTE, flyball.OpSemverGT, flyball.OpSemverGTE:
		return t.holdsVersion(s)
	}
	return false
}

// holdsOther tests what is neither a string nor missing.
func (t *test) holdsOther(v any) bool {
	switch t.op {
	case flyball.OpIn:
		return t.holdsIn(v)
	case flyball.OpLT, flyball.OpLTE, flyball.OpGT, flyball.OpGTE:
		n, ok := numberOf(v)
		return ok && t.holdsNumber(n)
	case flyball.OpBefore, flyball.OpAfter:
		return t.holdsInstant(v)
	}
	return false
}

func (t *test) holdsIn(v any) bool {
	switch v := v.(type) {
	case bool:
		return t.bools[index(v)]
	case []any:
		for _, e := range v {
			if t.equalsOne(e) {
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
	if n, ok := numberOf(v); ok {
		return t.inNumbers(n)
	}
	return t.holdsAnyOf(v)
}

// equalsOne tests one element of a list: a list in a list equals nothing.
func (t *test) equalsOne(e any) bool {
	switch e := plain(e).(type) {
	case string:
		return t.holdsString(e)
	case bool:
		return t.bools[index(e)]
	default:
		n, ok := numberOf(e)
		return ok && t.inNumbers(n)
	}
}

func (t *test) inNumbers(n number) bool {
	if n.whole {
		_, in := t.integers[n.i]
		return in
	}
	for _, f := range t.floats {
		if n.f == f {
			return true
		}
	}
	return false
}

func (t *test) holdsNumber(n number) bool {
	order := n.compare(t.bound)
	switch t.op {
	case flyball.OpLT:
		return order < 0
	case flyball.OpLTE:
		return order <= 0
	case flyball.OpGT:
		return order > 0
	}
	return order >= 0
}

func (t *test) holdsInstant(v any) bool {
	if at, ok := v.(time.Time); ok && (at.Year() < -9999 || at.Year() > 9999) {
		return false
	}
	at, ok := flyball.Instant(v)
	if t.op == flyball.OpBefore {
		return ok && at < t.instant
	}
	return ok && at > t.instant
}

func (t *test) holdsAddress(s string) bool {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	for _, p := range t.prefixes {
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
	for _, w := range t.versions {
		order := v.Compare(w)
		holds := false
		switch t.op {
		case flyball.OpSemverEq:
			holds = order == 0
		case flyball.OpSemverLT:
			holds = order < 0
		case flyball.OpSemverLTE:
			holds = order <= 0
		case flyball.OpSemverGT:
			holds = order > 0
		case flyball.OpSemverGTE:
			holds = order >= 0
		}
		if holds {
			return true
		}
	}
	return false
}
