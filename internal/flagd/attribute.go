package flagd

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/flyballdev/flyball"
)

// safe is the largest integer that JavaScript and all who read JSON as doubles
// keep apart from its neighbours (RFC 7493, section 2.2).
const safe = 1<<53 - 1

// An attribute is where a test or a split finds its value.
type attribute struct {
	unit  bool  // the targeting key itself
	value logic // may be read only if guard holds
	guard logic
}

// attributeAt compiles a path. It fails for those that would read something
// else in flagd, where dots always separate and values have members of their
// own, such as the length of a list.
func attributeAt(path string) (attribute, error) {
	if path == "" {
		path = flyball.AttributeTargetingKey
	}
	parts, err := flyball.ParsePath(path)
	if err != nil {
		return attribute{}, err
	}
	for i, part := range parts {
		_, notPlace := strconv.ParseFloat(part, 64)
		switch {
		case strings.ContainsAny(part, `.\`):
			return attribute{}, fmt.Errorf("attribute %s: flagd cannot read a name with a dot or a backslash", path)
		case part == "__proto__", i > 0 && part == "length", i == 0 && part == "$flagd",
			i == 0 && len(parts) > 1 && part == flyball.AttributeTargetingKey:
			return attribute{}, fmt.Errorf("attribute %s: to flagd %q means something else", path, part)
		case i > 0 && notPlace == nil:
			return attribute{}, fmt.Errorf("attribute %s: flagd reads %q as a place in a list", path, part)
		}
	}
	a := attribute{value: variable(strings.Join(parts, ".")), guard: always}
	switch {
	case len(parts) > 1: // one interpreter hands out an empty parent as the value, and functions have members
		a.guard = call("!!", variable(strings.Join(parts[:len(parts)-1], ".")))
	case parts[0] == flyball.AttributeTargetingKey:
		a.unit, a.guard = true, call("!!", a.value)
	}
	return a, nil
}

func (a attribute) present() logic {
	if a.unit {
		return a.guard
	}
	return all(a.guard, differ(a.value, null))
}

// isString holds for strings. JsonLogic has no types to ask for; flagd's own
// operators tell a string from all else, and fail on nothing.
func (a attribute) isString() logic { return call("starts_with", a.value, `""`) }

// isScalar holds for strings, numbers and booleans: of a single bucket, these
// alone can be the outcome.
func (a attribute) isScalar() logic {
	return differ(call("fractional", call("cat", `"-"`), list(a.value, "1")), null)
}

func (a attribute) isText() logic { return equal(a.value, call("cat", a.value)) } // of a scalar that is no boolean

func (a attribute) isBoolean() logic { return some(equal(a.value, always), equal(a.value, never)) }

func (a attribute) isNumber() logic { return all(a.isScalar(), not(a.isBoolean()), not(a.isText())) }
func (a attribute) isWhole() logic  { return equal(call("%", a.value, "1"), "0") } // of a number

// isUnit holds for what units can be bucketed by: a string, a boolean, and an
// integer that every evaluator writes alike.
func (a attribute) isUnit() logic {
	if a.unit {
		return a.guard
	}
	return all(a.guard, a.isScalar(), some(a.isBoolean(), call("if",
		a.isText(), differ(a.value, `""`),
		all(a.isWhole(), call(">=", a.value, whole(-safe)), call("<=", a.value, whole(safe))))))
}

// isLargeUnit holds for integers of 64 bits that are no unit only because they
// are too large; those beyond are no unit to us either.
func (a attribute) isLargeUnit() logic {
	if a.unit {
		return never
	}
	return all(a.guard, a.isNumber(), a.isWhole(), some(
		all(call("<", a.value, whole(-safe)), call(">=", a.value, "-9223372036854775808")),
		all(call(">", a.value, whole(safe)), call("<=", a.value, "9223372036854775808"))))
}

// unitText is the text of a unit, the same in every language.
func (a attribute) unitText() logic {
	if a.unit {
		return a.value
	}
	return call("if", equal(a.value, always), `"true"`, equal(a.value, never), `"false"`, a.value)
}
