package api

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

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
