package service

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/rollout"
	"github.com/flyballdev/flyball/internal/store"
)

// What was served at every version is made anew from the audit log alone: the
// ruleset has the digest that the log says, and is the one that was published.
func TestTheAuditLogLeadsToEveryVersion(t *testing.T) {
	s, ctx := house(t)
	type past struct {
		digest string
		doc    flyball.Ruleset
	}
	was := map[flyball.RulesetID]map[string]past{}
	note := func() {
		for _, env := range []string{"production", "development", "staging"} {
			p, err := s.Published(env)
			if err != nil {
				continue
			}
			if was[p.ID()] == nil {
				was[p.ID()] = map[string]past{}
			}
			was[p.ID()][env] = past{p.Digest(), p.Doc()}
		}
	}
	r := &tinkerer{Rand: rand.New(rand.NewPCG(5, 13))}
	for i := range 300 {
		if i == 150 {
			must[flyball.Environment](t)(s.CreateEnvironment(ctx, PutEnvironment{Key: "staging", Reason: "a test"}))
		}
		if i == 200 {
			must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.rolled.out")))
			must[Configured](t)(s.EnableFlag(ctx, in("shop.rolled.out")))
			must[RolloutView](t)(s.StartRollout(ctx, StartRollout{RolloutPlan: aPlan("shop.rolled.out"), Reason: "a test"}))
		}
		if i == 250 {
			must[Configured](t)(s.KillFlag(ctx, in("shop.rolled.out")))
		}
		r.change(ctx, s)
		note()
	}
	versions := 0
	err := s.db.View(ctx, func(tx *store.Tx) error {
		for id, envs := range was {
			for env, then := range envs {
				if id.Version == 0 {
					continue
				}
				made, err := tx.VersionEntry(env, id.Version)
				if err != nil || made == nil {
					t.Fatalf("version %d of %s: %v, %v", id.Version, env, made, err)
				}
				rules, entry, err := rulesetAt(tx, env, made.Seq)
				if err != nil {
					t.Fatalf("version %d of %s: %v", id.Version, env, err)
				}
				versions++
				if entry.AfterHash != then.digest || rules.ID().Version != id.Version {
					t.Errorf("version %d of %s: %+v", id.Version, env, entry)
				}
				if d := cmp.Diff(then.doc, rules.Document()); d != "" {
					t.Errorf("version %d of %s (-published +history):\n%s", id.Version, env, d)
				}
			}
		}
		return nil
	})
	if err != nil || versions < 100 {
		t.Errorf("%d versions were compared: %v", versions, err)
	}
	now := time.Now()
	for _, f := range must[Flags](t)(s.ListFlags(ctx, ListFlags{})).Flags {
		if d := cmp.Diff(f, must[FlagView](t)(s.Flag(ctx, FlagKey{Key: f.Key, At: &flyball.Time{Time: now}}))); d != "" {
			t.Errorf("%s now (-database +history):\n%s", f.Key, d)
		}
	}
}

func aPlan(flag string) flyball.RolloutPlan {
	return flyball.RolloutPlan{
		Flag: flag, Environment: "production", Treatment: "on", Control: "off",
		Steps: []flyball.Step{{PPM: 200_000, Hold: flyball.Duration(time.Minute)}, {PPM: 1_000_000}},
	}
}

// moment gives each change a time of its own, and returns that after the last.
func moment() *flyball.Time {
	at := now()
	for !now().After(at) { // the clock's ticks are microseconds
	}
	return &flyball.Time{Time: at}
}

func TestWhyTellsWhatDecidedThen(t *testing.T) {
	s, ctx := house(t)
	const key = "shop.checkout.fast"
	before := moment()
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.base.one")))
	must[FlagView](t)(s.CreateFlag(ctx, newFlag(key)))
	made := moment()
	must[Configured](t)(s.SetConfig(ctx, SetConfig{FlagIn: in("shop.base.one"), Config: Config{Enabled: true, Default: flyball.Serve{Variant: "on"}}}))
	must[Configured](t)(s.SetConfig(ctx, SetConfig{FlagIn: in(key), Config: Config{
		Enabled: true, Default: flyball.Serve{Variant: "off"}, Prerequisites: []flyball.Prerequisite{{Flag: "shop.base.one", Variant: "on"}},
		Rules: []flyball.Rule{{ID: "canada", If: flyball.Condition{Attribute: "country", Op: "in", Values: []any{"CA"}}, Serve: flyball.Serve{
			Split: &flyball.Split{By: "account.id", Weights: []flyball.Weight{{Variant: "on", PPM: 500_000}, {Variant: "off", PPM: 500_000}}},
		}}},
	}}))
	ruled := moment()
	started := must[RolloutView](t)(s.StartRollout(ctx, StartRollout{RolloutPlan: aPlan(key), Reason: "ship it"}))
	rolled := moment()
	situation := must[rollout.Situation](t)(s.Situation(ctx, started.ID))
	if err := s.Decide(ctx, situation, rollout.Decision{Action: rollout.Advance, Step: 1, Why: "no harm", Revision: situation.Rollout.Revision, At: now()}, nil); err != nil {
		t.Fatal(err)
	}
	stepped := moment()
	must[Configured](t)(s.KillFlag(ctx, FlagIn{Key: key, Environment: "production", Reason: "support calls"}))
	dead := moment()
	must[Configured](t)(s.KillFlag(ctx, in("shop.base.one")))

	ask := func(at *flyball.Time, context flyball.Attributes) Explanation {
		t.Helper()
		return must[Explanation](t)(s.ExplainFlag(ctx, ExplainFlag{Key: key, Environment: "production", Unit: "user-1", Context: context, At: at}))
	}
	_, err := s.ExplainFlag(ctx, ExplainFlag{Key: key, Environment: "production", At: before})
	wantCode(t, err, flyball.NotFound, "")
	_, err = s.Flag(ctx, FlagKey{Key: key, At: before})
	wantCode(t, err, flyball.NotFound, "")
	told := func(e Explanation) string {
		bucket := "-"
		if e.Bucket != nil {
			bucket = fmt.Sprint(e.Bucket.Unit, "@", e.Bucket.Point)
		}
		step := "-"
		if e.Overlay != nil {
			step = fmt.Sprint(e.Overlay.ID == started.ID, e.Overlay.Step, e.Overlay.PPM)
		}
		return fmt.Sprint(e.Variant, " ", e.Reason, " ", e.Rule, " v", e.Version, " ", bucket, " ", step, " ", e.Changed.Action, " ", e.Changed.Actor.ID, " ", e.Changed.Reason)
	}
	canada := flyball.Attributes{"country": "CA", "account": map[string]any{"id": 7}}
	got := []string{
		told(ask(made, nil)), told(ask(ruled, canada)), told(ask(rolled, nil)), told(ask(stepped, nil)), told(ask(dead, nil)), told(ask(nil, nil)),
	}
	want := []string{
		"off DISABLED  v2 - - flag.create user:ann a test",
		"on SPLIT canada v4 7@246242 - flag.configure user:ann a test",
		"off SPLIT  v5 user-1@897432 true 0 200000 rollout.start user:ann ship it",
		"on SPLIT  v6 user-1@897432 true 1 1000000 rollout.advance system:rollout-controller no harm",
		"off DISABLED  v7 - - flag.kill user:ann support calls",
		"off DISABLED  v8 - - flag.kill user:ann support calls",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("why (-want +got):\n%s", d)
	}
	last := ask(nil, nil)
	if len(last.Prerequisites) != 1 || last.Prerequisites[0].Holds || last.Killed == nil || last.Killed.Reason != "support calls" {
		t.Errorf("the prerequisite and the kill: %+v, %+v", last.Prerequisites, last.Killed)
	}
	if v := must[FlagView](t)(s.Flag(ctx, FlagKey{Key: key, At: ruled})).Environments["production"]; len(v.Rules) != 1 || v.Version != 4 || v.Rollout != nil {
		t.Errorf("the flag then: %+v", v)
	}
}

func TestARevertIsAChangeLikeAnyOther(t *testing.T) {
	s, ctx := house(t)
	const key = "shop.checkout.fast"
	must[FlagView](t)(s.CreateFlag(ctx, newFlag(key)))
	rule := flyball.Rule{ID: "canada", If: flyball.Condition{Attribute: "country", Op: "in", Values: []any{"CA"}}, Serve: flyball.Serve{Variant: "on"}}
	good := must[Configured](t)(s.SetConfig(ctx, SetConfig{FlagIn: in(key), Config: Config{Enabled: true, Default: flyball.Serve{Variant: "off"}, Rules: []flyball.Rule{rule}}}))
	must[Configured](t)(s.SetConfig(ctx, SetConfig{FlagIn: in(key), Config: Config{Enabled: true, Default: flyball.Serve{Variant: "on"}}}))
	must[Configured](t)(s.KillFlag(ctx, in(key)))

	m := &Manner{DryRun: true}
	if _, err := s.RevertFlag(WithManner(ctx, m), RevertFlag{FlagIn: in(key), To: good.Version}); err != nil {
		t.Fatal(err)
	}
	if p := m.Plan(); p == nil || p.Action != "flag.revert" || len(p.Edits) != 1 || version(t, s, "production") != 4 {
		t.Fatalf("the plan is %+v", p)
	}
	back := must[Configured](t)(s.RevertFlag(ctx, RevertFlag{FlagIn: in(key), To: good.Version}))
	if back.Default.Variant != "off" || len(back.Rules) != 1 || back.Killed == nil || back.Version != 5 {
		t.Errorf("after the revert: %+v", back)
	}
	if again := must[Configured](t)(s.RevertFlag(ctx, RevertFlag{FlagIn: in(key), To: good.Version})); again.Changed {
		t.Error("a second revert says that it changed something")
	}
	_, err := s.RevertFlag(ctx, RevertFlag{FlagIn: in(key), To: 99})
	wantCode(t, err, flyball.NotFound, "to")
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.later.one")))
	_, err = s.RevertFlag(ctx, RevertFlag{FlagIn: in("shop.later.one"), To: 1})
	wantCode(t, err, flyball.NotFound, "to")
}
