package flyball_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
)

const oneForm = "give exactly one of all, any, not, segment, or attribute with op and values"

// nested is a test within so many conditions, itself included.
func nested(deep int) flyball.Condition {
	c := flyball.Condition{Attribute: "country", Op: flyball.OpIn, Values: flyball.Values{"CA"}}
	for i := range deep - 1 {
		switch i % 3 {
		case 0:
			c = flyball.Condition{All: []flyball.Condition{c}}
		case 1:
			c = flyball.Condition{Any: []flyball.Condition{c}}
		case 2:
			c = flyball.Condition{Not: &flyball.Condition{Attribute: c.Attribute, Op: c.Op, Values: c.Values, All: c.All, Any: c.Any}}
		}
	}
	return c
}

func TestAConditionTellsEveryProblem(t *testing.T) {
	for _, tt := range []struct{ name, condition, want string }{
		{"a test", `{"attribute":"country","op":"in","values":["CA"]}`, ""},
		{"a membership", `{"segment":"beta-testers"}`, ""},
		{"all forms nested", `{"all":[{"any":[{"not":{"segment":"beta"}}]},{"attribute":"a","op":"exists","values":[false]}]}`, ""},
		{"nothing", `{}`, oneForm},
		{"two forms", `{"segment":"beta","attribute":"a","op":"in","values":[1]}`, oneForm},
		{"all of none", `{"all":[]}`, "all: needs at least one condition"},
		{"any of none", `{"any":[]}`, "any: needs at least one condition"},
		{"each part tells its own", `{"any":[{"all":[]},{},{"not":{"segment":"B"}}]}`,
			"any[0].all: needs at least one condition|any[1]: " + oneForm + `|any[2].not.segment: "B" is not a key: 3 to 128 of a-z, 0-9, '.', '_' and '-', with a letter or digit at both ends`},
		{"a test without anything but values", `{"values":["x"]}`, "attribute: name an attribute|op: \"\" is not one of [in startsWith endsWith contains matches lt lte gt gte before after semverEq semverLt semverLte semverGt semverGte cidr exists]"},
		{"a test with nothing but an attribute", `{"attribute":"a"}`, "values: 0 values; a test has 1 to 1000|op: \"\" is not one of [in startsWith endsWith contains matches lt lte gt gte before after semverEq semverLt semverLte semverGt semverGte cidr exists]"},
		{"a test without values", `{"attribute":"a","op":"in","values":[]}`, "values: 0 values; a test has 1 to 1000"},
		{"values that are none of its kind", `{"attribute":"a","op":"in","values":["x",1,null,[1],{},true]}`,
			"values[2]: in takes strings, numbers and booleans|values[3]: in takes strings, numbers and booleans|values[4]: in takes strings, numbers and booleans"},
		{"texts", `{"attribute":"a","op":"endsWith","values":["x",1]}`, "values[1]: endsWith takes strings"},
		{"numbers", `{"attribute":"a","op":"gte","values":["1",2]}`, "values[0]: gte takes numbers"},
		{"times", `{"attribute":"a","op":"before","values":["2026-11-21T19:00:00Z",1795287600,"2026-11-21",true]}`,
			"values[2]: before takes RFC 3339 times or epoch seconds|values[3]: before takes RFC 3339 times or epoch seconds"},
		{"versions", `{"attribute":"a","op":"semverGte","values":["1.2","v3","1.x"]}`, `values[2]: "1.x" is not a semantic version such as 1.2.3`},
		{"prefixes", `{"attribute":"a","op":"cidr","values":["10.0.0.0/8","::1","10.0.0.0/33"]}`, `values[2]: "10.0.0.0/33" is not a prefix such as 10.0.0.0/8`},
		{"patterns", `{"attribute":"a","op":"matches","values":["^a+$","("]}`, "values[1]: not an RE2 pattern: error parsing regexp: missing closing ): `(`"},
		{"a pattern that runs long", `{"attribute":"a","op":"matches","values":["((a{100}){100}){100}"]}`, "values[0]: not an RE2 pattern: error parsing regexp: invalid repeat count: `{100}`"},
		{"a pattern of many instructions", `{"attribute":"a","op":"matches","values":["(a|b|cd){200}"]}`, "values[0]: the pattern is too complex: simplify it"},
		{"existence once", `{"attribute":"a","op":"exists","values":[true,false]}`, "values: exists takes exactly one of true and false"},
		{"existence as a boolean", `{"attribute":"a","op":"exists","values":["true"]}`, "values[0]: exists takes true or false"},
		{"an operator of tomorrow", `{"attribute":"a","op":"near","values":[1]}`, "op: \"near\" is not one of [in startsWith endsWith contains matches lt lte gt gte before after semverEq semverLt semverLte semverGt semverGte cidr exists]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c flyball.Condition
			if err := json.Unmarshal([]byte(tt.condition), &c); err != nil {
				t.Fatal(err)
			}
			told(t, c.Validate(), lines(tt.want)...)
		})
	}
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "|")
}

func TestConditionsNestFiveDeepAndNoDeeper(t *testing.T) {
	for deep := 1; deep <= 5; deep++ {
		told(t, nested(deep).Validate())
	}
	told(t, nested(6).Validate(), "any[0].all[0].not.any[0].all[0]: nested more than 5 deep: move the inner part into a segment")
	told(t, nested(40).Validate(), "not.any[0].all[0].not.any[0]: nested more than 5 deep: move the inner part into a segment")
}

func TestAConditionHasAtMostFiftyParts(t *testing.T) {
	parts := func(n int) flyball.Condition {
		var c flyball.Condition
		for range n - 1 {
			c.Any = append(c.Any, nested(1))
		}
		return c
	}
	told(t, parts(50).Validate())
	told(t, parts(51).Validate(), "51 parts, at most 50: move some into a segment")
	told(t, parts(5000).Validate(), "5000 parts, at most 50: move some into a segment")
}

func TestATestHasAtMostAThousandValues(t *testing.T) {
	c := nested(1)
	for i := range 999 {
		c.Values = append(c.Values, fmt.Sprint(i))
	}
	told(t, c.Validate())
	c.Values = append(c.Values, "one more")
	told(t, c.Validate(), "values: 1001 values; a test has 1 to 1000")
}

func TestAPatternIsBounded(t *testing.T) {
	if _, err := flyball.CompilePattern(strings.Repeat("a", flyball.MaxPatternBytes)); err != nil {
		t.Error(err)
	}
	if _, err := flyball.CompilePattern(strings.Repeat("a", flyball.MaxPatternBytes+1)); err == nil {
		t.Error("a pattern of 257 bytes is compiled")
	}
}

func TestPathsOfAttributes(t *testing.T) {
	for path, want := range map[string][]string{
		"plan": {"plan"}, "device.os": {"device", "os"}, `["dotted.name"]`: {"dotted.name"}, `a["b.c"].d`: {"a", "b.c", "d"},
		`["a"]["b"]`: {"a", "b"}, `["a]b"]`: {"a]b"}, `["a\"]b"].c`: {`a"]b`, "c"}, "größe": {"größe"}, "a b": {"a b"}, strings.Repeat("a", 256): {strings.Repeat("a", 256)},
	} {
		got, err := flyball.ParsePath(path)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", path, err, diff)
		}
	}
	for path, want := range map[string]string{
		"": "name an attribute", ".a": "a part is empty", "a.": "a part is empty", "a..b": "a part is empty", "[": `write ["name"]`, "[a]": `write ["name"]`,
		`["a"`: `write ["name"]`, `["a]`: `write ["name"]`, "[`a`]": `write ["name"]`, `[""]`: "a part is empty", `["a"]b`: `expected '.' after "a"`, "a[": `write ["name"]`,
		strings.Repeat("a", 257): "at most 256 bytes",
	} {
		if got, err := flyball.ParsePath(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v, want an error with %q", path, got, err, want)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for text, want := range map[string]string{
		"10.1.2.3/8": "10.0.0.0/8", "10.0.0.1": "10.0.0.1/32", "::1": "::1/128", "2001:db8::5/32": "2001:db8::/32", "::ffff:10.0.0.1": "10.0.0.1/32", "0.0.0.0/0": "0.0.0.0/0",
	} {
		if got, err := flyball.ParsePrefix(text); err != nil || got.String() != want {
			t.Errorf("%s: got %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10.0.0", "10.0.0.0/33", "10.0.0.0/-1", "::1/129", "host", "10.0.0.0/8/8"} {
		if got, err := flyball.ParsePrefix(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestNumbersOfEveryGoType(t *testing.T) {
	for _, v := range []any{7.0, float32(7), 7, int8(7), int16(7), int32(7), int64(7), uint(7), uint8(7), uint16(7), uint32(7), uint64(7)} {
		if got, ok := flyball.Number(v); !ok || got != 7 {
			t.Errorf("%T: got %v, %v", v, got, ok)
		}
	}
	for _, v := range []any{"7", true, nil, []int{7}} {
		if got, ok := flyball.Number(v); ok {
			t.Errorf("%T: got %v", v, got)
		}
	}
}
