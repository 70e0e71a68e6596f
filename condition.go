package flyball

import (
	"fmt"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"time"
)

// An Op is the operator of a condition's test.
type Op string

// The operators. A test on an attribute that the context lacks, or has with
// another type, is false.
const (
	OpIn         Op = "in"         // equals one of the values; a list shares one
	OpStartsWith Op = "startsWith" // strings
	OpEndsWith   Op = "endsWith"
	OpContains   Op = "contains"
	OpMatches    Op = "matches" // RE2
	OpLT         Op = "lt"      // numbers
	OpLTE        Op = "lte"
	OpGT         Op = "gt"
	OpGTE        Op = "gte"
	OpBefore     Op = "before" // RFC 3339, or epoch seconds
	OpAfter      Op = "after"
	OpSemverEq   Op = "semverEq" // Semantic Versioning 2.0 precedence
	OpSemverLT   Op = "semverLt"
	OpSemverLTE  Op = "semverLte"
	OpSemverGT   Op = "semverGt"
	OpSemverGTE  Op = "semverGte"
	OpCIDR       Op = "cidr"   // an address lies in one of the prefixes
	OpExists     Op = "exists" // [true] or [false]
)

// Limits of conditions.
const (
	MaxDepth        = 5    // of nesting
	MaxClauses      = 50   // parts of one condition, all levels together
	MaxValues       = 1000 // of one test
	MaxPatternBytes = 256
	MaxMatchBytes   = 1024 // of an input to OpMatches; longer never matches
	maxProgram      = 1000 // instructions of a compiled pattern
	maxPathBytes    = 256
)

// A Condition is exactly one of: all of some conditions, any of some, the
// negation of one, membership of a segment, or a test of an attribute.
type Condition struct {
	All       []Condition `json:"all,omitempty" doc:"every one holds"`
	Any       []Condition `json:"any,omitempty" doc:"at least one holds"`
	Not       *Condition  `json:"not,omitempty" doc:"it does not hold"`
	Segment   string      `json:"segment,omitempty" doc:"the unit is in this segment"`
	Attribute string      `json:"attribute,omitempty" doc:"a path: plan, device.os, [\"dotted.name\"], targetingKey" example:"country"`
	Op        Op          `json:"op,omitempty" enum:"in,startsWith,endsWith,contains,matches,lt,lte,gt,gte,before,after,semverEq,semverLt,semverLte,semverGt,semverGte,cidr,exists"`
	Values    Values      `json:"values,omitempty" doc:"alternatives: one must hold"`
}

// Validate reports every problem of the condition at once.
func (c Condition) Validate() error {
	p := newProblems()
	c.validate(p)
	return p.err()
}

func (c Condition) validate(p problems) {
	clauses := 0
	c.walk(p, 1, &clauses)
	if clauses > MaxClauses {
		p.add("", "%d parts, at most %d: move some into a segment", clauses, MaxClauses)
	}
}

func (c Condition) walk(p problems, depth int, clauses *int) {
	*clauses++
	if *clauses > MaxClauses {
		return
	}
	if depth > MaxDepth {
		p.add("", "nested more than %d deep: move the inner part into a segment", MaxDepth)
		return
	}
	forms := 0
	for _, is := range []bool{c.All != nil, c.Any != nil, c.Not != nil, c.Segment != "", c.Attribute != "" || c.Op != "" || c.Values != nil} {
		if is {
			forms++
		}
	}
	if forms != 1 {
		p.add("", "give exactly one of all, any, not, segment, or attribute with op and values")
		return
	}
	switch {
	case c.All != nil:
		walkAll(p, "all", c.All, depth, clauses)
	case c.Any != nil:
		walkAll(p, "any", c.Any, depth, clauses)
	case c.Not != nil:
		c.Not.walk(p.at("not"), depth+1, clauses)
	case c.Segment != "":
		p.key("segment", c.Segment)
	default:
		c.validateTest(p)
	}
}

func walkAll(p problems, name string, parts []Condition, depth int, clauses *int) {
	if len(parts) == 0 {
		p.add(name, "needs at least one condition")
	}
	for i, part := range parts {
		part.walk(p.at("%s[%d]", name, i), depth+1, clauses)
	}
}

func (c Condition) validateTest(p problems) {
	p.attribute("attribute", c.Attribute)
	several := len(c.Values) >= 1 && len(c.Values) <= MaxValues
	if !several {
		p.add("values", "%d values; a test has 1 to %d", len(c.Values), MaxValues)
	}
	if !oneOf(p, "op", c.Op, OpIn, OpStartsWith, OpEndsWith, OpContains, OpMatches, OpLT, OpLTE, OpGT, OpGTE, OpBefore, OpAfter,
		OpSemverEq, OpSemverLT, OpSemverLTE, OpSemverGT, OpSemverGTE, OpCIDR, OpExists) || !several {
		return
	}
	for i, v := range c.Values {
		if err := c.Op.check(v); err != nil {
			p.add(fmt.Sprintf("values[%d]", i), "%v", err)
		}
	}
	if c.Op == OpExists && len(c.Values) != 1 {
		p.add("values", "exists takes exactly one of true and false")
	}
}

// check says what is wrong with a value of an operator's test.
func (op Op) check(v any) error {
	if op == OpIn {
		switch v.(type) {
		case string, bool, int64, float64:
			return nil
		}
		return fmt.Errorf("in takes strings, numbers and booleans")
	}
	if op == OpExists {
		if _, ok := v.(bool); !ok {
			return fmt.Errorf("exists takes true or false")
		}
		return nil
	}
	switch op {
	case OpLT, OpLTE, OpGT, OpGTE:
		if _, ok := Number(v); !ok {
			return fmt.Errorf("%s takes numbers", op)
		}
		return nil
	case OpBefore, OpAfter:
		if _, ok := Instant(v); !ok {
			return fmt.Errorf("%s takes RFC 3339 times or epoch seconds", op)
		}
		return nil
	}
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("%s takes strings", op)
	}
	return op.checkString(s)
}

func (op Op) checkString(s string) error {
	switch op {
	case OpMatches:
		_, err := CompilePattern(s)
		return err
	case OpCIDR:
		_, err := ParsePrefix(s)
		return err
	case OpSemverEq, OpSemverLT, OpSemverLTE, OpSemverGT, OpSemverGTE:
		if _, ok := ParseVersion(s); !ok {
			return fmt.Errorf("%s is not a semantic version such as 1.2.3", quote(s))
		}
	}
	return nil
}

// CompilePattern compiles the RE2 pattern of [OpMatches], within its limits.
func CompilePattern(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > MaxPatternBytes {
		return nil, fmt.Errorf("a pattern has at most %d bytes, this one %d", MaxPatternBytes, len(pattern))
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("not an RE2 pattern: %v", err)
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(prog.Inst) > maxProgram {
		return nil, fmt.Errorf("the pattern is too complex: simplify it")
	}
	return regexp.Compile(pattern)
}

// ParsePrefix reads a prefix such as 10.0.0.0/8; a bare address is a prefix of
// that address alone.
func ParsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap()
		return addr.Prefix(addr.BitLen())
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s is not a prefix such as 10.0.0.0/8", quote(s))
	}
	return prefix.Masked(), nil
}

// Number returns v as a float64 if it is a number of any Go type.
func Number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, v == v
	case int64:
		return float64(v), true
	case int:
		return float64(v), true
	case float32:
		return float64(v), v == v
	case int32:
		return float64(v), true
	case int16:
		return float64(v), true
	case int8:
		return float64(v), true
	case uint:
		return float64(v), true
	case uint64:
		return float64(v), true
	case uint32:
		return float64(v), true
	case uint16:
		return float64(v), true
	case uint8:
		return float64(v), true
	}
	return 0, false
}

// Instant returns v as microseconds since 1970 if it is a time, an RFC 3339
// string, or a number of seconds since 1970.
func Instant(v any) (int64, bool) {
	switch v := v.(type) {
	case time.Time:
		return v.UnixMicro(), true
	case string:
		t, err := time.Parse(time.RFC3339Nano, v)
		return t.UnixMicro(), err == nil
	}
	n, ok := Number(v)
	if !ok || n < -1e11 || n > 1e11 {
		return 0, false
	}
	return int64(n * 1e6), true
}

// attribute checks an attribute's path.
func (p problems) attribute(field, path string) {
	if _, err := ParsePath(path); err != nil {
		p.add(field, "%v", err)
	}
}

// ParsePath splits an attribute's path into its parts: `plan` has one,
// `device.os` two, and `["dotted.name"]` one that holds a dot.
func ParsePath(path string) ([]string, error) {
	if path == "" {
		return nil, fmt.Errorf("name an attribute")
	}
	if len(path) > maxPathBytes {
		return nil, fmt.Errorf("an attribute's path has at most %d bytes", maxPathBytes)
	}
	var parts []string
	for rest := path; ; {
		var part string
		if quoted, ok := strings.CutPrefix(rest, "["); ok {
			end := strings.Index(quoted, "]")
			for end >= 0 && !wellQuoted(quoted[:end]) {
				next := strings.Index(quoted[end+1:], "]")
				if next < 0 {
					end = -1
					break
				}
				end += 1 + next
			}
			if end < 0 {
				return nil, fmt.Errorf("%s is not a path: write [\"name\"]", quote(path))
			}
			part, _ = strconv.Unquote(quoted[:end])
			rest = quoted[end+1:]
		} else {
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			part, rest = rest[:end], rest[end:]
		}
		if part == "" {
			return nil, fmt.Errorf("%s is not a path: a part is empty", quote(path))
		}
		parts = append(parts, part)
		if rest == "" {
			return parts, nil
		}
		if rest[0] == '.' {
			rest = rest[1:]
		} else if rest[0] != '[' {
			return nil, fmt.Errorf("%s is not a path: expected '.' after %q", quote(path), part)
		}
	}
}

func wellQuoted(s string) bool {
	_, err := strconv.Unquote(s)
	return err == nil && strings.HasPrefix(s, `"`)
}
