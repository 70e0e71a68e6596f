package api_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball/internal/api"
	"github.com/flyballdev/flyball/internal/service"
)

// A knocker is somebody who uses capabilities, and what they send with it.
type knocker struct {
	letter, about string
	headers       []string
}

// known makes an account, known to a provider of OpenID Connect too.
func (h *house) known(name string, grants ...fields) {
	h.t.Helper()
	h.must("create_user", fields{"id": name, "grants": append([]fields{}, grants...), "issuer": "https://id.example", "subject": name, "reason": "a test"})
}

// session signs a person in, who proved who they are at a time, and returns what
// their browser sends.
func (h *house) session(name string, proved time.Time) []string {
	h.t.Helper()
	n, err := h.service.SignInAs(h.t.Context(), service.Identity{Issuer: "https://id.example", Subject: name, ProvedAt: proved}, "")
	if err != nil {
		h.t.Fatal(err)
	}
	return []string{"Cookie", "flyball-session=" + n.Secret, "Content-Type", "application/json", "Sec-Fetch-Site", "same-origin"}
}

func bearer(secret string) []string { return []string{"Authorization", "Bearer " + secret} }

// of makes an api token of somebody.
func (h *house) of(actor string, more fields) []string {
	h.t.Helper()
	f := fields{"kind": "api", "name": "t", "actor": actor}
	for k, v := range more {
		f[k] = v
	}
	return bearer(h.token(f))
}

// knockers are those whose rights are told, in the order of the columns.
func knockers(h *house) []knocker {
	payments := fields{"role": "editor", "team": "payments"}
	h.known("vera")
	h.known("eve", fields{"role": "editor"})
	h.known("pat", payments)
	h.known("gus", fields{"role": "editor", "team": "sales"})
	h.known("sam", fields{"role": "editor", "environment": "staging"})
	h.known("abe", fields{"role": "approver"})
	h.known("sue", fields{"role": "admin", "environment": "staging"})
	h.known("ada", fields{"role": "admin"})
	h.known("dan", fields{"role": "admin"})
	agent := func(behind string) []string {
		return bearer(h.token(fields{"kind": "agent", "name": "bot", "actor": "agent:bot", "onBehalfOf": behind, "envelope": wide}))
	}
	revoked := h.must("create_token", fields{"kind": "api", "name": "revoked", "actor": "user:ada", "reason": "a test"})
	h.must("revoke_token", fields{"id": revoked.read(h.t, "id"), "reason": "a test"})
	disabled, agentOfDisabled := h.of("user:dan", nil), agent("user:dan")
	h.must("disable_user", fields{"id": "dan", "reason": "a test"})
	ended := h.session("ada", time.Now())
	h.send("POST", "/auth/logout", "", "{}", ended...).want(h.t, 200)
	foreign := append(slices.Clone(h.session("ada", time.Now()))[:4:4], "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
	return []knocker{
		{"a", "nobody", nil},
		{"b", "an sdk token of production", bearer(h.token(fields{"kind": "sdk", "name": "s", "environment": "production"}))},
		{"c", "a client token of production", bearer(h.token(fields{"kind": "client", "name": "c", "environment": "production"}))},
		{"d", "an expired token", bearer(h.expired())},
		{"e", "a revoked token", bearer(revoked.read(h.t, "secret").(string))},
		{"f", "a token of a person without grants", h.of("user:vera", nil)},
		{"g", "a token of an editor", h.of("user:eve", nil)},
		{"h", "a token of an editor of team payments", h.of("user:pat", nil)},
		{"i", "a token of an editor of team sales", h.of("user:gus", nil)},
		{"j", "a token of an editor in staging", h.of("user:sam", nil)},
		{"k", "a token of an approver", h.of("user:abe", nil)},
		{"l", "a token of an admin of staging", h.of("user:sue", nil)},
		{"m", "a token of an admin", h.of("user:ada", nil)},
		{"n", "an admin's token that is limited to editing for team payments", h.of("user:ada", fields{"grants": []fields{payments}})},
		{"o", "a token of team sales's editor that says editor of payments", h.of("user:gus", fields{"grants": []fields{payments}})},
		{"p", "a service that edits for team payments", h.of("service:ci", fields{"grants": []fields{payments}})},
		{"q", "a token of a disabled admin", disabled},
		{"r", "an agent of the editor of team payments", agent("user:pat")},
		{"s", "an agent of a disabled admin", agentOfDisabled},
		{"t", "a session of a person without grants", h.session("vera", time.Now())},
		{"u", "a session of the editor of team payments", h.session("pat", time.Now())},
		{"v", "a session of an admin, who proved lately who they are", h.session("ada", time.Now())},
		{"w", "a session of an admin, who proved that an hour ago", h.session("ada", time.Now().Add(-time.Hour))},
		{"x", "a session that was ended", ended},
		{"y", "a session of an admin, used by another site's page", foreign},
	}
}

// belongings are what two teams own: flags on, off, killed, with a rule, and with
// a live rollout, a segment, and a flag that is archived.
func belongings(h *house) (live map[string]string) {
	h.must("create_team", fields{"key": "sales", "reason": "a test"})
	live = map[string]string{}
	for _, team := range []string{"payments", "sales"} {
		h.must("create_segment", fields{"key": team + "-people", "owner": team, "include": []string{"x"}, "reason": "a test"})
		for _, name := range []string{"on", "off", "killed", "live", "paused", "gone"} {
			key := team + "." + name + ".one"
			h.must("create_flag", fields{
				"key": key, "kind": "ops", "owner": team, "type": "string", "safeVariant": "off", "reason": "a test",
				"variants": fields{"on": "on", "off": "off", "old": "old", "new": "new", "other": "other"},
			})
			for _, env := range []string{"production", "staging"} {
				there := in(key).with("environment", env)
				if name != "off" {
					h.must("configure_flag", there.with("enabled", true).with("default", fields{"variant": "off"}).with("rules", []fields{
						{"id": "staff", "if": country("FR"), "serve": fields{"variant": "new"}}, {"id": "canada", "if": country("CA"), "serve": fields{"variant": "other"}},
					}))
				}
				switch name {
				case "killed":
					h.must("kill_flag", there)
				case "live", "paused":
					id := h.must("start_rollout", plan(key).with("environment", env)).read(h.t, "id").(string)
					if live[key+" "+env] = id; name == "paused" {
						h.must("pause_rollout", fields{"id": id, "reason": "a test"})
					}
				}
			}
			if name == "gone" {
				h.must("archive_flag", fields{"key": key, "reason": "a test"})
			}
		}
	}
	return live
}

// things are the objects of which each capability is used.
var things = []struct{ name, team, environment string }{
	{"own", "payments", "production"}, {"another team's", "sales", "production"}, {"elsewhere", "payments", "staging"}, {"archived", "payments", "production"},
}

// uses returns the input of a capability for each thing that it can be used of;
// one alone where it is not about a thing that a team owns.
func uses(o api.Operation, f fields, live map[string]string) map[string]fields {
	all := map[string]fields{}
	rollouts := []string{"get_rollout", "get_evidence", "await_rollout", "pause_rollout", "resume_rollout", "abort_rollout", "pass_gate"}
	for _, thing := range things {
		name := map[string]string{"enable_flag": "off", "resume_flag": "killed"}[o.Name]
		if thing.name == "archived" {
			name = "gone"
		} else if name == "" {
			name = "on"
		}
		key := thing.team + "." + name + ".one"
		at := f
		if _, ok := f["environment"]; ok {
			at = f.with("environment", thing.environment)
		} else if thing.name == "elsewhere" && !slices.Contains(rollouts, o.Name) {
			continue
		}
		switch {
		case strings.Contains(o.Path, "/flags/{key}"):
			at = at.with("key", key)
			if o.Name == "update_flag" {
				at = at.with("owner", thing.team).with("variants", fields{"on": "on", "off": "off", "old": "old", "new": "newer", "other": "other"})
			}
		case o.Name == "start_rollout":
			at = at.with("flag", key)
		case slices.Contains(rollouts, o.Name) && thing.name != "archived":
			name := "live"
			if o.Name == "resume_rollout" {
				name = "paused"
			}
			at = at.with("id", live[thing.team+"."+name+".one "+thing.environment])
		case o.Name == "create_flag" && thing.name != "elsewhere":
			if at = at.with("owner", thing.team); thing.name == "archived" {
				at = at.with("key", key)
			}
		case o.Name == "create_segment" && thing.name != "archived":
			at = at.with("owner", thing.team)
		case o.Name == "update_segment" && thing.name != "archived":
			at = at.with("key", thing.team+"-people").with("owner", thing.team)
		default:
			continue
		}
		all[thing.name] = at
	}
	if len(all) == 0 {
		all[""] = f
	}
	return all
}

// Everybody uses every capability, of their own things and of others', as a dry
// run: what they may do is found out, and nothing changes.
func TestWhatEachMayDoToWhat(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	live := belongings(h)
	who, scenarios := knockers(h), useCases(h)
	var b strings.Builder
	for _, k := range who {
		fmt.Fprintf(&b, "%s  %s\n", k.letter, k.about)
	}
	row := func(name string, cell func(knocker) string) {
		fmt.Fprintf(&b, "\n%-36s", name)
		for _, k := range who {
			fmt.Fprintf(&b, " %3s", cell(k))
		}
	}
	row("", func(k knocker) string { return k.letter })
	h.unchanged(func() {
		for _, o := range api.Operations() {
			if o.Waits {
				continue
			}
			inputs := uses(o, scenarios[o.Name].in, live)
			for _, thing := range append([]string{""}, "own", "another team's", "elsewhere", "archived") {
				in, ok := inputs[thing]
				if !ok {
					continue
				}
				method, path, body := request(t, o, in)
				if o.Changes() {
					path += "?dryRun=true"
				}
				row(o.Name+", "+thing, func(k knocker) string { return fmt.Sprint(h.knocked(method, path, body, k.headers)) })
			}
		}
		for _, d := range []door{{"sdk ruleset", "GET", "/sdk/v1/ruleset", ""}, {"sdk stream", "GET", "/sdk/v1/stream", ""}, {"sdk telemetry", "POST", "/sdk/v1/telemetry", "{}"}, {"flagd", "GET", "/flagd/v1/flags", ""}, {"ofrep", "POST", ofrep + "/" + banner, "{}"}} {
			row(d.name, func(k knocker) string { return fmt.Sprint(h.knocked(d.method, d.path, d.body, k.headers)) })
		}
	})
	golden(t, "testdata/rights.txt", strings.ReplaceAll(strings.ReplaceAll(b.String(), ", \n", "\n"), ",  ", "   ")+"\n")
}

// knocked returns the status of an answer, which is never a fault of ours.
func (h *house) knocked(method, path, body string, headers []string) int {
	h.t.Helper()
	resp := h.begin(method, path, "", body, headers...)
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusInternalServerError {
		text, _ := io.ReadAll(resp.Body)
		h.t.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return resp.StatusCode
}

// golden compares what a test made with a file.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("it differs from %s (-want +got); if it is meant, run with -rewrite:\n%s", file, d)
	}
}
