package eval_test

import (
	"testing"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// flag returns a boolean flag, enabled, that serves "on" by default.
func newFlag(key string) flyball.RulesetFlag {
	return flyball.RulesetFlag{
		Key: key, Type: flyball.TypeBoolean, Variants: flyball.Variants{"on": true, "off": false}, SafeVariant: "off",
		FlagConfig: flyball.FlagConfig{
			Flag: key, Enabled: true, OffVariant: "off", Seed: key, HashVersion: flyball.HashVersion,
			Default: flyball.Serve{Variant: "on"},
		},
	}
}

func is(attribute string, op flyball.Op, values ...any) flyball.Condition {
	return flyball.Condition{Attribute: attribute, Op: op, Values: values}
}

func split(first string, a int, second string, b int) flyball.Serve {
	return flyball.Serve{Split: &flyball.Split{Weights: []flyball.Weight{{Variant: first, PPM: a}, {Variant: second, PPM: b}}}}
}

func ruleset(flags ...flyball.RulesetFlag) flyball.Ruleset {
	return flyball.Ruleset{Environment: "production", Epoch: 1, Version: 7, Flags: flags}
}

func compile(t testing.TB, doc flyball.Ruleset) *eval.Ruleset {
	t.Helper()
	rs, err := eval.Compile(doc)
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	return rs
}
