package api_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/api"
)

// A stream is one that is being read.
type stream struct {
	t      testing.TB
	events chan event // closed when the stream ends
	close  func()
}

// An event is one of a stream; a comment has no name.
type event struct{ name, id, data string }

func (h *house) stream(token string, headers ...string) *stream {
	h.t.Helper()
	return h.streamOf("/sdk/v1/stream", token, headers...)
}

func (h *house) streamOf(path, token string, headers ...string) *stream {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", h.url+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := h.client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		h.t.Fatalf("%s of type %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	s := &stream{t: h.t, events: make(chan event, 100), close: func() { cancel(); resp.Body.Close() }}
	h.t.Cleanup(s.close)
	go s.read(resp.Body)
	return s
}

func (s *stream) read(body io.Reader) error {
	defer close(s.events)
	r := bufio.NewReader(body)
	for e := (event{}); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			e.data = value
		case "":
			if value != "" {
				e.data = value
			}
			if e != (event{}) {
				s.events <- e
			}
			e = event{}
		}
	}
}

// next returns the next event, comments left out.
func (s *stream) next() event {
	s.t.Helper()
	for {
		if e := s.any(); e.name != "" {
			return e
		}
	}
}

// any returns the next event or comment.
func (s *stream) any() event {
	s.t.Helper()
	select {
	case e, ok := <-s.events:
		if !ok {
			s.t.Fatal("the stream ended")
		}
		return e
	case <-time.After(10 * time.Second):
		s.t.Fatal("the stream is silent")
	}
	return event{}
}

// ends waits for the end of the stream, and returns what came before.
func (s *stream) ends(within time.Duration) (before []event) {
	s.t.Helper()
	deadline := time.After(within)
	for {
		select {
		case e, ok := <-s.events:
			if !ok {
				return before
			}
			before = append(before, e)
		case <-deadline:
			s.t.Fatalf("the stream is still open after %v", within)
		}
	}
}

func compiled(t testing.TB, data string) *eval.Ruleset {
	t.Helper()
	doc, err := eval.Decode([]byte(data))
	if err != nil {
		t.Fatalf("%v: %.300s", err, data)
	}
	rs, err := eval.Compile(doc)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// tag returns the id of the ruleset in force.
func (h *house) tag() string {
	h.t.Helper()
	p, err := h.service.Published("production")
	if err != nil {
		h.t.Fatal(err)
	}
	return fmt.Sprintf("%d.%d", p.ID().Epoch, p.ID().Version)
}

func TestAStreamBeginsWithTheRulesetAndGoesOnWithPatches(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk := h.sdk()
	s := h.stream(sdk)
	first := s.next()
	if first.name != "ruleset" || first.id != h.tag() {
		t.Fatalf("the first event is %s %s, and %s is in force", first.name, first.id, h.tag())
	}
	have := compiled(t, first.data)
	changes := []func(){
		func() { h.must("kill_flag", in(fast)) },
		func() { h.must("create_flag", boolean("shop.new.one")) },
		func() {
			h.must("update_segment", fields{"key": "testers", "owner": "default", "include": []string{"tester-9"}, "reason": "a test"})
		},
		func() { h.must("archive_flag", fields{"key": "shop.new.one", "reason": "a test"}) },
		func() { h.must("remove_rule", in(search).with("id", "staff")) },
		func() { h.must("resume_flag", in(fast)) },
	}
	for i, change := range changes {
		change()
		e := s.next()
		if e.name != "patch" || e.id != h.tag() {
			t.Fatalf("change %d is told as %s %s, and %s is in force", i, e.name, e.id, h.tag())
		}
		p, err := eval.DecodePatch([]byte(e.data))
		if err != nil {
			t.Fatal(err)
		}
		if have, err = have.Compile(p); err != nil {
			t.Fatal(err)
		}
		got, _ := json.Marshal(have.Document())
		whole := h.send("GET", "/sdk/v1/ruleset", sdk, "")
		if d := cmp.Diff(canonical(t, whole.body), canonical(t, got)); d != "" {
			t.Fatalf("after change %d the patched ruleset is another (-served +patched):\n%s", i, d)
		}
	}
}

func canonical(t testing.TB, data []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// A client that sends only differences of content would miss the last two.
func TestAChangeThereAndBackIsTwoVersions(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	s := h.stream(h.sdk())
	first := s.next()
	for _, name := range []string{"disable_flag", "enable_flag", "disable_flag"} {
		before := h.state().Production
		h.must(name, in(search))
		if e := s.next(); e.name != "patch" || e.id != h.tag() || h.state().Production != before+1 {
			t.Errorf("%s is told as %s %s after %s", name, e.name, e.id, first.id)
		}
	}
}

func TestAStreamIsTakenUpWhereItWasLeft(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk, old := h.sdk(), h.tag()
	h.must("disable_flag", in(search))
	one := h.tag()
	if e := h.stream(sdk, "Last-Event-ID", old).next(); e.name != "patch" || e.id != one {
		t.Errorf("one version behind, it begins with %s %s", e.name, e.id)
	}
	h.must("enable_flag", in(search))
	for _, stale := range []string{old, "0.0", "", "x", "1", "1.", "-1.-1", "99999999999999999999.x"} {
		if e := h.stream(sdk, "Last-Event-ID", stale).next(); e.name != "ruleset" || e.id != h.tag() {
			t.Errorf("after %q it begins with %s %s", stale, e.name, e.id)
		}
	}
	s := h.stream(sdk, "Last-Event-ID", h.tag())
	if e := s.any(); e.name != "" {
		t.Errorf("up to date, it begins with %s %s", e.name, e.id)
	}
	h.must("disable_flag", in(search))
	if e := s.next(); e.name != "patch" || e.id != h.tag() {
		t.Errorf("then it goes on with %s %s", e.name, e.id)
	}
}

// A slow reader of many versions gets the last one whole, not a backlog.
func TestAGapIsFilledByTheWholeRuleset(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk := h.sdk()
	s := h.stream(sdk)
	have := s.next().id
	for i := range 20 {
		h.must([]string{"disable_flag", "enable_flag"}[i%2], in(search))
	}
	for have != h.tag() {
		e := s.next()
		var p struct{ From flyball.RulesetID }
		if e.name == "patch" {
			json.Unmarshal([]byte(e.data), &p)
			if from := fmt.Sprintf("%d.%d", p.From.Epoch, p.From.Version); from != have {
				t.Fatalf("a patch of %s came to one who has %s", from, have)
			}
		} else if e.name != "ruleset" {
			t.Fatalf("%+v", e)
		}
		have = e.id
	}
}

func TestAStreamShowsThatItLives(t *testing.T) {
	t.Parallel()
	h := furnished(t, withServer(func(s *api.Server) { s.Beat(10 * time.Millisecond) }))
	s := h.stream(h.sdk())
	s.next()
	for range 3 {
		if e := s.any(); e.name != "" || e.data != "beat" {
			t.Errorf("%+v", e)
		}
	}
}

func TestAServerThatStopsSaysGoodbye(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk := h.sdk()
	s, other := h.stream(sdk), h.stream(sdk)
	s.next()
	other.next()
	h.api.Drain()
	h.api.Drain()
	for _, s := range []*stream{s, other} {
		last := s.ends(5 * time.Second)
		if len(last) != 1 || last[0].name != "goodbye" || last[0].data != `{"spreadMs":5000}` {
			t.Errorf("it ends with %+v", last)
		}
	}
	h.send("GET", "/sdk/v1/stream", sdk, "").want(t, 503)
	h.send("GET", "/sdk/v1/ruleset", sdk, "").want(t, 200)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	h.client.CloseIdleConnections()
	if err := h.http.Shutdown(ctx); err != nil {
		t.Errorf("something still runs: %v", err)
	}
}

func TestATokenThatIsNoLongerGoodEndsItsStreams(t *testing.T) {
	t.Parallel()
	// What another node revokes is known here after two seconds.
	if worst := api.UsualRecheck() + 2*time.Second; worst >= 5*time.Second {
		t.Errorf("a revoked token's stream may last %v", worst)
	}
	h := furnished(t, withServer(func(s *api.Server) { s.Recheck(20 * time.Millisecond) }))
	made := h.must("create_token", fields{"kind": "sdk", "name": "s", "environment": "production", "reason": "a test"})
	s, other := h.stream(made.read(t, "secret").(string)), h.stream(h.sdk())
	s.next()
	other.next()
	h.must("revoke_token", fields{"id": made.read(t, "id"), "reason": "it leaked"})
	s.ends(5 * time.Second)
	h.send("GET", "/sdk/v1/stream", made.read(t, "secret").(string), "").want(t, 401)

	brief := h.stream(h.token(fields{"kind": "sdk", "name": "s", "environment": "production", "expiresAt": time.Now().Add(3 * time.Second).Format(time.RFC3339Nano)}))
	brief.next() // it was good when the stream was opened
	brief.ends(10 * time.Second)

	h.must("disable_flag", in(search))
	if e := other.next(); e.id != h.tag() {
		t.Errorf("another token's stream gets %+v", e)
	}
}

func TestAReaderThatStallsHoldsUpNobodyAndIsCutOff(t *testing.T) {
	t.Parallel()
	small := withHTTP(func(s *http.Server) {
		s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			c.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn).SetWriteBuffer(4 << 10) // so that a little is enough to fill it
			return ctx
		}
	})
	h := furnished(t, small, withServer(func(s *api.Server) { s.Write(300 * time.Millisecond) }))
	sdk := h.sdk()
	const stalled = 4
	for range stalled {
		conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		fmt.Fprintf(conn, "GET /sdk/v1/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", sdk)
	}
	s := h.stream(sdk)
	s.next()
	eventually(t, "all streams are open", func() bool { return h.api.Streams() == stalled+1 })
	many := make([]string, 3_000)
	for round := 0; h.api.Streams() > 1; round++ {
		if round == 40 {
			t.Fatalf("%d of %d stalled readers are still there", h.api.Streams()-1, stalled)
		}
		for i := range many {
			many[i] = fmt.Sprintf("%060d-%d", i, round)
		}
		h.must("update_segment", fields{"key": "testers", "owner": "default", "include": many, "reason": "a test"})
		if e := s.next(); e.id != h.tag() {
			t.Fatalf("round %d: the one who reads gets %s, and %s is in force", round, e.id, h.tag())
		}
	}
}

func TestStreamsBeyondTheBoundAreToldToComeLater(t *testing.T) {
	t.Parallel()
	h := furnished(t, withServer(func(s *api.Server) { s.Most(1) }))
	sdk := h.sdk()
	s := h.stream(sdk)
	s.next()
	for range 3 {
		h.send("GET", "/sdk/v1/stream", sdk, "").want(t, 503)
	}
	h.must("disable_flag", in(search))
	if e := s.next(); e.id != h.tag() {
		t.Errorf("the one who was there gets %+v", e)
	}
	s.close()
	eventually(t, "its place is free", func() bool { return h.api.Streams() == 0 })
	h.stream(sdk).next()
}

func TestALimitedTokenIsSentWhatItsFlagsNeed(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	h.must("create_segment", fields{"key": "inner", "owner": "default", "include": []string{"x"}, "reason": "a test"})
	h.must("update_segment", fields{"key": "testers", "owner": "default", "if": fields{"segment": "inner"}, "reason": "a test"})
	h.must("create_segment", fields{"key": "others", "owner": "default", "include": []string{"secret-key"}, "reason": "a test"})
	h.must("add_rule", in(fast).with("rule", rule("r", fields{"segment": "others"}, fields{"variant": "on"})))
	h.must("configure_flag", in(banner).with("enabled", true).with("default", fields{"variant": "off"}).
		with("prerequisites", []fields{{"flag": search, "variant": "new"}}))
	site := h.token(fields{"kind": "sdk", "name": "s", "environment": "production", "flags": []string{"site.*", "nobody.*"}})
	s := h.stream(site)
	e := s.next()
	keys := func(data string) (all []string) {
		var doc struct{ Flags, Segments []struct{ Key string } }
		if err := json.Unmarshal([]byte(data), &doc); err != nil {
			t.Fatal(err)
		}
		for _, f := range doc.Flags {
			all = append(all, f.Key)
		}
		for _, f := range doc.Segments {
			all = append(all, f.Key)
		}
		return all
	}
	want := []string{search, banner, "inner", "testers"}
	if got := keys(e.data); !slices.Equal(got, want) {
		t.Errorf("it is sent %q, want %q", got, want)
	}
	compiled(t, e.data)
	if r := h.send("GET", "/sdk/v1/ruleset", site, ""); !slices.Equal(keys(string(r.body)), want) {
		t.Errorf("it is served %q, want %q", keys(string(r.body)), want)
	}
	h.must("kill_flag", in(fast)) // which it does not see
	if e = s.next(); e.name != "patch" || e.id != h.tag() || len(keys(e.data)) != 0 || strings.Contains(e.data, fast) {
		t.Errorf("of a change elsewhere it is told %+v", e)
	}
	h.must("disable_flag", in(search))
	if e = s.next(); !slices.Equal(keys(e.data), []string{search}) {
		t.Errorf("of a change of a prerequisite it is told %+v", e)
	}
	h.must("configure_flag", in(banner).with("enabled", true).with("default", fields{"variant": "off"}))
	var p struct{ RemovedFlags, RemovedSegments []string }
	if e = s.next(); json.Unmarshal([]byte(e.data), &p) != nil || !slices.Equal(p.RemovedFlags, []string{search}) || !slices.Equal(p.RemovedSegments, []string{"inner", "testers"}) {
		t.Errorf("when it needs the prerequisite no more it is told %+v", e)
	}
}

func TestATokenOpensItsOwnEnvironmentOnly(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	staging := h.token(fields{"kind": "sdk", "name": "s", "environment": "staging"})
	for _, query := range []string{"", "?environment=production"} {
		r := h.send("GET", "/sdk/v1/ruleset"+query, staging, "").want(t, 200)
		if r.read(t, "environment") != "staging" {
			t.Errorf("it is served %v", r.read(t, "environment"))
		}
	}
	s := h.stream(staging)
	s.next()
	h.must("disable_flag", in(search)) // in production
	h.must("enable_flag", in(search).with("environment", "staging"))
	if e := s.next(); !strings.Contains(e.data, `"enabled":true`) {
		t.Errorf("it is told %+v", e)
	}
}

func TestARulesetIsSentOnceAndZippedForThoseWhoTakeIt(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk := h.sdk()
	get := func(headers ...string) reply { return h.send("GET", "/sdk/v1/ruleset", sdk, "", headers...) }
	plain := get("Accept-Encoding", "identity").want(t, 200)
	tag := plain.Header.Get("ETag")
	if tag != `"`+h.tag()+`"` || !strings.Contains(plain.Header.Get("Vary"), "Accept-Encoding") {
		t.Errorf("tag %s, vary %s", tag, plain.Header.Get("Vary"))
	}
	compiled(t, string(plain.body))
	for accept, zips := range map[string]bool{"gzip": true, "gzip, deflate, br": true, "br;q=1.0, gzip;q=0.8": true, "GZIP": true, "gzip;q=0": false, "gzip;q=0.0, identity": false, "br": false, "": false} {
		r := get("Accept-Encoding", accept).want(t, 200)
		if zipped := r.Header.Get("Content-Encoding") == "gzip"; zipped != zips {
			t.Errorf("Accept-Encoding: %s: zipped is %v", accept, zipped)
			continue
		}
		if zips {
			z, err := gzip.NewReader(bytes.NewReader(r.body))
			if err != nil {
				t.Fatal(err)
			}
			if r.body, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(r.body, plain.body) {
			t.Errorf("Accept-Encoding: %s: it is another ruleset", accept)
		}
	}
	for header, status := range map[string]int{
		tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, strings.Trim(tag, `"`): 200, "": 200, `"1.0"`: 200,
	} {
		r := get("If-None-Match", header).want(t, status)
		if r.Header.Get("ETag") != tag || status == 304 && len(r.body) > 0 {
			t.Errorf("If-None-Match: %s: tag %s with %d bytes", header, r.Header.Get("ETag"), len(r.body))
		}
	}
	h.must("disable_flag", in(search))
	if r := get("If-None-Match", tag).want(t, 200); r.Header.Get("ETag") == tag {
		t.Error("another ruleset has the same tag")
	}
	h.send("HEAD", "/sdk/v1/ruleset", sdk, "").want(t, 200)
	h.send("HEAD", "/sdk/v1/stream", sdk, "").want(t, 200)
}
