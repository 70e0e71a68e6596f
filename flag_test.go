package flyball_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

func releaseFlag() flyball.Flag {
	return flyball.Flag{
		Key: "payments.checkout.new-flow", Kind: flyball.KindRelease, Owner: "payments-team",
		ExpiresAt: &flyball.Time{Time: time.Date(2027, 2, 2, 0, 0, 0, 0, time.UTC)},
		Type:      flyball.TypeBoolean, Variants: flyball.Variants{"on": true, "off": false}, SafeVariant: "off",
	}.WithDefaults()
}

func TestAFlagTellsEveryProblem(t *testing.T) {
	for _, tt := range []struct {
		name  string
		alter func(*flyball.Flag)
		want  []string
	}{
		{"a sound flag has none", func(*flyball.Flag) {}, nil},
		{"an empty flag tells all of them at once", func(f *flyball.Flag) { *f = flyball.Flag{} }, []string{
			`key: "" is not a key: 3 to 128 of a-z, 0-9, '.', '_' and '-', with a letter or digit at both ends`,
			`kind: "" is not one of [release ops experiment permission]`,
			`riskTier: "" is not one of [low medium high]`,
			`consistency: "" is not one of [cosmetic stateful]`,
			`owner: name the team that answers for the flag`,
			`type: "" is not one of [boolean string integer number object]`,
		}},
		{"an experiment must end", func(f *flyball.Flag) { f.Kind, f.ExpiresAt = flyball.KindExperiment, nil }, []string{
			"expiresAt: a flag of kind experiment needs a date by which it goes",
		}},
		{"an empty date is none", func(f *flyball.Flag) { f.ExpiresAt = &flyball.Time{} }, []string{
			"expiresAt: a flag of kind release needs a date by which it goes",
		}},
		{"an ops flag may live long", func(f *flyball.Flag) { f.Kind, f.ExpiresAt = flyball.KindOps, nil }, nil},
		{"variants have the flag's type", func(f *flyball.Flag) { f.Variants = flyball.Variants{"on": "yes", "off": false, "no": nil} }, []string{
			"variants.no: not of the flag's type boolean", "variants.on: not of the flag's type boolean",
		}},
		{"a flag without variants serves nothing", func(f *flyball.Flag) { f.Variants = nil }, []string{
			"variants: 0 variants; a flag has 1 to 50", `safeVariant: "off" is not one of the variants`,
		}},
		{"variants have names", func(f *flyball.Flag) { f.Variants = flyball.Variants{"off": false, "": true, "on top": true} }, []string{
			`variants: "" is not a name: 1 to 64 letters, digits, '.', '_' and '-', starting with a letter or digit`,
			`variants: "on top" is not a name: 1 to 64 letters, digits, '.', '_' and '-', starting with a letter or digit`,
		}},
		{"the safe variant is a variant", func(f *flyball.Flag) { f.SafeVariant = "safe" }, []string{`safeVariant: "safe" is not one of the variants`}},
		{"texts are bounded", func(f *flyball.Flag) {
			f.Description, f.Tags = strings.Repeat("x", flyball.MaxTextLen+1), []string{"ok", "", strings.Repeat("t", 65)}
		}, []string{"description: 2001 bytes, at most 2000", "tags[1]: a tag has 1 to 64 bytes", "tags[2]: a tag has 1 to 64 bytes"}},
		{"what a caller sent is repeated only in part", func(f *flyball.Flag) { f.SafeVariant = strings.Repeat("x", 1000) }, []string{
			`safeVariant: "` + strings.Repeat("x", 80) + `…" is not one of the variants`,
		}},
		{"a string is bounded", func(f *flyball.Flag) {
			f.Type, f.SafeVariant, f.Variants = flyball.TypeString, "off", flyball.Variants{"off": "", "long": strings.Repeat("x", flyball.MaxVariantBytes+1)}
		}, []string{"variants.long: more than 65536 bytes as JSON, or none at all"}},
		{"an object is bounded", func(f *flyball.Flag) {
			f.Type, f.Variants = flyball.TypeObject, flyball.Variants{"off": map[string]any{}, "long": []any{strings.Repeat("x", flyball.MaxVariantBytes)}}
		}, []string{"variants.long: more than 65536 bytes as JSON, or none at all"}},
		{"an object can be sent", func(f *flyball.Flag) {
			f.Type, f.Variants = flyball.TypeObject, flyball.Variants{"off": map[string]any{}, "nan": map[string]any{"x": math.NaN()}}
		}, []string{"variants.nan: more than 65536 bytes as JSON, or none at all"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := releaseFlag()
			tt.alter(&f)
			told(t, f.Validate(), tt.want...)
		})
	}
}

func TestAFlagHasAtMostFiftyVariants(t *testing.T) {
	f := releaseFlag()
	for i := range 48 {
		f.Variants[fmt.Sprint("v", i)] = true
	}
	told(t, f.Validate())
	f.Variants["one-more"] = true
	told(t, f.Validate(), "variants: 51 variants; a flag has 1 to 50")
}

func TestWhichKeysAreKeys(t *testing.T) {
	for key, want := range map[string]bool{
		"payments.checkout.new-flow": true, "abc": true, "a_c": true, "0.1": true, strings.Repeat("a", 128): true,
		"ab": false, "": false, strings.Repeat("a", 129): false, "Payments": false, ".abc": false, "abc.": false, "-abc": false,
		"a b": false, "a/b": false, "abc\n": false, "päyments": false, `a"c`: false,
	} {
		f := releaseFlag()
		f.Key = key
		if err := f.Validate(); (err == nil) != want {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestWhichValuesATypeHolds(t *testing.T) {
	for _, tt := range []struct {
		value any
		types []flyball.FlagType
	}{
		{true, []flyball.FlagType{flyball.TypeBoolean}},
		{"on", []flyball.FlagType{flyball.TypeString}},
		{int64(math.MaxInt64), []flyball.FlagType{flyball.TypeInteger, flyball.TypeNumber}},
		{1.5, []flyball.FlagType{flyball.TypeNumber}},
		{1.0, []flyball.FlagType{flyball.TypeNumber}},
		{map[string]any{}, []flyball.FlagType{flyball.TypeObject}},
		{[]any{int64(1)}, []flyball.FlagType{flyball.TypeObject}},
		{math.NaN(), nil},
		{math.Inf(1), nil},
		{nil, nil},
		{42, nil}, // decoding makes int64 of it
	} {
		for _, kind := range []flyball.FlagType{flyball.TypeBoolean, flyball.TypeString, flyball.TypeInteger, flyball.TypeNumber, flyball.TypeObject} {
			f := releaseFlag()
			f.Type, f.Variants, f.SafeVariant = kind, flyball.Variants{"v": tt.value}, "v"
			want := false
			for _, k := range tt.types {
				want = want || k == kind
			}
			if err := f.Validate(); (err == nil) != want {
				t.Errorf("%v (%T) as %s: %v", tt.value, tt.value, kind, err)
			}
		}
	}
}
