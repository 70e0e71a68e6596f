package eval_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/google/go-cmp/cmp"
)

func TestCompileTellsEveryProblemAtOnce(t *testing.T) {
	a, b := newFlag("team.a"), newFlag("team.b")
	a.Rules = []flyball.Rule{{ID: "r", If: is("x", "madeUp", 1), Serve: on}}
	a.SafeVariant = "gone"
	b.Prerequisites = []flyball.Prerequisite{{Flag: "team.gone", Variant: "on"}}
	rs, err := eval.Compile(ruleset(a, b))
	if rs != nil || len(flyball.Problems(err)) != 3 {
		t.Errorf("got %v and %d problems, want 3:\n%v", rs, len(flyball.Problems(err)), err)
	}
}

// No ruleset may make an evaluation slow: both of these would need millions of
// steps.
func TestCompileBoundsTheWorkOfAnEvaluation(t *testing.T) {
	var flags []flyball.RulesetFlag
	for i := range 30 {
		f := newFlag(fmt.Sprintf("team.f%02d", i))
		if i > 0 {
			p := flyball.Prerequisite{Flag: fmt.Sprintf("team.f%02d", i-1), Variant: "on"}
			f.Prerequisites = []flyball.Prerequisite{p, p}
		}
		flags = append(flags, f)
	}
	if _, err := eval.Compile(ruleset(flags...)); err == nil || !strings.Contains(err.Error(), "prerequisites") {
		t.Errorf("thirty flags that need the one before twice: %v", err)
	}

	doc := ruleset(newFlag("team.flag"))
	doc.Flags[0].Rules = []flyball.Rule{{ID: "r", If: flyball.Condition{Segment: "seg-29"}, Serve: on}}
	for i := range 30 {
		s := flyball.Segment{Key: fmt.Sprintf("seg-%02d", i), Owner: "team"}
		if i > 0 {
			before := flyball.Condition{Segment: fmt.Sprintf("seg-%02d", i-1)}
			s.If = &flyball.Condition{Any: []flyball.Condition{before, before}}
		}
		doc.Segments = append(doc.Segments, s)
	}
	if _, err := eval.Compile(doc); err == nil || !strings.Contains(err.Error(), "tests") {
		t.Errorf("thirty segments that ask the one before twice: %v", err)
	}
}

// variants evaluates every flag for one user.
func variants(rs *eval.Ruleset, keys ...string) map[string]string {
	got := map[string]string{}
	for _, key := range keys {
		r := rs.Evaluate(key, user("user-1"), time.Now, nil)
		got[key] = r.Variant + string(r.ErrorCode)
	}
	return got
}

// A flag that cannot be compiled keeps its definition; nobody else is harmed.
func TestUpdateQuarantinesWhatItCannotCompile(t *testing.T) {
	before := ruleset(newFlag("team.kept"), newFlag("team.needs"), newFlag("team.killed"), newFlag("team.off"), newFlag("team.seg"), newFlag("team.gone"), newFlag("team.fine"))
	before.Segments = []flyball.Segment{{Key: "beta", Owner: "team", Include: []string{"user-1"}}}
	inBeta := flyball.Rule{ID: "beta", If: flyball.Condition{Segment: "beta"}, Serve: flyball.Serve{Variant: "off"}}
	before.Flags[4].Rules = []flyball.Rule{inBeta}
	old := compile(t, before)

	newer := func(key string) flyball.RulesetFlag { // from a server of a later version
		f := newFlag(key)
		f.Default.Variant = "off"
		f.Rules = []flyball.Rule{{ID: "r", If: is("x", "resembles", "y"), Serve: flyball.Serve{Variant: "off"}}}
		return f
	}
	after := ruleset(newer("team.kept"), newFlag("team.needs"), newer("team.killed"), newer("team.off"), newFlag("team.seg"), newer("team.new"), newFlag("team.fine"), newFlag("team.dangling"))
	after.Version = 8
	after.Flags[1].Prerequisites = []flyball.Prerequisite{{Flag: "team.new", Variant: "on"}} // unknown for ever
	killed(&after.Flags[2])
	after.Flags[3].Enabled = false
	after.Flags[4].Rules = []flyball.Rule{inBeta}
	after.Flags[6].Default.Variant = "off"
	after.Flags[7].Rules = []flyball.Rule{{ID: "r", If: flyball.Condition{Segment: "nowhere"}, Serve: on}}
	after.Segments = []flyball.Segment{{Key: "beta", Owner: "team", If: &flyball.Condition{Segment: "beta"}}} // a cycle

	rs, problems := eval.Update(old, after)
	want := map[string]string{
		"team.kept": "on", "team.needs": "on", "team.killed": "off", "team.off": "off", "team.seg": "off",
		"team.new": "FLAG_NOT_FOUND", "team.gone": "FLAG_NOT_FOUND", "team.fine": "off", "team.dangling": "FLAG_NOT_FOUND",
	}
	keys := []string{"team.kept", "team.needs", "team.killed", "team.off", "team.seg", "team.new", "team.gone", "team.fine", "team.dangling"}
	if diff := cmp.Diff(want, variants(rs, keys...)); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if r := rs.Evaluate("team.kept", nil, nil, nil); r.Version != 8 {
		t.Errorf("a kept definition tells version %d, not the ruleset's", r.Version)
	}
	var fields []string
	for _, p := range problems {
		fields = append(fields, p.Field)
	}
	wantFields := []string{
		`segments["beta"]`, `flags["team.kept"].rules[0].if.op`, `flags["team.new"].rules[0].if.op`, `flags["team.needs"].prerequisites[0]`,
		`flags["team.killed"].rules[0].if.op`, `flags["team.off"].rules[0].if.op`, `flags["team.dangling"].rules[0].if`,
	}
	if diff := cmp.Diff(wantFields, fields); diff != "" {
		t.Errorf("problems, want -, got +:\n%s", diff)
	}

	// The next ruleset, which can be read again, mends everything.
	after.Version, after.Flags = 9, []flyball.RulesetFlag{newFlag("team.kept"), newFlag("team.new")}
	after.Segments = nil
	rs, problems = eval.Update(rs, after)
	if got := variants(rs, "team.kept", "team.new"); got["team.new"] != "on" || len(problems) > 0 {
		t.Errorf("got %v, problems %v", got, problems)
	}
}

// A cycle of prerequisites harms only those in it.
func TestUpdateBreaksCycles(t *testing.T) {
	a, b, c := newFlag("team.a"), newFlag("team.b"), newFlag("team.c")
	a.Prerequisites = []flyball.Prerequisite{{Flag: "team.b", Variant: "on"}}
	b.Prerequisites = []flyball.Prerequisite{{Flag: "team.a", Variant: "on"}}
	rs, problems := eval.Update(nil, ruleset(a, b, c))
	want := map[string]string{"team.a": "FLAG_NOT_FOUND", "team.b": "FLAG_NOT_FOUND", "team.c": "on"}
	if diff := cmp.Diff(want, variants(rs, "team.a", "team.b", "team.c")); diff != "" || len(problems) != 2 {
		t.Errorf("problems %v, want -, got +:\n%s", problems, diff)
	}
}

// What others need does not vanish, and a new need that closes a cycle harms the
// one that has it: what is in force can be saved and compiled anew.
func TestUpdateKeepsWhatOthersNeed(t *testing.T) {
	a, b, c := newFlag("team.a"), newFlag("team.b"), newFlag("team.c")
	b.Prerequisites = []flyball.Prerequisite{{Flag: "team.a", Variant: "on"}}
	c.Rules = []flyball.Rule{{ID: "r", If: flyball.Condition{Segment: "outer"}, Serve: off}}
	before := ruleset(a, b, c)
	before.Segments = []flyball.Segment{{Key: "inner", Owner: "team", Include: []string{"user-1"}}, {Key: "outer", Owner: "team", If: &flyball.Condition{Segment: "inner"}}}
	old := compile(t, before)
	want := variants(old, "team.a", "team.b", "team.c")

	rs, problems := eval.Update(old, ruleset(b, c)) // both segments and team.a are gone
	if diff := cmp.Diff(want, variants(rs, "team.a", "team.b", "team.c")); diff != "" || len(problems) != 3 {
		t.Errorf("problems %v, want -, got +:\n%s", problems, diff)
	}
	compile(t, rs.Document())

	a.Prerequisites = []flyball.Prerequisite{{Flag: "team.b", Variant: "on"}}
	a.Default = off
	after := ruleset(a, b, c)
	after.Segments = before.Segments
	rs, problems = eval.Update(old, after)
	if diff := cmp.Diff(want, variants(rs, "team.a", "team.b", "team.c")); diff != "" || len(problems) == 0 {
		t.Errorf("problems %v, want -, got +:\n%s", problems, diff)
	}
	compile(t, rs.Document())
}

func TestUpdateRefusesUnusableDocuments(t *testing.T) {
	for name, doc := range map[string]flyball.Ruleset{
		"no environment":     {Version: 1},
		"a negative version": {Environment: "production", Version: -1},
		"too many flags":     {Environment: "production", Version: 1, Flags: make([]flyball.RulesetFlag, flyball.MaxFlags+1)},
	} {
		if rs, problems := eval.Update(nil, doc); rs != nil || len(problems) == 0 {
			t.Errorf("%s: %v, %v", name, rs, problems)
		}
	}
}

// Fields of later versions are ignored, and a flag whose shape is unknown is
// left to its previous definition, unless it is killed.
func TestDecodeReadsLaterVersions(t *testing.T) {
	old := compile(t, ruleset(newFlag("team.a"), newFlag("team.b"), newFlag("team.c"), newFlag("team.d")))
	fine, err := json.Marshal(newFlag("team.d"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := eval.Decode([]byte(`{"environment":"production","epoch":1,"version":8,"signature":"x","flags":[
		{"key":"team.a","enabled":true,"rules":{"any":"shape"}},
		{"key":"team.b","enabled":true,"rules":5,"killed":{"at":"noon"}},
		{"key":"team.c","enabled":false,"hashVersion":"three"},` + string(fine) + `],
		"segments":[{"key":"beta","if":7}]}`))
	if err != nil {
		t.Fatal(err)
	}
	rs, problems := eval.Update(old, doc)
	want := map[string]string{"team.a": "on", "team.b": "off", "team.c": "off", "team.d": "on"}
	if diff := cmp.Diff(want, variants(rs, "team.a", "team.b", "team.c", "team.d")); diff != "" || len(problems) == 0 {
		t.Errorf("problems %v, want -, got +:\n%s", problems, diff)
	}
	for _, bad := range []string{``, `null`, `{}`, `null[]`, `[]`, `{"flags":{}}`, `{"version":"x"}`, `{"flags":[5]}`, `{"segments":["x"]}`} {
		if _, err := eval.Decode([]byte(bad)); flyball.CodeOf(err) != flyball.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestChangedNamesEveryFlagThatMayDiffer(t *testing.T) {
	make := func(version int64, edit func(doc *flyball.Ruleset)) *eval.Ruleset {
		doc := ruleset(newFlag("team.a"), newFlag("team.b"), newFlag("team.c"), newFlag("team.d"))
		doc.Version = version
		doc.Flags[1].Prerequisites = []flyball.Prerequisite{{Flag: "team.a", Variant: "on"}}
		doc.Flags[2].Rules = []flyball.Rule{{ID: "r", If: flyball.Condition{Segment: "outer"}, Serve: on}}
		doc.Segments = []flyball.Segment{
			{Key: "inner", Owner: "team", Include: []string{"ann"}},
			{Key: "outer", Owner: "team", If: &flyball.Condition{Segment: "inner"}},
		}
		edit(&doc)
		return compile(t, doc)
	}
	base := make(1, func(*flyball.Ruleset) {})
	for _, tt := range []struct {
		name string
		edit func(doc *flyball.Ruleset)
		want []string
	}{
		{"nothing", func(*flyball.Ruleset) {}, nil},
		{"a flag, and the one that needs it", func(doc *flyball.Ruleset) { killed(&doc.Flags[0]) }, []string{"team.a", "team.b"}},
		{"a segment, through another", func(doc *flyball.Ruleset) { doc.Segments[0].Include = nil }, []string{"team.c"}},
		{"one came", func(doc *flyball.Ruleset) { doc.Flags = append(doc.Flags, newFlag("team.e")) }, []string{"team.e"}},
		{"one went", func(doc *flyball.Ruleset) { doc.Flags = doc.Flags[:3] }, []string{"team.d"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, eval.Changed(base, make(2, tt.edit))); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
	if got := eval.Changed(nil, base); len(got) != 4 {
		t.Errorf("from nothing: %v", got)
	}
}

func TestAccessors(t *testing.T) {
	rs := compile(t, story(killed))
	if rs.Environment() != "production" || rs.ID() != (flyball.RulesetID{Epoch: 1, Version: 7}) || len(rs.Keys()) != 7 || !rs.Live() {
		t.Errorf("%s %v %v live=%v", rs.Environment(), rs.ID(), rs.Keys(), rs.Live())
	}
	if f := rs.Flag("team.on"); f == nil || f.Type != flyball.TypeBoolean || rs.Flag("team.typo") != nil {
		t.Errorf("%+v", f)
	}
	if r, ok := rs.Constant("team.flag"); !ok || r.Reason != flyball.ReasonDisabled {
		t.Errorf("a killed flag: %+v, %v", r, ok)
	}
	if _, ok := rs.Constant("team.split"); ok {
		t.Errorf("a split is not constant")
	}
}

// A late answer to an old poll must not undo a kill; a restored database, with
// a new epoch and an older version, must be obeyed.
func TestHolderOnlyMovesForward(t *testing.T) {
	var h eval.Holder
	if r := h.Current().Evaluate("team.flag", nil, nil, nil); r.ErrorCode != flyball.ErrorProviderNotReady {
		t.Errorf("an empty holder: %+v", r)
	}
	for _, step := range []struct {
		epoch, version int64
		want           bool
	}{{1, 5, true}, {1, 5, false}, {1, 4, false}, {1, 6, true}, {2, 1, true}, {1, 7, false}, {2, 1, false}, {2, 2, true}} {
		doc := ruleset(newFlag("team.flag"))
		doc.Epoch, doc.Version = step.epoch, step.version
		if got := h.Offer(compile(t, doc)); got != step.want {
			t.Errorf("offer (%d, %d): %v, want %v", step.epoch, step.version, got, step.want)
		}
	}
}

// FuzzRuleset updates an evaluator with any bytes: whatever was published,
// every flag still answers, and what compiles strictly compiles here without
// a problem and resolves alike.
func FuzzRuleset(f *testing.F) {
	for _, doc := range []flyball.Ruleset{
		story(), story(killed), story(disabled), story(canada(split("on", 1, "off", 999_999)), rolledOut(5, leased(noon))),
		story(needs("team.split", "on"), canada(on), rolledOut(9, onRule, byAccount)), workloads[4].document(),
	} {
		if len(doc.Flags) > 10 {
			doc.Flags, doc.Segments[0].Include = doc.Flags[998:], doc.Segments[0].Include[:3]
		}
		data, err := json.Marshal(doc)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"environment":"p","flags":[{"key":"team.a","enabled":true,"rules":[{}]}]}`))
	f.Add([]byte(`{"environment":"p","flags":[null],"segments":[null]}`))
	old, err := eval.Compile(story(canada(on)))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := eval.Decode(data)
		if err != nil {
			return
		}
		rs, problems := eval.Update(old, doc)
		if rs == nil {
			return
		}
		strict, err := eval.Compile(doc)
		if err == nil && len(problems) > 0 {
			t.Fatalf("compiles, but not as an update: %v", problems)
		}
		for _, key := range append(rs.Keys(), "team.flag", "") {
			for _, ec := range []*flyball.EvaluationContext{nil, user(""), user("user-1"), canadian} {
				got := rs.Evaluate(key, ec, func() time.Time { return noon }, func(string, flyball.Resolution) {})
				if got.Reason == "" || (got.ErrorCode == "") != (got.Variant != "") {
					t.Fatalf("%s: %+v", key, got)
				}
				if err == nil {
					want := strict.Evaluate(key, ec, func() time.Time { return noon }, nil)
					if !reflect.DeepEqual(want, got) { // a diff of deep values would take for ever
						t.Fatalf("%s: compiled %+v, updated %+v", key, want, got)
					}
				}
			}
		}
	})
}

// FuzzEvaluate evaluates flags of every shape for any context, in both forms.
func FuzzEvaluate(f *testing.F) {
	var docs []*eval.Ruleset
	for _, doc := range []flyball.Ruleset{story(canada(on), rolledOut(500_000, byAccount)), story(byDefault(split("on", 5, "off", 999_995))), workloads[4].document()} {
		rs, err := eval.Compile(doc)
		if err != nil {
			f.Fatal(err)
		}
		docs = append(docs, rs)
	}
	f.Add("team.flag", "user-1", `{"country":"CA","account":{"id":7}}`)
	f.Add("team.domain.flag-0004", "", `{"country":["CA",1,null],"email":{},"age":1e400,"plan":[[]]}`)
	f.Add("", "\x00\xff", `{"account":{"id":{"id":[]}}}`)
	f.Fuzz(func(t *testing.T, key, unit, attributes string) {
		ec := &flyball.EvaluationContext{TargetingKey: unit}
		_ = json.Unmarshal([]byte(attributes), &ec.Attributes)
		for _, rs := range docs {
			got := rs.Evaluate(key, ec, func() time.Time { return noon }, func(string, flyball.Resolution) {})
			if (got.ErrorCode == "") != (got.Variant != "") {
				t.Fatalf("%+v", got)
			}
			other := rs.EvaluateContext(key, eval.ContextOf(ec), func() time.Time { return noon }, nil)
			if !reflect.DeepEqual(got, other) {
				t.Fatalf("with a map %+v, with a context %+v", got, other)
			}
		}
	})
}

func TestPatchLeadsFromOneRulesetToTheNext(t *testing.T) {
	doc := ruleset(newFlag("team.a"), newFlag("team.b"), newFlag("team.c"))
	doc.Segments = []flyball.Segment{{Key: "one", Owner: "team"}, {Key: "two", Owner: "team"}}
	rs := compile(t, doc)
	changed := newFlag("team.b")
	killed(&changed)
	flags, err := json.Marshal([]flyball.RulesetFlag{changed, newFlag("team.d")})
	if err != nil {
		t.Fatal(err)
	}
	patch := `{"from":{"epoch":1,"version":7},"to":{"epoch":1,"version":8},"flags":` + string(flags) +
		`,"removedFlags":["team.a","team.gone"],"segments":[{"key":"three","owner":"team"}],"removedSegments":["one"]}`
	p, err := eval.DecodePatch([]byte(patch))
	if err != nil {
		t.Fatal(err)
	}
	next, err := rs.Patched(p)
	if err != nil {
		t.Fatal(err)
	}
	after := compile(t, next)
	if diff := cmp.Diff([]string{"team.b", "team.c", "team.d"}, after.Keys()); diff != "" || after.ID().Version != 8 || len(next.Segments) != 2 {
		t.Errorf("version %v, segments %v, keys want -, got +:\n%s", after.ID(), next.Segments, diff)
	}
	if r := after.Evaluate("team.b", nil, nil, nil); r.Reason != flyball.ReasonDisabled {
		t.Errorf("the killed flag: %+v", r)
	}
	if _, err := after.Compile(p); flyball.CodeOf(err) != flyball.Conflict {
		t.Errorf("a patch of another ruleset: %v", err)
	}
	if _, problems := after.Update(p); len(problems) != 1 || problems[0].Code != flyball.Conflict {
		t.Errorf("a patch of another ruleset: %v", problems)
	}
	if _, err := eval.DecodePatch([]byte(`[]`)); flyball.CodeOf(err) != flyball.Invalid {
		t.Errorf("no patch: %v", err)
	}
}

func TestAFlagTellsTheAttributesThatItDependsOn(t *testing.T) {
	plain, off, split, ruled, needs := newFlag("team.plain"), newFlag("team.off"), newFlag("team.split"), newFlag("team.ruled"), newFlag("team.needs")
	off.Enabled = false
	off.Rules = []flyball.Rule{{ID: "r", If: is("x", flyball.OpIn, "y"), Serve: on}}
	split.Default = flyball.Serve{Split: &flyball.Split{By: "company", Weights: []flyball.Weight{{Variant: "on", PPM: 1}, {Variant: "off", PPM: flyball.PPM - 1}}}}
	ruled.Rules = []flyball.Rule{
		{ID: "a", If: flyball.Condition{Any: []flyball.Condition{is("plan.name", flyball.OpIn, "pro"), {Not: &flyball.Condition{Segment: "team"}}}}, Serve: on},
		{ID: "b", If: is("targetingKey", flyball.OpIn, "u"), Serve: on},
	}
	needs.Prerequisites = []flyball.Prerequisite{{Flag: "team.ruled", Variant: "on"}}
	needs.Rules = []flyball.Rule{{ID: "r", If: is("age", flyball.OpGT, int64(1)), Serve: on}}
	doc := ruleset(plain, off, split, ruled, needs)
	inner := is("email", flyball.OpEndsWith, "@x.com")
	doc.Segments = []flyball.Segment{{Key: "team", Owner: "team", If: &flyball.Condition{Segment: "staff"}}, {Key: "staff", Owner: "team", If: &inner}}
	rs := compile(t, doc)
	for key, want := range map[string]string{
		"team.plain": "[]", "team.off": "[]", "team.split": "[company]", "team.ruled": "[email plan targetingKey]", "team.needs": "[age email plan targetingKey]",
	} {
		if got := fmt.Sprint(rs.Find(key).Attributes()); got != want {
			t.Errorf("%s depends on %s, want %s", key, got, want)
		}
	}
}
