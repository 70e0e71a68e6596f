package api_test

import (
	"slices"
	"strings"
	"testing"
)

// What a flag must have before there is one.
func TestAFlagIsWellDefinedOrThereIsNone(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	good := boolean("shop.new.one")
	experiment := good.with("kind", "experiment")
	for name, tt := range map[string]struct {
		in     fields
		blames []string
	}{
		"no key":                      {good.with("key", ""), []string{"key"}},
		"capitals":                    {good.with("key", "shop.New.one"), []string{"key"}},
		"a space":                     {good.with("key", "shop.new one"), []string{"key"}},
		"a dot at the end":            {good.with("key", "shop.new.one."), []string{"key"}},
		"two letters":                 {good.with("key", "ab"), []string{"key"}},
		"a long key":                  {good.with("key", strings.Repeat("x", 129)), []string{"key"}},
		"no owner":                    {good.with("owner", nil), []string{"owner"}},
		"an owner that is none":       {good.with("owner", "nobody"), []string{"owner"}},
		"no kind":                     {good.with("kind", nil), []string{"kind"}},
		"a kind that is none":         {good.with("kind", "temporary"), []string{"kind"}},
		"no safe variant":             {good.with("safeVariant", nil), []string{"safeVariant"}},
		"a safe variant that is none": {good.with("safeVariant", "maybe"), []string{"safeVariant"}},
		"no type":                     {good.with("type", nil), []string{"type"}},
		"no variants":                 {good.with("variants", fields{}), []string{"variants", "safeVariant"}},
		"a release without an end":    {good.with("expiresAt", nil), []string{"expiresAt"}},
		"an experiment without one":   {experiment.with("expiresAt", nil), []string{"expiresAt"}},
		"an end in the past":          {good.with("expiresAt", "2020-01-01"), []string{"expiresAt"}},
		"a long description":          {good.with("description", strings.Repeat("x", 2001)), []string{"description"}},
		"a tier that is none":         {good.with("riskTier", "huge"), []string{"riskTier"}},
	} {
		h.unchanged(func() {
			for _, manner := range []string{"dryRun", "propose", "breakGlass"} {
				h.in(manner, h.admin, "create_flag", tt.in).want(t, 422)
			}
			if got := h.call(h.admin, "create_flag", tt.in).want(t, 422).fields(t); !slices.Equal(got, tt.blames) {
				t.Errorf("%s: it blames %q, want %q", name, got, tt.blames)
			}
		})
	}
	// A kind declares that a flag lives long; the others end.
	for _, kind := range []string{"ops", "permission"} {
		h.must("create_flag", good.with("key", "shop.long."+kind).with("kind", kind).with("expiresAt", nil))
	}
}

// Whether a new flag must be described is for the policy to say.
func TestThePolicyMayAskForDescriptions(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	h.must("create_flag", boolean("shop.before.one"))
	h.must("update_policy", lenient)
	h.unchanged(func() {
		for _, description := range []any{nil, "", " \n"} {
			if got := h.call(h.admin, "create_flag", boolean("shop.new.one").with("description", description)).want(t, 422).fields(t); !slices.Equal(got, []string{"description"}) {
				t.Errorf("it blames %q", got)
			}
		}
		flag := boolean("shop.new.one").with("reason", nil)
		if got := h.call(h.admin, "apply", fields{"flags": []fields{flag}, "reason": "a test"}).want(t, 422).fields(t); !slices.Equal(got, []string{`flags["shop.new.one"].description`}) {
			t.Errorf("of files it blames %q", got)
		}
	})
	h.must("create_flag", boolean("shop.new.one").with("description", "routes checkout"))
	h.must("update_flag", boolean("shop.before.one").with("kind", "ops")) // what is there stays
}
