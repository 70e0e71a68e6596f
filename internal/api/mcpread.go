package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// addReading adds the tools that change nothing.
func (a agent) addReading(s *mcp.Server) {
	tool(s, "find_flags", "Find flags by a part of their key or description, by owner, kind or tag. Tells of each what environments serve.", reads, a.findFlags)
	tool(s, "explain_flag", "Tell all about one flag: what it is, and for each environment its state, rules, default and live rollout.", reads, a.explainFlag)
	tool(s, "evaluate", "Tell what a flag serves for one context, and why: the reason, the rule, the rollout. It exposes nobody.", reads, a.evaluate)
	tool(s, "await_verdict", "Wait until a rollout has a verdict, reaches its next step, or ends. Answers done: false if that has not come in time; call again then.", reads, a.awaitVerdict)
	tool(s, "get_evidence", "Tell what the judge knows of a rollout: the verdict, and for each metric the estimate, its interval, and how many users entered it.", reads, a.evidence)
	tool(s, "worklist", "List flags that want work: completed (everybody has one variant, so delete the code of the others), expired, or aborted (mend it or let it go).", reads, a.worklist)
	tool(s, "history", "Tell who changed a flag, when, and why; the latest first.", reads, a.history)
}

type findFlags struct {
	Query    string `json:"query,omitempty" jsonschema:"a part of the key or the description"`
	Owner    string `json:"owner,omitempty" jsonschema:"the owning team"`
	Kind     string `json:"kind,omitempty" jsonschema:"release, ops, experiment or permission"`
	Tag      string `json:"tag,omitempty" jsonschema:"only flags with this tag"`
	Archived bool   `json:"archived,omitempty" jsonschema:"those archived, in place of the others"`
	Limit    int    `json:"limit,omitempty" jsonschema:"how many at most, up to 100 (default 20)"`
}

type flagFound struct {
	Key       string            `json:"key"`
	Kind      flyball.Kind      `json:"kind"`
	Type      flyball.FlagType  `json:"type"`
	Owner     string            `json:"owner"`
	RiskTier  flyball.RiskTier  `json:"risk_tier"`
	ExpiresAt *flyball.Time     `json:"expires_at,omitempty"`
	LastSeen  *flyball.Time     `json:"last_evaluated,omitempty"`
	Serves    map[string]string `json:"serves" jsonschema:"by environment"`
}

func (a agent) findFlags(ctx context.Context, _ *mcp.CallToolRequest, in findFlags) (any, error) {
	var found service.Flags
	fields := given(map[string]any{"query": in.Query, "owner": in.Owner, "kind": in.Kind, "tag": in.Tag, "archived": in.Archived})
	if err := a.do.use(ctx, "list_flags", fields, nil, &found); err != nil {
		return nil, err
	}
	limit := min(in.Limit, 100)
	if limit <= 0 {
		limit = 20
	}
	out := struct {
		Flags []flagFound `json:"flags"`
		Total int         `json:"total"`
	}{[]flagFound{}, len(found.Flags)}
	for _, f := range found.Flags[:min(limit, len(found.Flags))] {
		one := flagFound{Key: f.Key, Kind: f.Kind, Type: f.Type, Owner: f.Owner, RiskTier: f.RiskTier, ExpiresAt: f.ExpiresAt, LastSeen: f.LastSeen, Serves: map[string]string{}}
		for env, c := range f.Environments {
			one.Serves[env] = briefly(f.Flag, c.FlagConfig)
		}
		out.Flags = append(out.Flags, one)
	}
	return out, nil
}

// given leaves out the fields that were not given.
func given(fields map[string]any) map[string]any {
	maps.DeleteFunc(fields, func(_ string, v any) bool { return v == "" || v == false || v == 0 || v == int64(0) })
	return fields
}

// briefly tells what an environment serves, in the flag's own names.
func briefly(f flyball.Flag, c flyball.FlagConfig) string {
	switch {
	case c.Killed != nil:
		return "killed: " + f.SafeVariant
	case !c.Enabled:
		return "disabled: " + c.OffVariant
	}
	text := serveText(c.Default)
	if len(c.Rules) > 0 {
		text = fmt.Sprintf("%d rules, else %s", len(c.Rules), text)
	}
	if o := c.Rollout; o != nil {
		text += fmt.Sprintf("; rollout %s: %s to %d ppm", o.ID, o.Treatment, o.PPM)
	}
	return text
}

func serveText(s flyball.Serve) string {
	if s.Split == nil {
		return s.Variant
	}
	text := ""
	for i, w := range s.Split.Weights {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s %d ppm", w.Variant, w.PPM)
	}
	return text
}

type flagKey struct {
	Flag string `json:"flag" jsonschema:"the flag's key"`
}

type flagExplained struct {
	flagFound
	State        string                          `json:"state"`
	SafeVariant  string                          `json:"safe_variant"`
	Variants     []string                        `json:"variants"`
	Consistency  flyball.Consistency             `json:"consistency"`
	Environments map[string]environmentExplained `json:"environments"`
	Untrusted    texts                           `json:"untrusted_text,omitempty"`
}

type environmentExplained struct {
	Enabled    bool                   `json:"enabled"`
	KilledBy   flyball.ActorID        `json:"killed_by,omitempty"`
	OffVariant string                 `json:"off_variant"`
	Needs      []flyball.Prerequisite `json:"prerequisites,omitempty"`
	Rules      []ruleExplained        `json:"rules,omitempty"`
	Default    string                 `json:"default"`
	Rollout    *overlayExplained      `json:"rollout,omitempty"`
	Version    int64                  `json:"version" jsonschema:"send it as ifVersion to change only what you read"`
}

type ruleExplained struct {
	ID        string        `json:"id"`
	Serves    string        `json:"serves"`
	NotBefore *flyball.Time `json:"not_before,omitempty"`
	NotAfter  *flyball.Time `json:"not_after,omitempty"`
}

type overlayExplained struct {
	ID        string        `json:"id"`
	Step      int           `json:"step"`
	Treatment string        `json:"treatment"`
	Control   string        `json:"control"`
	PPM       int           `json:"ppm"`
	Where     string        `json:"where"`
	Until     *flyball.Time `json:"until,omitempty"`
}

func (a agent) explainFlag(ctx context.Context, _ *mcp.CallToolRequest, in flagKey) (any, error) {
	return a.explain(ctx, in.Flag)
}

func (a agent) explain(ctx context.Context, key string) (out flagExplained, err error) {
	var f service.FlagView
	if err := a.do.use(ctx, "get_flag", map[string]any{"key": key}, nil, &f); err != nil {
		return out, err
	}
	out = flagExplained{
		flagFound: flagFound{Key: f.Key, Kind: f.Kind, Type: f.Type, Owner: f.Owner, RiskTier: f.RiskTier, ExpiresAt: f.ExpiresAt, LastSeen: f.LastSeen, Serves: map[string]string{}},
		State:     f.State, SafeVariant: f.SafeVariant, Variants: slices.Sorted(maps.Keys(f.Variants)), Consistency: f.Consistency,
		Environments: map[string]environmentExplained{}, Untrusted: texts{},
	}
	out.Untrusted.add("description", f.Description)
	out.Untrusted.add("archivedWhy", f.ArchivedWhy)
	out.Untrusted.addJSON("variants", f.Variants)
	if len(f.Tags) > 0 {
		out.Untrusted.addJSON("tags", f.Tags)
	}
	for env, c := range f.Environments {
		out.Serves[env] = briefly(f.Flag, c.FlagConfig)
		one := environmentExplained{Enabled: c.Enabled, OffVariant: c.OffVariant, Needs: c.Prerequisites, Default: serveText(c.Default), Version: c.Version}
		if c.Killed != nil {
			one.KilledBy = c.Killed.By
			out.Untrusted.add(env+".killed", c.Killed.Reason)
		}
		if o := c.Rollout; o != nil {
			one.Rollout = &overlayExplained{o.ID, o.Step, o.Treatment, o.Control, o.PPM, o.Where, o.NotAfter}
		}
		for _, r := range c.Rules {
			one.Rules = append(one.Rules, ruleExplained{r.ID, serveText(r.Serve), r.NotBefore, r.NotAfter})
			out.Untrusted.add(env+".rules."+r.ID, r.Description)
			out.Untrusted.addJSON(env+".rules."+r.ID+".if", r.If)
		}
		out.Environments[env] = one
	}
	return out, nil
}

type evaluateFlag struct {
	Flag        string         `json:"flag" jsonschema:"the flag's key"`
	Environment string         `json:"environment"`
	Context     map[string]any `json:"context,omitempty" jsonschema:"targetingKey and attributes"`
}

func (a agent) evaluate(ctx context.Context, _ *mcp.CallToolRequest, in evaluateFlag) (any, error) {
	var e service.Evaluated
	fields := map[string]any{"key": in.Flag, "environment": in.Environment}
	if in.Context != nil {
		fields["context"] = in.Context
	}
	if err := a.do.use(ctx, "evaluate", fields, nil, &e); err != nil {
		return nil, err
	}
	out := struct {
		Flag      string `json:"flag"`
		Variant   string `json:"variant"`
		Reason    string `json:"reason"`
		Rule      string `json:"rule,omitempty"`
		Rollout   string `json:"rollout,omitempty"`
		ErrorCode string `json:"error_code,omitempty"`
		Version   int64  `json:"version"`
		Untrusted texts  `json:"untrusted_text"`
	}{e.Flag, e.Variant, string(e.Reason), e.Rule, e.Rollout, string(e.ErrorCode), e.Version, texts{}}
	out.Untrusted.addJSON("value", e.Value)
	return out, nil
}

type workWanted struct {
	Owner string `json:"owner,omitempty" jsonschema:"only flags of one team"`
	Why   string `json:"why,omitempty" jsonschema:"only completed, expired or aborted ones"`
}

func (a agent) worklist(ctx context.Context, _ *mcp.CallToolRequest, in workWanted) (any, error) {
	var w service.Worklist
	err := a.do.use(ctx, "list_work", given(map[string]any{"owner": in.Owner, "why": in.Why, "limit": 50}), nil, &w)
	return w, err
}

type historyOf struct {
	Flag  string `json:"flag" jsonschema:"the flag's key"`
	Limit int    `json:"limit,omitempty" jsonschema:"how many at most, up to 50 (default 20)"`
}

func (a agent) history(ctx context.Context, _ *mcp.CallToolRequest, in historyOf) (any, error) {
	limit := min(in.Limit, 50)
	if limit <= 0 {
		limit = 20
	}
	var log service.Audit
	if err := a.do.use(ctx, "list_audit", map[string]any{"subject": in.Flag, "limit": limit}, nil, &log); err != nil {
		return nil, err
	}
	type entry struct {
		Seq         int64           `json:"seq"`
		At          time.Time       `json:"at"`
		Actor       flyball.ActorID `json:"actor"`
		OnBehalfOf  flyball.ActorID `json:"on_behalf_of,omitempty"`
		Action      string          `json:"action"`
		Environment string          `json:"environment,omitempty"`
		Version     int64           `json:"version,omitempty"`
	}
	out := struct {
		Entries   []entry `json:"entries"`
		More      bool    `json:"more,omitempty"`
		Untrusted texts   `json:"untrusted_text,omitempty"`
	}{[]entry{}, log.More, texts{}}
	for _, e := range log.Entries {
		out.Entries = append(out.Entries, entry{e.Seq, e.At, e.Actor.ID, e.Actor.OnBehalfOf, e.Action, e.Environment, e.Version})
		out.Untrusted.add(fmt.Sprintf("%d.reason", e.Seq), e.Reason)
	}
	return out, nil
}

// addResources lets clients read flags as documents.
func (a agent) addResources(s *mcp.Server) {
	s.AddResourceTemplate(&mcp.ResourceTemplate{
		Name: "flag", Title: "A flag", URITemplate: "flag://{key}", MIMEType: "application/json",
		Description: "What a flag is, and what each environment serves for it; as explain_flag tells it.",
	}, func(ctx context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		key := r.Params.URI[min(len("flag://"), len(r.Params.URI)):]
		out, err := a.explain(ctx, key)
		if err != nil {
			return nil, mcp.ResourceNotFoundError(r.Params.URI)
		}
		body, err := json.Marshal(out)
		if err != nil {
			return nil, err
		}
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, MIMEType: "application/json", Text: string(body)}}}, nil
	})
}
