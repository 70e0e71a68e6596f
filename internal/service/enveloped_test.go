package service

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/pgtest"
	"github.com/flyballdev/flyball/internal/rollout"
	"github.com/flyballdev/flyball/internal/store"
)

// narrow is the envelope of the agents of these tests.
func narrow() flyball.Envelope {
	return flyball.Envelope{
		Flags: []string{"shop.*"}, Environments: []string{"production"}, MaxPPM: 10_000, MaxMinutesPerExposure: 30,
		MaxConcurrentRollouts: 2, MaxRiskTier: flyball.TierMedium, ChangesPerHour: 100,
	}
}

// asAgent returns the context of an agent of ann's.
func asAgent(t *testing.T, name string, e flyball.Envelope) context.Context {
	return WithPrincipal(t.Context(), Principal{
		Actor: flyball.Actor{ID: flyball.ActorID("agent:" + name), OnBehalfOf: "user:ann", Token: "token-of-" + name},
		Kind:  flyball.TokenAgent, Envelope: &e, Rights: []flyball.Grants{flyball.Installation},
	})
}

// wantLimit wants a refusal that tells a limit, and what to do.
func wantLimit(t *testing.T, err error, limit string, allowed any) {
	t.Helper()
	wantCode(t, err, flyball.Forbidden, "")
	e, _ := errors.AsType[*flyball.Error](err)
	if e.Details["limit"] != limit || e.Details["how"] == "" || allowed != nil && fmt.Sprint(e.Details["allowed"]) != fmt.Sprint(allowed) {
		t.Errorf("%v: the details are %v, want the limit %s and %v allowed", err, e.Details, limit, allowed)
	}
}

func pulse(key string, ppm int, hold time.Duration) StartRollout {
	return StartRollout{Reason: "a test", RolloutPlan: flyball.RolloutPlan{
		Flag: key, Environment: "production", Treatment: "on", Control: "off", Then: flyball.ThenOff,
		Steps: []flyball.Step{{PPM: ppm, Hold: flyball.Duration(hold)}},
	}}
}

func TestAnAgentStaysWithinItsEnvelope(t *testing.T) {
	const key = "shop.checkout.fast"
	serve := func(v string) flyball.Serve { return flyball.Serve{Variant: v} }
	canada := flyball.Condition{Attribute: "country", Op: flyball.OpIn, Values: flyball.Values{"CA"}}
	rule := func(s flyball.Serve, ends *flyball.Time) AddRule {
		return AddRule{FlagIn: in(key), Rule: flyball.Rule{ID: "canada", If: canada, Serve: s, NotAfter: ends}}
	}
	split := func(ppm int) flyball.Serve {
		return flyball.Serve{Split: &flyball.Split{Weights: []flyball.Weight{{Variant: "on", PPM: ppm}, {Variant: "off", PPM: flyball.PPM - ppm}}}}
	}
	after := func(d time.Duration) *flyball.Time { return &flyball.Time{Time: time.Now().Add(d)} }
	kept := func(lease time.Duration, more func(*StartRollout)) StartRollout {
		r := pulse(key, 1000, 10*time.Minute)
		r.Then, r.Steps[0].Lease = flyball.ThenKeep, flyball.Duration(lease)
		if more != nil {
			more(&r)
		}
		return r
	}
	for name, c := range map[string]struct {
		envelope func(*flyball.Envelope)
		before   func(*testing.T, *Service, context.Context)
		do       func(*Service, context.Context) error
		limit    string
		allowed  any
	}{
		"a pulse within":       {do: start(pulse(key, 10_000, 30*time.Minute))},
		"a pulse that is wide": {do: start(pulse(key, 10_001, 30*time.Minute)), limit: "maxPpm", allowed: 10_000},
		"a pulse that is long": {do: start(pulse(key, 100, 31*time.Minute)), limit: "maxMinutesPerExposure", allowed: 30},
		"a last step that is wide": {do: start(func() StartRollout {
			r := pulse(key, 100, time.Minute)
			r.Steps = append(r.Steps, flyball.Step{PPM: 20_000, Hold: flyball.Duration(time.Minute)})
			return r
		}()), limit: "maxPpm", allowed: 10_000},
		"kept without a lease":     {do: start(kept(0, nil)), limit: "maxMinutesPerExposure"},
		"kept with a long lease":   {do: start(kept(time.Hour, nil)), limit: "maxMinutesPerExposure", allowed: 30},
		"kept without a guardrail": {do: start(kept(time.Minute, nil)), limit: "maxMinutesPerExposure"},
		"kept for want of evidence": {do: start(kept(time.Minute, func(r *StartRollout) {
			r.Guardrails = []flyball.Guardrail{{Metric: "shop.errors", Margin: flyball.Margin{Relative: 0.05}}}
			r.OnUnsure.Then = "advance"
		})), limit: "maxMinutesPerExposure"},
		"kept as evidence allows": {do: start(kept(time.Minute, func(r *StartRollout) {
			r.Guardrails = []flyball.Guardrail{{Metric: "shop.errors", Margin: flyball.Margin{Relative: 0.05}}}
		}))},
		"the default":               {do: defaultTo(key, serve("on")), limit: "maxPpm", allowed: 10_000},
		"a split of the default":    {do: defaultTo(key, split(10_000)), limit: "maxMinutesPerExposure", allowed: 30},
		"a split, and time is free": {envelope: func(e *flyball.Envelope) { e.MaxMinutesPerExposure = 0 }, do: defaultTo(key, split(10_000))},
		"the default while off":     {before: disabled(key), do: defaultTo(key, serve("on")), limit: "maxPpm", allowed: 10_000},
		"a rule that serves it":     {do: add(rule(serve("on"), after(time.Minute))), limit: "maxPpm"},
		"a rule with a small split": {do: add(rule(split(5000), after(20*time.Minute)))},
		"a rule with a long one":    {do: add(rule(split(5000), after(2*time.Hour))), limit: "maxMinutesPerExposure", allowed: 30},
		"a rule without an end":     {do: add(rule(split(5000), nil)), limit: "maxMinutesPerExposure"},
		"a rule that serves safe":   {do: add(rule(serve("off"), nil))},
		"another environment":       {do: func(s *Service, ctx context.Context) error { return enable(s, ctx, "development", key) }, limit: "environments", allowed: []string{"production"}},
		"another flag":              {do: func(s *Service, ctx context.Context) error { return enable(s, ctx, "production", "site.banner.text") }, limit: "flags"},
		"a flag of a high tier":     {envelope: func(e *flyball.Envelope) { e.MaxRiskTier = flyball.TierLow }, do: start(pulse(key, 100, time.Minute)), limit: "maxRiskTier", allowed: "low"},
		"a flag of another kind":    {envelope: func(e *flyball.Envelope) { e.Kinds = []flyball.Kind{flyball.KindOps} }, do: start(pulse(key, 100, time.Minute)), limit: "kinds"},
		"no rollouts":               {envelope: func(e *flyball.Envelope) { e.MaxConcurrentRollouts = 0 }, do: start(pulse(key, 100, time.Minute)), limit: "maxConcurrentRollouts", allowed: 0},
		"no changes":                {envelope: func(e *flyball.Envelope) { e.ChangesPerHour = 0 }, do: start(pulse(key, 100, time.Minute)), limit: "changesPerHour", allowed: 0},
		"no changes, and a kill":    {envelope: func(e *flyball.Envelope) { e.ChangesPerHour = 0 }, do: kill(key)},
		"users unknown":             {envelope: func(e *flyball.Envelope) { e.MaxUnits = 100 }, do: start(pulse(key, 100, time.Minute)), limit: "maxUnits"},
		"too many users":            {envelope: func(e *flyball.Envelope) { e.MaxUnits = 100 }, do: start(budget(pulse(key, 100, time.Minute), 101)), limit: "maxUnits", allowed: 100},
		"few enough users":          {envelope: func(e *flyball.Envelope) { e.MaxUnits = 100 }, do: start(budget(pulse(key, 100, time.Minute), 100))},
		"too long for so many":      {envelope: func(e *flyball.Envelope) { e.MaxUnitMinutesPerDay = 999 }, do: start(budget(pulse(key, 100, 10*time.Minute), 100)), limit: "maxUnitMinutesPerDay", allowed: 999},
		"a kill by a person":        {before: killed(key), do: resume(key), limit: "resume"},
		"its own kill": {do: func(s *Service, ctx context.Context) error {
			return errors.Join(kill(key)(s, ctx), resume(key)(s, ctx))
		}},
		"a pause by a person": {before: pausedByPerson(key), do: goOn(key), limit: "resume"},
		"its own pause":       {do: pauseAndGoOn(key)},
		"its own kill, which a person joined": {before: func(t *testing.T, s *Service, ann context.Context) {
			for _, who := range []context.Context{asAgent(t, "bot", narrow()), ann} {
				must[Configured](t)(s.KillFlag(who, in(key)))
			}
		}, do: resume(key), limit: "resume"},
		"its own pause, which a person joined": {before: func(t *testing.T, s *Service, ann context.Context) {
			must[RolloutView](t)(s.StartRollout(asAgent(t, "bot", narrow()), pulse(key, 100, time.Minute)))
			for _, who := range []context.Context{asAgent(t, "bot", narrow()), ann} {
				must[RolloutView](t)(s.PauseRollout(who, RolloutIn{ID: key, Reason: "a test"}))
			}
		}, do: goOn(key), limit: "resume"},
		"a pause by a person, stepped back": {before: func(t *testing.T, s *Service, ann context.Context) {
			r := pulse(key, 100, time.Minute)
			r.Steps = append(r.Steps, flyball.Step{PPM: 200, Hold: flyball.Duration(time.Minute)})
			started := must[RolloutView](t)(s.StartRollout(asAgent(t, "bot", narrow()), r))
			if err := carry(t, s, ann, started.ID, rollout.Decision{Action: rollout.Advance, Step: 1}); err != nil {
				t.Fatal(err)
			}
			must[RolloutView](t)(s.PauseRollout(ann, RolloutIn{ID: key, Reason: "a test"}))
			must[RolloutView](t)(s.StepBackRollout(asAgent(t, "bot", narrow()), RolloutIn{ID: key, Reason: "a test"}))
		}, do: goOn(key), limit: "resume"},
		"another's wide rollout":      {before: widePaused(key), do: goOn(key), limit: "resume"},
		"a segment":                   {do: segment, limit: "nouns"},
		"a metric":                    {do: metric, limit: "nouns"},
		"a flag that lives for ever":  {envelope: func(e *flyball.Envelope) { e.Kinds = []flyball.Kind{flyball.KindOps} }, do: create(func(f *flyball.Flag) { f.Kind, f.ExpiresAt = flyball.KindOps, nil }), limit: "expiresAt"},
		"a new flag":                  {do: create(func(*flyball.Flag) {})},
		"a new flag elsewhere":        {do: create(func(f *flyball.Flag) { f.Key = "site.new.one" }), limit: "flags"},
		"what a description says":     {do: update(key, func(f *flyball.Flag) { f.Description = "the fast one" })},
		"what the safe variant is":    {do: update(key, func(f *flyball.Flag) { f.SafeVariant = "on" }), limit: "definition"},
		"what the safe variant means": {do: update(key, func(f *flyball.Flag) { f.Variants = flyball.Variants{"on": true, "off": true} }), limit: "definition"},
		"a lower tier":                {do: update(key, func(f *flyball.Flag) { f.RiskTier = flyball.TierLow }), limit: "definition"},
		"a later end":                 {do: update(key, func(f *flyball.Flag) { f.ExpiresAt = after(365 * 24 * time.Hour) }), limit: "definition"},
		"an unused flag's archive":    {do: archive(key)},
		"what others rest on":         {before: neededBy("site.banner.text", key), do: start(pulse(key, 100, time.Minute)), limit: "flags"},
	} {
		t.Run(name, func(t *testing.T) {
			s, ann := house(t)
			for _, k := range []string{key, "site.banner.text"} {
				must[FlagView](t)(s.CreateFlag(ann, newFlag(k)))
			}
			if err := enable(s, ann, "production", key); err != nil {
				t.Fatal(err)
			}
			must[MetricView](t)(s.CreateMetric(ann, PutMetric{Reason: "a test", Metric: flyball.Metric{Key: "shop.errors", Type: flyball.MetricRate, Better: flyball.BetterLower}}))
			if c.before != nil {
				c.before(t, s, ann)
			}
			e := narrow()
			if c.envelope != nil {
				c.envelope(&e)
			}
			before := version(t, s, "production")
			err := c.do(s, asAgent(t, "bot", e))
			if c.limit == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantLimit(t, err, c.limit, c.allowed)
			if v := version(t, s, "production"); v != before {
				t.Errorf("production went from version %d to %d", before, v)
			}
			m := &Manner{DryRun: true}
			err = c.do(s, WithManner(asAgent(t, "bot", e), m))
			if p := m.Plan(); p != nil {
				if p.Beyond == nil || p.Beyond.Limit != c.limit {
					t.Errorf("its plan goes beyond %+v, want %s", p.Beyond, c.limit)
				}
			} else if !slices.Contains([]string{"flags", "environments", "nouns"}, c.limit) {
				t.Errorf("there is no plan: %v", err)
			}
		})
	}
}

func start(r StartRollout) func(*Service, context.Context) error {
	return func(s *Service, ctx context.Context) error { _, err := s.StartRollout(ctx, r); return err }
}

func budget(r StartRollout, units int64) StartRollout {
	r.Budget.ExposedUnits = units
	return r
}

func defaultTo(key string, serve flyball.Serve) func(*Service, context.Context) error {
	return func(s *Service, ctx context.Context) error {
		_, err := s.SetDefault(ctx, SetDefault{FlagIn: in(key), Default: serve})
		return err
	}
}

func add(r AddRule) func(*Service, context.Context) error {
	return func(s *Service, ctx context.Context) error { _, err := s.AddRule(ctx, r); return err }
}

func enable(s *Service, ctx context.Context, environment, key string) error {
	_, err := s.EnableFlag(ctx, FlagIn{Key: key, Environment: environment, Reason: "a test"})
	return err
}

func kill(key string) func(*Service, context.Context) error {
	return func(s *Service, ctx context.Context) error { _, err := s.KillFlag(ctx, in(key)); return err }
}

func resume(key string) func(*Service, context.Context) error {
	return func(s *Service, ctx context.Context) error { _, err := s.ResumeFlag(ctx, in(key)); return err }
}

func killed(key string) func(*testing.T, *Service, context.Context) {
	return func(t *testing.T, s *Service, ann context.Context) { must[Configured](t)(s.KillFlag(ann, in(key))) }
}

func disabled(key string) func(*testing.T, *Service, context.Context) {
	return func(t *testing.T, s *Service, ann context.Context) { must[Configured](t)(s.DisableFlag(ann, in(key))) }
}

func pausedByPerson(key string) func(*testing.T, *Service, context.Context) {
	return func(t *testing.T, s *Service, ann context.Context) {
		must[RolloutView](t)(s.StartRollout(asAgent(t, "bot", narrow()), pulse(key, 100, time.Minute)))
		must[RolloutView](t)(s.PauseRollout(ann, RolloutIn{ID: key, Reason: "a test"}))
	}
}

func widePaused(key string) func(*testing.T, *Service, context.Context) {
	return func(t *testing.T, s *Service, ann context.Context) {
		must[RolloutView](t)(s.StartRollout(ann, pulse(key, 500_000, time.Minute)))
		must[RolloutView](t)(s.PauseRollout(ann, RolloutIn{ID: key, Reason: "a test"}))
	}
}

func goOn(key string) func(*Service, context.Context) error {
	return func(s *Service, ctx context.Context) error {
		_, err := s.ResumeRollout(ctx, RolloutIn{ID: key, Reason: "a test"})
		return err
	}
}

func pauseAndGoOn(key string) func(*Service, context.Context) error {
	return func(s *Service, ctx context.Context) error {
		_, err := s.StartRollout(ctx, pulse(key, 100, time.Minute))
		_, errPause := s.PauseRollout(ctx, RolloutIn{ID: key, Reason: "a test"})
		return errors.Join(err, errPause, goOn(key)(s, ctx))
	}
}

func segment(s *Service, ctx context.Context) error {
	_, err := s.CreateSegment(ctx, PutSegment{Reason: "a test", Segment: flyball.Segment{Key: "shop.friends", Owner: "default", Include: []string{"user-1"}}})
	return err
}

func metric(s *Service, ctx context.Context) error {
	_, err := s.CreateMetric(ctx, PutMetric{Reason: "a test", Metric: flyball.Metric{Key: "shop.sales", Type: flyball.MetricRate, Better: flyball.BetterHigher}})
	return err
}

func create(alter func(*flyball.Flag)) func(*Service, context.Context) error {
	return func(s *Service, ctx context.Context) error {
		f := newFlag("shop.new.one")
		alter(&f.Flag)
		_, err := s.CreateFlag(ctx, f)
		return err
	}
}

func update(key string, alter func(*flyball.Flag)) func(*Service, context.Context) error {
	return func(s *Service, ctx context.Context) error {
		f, err := s.Flag(ctx, FlagKey{Key: key})
		if err != nil {
			return err
		}
		alter(&f.Flag)
		_, err = s.UpdateFlag(ctx, UpdateFlag{Flag: f.Flag, Reason: "a test"})
		return err
	}
}

func archive(key string) func(*Service, context.Context) error {
	return func(s *Service, ctx context.Context) error {
		_, err := s.ArchiveFlag(ctx, ArchiveFlag{Key: key, Reason: "a test"})
		return err
	}
}

func neededBy(key, needed string) func(*testing.T, *Service, context.Context) {
	return func(t *testing.T, s *Service, ann context.Context) {
		must[Configured](t)(s.SetConfig(ann, SetConfig{FlagIn: in(key), Config: Config{
			Enabled: true, Prerequisites: []flyball.Prerequisite{{Flag: needed, Variant: "on"}}, Default: flyball.Serve{Variant: "on"},
		}}))
	}
}

// Forty calls at once of two agents of one person: exactly as many pass as the
// envelope allows one party, on either database.
func TestParallelCallsDoNotOverdrawAnEnvelope(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { overdraw(t, filepath.Join(t.TempDir(), "flyball.db")) })
	t.Run("postgres", func(t *testing.T) { overdraw(t, pgtest.URL(t)) })
}

func overdraw(t *testing.T, database string) {
	db, err := store.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := New(t.Context(), db, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ann := WithPrincipal(t.Context(), Principal{Actor: flyball.Actor{ID: "user:ann"}, Kind: flyball.TokenAPI, Rights: []flyball.Grants{flyball.Installation}})
	const calls = 40
	key := func(i int) string { return fmt.Sprintf("shop.flag.n%d", i) }
	for i := range calls {
		must[FlagView](t)(s.CreateFlag(ann, newFlag(key(i))))
		if err := enable(s, ann, "production", key(i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		limit string
		alter func(*flyball.Envelope)
		most  int64
	}{
		{"maxConcurrentRollouts", func(e *flyball.Envelope) { e.MaxConcurrentRollouts = 3 }, 3},
		{"maxUnitMinutesPerDay", func(e *flyball.Envelope) { e.MaxUnitMinutesPerDay = (3 + 5) * 100 }, 5}, // three were used before
		{"changesPerHour", func(e *flyball.Envelope) { e.ChangesPerHour = 3 + 5 + 7 }, 7},
	} {
		e := narrow()
		e.MaxConcurrentRollouts, e.ChangesPerHour = 1000, 1000
		c.alter(&e)
		var passed atomic.Int64
		var all sync.WaitGroup
		for i := range calls {
			agent := asAgent(t, fmt.Sprint("bot-", i%2), e)
			all.Go(func() {
				r := budget(pulse(key(i), 100, 10*time.Minute), 10)
				r.Reason = fmt.Sprintf("a test %d", i)
				_, err := s.StartRollout(agent, r)
				switch {
				case err == nil:
					passed.Add(1)
				case flyball.CodeOf(err) == flyball.Conflict: // it is live from before
				default:
					wantLimit(t, err, c.limit, nil)
				}
			})
		}
		all.Wait()
		if n := passed.Load(); n != c.most {
			t.Errorf("%s: %d of %d calls passed, want %d", c.limit, n, calls, c.most)
		}
	}
}

// What an agent asks beyond its envelope people can approve, and a person
// applies; the agent never does itself.
func TestAnAgentAsksBeyondItsEnvelopeAndAPersonApplies(t *testing.T) {
	const key = "shop.checkout.fast"
	s, ann := house(t)
	must[FlagView](t)(s.CreateFlag(ann, newFlag(key)))
	if err := enable(s, ann, "production", key); err != nil {
		t.Fatal(err)
	}
	agent := asAgent(t, "bot", narrow())
	wide := pulse(key, 500_000, time.Hour)
	m := &Manner{Propose: &Proposal{Operation: "start_rollout", Input: []byte(`{}`)}}
	if err := start(wide)(s, WithManner(agent, m)); err != nil {
		t.Fatal(err)
	}
	asked := m.Proposed()
	if asked == nil || asked.Plan.Beyond == nil || asked.Plan.Beyond.Limit != "maxPpm" {
		t.Fatalf("the request is %+v", asked)
	}
	err := start(wide)(s, WithManner(agent, &Manner{Request: asked.ID}))
	wantLimit(t, err, "maxPpm", 10_000)
	if err := start(wide)(s, WithManner(ann, &Manner{Request: asked.ID})); err != nil {
		t.Fatal(err)
	}
	if got := must[flyball.ChangeRequest](t)(s.Change(ann, ChangeID{ID: asked.ID})); got.State != flyball.RequestApplied || got.AppliedBy != "user:ann" {
		t.Errorf("the request is %s by %s", got.State, got.AppliedBy)
	}
	_, err = s.ApproveChange(agent, DecideChange{ID: asked.ID, Reason: "a test"})
	wantCode(t, err, flyball.Forbidden, "")
}

// A freeze holds for the very next change, on another node too; reading and
// planning go on.
func TestAFreezeMakesAgentsReadOnlyAtOnce(t *testing.T) {
	const key = "shop.checkout.fast"
	path := filepath.Join(t.TempDir(), "flyball.db")
	open := func() *Service {
		db, err := store.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return must[*Service](t)(New(t.Context(), db, Options{}))
	}
	s, other := open(), open()
	ann := WithPrincipal(t.Context(), Principal{Actor: flyball.Actor{ID: "user:ann"}, Kind: flyball.TokenAPI, Rights: []flyball.Grants{flyball.Installation}})
	must[FlagView](t)(s.CreateFlag(ann, newFlag(key)))
	agent := asAgent(t, "bot", narrow())
	if err := enable(s, agent, "production", key); err != nil {
		t.Fatal(err)
	}
	_, err := s.FreezeAgents(agent, FreezeAgents{Reason: "a test"})
	wantCode(t, err, flyball.Forbidden, "")
	must[Agents](t)(s.FreezeAgents(ann, FreezeAgents{Reason: "a test"}))
	wantLimit(t, kill(key)(other, agent), "frozen", nil)
	m := &Manner{Propose: &Proposal{Operation: "kill_flag"}}
	wantLimit(t, kill(key)(other, WithManner(agent, m)), "frozen", nil)
	if err := kill(key)(other, WithManner(agent, &Manner{DryRun: true})); err != nil {
		t.Errorf("a dry run is refused: %v", err)
	}
	must[FlagView](t)(other.Flag(agent, FlagKey{Key: key}))
	must[Agents](t)(s.UnfreezeAgents(ann, FreezeAgents{Reason: "a test"}))
	if err := kill(key)(other, agent); err != nil {
		t.Fatal(err)
	}
}

// A plan is made by its digest as long as nothing that it touches has changed.
func TestAPlanIsMadeOnlyIfItIsStillTheSame(t *testing.T) {
	const key = "shop.checkout.fast"
	s, ann := house(t)
	must[FlagView](t)(s.CreateFlag(ann, newFlag(key)))
	m := &Manner{DryRun: true}
	if err := enable(s, WithManner(ann, m), "production", key); err != nil {
		t.Fatal(err)
	}
	digest := m.Plan().Digest
	must[Configured](t)(s.AddRule(ann, AddRule{FlagIn: in(key), Rule: flyball.Rule{ID: "all", If: flyball.Condition{Attribute: "country", Op: flyball.OpExists, Values: flyball.Values{true}}, Serve: flyball.Serve{Variant: "off"}}}))
	wantCode(t, enable(s, WithManner(ann, &Manner{Digest: digest}), "production", key), flyball.Conflict, "")
	must[Configured](t)(s.RemoveRule(ann, RemoveRule{FlagIn: in(key), ID: "all"}))
	if err := enable(s, WithManner(ann, &Manner{Digest: digest}), "production", key); err != nil {
		t.Fatal(err)
	}
}

// The rule of a cohort's exposure goes when the exposure ends; taking it back is
// a retreat, that waits for nobody.
func TestAnExposureOfACohortLeavesNothingBehind(t *testing.T) {
	const key = "shop.checkout.fast"
	s, ann := house(t)
	must[FlagView](t)(s.CreateFlag(ann, newFlag(key)))
	before := must[FlagView](t)(s.Flag(ann, FlagKey{Key: key})).Environments["production"]
	canada := flyball.Condition{Attribute: "country", Op: flyball.OpIn, Values: flyball.Values{"CA"}}
	v := must[RolloutView](t)(s.Expose(ann, Expose{FlagIn: in(key), PPM: 1000, If: &canada, For: flyball.Duration(time.Minute)}))
	if v.Where == flyball.WhereDefault || v.Treatment != "on" || v.Then != flyball.ThenOff {
		t.Errorf("the rollout is %+v", v.RolloutPlan)
	}
	m := &Manner{DryRun: true}
	if _, err := s.AbortRollout(WithManner(ann, m), RolloutIn{ID: v.ID, Reason: "a test"}); err != nil || !m.Plan().Retreat {
		t.Errorf("%v: to abort it is %+v", err, m.Plan())
	}
	must[RolloutView](t)(s.AbortRollout(ann, RolloutIn{ID: v.ID, Reason: "a test"}))
	after := must[FlagView](t)(s.Flag(ann, FlagKey{Key: key})).Environments["production"]
	if len(after.Rules) != len(before.Rules) || !after.Enabled {
		t.Errorf("it serves %+v", after)
	}
}
