package eval_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/corpus"
	"github.com/google/go-cmp/cmp"
)

// Whatever is published, an evaluator goes on: what cannot be read stays as it
// was, and no flag is harmed but the bad one.
func TestPoisonHarmsNoFlagButTheBadOne(t *testing.T) {
	healthy, cases := corpus.Read(t)
	before := decode(t, []byte(healthy))
	if len(cases) < 150 {
		t.Errorf("%d documents, want at least 150: were some removed?", len(cases))
	}
	for _, p := range cases {
		if raceEnabled && len(p.Document) > 1<<20 {
			continue // nothing here is concurrent, and the detector reads every byte
		}
		t.Run(p.Name, func(t *testing.T) {
			old := compile(t, before)
			rs, problems := old, []*flyball.Error(nil)
			doc, err := eval.Decode([]byte(p.Document))
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
			for key := range p.Served() {
				ec := &flyball.EvaluationContext{TargetingKey: "user-1"}
				r := rs.Evaluate(key, ec, time.Now, nil)
				got[key] = r.Variant + string(r.ErrorCode)
				if other := rs.EvaluateContext(key, eval.ContextOf(ec), time.Now, nil); !reflect.DeepEqual(r, other) {
					t.Errorf("%s: %+v with a map, %+v with a context", key, r, other)
				}
			}
			if diff := cmp.Diff(p.Served(), got); diff != "" {
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
