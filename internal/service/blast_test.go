package service

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// previewing is a service on a fresh database that knows a sample of a thousand
// out of 50,000 users, and flags that programs evaluate.
func previewing(t testing.TB, n int, flags ...string) (*Service, context.Context) {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "flyball.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	sample := Sample{Users: flyball.Estimate{Value: 50_000, Low: 49_000, High: 51_000}}
	for i := range n {
		a := flyball.Attributes{"country": []string{"CA", "DE", "FR", "US"}[i%4], "age": float64(i % 100)}
		sample.Contexts = append(sample.Contexts, SampledContext{
			Unit: fmt.Sprint("hash-", i), At: time.Now().Add(-time.Duration(i) * time.Second), Weight: 1,
			Context: flyball.EvaluationContext{TargetingKey: fmt.Sprint("user-", i), Attributes: a},
		})
	}
	s, err := New(t.Context(), db, Options{Sample: func(context.Context, string) (Sample, error) { return sample, nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx := WithPrincipal(t.Context(), Principal{Actor: flyball.Actor{ID: "user:ann"}, Kind: flyball.TokenAPI, Rights: []flyball.Grants{flyball.Installation}})
	for _, key := range flags {
		if _, err := s.CreateFlag(ctx, newFlag(key)); err != nil {
			t.Fatal(err)
		}
		for _, env := range []string{"production", "development"} {
			evaluated(t, s, env, key)
		}
		if _, err := s.EnableFlag(ctx, FlagIn{Key: key, Environment: "development", Reason: "a test"}); err != nil {
			t.Fatal(err)
		}
	}
	return s, ctx
}

func evaluated(t testing.TB, s *Service, environment, key string) {
	t.Helper()
	err := s.db.Update(t.Context(), func(tx *store.Tx) error {
		return tx.AddUsage([]flyball.Usage{{Environment: environment, Flag: key, N: 1, Last: time.Now()}})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// planned returns the plan of a change, and its preview in development.
func planned[T any](t *testing.T, ctx context.Context, by string, change func(context.Context) (T, error)) (*flyball.Plan, flyball.Preview) {
	t.Helper()
	m := &Manner{DryRun: true, PreviewBy: by}
	if _, err := change(WithManner(ctx, m)); m.Plan() == nil { // what would be made cannot be read afterwards
		t.Fatal(err)
	}
	for _, v := range m.Plan().Previews {
		if v.Environment == "development" {
			return m.Plan(), v
		}
	}
	t.Fatalf("no preview of development: %+v", m.Plan())
	return nil, flyball.Preview{}
}

func inDevelopment(key string) FlagIn {
	return FlagIn{Key: key, Environment: "development", Reason: "a test"}
}

func configure(s *Service, key string, c Config) func(context.Context) (Configured, error) {
	return func(ctx context.Context) (Configured, error) {
		return s.SetConfig(ctx, SetConfig{FlagIn: inDevelopment(key), Config: c})
	}
}

func equals(attribute string, values ...any) flyball.Condition {
	return flyball.Condition{Attribute: attribute, Op: flyball.OpIn, Values: values}
}

var (
	on  = flyball.Serve{Variant: "on"}
	off = flyball.Serve{Variant: "off"}
)

func ruled(c flyball.Condition) Config {
	return Config{Enabled: true, Default: off, Rules: []flyball.Rule{{ID: "r", If: c, Serve: on}}}
}

func near(got, want float64) bool { return math.Abs(got-want) < 1e-9*max(1, math.Abs(want)) }

// Who gets something else is told in all ways: how many, from where to where, by
// an attribute, and by examples that name nobody.
func TestAPreviewTellsWhoGetsSomethingElse(t *testing.T) {
	s, ctx := previewing(t, 1000, "shop.a.one")
	plan, v := planned(t, ctx, "age", configure(s, "shop.a.one", ruled(equals("country", "CA"))))
	if v.Basis != "sample" || v.Sample != 1000 || !near(v.Effective, 1000) || !near(v.Share.Value, 0.25) || !near(v.Affected.Value, 12_500) || !near(v.Gain.Value, 12_500) || v.Lose.Value != 0 {
		t.Errorf("%+v", v)
	}
	if v.Share.Low > 0.22 || v.Share.Low < 0.2 || v.Share.High < 0.28 || v.Share.High > 0.3 || v.Affected.Low > v.Share.Low*49_000+1 || v.Affected.High < v.Share.High*51_000-1 {
		t.Errorf("share %+v, affected %+v", v.Share, v.Affected)
	}
	if v.Newest == nil || v.Oldest == nil || v.Newest.Sub(v.Oldest.Time) < 900*time.Second {
		t.Errorf("the sample is of %v to %v", v.Oldest, v.Newest)
	}
	f := v.Flags[0]
	if len(f.Moves) != 1 || f.Moves[0].From != "off" || f.Moves[0].To != "on" || !near(f.Moves[0].Users.Value, 12_500) || !f.Edited {
		t.Errorf("%+v", f)
	}
	if len(f.By) != maxGroups+1 || !near(f.By["0"].Value, 500) || !near(f.By[groupOthers].Value, 5*500) {
		t.Errorf("by age: %v", f.By)
	}
	if len(f.Examples) != maxExamples || f.Examples[0].Unit != "hash-0" || f.Examples[0].Attributes["country"] != "CA" || f.Examples[0].To != "on" {
		t.Errorf("examples: %+v", f.Examples)
	}
	if plan.Risk != flyball.RiskHigh {
		t.Errorf("a quarter of all is of %s risk", plan.Risk)
	}
}

// What is to be served later, another value of the same variant, another seed and
// what prerequisites ask: nothing of that is nobody.
func TestNothingThatReachesPeopleIsOverlooked(t *testing.T) {
	s, ctx := previewing(t, 1000, "shop.a.one", "shop.b.two")
	tomorrow := &flyball.Time{Time: time.Now().Add(24 * time.Hour)}
	later := ruled(equals("country", "CA"))
	later.Rules[0].NotBefore = tomorrow
	if _, v := planned(t, ctx, "", configure(s, "shop.a.one", later)); !near(v.Share.Value, 0.25) {
		t.Errorf("a rule that begins tomorrow reaches %+v", v.Share)
	}
	must[Configured](t)(configure(s, "shop.a.one", ruled(equals("country", "CA")))(ctx))
	revalue := func(ctx context.Context) (FlagView, error) {
		f := UpdateFlag{Flag: newFlag("shop.a.one").Flag, Reason: "a test"}
		f.Variants = flyball.Variants{"on": false, "off": false}
		return s.UpdateFlag(ctx, f)
	}
	if _, v := planned(t, ctx, "", revalue); !near(v.Share.Value, 0.25) || v.Flags[0].Moves[0].From != "on" || v.Flags[0].Moves[0].To != "on" {
		t.Errorf("another value of a variant: %+v", v)
	}
	needs := ruled(equals("country", "CA", "DE"))
	needs.Prerequisites = []flyball.Prerequisite{{Flag: "shop.a.one", Variant: "on"}}
	must[Configured](t)(configure(s, "shop.b.two", needs)(ctx))
	_, v := planned(t, ctx, "", configure(s, "shop.a.one", ruled(equals("country", "DE"))))
	if len(v.Flags) != 2 || !near(v.Flags[1].Share.Value, 0.5) || v.Flags[1].Edited || !near(v.Share.Value, 0.5) {
		t.Errorf("what depends on it: %+v", v)
	}
}

// A flag that is switched to its safe variant is a retreat, though another flag is
// on only then: the preview tells so, and that was weighed when it was set up.
func TestARetreatTellsWhoRisesByIt(t *testing.T) {
	s, ctx := previewing(t, 1000, "shop.a.one", "shop.b.two")
	must[Configured](t)(configure(s, "shop.a.one", Config{Enabled: true, Default: on})(ctx))
	plan, _ := planned(t, ctx, "", configure(s, "shop.a.one", Config{Enabled: true, Default: off}))
	if !plan.Retreat {
		t.Errorf("%+v is no retreat", plan)
	}
	needs := Config{Enabled: true, Default: on, Prerequisites: []flyball.Prerequisite{{Flag: "shop.a.one", Variant: "off"}}}
	if plan, v := planned(t, ctx, "", configure(s, "shop.b.two", needs)); plan.Risk != flyball.RiskHigh || v.Share.Value != 0 || v.Share.High != 1 || v.Flags[0].Latent != 1 {
		t.Errorf("to set it up is of %s risk: %+v", plan.Risk, v)
	}
	must[Configured](t)(configure(s, "shop.b.two", needs)(ctx))
	plan, v := planned(t, ctx, "", configure(s, "shop.a.one", Config{Enabled: true, Default: off}))
	if !plan.Retreat || plan.Risk != flyball.RiskHigh || !near(v.Gain.Value, 50_000) {
		t.Errorf("retreat %t, risk %s, %+v", plan.Retreat, plan.Risk, v.Gain)
	}
}

// Of what the sample cannot tell, the rules give the upper bound, by flag; those
// of prerequisites and segments too.
func TestWhatTheSampleCannotTellIsBoundByTheRules(t *testing.T) {
	s, ctx := previewing(t, 1000, "shop.a.one", "shop.b.two", "shop.c.three")
	structure := func(what string, v flyball.Preview, share float64) {
		t.Helper()
		if v.Basis != "structure" || !near(v.Share.High, share) || v.Note == "" {
			t.Errorf("%s: %+v, want a share of at most %g", what, v, share)
		}
	}
	_, v := planned(t, ctx, "", configure(s, "shop.a.one", ruled(equals("plan", "gold"))))
	structure("an unknown attribute", v, 1)
	split := func(ppm int) Config {
		c := ruled(equals("plan", "gold"))
		c.Rules[0].Serve = flyball.Serve{Split: &flyball.Split{Weights: []flyball.Weight{{Variant: "on", PPM: ppm}, {Variant: "off", PPM: flyball.PPM - ppm}}}}
		return c
	}
	must[Configured](t)(configure(s, "shop.a.one", split(10_000))(ctx))
	_, v = planned(t, ctx, "", configure(s, "shop.a.one", split(30_000)))
	structure("a split for an unknown attribute", v, 0.02)
	needs := Config{Enabled: true, Default: on, Prerequisites: []flyball.Prerequisite{{Flag: "shop.a.one", Variant: "on"}}}
	must[Configured](t)(configure(s, "shop.b.two", needs)(ctx))
	_, v = planned(t, ctx, "", configure(s, "shop.a.one", split(30_000)))
	structure("that, and what depends on it", v, 0.04)
	segment := PutSegment{Segment: flyball.Segment{Key: "vip", Owner: "default", If: new(equals("plan", "gold"))}, Reason: "a test"}
	must[SegmentView](t)(s.CreateSegment(ctx, segment))
	must[Configured](t)(configure(s, "shop.c.three", ruled(flyball.Condition{Segment: "vip"}))(ctx))
	update := func(in PutSegment) func(context.Context) (SegmentView, error) {
		return func(ctx context.Context) (SegmentView, error) { return s.UpdateSegment(ctx, in) }
	}
	listed := segment
	listed.Include = []string{"a", "b", "c", "d"}
	_, v = planned(t, ctx, "", update(listed))
	structure("four keys more in a segment", v, 4.0/49_000)
	listed.If = new(equals("plan", "gold", "silver"))
	_, v = planned(t, ctx, "", update(listed))
	structure("another condition of a segment", v, 1)
	few, ctx := previewing(t, fewContexts-1, "shop.a.one")
	_, v = planned(t, ctx, "", configure(few, "shop.a.one", ruled(equals("country", "CA"))))
	structure("too small a sample", v, 1)
}

// In a protected environment every change that is not a retreat is previewed:
// refusals, requests and the audit log tell, the last without contexts.
func TestTheAuditLogKeepsThePreviewWithoutContexts(t *testing.T) {
	s, ctx := previewing(t, 1000, "shop.a.one")
	in := SetConfig{FlagIn: in("shop.a.one"), Config: ruled(equals("country", "CA"))}
	_, err := s.SetConfig(ctx, in)
	wantCode(t, err, flyball.Forbidden, "")
	if why := fmt.Sprint(err); !strings.Contains(why, "28.7 % of the users of production") {
		t.Errorf("it does not tell why: %v", why)
	}
	m := &Manner{Propose: &Proposal{Operation: "configure_flag", Input: []byte("{}")}, PreviewBy: "country"}
	must[Configured](t)(s.SetConfig(WithManner(ctx, m), in))
	if v := m.Proposed().Plan.Previews[0]; len(v.Flags[0].Examples) == 0 || !near(v.Flags[0].By["CA"].Value, 12_500) {
		t.Errorf("what is proposed: %+v", v)
	}
	must[Configured](t)(s.SetConfig(WithManner(ctx, &Manner{BreakGlass: true}), in))
	entry := must[Audit](t)(s.ListAudit(ctx, ListAudit{Environment: "production", Limit: 1})).Entries[0]
	if len(entry.Previews) != 1 || !near(entry.Previews[0].Share.Value, 0.25) || entry.Risk != flyball.RiskHigh {
		t.Fatalf("%+v", entry)
	}
	if f := entry.Previews[0].Flags[0]; len(f.Examples) > 0 || len(f.By) > 0 || len(f.Moves) != 1 {
		t.Errorf("the audit log keeps %+v", f)
	}
}

// A rollout that nothing watches is judged by where it ends, one with guardrails
// by where it begins.
func TestARolloutThatNothingWatchesIsJudgedByItsLastStep(t *testing.T) {
	s, ctx := previewing(t, 1000, "shop.a.one")
	start := func(ctx context.Context) (RolloutView, error) {
		return s.StartRollout(ctx, StartRollout{Reason: "a test", RolloutPlan: flyball.RolloutPlan{
			Flag: "shop.a.one", Environment: "development", Treatment: "on", Control: "off", Steps: []flyball.Step{{PPM: 1000}, {PPM: 1_000_000}},
		}})
	}
	if plan, v := planned(t, ctx, "", start); plan.Risk != flyball.RiskHigh || plan.Staged {
		t.Errorf("risk %s, staged %t, %+v", plan.Risk, plan.Staged, v.Share)
	}
}

// Each flag that a segment reaches is previewed, and the answer stays small.
func TestASegmentPreviewsEveryFlagItTouches(t *testing.T) {
	var flags []string
	for i := range maxImpacts + 7 {
		flags = append(flags, fmt.Sprintf("shop.flag.n%03d", i))
	}
	s, ctx := previewing(t, 1000, flags...)
	segment := PutSegment{Segment: flyball.Segment{Key: "vip", Owner: "default", If: new(equals("country", "CA"))}, Reason: "a test"}
	must[SegmentView](t)(s.CreateSegment(ctx, segment))
	for _, key := range flags {
		must[Configured](t)(configure(s, key, ruled(flyball.Condition{Segment: "vip"}))(ctx))
	}
	segment.If = new(equals("country", "CA", "DE"))
	plan, v := planned(t, ctx, "", func(ctx context.Context) (SegmentView, error) { return s.UpdateSegment(ctx, segment) })
	if len(v.Flags) != maxImpacts || v.Further != 7 || v.Share.Low > 0.25 || v.Share.High < 0.25 || v.Sample != maxEvaluations/2/len(flags) || plan.Risk != flyball.RiskHigh {
		t.Errorf("%d flags and %d more, share %+v of %d contexts", len(v.Flags), v.Further, v.Share, v.Sample)
	}
}

// A preview over 2,000 contexts among a thousand flags takes a few milliseconds of
// a processor at most, since writers wait meanwhile. It is far less; the test fails
// when all flags are evaluated, or the sample is read anew.
func TestAPreviewIsCheap(t *testing.T) {
	if testing.Short() {
		t.Skip("what the race detector adds is no cost of ours")
	}
	s, ctx := previewing(t, 2000)
	var files Files
	for i := range 1000 {
		files.Flags = append(files.Flags, FlagFile{Flag: newFlag(fmt.Sprintf("shop.flag.n%04d", i)).Flag})
	}
	must[Applied](t)(s.ApplyFiles(ctx, Apply{Files: files, Reason: "a test"}))
	evaluated(t, s, "production", "shop.flag.n0500")
	in := SetConfig{FlagIn: in("shop.flag.n0500"), Config: ruled(equals("country", "CA"))}
	best := time.Hour
	for range 20 {
		before := processorTime(t)
		m := &Manner{DryRun: true}
		must[Configured](t)(s.SetConfig(WithManner(ctx, m), in))
		if best = min(best, processorTime(t)-before); m.Plan().Previews[0].Sample != 2000 {
			t.Fatalf("%+v", m.Plan())
		}
	}
	t.Logf("a planned change: %v of a processor", best)
	if best > 10*time.Millisecond {
		t.Errorf("a planned change takes %v of a processor", best)
	}
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// What a change of one flag among a thousand costs in a protected environment,
// its preview over 2,000 contexts included.
func BenchmarkProtectedChangeAmong1000Flags(b *testing.B) {
	s, ctx := previewing(b, 2000)
	var files Files
	for i := range 1000 {
		files.Flags = append(files.Flags, FlagFile{Flag: newFlag(fmt.Sprintf("shop.flag.n%04d", i)).Flag})
	}
	if _, err := s.ApplyFiles(ctx, Apply{Files: files, Reason: "a benchmark"}); err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		evaluated(b, s, "production", fmt.Sprintf("shop.flag.n%04d", i))
	}
	ctx = WithManner(ctx, &Manner{BreakGlass: true})
	b.ResetTimer()
	for i := range b.N {
		in := SetConfig{FlagIn: FlagIn{Key: "shop.flag.n0500", Environment: "production", Reason: "a benchmark"}, Config: ruled(equals("country", []any{"CA", "DE"}[i%2]))}
		if _, err := s.SetConfig(ctx, in); err != nil {
			b.Fatal(err)
		}
	}
}
