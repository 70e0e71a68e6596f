package api_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/rollout"
	"github.com/flyballdev/flyball/internal/store"
)

// The names in a furnished house.
const (
	fast   = "shop.checkout.fast" // live in production, with a rollout
	search = "shop.search.new"    // of strings; split in production
	banner = "site.banner.text"   // seen by clients
	killed = "shop.killed.one"
	gone   = "shop.old.path" // archived
)

// template is the database of a furnished house, made once and copied.
var template struct {
	sync.Once
	data  []byte
	admin string
}

// furnished is a house with something of everything, on a database of its own.
func furnished(t testing.TB, options ...option) *house {
	t.Helper()
	template.Do(func() {
		path := filepath.Join(t.TempDir(), "template.db")
		h := open(t, onDatabase(path))
		furnish(h)
		h.end()
		template.admin = h.admin
		var err error
		if template.data, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	})
	path := filepath.Join(t.TempDir(), "flyball.db")
	if err := os.WriteFile(path, template.data, 0o600); err != nil {
		t.Fatal(err)
	}
	return open(t, append([]option{onDatabase(path), func(s *settings) { s.admin = template.admin }}, options...)...)
}

func furnish(h *house) {
	h.t.Helper()
	h.must("create_environment", fields{"key": "staging", "reason": "a place to rehearse"})
	h.must("create_team", fields{"key": "payments", "name": "Payments", "reason": "it owns checkout"})
	h.must("create_segment", fields{"key": "testers", "owner": "default", "include": []string{"tester-1"}, "reason": "a test"})
	for _, key := range []string{fast, killed, gone} {
		h.must("create_flag", boolean(key))
		h.must("enable_flag", in(key))
	}
	h.must("create_flag", fields{
		"key": search, "kind": "ops", "owner": "default", "type": "string", "safeVariant": "old",
		"variants": fields{"old": "old", "new": "new", "other": "other"}, "reason": "a test",
	})
	h.must("create_flag", boolean(banner).with("clientVisible", true))
	h.must("configure_flag", in(search).with("enabled", true).with("default", half).with("rules", []fields{
		{"id": "staff", "if": fields{"segment": "testers"}, "serve": fields{"variant": "new"}},
		{"id": "canada", "if": country("CA"), "serve": fields{"variant": "other"}},
	}))
	h.must("enable_flag", in(fast).with("environment", "staging"))
	h.must("kill_flag", in(killed))
	h.must("archive_flag", fields{"key": gone, "reason": "the old path is gone"})
	h.must("create_metric", fields{"key": "shop.errors", "type": "rate", "better": "lower", "reason": "a test"})
	h.must("create_metric", fields{"key": "shop.sales", "type": "rate", "better": "higher", "reason": "a test"})
	h.must("start_rollout", plan(fast))
	h.must("create_user", fields{"id": "kim", "name": "Kim", "email": "kim@example.com", "grants": []fields{{"role": "editor", "team": "payments"}}, "reason": "a test"})
	h.must("create_webhook", fields{"key": "ops", "kind": "generic", "url": "http://127.0.0.1:1/hush-path", "secret": "hush-hush-hush-hush", "flags": []string{"shop.*"}, "reason": "a test"})
	err := h.db.Update(h.t.Context(), func(tx *store.Tx) error { return tx.QueueDelivery("ops", 1, time.Now()) })
	if err != nil {
		h.t.Fatal(err)
	}
}

var half = fields{"split": fields{"weights": []fields{{"variant": "new", "ppm": 500_000}, {"variant": "old", "ppm": 500_000}}}}

func country(code string) fields {
	return fields{"attribute": "country", "op": "in", "values": []string{code}}
}

// in names a flag in production.
func in(key string) fields {
	return fields{"key": key, "environment": "production", "reason": "a test"}
}

func boolean(key string) fields {
	return fields{
		"key": key, "kind": "release", "owner": "default", "type": "boolean", "safeVariant": "off",
		"variants": fields{"on": true, "off": false}, "reason": "a test",
		"expiresAt": time.Now().AddDate(0, 1, 0).Format(time.DateOnly),
	}
}

func plan(flag string) fields {
	return fields{
		"flag": flag, "environment": "production", "treatment": "on", "control": "off", "reason": "ship it",
		"steps":      []fields{{"ppm": 100_000, "hold": "10m", "gates": []fields{{"agent": "bot"}}}, {"ppm": 1_000_000}},
		"guardrails": []fields{{"metric": "shop.errors", "margin": fields{"relative": 0.05}}},
	}
}

// A useCase is a capability, used rightly in a furnished house.
type useCase struct {
	in      fields
	token   string         // who uses it, in place of the admin
	bumps   state          // by how much versions and the audit log rise
	want    map[string]any // parts of the answer
	action  string         // what the audit log calls it
	version string         // of ifVersion: what to read for the version in force
}

// useCases has a right use of each capability.
func useCases(h *house) map[string]useCase {
	one := state{Production: 1, Audit: 1}
	audited := state{Audit: 1}
	everywhere := state{Production: 1, Development: 1, Staging: 1, Audit: 3}
	return map[string]useCase{
		"create_flag": {in: boolean("shop.new.one"), bumps: everywhere, action: "flag.create",
			want: map[string]any{"state": "active", "version": 1.0, "riskTier": "medium", "environments.staging.enabled": false, "environments.staging.default.variant": "off"}},
		"list_flags": {in: fields{"owner": "default", "query": "search"},
			want: map[string]any{"flags.#": 1.0, "flags.0.key": search, "flags.0.environments.production.rules.#": 2.0}},
		"get_flag": {in: fields{"key": fast}, want: map[string]any{"key": fast, "environments.production.rollout.ppm": 100_000.0}},
		"update_flag": {in: fields{
			"key": search, "kind": "ops", "owner": "payments", "type": "string", "safeVariant": "new",
			"variants": fields{"old": "old", "new": "newer", "other": "other"}, "reason": "a test",
		}, bumps: everywhere, action: "flag.update", version: "version",
			want: map[string]any{"owner": "payments", "version": 2.0, "variants.new": "newer"}},
		"archive_flag": {in: fields{"key": search, "reason": "its time is over"}, bumps: everywhere, action: "flag.archive",
			want: map[string]any{"state": "archived", "archivedWhy": "its time is over", "archivedBy": "user:admin"}},
		"kill_flag": {in: in(fast), bumps: one, action: "flag.kill", version: "environments/production/version",
			want: map[string]any{"changed": true, "killed.reason": "a test", "killed.by": "user:admin", "rollout": nil}},
		"resume_flag": {in: in(killed), bumps: one, action: "flag.resume", version: "environments/production/version",
			want: map[string]any{"changed": true, "killed": nil, "enabled": true}},
		"enable_flag": {in: in(banner), bumps: one, action: "flag.enable", version: "environments/production/version",
			want: map[string]any{"changed": true, "enabled": true, "environment": "production"}},
		"disable_flag": {in: in(search), bumps: one, action: "flag.disable", version: "environments/production/version",
			want: map[string]any{"changed": true, "enabled": false}},
		"set_default": {in: in(search).with("default", fields{"variant": "new"}), bumps: one, action: "flag.default", version: "environments/production/version",
			want: map[string]any{"default.variant": "new", "default.split": nil}},
		"configure_flag": {in: in(search).with("enabled", true).with("default", fields{"variant": "old"}), bumps: one, action: "flag.configure", version: "environments/production/version",
			want: map[string]any{"rules": nil, "default.variant": "old", "offVariant": "old"}},
		"list_rules": {in: fields{"key": search, "environment": "production"}, want: map[string]any{"rules.#": 2.0, "rules.1.id": "canada"}},
		"add_rule": {in: in(search).with("before", "canada").with("rule", fields{"id": "france", "if": country("FR"), "serve": half}), bumps: one, action: "rule.add", version: "environments/production/version",
			want: map[string]any{"rules.1.id": "france", "rules.#": 3.0}},
		"update_rule": {in: in(search).with("id", "staff").with("rule", fields{"id": "staff", "if": country("FR"), "serve": half, "notBefore": "2026-11-21T19:00:00+02:00"}), bumps: one, action: "rule.update", version: "environments/production/version",
			want: map[string]any{"rules.0.if.attribute": "country", "rules.0.notBefore": "2026-11-21T17:00:00Z"}},
		"move_rule": {in: in(search).with("id", "staff"), bumps: one, action: "rule.move", version: "environments/production/version",
			want: map[string]any{"rules.0.id": "canada", "rules.1.id": "staff"}},
		"remove_rule": {in: in(search).with("id", "staff"), bumps: one, action: "rule.remove", version: "environments/production/version",
			want: map[string]any{"rules.0.id": "canada", "rules.#": 1.0}},
		"create_segment": {in: fields{"key": "friends", "owner": "default", "if": country("FR"), "reason": "a test"}, bumps: audited, action: "segment.create",
			want: map[string]any{"key": "friends", "version": 1.0}},
		"list_segments": {in: fields{}, want: map[string]any{"segments.#": 1.0, "segments.0.key": "testers"}},
		"get_segment":   {in: fields{"key": "testers"}, want: map[string]any{"include.0": "tester-1"}},
		"update_segment": {in: fields{"key": "testers", "owner": "default", "include": []string{"tester-2"}, "reason": "a test"}, bumps: one, action: "segment.update", version: "version",
			want: map[string]any{"include.0": "tester-2", "version": 2.0}},
		"create_metric": {in: fields{"key": "shop.latency", "type": "mean", "better": "lower", "unit": "ms", "reason": "a test"}, bumps: audited, action: "metric.create",
			want: map[string]any{"of.observation": "shop.latency", "window": "30m", "version": 1.0}},
		"list_metrics": {in: fields{}, want: map[string]any{"metrics.#": 2.0, "metrics.0.key": "shop.errors"}},
		"get_metric":   {in: fields{"key": "shop.sales"}, want: map[string]any{"better": "higher"}},
		"update_metric": {in: fields{"key": "shop.sales", "type": "rate", "better": "higher", "window": "10m", "reason": "a test"}, bumps: audited, action: "metric.update", version: "version",
			want: map[string]any{"window": "10m", "version": 2.0}},
		"start_rollout": {in: plan(fast).with("environment", "staging"), bumps: state{Staging: 1, Audit: 1}, action: "rollout.start",
			want: map[string]any{"state": "running", "at": 0.0, "steps.1.hold": "5m", "alpha": 0.01, "startedBy": "user:admin"}},
		"expose": {in: in(search).with("environment", "staging").with("treatment", "new").with("ppm", 1000).with("for", "2m").with("if", country("CA")), bumps: state{Staging: 1, Audit: 1}, action: "rollout.start", version: "environments/staging/version",
			want: map[string]any{"state": "running", "then": "off", "steps.0.lease": "2m", "steps.0.ppm": 1000.0, "control": "old"}},
		"list_work":       {in: fields{"why": "expired"}, want: map[string]any{"work.#": 0.0}},
		"list_agents":     {in: fields{}, want: map[string]any{"agents.#": 2.0, "agents.0.actor": "agent:bot", "agents.0.envelope.maxPpm": 1_000_000.0, "agents.0.used.liveRollouts": 0.0, "frozen": nil}, token: h.agent()},
		"freeze_agents":   {in: fields{"reason": "something is odd"}, bumps: audited, action: "agents.freeze", want: map[string]any{"frozen.by": "user:admin", "frozen.reason": "something is odd"}},
		"unfreeze_agents": {in: fields{"reason": "all is well"}, want: map[string]any{"frozen": nil}},
		"plan_rollout": {in: plan(fast).with("environment", "staging").with("reason", nil).with("traffic", fields{"unitsPerDay": 100_000}),
			want: map[string]any{"ladder.#": 2.0, "ladder.0.ppm": 100_000.0, "ladder.0.guardrails.0.metric": "shop.errors", "traffic.0.from": "given", "alpha": 0.01}},
		"list_rollouts": {in: fields{"live": true, "flag": fast}, want: map[string]any{"rollouts.#": 1.0, "rollouts.0.flag": fast}},
		"get_rollout":   {in: fields{"id": fast}, want: map[string]any{"state": "running", "environment": "production"}},
		"get_evidence":  {in: fields{"id": fast}, want: map[string]any{"flag": fast, "state": "running", "step": 0.0, "ppm": 100_000.0}},
		"await_rollout": {in: fields{"id": fast, "for": "verdict", "timeout": "10ms"},
			want: map[string]any{"done": false, "outcome": "unsure", "step": 0.0, "rollout.flag": fast}},
		"step_back_rollout": {in: fields{"id": h.climbed(), "reason": "latency looks odd"}, bumps: state{Development: 1, Audit: 1}, action: "rollout.stepBack",
			want: map[string]any{"state": "paused", "at": 0.0, "why": "latency looks odd", "steppedBack": true}},
		"pause_rollout": {in: fields{"id": fast, "reason": "a test"}, bumps: audited, action: "rollout.pause",
			want: map[string]any{"state": "paused", "why": "a test"}},
		"resume_rollout": {in: fields{"id": fast, "reason": "a test"}, action: "rollout.resume",
			want: map[string]any{"state": "running"}},
		"abort_rollout": {in: fields{"id": fast, "reason": "support calls"}, bumps: one, action: "rollout.abort",
			want: map[string]any{"state": "aborted", "why": "support calls"}},
		"pass_gate": {in: fields{"id": fast, "gate": 0, "reason": "looked at the dashboards"}, token: h.agent(), bumps: audited, action: "rollout.pass",
			want: map[string]any{"passed.0.by": "agent:bot", "passed.0.gate": 0.0}},
		"evaluate": {in: fields{"key": search, "environment": "production", "context": fields{"targetingKey": "tester-1"}},
			want: map[string]any{"value": "new", "variant": "new", "reason": "TARGETING_MATCH", "rule": "staff"}},
		"list_changes": {in: fields{"limit": 1}, want: map[string]any{"changes.#": 1.0, "changes.0.id": h.broken(), "changes.0.state": "review"}},
		"get_change":   {in: fields{"id": h.proposed()}, want: map[string]any{"state": "open", "operation": "set_default", "flag": search, "proposer.id": "user:ann", "input.default.variant": "new"}},
		"approve_change": {in: fields{"id": h.proposed(), "reason": "as expected"}, bumps: audited, action: "change.approve",
			want: map[string]any{"state": "open", "approvals.0.by": "user:admin", "approvals.0.reason": "as expected"}},
		"reject_change": {in: fields{"id": h.proposed(), "reason": "after the holidays"}, bumps: audited, action: "change.reject",
			want: map[string]any{"state": "rejected", "rejectedBy": "user:admin", "rejectedAs": "after the holidays"}},
		"review_change": {in: fields{"id": h.broken(), "reason": "it was right"}, bumps: audited, action: "change.review",
			want: map[string]any{"state": "applied", "approvals.0.by": "user:admin"}},
		"get_policy": {in: fields{}, want: map[string]any{"approvals.high.direct": 2.0, "approvals.low.direct": 0.0, "approvalTTL": "24h", "requireDescription": nil}},
		"update_policy": {in: lenient, bumps: audited, action: "policy.update",
			want: map[string]any{"approvals.high.direct": 0.0, "approvalTTL": "1h", "requireDescription": true}},
		"list_audit": {in: fields{"subject": gone, "environment": "production", "limit": 1},
			want: map[string]any{"entries.#": 1.0, "entries.0.action": "flag.archive", "entries.0.reason": "the old path is gone"}},
		"verify_audit":     {in: fields{"after": 2, "limit": 3}, want: map[string]any{"intact": true, "entries": 3.0, "seq": 5.0, "more": true}},
		"checkpoint_audit": {in: fields{}, want: map[string]any{"installation": h.must("get_audit_key", fields{}).read(h.t, "installation"), "key": h.must("get_audit_key", fields{}).read(h.t, "id")}},
		"get_audit_key":    {in: fields{}, want: map[string]any{"installation": h.must("checkpoint_audit", fields{}).read(h.t, "installation"), "id": h.must("checkpoint_audit", fields{}).read(h.t, "key")}},
		"explain_flag": {in: fields{"key": search, "environment": "production", "unit": "tester-1"},
			want: map[string]any{"value": "new", "rule": "staff", "enabled": true, "changed.action": "flag.configure", "changed.actor.id": "user:admin", "bucket": nil}},
		"revert_flag": {in: in(search).with("to", 7), bumps: one, action: "flag.revert", version: "environments/production/version",
			want: map[string]any{"changed": true, "rules": nil, "enabled": false, "default.variant": "old"}},
		"get_fleet": {in: fields{"environment": "production"}, want: map[string]any{"environments.#": 1.0, "environments.0.instances": 0.0, "environments.0.environment": "production"}},
		"forget_instance": {in: fields{"environment": "production", "instance": "instance-1", "reason": "the node was taken down"}, bumps: audited, action: "fleet.forget",
			want: map[string]any{"environments.0.environment": "production"}},
		"list_unknown_flags": {in: fields{}, want: map[string]any{"unknown.#": 0.0}},
		"export_flagd":       {in: fields{"environment": "production"}, want: map[string]any{"skipped.#": 0.0, "document.metadata.flagSetId": "production"}},
		"export":             {in: fields{}, want: map[string]any{"flags.#": 4.0, "flags.0.key": fast, "metrics.#": 2.0, "segments.0.key": "testers"}},
		"apply": {in: fields{"flags": []fields{boolean("shop.new.one").with("reason", nil)}, "reason": "a test"}, bumps: everywhere, action: "apply",
			want: map[string]any{"changed": true, "versions.development": 10.0}},
		"create_environment": {in: fields{"key": "test-bed", "reason": "a test"}, bumps: audited, action: "environment.create",
			want: map[string]any{"key": "test-bed", "protected": false, "version": 1.0}},
		"list_environments": {in: fields{}, want: map[string]any{"environments.#": 3.0, "environments.1.protected": true}},
		"get_environment":   {in: fields{"key": "production"}, want: map[string]any{"protected": true}},
		"update_environment": {in: fields{"key": "staging", "protected": true, "reason": "customers use it"}, bumps: audited, action: "environment.update",
			want: map[string]any{"protected": true}},
		"create_team": {in: fields{"key": "growth", "contact": "#growth", "reason": "a test"}, bumps: audited, action: "team.create",
			want: map[string]any{"key": "growth", "contact": "#growth"}},
		"list_teams": {in: fields{}, want: map[string]any{"teams.#": 2.0, "teams.0.key": "default", "teams.1.version": 1.0}},
		"get_team":   {in: fields{"key": "payments"}, want: map[string]any{"key": "payments", "version": 1.0}},
		"update_team": {in: fields{"key": "payments", "name": "Payments and more", "reason": "a test"}, bumps: audited, action: "team.update", version: "version",
			want: map[string]any{"name": "Payments and more", "version": 2.0}},
		"create_token": {in: fields{"kind": "sdk", "name": "checkout", "environment": "production", "flags": []string{"shop.*"}, "expiresAt": "2099-01-01", "reason": "a test"}, bumps: audited, action: "token.create",
			want: map[string]any{"kind": "sdk", "environment": "production", "flags.0": "shop.*", "expiresAt": "2099-01-02T00:00:00Z"}},
		"list_tokens": {in: fields{}, want: map[string]any{"tokens.0.name": "first admin"}},
		"revoke_token": {in: fields{"id": h.spare(), "reason": "it leaked"}, bumps: audited, action: "token.revoke",
			want: map[string]any{"name": "spare"}},
		"create_user": {in: fields{"id": "lee", "grants": []fields{{"role": "approver", "environment": "production"}}, "reason": "a test"}, bumps: audited, action: "user.create",
			want: map[string]any{"id": "user:lee", "grants.0.role": "approver", "version": 1.0}},
		"list_users": {in: fields{}, want: map[string]any{"users.#": 1.0, "users.0.id": "user:kim"}},
		"get_user":   {in: fields{"id": "kim"}, want: map[string]any{"id": "user:kim", "name": "Kim", "grants.0.team": "payments", "disabled": nil}},
		"update_user": {in: fields{"id": "kim", "name": "Kim K", "grants": []fields{{"role": "admin"}}, "reason": "a test"}, bumps: audited, action: "user.update", version: "version",
			want: map[string]any{"name": "Kim K", "email": nil, "grants.0.role": "admin", "version": 2.0}},
		"disable_user": {in: fields{"id": "kim", "reason": "a test"}, bumps: audited, action: "user.disable",
			want: map[string]any{"disabled": true, "version": 2.0}},
		"set_password": {in: fields{"id": "kim", "link": true, "reason": "a test"}, bumps: audited, action: "user.link",
			want: map[string]any{"changed": false, "password": nil}},
		"create_webhook": {in: fields{"key": "alerts", "kind": "slack", "url": "https://hooks.slack.com/services/T/B/hush", "environments": []string{"production"}, "actions": []string{"rollout.*"}, "reason": "a test"}, bumps: audited, action: "webhook.create",
			want: map[string]any{"key": "alerts", "host": "hooks.slack.com", "enabled": true, "signed": false, "version": 1.0, "targetSet": 1.0, "url": nil, "secret": nil}},
		"list_webhooks": {in: fields{}, want: map[string]any{"webhooks.#": 1.0, "webhooks.0.host": "127.0.0.1:1", "webhooks.0.pending": 1.0, "webhooks.0.signed": true}},
		"get_webhook":   {in: fields{"key": "ops"}, want: map[string]any{"flags.0": "shop.*", "kind": "generic"}},
		"update_webhook": {in: fields{"key": "ops", "kind": "generic", "url": "http://127.0.0.1:1/another", "enabled": false, "reason": "a test"}, bumps: audited, action: "webhook.update", version: "version",
			want: map[string]any{"enabled": false, "signed": true, "flags": nil, "version": 2.0, "targetSet": 2.0}},
		"delete_webhook": {in: fields{"key": "ops", "reason": "the channel is closed"}, bumps: audited, action: "webhook.delete",
			want: map[string]any{"changed": true}},
		"test_webhook": {in: fields{"key": "ops", "reason": "a test"}, bumps: audited, action: "webhook.test",
			want: map[string]any{"delivered": false}},
		"list_deliveries": {in: fields{"webhook": "ops", "state": "pending"}, want: map[string]any{"deliveries.#": 1.0, "deliveries.0.seq": 1.0, "deliveries.0.attempts": 0.0}},
		"redeliver": {in: fields{"key": "ops", "seq": 1, "reason": "the receiver is back"}, bumps: audited, action: "webhook.redeliver",
			want: map[string]any{"state": "pending", "webhook": "ops"}},
	}
}

// lenient is a policy under which nothing needs approval.
var lenient = fields{
	"approvals":   fields{"none": none, "low": none, "medium": none, "high": none},
	"approvalTTL": "1h", "requireDescription": true, "reason": "a test",
}

var none = fields{"direct": 0, "staged": 0}

// ann returns the token of a person who is not the admin.
func (h *house) ann() string {
	if h.person == "" {
		h.person = h.token(fields{"kind": "api", "name": "ann", "actor": "user:ann"})
	}
	return h.person
}

// proposed returns the id of a change that ann proposed.
func (h *house) proposed() string {
	if h.proposal == "" {
		h.proposal = h.in("propose", h.ann(), "set_default", in(search).with("default", fields{"variant": "new"})).want(h.t, 201).read(h.t, "id").(string)
	}
	return h.proposal
}

// broken returns the id of a change that ann made by breaking the glass.
func (h *house) broken() string {
	if h.review == "" {
		h.review = "0123456789ab"
		r := flyball.ChangeRequest{
			ID: h.review, Operation: "flag.enable", Flag: banner, Proposer: flyball.Actor{ID: "user:ann"}, Reason: "a test", CreatedAt: time.Now().UTC(), ExpiresAt: time.Now().UTC(), State: flyball.RequestReview,
			Plan: flyball.Plan{Action: "flag.enable", Subject: banner, Digest: "d", Needs: flyball.Approvals{Number: 1, From: []flyball.Grant{{Role: flyball.RoleApprover, Environment: "production", Team: "default"}}}},
		}
		if err := h.db.Update(h.t.Context(), func(tx *store.Tx) error { return tx.InsertChangeRequest(r) }); err != nil {
			h.t.Fatal(err)
		}
	}
	return h.review
}

// agent returns the token of the agent that the rollout's gate names.
func (h *house) agent() string {
	return h.token(fields{"kind": "agent", "name": "bot", "actor": "agent:bot", "onBehalfOf": "user:ann", "envelope": wide})
}

// wide is the envelope of an agent that may do all that an agent may.
var wide = fields{
	"flags": []string{"*"}, "environments": []string{"production", "staging", "development"}, "kinds": []string{"release", "ops", "experiment", "permission"},
	"maxPpm": 1_000_000, "maxConcurrentRollouts": 100, "maxRiskTier": "high", "changesPerHour": 10_000,
}

// climbed returns the id of a rollout in development that is at its second step.
func (h *house) climbed() string {
	if h.risen != "" {
		return h.risen
	}
	there := func(f fields) fields { return f.with("environment", "development") }
	h.must("enable_flag", there(in(banner)))
	h.risen = h.must("start_rollout", there(plan(banner))).read(h.t, "id").(string)
	s, err := h.service.Situation(h.t.Context(), h.risen)
	if err != nil {
		h.t.Fatal(err)
	}
	up := rollout.Decision{Action: rollout.Advance, Step: 1, Why: "a test", Revision: s.Rollout.Revision, At: time.Now()}
	if err := h.service.Decide(h.t.Context(), s, up, nil); err != nil {
		h.t.Fatal(err)
	}
	return h.risen
}

// spare returns the id of a token that nobody uses.
func (h *house) spare() string {
	r := h.must("create_token", fields{"kind": "api", "name": "spare", "reason": "a test"})
	return r.read(h.t, "id").(string)
}
