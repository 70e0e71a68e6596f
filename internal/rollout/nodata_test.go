package rollout

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

// A silence is one way in which data go missing: it takes from evidence, which
// otherwise says that all is well, what does not come any more.
type silence func(e *flyball.Evidence, s *Situation, stopped time.Time)

var silences = map[string]silence{
	"nothing was ever told": func(e *flyball.Evidence, _ *Situation, _ time.Time) { *e = flyball.Evidence{} },
	"no arm was ever heard": func(e *flyball.Evidence, _ *Situation, _ time.Time) { e.Last = flyball.ArmTimes{} },
	"control was never heard": func(e *flyball.Evidence, _ *Situation, _ time.Time) {
		e.Last.Control = time.Time{}
	},
	"the treatment was never heard": func(e *flyball.Evidence, _ *Situation, _ time.Time) {
		e.Last.Treatment = time.Time{}
	},
	"all falls silent": func(e *flyball.Evidence, _ *Situation, stopped time.Time) {
		e.Last = flyball.ArmTimes{Control: stopped, Treatment: stopped}
	},
	"control falls silent":       func(e *flyball.Evidence, _ *Situation, stopped time.Time) { e.Last.Control = stopped },
	"the treatment falls silent": func(e *flyball.Evidence, _ *Situation, stopped time.Time) { e.Last.Treatment = stopped },
	"the judge hears of another rollout only": func(e *flyball.Evidence, _ *Situation, _ time.Time) {
		e.Rollout = "another"
	},
	"the judge stays behind": func(e *flyball.Evidence, _ *Situation, _ time.Time) { e.Step-- },
	"the clock is set back over the silence": func(e *flyball.Evidence, s *Situation, stopped time.Time) {
		back := 2 * time.Hour
		e.Last = flyball.ArmTimes{Control: stopped.Add(back), Treatment: stopped.Add(back)}
		s.Leaps = []Leap{{At: stopped, By: -back}}
	},
}

// Whatever kind of silence it is, whatever the plan says of silence and of doubt,
// and though the last thing heard was that all is well: without data nothing
// advances, and no lease is renewed. SEED replays one run.
func TestWithoutDataNothingAdvances(t *testing.T) {
	runs, first := uint64(1_000), uint64(1)
	if os.Getenv("FLYBALL_NIGHTLY") != "" {
		runs = 20_000
	}
	if n, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		runs, first = 1, n
	}
	ended := map[flyball.RolloutState]int{}
	kinds := slices.Sorted(maps.Keys(silences))
	for seed := first; seed < first+runs; seed++ {
		kind := kinds[seed%uint64(len(kinds))]
		state, wrong := fallSilent(seed, silences[kind])
		if wrong != "" {
			t.Fatalf("%s, SEED=%d: %s", kind, seed, wrong)
		}
		ended[state]++
	}
	t.Logf("%d runs of %d kinds of silence: %v", runs, len(kinds), ended)
	for _, state := range []flyball.RolloutState{flyball.RolloutHolding, flyball.RolloutAborted, flyball.RolloutStopped} {
		if ended[state] == 0 && runs > 1 {
			t.Errorf("none ended %s", state)
		}
	}
}

// fallSilent plays half a day of a rollout whose data stop in its first step.
func fallSilent(seed uint64, silent silence) (flyball.RolloutState, string) {
	rng := rand.New(rand.NewPCG(seed, 11))
	hold := time.Duration(1+rng.IntN(30)) * time.Minute
	s := Situation{Metrics: map[string]flyball.Metric{}, Rollout: flyball.Rollout{
		ID: "r1", State: flyball.RolloutRunning, StartedAt: midnight, SteppedAt: midnight, Since: midnight,
		RolloutPlan: flyball.RolloutPlan{
			Flag: "checkout", Environment: "production", Treatment: "on", Control: "off",
			Steps:     []flyball.Step{{PPM: 1 + rng.IntN(flyball.PPM/2), Hold: flyball.Duration(hold)}, {PPM: 600_000}, {PPM: flyball.PPM}},
			OnUnsure:  flyball.OnUnsure{After: flyball.Duration(hold), Then: []string{"hold", "advance"}[rng.IntN(2)]},
			OnSilence: flyball.OnSilence{After: flyball.Duration(time.Duration(1+rng.IntN(600)) * time.Second), Then: []string{"hold", "abort"}[rng.IntN(2)]},
			OnBreach:  []flyball.OnBreach{flyball.BreachAbort, flyball.BreachHold, flyball.BreachStepBack}[rng.IntN(3)],
			Then:      []flyball.Then{flyball.ThenKeep, flyball.ThenKeep, flyball.ThenOff}[rng.IntN(3)],
		},
	}}
	for i := range rng.IntN(3) {
		s.Rollout.Guardrails = append(s.Rollout.Guardrails, flyball.Guardrail{Metric: fmt.Sprint("metric-", i)})
	}
	if rng.IntN(2) == 0 {
		s.Rollout.Steps[0].Lease = flyball.Duration(hold / 2)
	}
	stopped := midnight.Add(time.Duration(rng.Int64N(int64(hold - 20*time.Second))))
	for s.Now = midnight; s.Now.Before(midnight.Add(12 * time.Hour)); s.Now = s.Now.Add(time.Duration(1+rng.IntN(20)) * time.Second) {
		s.Leaps = nil
		s.Evidence = evidence(s, flyball.Healthy)
		if s.Now.After(stopped) {
			silent(&s.Evidence, &s, stopped)
		}
		d := Next(s)
		switch quiet := s.Now.Sub(stopped) > Freshness; {
		case d.Action == Advance || d.Action == Finish:
			return "", fmt.Sprintf("%s after %v, %v after the data stopped: %s", d.Action, s.Now.Sub(midnight), s.Now.Sub(stopped), d.Why)
		case d.Action == Renew && quiet:
			return "", fmt.Sprintf("a lease is renewed %v after the data stopped", s.Now.Sub(stopped))
		}
		next, err := After(s.Rollout, d, s.Now)
		if err != nil {
			return "", err.Error()
		}
		if s.Rollout = next; !next.State.Live() {
			return next.State, ""
		}
	}
	// A judge that only stays behind is waited for: data come, and breaches count.
	if s.Rollout.State == flyball.RolloutRunning && s.Evidence.Step == s.Rollout.At {
		return "", "it still runs, half a day after its data stopped"
	}
	return s.Rollout.State, ""
}
