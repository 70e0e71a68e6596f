package eval_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func at(t time.Time) *flyball.Time { return &flyball.Time{Time: t} }

func user(key string) *flyball.EvaluationContext {
	return &flyball.EvaluationContext{TargetingKey: key, Attributes: flyball.Attributes{"country": "CA", "account": map[string]any{"id": int64(7)}}}
}

// Units of the flag "team.flag" by their place on its ring: the first of
// these lies below 5 %, the second above 95 %.
var low, high = unitBetween("team.flag", 0, 50_000), unitBetween("team.flag", 950_000, flyball.PPM)

func unitBetween(seed string, from, to uint32) string {
	for i := 0; ; i++ {
		if p := eval.Point(seed, fmt.Sprint("user-", i)); p >= from && p < to {
			return fmt.Sprint("user-", i)
		}
	}
}

func overlay(ppm int) *flyball.Overlay {
	return &flyball.Overlay{ID: "ro-1", Step: 2, Where: "default", Unit: "targetingKey", Treatment: "on", Control: "off", PPM: ppm}
}

// A change turns the plain flag "team.flag", which serves off by default, into
// the flag of one story.
type change func(f *flyball.RulesetFlag)

func canada(s flyball.Serve) change {
	return func(f *flyball.RulesetFlag) {
		f.Rules = append(f.Rules, flyball.Rule{ID: "canada", If: is("country", flyball.OpIn, "CA"), Serve: s})
	}
}

func needs(key, variant string) change {
	return func(f *flyball.RulesetFlag) {
		f.Prerequisites = append(f.Prerequisites, flyball.Prerequisite{Flag: key, Variant: variant})
	}
}

func dated(from, to *flyball.Time) change {
	return func(f *flyball.RulesetFlag) {
		r := &f.Rules[len(f.Rules)-1]
		r.NotBefore, r.NotAfter = from, to
	}
}

func rolledOut(ppm int, edits ...func(*flyball.Overlay)) change {
	return func(f *flyball.RulesetFlag) {
		f.Rollout = overlay(ppm)
		for _, edit := range edits {
			edit(f.Rollout)
		}
	}
}

func byDefault(s flyball.Serve) change {
	return func(f *flyball.RulesetFlag) { f.Default = s }
}

func killed(f *flyball.RulesetFlag) {
	f.Killed = &flyball.Kill{At: noon, By: "user:ann", Reason: "errors"}
}

func disabled(f *flyball.RulesetFlag) { f.Enabled, f.OffVariant = false, "dim" }

func onRule(o *flyball.Overlay)    { o.Where = "canada" }
func byAccount(o *flyball.Overlay) { o.Unit = "account.id" }
func byPlan(o *flyball.Overlay)    { o.Unit = "plan" }

func leased(until time.Time) func(*flyball.Overlay) {
	return func(o *flyball.Overlay) { o.NotAfter = at(until) }
}

var on, off = flyball.Serve{Variant: "on"}, flyball.Serve{Variant: "off"}

func TestEvaluate(t *testing.T) {
	served := func(value any, variant string, why flyball.Reason) flyball.Resolution {
		return flyball.Resolution{Value: value, Variant: variant, Reason: why, Version: 7}
	}
	rule := func(r flyball.Resolution) flyball.Resolution { r.Rule = "canada"; return r }
	rollout := func(r flyball.Resolution) flyball.Resolution { r.Rollout, r.Step = "ro-1", 2; return r }
	exposed := func(r flyball.Resolution) flyball.Resolution { r.Exposed = true; return rollout(r) }
	by := func(unit string, r flyball.Resolution) flyball.Resolution { r.By = unit; return r }
	missing := flyball.Resolution{Reason: flyball.ReasonError, ErrorCode: flyball.ErrorTargetingKeyMissing, Version: 7}
	const static, byDef, match, splits, dis = flyball.ReasonStatic, flyball.ReasonDefault, flyball.ReasonTargetingMatch, flyball.ReasonSplit, flyball.ReasonDisabled
	half := split("on", 500_000, "off", 500_000)

	for _, tt := range []struct {
		name    string
		changes []change
		unit    string
		want    flyball.Resolution
	}{
		{"a flag with nothing to decide is static", nil, low, served(false, "off", static)},
		{"a killed flag serves its safe variant", []change{killed}, low, served(false, "off", dis)},
		{"a kill beats a disable", []change{disabled, killed}, low, served(false, "off", dis)},
		{"a kill beats a rollout", []change{rolledOut(flyball.PPM), killed}, low, served(false, "off", dis)},
		{"a disabled flag serves its off variant", []change{disabled}, low, served(false, "dim", dis)},
		{"a disable beats rules and prerequisites", []change{canada(on), needs("team.off", "on"), disabled}, low, served(false, "dim", dis)},
		{"a prerequisite that does not hold", []change{needs("team.off", "on"), canada(on)}, low, served(false, "off", byDef)},
		{"a prerequisite that holds", []change{needs("team.on", "on"), canada(on)}, low, rule(served(true, "on", match))},
		{"every prerequisite must hold", []change{needs("team.on", "on"), needs("team.off", "on")}, low, served(false, "off", byDef)},
		{"a flag with a prerequisite is not static", []change{needs("team.on", "on")}, low, served(false, "off", byDef)},
		{"a prerequisite in error does not hold", []change{needs("team.split", "on"), canada(on)}, "", served(false, "off", byDef)},
		{"a disabled prerequisite holds by its off variant", []change{needs("team.disabled", "off"), canada(on)}, low, rule(served(true, "on", match))},
		{"a killed prerequisite holds by its safe variant", []change{needs("team.killed", "off"), canada(on)}, low, rule(served(true, "on", match))},
		{"a rule that matches", []change{canada(on)}, low, rule(served(true, "on", match))},
		{"the first rule that matches wins", []change{canada(on), func(f *flyball.RulesetFlag) {
			f.Rules = append(f.Rules, flyball.Rule{ID: "second", If: is("country", flyball.OpExists, true), Serve: off})
		}}, low, rule(served(true, "on", match))},
		{"no rule matches", []change{canada(on), func(f *flyball.RulesetFlag) { f.Rules[0].If = is("country", flyball.OpIn, "US") }}, low, served(false, "off", byDef)},
		{"a rule that splits", []change{canada(half)}, low, rule(served(true, "on", splits))},
		{"a rule that splits, the other side", []change{canada(half)}, high, rule(served(false, "off", splits))},
		{"a rule's split without a unit is an error", []change{canada(half)}, "", rule(missing)},
		{"a split that is not reached needs no unit", []change{canada(on), byDefault(half)}, "", rule(served(true, "on", match))},
		{"the default splits", []change{byDefault(half)}, low, served(true, "on", splits)},
		{"a split of one variant is a split", []change{byDefault(flyball.Serve{Split: &flyball.Split{Weights: []flyball.Weight{{Variant: "on", PPM: flyball.PPM}}}})}, high, served(true, "on", splits)},
		{"a weight of nothing serves nobody", []change{byDefault(split("on", 0, "off", flyball.PPM))}, low, served(false, "off", splits)},
		{"a split by an integer attribute", []change{byDefault(flyball.Serve{Split: &flyball.Split{By: "account.id", Weights: []flyball.Weight{{Variant: "on", PPM: flyball.PPM}}}})}, "", served(true, "on", splits)},
		{"a split by an attribute that is missing", []change{byDefault(flyball.Serve{Split: &flyball.Split{By: "account.name", Weights: []flyball.Weight{{Variant: "on", PPM: flyball.PPM}}}})}, low, missing},
		{"a split by an attribute that is no unit", []change{byDefault(flyball.Serve{Split: &flyball.Split{By: "account", Weights: []flyball.Weight{{Variant: "on", PPM: flyball.PPM}}}})}, low, missing},

		{"before its dates a rule does not exist", []change{canada(on), dated(at(noon.Add(1)), nil)}, low, served(false, "off", byDef)},
		{"a rule begins at its first moment", []change{canada(on), dated(at(noon), nil)}, low, rule(served(true, "on", match))},
		{"a rule lasts to its last moment", []change{canada(on), dated(nil, at(noon.Add(1)))}, low, rule(served(true, "on", match))},
		{"a rule has ended at its end", []change{canada(on), dated(nil, at(noon))}, low, served(false, "off", byDef)},

		{"a rollout serves treatment below its share", []change{rolledOut(50_000)}, low, exposed(served(true, "on", splits))},
		{"a rollout serves control above its share", []change{rolledOut(50_000)}, high, exposed(served(false, "off", splits))},
		{"a rollout at nothing serves control", []change{rolledOut(0)}, low, exposed(served(false, "off", splits))},
		{"a rollout at everything serves treatment", []change{rolledOut(flyball.PPM)}, high, exposed(served(true, "on", splits))},
		{"a rollout without a unit serves control and exposes nobody", []change{rolledOut(flyball.PPM)}, "", rollout(served(false, "off", byDef))},
		{"an earlier rule takes its units out of a rollout", []change{canada(on), rolledOut(flyball.PPM)}, low, rule(served(true, "on", match))},
		{"a rollout on a rule", []change{canada(off), rolledOut(50_000, onRule)}, low, rule(exposed(served(true, "on", splits)))},
		{"a rollout on a rule, the control", []change{canada(off), rolledOut(50_000, onRule)}, high, rule(exposed(served(false, "off", splits)))},
		{"a rollout on a rule without a unit", []change{canada(off), rolledOut(50_000, onRule)}, "", rule(rollout(served(false, "off", byDef)))},
		{"a rollout on a rule keeps its condition", []change{canada(off), rolledOut(flyball.PPM, onRule), func(f *flyball.RulesetFlag) { f.Rules[0].If = is("country", flyball.OpIn, "US") }}, low, served(false, "off", byDef)},
		{"a rollout on a rule keeps its dates", []change{canada(off), dated(nil, at(noon)), rolledOut(flyball.PPM, onRule)}, low, served(false, "off", byDef)},
		{"a failed prerequisite keeps a rollout away", []change{needs("team.off", "on"), rolledOut(flyball.PPM)}, low, served(false, "off", byDef)},
		{"a disable keeps a rollout away", []change{rolledOut(flyball.PPM), disabled}, low, served(false, "dim", dis)},
		{"a rollout by another unit tells which", []change{rolledOut(flyball.PPM, byAccount)}, low, by("7", exposed(served(true, "on", splits)))},
		{"a rollout by another unit needs no targeting key", []change{rolledOut(flyball.PPM, byAccount)}, "", by("7", exposed(served(true, "on", splits)))},
		{"a rollout by a unit that is missing", []change{rolledOut(flyball.PPM, byPlan)}, low, rollout(served(false, "off", byDef))},
		{"a lease holds to its last moment", []change{rolledOut(flyball.PPM, leased(noon.Add(1)))}, low, exposed(served(true, "on", splits))},
		{"a lapsed lease serves control and exposes nobody", []change{rolledOut(flyball.PPM, leased(noon))}, low, rollout(served(false, "off", splits))},
		{"a lapsed lease, long ago", []change{rolledOut(flyball.PPM, leased(noon.Add(-time.Hour)))}, low, rollout(served(false, "off", splits))},
		{"a lapsed lease on a rule", []change{canada(off), rolledOut(flyball.PPM, onRule, leased(noon))}, low, rule(rollout(served(false, "off", splits)))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rs := compile(t, story(tt.changes...))
			var told []flyball.Resolution
			got := rs.Evaluate("team.flag", user(tt.unit), func() time.Time { return noon }, func(flag string, r flyball.Resolution) {
				if flag == "team.flag" {
					told = append(told, r)
				}
			})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
			var want []flyball.Resolution
			if tt.want.Exposed {
				want = append(want, tt.want)
			}
			if diff := cmp.Diff(want, told); diff != "" {
				t.Errorf("exposures, want -, told +:\n%s", diff)
			}
		})
	}
}

// story returns a ruleset with team.flag as changed, and flags that it may
// need: one on, one off, one that splits, one disabled, one killed, and one
// under rollout.
func story(changes ...change) flyball.Ruleset {
	f, serving, off, splitting, dark, dead, ramp := newFlag("team.flag"), newFlag("team.on"), newFlag("team.off"), newFlag("team.split"), newFlag("team.disabled"), newFlag("team.killed"), newFlag("team.ramp")
	f.Variants = flyball.Variants{"on": true, "off": false, "dim": false}
	f.Default.Variant, off.Default.Variant = "off", "off"
	splitting.Default = split("on", flyball.PPM, "off", 0)
	dark.Enabled = false
	killed(&dead)
	ramp.Default, ramp.Rollout = flyball.Serve{Variant: "off"}, overlay(flyball.PPM)
	for _, change := range changes {
		change(&f)
	}
	return ruleset(f, serving, off, splitting, dark, dead, ramp)
}

// A prerequisite's own rollout sends its exposure whenever it is evaluated.
func TestPrerequisitesExposeTheirOwnRollouts(t *testing.T) {
	rs := compile(t, story(needs("team.ramp", "on"), rolledOut(flyball.PPM, func(o *flyball.Overlay) { o.ID = "ro-2" })))
	var told []string
	got := rs.Evaluate("team.flag", user(low), time.Now, func(flag string, r flyball.Resolution) {
		told = append(told, fmt.Sprint(flag, " ", r.Variant, " ", r.Rollout, " ", r.Step))
	})
	if diff := cmp.Diff([]string{"team.ramp on ro-1 2", "team.flag on ro-2 2"}, told); diff != "" || got.Rollout != "ro-2" {
		t.Errorf("got %+v, told (want -, got +):\n%s", got, diff)
	}
	// It does so even where it does not hold, and the flag itself is static.
	rs = compile(t, story(needs("team.ramp", "off")))
	told = nil
	rs.Evaluate("team.flag", user(low), time.Now, func(flag string, r flyball.Resolution) { told = append(told, flag) })
	if diff := cmp.Diff([]string{"team.ramp"}, told); diff != "" {
		t.Errorf("told (want -, got +):\n%s", diff)
	}
}

// The clock costs more than the evaluation of most flags.
func TestTheClockIsReadOnlyForDatesAndLeases(t *testing.T) {
	for _, tt := range []struct {
		name    string
		changes []change
		want    int
	}{
		{"nothing dated", []change{canada(on), rolledOut(50_000)}, 0},
		{"killed, though dated", []change{canada(on), dated(at(noon), nil), killed}, 0},
		{"a dated rule", []change{canada(on), dated(at(noon), at(noon.Add(time.Hour)))}, 1},
		{"a dated rule and a leased rollout", []change{canada(on), dated(nil, at(noon)), rolledOut(5, leased(noon))}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reads := 0
			compile(t, story(tt.changes...)).Evaluate("team.flag", user(low), func() time.Time { reads++; return noon }, nil)
			if reads != tt.want {
				t.Errorf("read %d times, want %d", reads, tt.want)
			}
		})
	}
}

func TestEvaluateAlwaysAnswers(t *testing.T) {
	var none *eval.Ruleset
	if got := none.Evaluate("team.flag", nil, nil, nil); got.ErrorCode != flyball.ErrorProviderNotReady || got.Reason != flyball.ReasonError {
		t.Errorf("no ruleset: %+v", got)
	}
	rs := compile(t, story(canada(on), dated(at(noon), at(noon.Add(1))), rolledOut(5, leased(noon))))
	if got := rs.Evaluate("team.typo", nil, nil, nil); got.ErrorCode != flyball.ErrorFlagNotFound || got.Version != 7 || got.Value != nil {
		t.Errorf("unknown flag: %+v", got)
	}
	if got := rs.Evaluate("team.flag", nil, nil, nil); got.Variant != "off" || got.Reason != flyball.ReasonDefault {
		t.Errorf("no context and no clock: %+v", got)
	}
}

// The canonical text of an integer is its decimal, of any Go type.
func TestUnitsOfAllTypesBucketByTheirText(t *testing.T) {
	f := newFlag("team.flag")
	f.Default = flyball.Serve{Variant: "off"}
	f.Rollout = &flyball.Overlay{ID: "ro", Where: "default", Unit: "account", Treatment: "on", Control: "off", PPM: 500_000}
	rs := compile(t, ruleset(f))
	for _, tt := range []struct {
		unit any
		text string // empty: no unit
	}{
		{"42", "42"}, {42, "42"}, {int8(42), "42"}, {uint64(42), "42"}, {42.0, "42"}, {float32(42), "42"}, {int64(-1 << 63), "-9223372036854775808"},
		{true, "true"}, {false, "false"}, {plan("pro"), "pro"},
		{"", ""}, {nil, ""}, {42.5, ""}, {[]any{"42"}, ""}, {map[string]any{}, ""}, {time.Now(), ""},
	} {
		ec := &flyball.EvaluationContext{TargetingKey: "user-1", Attributes: flyball.Attributes{"account": tt.unit}}
		got := rs.Evaluate("team.flag", ec, nil, nil)
		want := "off"
		if tt.text != "" && eval.Point("team.flag", tt.text) < 500_000 {
			want = "on"
		}
		if got.Variant != want || got.By != tt.text || got.Exposed != (tt.text != "") {
			t.Errorf("%T %v: %+v, want %s by %q", tt.unit, tt.unit, got, want, tt.text)
		}
	}
}

// Raising the first weight removes nobody from the first variant, whatever the
// weights behind it.
func TestRaisingTheFirstWeightKeepsEveryone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed, unit := rapid.StringN(1, 20, 80).Draw(t, "seed"), rapid.StringN(1, 20, 80).Draw(t, "unit")
		a := rapid.IntRange(0, flyball.PPM).Draw(t, "first weight")
		b := rapid.IntRange(a, flyball.PPM).Draw(t, "raised")
		first := func(ppm int) bool {
			f := newFlag("team.flag")
			f.Seed, f.Default = seed, split("on", ppm, "off", flyball.PPM-ppm)
			rs, err := eval.Compile(ruleset(f))
			if err != nil {
				t.Fatal(err)
			}
			return rs.Evaluate("team.flag", user(unit), nil, nil).Variant == "on"
		}
		if first(a) && !first(b) {
			t.Fatalf("%q left the first variant of %q between %d and %d", unit, seed, a, b)
		}
	})
}

// A unit that met the treatment keeps it in every later step, and the share of
// units that have it is the step's.
func TestRampsAreMonotone(t *testing.T) {
	const units = 20_000
	had := make([]bool, units)
	for _, ppm := range []int{0, 100, 10_000, 50_000, 200_000, 500_000, 950_000, flyball.PPM} {
		f := newFlag("team.flag")
		f.Default, f.Rollout = off, overlay(ppm)
		rs := compile(t, ruleset(f))
		n := 0
		for i := range units {
			has := rs.Evaluate("team.flag", user(fmt.Sprint("user-", i)), nil, nil).Variant == "on"
			if had[i] && !has {
				t.Fatalf("user-%d lost the treatment at %d ppm", i, ppm)
			}
			if had[i] = has; has {
				n++
			}
		}
		// Five standard deviations of a binomial count, and one unit.
		p := float64(ppm) / flyball.PPM
		if off := float64(n) - p*units; off*off > 25*units*p*(1-p)+1 {
			t.Errorf("%d of %d units at %d ppm", n, units, ppm)
		}
	}
}
