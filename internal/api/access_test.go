package api_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/api"
	"github.com/flyballdev/flyball/internal/store"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// principals are those who knock at each door, in the order of the columns.
func principals(h *house) (names []string, secrets map[string]string) {
	revoked := h.must("create_token", fields{"kind": "api", "name": "revoked", "reason": "a test"})
	h.must("revoke_token", fields{"id": revoked.read(h.t, "id"), "reason": "a test"})
	names = []string{"nobody", "garbage", "expired", "revoked", "sdk", "sdk-staging", "client", "api", "person", "agent", "api-search", "api-other"}
	return names, map[string]string{
		"garbage":     "fb_api_" + strings.Repeat("0", 12) + "_" + strings.Repeat("0", 64),
		"expired":     h.expired(),
		"revoked":     revoked.read(h.t, "secret").(string),
		"sdk":         h.token(fields{"kind": "sdk", "name": "s", "environment": "production"}),
		"sdk-staging": h.token(fields{"kind": "sdk", "name": "s", "environment": "staging"}),
		"client":      h.token(fields{"kind": "client", "name": "c", "environment": "production"}),
		"api":         h.token(fields{"kind": "api", "name": "a"}),
		"person":      h.ann(),
		"agent":       h.agent(),
		"api-search":  h.token(fields{"kind": "api", "name": "l", "flags": []string{"shop.search.*"}}),
		"api-other":   h.token(fields{"kind": "api", "name": "l", "flags": []string{"other.*"}}),
	}
}

// expired returns a token whose time is over, as only time itself could make
// it.
func (h *house) expired() string {
	h.t.Helper()
	secret := "fb_api_0123456789ab_" + strings.Repeat("1", 64)
	hash := sha256.Sum256([]byte(secret))
	err := h.db.Update(h.t.Context(), func(tx *store.Tx) error {
		return tx.InsertToken(flyball.Token{
			ID: "0123456789ab", Kind: flyball.TokenAPI, Name: "expired", Actor: "user:ann",
			CreatedAt: time.Now().AddDate(-1, 0, 0), ExpiresAt: &flyball.Time{Time: time.Now().Add(-time.Minute)},
		}, hash[:])
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return secret
}

// A door is a route and a request that it takes, but for a blank reason, so
// that who is let in changes nothing and reads 422.
type door struct{ name, method, path, body string }

func doors(h *house) (all []door) {
	uses := useCases(h)
	for _, o := range api.Operations() {
		in := uses[o.Name].in
		if o.Changes() {
			in = in.with("reason", " ")
		}
		method, path, body := request(h.t, o, in)
		all = append(all, door{o.Name, method, path, body})
	}
	return append(all,
		door{"apply_change", "POST", "/api/v1/changes/nobody-made-it/apply", ""},
		door{"ruleset", "GET", "/sdk/v1/ruleset", ""},
		door{"stream", "GET", "/sdk/v1/stream", ""},
		door{"events", "GET", "/api/v1/events", ""},
		door{"flagd", "GET", "/flagd/v1/flags", ""},
		door{"telemetry", "POST", "/sdk/v1/telemetry", "{}"},
		door{"ofrep bulk", "POST", "/ofrep/v1/evaluate/flags", ""},
		door{"ofrep banner", "POST", "/ofrep/v1/evaluate/flags/" + banner, ""},
		door{"ofrep killed", "POST", "/ofrep/v1/evaluate/flags/" + killed, ""},
		door{"ofrep preflight", "OPTIONS", "/ofrep/v1/evaluate/flags", ""},
		door{"telemetry preflight", "OPTIONS", "/sdk/v1/telemetry", ""},
		door{"session", "GET", "/auth/session", ""},
		door{"login", "POST", "/auth/login", "{}"},
		door{"logout", "POST", "/auth/logout", "{}"},
		door{"step up", "POST", "/auth/stepup", "{}"},
		door{"set up", "POST", "/auth/setup", "{}"},
		door{"oidc login", "GET", "/auth/oidc/login", ""},
		door{"oidc callback", "GET", "/auth/oidc/callback", ""},
		door{"export audit", "GET", "/api/v1/audit/export", ""},
		door{"openapi", "GET", "/api/v1/openapi.json", ""},
		door{"health", "GET", "/healthz", ""},
		door{"ready", "GET", "/readyz", ""},
		door{"metrics", "GET", "/metrics", ""},
		door{"no such api", "GET", "/api/v1/nothing", ""},
		door{"no such sdk", "POST", "/sdk/v1/nothing", "{}"},
		door{"no such flagd", "GET", "/flagd/v1/nothing", ""},
		door{"no such ofrep", "GET", "/ofrep/v1/nothing", ""},
		door{"wrong method", "DELETE", "/api/v1/flags/" + search, ""},
	)
}

func TestWhoIsLetInWhere(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	names, secrets := principals(h)
	var b strings.Builder
	row := func(name string, cells []string) { fmt.Fprintf(&b, "%-22s %s\n", name, strings.Join(cells, "  ")) }
	row("", names)
	all := doors(h)
	h.unchanged(func() {
		for _, d := range all {
			var cells []string
			for _, name := range names {
				cells = append(cells, fmt.Sprintf("%-*d", len(name), h.knock(d, secrets[name])))
			}
			row(d.name, cells)
		}
	})
	const golden = "testdata/access.txt"
	if *rewrite {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); d != "" {
		t.Errorf("who is let in differs from %s (-want +got); if it is meant, run with -rewrite:\n%s", golden, d)
	}
}

// knock returns the status of an answer, and does not wait for its end.
func (h *house) knock(d door, token string) int {
	h.t.Helper()
	resp := h.begin(d.method, d.path, token, d.body)
	defer resp.Body.Close()
	return resp.StatusCode
}

func TestAWrongMethodIsToldWithTheRightOnes(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.unchanged(func() {
		for _, d := range []struct{ method, path, allow string }{
			{"DELETE", "/api/v1/flags/" + search, "GET, HEAD, PUT"},
			{"PATCH", "/api/v1/flags", "GET, HEAD, POST"},
			{"GET", "/api/v1/environments/production/flags/" + search + "/kill", "POST"},
			{"POST", "/sdk/v1/ruleset", "GET, HEAD"},
			{"PUT", "/sdk/v1/telemetry", "POST"},
			{"GET", "/ofrep/v1/evaluate/flags", "POST"},
			{"DELETE", "/ofrep/v1/evaluate/flags/" + search, "POST"},
			{"POST", "/flagd/v1/flags", "GET, HEAD"},
			{"PUT", "/api/v1/openapi.json", "GET, HEAD"},
			{"POST", "/healthz", "GET, HEAD"},
			{"DELETE", "/readyz", "GET, HEAD"},
			{"POST", "/metrics", "GET, HEAD"},
		} {
			for _, token := range []string{"", h.admin} {
				r := h.send(d.method, d.path, token, "")
				p := r.problem(t)
				if r.StatusCode != 405 || r.Header.Get("Allow") != d.allow || p.Code != flyball.WrongMethod || !strings.Contains(p.Detail, d.allow) {
					t.Errorf("%s %s: %d, allow %q: %s", d.method, d.path, r.StatusCode, r.Header.Get("Allow"), r.body)
				}
			}
		}
		for _, path := range []string{"/api/v1/nothing", "/api/v1/flags/", "/ofrep/v1/nothing", "/sdk/v1/telemetry/"} {
			if r := h.send("DELETE", path, h.admin, ""); r.StatusCode != 404 || r.Header.Get("Allow") != "" {
				t.Errorf("%s: %d, allow %q", path, r.StatusCode, r.Header.Get("Allow"))
			}
		}
	})
}

func TestEveryRouteIsInTheTableOfWhoIsLetIn(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	known := doors(h)
	for _, o := range api.Operations() {
		if !slices.ContainsFunc(known, func(d door) bool { return d.name == o.Name }) {
			t.Errorf("%s is not", o.Name)
		}
	}
}

func TestATokenIsReadFromEitherHeaderAndNoneOtherwise(t *testing.T) {
	t.Parallel()
	h := open(t)
	const path = "/api/v1/environments"
	for _, headers := range [][]string{
		{"Authorization", "Bearer " + h.admin}, {"Authorization", "bearer " + h.admin}, {"X-API-Key", h.admin},
		{"Authorization", "Basic eDp5", "X-API-Key", h.admin},
	} {
		h.send("GET", path, "", "", headers...).want(t, 200)
	}
	for _, headers := range [][]string{
		{}, {"Authorization", h.admin}, {"Authorization", "Bearer"}, {"Authorization", "Bearer  " + h.admin + "0"}, {"Cookie", "token=" + h.admin},
		{"Authorization", "Bearer " + h.admin[:len(h.admin)-1]}, {"Authorization", "Bearer \xff\xfe"}, {"X-API-Key", "fb_api_\xff\xfe\xfd_" + strings.Repeat("0", 64)},
		{"Authorization", "Bearer " + strings.Repeat("x", 10_000)}, {"Authorization", "Bearer fb_api__"}, {"Authorization", "Bearer " + strings.ToUpper(h.admin)},
	} {
		h.send("GET", path, "", "", headers...).want(t, 401)
	}
	h.send("GET", path+"?token="+h.admin, "", "").want(t, 401)
}

func TestALimitedTokenSeesItsFlagsOnly(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	limited := h.token(fields{"kind": "api", "name": "l", "flags": []string{"shop.search.*"}})
	h.must("enable_flag", in(search).with("reason", "known to those of search"))
	for name, f := range map[string]fields{
		"list_flags": {}, "list_rollouts": {}, "export": {}, "list_audit": {"limit": 1000}, "get_flag": {"key": search},
	} {
		r := h.call(limited, name, f).want(t, 200)
		for _, other := range []string{fast, banner, killed, gone} {
			if strings.Contains(string(r.body), other) {
				t.Errorf("%s tells a token of shop.search.* of %s", name, other)
			}
		}
	}
	seen := h.call(limited, "list_audit", fields{"limit": 1000})
	if n := seen.read(t, "entries.#").(float64); n < 2 {
		t.Errorf("the audit log shows %v of the changes of %s", n, search)
	}
	first := h.call(limited, "list_audit", fields{"limit": 1})
	if first.read(t, "entries.0.subject") != search || first.read(t, "entries.#") != 1.0 {
		t.Errorf("the latest change that it may see is %s", first.body)
	}
	oldest := h.call(limited, "list_audit", fields{"limit": 1, "after": 1})
	if oldest.read(t, "entries.0.action") != "flag.create" {
		t.Errorf("the oldest change that it may see is %s", oldest.body)
	}
	h.unchanged(func() {
		h.call(limited, "kill_flag", in(fast)).want(t, 403)
		h.call(limited, "create_flag", boolean("shop.other.one")).want(t, 403)
		h.call(limited, "create_token", fields{"kind": "api", "name": "wider", "reason": "a test"}).want(t, 403)
		h.call(limited, "apply", fields{"flags": []fields{boolean("shop.search.two").with("reason", nil)}, "reason": "a test"}).want(t, 403)
	})
	h.call(limited, "kill_flag", in(search)).want(t, 200)
	h.call(limited, "create_flag", boolean("shop.search.two")).want(t, 201)
}
