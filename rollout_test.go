package flyball_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
)

func plan() flyball.RolloutPlan {
	return flyball.RolloutPlan{
		Flag: "payments.checkout.new-flow", Environment: "production", Treatment: "on", Control: "off",
		Steps:      []flyball.Step{{PPM: 100}, {PPM: 10_000, Hold: minutes(30)}, {PPM: 1_000_000, Hold: minutes(60)}},
		Guardrails: []flyball.Guardrail{{Metric: "checkout.errors", Margin: flyball.Margin{Relative: 0.05}}},
	}.WithDefaults()
}

func minutes(n int) flyball.Duration { return flyball.Duration(time.Duration(n) * time.Minute) }

func TestAPlanIsFilledInWithItsDefaults(t *testing.T) {
	want := flyball.RolloutPlan{
		Flag: "payments.checkout.new-flow", Environment: "production", Treatment: "on", Control: "off", Where: "default", Unit: "targetingKey",
		Steps:      []flyball.Step{{PPM: 100, Hold: minutes(5)}, {PPM: 10_000, Hold: minutes(30)}, {PPM: 1_000_000, Hold: minutes(60)}},
		Then:       flyball.ThenKeep,
		Guardrails: []flyball.Guardrail{{Metric: "checkout.errors", Margin: flyball.Margin{Relative: 0.05}}},
		Alpha:      0.01, OnBreach: flyball.BreachAbort,
		OnUnsure: flyball.OnUnsure{After: minutes(240), Then: "hold"}, OnSilence: flyball.OnSilence{After: minutes(10), Then: "hold"},
	}
	if diff := cmp.Diff(want, plan()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, plan().WithDefaults()); diff != "" {
		t.Errorf("filled in twice: %s", diff)
	}
}

func TestEveryStepOfAPulseIsLeasedForItsHold(t *testing.T) {
	p := flyball.RolloutPlan{Then: flyball.ThenOff, Steps: []flyball.Step{{PPM: 100}, {PPM: 200, Hold: flyball.Duration(10 * time.Second), Lease: minutes(9)}}}
	filled := p.WithDefaults()
	if a, b := filled.Steps[0].Lease, filled.Steps[1].Lease; a != minutes(5) || b != flyball.Duration(10*time.Second) {
		t.Errorf("leases %v and %v", a, b)
	}
	if p.Steps[0].Hold != 0 || p.Steps[1].Lease != minutes(9) {
		t.Errorf("the steps of the plan that was given have changed: %+v", p.Steps)
	}
}

func TestAPlanTellsEveryProblem(t *testing.T) {
	for _, tt := range []struct {
		name  string
		alter func(*flyball.RolloutPlan)
		want  []string
	}{
		{"a sound one has none", func(*flyball.RolloutPlan) {}, nil},
		{"an empty one tells all of them at once", func(p *flyball.RolloutPlan) { *p = flyball.RolloutPlan{} }, []string{
			"treatment: name a variant other than the control", "control: name the variant that is served now", "unit: name an attribute",
			`then: "" is not one of [keep off]`, `onBreach: "" is not one of [abort stepBack hold]`, `onUnsure.then: "" is not one of [hold advance]`,
			`onSilence.then: "" is not one of [hold abort]`, "alpha: must lie above 0 and not above 0.5", "steps: 0 steps; a rollout has 1 to 50",
		}},
		{"a treatment that is the control", func(p *flyball.RolloutPlan) { p.Control = "on" }, []string{"treatment: name a variant other than the control"}},
		{"shares that do not rise", func(p *flyball.RolloutPlan) {
			p.Steps = []flyball.Step{{PPM: 100}, {PPM: 100}, {PPM: 50}, {PPM: 200}}
		}, []string{"steps[1].ppm: 100 does not rise above the step before, 100", "steps[2].ppm: 50 does not rise above the step before, 100"}},
		{"shares that are none", func(p *flyball.RolloutPlan) { p.Steps = []flyball.Step{{PPM: 0}, {PPM: 1_000_001}} }, []string{
			"steps[0].ppm: 0 is not between 1 and 1000000", "steps[1].ppm: 1000001 is not between 1 and 1000000",
		}},
		{"a hold of a hundred days", func(p *flyball.RolloutPlan) { p.Steps[1].Hold = minutes(100 * 24 * 60) }, []string{"steps[1].hold: at most 90 days (2160h)"}},
		{"a lease too short to be renewed", func(p *flyball.RolloutPlan) { p.Steps[1].Lease = flyball.Duration(9 * time.Second) }, []string{
			"steps[1].lease: at least 10s, so that it can be renewed in time",
		}},
		{"a pulse of a second", func(p *flyball.RolloutPlan) {
			p.Then = flyball.ThenOff
			p.Steps = []flyball.Step{{PPM: 100, Hold: flyball.Duration(time.Second), Lease: flyball.Duration(time.Second)}}
		}, nil},
		{"gates", func(p *flyball.RolloutPlan) {
			p.Steps[0].Gates = []flyball.Gate{{Agent: "bot"}, {Approval: 1, OnTimeout: "hold"}, {}, {Agent: "bot", Approval: 1}, {Approval: 6}, {Approval: -1}, {Agent: "bot", OnTimeout: "go"}}
		}, []string{
			"steps[0].gates[2]: name an agent, or a number of approvals from 1 to 5", "steps[0].gates[3]: name an agent, or a number of approvals from 1 to 5",
			"steps[0].gates[4]: name an agent, or a number of approvals from 1 to 5", "steps[0].gates[5]: name an agent, or a number of approvals from 1 to 5",
			`steps[0].gates[6].onTimeout: "go" is not one of [hold abort]`,
		}},
		{"guardrails", func(p *flyball.RolloutPlan) {
			p.Guardrails = []flyball.Guardrail{
				{Metric: "checkout.errors"}, {Metric: "checkout.errors", By: "route"}, {Metric: "checkout.errors"}, {Metric: "E"},
				{Metric: "aaa", Margin: flyball.Margin{Relative: 11, Absolute: -1}}, {Metric: "bbb", Margin: flyball.Margin{Relative: math.NaN(), Absolute: math.Inf(1)}},
			}
		}, []string{
			`guardrails[2].metric: "checkout.errors" has a guardrail already`,
			`guardrails[3].metric: "E" is not a key: 3 to 128 of a-z, 0-9, '.', '_' and '-', with a letter or digit at both ends`,
			"guardrails[4].margin.relative: must lie between 0 and 10; 0.05 tolerates five percent", "guardrails[4].margin.absolute: must not be negative",
			"guardrails[5].margin.relative: must lie between 0 and 10; 0.05 tolerates five percent", "guardrails[5].margin.absolute: must not be negative",
		}},
		{"too many metrics", func(p *flyball.RolloutPlan) {
			p.Guardrails = nil
			p.Success = slices.Repeat([]flyball.Success{{Metric: "checkout.conversion"}}, 21)
		}, []string{"success: 21 success metrics, at most 20"}},
		{"a success metric without a key", func(p *flyball.RolloutPlan) { p.Success = []flyball.Success{{}} }, []string{
			`success[0].metric: "" is not a key: 3 to 128 of a-z, 0-9, '.', '_' and '-', with a letter or digit at both ends`,
		}},
		{"chances that are none", func(p *flyball.RolloutPlan) { p.Alpha = 0.51 }, []string{"alpha: must lie above 0 and not above 0.5"}},
		{"a chance that is no number", func(p *flyball.RolloutPlan) { p.Alpha = math.NaN() }, []string{"alpha: must lie above 0 and not above 0.5"}},
		{"a negative budget", func(p *flyball.RolloutPlan) { p.Budget.UnitMinutes = -1 }, []string{"budget: must not be negative"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan()
			tt.alter(&p)
			told(t, p.Validate(), tt.want...)
		})
	}
}

func TestAPlanHasAtMostFiftySteps(t *testing.T) {
	p := plan()
	p.Steps = nil
	for i := range 50 {
		p.Steps = append(p.Steps, flyball.Step{PPM: i + 1})
	}
	told(t, p.Validate())
	p.Steps = append(p.Steps, flyball.Step{PPM: 51})
	told(t, p.Validate(), "steps: 51 steps; a rollout has 1 to 50")
}

func TestWhatEvaluatorsNeedOfARollout(t *testing.T) {
	r := flyball.Rollout{ID: "r1", RolloutPlan: plan(), At: 1, LeaseUntil: at(19)}
	want := &flyball.Overlay{ID: "r1", Step: 1, Where: "default", Unit: "targetingKey", Treatment: "on", Control: "off", PPM: 10_000, NotAfter: at(19)}
	if diff := cmp.Diff(want, r.Overlay()); diff != "" {
		t.Error(diff)
	}
}

func TestWhichStatesAreLive(t *testing.T) {
	for state, want := range map[flyball.RolloutState]bool{
		flyball.RolloutPending: true, flyball.RolloutRunning: true, flyball.RolloutPaused: true, flyball.RolloutHolding: true,
		flyball.RolloutCompleted: false, flyball.RolloutAborted: false, flyball.RolloutStopped: false, "": false,
	} {
		if state.Live() != want {
			t.Errorf("%q: live %v", state, !want)
		}
	}
}

// A rollout is its plan and more, on one level.
func TestARolloutIsWrittenWithItsPlan(t *testing.T) {
	body, err := json.Marshal(flyball.Rollout{ID: "r1", RolloutPlan: plan(), State: flyball.RolloutRunning})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"id":"r1"`, `"flag":"payments.checkout.new-flow"`, `"steps":[{"ppm":100,"hold":"5m"}`, `"state":"running"`, `"onUnsure":{"after":"4h","then":"hold"}`} {
		if !strings.Contains(string(body), part) {
			t.Errorf("%s lacks %s", body, part)
		}
	}
	if strings.Contains(string(body), "endedAt") || strings.Contains(string(body), "budget") {
		t.Errorf("%s tells what there is not", body)
	}
}
