package service

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/rollout"
)

const checkout = "shop.checkout.fast"

// carry has the controller carry out a decision upon the rollout as it is.
func carry(t *testing.T, s *Service, ctx context.Context, id string, d rollout.Decision) error {
	t.Helper()
	r := must[RolloutView](t)(s.Rollout(ctx, RolloutID{ID: id}))
	d.Revision, d.At = r.Revision, now()
	if d.Why == "" {
		d.Why = "a test"
	}
	return s.Decide(ctx, rollout.Situation{Rollout: r.Rollout}, d, nil)
}

func TestAPersonStepsBackAndItStaysThere(t *testing.T) {
	s, ctx := house(t)
	r := startedRollout(t, s, ctx)
	_, err := s.StepBackRollout(ctx, RolloutIn{ID: r.ID, Reason: "a test"})
	wantCode(t, err, flyball.Conflict, "")
	if err := carry(t, s, ctx, r.ID, rollout.Decision{Action: rollout.Advance, Step: 1, AbsenceOfEvidence: true}); err != nil {
		t.Fatal(err)
	}
	if up := must[RolloutView](t)(s.Rollout(ctx, RolloutID{ID: r.ID})); !up.Unproven {
		t.Error("nobody is told that the step was taken for want of evidence")
	}
	back := must[RolloutView](t)(s.StepBackRollout(ctx, RolloutIn{ID: checkout, Reason: "latency looks odd"}))
	if back.At != 0 || back.State != flyball.RolloutPaused || !back.SteppedBack || back.Unproven || back.Why != "latency looks odd" || back.SteppedIn != version(t, s, "production") {
		t.Errorf("%+v", back.Rollout)
	}
	if c := must[FlagView](t)(s.Flag(ctx, FlagKey{Key: checkout})).Environments["production"]; c.Rollout.PPM != 100_000 || c.Rollout.Step != 0 {
		t.Errorf("it serves %+v", c.Rollout)
	}
	stays := rollout.Situation{Rollout: back.Rollout, Now: now().Add(1000 * time.Hour)}
	if d := rollout.Next(stays); d.Action == rollout.Advance || d.Action == rollout.Resume {
		t.Errorf("after long it would %s", d.Action)
	}
}

// A second rollout of a flag treats the people that the first one treated.
func TestARestartReachesTheSamePeopleFirst(t *testing.T) {
	s, ctx := house(t)
	r := startedRollout(t, s, ctx)
	treated := func() map[string]bool {
		head, _ := s.Published("production")
		all := map[string]bool{}
		for i := range 5000 {
			unit := fmt.Sprintf("user-%d", i)
			if head.Compiled.Evaluate(checkout, &flyball.EvaluationContext{TargetingKey: unit}, time.Now, nil).Variant == "on" {
				all[unit] = true
			}
		}
		return all
	}
	first := treated()
	must[RolloutView](t)(s.AbortRollout(ctx, RolloutIn{ID: r.ID, Reason: "a test"}))
	if n := len(treated()); n != 0 {
		t.Fatalf("%d are treated after the abort", n)
	}
	again := must[RolloutView](t)(s.StartRollout(ctx, StartRollout{Reason: "mended", RolloutPlan: flyball.RolloutPlan{
		Flag: checkout, Environment: "production", Treatment: "on", Control: "off",
		Steps: []flyball.Step{{PPM: 50_000}, {PPM: 100_000}, {PPM: flyball.PPM}},
	}}))
	fewer := treated()
	if err := carry(t, s, ctx, again.ID, rollout.Decision{Action: rollout.Advance, Step: 1}); err != nil {
		t.Fatal(err)
	}
	second := treated()
	if len(first) < 400 || len(fewer) < 200 || len(second) != len(first) {
		t.Fatalf("%d, then %d and %d are treated", len(first), len(fewer), len(second))
	}
	for unit := range fewer {
		if !first[unit] || !second[unit] {
			t.Fatalf("%s was not among the first", unit)
		}
	}
	for unit := range second {
		if !first[unit] {
			t.Fatalf("%s was not among the first", unit)
		}
	}
}

// A plan whose last step leaves some on control ends in a split: a holdback.
func TestAHoldbackCompletesAsASplit(t *testing.T) {
	s, ctx := house(t)
	must[FlagView](t)(s.CreateFlag(ctx, newFlag(checkout)))
	must[Configured](t)(s.EnableFlag(ctx, in(checkout)))
	r := must[RolloutView](t)(s.StartRollout(ctx, StartRollout{Reason: "ship it", RolloutPlan: flyball.RolloutPlan{
		Flag: checkout, Environment: "production", Treatment: "on", Control: "off", Steps: []flyball.Step{{PPM: 950_000}},
	}}))
	on := func() (n int) {
		head, _ := s.Published("production")
		for i := range 2000 {
			if head.Compiled.Evaluate(checkout, &flyball.EvaluationContext{TargetingKey: fmt.Sprint("u", i)}, time.Now, nil).Variant == "on" {
				n++
			}
		}
		return n
	}
	before := on()
	if err := carry(t, s, ctx, r.ID, rollout.Decision{Action: rollout.Finish}); err != nil {
		t.Fatal(err)
	}
	c := must[FlagView](t)(s.Flag(ctx, FlagKey{Key: checkout})).Environments["production"]
	if c.Rollout != nil || c.Default.Split == nil || c.Default.Split.Weights[0] != (flyball.Weight{Variant: "on", PPM: 950_000}) {
		t.Errorf("it serves %+v", c.Default)
	}
	if after := on(); after != before || after < 1800 || after == 2000 {
		t.Errorf("%d have it, %d had it before", after, before)
	}
}

func TestAnApprovalGateHoldsUntilAnAdminPassesIt(t *testing.T) {
	s, ctx := house(t)
	must[FlagView](t)(s.CreateFlag(ctx, newFlag(checkout)))
	must[Configured](t)(s.EnableFlag(ctx, in(checkout)))
	r := must[RolloutView](t)(s.StartRollout(ctx, StartRollout{Reason: "ship it", RolloutPlan: flyball.RolloutPlan{
		Flag: checkout, Environment: "production", Treatment: "on", Control: "off",
		Steps: []flyball.Step{{PPM: 100_000, Gates: []flyball.Gate{{Approval: 1}}}, {PPM: flyball.PPM}},
	}}))
	as := func(id flyball.ActorID, kind flyball.TokenKind, flags ...string) context.Context {
		return WithPrincipal(t.Context(), Principal{Actor: flyball.Actor{ID: id}, Kind: kind, Flags: flags, Rights: rightsIn(flags)})
	}
	ready := func() rollout.Decision {
		r := must[RolloutView](t)(s.Rollout(ctx, RolloutID{ID: r.ID}))
		at := r.SteppedAt.Add(time.Hour)
		e := flyball.Evidence{
			Rollout: r.ID, Verdict: flyball.Healthy, Units: flyball.Arms{Control: 9000, Treatment: 1000}, StepUnits: flyball.Arms{Control: 9000, Treatment: 1000},
			Last: flyball.ArmTimes{Control: at, Treatment: at}, Joined: 1,
		}
		return rollout.Next(rollout.Situation{Rollout: r.Rollout, Evidence: e, Now: at})
	}
	for who, refused := range map[string]context.Context{
		"the starter":        ctx,
		"an agent":           as("agent:bot", flyball.TokenAgent),
		"a service":          as("service:ci", flyball.TokenAPI),
		"a limited person":   as("user:bob", flyball.TokenAPI, "shop.*"),
		"the controller too": AsController(t.Context()),
	} {
		_, err := s.PassGate(refused, PassGate{RolloutIn: RolloutIn{ID: r.ID, Reason: "a test"}})
		if flyball.CodeOf(err) != flyball.Forbidden || err == nil {
			t.Errorf("%s passes it: %v", who, err)
		}
	}
	if d := ready(); d.Action != rollout.Wait {
		t.Fatalf("before anybody passed it: %+v", d)
	}
	must[RolloutView](t)(s.PassGate(as("user:bob", flyball.TokenAPI), PassGate{RolloutIn: RolloutIn{ID: r.ID, Reason: "looked at it"}}))
	if d := ready(); d.Action != rollout.Advance {
		t.Errorf("after the approval: %+v", d)
	}
}

// A kill by a person and an advance by the controller come at the same moment,
// again and again. Whoever is first, the kill stands at the end, and nothing that
// was decided before it is carried out after it.
func TestAKillBeatsEveryConcurrentAdvance(t *testing.T) {
	s, ctx := house(t)
	must[FlagView](t)(s.CreateFlag(ctx, newFlag(checkout)))
	must[Configured](t)(s.EnableFlag(ctx, in(checkout)))
	steps := make([]flyball.Step, flyball.MaxSteps)
	for i := range steps {
		steps[i].PPM = 10_000 * (i + 1)
	}
	limit, most := 4*time.Second, 10_000
	if os.Getenv("FLYBALL_NIGHTLY") != "" {
		limit = 10 * time.Minute
	}
	races, outrun, began := 0, 0, time.Now()
	for ; races < most && time.Since(began) < limit; races++ {
		r := must[RolloutView](t)(s.StartRollout(ctx, StartRollout{Reason: "ship it", RolloutPlan: flyball.RolloutPlan{
			Flag: checkout, Environment: "production", Treatment: "on", Control: "off", Steps: steps,
		}}))
		outrun += race(t, s, ctx, r)
		after := must[RolloutView](t)(s.Rollout(ctx, RolloutID{ID: r.ID}))
		if after.State != flyball.RolloutStopped {
			t.Fatalf("race %d: the rollout is %s", races, after.State)
		}
		if c := must[FlagView](t)(s.Flag(ctx, FlagKey{Key: checkout})).Environments["production"]; c.Killed == nil || c.Rollout != nil {
			t.Fatalf("race %d: it serves %+v", races, c)
		}
		late := rollout.Decision{Action: rollout.Advance, Step: after.At + 1}
		for _, action := range []rollout.Action{rollout.Advance, rollout.Resume, rollout.Renew, rollout.Finish, rollout.StepBack, rollout.Abort} {
			late.Action = action
			wantCode(t, carry(t, s, ctx, r.ID, late), flyball.Conflict, "")
		}
		must[Configured](t)(s.ResumeFlag(ctx, in(checkout)))
		if c := must[FlagView](t)(s.Flag(ctx, FlagKey{Key: checkout})).Environments["production"]; c.Rollout != nil {
			t.Fatalf("race %d: a resume brought it back", races)
		}
	}
	t.Logf("%d races; the controller came first, and was undone, %d times", races, outrun)
	if races < 10 {
		t.Errorf("only %d races", races)
	}
}

// race lets a controller advance as fast as it can while a person kills, and
// returns how many steps it took.
func race(t *testing.T, s *Service, ctx context.Context, r RolloutView) int {
	t.Helper()
	var both sync.WaitGroup
	var steps atomic.Int64
	start := make(chan struct{})
	both.Go(func() {
		<-start
		read := r.Rollout
		for read.State.Live() && read.At+1 < len(read.Steps) {
			d := rollout.Decision{Action: rollout.Advance, Step: read.At + 1, Why: "healthy", Revision: read.Revision, At: now()}
			err := s.Decide(ctx, rollout.Situation{Rollout: read}, d, nil)
			if err != nil && flyball.CodeOf(err) != flyball.Conflict {
				t.Errorf("advance: %v", err)
			}
			if err == nil {
				steps.Add(1)
			}
			now, err := s.Rollout(ctx, RolloutID{ID: r.ID})
			if err != nil {
				t.Errorf("read: %v", err)
				return
			}
			read = now.Rollout
		}
	})
	both.Go(func() {
		<-start
		if _, err := s.KillFlag(ctx, in(checkout)); err != nil {
			t.Errorf("kill: %v", err)
		}
	})
	close(start)
	both.Wait()
	return int(steps.Load())
}

// rightsIn are those of somebody whose token is not limited to some flags.
func rightsIn(flags []string) []flyball.Grants {
	if len(flags) > 0 {
		return []flyball.Grants{{{Role: flyball.RoleEditor}}}
	}
	return []flyball.Grants{flyball.Installation}
}
