package api_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flyballdev/flyball/internal/api"
)

// raw writes bytes to the server and reads the head of its answer.
func (h *house) raw(text string) (*http.Response, error) {
	h.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(conn), nil)
}

// bodied are the routes that take a body, with a token that they take.
func bodied(h *house) map[string]string {
	sdk := h.token(fields{"kind": "sdk", "name": "s", "environment": "production"})
	return map[string]string{
		"POST /api/v1/flags": h.admin, "POST /api/v1/segments": h.admin, "PUT /api/v1/files": h.admin, "POST /api/v1/rollouts": h.admin,
		"POST /api/v1/environments/production/flags/" + search + "/evaluate": h.admin,
		"POST /sdk/v1/telemetry": sdk, "POST /ofrep/v1/evaluate/flags": sdk, "POST /ofrep/v1/evaluate/flags/" + search: sdk,
	}
}

func TestABodyThatSaysItIsTooLargeIsRefusedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	for route, token := range bodied(h) {
		resp, err := h.raw(fmt.Sprintf("%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 1000000000\r\n\r\n{", route, token))
		if err != nil {
			t.Errorf("%s: %v", route, err)
		} else if resp.StatusCode != 413 || !resp.Close {
			t.Errorf("%s: %s, and the connection stays open: %v", route, resp.Status, !resp.Close)
		}
	}
}

// An endless reader gives a JSON text without end.
type endless struct{ read atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	copy(p, bytes.Repeat([]byte(" "), len(p)))
	e.read.Add(int64(len(p)))
	return len(p), nil
}

func TestABodyWithoutEndIsRefusedAtItsLimit(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	for route, token := range bodied(h) {
		method, path, _ := strings.Cut(route, " ")
		body := new(endless)
		req, err := http.NewRequestWithContext(t.Context(), method, h.url+path, io.NopCloser(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			if strings.Contains(err.Error(), "write") || strings.Contains(err.Error(), "reset") {
				continue // it was cut off while it still sent, which is as good
			}
			t.Errorf("%s: %v", route, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != 413 {
			t.Errorf("%s: %s", route, resp.Status)
		}
		if n := body.read.Load(); n > 48<<20 {
			t.Errorf("%s: it took %d bytes", route, n)
		}
	}
}

func TestWhatIsNotJSONIsRefused(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	bodies := map[string]string{
		"half an object": `{"reason":"a te`, "a list": `[]`, "a string": `"x"`, "a number": `7`, "null": `null`, "two objects": `{}{}`,
		"NaN": `{"reason":NaN}`, "infinity": `{"reason":Infinity}`, "a number without end": `{"reason":1e999}`,
		"lists 200,000 deep": strings.Repeat("[", 200_000), "objects 100,000 deep": strings.Repeat(`{"a":`, 100_000),
		"closed lists 30,000 deep": `{"context":` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + `}`,
		"lists 5,000 deep":         `{"context":{"x":` + strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000) + `}}`,
		"binary":                   "\x00\x01\xff\xfe", "a gzip": string(zipped([]byte(`{}`))), "XML": "<a/>",
		"a byte order mark": "\ufeff{}", "a form": "a=b&c=d",
	}
	for route, token := range bodied(h) {
		method, path, _ := strings.Cut(route, " ")
		for what, body := range bodies {
			ofrep := strings.HasPrefix(path, "/ofrep/")
			if ofrep && what == "null" || ofrep && strings.HasPrefix(what, "NaN") {
				continue
			}
			want := 422
			if ofrep {
				want = 400
			}
			h.unchanged(func() {
				r := h.send(method, path, token, body)
				if r.StatusCode == want || ofrep && (what == "a number without end" || r.StatusCode == 413) {
					return
				}
				t.Errorf("%s, %s: %d: %.300s", route, what, r.StatusCode, r.body)
			})
		}
	}
}

func TestAHeaderThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	h := open(t)
	resp, err := h.raw("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Much: " + strings.Repeat("x", 64<<10) + "\r\n\r\n")
	if err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%s", resp.Status)
	}
	h.send("GET", "/healthz", "", "").want(t, 200)
}

func TestSlowHeadersAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	if usual := api.HTTPServer(nil).ReadHeaderTimeout; usual <= 0 || usual > 5*time.Second {
		t.Errorf("headers may take %v", usual)
	}
	h := open(t, withHTTP(func(s *http.Server) { s.ReadHeaderTimeout = 100 * time.Millisecond }))
	start := time.Now()
	resp, err := h.raw("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	if err == nil && resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("%s", resp.Status)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it waited %v", took)
	}
}

func TestASlowBodyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	h := furnished(t, withHTTP(func(s *http.Server) { s.ReadTimeout = 100 * time.Millisecond }))
	if usual := api.HTTPServer(nil).ReadTimeout; usual <= 0 || usual > time.Minute {
		t.Errorf("a request may take %v", usual)
	}
	routes := bodied(h)
	routes["POST /api/v1/nothing"], routes["POST /api/v1/teams"] = h.admin, "nobody"
	for route, token := range routes {
		start := time.Now()
		resp, err := h.raw(fmt.Sprintf("%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", route, token))
		if err != nil {
			t.Errorf("%s: %v", route, err)
		} else if resp.StatusCode/100 != 4 {
			t.Errorf("%s: %s", route, resp.Status)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: it waited %v", route, took)
		}
	}
}

func TestLargeSegmentsAreTakenUntilNoSDKWouldTakeTheRuleset(t *testing.T) {
	if raced {
		t.Skip("it takes very long under the race detector, and races nobody")
	}
	t.Parallel()
	h := furnished(t)
	many := make([]string, 100_000)
	for i := range many {
		many[i] = fmt.Sprintf("%083d", i) // 8.6 MB of JSON
	}
	for i, status := range []int{200, 413} {
		key := fmt.Sprint("crowd-", i)
		made := h.must("create_segment", fields{"key": key, "owner": "default", "include": many, "reason": "a test"})
		if made.read(t, "include.#") != 100_000.0 {
			t.Errorf("it holds %v keys", made.read(t, "include.#"))
		}
		before := h.state()
		h.call(h.admin, "add_rule", in(search).with("rule", rule(key, fields{"segment": key}, fields{"variant": "new"}))).want(t, status)
		if after := h.state(); status != 200 && after != before {
			t.Errorf("it changed something: %+v, before %+v", after, before)
		}
	}
	h.unchanged(func() {
		r := h.call(h.admin, "create_segment", fields{"key": "more", "owner": "default", "include": append(many, "one"), "reason": "a test"})
		if r.want(t, 422); r.fields(t)[0] != "include" {
			t.Errorf("it blames %q", r.fields(t))
		}
		h.call(h.admin, "create_metric", fields{"key": "shop.more", "description": strings.Repeat("x", 2<<20), "reason": "a test"}).want(t, 413)
	})
}

func zipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}
