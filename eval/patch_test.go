package eval_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// drawPatch draws a change of a ruleset, which as likely as not is broken: it
// removes what others need, needs what is not there, closes cycles, and speaks
// of what only a later version knows.
func drawPatch(t *rapid.T, from *eval.Ruleset) eval.Patch {
	p := eval.Patch{From: from.ID(), To: from.ID()}
	p.To.Version++
	keys := append(from.Keys(), "team.drawn-0", "team.drawn-1", "team.drawn-2", "team.new", "team.gone")
	drawn, fine := drawDocument(t), rapid.Bool().Draw(t, "fine")
	for _, f := range drawn.Flags {
		if rapid.IntRange(0, 2).Draw(t, "keep") > 0 {
			continue
		}
		switch rapid.IntRange(0, 9).Draw(t, "edit") {
		case 0:
			f.Key = rapid.SampledFrom(keys).Draw(t, "as")
			f.Flag = f.Key
		case 1:
			f.Prerequisites = append(f.Prerequisites, flyball.Prerequisite{Flag: rapid.SampledFrom(keys).Draw(t, "needs"), Variant: "on"})
		case 2:
			if !fine {
				f.Rules = append(f.Rules, flyball.Rule{ID: "later", If: is("x", "resembles", "y"), Serve: on})
			}
		case 3:
			delete(f.Variants, "dim")
		}
		p.Flags = append(p.Flags, f)
	}
	for _, s := range drawn.Segments {
		if rapid.Bool().Draw(t, "segment") {
			if !fine && rapid.IntRange(0, 3).Draw(t, "self") == 0 {
				s.If = &flyball.Condition{Segment: rapid.SampledFrom([]string{"segment-0", "segment-1", "nowhere"}).Draw(t, "names")}
			}
			p.Segments = append(p.Segments, s)
		}
	}
	if !fine {
		p.RemovedFlags = rapid.SliceOfN(rapid.SampledFrom(keys), 0, 2).Draw(t, "removed")
		p.RemovedSegments = rapid.SliceOfN(rapid.SampledFrom([]string{"segment-0", "segment-1", "segment-2", "nowhere"}), 0, 2).Draw(t, "removed segments")
	}
	return p
}

// sameRuleset says in what two rulesets differ, as a program can see it.
func sameRuleset(t *rapid.T, a, b *eval.Ruleset) string {
	if a.Live() != b.Live() || a.ID() != b.ID() {
		return fmt.Sprintf("%v is live: %v, %v: %v", a.ID(), a.Live(), b.ID(), b.Live())
	}
	diff := cmp.Diff(a.Document(), b.Document(), cmpopts.EquateNaNs())
	now := func() time.Time { return noon }
	for range 4 {
		ec := drawContext(t)
		for _, key := range append(a.Keys(), "team.nowhere") {
			var told [2][]flyball.Resolution
			x := a.Evaluate(key, ec, now, func(_ string, r flyball.Resolution) { told[0] = append(told[0], r) })
			y := b.Evaluate(key, ec, now, func(_ string, r flyball.Resolution) { told[1] = append(told[1], r) })
			diff += cmp.Diff(x, y, cmpopts.EquateNaNs()) + cmp.Diff(told[0], told[1], cmpopts.EquateNaNs())
		}
	}
	return diff
}

// What is built of what came before is what building everything anew gives,
// through any sequence of changes, good and bad: the same document, the same
// problems, the same resolutions.
func TestAPatchLeadsWhereCompilingEverythingLeads(t *testing.T) {
	shared := 0
	rapid.Check(t, func(t *rapid.T) {
		doc := drawDocument(t)
		whole, err := eval.Compile(doc)
		if err != nil {
			t.Fatalf("drawn, but not valid: %v", err)
		}
		patched, lenient, other := whole, whole, whole
		for range rapid.IntRange(1, 6).Draw(t, "changes") {
			p := drawPatch(t, patched)
			doc, err := whole.Patched(p)
			if err != nil {
				t.Fatal(err)
			}
			want, wantErr := eval.Compile(doc)
			got, gotErr := patched.Compile(p)
			if fmt.Sprint(wantErr) != fmt.Sprint(gotErr) {
				t.Fatalf("compiled anew: %v\npatched: %v", wantErr, gotErr)
			}
			if wantErr == nil {
				if diff := sameRuleset(t, want, got); diff != "" {
					t.Fatalf("compiled anew -, patched +:\n%s", diff)
				}
				for _, key := range got.Keys() {
					if got.Find(key) == patched.Find(key) {
						shared++
					}
				}
				whole, patched = want, got
			}

			p = drawPatch(t, lenient)
			if doc, err = other.Patched(p); err != nil {
				t.Fatal(err)
			}
			next, wantProblems := eval.Update(other, doc)
			nextPatched, gotProblems := lenient.Update(p)
			if diff := cmp.Diff(wantProblems, gotProblems); diff != "" {
				t.Fatalf("problems, updated -, patched +:\n%s", diff)
			}
			if diff := sameRuleset(t, next, nextPatched); diff != "" {
				t.Fatalf("updated -, patched +:\n%s", diff)
			}
			if diff := cmp.Diff(eval.Changed(other, next), eval.Changed(lenient, nextPatched)); diff != "" {
				t.Fatalf("changed, updated -, patched +:\n%s", diff)
			}
			other, lenient = next, nextPatched
		}
	})
	if shared < 100 {
		t.Errorf("only %d flags were taken over: everything is compiled anew", shared)
	}
}

// A patch costs what it changes: all else is shared, save for what needs it.
func TestAPatchSharesWhatItDoesNotChange(t *testing.T) {
	doc := ruleset(newFlag("team.a"), newFlag("team.b"), newFlag("team.c"), newFlag("team.d"))
	doc.Flags[1].Prerequisites = []flyball.Prerequisite{{Flag: "team.a", Variant: "on"}}
	doc.Flags[2].Rules = []flyball.Rule{{ID: "r", If: flyball.Condition{Segment: "outer"}, Serve: off}}
	doc.Segments = []flyball.Segment{{Key: "inner", Owner: "team"}, {Key: "outer", Owner: "team", If: &flyball.Condition{Segment: "inner"}}}
	rs := compile(t, doc)
	killedA, id := newFlag("team.a"), rs.ID()
	killed(&killedA)
	id.Version++
	for _, tt := range []struct {
		name  string
		patch eval.Patch
		built []string
	}{
		{"a flag, and the one that needs it", eval.Patch{Flags: []flyball.RulesetFlag{killedA}}, []string{"team.a", "team.b"}},
		{"a segment, and the flag that names it through another", eval.Patch{Segments: []flyball.Segment{{Key: "inner", Owner: "team", Include: []string{"user-1"}}}}, []string{"team.c"}},
		{"a new flag", eval.Patch{Flags: []flyball.RulesetFlag{newFlag("team.e")}}, []string{"team.e"}},
		{"a flag that went", eval.Patch{RemovedFlags: []string{"team.d"}}, nil},
		{"nothing", eval.Patch{}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.patch.From, tt.patch.To = rs.ID(), id
			next, err := rs.Compile(tt.patch)
			if err != nil {
				t.Fatal(err)
			}
			var built []string
			for _, key := range next.Keys() {
				if next.Find(key) != rs.Find(key) {
					built = append(built, key)
				}
			}
			if diff := cmp.Diff(tt.built, built); diff != "" {
				t.Errorf("built anew, want -, got +:\n%s", diff)
			}
			if r := next.Evaluate("team.b", nil, nil, nil); r.Version != id.Version {
				t.Errorf("a shared flag tells version %d", r.Version)
			}
			if want := []string{"on", "off"}[min(len(tt.patch.Segments), 1)]; variants(next, "team.c")["team.c"] != want {
				t.Errorf("team.c serves %v", variants(next, "team.c"))
			}
		})
	}
}

// However many patches follow each other, no more is kept of the past than a
// ruleset may need.
func TestPatchesDoNotGatherThePast(t *testing.T) {
	rs := compile(t, ruleset(newFlag("team.a"), newFlag("team.b")))
	compiled := 0
	for i := range 5000 {
		f := newFlag("team.a")
		f.Rules = []flyball.Rule{{ID: "r", If: is("age", flyball.OpIn, int64(i)), Serve: off}}
		to := rs.ID()
		to.Version++
		next, err := rs.Compile(eval.Patch{From: rs.ID(), To: to, Flags: []flyball.RulesetFlag{f}})
		if err != nil {
			t.Fatal(err)
		}
		if next.Find("team.b") != rs.Find("team.b") {
			compiled++
		}
		rs = next
	}
	if compiled < 3 || compiled > 10 {
		t.Errorf("everything was compiled anew %d times in 5,000 changes", compiled)
	}
	if !slices.Equal(rs.Keys(), []string{"team.a", "team.b"}) {
		t.Errorf("flags %v", rs.Keys())
	}
}
