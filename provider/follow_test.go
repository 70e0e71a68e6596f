package provider

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/open-feature/go-sdk/openfeature"
)

func TestNewNamesTheOptionToMend(t *testing.T) {
	for field, o := range map[string]Options{
		"Server": {Server: "flags.example.com", Token: "x"}, "Token": {Server: "http://x"},
		"Service": {Server: "http://x", Token: "x", Service: strings.Repeat("x", 200)}, "InitTimeout": {Server: "http://x", Token: "x", InitTimeout: -1},
	} {
		if _, err := New(o); err == nil || flyball.Problems(err)[0].Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestAProviderFollowsTheStream(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.a")))
	p := started(t, s)
	if p.variant("team.a") != "on" || p.Version().Version != 1 || p.Err() != nil {
		t.Errorf("at the start: %s, %v, %v", p.variant("team.a"), p.Version(), p.Err())
	}
	for v := int64(2); v <= 50; v++ {
		f := newFlag("team.a")
		f.Enabled = v%2 == 1
		changed := p.Changed()
		s.publish(ruleset(v, f))
		for p.Version().Version != v {
			<-changed
			changed = p.Changed()
		}
		if want := []string{"off", "on"}[v%2]; p.variant("team.a") != want {
			t.Fatalf("at version %d: %s, want %s", v, p.variant("team.a"), want)
		}
	}
	if s.polls > 0 {
		t.Errorf("polled %d times beside a working stream", s.polls)
	}
}

// A later version is never undone, whatever order answers arrive in; a new
// epoch is, since the database was restored.
func TestVersionsOnlyRise(t *testing.T) {
	s := newServer(t, ruleset(5, newFlag("team.a")))
	p := started(t, s)
	off := newFlag("team.a")
	off.Enabled = false
	s.publish(ruleset(4, off))
	s.publish(ruleset(5, off))
	marker := ruleset(6, newFlag("team.a"))
	s.publish(marker)
	until(t, "version 6", func() bool { return p.Version().Version == 6 })
	restored := ruleset(2, off)
	restored.Epoch = 2
	s.publish(restored)
	until(t, "the restored database", func() bool { return p.Version() == flyball.RulesetID{Epoch: 2, Version: 2} })
	if p.variant("team.a") != "off" {
		t.Errorf("the restored ruleset is not served")
	}
	s.publish(ruleset(7, newFlag("team.a"))) // of the old epoch
	s.publish(flyball.Ruleset{Environment: "production", Epoch: 2, Version: 3})
	until(t, "version 3 of epoch 2", func() bool { return p.Version() == flyball.RulesetID{Epoch: 2, Version: 3} })
}

func TestAPatchIsAppliedOrMadeUpForByAPoll(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.a"), newFlag("team.b")))
	p := started(t, s)
	off := newFlag("team.a")
	off.Enabled = false
	flags, _ := json.Marshal([]flyball.RulesetFlag{off})
	s.say(`event: patch` + "\n" + `data: {"from":{"epoch":1,"version":1},"to":{"epoch":1,"version":2},"flags":` + string(flags) + `,"removedFlags":["team.b"]}` + "\n\n")
	until(t, "the patch", func() bool { return p.Version().Version == 2 })
	if p.variant("team.a") != "off" || p.Evaluate("team.b", nil).ErrorCode != flyball.ErrorFlagNotFound || s.polls != 0 {
		t.Errorf("after the patch: %s, %d polls", p.variant("team.a"), s.polls)
	}
	s.set(func() {
		data, _ := json.Marshal(ruleset(9, newFlag("team.a")))
		s.doc, s.id = data, flyball.RulesetID{Epoch: 1, Version: 9}
	})
	s.say("event: patch\ndata: {\"from\":{\"epoch\":1,\"version\":8},\"to\":{\"epoch\":1,\"version\":9}}\n\n")
	until(t, "the whole ruleset", func() bool { return p.Version().Version == 9 })
	if p.variant("team.a") != "on" || s.polls != 1 {
		t.Errorf("after the poll: %s, %d polls", p.variant("team.a"), s.polls)
	}
}

func TestPollingStandsInForTheStream(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.a")))
	s.noStream = true
	p := started(t, s)
	s.publish(ruleset(2, newFlag("team.b")))
	until(t, "version 2 by a poll", func() bool { return p.Version().Version == 2 })
	if p.Err() != nil {
		t.Errorf("up to date by polls, but: %v", p.Err())
	}
	s.set(func() { s.noStream = false })
	until(t, "the stream", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.streams) == 1 })
	s.publish(ruleset(3, newFlag("team.b")))
	until(t, "version 3", func() bool { return p.Version().Version == 3 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened[0] != "" || !slices.Contains(s.opened, "1.2") {
		t.Errorf("streams were opened with %q; the first has no version, a later one says 1.2", s.opened)
	}
}

// A connection that is dead, but not closed, is found out by its silence.
func TestASilentStreamIsGivenUp(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.a")))
	p := started(t, s)
	s.set(func() { s.silent = true })
	until(t, "a second stream", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.opened) > 1 })
	s.set(func() { s.silent = false })
	until(t, "up to date", func() bool { return p.Err() == nil })
	if s.opened[1] != "1.1" {
		t.Errorf("the second stream resumes from %q, want 1.1", s.opened[1])
	}
}

func TestGoodbyeIsNoFailure(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.a")))
	p := started(t, s)
	for n := 2; n < 5; n++ {
		s.say("event: goodbye\ndata: {\"spreadMs\":20}\n\n")
		until(t, "the next stream", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.opened) == n })
	}
	if s.polls > 0 || p.Err() != nil {
		t.Errorf("%d polls, %v", s.polls, p.Err())
	}
	for len(p.events) > 0 {
		if e := <-p.events; e.EventType == openfeature.ProviderStale || e.EventType == openfeature.ProviderError {
			t.Errorf("%s: %s", e.EventType, e.Message)
		}
	}
}

// Values stay as they are while the server is down, and catch up when it is
// back, without hammering it meanwhile.
func TestAnOutageChangesNothing(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.a")))
	p := started(t, s)
	s.set(func() { s.down = http.StatusBadGateway })
	s.cut()
	until(t, "stale", func() bool { return p.Err() != nil })
	if p.variant("team.a") != "on" {
		t.Errorf("the outage changed a value to %s", p.variant("team.a"))
	}
	off := newFlag("team.a")
	off.Enabled = false
	s.publish(ruleset(2, off))
	s.set(func() { s.down = 0 })
	until(t, "caught up", func() bool { return p.Err() == nil && p.variant("team.a") == "off" })
}

// What cannot be read harms one flag; what is no ruleset at all harms nobody.
func TestPoisonIsSurvived(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.a"), newFlag("team.b")))
	p := started(t, s)
	for i, poison := range []string{
		"null", "[]", "{", `""`, `{"environment":""}`,
		`{"environment":"production","epoch":1,"version":99,"flags":{}}`, `{"environment":"production","epoch":1,"version":99,"flags":[5]}`,
		`{"environment":"production","epoch":1,"version":"99"}`, strings.Repeat("[", 100_000),
	} {
		before := len(s.openedNow())
		s.publishJSON(flyball.RulesetID{Epoch: 1, Version: int64(100 + i)}, poison)
		until(t, "a new attempt after "+poison[:min(20, len(poison))], func() bool { return len(s.openedNow()) > before })
		if p.variant("team.a") != "on" || p.Version().Version != 1 {
			t.Fatalf("after %s: %s, %v", poison[:min(20, len(poison))], p.variant("team.a"), p.Version())
		}
	}
	b := newFlag("team.b")
	b.Enabled = false
	fine, _ := json.Marshal(b)
	s.publishJSON(flyball.RulesetID{Epoch: 1, Version: 200}, `{"environment":"production","epoch":1,"version":200,"flags":[`+
		`{"key":"team.a","enabled":true,"type":"boolean","rules":[{"id":"r","if":{"attribute":"x","op":"resembles","values":["y"]},"serve":{"variant":"off"}}]},`+string(fine)+`]}`)
	until(t, "version 200", func() bool { return p.Version().Version == 200 })
	if p.variant("team.a") != "on" || p.variant("team.b") != "off" {
		t.Errorf("quarantined: %s, want on; its neighbour: %s, want off", p.variant("team.a"), p.variant("team.b"))
	}
	until(t, "the server is told", func() bool {
		got := s.received()
		return len(got) > 0 && len(got[len(got)-1].Errors) > 0 && strings.Contains(got[len(got)-1].Errors[0], "team.a")
	})
}

func (s *server) openedNow() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.opened)
}

// A token that is refused changes no value, and is not asked about again and
// again.
func TestARefusedToken(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.a")))
	p := newProvider(t, s, func(o *Options) { o.Token = "fb_sdk_bad" })
	if err := p.Start(t.Context()); flyball.CodeOf(err) != flyball.Unauthenticated {
		t.Errorf("start: %v", err)
	}
	if r := p.Evaluate("team.a", nil); r.ErrorCode != flyball.ErrorProviderNotReady {
		t.Errorf("without a ruleset: %+v", r)
	}

	good := started(t, s)
	s.set(func() { s.down = http.StatusForbidden })
	s.cut()
	until(t, "refused", func() bool { return flyball.CodeOf(good.Err()) == flyball.Forbidden })
	if good.variant("team.a") != "on" {
		t.Errorf("a refusal changed a value")
	}
	s.set(func() { s.down = 0 })
	until(t, "accepted again", func() bool { return good.Err() == nil })
}

// Attempts spread out, and never come closer than the least pause.
func TestJitterSpreadsAttempts(t *testing.T) {
	j := jitter{least: time.Second, most: 30 * time.Second}
	longest := time.Duration(0)
	for range 1000 {
		d := j.next()
		if d < time.Second || d > 30*time.Second {
			t.Fatalf("a pause of %v", d)
		}
		longest = max(longest, d)
	}
	if j.reset(); longest < 20*time.Second || j.next() > 3*time.Second {
		t.Errorf("the longest pause of 1000 is %v; after a reset %v", longest, j.last)
	}
}

func TestStreamsAreReadAsTheStandardSays(t *testing.T) {
	text := ": a comment\r\nevent: x\r\ndata: one\r\ndata:two\r\nid: 7\r\nunknown: y\r\n\r\n" +
		"event: dropped, for it has no data\n\ndata\n\ndata: {\"a\": 1}\n: within\n\nevent: last\ndata: cut off"
	r := newEventReader(strings.NewReader(text), func() {})
	var got []string
	for {
		e, err := r.next()
		if err != nil {
			break
		}
		got = append(got, fmt.Sprintf("%s=%s", e.name, e.data))
	}
	want := []string{"=", "x=one\ntwo", "message=", `message={"a": 1}`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// FuzzStream reads any bytes as a stream, in bounded memory.
func FuzzStream(f *testing.F) {
	f.Add([]byte("event: ruleset\ndata: {}\n\n"))
	f.Add([]byte(": \n\n\r\n:data\ndata"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newEventReader(strings.NewReader(string(data)), func() {})
		for n := 0; ; n++ {
			e, err := r.next()
			if err != nil {
				return
			}
			if n > len(data) || len(e.data) > len(data) {
				t.Fatalf("%d events, the last of %d bytes, from %d bytes", n, len(e.data), len(data))
			}
		}
	})
}
