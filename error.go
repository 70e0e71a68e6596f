package flyball

import (
	"errors"
	"fmt"
)

// A Code says who must act on an error, and how.
type Code string

// The codes of all errors that a caller may be shown.
const (
	Invalid         Code = "invalid"         // the caller must mend the named field
	NotFound        Code = "not_found"       // there is no such thing
	WrongMethod     Code = "wrong_method"    // the address is right and takes other methods
	Conflict        Code = "conflict"        // the thing changed meanwhile, or its key is taken: read again
	Unauthenticated Code = "unauthenticated" // no token, or one that is unknown or expired
	Forbidden       Code = "forbidden"       // the token is good, but not for this
	TooLarge        Code = "too_large"       // the request is over its limit
	Overloaded      Code = "overloaded"      // try again later
	Unavailable     Code = "unavailable"     // a part that is needed is down: try again later
	Internal        Code = "internal"        // a fault of ours
)

// An Error is an error that the caller may be shown. Field is the path of the
// offending input, such as "rules[0].serve.split.weights", and empty if the
// error concerns no single field. Details carries what the caller needs to
// act, such as the current version after a conflict.
type Error struct {
	Code    Code
	Field   string
	Message string
	Details map[string]any
}

// Error returns the message, led by the field if there is one.
func (e *Error) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// Errorf returns an [Error] with a code and a message for the caller.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// FieldErrorf returns an [Invalid] error about one field.
func FieldErrorf(field, format string, args ...any) *Error {
	return &Error{Code: Invalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// With returns e with one more detail.
func (e *Error) With(key string, value any) *Error {
	d := make(map[string]any, len(e.Details)+1)
	for k, v := range e.Details {
		d[k] = v
	}
	d[key] = value
	return &Error{Code: e.Code, Field: e.Field, Message: e.Message, Details: d}
}

// CodeOf returns the code of the first [Error] in err's tree, and [Internal]
// if there is none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}

// Problems returns every [Error] in err's tree, in order, so that a surface
// can tell all of them at once.
func Problems(err error) []*Error {
	switch e := err.(type) {
	case nil:
		return nil
	case *Error:
		return []*Error{e}
	case interface{ Unwrap() []error }:
		var all []*Error
		for _, err := range e.Unwrap() {
			all = append(all, Problems(err)...)
		}
		return all
	default:
		return Problems(errors.Unwrap(err))
	}
}

// problems collects what is wrong with a noun, so that a person or an agent
// can mend all of it in one round.
type problems struct {
	path string
	errs *[]error
}

func newProblems() problems { return problems{errs: new([]error)} }

// at returns a collector for a field below p's own.
func (p problems) at(format string, args ...any) problems {
	return problems{path: join(p.path, fmt.Sprintf(format, args...)), errs: p.errs}
}

func (p problems) add(field, format string, args ...any) {
	*p.errs = append(*p.errs, FieldErrorf(join(p.path, field), format, args...))
}

func (p problems) err() error { return errors.Join(*p.errs...) }

func join(path, field string) string {
	switch {
	case path == "":
		return field
	case field == "" || field[0] == '[':
		return path + field
	default:
		return path + "." + field
	}
}
