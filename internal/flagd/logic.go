package flagd

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// A logic is an expression of JsonLogic, as JSON.
type logic string

// What needs no evaluation.
const (
	always logic = "true"
	never  logic = "false"
	null   logic = "null"
)

// constant says whether the expression is a literal string.
func (l logic) constant() bool { return strings.HasPrefix(string(l), `"`) }

// call applies an operator.
func call(operator string, args ...logic) logic {
	return `{"` + logic(operator) + `":` + list(args...) + `}`
}

func list(items ...logic) logic {
	n := len(items) + 1
	for _, item := range items {
		n += len(item)
	}
	var b strings.Builder
	b.Grow(n)
	b.WriteByte('[')
	for i, item := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(item))
	}
	b.WriteByte(']')
	return logic(b.String())
}

// literal writes a string, a boolean or a number that JSON can hold.
func literal(v any) logic {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // for people; it means the same
	if e.Encode(v) != nil {
		return null
	}
	return logic(bytes.TrimSpace(b.Bytes()))
}

func whole(n int64) logic { return logic(strconv.FormatInt(n, 10)) }

// variable reads a place of the context.
func variable(path string) logic { return `{"var":` + literal(path) + `}` }

// all holds if every part does. Evaluators stop at the first that does not, so
// a part guards those after it.
func all(parts ...logic) logic { return join("and", never, always, parts) }

// some holds if a part does.
func some(parts ...logic) logic { return join("or", always, never, parts) }

// join leaves out the parts that change nothing, and all of them if one
// decides.
func join(operator string, decides, nothing logic, parts []logic) logic {
	kept := make([]logic, 0, len(parts))
	for _, p := range parts {
		if p == decides {
			return decides
		}
		if p != nothing {
			kept = append(kept, p)
		}
	}
	switch len(kept) {
	case 0:
		return nothing
	case 1:
		return kept[0]
	}
	return call(operator, kept...)
}

func not(l logic) logic {
	switch l {
	case always:
		return never
	case never:
		return always
	}
	return call("!", l)
}

func equal(a, b logic) logic  { return call("===", a, b) }
func differ(a, b logic) logic { return call("!==", a, b) }
