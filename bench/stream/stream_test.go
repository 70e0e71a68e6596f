package main

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball/bench/record"
	"github.com/flyballdev/flyball/bench/target"
)

// A few clients of a real server get each change, and so does a real provider.
func TestChangesReachEveryClient(t *testing.T) {
	binary, err := target.Binary(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	h := &house{binary: binary, data: filepath.Join(t.TempDir(), "data"), rest: 50 * time.Millisecond}
	if err := h.fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := h.reach(t.Context(), 20, 3)
	if err != nil {
		t.Fatal(err)
	}
	if r.Light == nil || r.Light.N != 60 || r.Provider == nil || r.Provider.N != 3 || r.Light.P50 <= 0 || r.ConnectMS <= 0 {
		t.Errorf("after 3 changes for 20 clients: %+v", r)
	}
	one, err := h.reach(t.Context(), 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	if one.Light != nil || one.Provider.N != 2 {
		t.Errorf("after 2 changes for one client: %+v", one)
	}
	w, err := h.write(t.Context(), 5)
	if err != nil || w.N != 5 || w.AnswerMS <= 0 {
		t.Errorf("5 writes: %+v, %v", w, err)
	}
	var out strings.Builder
	show(&out, record.Begin("stream", "test"), figures{Sizes: []comparison{{Clients: 20, Flyball: r, Floor: r, Ratio: 1}}, Write: w})
	if !strings.Contains(out.String(), "| 20, flyball ") {
		t.Errorf("no row for the clients in\n%s", out.String())
	}
}

func TestTheHubReachesItsClients(t *testing.T) {
	server := httptest.NewServer(newHub())
	defer server.Close()
	c := &crowd{url: server.URL + "/stream"}
	defer c.close()
	if err := c.connect(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	s := &target.Server{URL: server.URL}
	for i, path := range []string{"/kill", "/resume"} {
		if err := c.change(i == 0, func(bool) error { return s.Call(t.Context(), "POST", path, nil, nil) }); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range c.clients {
		if l.took <= 0 || l.version.Load() != 3 {
			t.Errorf("a client has version %d after %v", l.version.Load(), l.took)
		}
	}
	if err := c.change(true, func(bool) error { return s.Call(t.Context(), "POST", "/resume", nil, nil) }); err == nil {
		t.Error("a client that was told the contrary goes unnoticed")
	}
}

func TestTheFloorsEventIsOfItsSize(t *testing.T) {
	for _, killed := range []bool{false, true} {
		if n := len(event(7, killed)); n != eventSize {
			t.Errorf("killed %v: %d bytes, not %d", killed, n, eventSize)
		}
	}
}

func TestQuantiles(t *testing.T) {
	var all []time.Duration
	for i := range 100 {
		all = append(all, time.Duration(100-i)*time.Millisecond)
	}
	if q := quantilesOf(all); *q != (quantiles{P50: 51, P99: 100, Max: 100, N: 100}) {
		t.Errorf("of 1 to 100 ms: %+v", q)
	}
}
