package service

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/rollout"
	"github.com/flyballdev/flyball/internal/store"
)

// house is a service on a fresh database, and the context of a person who may
// do everything.
func house(t *testing.T) (*Service, context.Context) {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "flyball.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := New(t.Context(), db, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ann := Principal{Actor: flyball.Actor{ID: "user:ann"}, Kind: flyball.TokenAPI, Request: "req-1", Rights: []flyball.Grants{flyball.Installation}}
	return s, WithPrincipal(t.Context(), ann)
}

func newFlag(key string) CreateFlag {
	expires := flyball.Time{Time: time.Now().AddDate(0, 1, 0)}
	return CreateFlag{Reason: "a test", Flag: flyball.Flag{
		Key: key, Kind: flyball.KindRelease, Owner: "default", ExpiresAt: &expires, Type: flyball.TypeBoolean,
		Variants: flyball.Variants{"on": true, "off": false}, SafeVariant: "off",
	}}
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantCode(t *testing.T, err error, code flyball.Code, field string) {
	t.Helper()
	if flyball.CodeOf(err) != code || err == nil {
		t.Fatalf("got %v, want an error of code %s", err, code)
	}
	if p := flyball.Problems(err); field != "" && p[0].Field != field {
		t.Errorf("the error names %q, want %q: %v", p[0].Field, field, err)
	}
}

func in(key string) FlagIn { return FlagIn{Key: key, Environment: "production", Reason: "a test"} }

func version(t *testing.T, s *Service, env string) int64 {
	t.Helper()
	p, err := s.Published(env)
	if err != nil {
		t.Fatal(err)
	}
	return p.Doc().Version
}

func TestAChangeWithoutAReasonIsRefusedAndChangesNothing(t *testing.T) {
	s, ctx := house(t)
	f := newFlag("shop.checkout.fast")
	for _, f.Reason = range []string{"", "  ", "\t\n", "\u200b\u2060", "\u202e \u00a0"} {
		_, err := s.CreateFlag(ctx, f)
		wantCode(t, err, flyball.Invalid, "reason")
	}
	if v := version(t, s, "production"); v != 0 {
		t.Errorf("production is at version %d", v)
	}
}

func TestEveryVersionHasOneAuditEntry(t *testing.T) {
	s, ctx := house(t)
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.checkout.fast")))
	must[Configured](t)(s.EnableFlag(ctx, in("shop.checkout.fast")))
	must[Configured](t)(s.KillFlag(ctx, in("shop.checkout.fast")))
	must[Configured](t)(s.ResumeFlag(ctx, in("shop.checkout.fast")))
	audit := must[Audit](t)(s.ListAudit(ctx, ListAudit{Environment: "production", Limit: 100}))
	var got []string
	for _, e := range audit.Entries {
		got = append(got, fmt.Sprint(e.Version, " ", e.Action, " ", e.Actor.ID, " ", e.Request))
	}
	want := []string{
		"4 flag.resume user:ann req-1", "3 flag.kill user:ann req-1", "2 flag.enable user:ann req-1", "1 flag.create user:ann req-1",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("audit entries (-want +got):\n%s", d)
	}
}

func TestAChangeThatChangesNothingMakesNoVersionAndNoEntry(t *testing.T) {
	s, ctx := house(t)
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.checkout.fast")))
	must[Configured](t)(s.EnableFlag(ctx, in("shop.checkout.fast")))
	before := must[Audit](t)(s.ListAudit(ctx, ListAudit{Limit: 100}))
	if again := must[Configured](t)(s.EnableFlag(ctx, in("shop.checkout.fast"))); again.Changed {
		t.Error("the second enable says that it changed something")
	}
	after := must[Audit](t)(s.ListAudit(ctx, ListAudit{Limit: 100}))
	if len(after.Entries) != len(before.Entries) || version(t, s, "production") != 2 {
		t.Errorf("%d entries after %d, production at version %d", len(after.Entries), len(before.Entries), version(t, s, "production"))
	}
}

func TestAStaleVersionIsAConflictThatTellsTheCurrentOne(t *testing.T) {
	s, ctx := house(t)
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.checkout.fast")))
	must[Configured](t)(s.EnableFlag(ctx, in("shop.checkout.fast")))
	stale := in("shop.checkout.fast")
	stale.IfVersion = 1
	_, err := s.DisableFlag(ctx, stale)
	wantCode(t, err, flyball.Conflict, "")
	if got := flyball.Problems(err)[0].Details["version"]; got != int64(2) {
		t.Errorf("the error tells version %v, want 2", got)
	}
}

func TestARulesetThatDoesNotCompileIsNeverPublished(t *testing.T) {
	s, ctx := house(t)
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.a.one")))
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.b.two")))
	needs := func(flag, other string) (Configured, error) {
		return s.SetConfig(ctx, SetConfig{FlagIn: in(flag), Config: Config{
			Enabled: true, Default: flyball.Serve{Variant: "on"}, Prerequisites: []flyball.Prerequisite{{Flag: other, Variant: "on"}},
		}})
	}
	must[Configured](t)(needs("shop.a.one", "shop.b.two"))
	v := version(t, s, "production")
	_, err := needs("shop.b.two", "shop.a.one")
	wantCode(t, err, flyball.Invalid, "")
	if !strings.Contains(err.Error(), "cycle") {
		t.Errorf("the error does not tell of the cycle: %v", err)
	}
	for name, rule := range map[string]flyball.Rule{
		"segment": {ID: "r", If: flyball.Condition{Segment: "nobody-made-it"}, Serve: flyball.Serve{Variant: "on"}},
		"variant": {ID: "r", If: flyball.Condition{Attribute: "plan", Op: flyball.OpIn, Values: flyball.Values{"pro"}}, Serve: flyball.Serve{Variant: "maybe"}},
	} {
		_, err := s.AddRule(ctx, AddRule{FlagIn: in("shop.b.two"), Rule: rule})
		if flyball.CodeOf(err) != flyball.Invalid || !strings.HasPrefix(flyball.Problems(err)[0].Field, "rule.") {
			t.Errorf("a missing %s: %v", name, err)
		}
	}
	if now := version(t, s, "production"); now != v {
		t.Errorf("production went from version %d to %d", v, now)
	}
}

func TestAnArchivedKeyIsNeverFreeAgain(t *testing.T) {
	s, ctx := house(t)
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.checkout.fast")))
	must[FlagView](t)(s.ArchiveFlag(ctx, ArchiveFlag{Key: "shop.checkout.fast", Reason: "the old path is gone"}))
	_, err := s.CreateFlag(ctx, newFlag("shop.checkout.fast"))
	wantCode(t, err, flyball.Conflict, "")
	details := flyball.Problems(err)[0].Details
	if details["archivedWhy"] != "the old path is gone" || details["archivedBy"] != flyball.ActorID("user:ann") || details["archivedAt"] == nil {
		t.Errorf("the conflict does not tell the key's history: %v", details)
	}
	if p, _ := s.Published("production"); p.Compiled.Flag("shop.checkout.fast") != nil {
		t.Error("the archived flag is still served")
	}
}

func TestAFlagThatOthersNeedIsArchivedAfterThem(t *testing.T) {
	s, ctx := house(t)
	for _, key := range []string{"shop.core", "shop.cart", "shop.search"} {
		must[FlagView](t)(s.CreateFlag(ctx, newFlag(key)))
	}
	need := func(key, environment string, needs ...flyball.Prerequisite) {
		must[Configured](t)(s.SetConfig(ctx, SetConfig{
			FlagIn: FlagIn{Key: key, Environment: environment, Reason: "a test"},
			Config: Config{Enabled: true, Default: flyball.Serve{Variant: "on"}, Prerequisites: needs},
		}))
	}
	core := flyball.Prerequisite{Flag: "shop.core", Variant: "on"}
	need("shop.search", "development", core)
	need("shop.search", "production", core)
	need("shop.cart", "production", core)
	_, err := s.ArchiveFlag(ctx, ArchiveFlag{Key: "shop.core", Reason: "done"})
	wantCode(t, err, flyball.Conflict, "")
	want := `"shop.core" is a prerequisite of shop.search in development, shop.cart in production, shop.search in production: take it out of their prerequisites first (flyball flag configure)`
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	need("shop.search", "development")
	need("shop.search", "production")
	need("shop.cart", "production")
	must[FlagView](t)(s.ArchiveFlag(ctx, ArchiveFlag{Key: "shop.core", Reason: "done"}))
}

func TestAllLiveRolloutsAreFoundHoweverMany(t *testing.T) {
	s, ctx := house(t)
	const live = 1203
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		for i := range live + 5 {
			r := flyball.Rollout{ID: fmt.Sprint("r", i), State: flyball.RolloutRunning, StartedAt: now()}
			r.Flag, r.Environment = fmt.Sprint("shop.flag", i), "production"
			if i >= live {
				r.State = flyball.RolloutCompleted
			}
			if err := errors.Join(tx.InsertFlag(newFlag(r.Flag).Flag, "user:ann", now()), tx.InsertRollout(r)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := s.LiveRollouts(ctx); err != nil || len(ids) != live {
		t.Errorf("%d of %d live rollouts, %v", len(ids), live, err)
	}
}

func TestTheAuditLogTellsWhereItGoesOn(t *testing.T) {
	s, ctx := house(t)
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.cart")))
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("other.cart")))
	must[Configured](t)(s.EnableFlag(ctx, in("other.cart")))
	must[Configured](t)(s.EnableFlag(ctx, in("shop.cart")))
	all := must[Audit](t)(s.ListAudit(ctx, ListAudit{}))
	if all.More || all.Next != 0 {
		t.Errorf("of %d entries there are more: %+v", len(all.Entries), all)
	}
	limited := WithPrincipal(ctx, Principal{Actor: flyball.Actor{ID: "user:bob"}, Kind: flyball.TokenAPI, Flags: []string{"shop.*"}})
	for _, ctx := range []context.Context{ctx, limited} {
		want := must[Audit](t)(s.ListAudit(ctx, ListAudit{})).Entries
		for limit := 1; limit <= len(want); limit++ {
			var got []flyball.AuditEntry
			which := ListAudit{Limit: limit}
			for more := true; more; {
				page := must[Audit](t)(s.ListAudit(ctx, which))
				got = append(got, page.Entries...)
				more, which.Before = page.More, page.Next
				if more != (len(got) < len(want)) {
					t.Fatalf("after %d of %d entries, %d at a time, more is %v", len(got), len(want), limit, more)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%d at a time:\n%s", limit, diff)
			}
		}
	}
}

func TestASegmentsChangeIsAChangeOfEveryEnvironmentThatUsesIt(t *testing.T) {
	s, ctx := house(t)
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.checkout.fast")))
	seg := PutSegment{Segment: flyball.Segment{Key: "testers", Owner: "default", Include: []string{"user-1"}}, Reason: "a test"}
	must[SegmentView](t)(s.CreateSegment(ctx, seg))
	if v := version(t, s, "production"); v != 1 {
		t.Errorf("a segment that no flag uses made version %d", v)
	}
	rule := flyball.Rule{ID: "testers", If: flyball.Condition{Segment: "testers"}, Serve: flyball.Serve{Variant: "on"}}
	must[Configured](t)(s.AddRule(ctx, AddRule{FlagIn: in("shop.checkout.fast"), Rule: rule}))
	seg.Include = append(seg.Include, "user-2")
	must[SegmentView](t)(s.UpdateSegment(ctx, seg))
	if p, d := version(t, s, "production"), version(t, s, "development"); p != 3 || d != 1 {
		t.Errorf("production at %d, want 3; development at %d, want 1", p, d)
	}
}

func TestAPatchBringsOneVersionToTheNext(t *testing.T) {
	s, ctx := house(t)
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.checkout.fast")))
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.search.new")))
	must[Configured](t)(s.EnableFlag(ctx, in("shop.search.new")))
	head, _ := s.Published("production")
	v := must[*View](t)(head.View(nil))
	if !strings.Contains(string(v.Patch), "shop.search.new") || strings.Contains(string(v.Patch), "shop.checkout.fast") {
		t.Errorf("the patch holds more or less than what changed: %s", v.Patch)
	}
	narrow := must[*View](t)(head.View([]string{"shop.checkout.*"}))
	if strings.Contains(string(narrow.JSON()), "shop.search.new") {
		t.Errorf("a token limited to shop.checkout.* sees %s", narrow.JSON())
	}
}

func TestApplyOfAnExportChangesNothing(t *testing.T) {
	s, ctx := house(t)
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.checkout.fast")))
	seg := PutSegment{Segment: flyball.Segment{Key: "testers", Owner: "default", Include: []string{"user-1"}}, Reason: "a test"}
	must[SegmentView](t)(s.CreateSegment(ctx, seg))
	must[MetricView](t)(s.CreateMetric(ctx, PutMetric{Metric: flyball.Metric{Key: "shop.errors", Type: flyball.MetricRate, Better: flyball.BetterLower}, Reason: "a test"}))
	rule := flyball.Rule{ID: "testers", If: flyball.Condition{Segment: "testers"}, Serve: flyball.Serve{Variant: "on"}}
	must[Configured](t)(s.AddRule(ctx, AddRule{FlagIn: in("shop.checkout.fast"), Rule: rule}))
	files := must[Files](t)(s.ExportFiles(ctx, None{}))
	v := version(t, s, "production")
	done := must[Applied](t)(s.ApplyFiles(ctx, Apply{Files: files, Reason: "again"}))
	if done.Changed || len(done.Edits) != 0 || version(t, s, "production") != v {
		t.Errorf("applying an export changed %v", done)
	}
}

func TestApplyIsAllOrNothing(t *testing.T) {
	s, ctx := house(t)
	good, bad := newFlag("shop.checkout.fast").Flag, newFlag("shop.search.new").Flag
	bad.Owner = "nobody"
	files := Files{Flags: []FlagFile{{Flag: good}, {Flag: bad}}}
	_, err := s.ApplyFiles(ctx, Apply{Files: files, Reason: "a test"})
	wantCode(t, err, flyball.Invalid, `flags["shop.search.new"].owner`)
	if got := must[Flags](t)(s.ListFlags(ctx, ListFlags{})); len(got.Flags) != 0 {
		t.Errorf("%d flags were created", len(got.Flags))
	}
}

func startedRollout(t *testing.T, s *Service, ctx context.Context) RolloutView {
	t.Helper()
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.checkout.fast")))
	must[Configured](t)(s.EnableFlag(ctx, in("shop.checkout.fast")))
	return must[RolloutView](t)(s.StartRollout(ctx, StartRollout{Reason: "ship it", RolloutPlan: flyball.RolloutPlan{
		Flag: "shop.checkout.fast", Environment: "production", Treatment: "on", Control: "off",
		Steps: []flyball.Step{{PPM: 100_000}, {PPM: flyball.PPM}},
	}}))
}

func TestAKillEndsTheLiveRolloutInTheSameChange(t *testing.T) {
	s, ctx := house(t)
	r := startedRollout(t, s, ctx)
	must[Configured](t)(s.KillFlag(ctx, in("shop.checkout.fast")))
	after := must[RolloutView](t)(s.Rollout(ctx, RolloutID{ID: r.ID}))
	if after.State != flyball.RolloutStopped || after.EndedAt == nil {
		t.Errorf("the rollout is %s", after.State)
	}
	head, _ := s.Published("production")
	got := head.Compiled.Evaluate("shop.checkout.fast", &flyball.EvaluationContext{TargetingKey: "user-1"}, time.Now, nil)
	if got.Variant != "off" || got.Reason != flyball.ReasonDisabled {
		t.Errorf("after the kill it serves %+v", got)
	}
	must[Configured](t)(s.ResumeFlag(ctx, in("shop.checkout.fast")))
	if c := must[FlagView](t)(s.Flag(ctx, FlagKey{Key: "shop.checkout.fast"})).Environments["production"]; c.Rollout != nil {
		t.Error("the resume brought the rollout back")
	}
}

func TestTheServeUnderARolloutCannotBeEdited(t *testing.T) {
	s, ctx := house(t)
	startedRollout(t, s, ctx)
	_, err := s.SetDefault(ctx, SetDefault{FlagIn: in("shop.checkout.fast"), Default: flyball.Serve{Variant: "on"}})
	wantCode(t, err, flyball.Conflict, "")
	_, err = s.StartRollout(ctx, StartRollout{Reason: "twice", RolloutPlan: flyball.RolloutPlan{
		Flag: "shop.checkout.fast", Environment: "production", Treatment: "on", Control: "off", Steps: []flyball.Step{{PPM: 1}},
	}})
	wantCode(t, err, flyball.Conflict, "")
}

func TestARolloutNeedsAPlaceThatServesItsControl(t *testing.T) {
	s, ctx := house(t)
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.checkout.fast")))
	must[Configured](t)(s.EnableFlag(ctx, in("shop.checkout.fast")))
	plan := flyball.RolloutPlan{Flag: "shop.checkout.fast", Environment: "production", Treatment: "off", Control: "on", Steps: []flyball.Step{{PPM: 1}}}
	_, err := s.StartRollout(ctx, StartRollout{Reason: "a test", RolloutPlan: plan})
	wantCode(t, err, flyball.Invalid, "control")
	plan.Treatment, plan.Control, plan.Guardrails = "on", "off", []flyball.Guardrail{{Metric: "shop.errors"}}
	_, err = s.StartRollout(ctx, StartRollout{Reason: "a test", RolloutPlan: plan})
	wantCode(t, err, flyball.Invalid, "guardrails")
}

func TestTheControllerOnlyActsUnderItsLeaseAndOnWhatItRead(t *testing.T) {
	s, ctx := house(t)
	r := startedRollout(t, s, ctx)
	var fence int64
	err := s.db.Update(ctx, func(tx *store.Tx) (err error) {
		fence, _, err = tx.AcquireLease("judge", "me", time.Minute, now())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	situation := rollout.Situation{Rollout: r.Rollout}
	advance := rollout.Decision{Action: rollout.Advance, Step: 1, Why: "healthy", Revision: r.Revision, At: now()}
	err = s.Decide(ctx, situation, advance, &Fence{Lease: "judge", Token: fence + 1})
	wantCode(t, err, flyball.Conflict, "")
	if err := s.Decide(ctx, situation, advance, &Fence{Lease: "judge", Token: fence}); err != nil {
		t.Fatal(err)
	}
	err = s.Decide(ctx, situation, advance, &Fence{Lease: "judge", Token: fence})
	wantCode(t, err, flyball.Conflict, "")
	after := must[RolloutView](t)(s.Rollout(ctx, RolloutID{ID: r.ID}))
	if after.At != 1 || after.SteppedIn != version(t, s, "production") {
		t.Errorf("at step %d, stepped in version %d of %d", after.At, after.SteppedIn, version(t, s, "production"))
	}
	entry := must[Audit](t)(s.ListAudit(ctx, ListAudit{Limit: 1})).Entries[0]
	if entry.Actor.ID != flyball.ControllerID || !strings.Contains(string(entry.Evidence), `"action":"advance"`) {
		t.Errorf("the audit entry is %+v", entry)
	}
}

func TestACompletedRolloutLeavesItsTreatmentInPlace(t *testing.T) {
	s, ctx := house(t)
	r := startedRollout(t, s, ctx)
	for _, d := range []rollout.Decision{
		{Action: rollout.Advance, Step: 1, Revision: 1},
		{Action: rollout.Finish, Step: 1, Revision: 2},
	} {
		d.Why, d.At = "healthy", now()
		if err := s.Decide(ctx, rollout.Situation{Rollout: r.Rollout}, d, nil); err != nil {
			t.Fatal(err)
		}
	}
	c := must[FlagView](t)(s.Flag(ctx, FlagKey{Key: "shop.checkout.fast"})).Environments["production"]
	if c.Rollout != nil || c.Default.Variant != "on" {
		t.Errorf("after completion it serves %+v", c)
	}
}

func TestTokensOpenOnlyWhatTheyAreFor(t *testing.T) {
	s, ctx := house(t)
	made := must[NewToken](t)(s.CreateToken(ctx, CreateToken{Kind: flyball.TokenSDK, Name: "checkout", Environment: "production", Reason: "a test"}))
	p, err := s.Authenticate(ctx, made.Secret)
	if err != nil || p.Environment != "production" {
		t.Fatalf("%+v, %v", p, err)
	}
	if err := Allow(p, Write); flyball.CodeOf(err) != flyball.Forbidden {
		t.Errorf("an sdk token may write: %v", err)
	}
	last := made.Secret[len(made.Secret)-1]
	for _, bad := range []string{"", "x", made.Secret + "0", made.Secret[:len(made.Secret)-1] + string('a'+(last-'a'+1)%6), "fb_sdk_000000000000_" + strings.Repeat("0", 64)} {
		_, err := s.Authenticate(ctx, bad)
		wantCode(t, err, flyball.Unauthenticated, "")
	}
	must[flyball.Token](t)(s.RevokeToken(ctx, RevokeToken{ID: made.ID, Reason: "a test"}))
	_, err = s.Authenticate(ctx, made.Secret)
	wantCode(t, err, flyball.Unauthenticated, "")
}

func TestTheFirstAdminTokenIsMadeOnce(t *testing.T) {
	s, ctx := house(t)
	first := must[string](t)(s.FirstAdmin(ctx))
	if _, err := s.Authenticate(ctx, first); err != nil {
		t.Error(err)
	}
	if again := must[string](t)(s.FirstAdmin(ctx)); again != "" {
		t.Errorf("a second one was made")
	}
}

// Many people change one environment at once, and each change is kept.
func TestConcurrentChangesAreAllKept(t *testing.T) {
	s, ctx := house(t)
	const people = 8
	var wg sync.WaitGroup
	errs := make([]error, people)
	for i := range people {
		wg.Go(func() {
			_, errs[i] = s.CreateFlag(ctx, newFlag(fmt.Sprintf("shop.flag.n%d", i)))
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	head, _ := s.Published("production")
	if head.Doc().Version != people || len(head.Doc().Flags) != people {
		t.Errorf("version %d with %d flags, want %d of each", head.Doc().Version, len(head.Doc().Flags), people)
	}
}

// A restart finds every version where it was.
func TestAnotherNodeSeesWhatThisOneCommitted(t *testing.T) {
	s, ctx := house(t)
	other := must[*Service](t)(New(ctx, s.db, Options{}))
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.checkout.fast")))
	if err := other.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	a, _ := s.Published("production")
	b, _ := other.Published("production")
	if a.ID() != b.ID() || a.Digest() != b.Digest() {
		t.Errorf("one has %v %s, the other %v %s", a.ID(), a.Digest(), b.ID(), b.Digest())
	}
}

// A verified address makes nobody the same person as the one who acts by a token of
// that name: an account would bound that token.
func TestANewcomerTakesNoNameThatATokenHas(t *testing.T) {
	s, ctx := house(t)
	made := must[NewToken](t)(s.CreateToken(ctx, CreateToken{Kind: flyball.TokenAPI, Name: "his", Actor: "user:bob@example.com", Reason: "a test"}))
	who := Identity{Issuer: "https://accounts.example.com", Subject: "1", Email: "bob@example.com", ProvedAt: time.Now()}
	if n := must[NewSession](t)(s.SignInAs(t.Context(), who, "")); n.User.ID == "user:bob@example.com" {
		t.Errorf("the newcomer is %s", n.User.ID)
	}
	s.tokens.forget(made.ID)
	p, err := s.Authenticate(t.Context(), made.Secret)
	if err != nil || !p.runs() {
		t.Errorf("the token opens less: %+v, %v", p, err)
	}
}
