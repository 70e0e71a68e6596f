package api

import (
	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

type svc = service.Service

// Operations are all capabilities, one row each. What streams, or has a form
// that a standard fixes, stands beside them.
func Operations() []Operation { return operations }

var operations = []Operation{
	op("create_flag", "POST /api/v1/flags", "Create a flag; it serves its safe variant, disabled, everywhere.", service.Write, (*svc).CreateFlag).
		command("flag create", "payments.checkout.new-flow --kind release --type boolean --variants '{on: true, off: false}' --safe-variant off --owner payments-team --expires-at 2027-02-01 --reason 'rebuild pricing'", "key"),
	op("list_flags", "GET /api/v1/flags", "List flags.", service.Read, (*svc).ListFlags).
		command("flag list", "--owner payments-team").table("flags: key kind type owner expiresAt lastEvaluated environments"),
	op("get_flag", "GET /api/v1/flags/{key}", "Show a flag and what each environment serves for it.", service.Read, (*svc).Flag).
		command("flag get", "payments.checkout.new-flow", "key"),
	op("update_flag", "PUT /api/v1/flags/{key}", "Replace what a flag is; its key and its type stay.", service.Write, (*svc).UpdateFlag).echoes("get_flag", service.FlagView{}).
		command("flag update", "payments.checkout.new-flow -f flag.yaml --reason 'a new owner'", "key"),
	op("archive_flag", "POST /api/v1/flags/{key}/archive", "Take a flag out of every ruleset; its key is never free again.", service.Write, (*svc).ArchiveFlag).
		command("flag archive", "payments.checkout.new-flow --reason 'the old path is deleted'", "key"),

	op("kill_flag", "POST /api/v1/environments/{environment}/flags/{key}/kill", "Serve the safe variant to everybody, at once.", service.Write, (*svc).KillFlag).
		command("flag kill", "payments.checkout.new-flow -e production --reason 'error rate doubled'", "key"),
	op("resume_flag", "POST /api/v1/environments/{environment}/flags/{key}/resume", "Lift a kill, and only that.", service.Write, (*svc).ResumeFlag).
		command("flag resume", "payments.checkout.new-flow -e production --reason 'fixed in 1.4.3'", "key"),
	op("enable_flag", "POST /api/v1/environments/{environment}/flags/{key}/enable", "Make rules and default apply.", service.Write, (*svc).EnableFlag).
		command("flag enable", "payments.checkout.new-flow -e production --reason 'ready to ship'", "key"),
	op("disable_flag", "POST /api/v1/environments/{environment}/flags/{key}/disable", "Serve the off variant to everybody.", service.Write, (*svc).DisableFlag).
		command("flag disable", "payments.checkout.new-flow -e production --reason 'not yet'", "key"),
	op("set_default", "PUT /api/v1/environments/{environment}/flags/{key}/default", "Say what is served when no rule matches.", service.Write, (*svc).SetDefault).
		command("flag default", "payments.checkout.new-flow -e production --default '{variant: on}' --reason 'on for all'", "key"),
	op("configure_flag", "PUT /api/v1/environments/{environment}/flags/{key}", "Replace what an environment serves for a flag, all at once.", service.Write, (*svc).SetConfig).echoes("get_flag", service.ConfigView{}, "environments", "{environment}").
		command("flag configure", "payments.checkout.new-flow -e production -f config.yaml --reason 'new targeting'", "key"),

	op("revert_flag", "POST /api/v1/environments/{environment}/flags/{key}/revert", "Go back to what an environment served for a flag at a version of its ruleset.", service.Write, (*svc).RevertFlag).
		command("flag revert", "payments.checkout.new-flow --to 41 -e production --reason 'the new rules miss Canada'", "key"),

	op("list_rules", "GET /api/v1/environments/{environment}/flags/{key}/rules", "List a flag's rules in an environment, in order.", service.Read, (*svc).ListRules).
		command("rule list", "payments.checkout.new-flow -e production", "key").table("rules: id description if serve notBefore notAfter"),
	op("add_rule", "POST /api/v1/environments/{environment}/flags/{key}/rules", "Add a rule; the first that matches wins.", service.Write, (*svc).AddRule).
		command("rule add", "payments.checkout.new-flow -e production --rule '{id: staff, if: {attribute: email, op: endsWith, values: [\"@example.com\"]}, serve: {variant: on}}' --reason 'staff first'", "key"),
	op("update_rule", "PUT /api/v1/environments/{environment}/flags/{key}/rules/{id}", "Replace a rule in its place.", service.Write, (*svc).UpdateRule).
		command("rule update", "payments.checkout.new-flow staff -e production --rule '{id: staff, if: {segment: staff}, serve: {variant: on}}' --reason 'use the segment'", "key", "id"),
	op("move_rule", "POST /api/v1/environments/{environment}/flags/{key}/rules/{id}/move", "Change a rule's place in the order.", service.Write, (*svc).MoveRule).
		command("rule move", "payments.checkout.new-flow staff -e production --before canada --reason 'staff first'", "key", "id"),
	op("remove_rule", "POST /api/v1/environments/{environment}/flags/{key}/rules/{id}/remove", "Take a rule away.", service.Write, (*svc).RemoveRule).
		command("rule remove", "payments.checkout.new-flow staff -e production --reason 'everyone has it'", "key", "id"),

	op("create_segment", "POST /api/v1/segments", "Create a segment.", service.Write, (*svc).CreateSegment).still().upTo(limitSegment).
		command("segment create", "beta-testers --owner default --include user-1,user-2 --reason 'first testers'", "key"),
	op("list_segments", "GET /api/v1/segments", "List segments.", service.Read, (*svc).ListSegments).
		command("segment list", "").table("segments: key owner description include exclude version"),
	op("get_segment", "GET /api/v1/segments/{key}", "Show a segment.", service.Read, (*svc).Segment).
		command("segment get", "beta-testers", "key"),
	op("update_segment", "PUT /api/v1/segments/{key}", "Replace a segment; it is a change of every flag that uses it.", service.Write, (*svc).UpdateSegment).upTo(limitSegment).echoes("get_segment", service.SegmentView{}).
		command("segment update", "beta-testers --owner default --include user-1,user-2,user-3 --reason 'one more'", "key"),

	op("create_metric", "POST /api/v1/metrics", "Create a metric, by which rollouts are judged.", service.Write, (*svc).CreateMetric).still().
		command("metric create", "checkout.errors --type rate --better lower --reason 'guard checkout'", "key"),
	op("list_metrics", "GET /api/v1/metrics", "List metrics.", service.Read, (*svc).ListMetrics).
		command("metric list", "").table("metrics: key type better analysis unit window description"),
	op("get_metric", "GET /api/v1/metrics/{key}", "Show a metric.", service.Read, (*svc).Metric).
		command("metric get", "checkout.errors", "key"),
	op("update_metric", "PUT /api/v1/metrics/{key}", "Replace a metric, unless it judges a live rollout.", service.Write, (*svc).UpdateMetric).still().echoes("get_metric", service.MetricView{}).
		command("metric update", "checkout.errors --type rate --better lower --window 10m --reason 'outcomes are quick'", "key"),

	op("start_rollout", "POST /api/v1/rollouts", "Start a rollout; its first step serves at once.", service.Write, (*svc).StartRollout).
		command("rollout start", "payments.checkout.new-flow -e production --treatment on --control off --steps '[{ppm: 10000, hold: 30m}, {ppm: 1000000, hold: 24h}]' --guardrails '[{metric: checkout.errors, margin: {relative: 0.05}}]' --reason 'ship it'", "flag"),
	op("expose", "POST /api/v1/environments/{environment}/flags/{key}/expose", "Show a variant to a share of users, or of a cohort, for a while: a rollout of one step.", service.Write, (*svc).Expose).
		command("expose", "payments.checkout.new-flow -e production --ppm 1000 --for 2m --guardrails '[{metric: checkout.errors, margin: {relative: 0.05}}]' --reason 'a first look'", "key"),
	op("plan_rollout", "POST /api/v1/rollouts/plan", "Tell what a plan would come to at the present traffic; it starts nothing.", service.Read, (*svc).PlanRollout).
		command("rollout plan", "payments.checkout.new-flow -f rollout.yaml --traffic '{unitsPerDay: 40000, requestsPerSecond: 20, baseline: {checkout.errors: 0.01}}'", "flag"),
	op("list_rollouts", "GET /api/v1/rollouts", "List rollouts, newest first.", service.Read, (*svc).ListRollouts).
		command("rollout list", "--live").table("rollouts: id flag environment state at startedAt why"),
	op("get_rollout", "GET /api/v1/rollouts/{id}", "Show a rollout and what the judge knows of it.", service.Read, (*svc).Rollout).
		command("rollout status", "payments.checkout.new-flow", "id"),
	op("get_evidence", "GET /api/v1/rollouts/{id}/evidence", "Show what the judge knows of a rollout: verdicts, estimates, what is missing.", service.Read, (*svc).RolloutEvidence).
		command("rollout evidence", "payments.checkout.new-flow", "id"),
	op("await_rollout", "GET /api/v1/rollouts/{id}/await", "Wait until a rollout has a verdict, reaches a step or ends.", service.Read, (*svc).AwaitRollout).waits(),
	op("pause_rollout", "POST /api/v1/rollouts/{id}/pause", "Keep a rollout at its step.", service.Write, (*svc).PauseRollout).still().
		command("rollout pause", "payments.checkout.new-flow --reason 'a release is under way'", "id"),
	op("resume_rollout", "POST /api/v1/rollouts/{id}/resume", "Let a paused rollout go on.", service.Write, (*svc).ResumeRollout).still().
		command("rollout resume", "payments.checkout.new-flow --reason 'the release is done'", "id"),
	op("step_back_rollout", "POST /api/v1/rollouts/{id}/step-back", "Take a rollout one step down, and pause it there.", service.Write, (*svc).StepBackRollout).
		command("rollout step-back", "payments.checkout.new-flow --reason 'latency looks odd'", "id"),
	op("abort_rollout", "POST /api/v1/rollouts/{id}/abort", "Take the treatment back from everybody, at once.", service.Write, (*svc).AbortRollout).
		command("rollout abort", "payments.checkout.new-flow --reason 'support calls'", "id"),
	op("pass_gate", "POST /api/v1/rollouts/{id}/pass", "Open a gate of the rollout's step in force.", service.Write, (*svc).PassGate).still().
		command("rollout pass", "payments.checkout.new-flow --gate 0 --reason 'looked at the dashboards'", "id"),

	op("evaluate", "POST /api/v1/environments/{environment}/flags/{key}/evaluate", "Tell what a flag serves for a context, and why.", service.Read, (*svc).Evaluate).
		command("evaluate", "payments.checkout.new-flow -e production --context '{targetingKey: user-1, country: CA}'", "key"),
	op("explain_flag", "POST /api/v1/environments/{environment}/flags/{key}/explain", "Tell what a flag served to a unit at a time, by which rule, and who had it so.", service.Read, (*svc).ExplainFlag).
		command("flag why", "payments.checkout.new-flow -e production --unit user-1 --context '{country: CA}' --at 2026-11-21T19:00:00Z", "key"),
	op("list_changes", "GET /api/v1/changes", "List changes that wait for approval or review.", service.Read, (*svc).ListChanges).
		command("change list", "").table("changes: id state plan.action plan.subject plan.risk proposer.id expiresAt reason"),
	op("get_change", "GET /api/v1/changes/{id}", "Show a change that was proposed: what it does, and who must approve.", service.Read, (*svc).Change).
		command("change show", "0f3a9c12d4e5", "id"),
	op("approve_change", "POST /api/v1/changes/{id}/approve", "Consent to exactly the change that was proposed.", service.Approve, (*svc).ApproveChange).still().
		command("change approve", "0f3a9c12d4e5 --reason 'the preview is as expected'", "id"),
	op("reject_change", "POST /api/v1/changes/{id}/reject", "Refuse a change that was proposed, or take it back.", service.Approve, (*svc).RejectChange).still().
		command("change reject", "0f3a9c12d4e5 --reason 'after the holidays'", "id"),
	op("review_change", "POST /api/v1/changes/{id}/review", "Close the review of a change that was made by breaking the glass.", service.Approve, (*svc).ReviewChange).still().
		command("change review", "0f3a9c12d4e5 --reason 'it was right: the site was down'", "id"),
	op("get_policy", "GET /api/v1/policy", "Show what changes need in protected environments.", service.Read, (*svc).Policy).
		command("policy get", ""),
	op("update_policy", "PUT /api/v1/policy", "Say what changes need in protected environments.", service.Admin, (*svc).SetPolicy).still().
		command("policy update", "-f policy.yaml --reason 'a freeze over the holidays'"),

	op("list_work", "GET /api/v1/worklist", "List flags that are to be cleaned up or mended: completed, expired or aborted.", service.Read, (*svc).Worklist).
		command("flag worklist", "--owner payments-team").table("work: flag why environment variant since owner expiresAt lastEvaluated"),
	op("list_agents", "GET /api/v1/agents", "List the agents that may act, their envelopes and what they used of them.", service.Read, (*svc).ListAgents).
		command("agents list", "").table("agents: id actor onBehalfOf expiresAt envelope used"),
	op("freeze_agents", "POST /api/v1/agents/freeze", "Make all agents read-only, at once.", service.Admin, (*svc).FreezeAgents).still().
		command("agents freeze", "--reason 'something odd is going on'"),
	op("unfreeze_agents", "POST /api/v1/agents/unfreeze", "Let agents change things again, within their envelopes.", service.Admin, (*svc).UnfreezeAgents).still().
		command("agents unfreeze", "--reason 'it was a dashboard'"),

	op("list_audit", "GET /api/v1/audit", "List who changed what, when and why.", service.Read, (*svc).ListAudit).
		command("audit list", "--subject payments.checkout.new-flow --action 'rollout.*'").table("entries: seq at actor.id action subject environment version reason"),
	op("verify_audit", "GET /api/v1/audit/verify", "Prove that the audit log is what was written, entry by entry.", service.Read, (*svc).VerifyAudit),
	op("checkpoint_audit", "POST /api/v1/audit/checkpoint", "Sign a statement of what the audit log's latest entry is, to be kept elsewhere.", service.Read, (*svc).Checkpoint).
		command("audit checkpoint", "-o json > checkpoint.json"),
	op("get_audit_key", "GET /api/v1/audit/key", "Show the public key by which checkpoints are checked.", service.Read, (*svc).AuditKey).
		command("audit key", ""),
	op("get_fleet", "GET /api/v1/fleet", "Tell which instances run the ruleset in force, and which do not yet.", service.Read, (*svc).Fleet).
		command("fleet", "-e production"),
	op("forget_instance", "POST /api/v1/fleet/forget", "Declare an instance gone, so that nothing waits for it.", service.Write, (*svc).ForgetInstance).still().
		command("fleet forget", "shop-3 -e production --reason 'the node was taken down'", "instance"),
	op("list_unknown_flags", "GET /api/v1/unknown-flags", "List keys that programs evaluate and that are no flags.", service.Read, (*svc).ListUnknownFlags).
		command("flag unknown", "").table("unknown: environment flag service version last"),

	op("export_flagd", "GET /api/v1/environments/{environment}/flagd", "Export a ruleset as flagd's programs read it, and tell what they cannot.", service.Read, exportFlagd),
	op("export", "GET /api/v1/files", "Export flags, segments, metrics and teams as files.", service.Read, (*svc).ExportFiles),
	op("apply", "PUT /api/v1/files", "Make files true, all or nothing; what they do not name is left alone.", service.Write, (*svc).ApplyFiles).upTo(limitFiles),

	op("create_environment", "POST /api/v1/environments", "Create an environment.", service.Admin, (*svc).CreateEnvironment).still().
		command("environment create", "staging --reason 'a place to rehearse'", "key"),
	op("list_environments", "GET /api/v1/environments", "List environments.", service.Read, (*svc).ListEnvironments).
		command("environment list", "").table("environments: key protected version"),
	op("get_environment", "GET /api/v1/environments/{key}", "Show an environment.", service.Read, (*svc).Environment).
		command("environment get", "production", "key"),
	op("update_environment", "PUT /api/v1/environments/{key}", "Say whether an environment is protected.", service.Admin, (*svc).UpdateEnvironment).still().echoes("get_environment", flyball.Environment{}).
		command("environment update", "staging --protected --reason 'customers use it'", "key"),
	op("create_team", "POST /api/v1/teams", "Create a team, which can own flags.", service.Admin, (*svc).CreateTeam).still().
		command("team create", "payments-team --name Payments --contact '#payments' --reason 'a new team'", "key"),
	op("list_teams", "GET /api/v1/teams", "List teams.", service.Read, (*svc).ListTeams).
		command("team list", "").table("teams: key name contact version"),
	op("get_team", "GET /api/v1/teams/{key}", "Show a team.", service.Read, (*svc).Team).
		command("team get", "payments-team", "key"),
	op("update_team", "PUT /api/v1/teams/{key}", "Replace a team.", service.Admin, (*svc).UpdateTeam).still().echoes("get_team", service.TeamView{}).
		command("team update", "payments-team --name Payments --contact '#pay' --reason 'a new channel'", "key"),
	op("create_token", "POST /api/v1/tokens", "Create a token; its secret is shown once.", service.Admin, (*svc).CreateToken).still().
		command("token create", "payments-ci --kind api --grants '[{role: editor, team: payments}]' --reason 'deploys of payments'", "name"),
	op("list_tokens", "GET /api/v1/tokens", "List tokens, without their secrets.", service.Admin, (*svc).ListTokens).
		command("token list", "").table("tokens: id kind name actor createdBy environment flags lastUsed expiresAt revokedAt"),
	op("revoke_token", "POST /api/v1/tokens/{id}/revoke", "End a token at once.", service.Admin, (*svc).RevokeToken).still().
		command("token revoke", "0f3a9c12d4e5 --reason 'it leaked'", "id"),

	op("create_user", "POST /api/v1/users", "Create a person's account.", service.Admin, (*svc).CreateUser).still().
		command("user create", "ann --name 'Ann Example' --grants '[{role: editor, team: payments-team}]' --reason 'she joins'", "id"),
	op("list_users", "GET /api/v1/users", "List people's accounts.", service.Admin, (*svc).ListUsers).
		command("user list", "").table("users: id name grants disabled lastSeen passwordAt issuer"),
	op("get_user", "GET /api/v1/users/{id}", "Show a person's account.", service.Admin, (*svc).User).
		command("user get", "ann", "id"),
	op("update_user", "PUT /api/v1/users/{id}", "Replace what an account says of a person and what they may do.", service.Admin, (*svc).UpdateUser).still().echoes("get_user", service.UserView{}).
		command("user update", "ann --grants '[{role: approver, environment: production}]' --reason 'she is on call'", "id"),
	op("disable_user", "POST /api/v1/users/{id}/disable", "Shut a person out: sessions end, and their tokens open nothing.", service.Admin, (*svc).DisableUser).still().
		command("user disable", "ann --reason 'she leaves'", "id"),
	op("set_password", "POST /api/v1/users/{id}/password", "Change your own password, or make a link by which somebody chooses theirs.", service.Write, (*svc).SetPassword).still().secret().
		command("user password", "ann --link --reason 'she lost it'", "id"),

	op("create_webhook", "POST /api/v1/webhooks", "Create a webhook; it is told what happens from now on.", service.Admin, (*svc).CreateWebhook).still().secret().
		command("webhook create", "payments-alerts --kind slack --url https://hooks.slack.com/services/T000/B000/XXX --environments production --flags 'payments.*' --actions 'rollout.*,flag.kill' --reason 'the team watches'", "key"),
	op("list_webhooks", "GET /api/v1/webhooks", "List webhooks and how they fare, without their secrets.", service.Admin, (*svc).ListWebhooks).
		command("webhook list", "").table("webhooks: key kind host enabled environments flags actions pending dead restsUntil"),
	op("get_webhook", "GET /api/v1/webhooks/{key}", "Show a webhook and how it fares, without its secrets.", service.Admin, (*svc).Webhook).
		command("webhook get", "payments-alerts", "key"),
	op("update_webhook", "PUT /api/v1/webhooks/{key}", "Replace a webhook; url, secret and enabled stay if they are left out.", service.Admin, (*svc).UpdateWebhook).still().secret().echoes("get_webhook", service.WebhookView{}).
		command("webhook update", "payments-alerts --kind slack --environments production --reason 'all flags'", "key"),
	op("delete_webhook", "POST /api/v1/webhooks/{key}/delete", "Take a webhook away, with what waits for it.", service.Admin, (*svc).DeleteWebhook).still().
		command("webhook delete", "payments-alerts --reason 'the channel is closed'", "key"),
	op("test_webhook", "POST /api/v1/webhooks/{key}/test", "Tell a webhook something now, and show what came of it.", service.Admin, (*svc).TestWebhook).still().
		command("webhook test", "payments-alerts --reason 'a new channel'", "key"),
	op("list_deliveries", "GET /api/v1/deliveries", "List what webhooks were told, are to be told, and were not.", service.Admin, (*svc).ListDeliveries).
		command("webhook deliveries", "payments-alerts --state dead").maybe("webhook").table("deliveries: webhook seq state attempts status error due at"),
	op("redeliver", "POST /api/v1/webhooks/{key}/redeliver", "Tell a webhook an entry of the audit log again, now.", service.Admin, (*svc).Redeliver).still().
		command("webhook redeliver", "payments-alerts 1041 --reason 'the receiver is back'", "key", "seq"),
}
