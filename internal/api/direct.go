package api

import (
	"net/http"
	"strings"
	"time"

	"github.com/flyballdev/flyball/internal/service"
)

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
