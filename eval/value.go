package eval

import (
	"math"
	"reflect"
	"strconv"

	"github.com/flyballdev/flyball"
)

// A number is an integer exactly, or a finite fraction.
type number struct {
	whole bool
	i     int64   // if whole
	f     float64 // if not
}

// numberOf reads a number of any Go type. Numbers are equal if and only if
// they are so in mathematics: 42 is 42.0, and 2^53+1 is not 2^53.
func numberOf(v any) (number, bool) {
	switch v := v.(type) {
	case int64:
		return number{whole: true, i: v}, true
	case float64:
		return fraction(v)
	case int:
		return number{whole: true, i: int64(v)}, true
	case uint64:
		if v > math.MaxInt64 {
			return number{f: float64(v)}, true // rounded: rules hold no integer so large
		}
		return number{whole: true, i: int64(v)}, true
	case int32, int16, int8, uint32, uint16, uint8, float32:
		f, ok := flyball.Number(v) // exact: all of these fit a double
		n, fits := fraction(f)
		return n, ok && fits
	case uint:
		return numberOf(uint64(v))
	}
	return number{}, false
}

func fraction(f float64) (number, bool) {
	if f == math.Trunc(f) && f >= -1<<63 && f < 1<<63 {
		return number{whole: true, i: int64(f)}, true
	}
	return number{f: f}, !math.IsNaN(f)
}

// compare orders two numbers: -1, 0 or 1.
func (a number) compare(b number) int {
	switch {
	case a.whole && b.whole:
		return order(a.i, b.i)
	case a.whole:
		return order(float64(a.i), b.f)
	case b.whole:
		return order(a.f, float64(b.i))
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

// unitText is the canonical text of a value that units are bucketed by: a
// string as it is, an integer of any Go type (a float without fraction too) in
// decimal, a boolean as true or false. Everything else, and the empty string,
// is no unit. An integer's text may allocate.
func unitText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, v != ""
	case bool:
		return strconv.FormatBool(v), true
	}
	if n, ok := numberOf(v); ok && n.whole {
		return strconv.FormatInt(n.i, 10), true
	}
	return "", false
}

// plain turns a value of a named type, such as `type Plan string`, into that
// of its underlying type, so that rules see what the programmer wrote.
func plain(v any) any {
	if _, ok := v.(string); ok {
		return v
	}
	switch v.(type) {
	case nil, bool, int, int64, float64, []string, []any, map[string]any:
		return v
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.String:
		return r.String()
	case reflect.Bool:
		return r.Bool()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return r.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return r.Uint()
	case reflect.Float32, reflect.Float64:
		return r.Float()
	case reflect.Pointer:
		if r.IsNil() {
			return nil
		}
	}
	return v
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
