package flyball_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
)

func enabled() flyball.FlagConfig {
	c := flyball.NewFlagConfig(releaseFlag())
	c.Enabled = true
	c.Rules = []flyball.Rule{{ID: "staff", If: nested(1), Serve: flyball.Serve{Variant: "on"}}}
	return c
}

func splitOf(weights ...flyball.Weight) flyball.Serve {
	return flyball.Serve{Split: &flyball.Split{By: "targetingKey", Weights: weights}}
}

func at(hour int) *flyball.Time {
	return &flyball.Time{Time: time.Date(2026, 11, 21, hour, 0, 0, 0, time.UTC)}
}

func TestANewFlagServesItsSafeVariantDisabled(t *testing.T) {
	f := releaseFlag()
	want := flyball.FlagConfig{Flag: f.Key, OffVariant: "off", Seed: f.Key, HashVersion: 2, Default: flyball.Serve{Variant: "off"}}
	got := flyball.NewFlagConfig(f)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	told(t, got.Validate(f))
}

func TestAConfigurationTellsEveryProblem(t *testing.T) {
	const notOne = ` is not one of the variants of "payments.checkout.new-flow"`
	for _, tt := range []struct {
		name  string
		alter func(*flyball.FlagConfig)
		want  []string
	}{
		{"a sound one has none", func(*flyball.FlagConfig) {}, nil},
		{"an empty one tells all of them at once", func(c *flyball.FlagConfig) { *c = flyball.FlagConfig{} }, []string{
			`offVariant: ""` + notOne, "seed: a seed has 1 to 256 bytes", "hashVersion: 0 is not known; this version knows 2", "default: name a variant, or give a split",
		}},
		{"a long seed", func(c *flyball.FlagConfig) { c.Seed = strings.Repeat("x", 257) }, []string{"seed: a seed has 1 to 256 bytes"}},
		{"a prerequisite of itself", func(c *flyball.FlagConfig) { c.Prerequisites = []flyball.Prerequisite{{Flag: c.Flag, Variant: "on"}} }, []string{
			"prerequisites[0].flag: a flag cannot be its own prerequisite",
		}},
		{"too many prerequisites", func(c *flyball.FlagConfig) { c.Prerequisites = make([]flyball.Prerequisite, 21) }, []string{"prerequisites: 21 prerequisites, at most 20"}},
		{"a variant or a split, not both", func(c *flyball.FlagConfig) {
			c.Default = splitOf(flyball.Weight{Variant: "on", PPM: flyball.PPM})
			c.Default.Variant = "on"
		}, []string{"default: serve either a variant or a split, not both"}},
		{"a split that does not sum to one whole", func(c *flyball.FlagConfig) {
			c.Default = splitOf(flyball.Weight{Variant: "on", PPM: 100_000}, flyball.Weight{Variant: "off", PPM: 900_001})
		}, []string{"default.split.weights: weights sum to 1000001 ppm; they must sum to exactly 1000000 (off by +1)"}},
		{"a split with everything wrong", func(c *flyball.FlagConfig) {
			c.Default = splitOf(flyball.Weight{Variant: "on", PPM: -1}, flyball.Weight{Variant: "on", PPM: 1_000_001}, flyball.Weight{Variant: "other", PPM: 1})
			c.Default.Split.By = "a..b"
		}, []string{
			`default.split.by: "a..b" is not a path: a part is empty`, "default.split.weights[0].ppm: -1 is not between 0 and 1000000",
			`default.split.weights[1].variant: "on" has a weight already`, "default.split.weights[1].ppm: 1000001 is not between 0 and 1000000",
			`default.split.weights[2].variant: "other"` + notOne,
		}},
		{"a split of nothing", func(c *flyball.FlagConfig) { c.Default = splitOf() }, []string{
			"default.split.weights: 0 weights; a split has 1 to 50", "default.split.weights: weights sum to 0 ppm; they must sum to exactly 1000000 (off by -1000000)",
		}},
		{"a weight of zero is one", func(c *flyball.FlagConfig) {
			c.Default = splitOf(flyball.Weight{Variant: "on"}, flyball.Weight{Variant: "off", PPM: flyball.PPM})
		}, nil},
		{"an empty rule", func(c *flyball.FlagConfig) { c.Rules = []flyball.Rule{{}} }, []string{
			`rules[0].id: "" is not a name: 1 to 64 letters, digits, '.', '_' and '-', starting with a letter or digit`, "rules[0].if: " + oneForm, "rules[0].serve: name a variant, or give a split",
		}},
		{"rules of one name", func(c *flyball.FlagConfig) { c.Rules = append(c.Rules, c.Rules[0]) }, []string{`rules[1].id: "staff" is the id of an earlier rule`}},
		{"a rule named as the default", func(c *flyball.FlagConfig) { c.Rules[0].ID = "default" }, []string{`rules[0].id: "default" is kept for the default`}},
		{"a rule that never exists", func(c *flyball.FlagConfig) { c.Rules[0].NotBefore, c.Rules[0].NotAfter = at(19), at(19) }, []string{"rules[0].notAfter: must lie after notBefore"}},
		{"a rule with one date", func(c *flyball.FlagConfig) { c.Rules[0].NotAfter = at(19) }, nil},
		{"a rule whose condition is too deep", func(c *flyball.FlagConfig) { c.Rules[0].If = nested(6) }, []string{
			"rules[0].if.any[0].all[0].not.any[0].all[0]: nested more than 5 deep: move the inner part into a segment",
		}},
		{"an overlay of what is not there", func(c *flyball.FlagConfig) {
			c.Rollout = &flyball.Overlay{ID: "r", Where: "nowhere", Unit: "[", Treatment: "x", Control: "off", PPM: 1_000_001}
		}, []string{
			`rollout.treatment: "x"` + notOne, `rollout.unit: "[" is not a path: write ["name"]`, "rollout.ppm: 1000001 is not between 0 and 1000000",
			`rollout.where: "nowhere" is neither "default" nor a rule's id`,
		}},
		{"an overlay of a rule", func(c *flyball.FlagConfig) {
			c.Rollout = &flyball.Overlay{ID: "r", Where: "staff", Unit: "targetingKey", Treatment: "on", Control: "off", PPM: 100}
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := enabled()
			tt.alter(&c)
			told(t, c.Validate(releaseFlag()), tt.want...)
		})
	}
}

func TestAConfigurationHasAtMostAHundredRules(t *testing.T) {
	c := enabled()
	for i := range 99 {
		r := c.Rules[0]
		r.ID = fmt.Sprint("r", i)
		c.Rules = append(c.Rules, r)
	}
	told(t, c.Validate(releaseFlag()))
	r := c.Rules[0]
	r.ID = "one-more"
	c.Rules = append(c.Rules, r)
	told(t, c.Validate(releaseFlag()), "rules: 101 rules, at most 100")
}

func TestWhatStandsAtAPlace(t *testing.T) {
	c := enabled()
	for where, want := range map[string]string{"default": "off", "staff": "on"} {
		if got, ok := c.Serve(where); !ok || got.Variant != want {
			t.Errorf("%s: got %+v, %v", where, got, ok)
		}
	}
	if got, ok := c.Serve("nowhere"); ok {
		t.Errorf("nowhere stands %+v", got)
	}
	if _, at := c.Rule("staff"); at != 0 {
		t.Errorf("staff stands at %d", at)
	}
	if _, at := c.Rule("nowhere"); at != -1 {
		t.Errorf("nowhere stands at %d", at)
	}
}
