package eval

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"
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
	slot    uint8 // counted from 1: where an evaluation remembers the segment; 0 if it need not
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

// A test is a compiled test of an attribute.
type test struct {
	op      operator
	at      attribute
	want    bool     // exists
	bound   number   // lt, lte, gt, gte: the easiest of the values; before, after: in microseconds
	strings []string // in, startsWith, endsWith, contains
	rest    *operands
}

// operands are the values that few tests have.
type operands struct {
	set      map[string]struct{} // in: many strings
	integers map[int64]struct{}  // in
	floats   []float64           // in: those that are no int64
	bools    [2]bool             // in: false, true
	patterns []*regexp.Regexp    // matches
	versions []flyball.Version   // semver…
	prefixes []netip.Prefix      // cidr
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

// An attribute is where a test or a split finds its value.
type attribute struct {
	unit bool     // the targeting key itself
	slot uint8    // counted from 1: where an evaluation remembers the value; 0 if it need not
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
	t := &test{op: operators[c.Op], at: compileAttribute(c.Attribute), rest: &operands{}}
	for i, v := range c.Values {
		switch t.op {
		case opIn:
			t.addIn(v)
		case opExists:
			t.want, _ = v.(bool)
		case opLT, opLTE, opGT, opGTE:
			n, _ := numberOf(v)
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
		t.rest.set = setOf(t.strings)
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
		if n, ok := numberOf(v); ok && n.whole {
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

// slots is how many attributes, and segmentSlots how many segments, an
// evaluation remembers.
const (
	slots        = 8
	segmentSlots = 64
)

// remember gives a slot to each attribute and segment that the rules of one
// flag test more than once. What a segment tests itself is read each time,
// since flags share it.
func remember(rules []rule) {
	paths, segments := map[string][]*uint8{}, map[string][]*uint8{}
	var visit func(c *condition)
	visit = func(c *condition) {
		for i := range c.parts {
			visit(&c.parts[i])
		}
		switch {
		case c.kind == kindSegment:
			segments[c.segment.def.Key] = append(segments[c.segment.def.Key], &c.slot)
		case c.kind == kindTest && !c.test.at.unit:
			path := strings.Join(append([]string{c.test.at.name}, c.test.at.rest...), "\x00")
			paths[path] = append(paths[path], &c.test.at.slot)
		}
	}
	for i := range rules {
		visit(&rules[i].condition)
	}
	number := func(of map[string][]*uint8, most uint8) {
		next := uint8(0)
		for _, key := range slices.Sorted(maps.Keys(of)) {
			if len(of[key]) > 1 && next < most {
				next++
				for _, slot := range of[key] {
					*slot = next
				}
			}
		}
	}
	number(paths, slots)
	number(segments, segmentSlots)
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
	if c.slot == 0 {
		return c.segment.holds(st)
	}
	bit := uint64(1) << (c.slot - 1)
	if st.asked&bit == 0 {
		st.asked |= bit
		if c.segment.holds(st) {
			st.within |= bit
		}
	}
	return st.within&bit != 0
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
		if t.op == opExists {
			return (key != "") == t.want
		}
		return key != "" && t.holdsString(key)
	}
	v := st.attribute(&t.at)
	if t.op == opExists {
		return (v != nil) == t.want
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
	case opIn:
		if t.rest.set != nil {
			_, in := t.rest.set[s]
			return in
		}
		for _, v := range t.strings {
			if s == v {
				return true
			}
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

// holdsOther tests what is neither a string nor missing.
func (t *test) holdsOther(v any) bool {
	switch t.op {
	case opIn:
		return t.holdsIn(v)
	case opLT, opLTE, opGT, opGTE:
		n, ok := numberOf(v)
		return ok && t.holdsNumber(n)
	case opBefore, opAfter:
		return t.holdsInstant(v)
	}
	return false
}

func (t *test) holdsIn(v any) bool {
	switch v := v.(type) {
	case bool:
		return t.rest.bools[index(v)]
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
		return t.rest.bools[index(e)]
	default:
		n, ok := numberOf(e)
		return ok && t.inNumbers(n)
	}
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

func (t *test) holdsNumber(n number) bool {
	order := n.compare(t.bound)
	switch t.op {
	case opLT:
		return order < 0
	case opLTE:
		return order <= 0
	case opGT:
		return order > 0
	}
	return order >= 0
}

func (t *test) holdsInstant(v any) bool {
	if at, ok := v.(time.Time); ok && (at.Year() < -9999 || at.Year() > 9999) {
		return false
	}
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
