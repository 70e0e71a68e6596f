package api_test

import (
	"encoding/json"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

// What stands in for each part of a good body, in turn.
var strangers = []any{
	nil, "", "x", -1, 1.5, json.RawMessage("1e300"), json.RawMessage("9223372036854775807"), true, []any{}, []any{nil}, fields{}, fields{"": nil},
	strings.Repeat("long ", 2000), "2027-02-30T25:00:00Z", "-5m", []any{fields{"variant": "on", "ppm": 1}},
}

// Each part of each good body may be anything: the answer is no fault of ours,
// and what is served afterwards is what evaluators take.
func TestEveryPartOfEveryBodyMayBeAnything(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk, requests := h.sdk(), 0
	try := func(name, method, path, body string) {
		t.Helper()
		requests++
		req := httptest.NewRequest(method, path, strings.NewReader(body))
		token := h.admin
		if strings.HasPrefix(path, "/sdk/") || strings.HasPrefix(path, "/ofrep/") {
			token = sdk
		}
		req.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.api.ServeHTTP(w, req)
		resp := w.Result()
		resp.Request = req
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if h.sane(reply{resp, data}); resp.StatusCode >= 500 {
			t.Errorf("%s with %.300s: %s", name, body, data)
		}
	}
	telemetry := batch("strange", fields{
		"exposures": []fields{exposed(ago(0))}, "observations": []fields{observed(ago(0)).with("attributes", fields{"route": "x"})}, "applied": fields{"epoch": 1, "version": 1},
		"dropped": fields{"exposures": 0, "observations": 0}, "errors": []string{"x"}, "contexts": []fields{{"t": ago(0), "unit": "u", "attributes": fields{"a": 1}}},
		"counts": []fields{{"flag": fast, "variant": "on", "n": 1, "from": ago(0), "to": ago(0)}}, "unknownFlags": []string{"x"},
	})
	all := map[string]door{
		"telemetry": {"telemetry", "POST", "/sdk/v1/telemetry", encoded(t, telemetry)},
		"ofrep":     {"ofrep", "POST", ofrep + "/" + search, about(user("country", "CA", "nested", fields{"list": []any{1, "x"}}))},
	}
	for name, use := range useCases(h) {
		if o := operation(t, name); o.HasBody() {
			method, path, body := request(t, o, use.in)
			all[name] = door{name, method, path, body}
		}
	}
	some := strangers
	if raced {
		some = some[:4]
	}
	for name, d := range all {
		var good any
		if err := json.Unmarshal([]byte(d.body), &good); err != nil {
			t.Fatal(err)
		}
		for _, s := range some {
			replace(good, func(any) any { return s }, func() { try(name, d.method, d.path, encoded(t, good)) })
		}
	}
	if requests < 150*len(some) {
		t.Errorf("only %d requests were made", requests)
	}
	for _, env := range []string{"production", "development", "staging"} {
		token := h.token(fields{"kind": "sdk", "name": "s", "environment": env})
		compiled(t, string(h.send("GET", "/sdk/v1/ruleset", token, "").want(t, 200).body))
	}
}

func encoded(t testing.TB, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// replace puts something else in the place of each part of v, one at a time,
// and calls f each time.
func replace(v any, with func(any) any, f func()) {
	switch v := v.(type) {
	case map[string]any:
		for k, part := range v {
			v[k] = with(part)
			f()
			v[k] = part
			replace(part, with, f)
		}
	case []any:
		for i, part := range v {
			v[i] = with(part)
			f()
			v[i] = part
			replace(part, with, f)
		}
	}
}
