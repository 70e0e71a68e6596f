package provider

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quick is usualPace for people in a hurry.
var quick = pace{
	retry: 10 * time.Millisecond, retryMax: 100 * time.Millisecond, refusedMax: 300 * time.Millisecond, settled: 300 * time.Millisecond,
	header: 500 * time.Millisecond, stall: 300 * time.Millisecond, request: time.Second,
	init: 2 * time.Second, initSaved: 200 * time.Millisecond, announce: 20 * time.Millisecond,
	flush: 50 * time.Millisecond, flushLive: 10 * time.Millisecond, idle: 50 * time.Millisecond, applied: 10 * time.Millisecond,
	grace: 400 * time.Millisecond, soak: 50 * time.Millisecond,
}

// A server is the other side of the wire: it speaks the SDK's three doors over
// real HTTP, and misbehaves on demand.
type server struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	doc      []byte
	id       flyball.RulesetID
	streams  map[chan string]bool
	noStream bool // refuse streams
	silent   bool // no heartbeats
	down     int  // a status to answer everything with
	polls    int
	opened   []string // the Last-Event-ID of each stream
	seen     map[string]int
	batches  []flyball.TelemetryBatch
	answer   func(n int, b flyball.TelemetryBatch, w http.ResponseWriter) bool // true: it answered itself
	posts    int
	after    flyball.Duration
	wish     *flyball.SampleWish
}

func newServer(t *testing.T, doc flyball.Ruleset) *server {
	s := &server{t: t, streams: map[chan string]bool{}, seen: map[string]int{}, after: flyball.Duration(10 * time.Millisecond)}
	s.publish(doc)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sdk/v1/ruleset", s.ruleset)
	mux.HandleFunc("GET /sdk/v1/stream", s.stream)
	mux.HandleFunc("POST /sdk/v1/telemetry", s.telemetry)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		down := s.down
		s.mu.Unlock()
		switch {
		case down != 0:
			http.Error(w, "down", down)
		case r.Header.Get("Authorization") != "Bearer fb_sdk_good":
			http.Error(w, "who?", http.StatusUnauthorized)
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		s.cut()
		s.Server.CloseClientConnections()
		s.Server.Close()
	})
	return s
}

func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// publish puts a document in force and streams it.
func (s *server) publish(doc flyball.Ruleset) {
	data, err := json.Marshal(doc)
	if err != nil {
		s.t.Fatal(err)
	}
	s.publishJSON(flyball.RulesetID{Epoch: doc.Epoch, Version: doc.Version}, string(data))
}

func (s *server) publishJSON(id flyball.RulesetID, data string) {
	s.mu.Lock()
	s.doc, s.id = []byte(data), id
	s.mu.Unlock()
	s.say(fmt.Sprintf("event: ruleset\nid: %s\ndata: %s\n\n", eventID(id), data))
}

// say sends raw text on every stream; an empty one ends them.
func (s *server) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.streams {
		ch <- text
	}
}

func (s *server) cut() { s.say("") }

func (s *server) ruleset(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.polls++
	etag, doc := `"`+eventID(s.id)+`"`, s.doc
	s.mu.Unlock()
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if r.Header.Get("Accept-Encoding") != "gzip" {
		s.t.Errorf("a poll accepts %q, not gzip", r.Header.Get("Accept-Encoding"))
	}
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	defer z.Close()
	_, _ = z.Write(doc)
}

func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.opened = append(s.opened, r.Header.Get("Last-Event-ID"))
	if s.noStream {
		s.mu.Unlock()
		http.Error(w, "no streams here", http.StatusNotImplemented)
		return
	}
	ch := make(chan string, 1000)
	s.streams[ch] = true
	id, doc := s.id, s.doc
	s.mu.Unlock()
	defer s.set(func() { delete(s.streams, ch) })
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "retry: 1000\n\n: hello\n\n")
	if r.Header.Get("Last-Event-ID") != eventID(id) {
		_, _ = fmt.Fprintf(w, "event: ruleset\nid: %s\ndata: %s\n\n", eventID(id), doc)
	}
	heartbeat := time.NewTicker(50 * time.Millisecond)
	defer heartbeat.Stop()
	for flush := w.(http.Flusher).Flush; ; {
		flush()
		select {
		case text := <-ch:
			if text == "" {
				return
			}
			_, _ = io.WriteString(w, text)
		case <-heartbeat.C:
			s.mu.Lock()
			silent := s.silent
			s.mu.Unlock()
			if !silent {
				_, _ = io.WriteString(w, ": heartbeat\n\n")
			}
		case <-r.Context().Done():
			return
		}
	}
}

func (s *server) telemetry(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			s.t.Errorf("telemetry: %v", err)
			return
		}
		body = z
	}
	var b flyball.TelemetryBatch
	if err := json.NewDecoder(body).Decode(&b); err != nil {
		s.t.Errorf("telemetry: %v", err)
	}
	if err := b.Validate(); err != nil {
		s.t.Errorf("telemetry: %v", err)
	}
	s.mu.Lock()
	s.posts++
	n, answer, after, wish := s.posts, s.answer, s.after, s.wish
	s.mu.Unlock()
	if answer != nil && answer(n, b, w) {
		return
	}
	s.mu.Lock()
	s.accept(b)
	s.mu.Unlock()
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(flyball.TelemetryReply{Accepted: len(b.Exposures) + len(b.Observations), FlushAfter: after, Sample: wish})
}

// accept counts a batch once. It is called with the lock.
func (s *server) accept(b flyball.TelemetryBatch) {
	if s.seen[b.Batch]++; s.seen[b.Batch] == 1 {
		s.batches = append(s.batches, b)
	}
}

// received returns all batches that were acknowledged.
func (s *server) received() []flyball.TelemetryBatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]flyball.TelemetryBatch(nil), s.batches...)
}

// until waits for a real condition, with a deadline.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// newProvider returns a quick provider of s that has not started.
func newProvider(t *testing.T, s *server, edit ...func(*Options)) *Provider {
	t.Helper()
	o := Options{Server: s.URL, Token: "fb_sdk_good", Service: "checkout", ServiceVersion: "1.4.2", Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, e := range edit {
		e(&o)
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	p.pace = quick
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = p.Close(ctx)
	})
	return p
}

// started returns a quick provider of s that has started.
func started(t *testing.T, s *server, edit ...func(*Options)) *Provider {
	t.Helper()
	p := newProvider(t, s, edit...)
	if err := p.Start(t.Context()); err != nil {
		t.Fatalf("start: %v", err)
	}
	return p
}

// newFlag returns a boolean flag that serves on.
func newFlag(key string) flyball.RulesetFlag {
	return flyball.RulesetFlag{
		Key: key, Type: flyball.TypeBoolean, Variants: flyball.Variants{"on": true, "off": false}, SafeVariant: "off",
		FlagConfig: flyball.FlagConfig{
			Flag: key, Enabled: true, OffVariant: "off", Seed: key, HashVersion: flyball.HashVersion, Default: flyball.Serve{Variant: "on"},
		},
	}
}

func ruleset(version int64, flags ...flyball.RulesetFlag) flyball.Ruleset {
	return flyball.Ruleset{Environment: "production", Epoch: 1, Version: version, Flags: flags}
}

// ramp returns a flag under rollout at a share.
func ramp(key string, ppm, step int) flyball.RulesetFlag {
	f := newFlag(key)
	f.Default.Variant = "off"
	f.Rollout = &flyball.Overlay{ID: "ro-" + key, Step: step, Where: "default", Unit: "targetingKey", Treatment: "on", Control: "off", PPM: ppm}
	return f
}

func user(key string) *flyball.EvaluationContext {
	return &flyball.EvaluationContext{TargetingKey: key}
}

func (p *Provider) variant(key string) string { return p.Evaluate(key, user("user-1")).Variant }

func withDir(dir string) func(*Options) { return func(o *Options) { o.DataDir = dir } }
