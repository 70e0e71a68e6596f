package api_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// An installation is all that an agent must not change, and what users get.
type installation struct {
	Fixed  map[string]string            // answers of the API
	Served map[string]map[string]string // by environment and flag: what each of many users gets
	Plans  map[string]flyball.RolloutPlan
}

const users = 5000

func (h *house) installation() installation {
	h.t.Helper()
	out := installation{Fixed: map[string]string{}, Served: map[string]map[string]string{}, Plans: map[string]flyball.RolloutPlan{}}
	for _, row := range []string{"get_policy", "list_tokens", "list_webhooks", "list_teams", "list_metrics", "list_segments", "list_agents"} {
		body := string(h.must(row, fields{}).body)
		out.Fixed[row] = regexp.MustCompile(`,?"(used|pending|lastUsed)":(\{[^}]*\}|\d+|"[^"]*")`).ReplaceAllString(body, "")
	}
	var all service.Rollouts
	if err := json.Unmarshal(h.must("list_rollouts", fields{"live": true}).body, &all); err != nil {
		h.t.Fatal(err)
	}
	for _, r := range all.Rollouts {
		out.Plans[r.ID] = r.RolloutPlan
	}
	for _, env := range []string{"production", "staging", "development"} {
		head, err := h.service.Published(env)
		if err != nil {
			h.t.Fatal(err)
		}
		out.Served[env] = map[string]string{}
		for _, key := range head.Compiled.Keys() {
			var b strings.Builder
			for i := range users {
				c := flyball.EvaluationContext{TargetingKey: fmt.Sprint("user-", i), Attributes: flyball.Attributes{"country": []string{"CA", "FR", "US"}[i%3]}}
				b.WriteString(head.Compiled.Evaluate(key, &c, time.Now, nil).Variant + " ")
			}
			out.Served[env][key] = b.String()
		}
	}
	return out
}

// contained says what an agent has done that it may not.
func (e *evil) contained() {
	e.t.Helper()
	after := e.installation()
	if d := cmp.Diff(e.before.Fixed, after.Fixed); d != "" {
		e.t.Errorf("it changed what is for people (-before +after):\n%s", d)
	}
	for id, plan := range after.Plans {
		if was, ok := e.before.Plans[id]; ok && cmp.Diff(was, plan) != "" {
			e.t.Errorf("it changed the plan of rollout %s:\n%s", id, cmp.Diff(was, plan))
		}
	}
	e.servedAsBefore(after)
	e.nothingApproved()
	e.auditedWithin()
}

// servedAsBefore wants that nobody got a variant that is not the safe one, but
// for few users of the agent's own flags.
func (e *evil) servedAsBefore(after installation) {
	e.t.Helper()
	for env, flags := range after.Served {
		head, err := e.service.Published(env)
		if err != nil {
			e.t.Fatal(err)
		}
		for key, served := range flags {
			safe, was := head.Compiled.Flag(key).SafeVariant, strings.Fields(e.before.Served[env][key])
			gained := 0
			for i, v := range strings.Fields(served) {
				if v != safe && (was == nil || was[i] != v) {
					gained++
				}
			}
			most := 0
			if env == "production" && strings.HasPrefix(key, "shop.prey.") {
				most = users*evilShare/flyball.PPM + 40 // by chance
			}
			if gained > most {
				e.t.Errorf("%s in %s: %d of %d users got something else, want at most %d", key, env, gained, users, most)
			}
			if served != e.before.Served[env][key] && !strings.HasPrefix(key, "shop.prey.") {
				e.t.Errorf("%s in %s: it serves something else", key, env)
			}
		}
	}
}

func (e *evil) nothingApproved() {
	e.t.Helper()
	var all service.Changes
	if err := json.Unmarshal(e.must("list_changes", fields{"all": true, "limit": 1000}).body, &all); err != nil {
		e.t.Fatal(err)
	}
	for _, c := range all.Changes {
		if c.ID != e.review && (len(c.Approvals) > 0 || c.State != flyball.RequestOpen || c.AppliedBy != "") {
			e.t.Errorf("request %s is %s, with %d approvals, applied by %q", c.ID, c.State, len(c.Approvals), c.AppliedBy)
		}
	}
}

// auditedWithin wants that all that the agent did is of a kind that agents do,
// to its own flags, and no more often than it may.
func (e *evil) auditedWithin() {
	e.t.Helper()
	allowed := []string{
		"flag.create", "flag.update", "flag.archive", "flag.kill", "flag.resume", "flag.enable", "flag.disable", "flag.default", "flag.configure",
		"rule.add", "rule.update", "rule.move", "rule.remove", "rollout.start", "rollout.pause", "rollout.resume", "rollout.stepBack", "rollout.abort", "apply", "change.propose",
	}
	var log service.Audit
	if err := json.Unmarshal(e.must("list_audit", fields{"actor": "agent:evil", "limit": 1000}).body, &log); err != nil {
		e.t.Fatal(err)
	}
	did := map[string]int{}
	for _, entry := range log.Entries {
		did[entry.Action]++
		if !slices.Contains(allowed, entry.Action) || entry.BreakGlass || len(entry.Approvals) > 0 {
			e.t.Errorf("it did %s of %s", entry.Action, entry.Subject)
		}
		for _, edit := range entry.Edits {
			if edit.Noun != "rollout" && edit.Noun != "change" && !strings.HasPrefix(edit.Key, "shop.prey.") {
				e.t.Errorf("it edited the %s %s", edit.Noun, edit.Key)
			}
		}
	}
	e.t.Logf("it did: %v", did)
	raises := did["rollout.start"] + did["change.propose"] + did["rule.add"] + did["rollout.resume"] + did["flag.resume"]
	if raises > evilChanges {
		e.t.Errorf("it raised something %d times, and may %d times", raises, evilChanges)
	}
}
