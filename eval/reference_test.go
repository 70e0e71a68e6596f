package eval_test

import (
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// A reference evaluates a document as it is read, word by word and without any
// thought of speed: what it says, the compiled ruleset must say too. It shares
// no code with it but the ring.
type reference struct {
	doc     flyball.Ruleset
	now     time.Time
	exposed []string
}

func (e *reference) evaluate(key string, ec *flyball.EvaluationContext) flyball.Resolution {
	i := slices.IndexFunc(e.doc.Flags, func(f flyball.RulesetFlag) bool { return f.Key == key })
	if i < 0 {
		return flyball.Resolution{Reason: flyball.ReasonError, ErrorCode: flyball.ErrorFlagNotFound, Version: e.doc.Version}
	}
	f := e.doc.Flags[i]
	plain := func(variant string, why flyball.Reason, rule string) flyball.Resolution {
		return flyball.Resolution{Value: f.Variants[variant], Variant: variant, Reason: why, Rule: rule, Version: e.doc.Version}
	}
	switch {
	case f.Killed != nil:
		return plain(f.SafeVariant, flyball.ReasonDisabled, "")
	case !f.Enabled:
		return plain(f.OffVariant, flyball.ReasonDisabled, "")
	}
	for _, p := range f.Prerequisites {
		if e.evaluate(p.Flag, ec).Variant != p.Variant {
			return plain(f.OffVariant, flyball.ReasonDefault, "")
		}
	}
	serve, rule, where, why := f.Default, "", flyball.WhereDefault, flyball.ReasonDefault
	if len(f.Rules) == 0 && len(f.Prerequisites) == 0 && f.Rollout == nil {
		why = flyball.ReasonStatic
	}
	for _, r := range f.Rules {
		early := r.NotBefore != nil && e.now.Before(r.NotBefore.Time)
		late := r.NotAfter != nil && !e.now.Before(r.NotAfter.Time)
		if !early && !late && e.holds(r.If, ec) {
			serve, rule, where, why = r.Serve, r.ID, r.ID, flyball.ReasonTargetingMatch
			break
		}
	}
	switch o := f.Rollout; {
	case o != nil && o.Where == where:
		return e.rollout(f, rule, ec)
	case serve.Split == nil:
		return plain(serve.Variant, why, rule)
	}
	unit, ok := unitOf(ec, serve.Split.By)
	if !ok {
		return flyball.Resolution{Reason: flyball.ReasonError, ErrorCode: flyball.ErrorTargetingKeyMissing, Rule: rule, Version: e.doc.Version}
	}
	point, upTo := eval.Point(f.Seed, unit), 0
	for _, w := range serve.Split.Weights {
		if upTo += w.PPM; upTo > int(point) {
			return plain(w.Variant, flyball.ReasonSplit, rule)
		}
	}
	panic("weights do not sum to a million")
}

func (e *reference) rollout(f flyball.RulesetFlag, rule string, ec *flyball.EvaluationContext) flyball.Resolution {
	o := f.Rollout
	r := flyball.Resolution{
		Value: f.Variants[o.Control], Variant: o.Control, Reason: flyball.ReasonDefault, Rule: rule,
		Version: e.doc.Version, Rollout: o.ID, Step: o.Step,
	}
	unit, ok := unitOf(ec, o.Unit)
	if !ok {
		return r
	}
	r.Reason = flyball.ReasonSplit
	if o.Unit != flyball.AttributeTargetingKey {
		r.By = unit
	}
	if o.NotAfter != nil && !e.now.Before(o.NotAfter.Time) {
		return r
	}
	r.Exposed = true
	if int(eval.Point(f.Seed, unit)) < o.PPM {
		r.Value, r.Variant = f.Variants[o.Treatment], o.Treatment
	}
	e.exposed = append(e.exposed, f.Key+" "+r.Variant)
	return r
}

func (e *reference) holds(c flyball.Condition, ec *flyball.EvaluationContext) bool {
	switch {
	case c.All != nil:
		return !slices.ContainsFunc(c.All, func(c flyball.Condition) bool { return !e.holds(c, ec) })
	case c.Any != nil:
		return slices.ContainsFunc(c.Any, func(c flyball.Condition) bool { return e.holds(c, ec) })
	case c.Not != nil:
		return !e.holds(*c.Not, ec)
	case c.Segment != "":
		s := e.doc.Segments[slices.IndexFunc(e.doc.Segments, func(s flyball.Segment) bool { return s.Key == c.Segment })]
		key, _ := unitOf(ec, "")
		switch {
		case key != "" && slices.Contains(s.Exclude, key):
			return false
		case key != "" && slices.Contains(s.Include, key):
			return true
		}
		return s.If != nil && e.holds(*s.If, ec)
	}
	v := attributeOf(ec, c.Attribute)
	if c.Op == flyball.OpExists {
		return (v != nil) == c.Values[0].(bool)
	}
	return v != nil && slices.ContainsFunc(c.Values, func(operand any) bool { return meets(v, c.Op, operand) })
}

func attributeOf(ec *flyball.EvaluationContext, path string) any {
	if ec == nil {
		return nil
	}
	parts, err := flyball.ParsePath(path)
	if err != nil || len(parts) == 1 && parts[0] == flyball.AttributeTargetingKey {
		if ec.TargetingKey == "" {
			return nil
		}
		return ec.TargetingKey
	}
	at := reflect.ValueOf(map[string]any(ec.Attributes))
	for _, part := range parts {
		for at.Kind() == reflect.Interface {
			at = at.Elem()
		}
		if at.Kind() != reflect.Map || at.Type().Key().Kind() != reflect.String {
			return nil
		}
		at = at.MapIndex(reflect.ValueOf(part).Convert(at.Type().Key()))
	}
	return underlying(at)
}

// underlying returns a value as a string, bool, int64, uint64, float64, nil,
// or else as it is.
func underlying(v reflect.Value) any {
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch {
	case !v.IsValid():
		return nil
	case v.Kind() == reflect.String:
		return v.String()
	case v.Kind() == reflect.Bool:
		return v.Bool()
	case v.CanInt():
		return v.Int()
	case v.CanUint():
		return v.Uint()
	case v.CanFloat():
		return v.Float()
	case v.Kind() == reflect.Pointer && v.IsNil():
		return nil
	}
	return v.Interface()
}

func unitOf(ec *flyball.EvaluationContext, path string) (string, bool) {
	v := attributeOf(ec, path)
	switch v := v.(type) {
	case string:
		return v, v != ""
	case bool:
		return fmt.Sprint(v), true
	}
	if n, ok := exactly(v); ok && n.IsInt() {
		if i := n.Num(); i.IsInt64() {
			return i.String(), true
		}
	}
	return "", false
}

// exactly returns a finite number without rounding.
func exactly(v any) (*big.Rat, bool) {
	switch v := v.(type) {
	case int64:
		return new(big.Rat).SetInt64(v), true
	case uint64:
		return new(big.Rat).SetInt(new(big.Int).SetUint64(v)), true
	case float64:
		r := new(big.Rat).SetFloat64(v)
		return r, r != nil
	}
	return nil, false
}

// order compares two numbers, of which the first may be infinite.
func order(v, operand any) (int, bool) {
	if f, ok := v.(float64); ok && math.IsInf(f, 0) {
		return int(math.Copysign(1, f)), true
	}
	a, ok := exactly(v)
	b, fine := exactly(operand)
	if !ok || !fine {
		return 0, false
	}
	return a.Cmp(b), true
}

func meets(v any, op flyball.Op, operand any) bool {
	text, isText := v.(string)
	operandText, _ := operand.(string)
	switch op {
	case flyball.OpIn:
		if list := reflect.ValueOf(v); list.Kind() == reflect.Slice || list.Kind() == reflect.Array {
			for i := range list.Len() {
				if equal(underlying(list.Index(i)), operand) {
					return true
				}
			}
			return false
		}
		return equal(v, operand)
	case flyball.OpLT, flyball.OpLTE, flyball.OpGT, flyball.OpGTE:
		n, ok := order(v, operand)
		return ok && (n < 0 && (op == flyball.OpLT || op == flyball.OpLTE) || n > 0 && (op == flyball.OpGT || op == flyball.OpGTE) ||
			n == 0 && (op == flyball.OpLTE || op == flyball.OpGTE))
	case flyball.OpBefore, flyball.OpAfter:
		a, ok := instant(v)
		b, fine := instant(operand)
		return ok && fine && (a < b && op == flyball.OpBefore || a > b && op == flyball.OpAfter)
	}
	if !isText {
		return false
	}
	switch op {
	case flyball.OpStartsWith:
		return strings.HasPrefix(text, operandText)
	case flyball.OpEndsWith:
		return strings.HasSuffix(text, operandText)
	case flyball.OpContains:
		return strings.Contains(text, operandText)
	case flyball.OpMatches:
		return len(text) <= flyball.MaxMatchBytes && regexp.MustCompile(operandText).MatchString(text)
	case flyball.OpCIDR:
		addr, err := netip.ParseAddr(text)
		return err == nil && within(addr.Unmap(), operandText)
	}
	a, ok := flyball.ParseVersion(text)
	b, fine := flyball.ParseVersion(operandText)
	n := a.Compare(b)
	return ok && fine && (n == 0 && (op == flyball.OpSemverEq || op == flyball.OpSemverLTE || op == flyball.OpSemverGTE) ||
		n < 0 && (op == flyball.OpSemverLT || op == flyball.OpSemverLTE) || n > 0 && (op == flyball.OpSemverGT || op == flyball.OpSemverGTE))
}

// within compares bit by bit. An IPv4 address in IPv6 form is the IPv4 address,
// in prefixes too, and a zone says nothing about where an address lies.
func within(addr netip.Addr, operand string) bool {
	text, length, hasLength := strings.Cut(operand, "/")
	prefix := netip.MustParseAddr(text)
	n := prefix.BitLen()
	if hasLength {
		n, _ = strconv.Atoi(length)
	}
	if prefix.Is4In6() && n >= 96 {
		prefix, n = prefix.Unmap(), n-96
	}
	a, b := addr.AsSlice(), prefix.AsSlice()
	if len(a) != len(b) {
		return false
	}
	for i := range n {
		if (a[i/8]^b[i/8])>>(7-i%8)&1 != 0 {
			return false
		}
	}
	return true
}

func equal(v, operand any) bool {
	switch v.(type) {
	case string, bool:
		return v == operand
	}
	n, ok := order(v, operand)
	return ok && n == 0
}

// instant returns microseconds since 1970.
func instant(v any) (int64, bool) {
	switch v := v.(type) {
	case time.Time:
		return v.UnixMicro(), true
	case string:
		t, err := time.Parse(time.RFC3339Nano, v)
		return t.UnixMicro(), err == nil
	case bool:
		return 0, false
	}
	n, ok := exactly(v)
	if !ok || n.Cmp(big.NewRat(1e11, 1)) > 0 || n.Cmp(big.NewRat(-1e11, 1)) < 0 {
		return 0, false
	}
	f, _ := n.Float64()
	return int64(f * 1e6), true
}
