package api_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/api"
	"github.com/flyballdev/flyball/internal/ingest"
	"github.com/flyballdev/flyball/internal/notify"
	"github.com/flyballdev/flyball/internal/service"
	"github.com/flyballdev/flyball/internal/store"
)

// A house is a whole server on a port of its own, save for the rollout
// controller, so that rollouts stand still.
type house struct {
	t        testing.TB
	url      string
	admin    string // a token that may do everything
	db       *store.DB
	service  *service.Service
	receiver *ingest.Receiver
	api      *api.Server
	http     *http.Server
	client   *http.Client
	person   string   // the token of ann, once there is one
	proposal string   // a change that ann proposed, once there is one
	review   string   // a change that ann made by breaking the glass, once there is one
	risen    string   // a rollout at its second step, once there is one
	ends     []func() // in the order in which they began

	noted      func(environment string, flags []string)
	complaints complaints
}

// end stops the house; a second time it does nothing.
func (h *house) end() {
	for _, f := range slices.Backward(h.ends) {
		f()
	}
	h.ends = nil
}

type option func(*settings)

type settings struct {
	database string
	admin    string // its first token, if the database has one
	deaf     bool   // nobody writes what the receiver queues
	oidc     api.OIDC
	public   string // where browsers find it
	server   func(*api.Server)
	http     func(*http.Server)
}

func onDatabase(url string) option          { return func(s *settings) { s.database = url } }
func withServer(f func(*api.Server)) option { return func(s *settings) { s.server = f } }
func withHTTP(f func(*http.Server)) option  { return func(s *settings) { s.http = f } }
func withOIDC(o api.OIDC) option            { return func(s *settings) { s.oidc = o } }
func at(public string) option               { return func(s *settings) { s.public = public } }
func deaf(s *settings)                      { s.deaf = true }

// open starts a house, and ends it with the test.
func open(t testing.TB, options ...option) *house {
	t.Helper()
	set := settings{database: filepath.Join(t.TempDir(), "flyball.db")}
	for _, o := range options {
		o(&set)
	}
	db, err := store.Open(t.Context(), set.database)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{ends: []func(){func() { db.Close() }}, t: t, db: db, receiver: ingest.NewReceiver(db), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 50}}}
	t.Cleanup(h.end)
	runner := ingest.NewRunner(db, t.Name())
	log := slog.New(&h.complaints)
	h.ends = append(h.ends, func() { h.complaints.tell(t) })
	seal, err := store.NewSeal(base64.StdEncoding.EncodeToString(make([]byte, 32)), "") // one for all, since databases are copied
	if err != nil {
		t.Fatal(err)
	}
	teller := notify.New(db, seal, t.Name(), notify.Local)
	h.service, err = service.New(t.Context(), db, service.Options{
		Log: log, Judgeable: ingest.Supported, Changed: runner.Wake, Seal: seal, Tell: teller.Tell,
		Evidence: func(ctx context.Context, id string) (flyball.Evidence, bool, error) {
			return runner.Evidence(ctx, id, time.Now())
		},
		Fleet: func(ctx context.Context, environment string, head flyball.RulesetID) (flyball.Fleet, error) {
			return runner.Fleet(ctx, environment, head, time.Now())
		},
		Forecast: runner.Forecast,
	})
	if err != nil {
		t.Fatal(err)
	}
	if h.admin, err = h.service.FirstAdmin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.admin == "" { // made before
		h.admin = set.admin
	}
	runner.OnNews = h.service.News
	h.receiver.Running, h.receiver.Exposed, h.receiver.Committed = h.service.RolloutRuns, h.service.Exposed, runner.Wake
	tally := ingest.NewTally(db)
	tally.Fail = func(err error) { log.Error("usage not written", "error", err) }
	h.receiver.Heard, h.noted = tally.Hear, tally.Note
	h.run(tally.Run)
	if !set.deaf {
		h.listen()
	}
	h.run(func(ctx context.Context) { runner.Run(ctx) })
	h.run(h.service.Follow)
	h.serve(log, set)
	return h
}

// listen lets the receiver write what it queues.
func (h *house) listen() { h.run(func(ctx context.Context) { h.receiver.Run(ctx) }) }

// run runs a loop until the test ends.
func (h *house) run(loop func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); loop(ctx) }()
	h.ends = append(h.ends, func() { cancel(); <-done })
}

func (h *house) serve(log *slog.Logger, set settings) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	h.api = api.New(api.Options{Service: h.service, Receiver: h.receiver, Log: log, OIDC: set.oidc, PublicURL: set.public, Evaluated: h.noted})
	if set.server != nil {
		set.server(h.api)
	}
	h.http = api.HTTPServer(h.api)
	if set.http != nil {
		set.http(h.http)
	}
	h.url = "http://" + listener.Addr().String()
	go h.http.Serve(api.Sparing(listener))
	h.ends = append(h.ends, func() {
		h.http.Close()
		h.client.CloseIdleConnections()
		now, cancel := context.WithCancel(context.Background())
		cancel()
		h.api.Stop(now)
	})
}

// complaints are the errors that the server logs: faults of ours, that fail
// the test.
type complaints struct {
	mu  sync.Mutex
	all []string
}

func (c *complaints) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }
func (c *complaints) WithAttrs([]slog.Attr) slog.Handler           { return c }
func (c *complaints) WithGroup(string) slog.Handler                { return c }

func (c *complaints) Handle(_ context.Context, r slog.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&b, " %s=%v", a.Key, a.Value); return true })
	c.all = append(c.all, r.Message+b.String())
	return nil
}

// tell fails a test for what was complained of since it was told last.
func (c *complaints) tell(t testing.TB) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, complaint := range c.all {
		t.Errorf("the server complains: %s", complaint)
	}
	c.all = nil
}

// A reply is a response that was read to its end.
type reply struct {
	*http.Response
	body []byte
}

// send sends a request and reads the answer. Whatever was sent, the answer is
// never a fault of ours, and a refusal has the shape that refusals have.
func (h *house) send(method, path, token, body string, headers ...string) reply {
	h.t.Helper()
	resp := h.begin(method, path, token, body, headers...)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	r := reply{resp, data}
	h.sane(r)
	return r
}

// begin sends a request and returns as soon as the answer begins.
func (h *house) begin(method, path, token, body string, headers ...string) *http.Response {
	h.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, in)
	if err != nil {
		h.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := h.client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp
}

// sane is what holds of every answer.
func (h *house) sane(r reply) {
	h.t.Helper()
	what := r.Request.Method + " " + r.Request.URL.Path
	if r.StatusCode >= 500 && r.StatusCode != http.StatusServiceUnavailable {
		h.t.Errorf("%s: %s: %s", what, r.Status, r.body)
	}
	if r.Header.Get("X-Request-Id") == "" {
		h.t.Errorf("%s: %d without a request id", what, r.StatusCode)
	}
	if r.Header.Get("Content-Type") == "application/problem+json" {
		h.shapely(what, r)
	} else if r.StatusCode >= 400 && !strings.HasPrefix(r.Request.URL.Path, "/ofrep/") {
		h.t.Errorf("%s: %d of type %q: %s", what, r.StatusCode, r.Header.Get("Content-Type"), r.body)
	}
	if r.StatusCode == http.StatusOK && r.Header.Get("Content-Type") == "application/json; charset=utf-8" && !json.Valid(r.body) && r.Request.Method != http.MethodHead {
		h.t.Errorf("%s: this is not JSON: %s", what, r.body)
	}
}

// shapely is what holds of every problem (RFC 9457).
func (h *house) shapely(what string, r reply) {
	h.t.Helper()
	if r.Request.Method == http.MethodHead {
		return
	}
	var p api.Problem
	d := json.NewDecoder(bytes.NewReader(r.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		h.t.Errorf("%s: not a problem: %v: %s", what, err, r.body)
		return
	}
	if p.Type == "" || p.Title != http.StatusText(r.StatusCode) || p.Status != r.StatusCode || p.Detail == "" || p.Code == "" {
		h.t.Errorf("%s: a problem lacks something: %s", what, r.body)
	}
	if p.Request != r.Header.Get("X-Request-Id") {
		h.t.Errorf("%s: the problem names request %q, the header %q", what, p.Request, r.Header.Get("X-Request-Id"))
	}
	if r.StatusCode == http.StatusUnauthorized && !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Bearer") {
		h.t.Errorf("%s: 401 without WWW-Authenticate", what)
	}
	if _, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil && (r.StatusCode == 429 || r.StatusCode == 503) {
		h.t.Errorf("%s: %d with Retry-After %q", what, r.StatusCode, r.Header.Get("Retry-After"))
	}
}

// problem reads a refusal.
func (r reply) problem(t testing.TB) (p api.Problem) {
	t.Helper()
	if err := json.Unmarshal(r.body, &p); err != nil {
		t.Fatalf("%s: %v", r.body, err)
	}
	return p
}

// fields names the fields that a refusal blames, in order.
func (r reply) fields(t testing.TB) (names []string) {
	t.Helper()
	for _, e := range r.problem(t).Errors {
		names = append(names, e.Field)
	}
	return names
}

func (r reply) want(t testing.TB, status int) reply {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("%s %s: %d, want %d: %.2000s", r.Request.Method, r.Request.URL.Path, r.StatusCode, status, r.body)
	}
	return r
}

// read reads a part of a JSON answer, such as "environments.production.enabled".
func (r reply) read(t testing.TB, path string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return dig(v, path)
}

// dig follows a path whose parts are parted by slashes or, where no key holds
// one, by dots.
func dig(v any, path string) any {
	sep := "."
	if strings.Contains(path, "/") {
		sep = "/"
	}
	for part := range strings.SplitSeq(path, sep) {
		switch at := v.(type) {
		case map[string]any:
			v = at[part]
		case []any:
			if part == "#" {
				v = float64(len(at))
				continue
			}
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(at) {
				return nil
			}
			v = at[i]
		default:
			return nil
		}
	}
	return v
}

// fields are the input of a capability, wherever each of them stands.
type fields map[string]any

// with returns the fields with some replaced; a nil value takes one away.
func (f fields) with(name string, v any) fields {
	out := fields{}
	for k, v := range f {
		out[k] = v
	}
	if out[name] = v; v == nil {
		delete(out, name)
	}
	return out
}

func operation(t testing.TB, name string) api.Operation {
	t.Helper()
	for _, o := range api.Operations() {
		if o.Name == name {
			return o
		}
	}
	t.Fatalf("there is no capability %s", name)
	return api.Operation{}
}

// call uses a capability, as the API wants it.
func (h *house) call(token, name string, f fields, headers ...string) reply {
	h.t.Helper()
	method, path, body := request(h.t, operation(h.t, name), f)
	return h.send(method, path, token, body, headers...)
}

// in uses a capability that changes something in a manner, such as dryRun.
func (h *house) in(manner, token, name string, f fields, headers ...string) reply {
	h.t.Helper()
	method, path, body := request(h.t, operation(h.t, name), f)
	return h.send(method, path+"?"+manner+"=true", token, body, headers...)
}

// request puts each field where the route wants it.
func request(t testing.TB, o api.Operation, f fields) (method, path, body string) {
	t.Helper()
	path, rest := o.Path, fields{}
	for k, v := range f {
		if !strings.Contains(path, "{"+k+"}") {
			rest[k] = v
			continue
		}
		path = strings.ReplaceAll(path, "{"+k+"}", url.PathEscape(fmt.Sprint(v)))
	}
	if !o.HasBody() {
		query := url.Values{}
		for k, v := range rest {
			query.Set(k, fmt.Sprint(v))
		}
		return o.Method, path + "?" + query.Encode(), ""
	}
	data, err := json.Marshal(rest)
	if err != nil {
		t.Fatal(err)
	}
	return o.Method, path, string(data)
}

// must uses a capability that is to succeed.
func (h *house) must(name string, f fields) reply {
	h.t.Helper()
	r := h.call(h.admin, name, f)
	if r.StatusCode/100 != 2 {
		h.t.Fatalf("%s: %s: %s", name, r.Status, r.body)
	}
	return r
}

// token makes a token and returns its secret.
func (h *house) token(f fields) string {
	h.t.Helper()
	r := h.must("create_token", f.with("reason", "a test"))
	return r.read(h.t, "secret").(string)
}

// A state is what changes with every change.
type state struct {
	Production, Development, Staging, Audit int64
}

func (h *house) state() (s state) {
	h.t.Helper()
	for env, v := range map[string]*int64{"production": &s.Production, "development": &s.Development, "staging": &s.Staging} {
		if p, err := h.service.Published(env); err == nil {
			*v = p.ID().Version
		}
	}
	err := h.db.View(h.t.Context(), func(tx *store.Tx) error {
		last, err := tx.Audit(store.AuditFilter{Limit: 1})
		if len(last) > 0 {
			s.Audit = last[0].Seq
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// unchanged says that what f does changes nothing.
func (h *house) unchanged(f func()) {
	h.t.Helper()
	before := h.state()
	f()
	if after := h.state(); after != before {
		h.t.Errorf("it changed something: %+v, before %+v", after, before)
	}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("it never came about that %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
