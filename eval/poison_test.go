package eval_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/google/go-cmp/cmp"
)

// A poison is a ruleset that nobody should publish (see testdata/README.md).
type poison struct {
	Name    string  `json:"name"`
	Text    *string `json:"text"`
	Base64  string  `json:"base64"`
	Flag    *string `json:"flag"`
	Segment *string `json:"segment"`
	Repeat  []struct {
		Token string `json:"token"`
		Text  string `json:"text"`
		Times int    `json:"times"`
		Join  string `json:"join"`
	} `json:"repeat"`
	Refused bool              `json:"refused"`
	Strict  bool              `json:"strict"`
	Want    map[string]string `json:"want"`
}

// poisons returns the healthy document that all of the corpus follow upon, and
// the corpus: each document with what it should lead to.
func poisons(t testing.TB) (healthy []byte, cases []poison, documents [][]byte) {
	data, err := os.ReadFile("testdata/poison-1.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	var head struct{ Healthy, Frame, Segment string }
	if err := json.Unmarshal(lines[0], &head); err != nil {
		t.Fatal(err)
	}
	for _, line := range lines[1:] {
		var p poison
		if err := json.Unmarshal(line, &p); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		var text string
		switch {
		case p.Flag != nil:
			segment := head.Segment
			if p.Segment != nil {
				segment = *p.Segment
			}
			text = strings.NewReplacer("@flag@", *p.Flag, "@segment@", segment).Replace(head.Frame)
		case p.Text != nil:
			text = *p.Text
		default:
			raw, err := base64.StdEncoding.DecodeString(p.Base64)
			if err != nil {
				t.Fatalf("%s: %v", p.Name, err)
			}
			text = string(raw)
		}
		for _, r := range p.Repeat {
			var b strings.Builder
			for i := range r.Times {
				if i > 0 {
					b.WriteString(r.Join)
				}
				b.WriteString(strings.ReplaceAll(r.Text, "#", strconv.Itoa(i)))
			}
			text = strings.ReplaceAll(text, r.Token, b.String())
		}
		cases, documents = append(cases, p), append(documents, []byte(text))
	}
	return []byte(head.Healthy), cases, documents
}

// served is what every flag of the healthy ruleset serves after an update.
func (p poison) served() map[string]string {
	served := map[string]string{"team.fine": "off", "team.other": "on", "team.bad": "on", "team.child": "on", "team.member": "on"}
	if p.Refused {
		served["team.fine"] = "on"
	}
	maps.Copy(served, p.Want)
	return served
}

// Whatever is published, an evaluator goes on: what cannot be read stays as it
// was, and no flag is harmed but the bad one.
func TestPoisonHarmsNoFlagButTheBadOne(t *testing.T) {
	data, cases, documents := poisons(t)
	before := decode(t, data)
	if len(cases) < 150 {
		t.Errorf("%d documents, want at least 150: were some removed?", len(cases))
	}
	for i, p := range cases {
		if raceEnabled && len(documents[i]) > 1<<20 {
			continue // nothing here is concurrent, and the detector reads every byte
		}
		t.Run(p.Name, func(t *testing.T) {
			old := compile(t, before)
			rs, problems := old, []*flyball.Error(nil)
			doc, err := eval.Decode(documents[i])
			if err == nil {
				var next *eval.Ruleset
				if next, problems = eval.Update(old, doc); next != nil {
					rs = next
				}
			} else if flyball.CodeOf(err) != flyball.Invalid && flyball.CodeOf(err) != flyball.TooLarge {
				t.Errorf("refused with %q: %v", flyball.CodeOf(err), err)
			}
			if refused := rs == old; refused != p.Refused {
				t.Fatalf("refused: %v, want %v: %v, %v", refused, p.Refused, err, problems)
			}
			got := map[string]string{}
			for key := range p.served() {
				ec := &flyball.EvaluationContext{TargetingKey: "user-1"}
				r := rs.Evaluate(key, ec, time.Now, nil)
				got[key] = r.Variant + string(r.ErrorCode)
				if other := rs.EvaluateContext(key, eval.ContextOf(ec), time.Now, nil); !reflect.DeepEqual(r, other) {
					t.Errorf("%s: %+v with a map, %+v with a context", key, r, other)
				}
			}
			if diff := cmp.Diff(p.served(), got); diff != "" {
				t.Errorf("want -, got +:\n%s\n%v", diff, problems)
			}
			if sound := err == nil && len(problems) == 0; sound != p.Strict {
				t.Errorf("sound: %v, want %v: %v", sound, p.Strict, problems)
			}
			if err != nil {
				return
			}
			// What an evaluator quarantines, a publisher is refused.
			if _, err := eval.Compile(doc); (err == nil) != p.Strict {
				t.Errorf("compiles: %v, want %v", err, p.Strict)
			}
			// What is in force can be saved, read and compiled again.
			if saved, err := json.Marshal(rs.Document()); err != nil {
				t.Errorf("cannot be saved: %v", err)
			} else if _, err := eval.Decode(saved); err != nil {
				t.Errorf("cannot be read again: %v", err)
			}
		})
	}
}

func decode(t testing.TB, data []byte) flyball.Ruleset {
	t.Helper()
	doc, err := eval.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}
