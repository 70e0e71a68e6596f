package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/flyballdev/flyball/internal/api"
)

// The doors beside the rows take nothing twice either, and no name in another
// case: those by which people sign in, and the one for agents.
func TestNoDoorTakesANameTwice(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	cookie := h.account("ann", fields{"role": "admin"})
	agent := h.agent()
	pass := `"password":"` + password + `"`
	for _, tt := range []struct{ path, body, field string }{
		{"/auth/login", `{"name":"bob","name":"ann",` + pass + `}`, "name"},
		{"/auth/login", `{"name":"ann","password":"wrong",` + pass + `}`, "password"},
		{"/auth/login", `{"name":"ann","\u006eame":"bob",` + pass + `}`, "name"},
		{"/auth/login", `{"name":"bob","NAME":"ann",` + pass + `}`, "NAME"},
		{"/auth/login", `{"Name":"ann",` + pass + `}`, "Name"},
		{"/auth/setup", `{"token":"a","token":"b",` + pass + `}`, "token"},
		{"/auth/setup", `{"token":"a","Token":"b",` + pass + `}`, "Token"},
		{"/auth/stepup", `{` + pass + `,` + pass + `}`, "password"},
		{"/auth/stepup", `{` + pass + `,"PASSWORD":"b"}`, "PASSWORD"},
		{"/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}`, "method"},
		{"/mcp", toolCall("find_flags", `{"query":"a","query":"b"}`), "params.arguments.query"},
		{"/mcp", toolCall("plan_change", `{"operation":"set_default","input":{"key":"`+search+`","default":{"variant":"old","variant":"new"}},"reason":"r"}`), "params.arguments.input.default.variant"},
	} {
		h.unchanged(func() {
			headers := append(append(sent(cookie), ownPage...), "Accept", "application/json, text/event-stream")
			if tt.path == "/mcp" {
				headers = headers[2:]
			}
			token := map[bool]string{true: agent}[tt.path == "/mcp"]
			r := h.send("POST", tt.path, token, tt.body, headers...).want(t, 422)
			if got := r.read(t, "errors.0.field"); got != tt.field {
				t.Errorf("%s %s: it blames %v: %s", tt.path, tt.body, got, r.body)
			}
		})
	}
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"Method":"tools/list"}`,
		toolCall("find_flags", `{"query":"a","Query":"b"}`),
		toolCall("expose", `{"flag":"`+search+`","environment":"production","share_ppm":1,"SHARE_PPM":50000,"minutes":1,"reason":"r"}`),
		toolCall("plan_change", `{"operation":"set_default","Operation":"kill_flag","input":{},"reason":"r"}`),
	} {
		h.unchanged(func() {
			r := h.send("POST", "/mcp", agent, body, "Content-Type", "application/json", "Accept", "application/json, text/event-stream")
			nothing := r.StatusCode == 202 && len(r.body) == 0 // it asks for nothing that is known
			if nothing || strings.Contains(string(r.body), `"isError":true`) || r.StatusCode/100 == 4 {
				return
			}
			t.Errorf("%s: %d: %s", body, r.StatusCode, r.body)
		})
	}
}

func toolCall(tool, args string) string {
	return `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"` + tool + `","arguments":` + args + `}}`
}

// By standard input no arguments are taken in which a name stands twice.
func TestNoToolTakesANameTwiceByStandardInput(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	toServer, in := io.Pipe()
	out, fromServer := io.Pipe()
	do := func(r *http.Request) (*http.Response, error) {
		r.URL.Host, r.Host = strings.TrimPrefix(h.url, "http://"), ""
		return carrying{h.agent(), h.client.Transport}.RoundTrip(r)
	}
	done := make(chan error, 1)
	go func() { done <- api.ServeStdio(t.Context(), toServer, fromServer, do) }()
	lines := bufio.NewScanner(out)
	say := func(line string) {
		if _, err := fmt.Fprintln(in, line); err != nil {
			t.Error(err)
		}
	}
	say(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`)
	lines.Scan()
	say(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	say(toolCall("plan_change", `{"operation":"set_default","input":{"key":"`+search+`","environment":"production","default":{"variant":"old","variant":"new"}},"reason":"r"}`))
	lines.Scan()
	if got := lines.Text(); !strings.Contains(got, `"isError":true`) || !strings.Contains(got, `"input.default.variant"`) {
		t.Errorf("it answered %s", got)
	}
	in.Close()
	<-done
}
