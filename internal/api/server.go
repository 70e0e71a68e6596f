// Package api is the platform's surfaces over HTTP: management as REST with
// its OpenAPI document, one row per capability; remote evaluation (OFREP); and
// what SDKs use, rulesets, a stream and telemetry. It is the only package that
// knows HTTP.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

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
