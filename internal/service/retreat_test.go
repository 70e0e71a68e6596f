package service

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// What counts as a retreat gives nobody anything but the safe variant, the control
// of the rollout that there was, or what they had, at any time, whatever the flags that it waits for serve.
func TestARetreatGivesNobodyAnythingNew(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 5))
	flag := flyball.Flag{Key: "shop.a", Kind: flyball.KindOps, Owner: "default", Type: flyball.TypeString, SafeVariant: "safe", Variants: flyball.Variants{"safe": "safe", "a": "a", "b": "b"}}
	gate := flyball.Flag{Key: "shop.gate", Kind: flyball.KindOps, Owner: "default", Type: flyball.TypeBoolean, SafeVariant: "off", Variants: flyball.Variants{"on": true, "off": false}}
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	retreats, moved := 0, 0
	for range 20_000 {
		before := someConfig(rng, flag, noon)
		after := alter(rng, before, noon)
		if !lowers(flag, before, after) {
			continue
		}
		retreats++
		for _, gateServes := range []string{"on", "off"} {
			b, a := ofOne(t, flag, before, gate, gateServes), ofOne(t, flag, after, gate, gateServes)
			for i := range 60 {
				c := flyball.EvaluationContext{TargetingKey: fmt.Sprint("u", i), Attributes: flyball.Attributes{"country": []string{"CA", "FR", "US"}[i%3]}}
				now := func() time.Time { return noon.Add(time.Duration(i%4-2) * 40 * time.Minute) }
				was, is := b.Evaluate(flag.Key, &c, now, nil).Variant, a.Evaluate(flag.Key, &c, now, nil).Variant
				if was != is {
					moved++
				}
				control := before.Rollout != nil && is == before.Rollout.Control
				if is != was && is != "safe" && !control {
					t.Fatalf("seed %d: %s has %q and had %q:\n%+v\n%+v", seed, c.TargetingKey, is, was, before, after)
				}
			}
		}
	}
	if retreats < 1000 || moved < 10_000 {
		t.Errorf("only %d of the changes were retreats, and %d users were moved", retreats, moved)
	}
}

func ofOne(t *testing.T, f flyball.Flag, c flyball.FlagConfig, gate flyball.Flag, serves string) *eval.Ruleset {
	t.Helper()
	g := flyball.NewFlagConfig(gate)
	g.Enabled, g.Default = true, flyball.Serve{Variant: serves}
	return must[*eval.Ruleset](t)(eval.Compile(flyball.Ruleset{Environment: "production", Flags: []flyball.RulesetFlag{flyball.NewRulesetFlag(f, c), flyball.NewRulesetFlag(gate, g)}}))
}

func someServe(rng *rand.Rand) flyball.Serve {
	if rng.IntN(3) > 0 {
		return flyball.Serve{Variant: []string{"safe", "safe", "a", "b"}[rng.IntN(4)]}
	}
	x := rng.IntN(flyball.PPM + 1)
	return flyball.Serve{Split: &flyball.Split{Weights: []flyball.Weight{{Variant: []string{"a", "b"}[rng.IntN(2)], PPM: x}, {Variant: "safe", PPM: flyball.PPM - x}}}}
}

func someRule(rng *rand.Rand, noon time.Time) flyball.Rule {
	r := flyball.Rule{ID: fmt.Sprint("r", rng.Uint64()), If: flyball.Condition{Attribute: "country", Op: "in", Values: []any{[]string{"CA", "FR", "US"}[rng.IntN(3)]}}, Serve: someServe(rng)}
	if rng.IntN(4) == 0 {
		r.NotAfter = &flyball.Time{Time: noon.Add(time.Duration(rng.IntN(120)-60) * time.Minute)}
	}
	return r
}

func someConfig(rng *rand.Rand, f flyball.Flag, noon time.Time) flyball.FlagConfig {
	c := flyball.NewFlagConfig(f)
	c.Enabled, c.Default = rng.IntN(8) > 0, someServe(rng)
	if rng.IntN(6) == 0 {
		c.OffVariant = "b"
	}
	if rng.IntN(4) == 0 {
		c.Prerequisites = []flyball.Prerequisite{{Flag: "shop.gate", Variant: []string{"on", "off"}[rng.IntN(2)]}}
	}
	for range rng.IntN(4) {
		c.Rules = append(c.Rules, someRule(rng, noon))
	}
	if rng.IntN(4) == 0 && c.Default.Split == nil {
		c.Rollout = &flyball.Overlay{ID: "x", Where: flyball.WhereDefault, Unit: flyball.AttributeTargetingKey, Treatment: "b", Control: c.Default.Variant, PPM: 1 + rng.IntN(flyball.PPM)}
	}
	return c
}

// alter changes one or two things of a configuration.
func alter(rng *rand.Rand, c flyball.FlagConfig, noon time.Time) flyball.FlagConfig {
	c.Rules = slices.Clone(c.Rules)
	for range 1 + rng.IntN(2) {
		switch n := len(c.Rules); rng.IntN(10) {
		case 0:
			c.Enabled = !c.Enabled
		case 1:
			c.Default = someServe(rng)
		case 2:
			c.OffVariant = []string{"safe", "b"}[rng.IntN(2)]
		case 3:
			c.Prerequisites = []flyball.Prerequisite{{Flag: "shop.gate", Variant: []string{"on", "off"}[rng.IntN(2)]}}
		case 4:
			c.Prerequisites = nil
		case 5:
			at := rng.IntN(n + 1)
			c.Rules = slices.Insert(c.Rules, at, someRule(rng, noon))
		case 6, 7:
			if n > 0 {
				at := rng.IntN(n)
				c.Rules = slices.Delete(c.Rules, at, at+1)
			}
		case 8:
			if n > 0 {
				c.Rules[rng.IntN(n)].Serve = someServe(rng)
			}
		case 9:
			if c.Rollout != nil {
				o := *c.Rollout
				o.PPM = 1 + rng.IntN(flyball.PPM)
				if c.Rollout = &o; rng.IntN(2) == 0 {
					c.Rollout = nil
				}
			}
		}
	}
	return c
}
