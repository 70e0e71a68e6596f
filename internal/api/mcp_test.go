package api_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/flyballdev/flyball/internal/api"
)

// carrying sends a token with each request.
type carrying struct {
	token string
	next  http.RoundTripper
}

func (b carrying) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// mcp connects the protocol's own client with a token.
func (h *house) mcp(token string, opts *mcp.ClientOptions) (*mcp.ClientSession, error) {
	h.t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, opts)
	return client.Connect(h.t.Context(), &mcp.StreamableClientTransport{
		Endpoint: h.url + "/mcp", HTTPClient: &http.Client{Transport: carrying{token, h.client.Transport}}, MaxRetries: -1,
	}, nil)
}

func (h *house) tools(token string) *mcp.ClientSession {
	h.t.Helper()
	s, err := h.mcp(token, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { s.Close() })
	return s
}

// A told is what a tool answered.
type told struct {
	any
	refused bool
}

func (a told) read(path string) any { return dig(a.any, path) }

// use calls a tool.
func use(t testing.TB, s *mcp.ClientSession, tool string, args fields) told {
	t.Helper()
	r, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	return toldBy(t, r)
}

func toldBy(t testing.TB, r *mcp.CallToolResult) told {
	t.Helper()
	out := told{refused: r.IsError}
	body, err := json.Marshal(r.StructuredContent)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &out.any); err != nil {
		t.Fatal(err)
	}
	if len(body) > 40<<10 {
		t.Errorf("an answer of %d bytes is not small", len(body))
	}
	return out
}

// TestToolsAreStatic holds the list of tools to the golden file: it is the same
// for everybody, whatever the installation holds.
func TestToolsAreStatic(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	list := func(s *mcp.ClientSession) string {
		all, err := s.ListTools(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, tool := range all.Tools {
			if a := tool.Annotations; a == nil || a.OpenWorldHint == nil || *a.OpenWorldHint || a.DestructiveHint == nil {
				t.Errorf("%s does not say what it does to the world", tool.Name)
			}
		}
		body, err := json.MarshalIndent(all.Tools, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		return string(body) + "\n"
	}
	got := list(h.tools(h.admin))
	if other := list(h.tools(h.agent())); other != got {
		t.Error("an agent is told other tools than a person")
	}
	const golden = "testdata/tools.json"
	if *rewrite {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("the tools differ from %s; if it is meant, run with -rewrite:\n%s", golden, d)
	}
}

func TestToolsTakeTheTokensThatManageAndNoOthers(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	for name, token := range map[string]string{
		"none": "", "garbage": "fb_api_x", "sdk": h.token(fields{"kind": "sdk", "name": "s", "environment": "production"}),
		"client": h.token(fields{"kind": "client", "name": "c", "environment": "production"}),
	} {
		if s, err := h.mcp(token, nil); err == nil {
			s.Close()
			t.Errorf("%s is let in", name)
		}
	}
	r := h.must("create_token", fields{"kind": "api", "name": "short", "reason": "a test"})
	s := h.tools(r.read(t, "secret").(string))
	if got := use(t, s, "find_flags", fields{"query": "search"}); got.read("flags.0.key") != search {
		t.Errorf("it finds %v", got.any)
	}
	h.must("revoke_token", fields{"id": r.read(t, "id"), "reason": "a test"})
	eventually(t, "a revoked token opens no tool", func() bool {
		_, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "find_flags", Arguments: fields{}})
		return err != nil
	})
}

// A proxy on the same machine passes the name on by which it was called.
func TestToolsAreReachedThroughAProxy(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	r, err := http.NewRequestWithContext(t.Context(), "POST", h.url+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "flyball.example.com"
	r.Header.Set("Authorization", "Bearer "+h.agent())
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := h.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || !strings.Contains(string(body), "find_flags") {
		t.Errorf("%d: %s", resp.StatusCode, body)
	}
}

// Every tool does what it says, over HTTP.
func TestToolsDoWhatTheySay(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	everyTool(t, h, h.tools(h.agent()))
}

// The same tools do the same on standard input and output, by way of the API.
func TestToolsDoTheSameOnStandardInputAndOutput(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	everyTool(t, h, h.stdio(h.agent()))
}

// stdio connects the protocol's own client to tools that reach the house by its
// API alone.
func (h *house) stdio(token string) *mcp.ClientSession {
	h.t.Helper()
	toServer, fromClient := io.Pipe()
	toClient, fromServer := io.Pipe()
	do := func(r *http.Request) (*http.Response, error) {
		r.URL.Host, r.Host = strings.TrimPrefix(h.url, "http://"), ""
		return carrying{token, h.client.Transport}.RoundTrip(r)
	}
	done := make(chan error, 1)
	go func() { done <- api.ServeStdio(h.t.Context(), toServer, fromServer, do) }()
	s, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(h.t.Context(), &mcp.IOTransport{Reader: toClient, Writer: fromClient}, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { s.Close(); <-done })
	return s
}

// everyTool uses every tool as it is meant, by an agent with a wide envelope.
func everyTool(t *testing.T, h *house, s *mcp.ClientSession) {
	want := func(got told, path string, v any) {
		t.Helper()
		if got.read(path) != v {
			t.Errorf("%s is %v, want %v: %v", path, got.read(path), v, got.any)
		}
	}
	want(use(t, s, "find_flags", fields{"owner": "default", "limit": 1}), "flags.#", 1.0)
	got := use(t, s, "explain_flag", fields{"flag": search})
	want(got, "environments.production.rules.0.serves", "new")
	want(got, "untrusted_text/production.rules.canada.if", `{"attribute":"country","op":"in","values":["CA"]}`)
	want(use(t, s, "explain_flag", fields{"flag": killed}), "untrusted_text/production.killed", "a test")
	got = use(t, s, "evaluate", fields{"flag": search, "environment": "production", "context": fields{"targetingKey": "tester-1"}})
	want(got, "rule", "staff")
	want(got, "untrusted_text.value", `"new"`)
	const mine = "shop.agents.own"
	want(use(t, s, "create_flag", fields{"key": mine, "owner": "default", "description": "made by an agent", "reason": "a test"}), "environments.production.enabled", false)

	got = use(t, s, "plan_change", fields{"operation": "set_default", "input": fields{"key": mine, "environment": "staging", "default": fields{"variant": "on"}}, "reason": "a test"})
	want(got, "changes", true)
	want(got, "beyond_envelope", nil)
	digest := got.read("digest")
	want(use(t, s, "apply_plan", fields{"digest": digest}), "applied", true)
	if got := use(t, s, "apply_plan", fields{"digest": strings.Repeat("0", 64)}); !got.refused || got.read("code") != "not_found" {
		t.Errorf("a plan of nobody's: %v", got.any)
	}
	h.must("set_default", fields{"key": mine, "environment": "staging", "default": fields{"variant": "off"}, "reason": "a test"})
	h.must("enable_flag", fields{"key": mine, "environment": "staging", "reason": "a test"})
	if got := use(t, s, "apply_plan", fields{"digest": digest}); !got.refused || got.read("code") != "conflict" {
		t.Errorf("a plan of what has changed since: %v", got.any)
	}

	got = use(t, s, "expose", fields{"flag": mine, "environment": "production", "share_ppm": 1000, "minutes": 2, "guardrails": []fields{{"metric": "shop.errors", "relative": 0.05}}, "reason": "a first look"})
	want(got, "state", "running")
	want(got, "ppm", 1000.0)
	want(got, "fleet.instances", 0.0)
	id := got.read("rollout")
	want(use(t, s, "await_verdict", fields{"rollout": id, "seconds": 1}), "done", false)
	want(use(t, s, "get_evidence", fields{"rollout": mine}), "verdict", "unsure")
	want(use(t, s, "rollout_action", fields{"rollout": mine, "action": "hold", "reason": "a test"}), "state", "paused")
	want(use(t, s, "rollout_action", fields{"rollout": mine, "action": "resume", "reason": "a test"}), "state", "running")
	want(use(t, s, "rollout_action", fields{"rollout": fast, "action": "pass_gate", "reason": "a test"}), "flag", fast)
	want(use(t, s, "rollout_action", fields{"rollout": mine, "action": "abort", "reason": "a test"}), "state", "aborted")
	want(use(t, s, "await_verdict", fields{"rollout": id, "for": "end"}), "outcome", "aborted")
	want(use(t, s, "worklist", fields{"why": "aborted"}), "work.0.flag", mine)
	got = use(t, s, "history", fields{"flag": mine, "limit": 3})
	want(got, "entries.0.action", "rollout.abort")
	want(got, "entries.0.on_behalf_of", "user:ann")

	got = use(t, s, "request_approval", fields{"operation": "resume_flag", "input": fields{"key": killed, "environment": "production"}, "reason": "it is mended"})
	want(got, "state", "open")
	want(got, "plan.beyond_envelope.limit", "resume")
	planned := use(t, s, "plan_change", fields{"operation": "set_default", "input": fields{"key": mine, "environment": "production", "default": fields{"variant": "on"}}, "reason": "a test"})
	want(use(t, s, "request_approval", fields{"digest": planned.read("digest")}), "plan.digest", planned.read("digest"))
	nothing := fields{"operation": "set_default", "input": fields{"key": mine, "environment": "production", "default": fields{"variant": "off"}}, "reason": "a test"}
	if got := use(t, s, "request_approval", nothing); !got.refused || got.read("code") != "conflict" {
		t.Errorf("what is so already was asked for: %v", got.any)
	}
	if got := use(t, s, "plan_change", fields{"operation": "create_token", "input": fields{}, "reason": "a test"}); !got.refused || got.read("fields.0") != "operation" {
		t.Errorf("a plan of what agents do not do: %v", got.any)
	}
}

func TestFlagsAreResourcesAndWaysOfWorkingArePrompts(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	s := h.tools(h.agent())
	r, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "flag://" + search})
	if err != nil {
		t.Fatal(err)
	}
	if text := r.Contents[0].Text; !strings.Contains(text, `"safe_variant":"old"`) {
		t.Errorf("the resource is %s", text)
	}
	if _, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "flag://no.such.flag"}); err == nil {
		t.Error("there is a resource of a flag that is not there")
	}
	for _, name := range []string{"ship", "clean-up"} {
		p, err := s.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: name, Arguments: map[string]string{"flag": search, "owner": "default"}})
		if err != nil || len(p.Messages) != 1 {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
}

func TestAWaitTellsItsProgress(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	heard := make(chan *mcp.ProgressNotificationParams, 100)
	s, err := h.mcp(h.agent(), &mcp.ClientOptions{ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { heard <- r.Params }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	params := &mcp.CallToolParams{Name: "await_verdict", Arguments: fields{"rollout": fast, "for": "end", "seconds": 60}}
	params.SetProgressToken("waiting")
	ended := make(chan *mcp.CallToolResult, 1)
	go func() {
		if r, err := s.CallTool(t.Context(), params); err == nil {
			ended <- r
		}
	}()
	select {
	case p := <-heard:
		if p.ProgressToken != "waiting" || p.Message != "unsure" || p.Progress <= 0 {
			t.Errorf("the progress is %+v", p)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("there is no progress")
	}
	h.must("abort_rollout", fields{"id": fast, "reason": "support calls"})
	select {
	case r := <-ended:
		if got := toldBy(t, r); got.read("outcome") != "aborted" || got.read("untrusted_text.why") != "support calls" {
			t.Errorf("it ends with %v", got.any)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
}

func TestTextByOthersIsCleanedAndCut(t *testing.T) {
	for in, want := range map[string]string{
		"plain, with umlauts: äöü 漢字 🚀":                    "plain, with umlauts: äöü 漢字 🚀",
		"a\x1b[31mred\x1b[0m b":                            "ared b",
		"a\x1b]0;title\x07b":                               "ab",
		"a\u009b31mred":                                    "ared",
		"a\x00\x07\x7fb\nc":                                "ab c",
		"zero\u200bwidth\u200d\ufeff\u2060":                "zerowidth",
		"\u202eright to left\u202c \u2066x\u2069":          "right to left x",
		"tag\U000e0041\U000e0042\U000e007f":                "tag",
		"selector\ufe0f\U000e0101":                         "selector",
		"filler\u3164\u115f\u00ad\u034f":                   "filler",
		"private\ue000\U000f0000":                          "private",
		"bad\xff\xfeutf8":                                  "badutf8",
		strings.Repeat("é", 2000):                          strings.Repeat("é", 1024),
		"\x1b":                                             "",
		"\x1b[":                                            "",
		"\x1b[999999999999999999999999999999999999999999m": "",
	} {
		if got := api.Cleaned(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
