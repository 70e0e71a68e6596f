package api_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// nested is a condition whose test stands so many levels deep.
func nested(depth int) fields {
	c := country("CA")
	for range depth - 1 {
		c = fields{"not": c}
	}
	return c
}

func split(weights ...any) fields {
	var all []fields
	for i := 0; i < len(weights); i += 2 {
		all = append(all, fields{"variant": weights[i], "ppm": weights[i+1]})
	}
	return fields{"split": fields{"weights": all}}
}

func rule(id string, c, serve fields) fields { return fields{"id": id, "if": c, "serve": serve} }

// Each refusal names the path of each field that is wrong, all at once.
func TestWhatCannotBeServedIsRefusedByThePathOfEachFault(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	news := fields{"variant": "new"}
	configure := func(more fields) fields {
		f := in(search).with("enabled", true).with("default", news)
		for k, v := range more {
			f = f.with(k, v)
		}
		return f
	}
	h.must("configure_flag", in(banner).with("enabled", true).with("default", fields{"variant": "off"}).
		with("prerequisites", []fields{{"flag": search, "variant": "new"}}))
	h.must("create_segment", fields{"key": "inner", "owner": "default", "if": fields{"segment": "testers"}, "reason": "a test"})
	step := func(more ...any) fields {
		f := fields{"ppm": 100_000}
		for i := 0; i < len(more); i += 2 {
			f = f.with(more[i].(string), more[i+1])
		}
		return f
	}
	cases := map[string]struct {
		name   string
		in     fields
		blames []string
	}{
		"weights that do not sum":    {"set_default", in(search).with("default", split("new", 1, "old", 2)), []string{"default.split.weights"}},
		"weights out of range":       {"set_default", in(search).with("default", split("new", -1, "old", 2_000_000)), []string{"default.split.weights[0].ppm", "default.split.weights[1].ppm"}},
		"a weight with a fraction":   {"set_default", in(search).with("default", split("new", 0.5, "old", 1_000_000)), []string{"default.split.weights[0].ppm"}},
		"a variant and a split":      {"set_default", in(search).with("default", half.with("variant", "new")), []string{"default"}},
		"a default that is nothing":  {"set_default", in(search).with("default", fields{}), []string{"default"}},
		"a missing variant":          {"set_default", in(search).with("default", fields{"variant": "newest"}), []string{"default.variant"}},
		"a missing variant, twice":   {"set_default", in(search).with("default", split("x", 500_000, "y", 500_000)), []string{"default.split.weights[0].variant", "default.split.weights[1].variant"}},
		"a missing segment":          {"add_rule", in(search).with("rule", rule("r", fields{"segment": "nobody"}, news)), []string{"rule.if"}},
		"a missing segment, inside":  {"add_rule", in(search).with("rule", rule("r", fields{"any": []fields{{"not": fields{"segment": "nobody"}}}}, news)), []string{"rule.if"}},
		"a rule that is there":       {"add_rule", in(search).with("rule", rule("staff", country("FR"), news)), []string{"rule.id"}},
		"a condition six deep":       {"add_rule", in(search).with("rule", rule("r", nested(6), news)), []string{"rule.if.not.not.not.not.not"}},
		"a condition forty deep":     {"add_rule", in(search).with("rule", rule("r", nested(40), news)), []string{"rule.if.not.not.not.not.not"}},
		"a condition of two forms":   {"add_rule", in(search).with("rule", rule("r", country("CA").with("segment", "testers"), news)), []string{"rule.if"}},
		"a condition of no form":     {"add_rule", in(search).with("rule", rule("r", fields{}, news)), []string{"rule.if"}},
		"an operator that is none":   {"add_rule", in(search).with("rule", rule("r", country("CA").with("op", "is"), news)), []string{"rule.if.op"}},
		"values of the wrong type":   {"add_rule", in(search).with("rule", rule("r", country("CA").with("op", "lt"), news)), []string{"rule.if.values[0]"}},
		"a pattern that explodes":    {"add_rule", in(search).with("rule", rule("r", country("(((a{100}){100}){100})").with("op", "matches"), news)), []string{"rule.if.values[0]"}},
		"a time that is none":        {"add_rule", in(search).with("rule", rule("r", country("CA"), news).with("notBefore", "tomorrow")), []string{"rule.notBefore"}},
		"dates in the wrong order":   {"add_rule", in(search).with("rule", rule("r", country("CA"), news).with("notBefore", "2027-02-01").with("notAfter", "2026-02-01")), []string{"rule.notAfter"}},
		"a rule of another id":       {"update_rule", in(search).with("id", "staff").with("rule", rule("others", country("FR"), news)), []string{"rule.id"}},
		"a rule before nothing":      {"move_rule", in(search).with("id", "staff").with("before", "staff"), nil},
		"a prerequisite of itself":   {"configure_flag", configure(fields{"prerequisites": []fields{{"flag": search, "variant": "new"}}}), []string{"prerequisites[0].flag"}},
		"a cycle of prerequisites":   {"configure_flag", configure(fields{"prerequisites": []fields{{"flag": banner, "variant": "on"}}}), nil},
		"missing prerequisites":      {"configure_flag", configure(fields{"prerequisites": []fields{{"flag": "nobody-made-it", "variant": "on"}, {"flag": killed, "variant": "blue"}}}), []string{"prerequisites[0].flag", "prerequisites[1].variant"}},
		"a share with an exponent":   {"set_default", in(search).with("default", fields{"split": fields{"weights": []fields{{"variant": "new", "ppm": json.RawMessage("1e6")}}}}), []string{"default.split.weights.ppm"}},
		"a missing off variant":      {"configure_flag", configure(fields{"offVariant": "none"}), []string{"offVariant"}},
		"much at once":               {"configure_flag", configure(fields{"offVariant": "none", "default": fields{"variant": "newest"}, "rules": []fields{rule("a b", nested(6), split("new", 1))}}), []string{"default.variant", "offVariant", "rules[0].id", "rules[0].if.not.not.not.not.not", "rules[0].serve.split.weights"}},
		"misfits at once":            {"configure_flag", configure(fields{"enabled": "yes", "default": fields{"variant": 7}, "rules": []fields{rule("r", country("CA"), news).with("notAfter", "soon").with("colour", 1)}}), []string{"default.variant", "enabled", "rules[0].colour", "rules[0].notAfter"}},
		"a cycle of segments":        {"update_segment", fields{"key": "testers", "owner": "default", "if": fields{"segment": "inner"}, "reason": "a test"}, nil},
		"a segment of nobody's":      {"create_segment", fields{"key": "others", "owner": "nobody", "reason": "a test"}, []string{"owner"}},
		"a targeting key too long":   {"create_segment", fields{"key": "others", "owner": "default", "include": []string{"a", strings.Repeat("x", 1025)}, "reason": "a test"}, []string{"include[1]"}},
		"a flag of nothing":          {"create_flag", fields{"reason": "a test"}, []string{"key", "kind", "owner", "safeVariant", "type", "variants"}},
		"a flag all wrong":           {"create_flag", boolean("X").with("owner", "").with("expiresAt", nil).with("safeVariant", "maybe").with("variants", fields{"on": 1, "a b": true}), []string{"expiresAt", "key", "owner", "safeVariant", "variants", "variants.on"}},
		"a flag of nobody's":         {"create_flag", boolean("shop.new.one").with("owner", "nobody"), []string{"owner"}},
		"an expiry that is none":     {"create_flag", boolean("shop.new.one").with("expiresAt", "2027-13-45"), []string{"expiresAt"}},
		"an expiry that is a number": {"create_flag", boolean("shop.new.one").with("expiresAt", 1.8e9), []string{"expiresAt"}},
		"a variant nested deep":      {"create_flag", boolean("shop.new.one").with("type", "object").with("variants", fields{"on": deep(70), "off": fields{}}), []string{}},
		"a type that changes":        {"update_flag", boolean(search).with("variants", fields{"old": true, "new": true, "other": false}).with("safeVariant", "old"), []string{"type"}},
		"a variant that is served":   {"update_flag", fields{"key": search, "kind": "ops", "owner": "default", "type": "string", "safeVariant": "old", "variants": fields{"old": "old", "other": "x"}, "reason": "a test"}, []string{"default.split.weights[0].variant", `flags["site.banner.text"].prerequisites[0].variant`, "rules[0].serve.variant"}},
		"a hold that is none":        {"start_rollout", plan(fast).with("steps", []fields{step("hold", "5 minutes"), step("hold", 5), step("hold", "-5m")}), []string{"steps[0].hold", "steps[1].hold", "steps[2].hold"}},
		"steps that do not rise":     {"start_rollout", plan(fast).with("steps", []fields{step(), step(), step("gates", []fields{{}})}), []string{"steps[1].ppm", "steps[2].gates[0]", "steps[2].ppm"}},
		"a plan of nothing":          {"start_rollout", fields{"reason": "a test"}, []string{"control", "environment", "flag", "steps", "treatment"}},
		"a metric that is missing":   {"start_rollout", plan(fast).with("environment", "staging").with("guardrails", []fields{{"metric": "shop.nothing"}}), []string{"guardrails"}},
		"a metric that is none":      {"create_metric", fields{"key": "shop.p99", "type": "quantile", "better": "smaller", "window": "soon", "reason": "a test"}, []string{"better", "window"}},
		"a quantile of none":         {"create_metric", fields{"key": "shop.p99", "type": "quantile", "better": "lower", "window": "3000h", "reason": "a test"}, []string{"quantile", "window"}},
		"an agent of nobody's":       {"create_token", fields{"kind": "agent", "name": "bot", "actor": "user:ann", "envelope": wide, "reason": "a test"}, []string{"actor"}},
		"an agent without envelope":  {"create_token", fields{"kind": "agent", "name": "bot", "actor": "agent:bot", "onBehalfOf": "user:ann", "reason": "a test"}, []string{"envelope"}},
		"an envelope out of bounds":  {"create_token", fields{"kind": "agent", "name": "bot", "actor": "agent:bot", "onBehalfOf": "user:ann", "envelope": fields{"flags": []string{}, "environments": []string{"production"}, "maxPpm": 2_000_000, "maxRiskTier": "low", "maxConcurrentRollouts": 0, "changesPerHour": 1}, "reason": "a test"}, []string{"envelope.flags", "envelope.maxPpm"}},
		"an envelope of a person":    {"create_token", fields{"kind": "api", "name": "bot", "envelope": wide, "reason": "a test"}, []string{"envelope"}},
		"an agent for a year":        {"create_token", fields{"kind": "agent", "name": "bot", "actor": "agent:bot", "onBehalfOf": "user:ann", "envelope": wide, "expiresAt": "2099-01-01", "reason": "a test"}, []string{"expiresAt"}},
		"an actor too long":          {"create_token", fields{"kind": "api", "name": "x", "actor": "user:" + strings.Repeat("x", 10_000), "reason": "a test"}, []string{"actor"}},
		"an sdk token of nothing":    {"create_token", fields{"kind": "sdk", "name": "x", "reason": "a test"}, []string{"environment"}},
		"a token of globs":           {"create_token", fields{"kind": "api", "name": "x", "flags": []string{"shop.[", "a/b"}, "expiresAt": "2020-01-01", "reason": "a test"}, []string{"expiresAt", "flags", "flags"}},
		"an environment with a name": {"create_environment", fields{"key": "My Environment", "reason": "a test"}, []string{"key"}},
		"files with faults":          {"apply", fields{"reason": "a test", "segments": []fields{{"key": "x", "owner": ""}}, "flags": []fields{boolean("shop.new.one").with("reason", nil).with("safeVariant", "none")}}, []string{`flags["shop.new.one"].safeVariant`, `segments["x"].key`, `segments["x"].owner`}},
		"files that fail midway":     {"apply", fields{"reason": "a test", "teams": []fields{{"key": "growth"}}, "flags": []fields{boolean("shop.new.one").with("reason", nil).with("environments", fields{"production": fields{"enabled": true, "default": fields{"variant": "blue"}}})}}, []string{`flags["shop.new.one"].environments["production"].default.variant`}},
		"the path and the body":      {"evaluate", fields{"key": search, "environment": "production", "context": 5}, []string{"context"}},
		"a targeting key of numbers": {"evaluate", fields{"key": search, "environment": "production", "context": fields{"targetingKey": 7}}, []string{"context.targetingKey"}},
		"a webhook all wrong":        {"create_webhook", fields{"key": "A B", "kind": "slack", "url": "http://x", "secret": "s", "flags": []string{"["}, "reason": "a test"}, []string{"flags[0]", "key", "secret", "url"}},
		"a webhook of no kind":       {"create_webhook", fields{"key": "alerts", "kind": "pager", "reason": "a test"}, []string{"kind"}},
		"a webhook of nowhere":       {"create_webhook", fields{"key": "alerts", "kind": "generic", "url": "http://x.example", "environments": []string{"nowhere"}, "reason": "a test"}, []string{"environments[0]"}},
		"an entry that is none":      {"redeliver", fields{"key": "ops", "seq": "latest", "reason": "a test"}, []string{"seq"}},
		"a state that is none":       {"list_deliveries", fields{"state": "lost"}, []string{"state"}},
		"an instance of no name":     {"forget_instance", fields{"environment": "production", "instance": "", "reason": "a test"}, []string{"instance"}},
		"an instance of a long name": {"forget_instance", fields{"environment": "production", "instance": strings.Repeat("x", 5000), "reason": "a test"}, []string{"instance"}},
		"a list out of bounds":       {"list_audit", fields{"limit": "many", "after": "-1"}, []string{"limit"}},
		"a limit out of bounds":      {"list_audit", fields{"limit": 1_000_000, "after": -1}, []string{"after", "limit"}},
		"a switch that is none":      {"list_flags", fields{"archived": "perhaps"}, []string{"archived"}},
	}
	for what, c := range cases {
		h.unchanged(func() {
			r := h.call(h.admin, c.name, c.in)
			if r.StatusCode != 422 && c.blames != nil || r.StatusCode/100 == 2 || r.StatusCode/100 == 5 {
				t.Errorf("%s: %d: %.600s", what, r.StatusCode, r.body)
				return
			}
			got := r.fields(t)
			slices.Sort(got)
			if c.blames != nil && !slices.Equal(got, c.blames) {
				t.Errorf("%s: it blames\n\t%q, want\n\t%q: %.600s", what, got, c.blames, r.body)
			}
		})
		if strings.Contains(what, "cycle") {
			if p := h.call(h.admin, c.name, c.in).problem(t); !strings.Contains(p.Detail, "cycle") {
				t.Errorf("%s: %s", what, p.Detail)
			}
		}
	}
}

// deep is a value of so many levels.
func deep(levels int) any {
	var v any = 1
	for range levels {
		v = []any{v}
	}
	return fields{"deep": v}
}

func TestAFieldThatStandsTwiceMustBeTheSame(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	const path = "/api/v1/environments/production/flags/" + search + "/default"
	same := `{"key":%q,"reason":"a test","default":{"variant":"new"}}`
	h.unchanged(func() {
		r := h.send("PUT", path, h.admin, fmt.Sprintf(same, banner)).want(t, 422)
		if got := r.fields(t); !slices.Equal(got, []string{"key"}) {
			t.Errorf("it blames %q", got)
		}
		r = h.send("GET", "/api/v1/flags/"+search+"?key="+banner, h.admin, "").want(t, 422)
		if got := r.fields(t); !slices.Equal(got, []string{"key"}) {
			t.Errorf("it blames %q", got)
		}
	})
	h.send("PUT", path, h.admin, fmt.Sprintf(same, search)).want(t, 200)
	// One spelling only: the last of two would otherwise win.
	h.unchanged(func() {
		h.send("PUT", path, h.admin, `{"reason":"a test","default":{"variant":"old"},"DEFAULT":{"variant":"new"}}`).want(t, 422)
	})
}

func TestTheServeUnderALiveRolloutStandsStill(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	for name, f := range map[string]fields{
		"set_default":    in(fast).with("default", fields{"variant": "on"}),
		"configure_flag": in(fast).with("enabled", true).with("default", fields{"variant": "on"}),
		"start_rollout":  plan(fast),
		"archive_flag":   {"key": fast, "reason": "a test"},
		"update_metric":  {"key": "shop.errors", "type": "mean", "better": "lower", "reason": "a test"},
	} {
		h.unchanged(func() {
			p := h.call(h.admin, name, f).want(t, 409).problem(t)
			if p.Details["rollout"] == nil {
				t.Errorf("%s: the conflict does not name the rollout: %v", name, p)
			}
		})
	}
}
