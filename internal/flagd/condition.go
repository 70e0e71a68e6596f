package flagd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flyballdev/flyball"
)

// few is how many values are compared one by one, which tells types apart in
// every language; more are looked up in a list of one type.
const few = 32

// condition compiles a condition, and tells of what it needs.
func (e *exporter) condition(c flyball.Condition, n *needs) (logic, error) {
	parts, combine := c.All, all
	switch {
	case c.All != nil:
	case c.Any != nil:
		parts, combine = c.Any, some
	case c.Not != nil:
		l, err := e.condition(*c.Not, n)
		return not(l), err
	case c.Segment != "":
		return e.segment(c.Segment, n)
	default:
		return test(c, n)
	}
	out := make([]logic, len(parts))
	for i, part := range parts {
		var err error
		if out[i], err = e.condition(part, n); err != nil {
			return "", err
		}
	}
	return combine(out...), nil
}

// test compiles a test of an attribute. Whatever the attribute holds, it is
// true, or false in one of JsonLogic's ways, and never an error.
func test(c flyball.Condition, n *needs) (logic, error) {
	a, err := attributeAt(c.Attribute)
	if err != nil {
		return "", err
	}
	switch c.Op {
	case flyball.OpMatches, flyball.OpCIDR:
		return "", fmt.Errorf("attribute %s: flagd has nothing like %s", c.Attribute, c.Op)
	case flyball.OpBefore, flyball.OpAfter:
		return "", fmt.Errorf("attribute %s: flagd cannot read a date, as %s does: compare epoch seconds with lt or gt", c.Attribute, c.Op)
	}
	for _, v := range c.Values {
		if !exact(v) {
			return "", fmt.Errorf("attribute %s: %v is an integer beyond 2^53, which not every evaluator keeps apart from the next", c.Attribute, v)
		}
	}
	var l logic
	switch c.Op {
	case flyball.OpExists:
		want, _ := c.Values[0].(bool)
		if l = a.present(); !want {
			l = not(l)
		}
		return l, nil
	case flyball.OpIn:
		l = in(a, c.Values)
	case flyball.OpStartsWith:
		l = anyOf(c.Values, func(v logic) logic { return call("starts_with", a.value, v) })
	case flyball.OpEndsWith:
		l = anyOf(c.Values, func(v logic) logic { return call("ends_with", a.value, v) })
	case flyball.OpContains:
		l = all(a.isString(), anyOf(c.Values, func(v logic) logic {
			if v == `""` { // JavaScript looks for it in an empty string in vain
				return always
			}
			return call("in", v, a.value)
		}))
	case flyball.OpLT, flyball.OpLTE, flyball.OpGT, flyball.OpGTE:
		if l = never; !a.unit { // the targeting key is a string
			l = all(a.isNumber(), anyOf(c.Values, func(v logic) logic { return call(comparisons[c.Op], a.value, v) }))
		}
	case flyball.OpSemverEq, flyball.OpSemverLT, flyball.OpSemverLTE, flyball.OpSemverGT, flyball.OpSemverGTE:
		if l, err = version(a, c); err != nil {
			return "", err
		}
		n.doubt(unreadable(a))
	default:
		return "", fmt.Errorf("attribute %s: this version does not know %s", c.Attribute, c.Op)
	}
	return all(a.guard, l), nil
}

var comparisons = map[flyball.Op]string{
	flyball.OpLT: "<", flyball.OpLTE: "<=", flyball.OpGT: ">", flyball.OpGTE: ">=",
	flyball.OpSemverEq: "=", flyball.OpSemverLT: "<", flyball.OpSemverLTE: "<=", flyball.OpSemverGT: ">", flyball.OpSemverGTE: ">=",
}

func anyOf(values flyball.Values, one func(logic) logic) logic {
	parts := make([]logic, len(values))
	for i, v := range values {
		parts[i] = one(literal(v))
	}
	return some(parts...)
}

// in holds if the attribute, or an element of it if it is a list, equals one
// of the values. Merging makes a list of either, and never fails.
func in(a attribute, values flyball.Values) logic {
	const element logic = `{"var":""}`
	var strings, numbers, booleans []logic
	for _, v := range values {
		switch v := v.(type) {
		case string:
			if v != "" || !a.unit {
				strings = append(strings, literal(v))
			}
		case bool:
			booleans = append(booleans, literal(v))
		default:
			numbers = append(numbers, literal(v))
		}
	}
	if a.unit {
		return among(a.value, strings)
	}
	found := some(among(element, strings), among(element, numbers), among(element, distinct(booleans)))
	return call("some", call("merge", a.value), found)
}

func distinct(l []logic) []logic {
	slices.Sort(l)
	return slices.Compact(l)
}

// among holds if x, which is no list, is one of some literals.
func among(x logic, values []logic) logic {
	if len(values) > few {
		return call("in", x, list(values...))
	}
	parts := make([]logic, len(values))
	for i, v := range values {
		parts[i] = equal(x, v)
	}
	return some(parts...)
}

// exact says whether a value is the same wherever numbers are doubles.
func exact(v any) bool {
	switch v := v.(type) {
	case int64:
		return v >= -safe && v <= safe
	case float64:
		return v < -1<<63 || v >= 1<<63 || v >= -safe && v <= safe
	case []any:
		for _, part := range v {
			if !exact(part) {
				return false
			}
		}
	case map[string]any:
		for _, part := range v {
			if !exact(part) {
				return false
			}
		}
	}
	return true
}

// segment compiles a segment, and all segments that it uses into it, since
// flagd's shared expressions cannot refer to each other. A large one is shared
// by those who use it.
func (e *exporter) segment(key string, n *needs) (logic, error) {
	s := e.sets[key]
	if s == nil {
		s = &set{needs: needs{inside: true}, err: fmt.Errorf("segment %s is not there, or needs itself", key)}
		e.sets[key] = s
		if def := e.segments[key]; def != nil {
			s.logic, s.err = e.compileSegment(def, &s.needs)
		}
	}
	n.add(s.needs)
	if s.err == nil && !n.inside && s.shareable() {
		n.segment(key)
		return reference(key), nil
	}
	return s.logic, s.err
}

// A set is what a segment compiles to.
type set struct {
	logic logic
	needs needs
	err   error
}

// shareable says whether it pays to share a segment, and can be done: programs
// put it in place as text, and in JavaScript's replacements these pairs mean
// something else.
func (s *set) shareable() bool {
	if len(s.logic) < 256 {
		return false
	}
	for _, pair := range []string{"$$", "$&", "$'", "$`"} {
		if strings.Contains(string(s.logic), pair) {
			return false
		}
	}
	return true
}

const referencePrefix = "segment:"

func reference(segment string) logic { return `{"$ref":` + literal(referencePrefix+segment) + `}` }

func (e *exporter) compileSegment(def *flyball.Segment, n *needs) (logic, error) {
	rest := never
	if def.If != nil {
		var err error
		if rest, err = e.condition(*def.If, n); err != nil {
			return "", fmt.Errorf("segment %s: %w", def.Key, err)
		}
	}
	key := variable(flyball.AttributeTargetingKey)
	l := all(not(among(key, literals(def.Exclude))), some(among(key, literals(def.Include)), rest))
	if len(l) > maxTargeting {
		return "", fmt.Errorf("segment %s takes %d KiB, at most %d: flagd writes it into each flag that uses it", def.Key, len(l)>>10, maxTargeting>>10)
	}
	return l, nil
}

func literals(keys []string) []logic {
	out := make([]logic, len(keys))
	for i, k := range keys {
		out[i] = literal(k)
	}
	return out
}

// version compiles a comparison of versions. Evaluators differ in which texts
// they take for a version: what passes the guards, and flagd can read, we read
// alike. What we can read and flagd cannot, [unreadable] finds.
func version(a attribute, c flyball.Condition) (logic, error) {
	parts := make([]logic, len(c.Values))
	for i, v := range c.Values {
		s, _ := v.(string)
		full, err := fullVersion(s)
		if err != nil {
			return "", fmt.Errorf("attribute %s: %w", c.Attribute, err)
		}
		parts[i] = call("sem_ver", a.value, literal(comparisons[c.Op]), literal(full))
	}
	const lasts = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-"
	return all(a.isString(), startsAsVersion(a.value),
		call("in", call("substr", a.value, "-1"), literal(lasts)), // no space, which others trim
		equal(call("substr", a.value, "0", "256"), a.value),
		some(parts...)), nil
}

// startsAsVersion holds for strings with a digit in front, or behind a v.
func startsAsVersion(x logic) logic {
	const digits logic = `"0123456789"`
	return some(
		call("in", call("substr", x, "0", "1"), digits),
		all(call("starts_with", x, `"v"`), call("in", call("substr", x, "1", "1"), digits)))
}

// unreadable holds for strings that may be versions to us but are none to
// flagd: 1.2-beta, and numbers beyond 2^53. It errs on the side of caution.
func unreadable(a attribute) logic {
	return all(a.guard, a.isString(), startsAsVersion(a.value),
		not(call("sem_ver", a.value, `"="`, a.value)),
		some(call("in", `"-"`, a.value), call("in", `"+"`, a.value), differ(call("substr", a.value, "0", "15"), a.value)))
}

// fullVersion writes a version with all three numbers.
func fullVersion(s string) (string, error) {
	if _, ok := flyball.ParseVersion(s); !ok {
		return "", fmt.Errorf("%q is not a version", s)
	}
	s, _, _ = strings.Cut(strings.TrimPrefix(s, "v"), "+")
	core, pre, hasPre := strings.Cut(s, "-")
	for strings.Count(core, ".") < 2 {
		core += ".0"
	}
	for part := range strings.SplitSeq(core+"."+pre, ".") {
		if len(part) > 15 && strings.Trim(part, "0123456789") == "" {
			return "", fmt.Errorf("version %s has a number of more than 15 digits, which flagd does not read", s)
		}
	}
	if hasPre {
		core += "-" + pre
	}
	return core, nil
}
