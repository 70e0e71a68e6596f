package eval

import (
	"cmp"
	"math"
	"reflect"
	"strconv"

	"github.com/flyballdev/flyball"
)

// A value is what an attribute has, as tests see it: Go's many types of text,
// numbers and booleans are one each. It is small enough to be handed about in
// registers.
type value struct {
	text string
	bits uint64 // of an integer, a float or a boolean
	kind valueKind
}

type valueKind uint8

const (
	isAbsent valueKind = iota
	isText
	isWhole // an int64
	isFloat // a float64 of any kind
	isBool
	isOther // a list, a map, a time or something that no test knows
)

// valueOf returns what tests see of a value of any Go type.
func valueOf(v any) value {
	switch v := v.(type) {
	case string:
		return value{kind: isText, text: v}
	case int64:
		return value{kind: isWhole, bits: uint64(v)}
	case int:
		return value{kind: isWhole, bits: uint64(v)}
	case float64:
		return value{kind: isFloat, bits: math.Float64bits(v)}
	case bool:
		return value{kind: isBool, bits: uint64(index(v))}
	case nil:
		return value{}
	case uint64:
		if v > math.MaxInt64 { // rounded: rules hold no integer so large
			return value{kind: isFloat, bits: math.Float64bits(float64(v))}
		}
		return value{kind: isWhole, bits: v}
	case []string, []any, map[string]any:
		return value{kind: isOther}
	}
	return valueOfNamed(v)
}

// valueOfNamed reads types that programs make, such as `type Plan string`, so
// that rules see what the programmer wrote.
func valueOfNamed(v any) value {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.String:
		return value{kind: isText, text: r.String()}
	case reflect.Bool:
		return value{kind: isBool, bits: uint64(index(r.Bool()))}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return value{kind: isWhole, bits: uint64(r.Int())}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return valueOf(r.Uint())
	case reflect.Float32, reflect.Float64:
		return value{kind: isFloat, bits: math.Float64bits(r.Float())}
	case reflect.Pointer:
		if r.IsNil() {
			return value{}
		}
	}
	return value{kind: isOther}
}

// number returns the number that v is, if it is one.
func (v value) number() (number, bool) {
	switch v.kind {
	case isWhole:
		return number{whole: true, i: int64(v.bits)}, true
	case isFloat:
		return fraction(math.Float64frombits(v.bits))
	}
	return number{}, false
}

// unit is the canonical text of a value that units are bucketed by: a string
// as it is, an integer of any Go type (a float without fraction too) in
// decimal, a boolean as true or false. Everything else, and the empty string,
// is no unit. An integer's text may allocate.
func (v value) unit() (string, bool) {
	switch v.kind {
	case isText:
		return v.text, v.text != ""
	case isBool:
		return strconv.FormatBool(v.bits != 0), true
	}
	if n, ok := v.number(); ok && n.whole {
		return strconv.FormatInt(n.i, 10), true
	}
	return "", false
}

// A number is an integer exactly, or a fraction. Numbers are equal if and only
// if they are so in mathematics: 42 is 42.0, and 2^53+1 is not 2^53.
type number struct {
	whole bool
	i     int64   // if whole
	f     float64 // if not
}

func fraction(v float64) (number, bool) {
	if v == math.Trunc(v) && v >= -1<<63 && v < 1<<63 {
		return number{whole: true, i: int64(v)}, true
	}
	return number{f: v}, !math.IsNaN(v)
}

// compare orders two numbers: -1, 0 or 1.
func (a number) compare(b number) int {
	switch {
	case a.whole && b.whole:
		return order(a.i, b.i)
	case a.whole:
		// Where rounding makes them equal, the fraction is 2^63, above all integers.
		return cmp.Or(order(float64(a.i), b.f), -1)
	case b.whole:
		return -b.compare(a)
	}
	return order(a.f, b.f)
}

func order[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// member returns what a nested map holds under a name.
func member(v any, name string) any {
	switch m := v.(type) {
	case map[string]any:
		return m[name]
	case flyball.Attributes:
		return m[name]
	case map[string]string:
		if s, ok := m[name]; ok {
			return s
		}
		return nil
	}
	r := reflect.ValueOf(v)
	if r.Kind() != reflect.Map || r.Type().Key().Kind() != reflect.String {
		return nil
	}
	if e := r.MapIndex(reflect.ValueOf(name).Convert(r.Type().Key())); e.IsValid() {
		return e.Interface()
	}
	return nil
}

// dig returns what lies in nested maps; nil if there is nothing.
func dig(v any, names []string) any {
	for _, name := range names {
		if v == nil {
			return nil
		}
		v = member(v, name)
	}
	return v
}
