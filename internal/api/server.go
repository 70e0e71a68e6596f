// Package api is the platform's surfaces over HTTP: management as REST with
// its OpenAPI document, one row per capability; remote evaluation (OFREP); and
// what SDKs use, rulesets, a stream and telemetry. It is the only package that
// knows HTTP.
package api

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/ingest"
	"github.com/flyballdev/flyball/internal/service"
)

// A Server answers HTTP requests by the service.
type Server struct {
	service  *service.Service
	receiver *ingest.Receiver
	log      *slog.Logger
	handler  http.Handler
	streams  gate
	held     holding
	watch    watch
	waits    gate
	drain    chan struct{} // closed when the server is about to stop
	drained  sync.Once
	pace     pace
	metrics  *metrics
	naming   naming
	single   func(w http.ResponseWriter, r *http.Request, key string)
	bulk     func(w http.ResponseWriter, r *http.Request, _ string)
	signIn   signIn
	noted    noter
}

// Options are what a Server is made of.
type Options struct {
	Service   *service.Service
	Receiver  *ingest.Receiver
	Log       *slog.Logger
	Dashboard http.Handler
	PublicURL string // where browsers find the server; empty is where it listens
	OIDC      OIDC   // by which people sign in, beside passwords
	// Evaluated is told, now and then, of flags that are in use without a program's
	// telling so. It must not block. Nil is never told.
	Evaluated func(environment string, flags []string)
}

// New returns a server with all its routes. Each route has a policy; one
// without stops the program here, before it could serve.
func New(o Options) *Server {
	s := &Server{
		service: o.Service, receiver: o.Receiver, log: o.Log, drain: make(chan struct{}), pace: usual, metrics: newMetrics(o.Service),
		waits:   gate{all: maxWaits, perToken: maxWaitsPerToken},
		streams: gate{all: maxStreams, perToken: maxStreamsPerToken, perAddress: maxStreamsPerAddress},
	}
	s.watch.good = o.Service.TokenGood
	s.noted.tell = o.Evaluated
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.naming.start()
	s.signIn = newSignIn(o.PublicURL, o.OIDC)
	mux := http.NewServeMux()
	for _, op := range operations {
		h := op.serve(s.service)
		if op.Waits {
			h = s.waiting(h)
		}
		s.route(mux, op.Method+" "+op.Path, policy{access: op.Access}, h)
	}
	s.route(mux, "POST "+applyPath, policy{access: service.Write}, s.runAgain(s.approved))
	s.route(mux, "POST "+applyPlanPath, policy{access: service.Write}, s.runAgain(s.planned))
	s.route(mux, "POST /mcp", policy{access: service.Read}, s.mcp())
	s.route(mux, "GET /api/v1/audit/export", policy{access: service.Read}, s.exportAudit)
	openAPI()
	s.route(mux, "GET /api/v1/openapi.json", policy{public: true}, s.openAPI)
	s.route(mux, "GET /api/v1/events", policy{access: service.Read}, s.changes)
	s.route(mux, "GET /sdk/v1/ruleset", policy{access: service.SDK}, s.ruleset)
	s.route(mux, "GET /sdk/v1/stream", policy{access: service.SDK}, s.stream)
	s.route(mux, "POST /sdk/v1/telemetry", policy{access: service.OFREP}, s.telemetry)
	s.route(mux, "GET /flagd/v1/flags", policy{access: service.SDK}, s.flagd)
	s.single = s.evaluation(mux, evaluatePath+"/{key...}", s.ofrepSingle)
	s.bulk = s.evaluation(mux, evaluatePath, s.ofrepBulk)
	s.route(mux, "GET "+eventsPath, policy{public: true}, s.ofrepEvents) // by its ticket
	for _, path := range []string{"/ofrep/v1/", "/sdk/v1/telemetry"} {
		s.route(mux, "OPTIONS "+path, policy{public: true}, preflight)
	}
	s.signInDoors(mux)
	s.route(mux, "GET /healthz", policy{public: true}, func(w http.ResponseWriter, r *http.Request) { writeJSON(w, r, 200, map[string]string{"status": "ok"}) })
	s.route(mux, "GET /readyz", policy{public: true}, s.ready)
	s.route(mux, "GET /metrics", policy{public: true}, promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP)
	for _, rest := range []string{"/api/", "/sdk/", "/ofrep/", "/flagd/", "/auth/", "/mcp", "/healthz", "/readyz", "/metrics"} {
		s.route(mux, rest, policy{public: true}, nowhere(mux))
	}
	if o.Dashboard != nil {
		s.route(mux, "/", policy{public: true}, o.Dashboard.ServeHTTP)
	}
	s.handler = mux
	return s
}

// A policy says who may use a route.
type policy struct {
	access service.Access
	public bool
}

// A door is what stands before a route.
type door struct {
	policy
	forPages bool
	sessions bool // it opens to people who are signed in by a browser, too
	took     prometheus.Observer
}

// door makes the door of a pattern; without a policy the program does not start.
func (s *Server) door(pattern string, p policy) *door {
	if p.access == "" && !p.public {
		panic("route without a policy: " + pattern)
	}
	_, route, ok := strings.Cut(pattern, " ")
	if !ok {
		route = pattern
	}
	forPages := strings.HasPrefix(route, "/ofrep/") || route == "/sdk/v1/telemetry"
	sessions := strings.HasPrefix(route, "/api/v1/")
	return &door{policy: p, forPages: forPages, sessions: sessions, took: s.metrics.requests.WithLabelValues(route)}
}

func (d *door) observe(start time.Time) { d.took.Observe(time.Since(start).Seconds()) }

// admit says who makes a request, if they may come in.
func (s *Server) admit(d *door, w http.ResponseWriter, r *http.Request) (*service.Principal, error) {
	if d.forPages {
		allowOrigin(w)
	}
	if d.public {
		return nil, nil
	}
	p, ok := r.Context().Value(withinKey{}).(*service.Principal)
	if !ok {
		var err error
		if p, err = s.authenticate(d, r); err != nil {
			return nil, err
		}
	}
	return p, service.Allow(p, d.access)
}

// route registers a handler behind its door.
func (s *Server) route(mux *http.ServeMux, pattern string, p policy, h http.HandlerFunc) {
	d := s.door(pattern, p)
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		defer d.observe(time.Now())
		known, err := s.admit(d, w, r)
		if err != nil {
			writeProblem(w, r, err)
			return
		}
		if !d.public {
			principal := *known
			principal.Request = requestOf(r).id
			r = r.WithContext(service.WithPrincipal(r.Context(), principal))
		}
		h(w, r)
	})
}

// nowhere answers what no route of mux takes: by the address, or by its method.
func nowhere(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		allowed := strings.Join(methods(mux, r), ", ")
		if allowed == "" {
			writeProblem(w, r, flyball.Errorf(flyball.NotFound, "there is no %s %s; /api/v1/openapi.json lists what there is", r.Method, r.URL.Path))
			return
		}
		w.Header().Set("Allow", allowed)
		writeProblem(w, r, flyball.Errorf(flyball.WrongMethod, "%s takes %s, not %s", r.URL.Path, allowed, r.Method).With("allow", allowed))
	}
}

// methods are those that the address of a request takes. OPTIONS stands for
// whole folders of addresses, and does not make one of them known.
func methods(mux *http.ServeMux, r *http.Request) (all []string) {
	as := r.WithContext(r.Context())
	for _, as.Method = range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if _, pattern := mux.Handler(as); strings.Contains(pattern, " ") {
			all = append(all, as.Method)
		}
	}
	return all
}

// evaluation registers an evaluation behind its door. Requests come in thousands
// each second, and nearly all of them past the mux, by [Server.direct]; the mux
// gets those whose path is written in an unusual way.
func (s *Server) evaluation(mux *http.ServeMux, path string, h func(http.ResponseWriter, *http.Request, *service.Principal, string)) func(http.ResponseWriter, *http.Request, string) {
	d := s.door("POST "+path, policy{access: service.OFREP})
	enter := func(w http.ResponseWriter, r *http.Request, key string) {
		defer d.observe(time.Now())
		p, err := s.admit(d, w, r)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		h(w, r, p, key)
	}
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) { enter(w, r, r.PathValue("key")) })
	return enter
}

const evaluatePath = "/ofrep/v1/evaluate/flags"

// direct answers an evaluation of all flags, or of one whose key is plain, and
// says whether it did.
func (s *Server) direct(w http.ResponseWriter, r *http.Request) bool {
	rest, ok := strings.CutPrefix(r.URL.Path, evaluatePath)
	if !ok || r.Method != http.MethodPost || r.URL.RawPath != "" {
		return false
	}
	if rest == "" {
		s.bulk(w, r, "")
		return true
	}
	key, ok := strings.CutPrefix(rest, "/")
	if !ok || !plain(key) {
		return false
	}
	s.single(w, r, key)
	return true
}

// plain says whether the mux would make nothing else of a key. All keys of flags
// are plain.
func plain(key string) bool {
	for i, c := range []byte(key) {
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && (c != '.' && c != '_' && c != '-' || i == 0 || i == len(key)-1) {
			return false
		}
	}
	return key != ""
}

// refuse tells a problem of a request that has not been given its id yet.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	writeProblem(w, s.named(r, w.Header().Get("X-Request-Id")), err)
}

func (s *Server) named(r *http.Request, id string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), requestKey{}, request{id: id, log: s.log}))
}

// authenticate reads the token of a request, in either of the two headers that
// OFREP allows, or else the session of a browser, where that is taken.
func (s *Server) authenticate(d *door, r *http.Request) (*service.Principal, error) {
	scheme, secret, _ := strings.Cut(first(r.Header["Authorization"]), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		secret = r.Header.Get("X-API-Key")
	}
	if secret == "" && d.sessions {
		if cookie := s.signIn.cookie(r, sessionCookie); cookie != "" {
			return s.bySession(r, cookie)
		}
	}
	if secret == "" {
		return nil, flyball.Errorf(flyball.Unauthenticated, "no token: send one as \"Authorization: Bearer fb_…\"")
	}
	return s.service.Authenticate(r.Context(), secret)
}

// first is what Header.Get makes of a header whose name is known to be written
// as net/http does.
func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

type requestKey struct{}

// A request is what is known of one beside its content.
type request struct {
	id  string // that it goes by in logs and in the audit log: the caller's own, if it is sane
	log *slog.Logger
}

func requestOf(r *http.Request) request {
	of, _ := r.Context().Value(requestKey{}).(request)
	return of
}

// A naming gives requests that come without an id one that no other has.
type naming struct {
	first uint64 // nobody knows it
	n     atomic.Uint64
}

func (n *naming) start() {
	var b [8]byte
	rand.Read(b[:])
	n.first = binary.NativeEndian.Uint64(b[:])
}

// next returns sixteen hexadecimal digits: a number, and all of its bits mixed,
// as in Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators"
// (2014). No two numbers are mixed to the same.
func (n *naming) next() string {
	x := n.first + n.n.Add(1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	var number [8]byte
	var id [16]byte
	binary.BigEndian.PutUint64(number[:], x^x>>31)
	hex.Encode(id[:], number[:])
	return string(id[:])
}

// sane says whether a caller's own id is one to go by.
func sane(id string) bool {
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return len(id) >= 1 && len(id) <= 64
}

// ServeHTTP answers a request. A panic is a fault of ours, and ends this
// request only.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := first(r.Header["X-Request-Id"])
	if !sane(id) {
		id = s.naming.next()
	}
	h := w.Header()
	h["X-Request-Id"], h["X-Content-Type-Options"] = []string{id}, nosniff
	defer s.survive(w, r, id)
	if !s.direct(w, r) {
		s.handler.ServeHTTP(w, s.named(r, id))
	}
}

// survive is deferred, and answers a request that panicked.
func (s *Server) survive(w http.ResponseWriter, r *http.Request, id string) {
	if v := recover(); v == http.ErrAbortHandler {
		panic(v) // it asks for the connection to be cut
	} else if v != nil {
		s.log.ErrorContext(r.Context(), "panic in a request", "path", r.URL.Path, "request", id, "panic", v, "stack", string(debug.Stack()))
		writeProblem(w, s.named(r, id), flyball.Errorf(flyball.Internal, "something went wrong on our side; the server's log tells what, by the request's id"))
	}
}

// Drain tells streams to go elsewhere, spread over a while, and takes no new
// ones.
func (s *Server) Drain() { s.drained.Do(func() { close(s.drain) }) }

// Bounds of requests that wait.
const (
	maxWaits         = 2_000
	maxWaitsPerToken = 200
)

// waiting lets few enough requests wait, and ends their waiting, with an answer,
// when the server is about to stop, or when their token opens nothing any more.
func (s *Server) waiting(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		leave, err := s.waits.enter(service.PrincipalOf(r.Context()).Token, r.RemoteAddr)
		if err != nil {
			writeProblem(w, r, err)
			return
		}
		defer leave()
		bad, unwatch := s.watch.enter(service.PrincipalOf(r.Context()).Token, s.pace.recheck)
		defer unwatch()
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		go func() {
			select {
			case <-s.drain:
				cancel()
			case <-bad:
				cancel()
			case <-ctx.Done():
			}
		}()
		h(w, r.WithContext(ctx))
	}
}

func (s *Server) draining() bool {
	select {
	case <-s.drain:
		return true
	default:
		return false
	}
}

func (s *Server) openAPI(w http.ResponseWriter, r *http.Request) {
	body, err := openAPI()
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

// ready tells whether rulesets can be served. They can while the database is
// down, from memory; what is down is told beside it.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	state := map[string]string{"status": "ready", "database": "up"}
	if err := s.service.DB(ctx); err != nil {
		state["database"] = "down: changes wait, evaluation goes on"
	}
	writeJSON(w, r, http.StatusOK, state)
}

// HTTPServer returns a server for handler with the bounds that keep slow and
// greedy clients away.
func HTTPServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 60 * time.Second,
		ReadTimeout:    time.Minute,     // of a request with its body
		WriteTimeout:   2 * time.Minute, // of an answer, save for streams, which have a deadline for each event
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
}

// metrics are what the server tells of itself.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	streams  prometheus.Gauge
	batches  *prometheus.CounterVec
	items    *prometheus.CounterVec
}

func newMetrics(s *service.Service) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "flyball_http_request_duration_seconds", Help: "Time to answer a request, by route.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "flyball_streams", Help: "SDK streams open now."}),
		batches: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "flyball_telemetry_batches_total", Help: "Telemetry batches, by outcome."}, []string{"outcome"}),
		items: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flyball_telemetry_lost_items_total", Help: "Items of accepted batches that enter no evidence: rejected, or unmatched by a live rollout.",
		}, []string{"outcome"}),
	}
	m.registry.MustRegister(m.requests, m.streams, m.batches, m.items)
	m.registry.MustRegister(auditMetrics(s)...)
	return m
}
