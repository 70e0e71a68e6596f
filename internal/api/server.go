// Package api is the platform's surfaces over HTTP: management as REST with
// its OpenAPI document, one row per capability; remote evaluation (OFREP); and
// what SDKs use, rulesets, a stream and telemetry. It is the only package that
// knows HTTP.
package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
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
	drain    chan struct{} // closed when the server is about to stop
	drained  sync.Once
	pace     pace
	metrics  *metrics
}

// Options are what a Server is made of.
type Options struct {
	Service   *service.Service
	Receiver  *ingest.Receiver
	Log       *slog.Logger
	Dashboard http.Handler
}

// New returns a server with all its routes. Each route has a policy; one
// without stops the program here, before it could serve.
func New(o Options) *Server {
	s := &Server{
		service: o.Service, receiver: o.Receiver, log: o.Log, drain: make(chan struct{}), pace: usual, metrics: newMetrics(),
		streams: gate{all: maxStreams, perToken: maxStreamsPerToken, perAddress: maxStreamsPerAddress},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	for _, op := range operations {
		s.route(mux, op.Method+" "+op.Path, policy{access: op.Access}, op.serve(s.service))
	}
	openAPI()
	s.route(mux, "GET /api/v1/openapi.json", policy{public: true}, s.openAPI)
	s.route(mux, "GET /api/v1/events", policy{access: service.Read}, s.changes)
	s.route(mux, "GET /sdk/v1/ruleset", policy{access: service.SDK}, s.ruleset)
	s.route(mux, "GET /sdk/v1/stream", policy{access: service.SDK}, s.stream)
	s.route(mux, "POST /sdk/v1/telemetry", policy{access: service.OFREP}, s.telemetry)
	s.route(mux, "GET /flagd/v1/flags", policy{access: service.SDK}, s.flagd)
	s.route(mux, "POST /ofrep/v1/evaluate/flags/{key...}", policy{access: service.OFREP}, s.ofrepSingle)
	s.route(mux, "POST /ofrep/v1/evaluate/flags", policy{access: service.OFREP}, s.ofrepBulk)
	s.route(mux, "GET "+eventsPath, policy{public: true}, s.ofrepEvents) // by its ticket
	for _, path := range []string{"/ofrep/v1/", "/sdk/v1/telemetry"} {
		s.route(mux, "OPTIONS "+path, policy{public: true}, preflight)
	}
	s.route(mux, "GET /healthz", policy{public: true}, func(w http.ResponseWriter, r *http.Request) { writeJSON(w, r, 200, map[string]string{"status": "ok"}) })
	s.route(mux, "GET /readyz", policy{public: true}, s.ready)
	s.route(mux, "GET /metrics", policy{public: true}, promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP)
	for _, rest := range []string{"/api/", "/sdk/", "/ofrep/", "/flagd/", "/healthz", "/readyz", "/metrics"} {
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

// route registers a handler behind its policy; without one the program does
// not start.
func (s *Server) route(mux *http.ServeMux, pattern string, p policy, h http.HandlerFunc) {
	if p.access == "" && !p.public {
		panic("route without a policy: " + pattern)
	}
	_, route, ok := strings.Cut(pattern, " ")
	if !ok {
		route = pattern
	}
	forPages := strings.HasPrefix(route, "/ofrep/") || route == "/sdk/v1/telemetry"
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		defer s.metrics.observe(route, time.Now())
		if forPages {
			allowOrigin(w)
		}
		if p.public {
			h(w, r)
			return
		}
		principal, err := s.authenticate(r)
		if err == nil {
			err = service.Allow(principal, p.access)
		}
		if err != nil {
			writeProblem(w, r, err)
			return
		}
		principal.Request = requestOf(r).id
		h(w, r.WithContext(service.WithPrincipal(r.Context(), principal)))
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

// authenticate reads the token of a request, in either of the two headers that
// OFREP allows.
func (s *Server) authenticate(r *http.Request) (service.Principal, error) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		secret = r.Header.Get("X-API-Key")
	}
	if secret == "" {
		return service.Principal{}, flyball.Errorf(flyball.Unauthenticated, "no token: send one as \"Authorization: Bearer fb_…\"")
	}
	return s.service.Authenticate(r.Context(), secret)
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

var sane = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// ServeHTTP answers a request. A panic is a fault of ours, and ends this
// request only.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("X-Request-Id")
	if !sane.MatchString(id) {
		var b [8]byte
		rand.Read(b[:])
		id = hex.EncodeToString(b[:])
	}
	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, request{id: id, log: s.log}))
	h := w.Header()
	h.Set("X-Request-Id", id)
	h.Set("X-Content-Type-Options", "nosniff")
	defer func() {
		if v := recover(); v == http.ErrAbortHandler {
			panic(v) // it asks for the connection to be cut
		} else if v != nil {
			s.log.ErrorContext(r.Context(), "panic in a request", "path", r.URL.Path, "request", id, "panic", v, "stack", string(debug.Stack()))
			writeProblem(w, r, flyball.Errorf(flyball.Internal, "something went wrong on our side; the server's log tells what, by the request's id"))
		}
	}()
	s.handler.ServeHTTP(w, r)
}

// Drain tells streams to go elsewhere, spread over a while, and takes no new
// ones.
func (s *Server) Drain() { s.drained.Do(func() { close(s.drain) }) }

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
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "flyball_http_request_duration_seconds", Help: "Time to answer a request, by route.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "flyball_streams", Help: "SDK streams open now."}),
		batches: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "flyball_telemetry_batches_total", Help: "Telemetry batches, by outcome."}, []string{"outcome"}),
	}
	m.registry.MustRegister(m.requests, m.streams, m.batches)
	return m
}

func (m *metrics) observe(route string, start time.Time) {
	m.requests.WithLabelValues(route).Observe(time.Since(start).Seconds())
}
