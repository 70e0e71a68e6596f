package api

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// misfits blames every part of v, which is decoded JSON, that cannot be read
// as the type t, by its path; and every text that a database would not take.
func misfits(path string, v any, t reflect.Type, blame func(field, message string)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch v := v.(type) {
	case string:
		if strings.ContainsRune(v, 0) {
			blame(path, "must not hold a zero byte")
			return
		}
	case map[string]any:
		if member := members(t); member != nil {
			for name, part := range v {
				at := strings.TrimPrefix(path+"."+name, ".")
				if strings.ContainsRune(name, 0) {
					blame(at, "must not hold a zero byte")
				} else if of := member(name); of != nil {
					misfits(at, part, of, blame)
				}
			}
			return
		}
	case []any:
		if t.Kind() == reflect.Slice || t.Kind() == reflect.Interface {
			of := t
			if t.Kind() == reflect.Slice {
				of = t.Elem()
			}
			for i, part := range v {
				misfits(path+"["+strconv.Itoa(i)+"]", part, of, blame)
			}
			return
		}
	}
	if err := fits(v, t); err != nil {
		blame(path, readable(err))
	}
}

// members returns the types of the members of an object that is read as t, by
// their names; those that are not known have none. It is nil where an object
// is not read as one.
func members(t reflect.Type) func(name string) reflect.Type {
	switch {
	case t.Kind() == reflect.Map:
		return func(string) reflect.Type { return t.Elem() }
	case t.Kind() == reflect.Interface:
		return func(string) reflect.Type { return t }
	case t.Kind() != reflect.Struct || unmarshals(t):
		return nil
	}
	fields := reflect.VisibleFields(t)
	return func(name string) reflect.Type {
		for _, f := range fields {
			if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == name && tag != "" {
				return f.Type
			}
		}
		return nil
	}
}

// unmarshals says whether a type reads its JSON itself.
func unmarshals(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// fits says what keeps v from being read as t.
func fits(v any, t reflect.Type) error {
	if _, isString := v.(string); isString && t.Kind() == reflect.String && !unmarshals(t) || t.Kind() == reflect.Interface {
		return nil // as in most cases
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, reflect.New(t).Interface())
}
