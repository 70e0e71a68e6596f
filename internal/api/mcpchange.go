package api

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// plannable are the capabilities that agents plan.
var plannable = []string{
	"enable_flag", "disable_flag", "kill_flag", "resume_flag", "set_default", "configure_flag", "add_rule", "update_rule", "move_rule", "remove_rule",
	"update_flag", "archive_flag", "expose", "start_rollout",
}

const planned = `operation is one of enable_flag, disable_flag, kill_flag, resume_flag {key, environment}; ` +
	`set_default {key, environment, default: {variant}}; add_rule {key, environment, rule: {id, if, serve: {variant}, notAfter}, before}; ` +
	`update_rule, move_rule, remove_rule {key, environment, id, …}; configure_flag {key, environment, enabled, rules, default, …}; ` +
	`expose {key, environment, ppm, for, if, guardrails: [{metric, margin: {relative}}], then}; ` +
	`start_rollout {flag, environment, treatment, control, steps: [{ppm, hold, lease}], guardrails, then}; update_flag; archive_flag {key}.`

// addChanging adds the tools that change things, or ask people to.
func (a agent) addChanging(s *mcp.Server) {
	tool(s, "create_flag", "Create a flag. It is dark: disabled, and serving its safe variant everywhere, until it is exposed.", adds, a.createFlag)
	tool(s, "plan_change", "Find out what a change would do, without making it: the difference, who gets something else, the risk, who must approve, and whether it goes beyond your envelope. Answers a digest for apply_plan or request_approval. "+planned, reads, a.planChange)
	tool(s, "apply_plan", "Make a change that you planned within the last hour, by its digest. Refused if anything that it touches has changed since.", destroys, a.applyPlan)
	tool(s, "expose", "Show a variant to a share of users, or of a cohort, for some minutes, watched by guardrails. It ends by itself, unless keep is set and the judge finds it healthy. Enables the flag if need be.", destroys, a.expose)
	tool(s, "rollout_action", "Act on a live rollout: hold it at its step, resume it, step_back, abort it, or pass_gate that names you. Holding, stepping back and aborting are always free.", destroys, a.rolloutAction)
	tool(s, "request_approval", "Ask people to approve a change: one that you planned, by its digest, or by operation and input as in plan_change. They may approve what goes beyond your envelope; a person then applies it.", adds, a.requestApproval)
}

type createFlag struct {
	Key         string         `json:"key" jsonschema:"team.domain.purpose; permanent, never reused"`
	Owner       string         `json:"owner" jsonschema:"the team that answers for it"`
	Description string         `json:"description" jsonschema:"what it does, for someone who meets it in code"`
	Kind        string         `json:"kind,omitempty" jsonschema:"release (default) or experiment"`
	Type        string         `json:"type,omitempty" jsonschema:"boolean (default), string, integer, number or object"`
	Variants    map[string]any `json:"variants,omitempty" jsonschema:"values by name (default on: true, off: false)"`
	SafeVariant string         `json:"safe_variant,omitempty" jsonschema:"the variant that the system survives on (default off)"`
	RiskTier    string         `json:"risk_tier,omitempty" jsonschema:"low, medium (default) or high"`
	Days        int            `json:"days,omitempty" jsonschema:"in how many days it is to be gone (default 30)"`
	Reason      string         `json:"reason"`
}

func (a agent) createFlag(ctx context.Context, _ *mcp.CallToolRequest, in createFlag) (any, error) {
	if in.Days <= 0 {
		in.Days = 30
	}
	fields := given(map[string]any{
		"key": in.Key, "owner": in.Owner, "description": in.Description, "kind": cmp.Or(in.Kind, "release"), "type": cmp.Or(in.Type, "boolean"),
		"safeVariant": cmp.Or(in.SafeVariant, "off"), "riskTier": in.RiskTier, "reason": in.Reason,
		"expiresAt": time.Now().AddDate(0, 0, min(in.Days, 3650)).Format(time.DateOnly),
	})
	fields["variants"] = in.Variants
	if len(in.Variants) == 0 {
		fields["variants"] = map[string]any{"on": true, "off": false}
	}
	var f service.FlagView
	if err := a.do.use(ctx, "create_flag", fields, nil, &f); err != nil {
		return nil, err
	}
	return a.explain(ctx, f.Key)
}

type planChange struct {
	Operation string         `json:"operation" jsonschema:"the capability; see above"`
	Input     map[string]any `json:"input" jsonschema:"its fields"`
	Reason    string         `json:"reason" jsonschema:"why, for those who read the audit log"`
}

// A planTold is what an agent is told of a plan.
type planTold struct {
	Digest    string            `json:"digest,omitempty"`
	Action    string            `json:"action,omitempty"`
	Subject   string            `json:"subject,omitempty"`
	Changes   bool              `json:"changes" jsonschema:"false if everything is so already"`
	Risk      flyball.Risk      `json:"risk"`
	Retreat   bool              `json:"retreat,omitempty"`
	Staged    bool              `json:"staged,omitempty"`
	Needs     flyball.Approvals `json:"needs"`
	Beyond    *flyball.Beyond   `json:"beyond_envelope,omitempty"`
	Frozen    bool              `json:"refused_by_policy,omitempty"`
	Previews  []previewTold     `json:"previews,omitempty"`
	Untrusted texts             `json:"untrusted_text,omitempty"`
}

type previewTold struct {
	Environment string           `json:"environment"`
	Affected    flyball.Estimate `json:"affected_users"`
	Share       flyball.Estimate `json:"share"`
	Basis       string           `json:"basis"`
}

func planOf(p flyball.Plan) planTold {
	out := planTold{
		Digest: p.Digest, Action: p.Action, Subject: p.Subject, Changes: len(p.Edits) > 0, Risk: p.Risk, Retreat: p.Retreat, Staged: p.Staged,
		Needs: p.Needs, Beyond: p.Beyond, Frozen: p.Refused != "", Untrusted: texts{},
	}
	for _, v := range p.Previews {
		out.Previews = append(out.Previews, previewTold{v.Environment, v.Affected, v.Share, v.Basis})
		out.Untrusted.add("previews."+v.Environment, v.Note)
	}
	out.Untrusted.add("refused", p.Refused)
	out.Untrusted.add("why", strings.Join(p.Why, "; "))
	out.Untrusted.add("difference", strings.Join(p.Difference, "; "))
	return out
}

func (in planChange) fields() (map[string]any, error) {
	if !slices.Contains(plannable, in.Operation) {
		return nil, &Problem{Code: flyball.Invalid, Detail: "operation is one of " + strings.Join(plannable, ", "), Errors: []FieldProblem{{Field: "operation"}}}
	}
	fields := map[string]any{"reason": in.Reason}
	for k, v := range in.Input {
		fields[k] = v
	}
	return fields, nil
}

func (a agent) planChange(ctx context.Context, _ *mcp.CallToolRequest, in planChange) (any, error) {
	fields, err := in.fields()
	if err != nil {
		return nil, err
	}
	var p flyball.Plan
	if err := a.do.use(ctx, in.Operation, fields, url.Values{manDryRun: {"true"}}, &p); err != nil {
		return nil, err
	}
	return planOf(p), nil
}

type digestOnly struct {
	Digest string `json:"digest" jsonschema:"as plan_change answered it"`
}

type changedTold struct {
	Applied bool   `json:"applied"`
	Digest  string `json:"digest"`
	Rollout string `json:"rollout,omitempty"` // that it started
}

func (a agent) applyPlan(ctx context.Context, _ *mcp.CallToolRequest, in digestOnly) (any, error) {
	var made struct{ ID string }
	if err := a.plan(ctx, in.Digest, nil, &made); err != nil {
		return nil, err
	}
	return changedTold{true, in.Digest, made.ID}, nil
}

// plan does something with a plan that was kept, by its digest.
func (a agent) plan(ctx context.Context, digest string, manner url.Values, into any) error {
	target := "http://flyball/api/v1/plans/" + url.PathEscape(digest) + "/apply"
	if len(manner) > 0 {
		target += "?" + manner.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader("{}"))
	if err != nil {
		return err
	}
	return a.do.send(r, into)
}

type expose struct {
	Flag        string         `json:"flag" jsonschema:"the flag's key"`
	Environment string         `json:"environment"`
	Treatment   string         `json:"treatment,omitempty" jsonschema:"the variant to show (default: the other one, of two)"`
	SharePPM    int            `json:"share_ppm" jsonschema:"the share of users, or of the cohort, in parts per million: 1000 is 0.1 %"`
	Cohort      map[string]any `json:"cohort,omitempty" jsonschema:"only who meets this condition, such as {segment: beta-testers} or {attribute: country, op: in, values: [CA]}"`
	Minutes     float64        `json:"minutes" jsonschema:"how long"`
	Keep        bool           `json:"keep,omitempty" jsonschema:"keep it afterwards, if the guardrails show that it is healthy (default: take it back)"`
	Guardrails  []guardrail    `json:"guardrails,omitempty" jsonschema:"what must not get worse"`
	MaxUsers    int64          `json:"max_users,omitempty" jsonschema:"how many users are exposed at most"`
	Reason      string         `json:"reason"`
}

type guardrail struct {
	Metric   string  `json:"metric" jsonschema:"the metric's key"`
	Relative float64 `json:"relative,omitempty" jsonschema:"how much worse than control is tolerated, such as 0.05"`
	Absolute float64 `json:"absolute,omitempty" jsonschema:"the same, in the metric's unit"`
}

func (in expose) fields() map[string]any {
	then := "off"
	if in.Keep {
		then = "keep"
	}
	fields := given(map[string]any{
		"key": in.Flag, "environment": in.Environment, "treatment": in.Treatment, "ppm": in.SharePPM, "maxUnits": in.MaxUsers,
		"for": time.Duration(in.Minutes * float64(time.Minute)).Round(time.Second).String(), "then": then, "reason": in.Reason,
	})
	if in.Cohort != nil {
		fields["if"] = in.Cohort
	}
	var guardrails []map[string]any
	for _, g := range in.Guardrails {
		guardrails = append(guardrails, map[string]any{"metric": g.Metric, "margin": flyball.Margin{Relative: g.Relative, Absolute: g.Absolute}})
	}
	if guardrails != nil {
		fields["guardrails"] = guardrails
	}
	return fields
}

// A rolloutTold is what an agent is told of a rollout.
type rolloutTold struct {
	Rollout     string               `json:"rollout"`
	Flag        string               `json:"flag"`
	Environment string               `json:"environment"`
	State       flyball.RolloutState `json:"state"`
	Step        int                  `json:"step"`
	PPM         int                  `json:"ppm"`
	Until       *flyball.Time        `json:"until,omitempty"`
	Fleet       *fleetTold           `json:"fleet,omitempty" jsonschema:"how many instances run the ruleset in force"`
	Untrusted   texts                `json:"untrusted_text,omitempty"`
}

type fleetTold struct {
	Instances int `json:"instances"`
	Converged int `json:"converged"`
}

func (a agent) rollout(ctx context.Context, v service.RolloutView) rolloutTold {
	out := rolloutTold{Rollout: v.ID, Flag: v.Flag, Environment: v.Environment, State: v.State, Step: v.At, PPM: v.Steps[v.At].PPM, Until: v.LeaseUntil, Untrusted: texts{}}
	out.Untrusted.add("why", v.Why)
	var fleets service.Fleets // what programs acknowledged, not what was hoped for
	if err := a.do.use(ctx, "get_fleet", map[string]any{"environment": v.Environment}, nil, &fleets); err == nil && len(fleets.Environments) == 1 {
		out.Fleet = &fleetTold{fleets.Environments[0].Instances, fleets.Environments[0].Converged}
	}
	return out
}

func (a agent) expose(ctx context.Context, _ *mcp.CallToolRequest, in expose) (any, error) {
	var v service.RolloutView
	if err := a.do.use(ctx, "expose", in.fields(), nil, &v); err != nil {
		return nil, err
	}
	return a.rollout(ctx, v), nil
}

type rolloutAction struct {
	Rollout string `json:"rollout" jsonschema:"the rollout's id, or its flag's key"`
	Action  string `json:"action" jsonschema:"hold, resume, step_back, abort or pass_gate"`
	Gate    int    `json:"gate,omitempty" jsonschema:"for pass_gate: which gate of the step, counted from 0"`
	Reason  string `json:"reason"`
}

func (a agent) rolloutAction(ctx context.Context, _ *mcp.CallToolRequest, in rolloutAction) (any, error) {
	rows := map[string]string{"hold": "pause_rollout", "resume": "resume_rollout", "step_back": "step_back_rollout", "abort": "abort_rollout", "pass_gate": "pass_gate"}
	row, ok := rows[in.Action]
	if !ok {
		return nil, &Problem{Code: flyball.Invalid, Detail: "action is hold, resume, step_back, abort or pass_gate", Errors: []FieldProblem{{Field: "action"}}}
	}
	fields := map[string]any{"id": in.Rollout, "reason": in.Reason}
	if row == "pass_gate" {
		fields["gate"] = in.Gate
	}
	var v service.RolloutView
	if err := a.do.use(ctx, row, fields, nil, &v); err != nil {
		return nil, err
	}
	return a.rollout(ctx, v), nil
}

type requestApproval struct {
	Digest    string         `json:"digest,omitempty" jsonschema:"of a plan, as plan_change answered it"`
	Operation string         `json:"operation,omitempty" jsonschema:"or the capability, as in plan_change"`
	Input     map[string]any `json:"input,omitempty" jsonschema:"and its fields"`
	Reason    string         `json:"reason,omitempty" jsonschema:"and why"`
}

func (a agent) requestApproval(ctx context.Context, _ *mcp.CallToolRequest, in requestApproval) (any, error) {
	var r flyball.ChangeRequest
	ask := url.Values{manPropose: {"true"}}
	if in.Digest != "" {
		if err := a.plan(ctx, in.Digest, ask, &r); err != nil {
			return nil, err
		}
	} else {
		fields, err := planChange{in.Operation, in.Input, in.Reason}.fields()
		if err != nil {
			return nil, err
		}
		if err := a.do.use(ctx, in.Operation, fields, ask, &r); err != nil {
			return nil, err
		}
	}
	if r.ID == "" {
		return nil, &Problem{Code: flyball.Conflict, Detail: "there is nothing to ask for: everything is so already"}
	}
	return struct {
		Change    string               `json:"change" jsonschema:"the id under which people approve it"`
		State     flyball.RequestState `json:"state"`
		ExpiresAt time.Time            `json:"expires_at"`
		Plan      planTold             `json:"plan"`
	}{r.ID, r.State, r.ExpiresAt, planOf(r.Plan)}, nil
}
