package main

import (
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/flyballdev/flyball/bench/record"
	"github.com/flyballdev/flyball/bench/target"
)

// All that wrk would ask is asked once, of a real server on a core of its own.
func TestEachQuestionHasItsAnswer(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("needs two cores")
	}
	binary, err := target.Binary(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	server, questions, err := prepare(t.Context(), binary, filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	if err := ask(t.Context(), server.URL, questions); err != nil {
		t.Fatal(err)
	}
	for _, q := range questions {
		if s := q.script(); len(q.answer) == 0 || q.unchanged != (len(q.tags) == users) || q.unchanged != strings.Contains(s, "If-None-Match") || strings.Count(s, "wrk.format") != users {
			t.Errorf("%s: %d bytes of an answer, %d tags, and this to ask: %.300s", q.name, len(q.answer), len(q.tags), s)
		}
	}
	if now, peak, err := server.RSS(); err != nil || now <= 0 || peak < now {
		t.Errorf("memory %d of %d at most, %v", now, peak, err)
	}
	wrong := *questions[0]
	wrong.flags = 7
	if err := ask(t.Context(), server.URL, []*question{&wrong}); err == nil {
		t.Error("an answer of another shape goes unnoticed")
	}
}

func TestTheFloorGivesTheAnswersItWasGiven(t *testing.T) {
	server := httptest.NewServer(floor(map[string]ready{"/0": {Status: 200, Body: []byte("yes")}, "/1": {Status: 304, Tag: `"1.7"`}}))
	defer server.Close()
	body, _, err := (&question{name: "whole", path: "/0"}).ask(t.Context(), server.URL, 1, "", 200)
	if err != nil || string(body) != "yes" {
		t.Errorf("answers %q, %v", body, err)
	}
	_, tag, err := (&question{name: "unchanged", path: "/1"}).ask(t.Context(), server.URL, 1, `"1.7"`, 304)
	if err != nil || tag != `"1.7"` {
		t.Errorf("answers with tag %s, %v", tag, err)
	}
}

const told = `Running 2s test @ http://127.0.0.1:37185
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   561.59ms  277.30ms   1.12s    67.02%
  Latency Distribution
     50%  431.00us
     75%  703.41us
     90%    1.03ms
     99%    1.12s 
  148600 requests in 2.01s, 11.51MB read
Requests/sec:  74300.12
Transfer/sec:      5.72MB
`

func TestWhatWrkTellsIsRead(t *testing.T) {
	l, err := parse(told)
	if err != nil || l != (load{PerSecond: 74300.12, P50: 0.431, P99: 1120, requests: 148600}) {
		t.Errorf("read %+v, %v", l, err)
	}
	for _, bad := range []string{"", "Requests/sec: 12.0", "  9 requests in 2.01s\nRequests/sec: 12.0", strings.Replace(told, "148600 requests", "", 1), told + "  Non-2xx or 3xx responses: 3\n", told + "  Socket errors: connect 0, read 5, write 0, timeout 0\n"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("this is taken for a measurement: %s", bad)
		}
	}
}

func TestTheTableHasARowForEachCase(t *testing.T) {
	var out strings.Builder
	show(&out, record.Begin("server", "test"), figures{
		Loaded:   []comparison{{Case: "single W1", Floor: load{PerSecond: 100, P50: 1, P99: 2}, Flyball: load{PerSecond: 85, P50: 1, P99: 2}, Share: 0.85, ByCPU: 0.79}},
		Unloaded: []comparison{{Case: "single W1"}},
	})
	if !strings.Contains(out.String(), "| single W1 ") || !strings.Contains(out.String(), " 0.85 |") || !strings.Contains(out.String(), " 0.79 |") {
		t.Errorf("printed\n%s", out.String())
	}
}
