package api

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/service"
)

// bodies are ones that are usual, unusual and wrong.
var bodies = []string{
	``, `{}`, ` { } `, `null`, `[]`, `"x"`, `{"context":{}}`, `{"context":null}`, `{"context":[]}`, `{"context":7}`, "\t{\r\n\"context\" : { } } ",
	`{"context":{"targetingKey":"user-1","country":"CA","age":42,"pro":true,"old":false,"none":null,"share":0.5}}`,
	`{"context":{"targetingKey":""}}`, `{"context":{"targetingKey":null}}`, `{"context":{"targetingKey":7}}`, `{"context":{"targetingKey":"a","targetingKey":"b"}}`,
	`{"context":{"targetingKey":7,"targetingKey":"b"}}`, `{"context":{"targetingKey":"a","targetingKey":null}}`, `{"context":{"a":1,"a":"x","a":null}}`,
	`{"context":{"a":null,"a":1.5,"b":true,"a":2}}`, `{"context":{"a":1}}{"context":{"a":2}}`, `{"context":{"a":1}} x`, `{"context":{"a":1},"context":{"b":2}}`,
	`{"context":{"a":1},"context":null}`, `{"Context":{"a":1}}`, `{"CONTEXT":{"a":1},"context":{"b":1}}`, `{"conte\u0078t":{"a":1}}`, `{"context":{"a":1},"later":{"x":[1]}}`,
	`{"context":{"A":1,"a":2}}`, `{"context":{"":""}}`, `{"context":{"a":"\u0000\"\\\/\b\f\n\r\t\u00fc\ud83d\ude00"}}`, `{"context":{"\u0061":1,"a":2}}`, `{"context":{"a\"b":1}}`,
	`{"context":{"a":"\ud800"}}`, `{"context":{"a":"\udc00\ud800x"}}`, `{"context":{"a":"\x"}}`, `{"context":{"a":"\u12"}}`, `{"context":{"a":"ü€😀"}}`, "{\"context\":{\"a\":\"\xff\"}}",
	"{\"context\":{\"\xc3\":\"\xc3\\u0041\"}}", "{\"context\":{\"a\":\"\x00\"}}", "{\"context\":{\"a\":\"\n\"}}", "{\"context\":{\"a\":\"\x7f\u2028\"}}",
	`{"context":{"a":9007199254740993,"b":-9223372036854775808,"c":9223372036854775807,"d":9223372036854775808,"e":123456789012345678901234567890}}`,
	`{"context":{"a":-0,"b":-0.0,"c":0e0,"d":1e2,"e":1E+2,"f":1e-2,"g":1.50,"h":1e308,"i":5e-324,"j":1e-999}}`, `{"context":{"a":1e309}}`, `{"context":{"a":-1e999}}`,
	`{"context":{"a":01}}`, `{"context":{"a":1.}}`, `{"context":{"a":.5}}`, `{"context":{"a":+1}}`, `{"context":{"a":-}}`, `{"context":{"a":1e}}`, `{"context":{"a":1e+}}`, `{"context":{"a":--1}}`,
	`{"context":{"a":NaN}}`, `{"context":{"a":Infinity}}`, `{"context":{"a":0x10}}`, `{"context":{"a":tru}}`, `{"context":{"a":truee}}`, `{"context":{"a":nul}}`, `{"context":{"a":}}`,
	`{"context":{"a":1,}}`, `{"context":{,}}`, `{"context":{"a" 1}}`, `{"context":{"a":1 "b":2}}`, `{"context":{a:1}}`, `{"context":{'a':1}}`, `{"context":{"a":1}`, `{"context":{"a":"x`, `{"context":{"a":"x\`, `{"context"`, `{`,
	`{"context":{"a":{"b":[1,2.5,{"c":null}]},"l":[],"m":{}}}`, `{"context":{"a":[}}`, `{"context":{"a":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}}`,
	`{"context":{"a":1} }`, "\ufeff{}", `{"context":{"a":"` + strings.Repeat("long ", 300) + `"}}`, many(64), many(65), many(500),
}

func many(attributes int) string {
	in := map[string]any{}
	for i := range attributes {
		in[strings.Repeat("n", i%7+1)+string(rune('a'+i%26))+strings.Repeat("x", i/26)] = i
	}
	body, _ := json.Marshal(map[string]any{"context": in})
	return string(body)
}

// FuzzContext compares the quick reader with encoding/json: what it takes means
// the same, and what is wrong it leaves alone. And whoever reads a body, its
// attributes are all there, and what is written down of them tells them apart.
func FuzzContext(f *testing.F) {
	for _, body := range bodies {
		f.Add([]byte(body))
	}
	in := new(asked) // one for all, as in the pool: nothing of one body is in the next
	f.Fuzz(func(t *testing.T, body []byte) {
		want, wantErr := slowly(body)
		given := bytes.Clone(body)
		in.empty()
		quick := in.quick(string(body))
		if quick {
			if wantErr != nil {
				t.Fatalf("%q is read, and not by encoding/json: %v", body, wantErr)
			}
			if d := cmp.Diff(want, in.context.EvaluationContext(), equalEmpty); d != "" {
				t.Fatalf("%q means (-want +got):\n%s", body, d)
			}
		}
		names := map[string]bool{}
		if wantErr == nil {
			for name := range want.Attributes {
				names[name] = true
			}
		}
		in.empty()
		err := in.parse(body, names)
		if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Fatalf("%q: %v, want %v", body, err, wantErr)
		}
		if err != nil {
			return
		}
		if d := cmp.Diff(want, in.context.EvaluationContext(), equalEmpty); d != "" {
			t.Fatalf("%q means in the end (-want +got):\n%s", body, d)
		}
		in.spell()
		checkOnly(t, in, want)
		if !bytes.Equal(given, body) {
			t.Fatal("the body was written to")
		}
	})
}

// checkOnly reads back what is written down of some attributes.
func checkOnly(t *testing.T, in *asked, want *flyball.EvaluationContext) {
	t.Helper()
	names := append(slices.Sorted(maps.Keys(want.Attributes)), "\U0010ffff no such attribute")
	var spelled []byte
	for _, name := range names {
		text, object := "", "{}"
		for _, a := range in.written {
			if a.name == name {
				text, object = a.json, `{"x":`+a.json+`}`
			}
		}
		var got flyball.Attributes
		if err := json.Unmarshal([]byte(object), &got); err != nil {
			t.Fatalf("%s is written as %s: %v", name, text, err)
		}
		if d := cmp.Diff(want.Attributes[name], got["x"]); d != "" {
			t.Fatalf("%s is written as %s (-want +got):\n%s", name, text, d)
		}
		spelled = appendText(spelled, text)
	}
	if got := in.only(nil, names); !bytes.Equal(got, spelled) {
		t.Fatalf("of %q is written %q, want %q", names, got, spelled)
	}
}

var equalEmpty = cmp.Transformer("attributes", func(a flyball.Attributes) map[string]any {
	out := map[string]any{}
	for name, v := range a {
		if v != nil { // no value is none
			out[name] = v
		}
	}
	return out
})

// slowly reads a body by encoding/json alone.
func slowly(body []byte) (*flyball.EvaluationContext, error) {
	var in ofrepRequest
	if tooDeep(body) {
		return nil, flyball.FieldErrorf("context", "nests more than %d deep", maxNesting)
	}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, flyball.FieldErrorf("context", "not an evaluation context: %s", readable(err))
		}
	}
	ec, err := service.ContextOf(in.Context)
	return &ec, err
}

// What SDKs send is read quickly.
func TestUsualBodiesAreReadQuickly(t *testing.T) {
	for _, body := range []string{`{}`, `{"context":{}}`, bodies[11], ` { "context" : {"plan":"pro" , "targetingKey":"user-1"} }`, `{"context":{"name":"Jos\u00e9 \"x\"","city":"Zürich"}}`, many(64)} {
		if !new(asked).quick(body) {
			t.Errorf("%s is not", body)
		}
	}
}

// Contexts that differ are never written down alike.
func TestEachContextIsWrittenDownInItsOwnWay(t *testing.T) {
	seen := map[string]string{}
	for _, attributes := range []string{
		``, `"a":null`, `"a":1`, `"a":"1"`, `"a":1,"b":2`, `"a":2,"b":1`, `"a":"","b":"x"`, `"a":"x","b":""`, `"a":"1,b:2"`, `"ab":"c"`, `"a":"bc"`, `"a":1,"a":2`, `"a":2,"a":1`,
		`"a":true`, `"a":"true"`, `"a":[1]`, `"a":{"b":1}`, `"a":"[1]"`, `"a":1.5`, `"targetingKey":"a"`, `"targetingKey":"a","a":1`,
	} {
		in := new(asked)
		if err := in.parse([]byte(`{"context":{`+attributes+`}}`), map[string]bool{"a": true}); err != nil {
			t.Fatal(err)
		}
		in.spell()
		if other, ok := seen[string(in.whole)]; ok {
			t.Errorf("%s and %s are both %q", attributes, other, in.whole)
		}
		seen[string(in.whole)] = attributes
	}
	one, other := new(asked), new(asked)
	one.parse([]byte(`{"context":{"a":1,"b":"x"}}`), nil)
	other.parse([]byte(`{ "context": { "b" : "x", "a" : 1 } }`), nil)
	one.spell()
	other.spell()
	if !bytes.Equal(one.whole, other.whole) {
		t.Errorf("the order counts: %q and %q", one.whole, other.whole)
	}
}

// A context keeps nothing when it is used anew.
func TestAContextIsAnotherOneEachTime(t *testing.T) {
	in := new(asked)
	for _, body := range []string{many(64), `{"context":{"a":{"b":1},"targetingKey":"u"}}`, `{"context":{"z":1}}`} {
		in.empty()
		if err := in.parse([]byte(body), map[string]bool{"a": true}); err != nil {
			t.Fatal(err)
		}
	}
	want := eval.NewContext("").Int("z", 1).EvaluationContext()
	if d := cmp.Diff(want, in.context.EvaluationContext()); d != "" {
		t.Errorf("the last one is (-want +got):\n%s", d)
	}
}
