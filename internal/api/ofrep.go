package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/service"
)

// ofrepFlag is one answer of OFREP: a success or a failure.
type ofrepFlag struct {
	Key          string            `json:"key,omitempty"` // in bulk, a failure is of none
	Value        any               `json:"value,omitempty"`
	Reason       flyball.Reason    `json:"reason,omitempty"`
	Variant      string            `json:"variant,omitempty"`
	Metadata     map[string]any    `json:"metadata,omitempty"`
	ErrorCode    flyball.ErrorCode `json:"errorCode,omitempty"`
	ErrorDetails string            `json:"errorDetails,omitempty"`
}

// ofrepSingle evaluates one flag.
func (s *Server) ofrepSingle(w http.ResponseWriter, r *http.Request, p *service.Principal, key string) {
	head, err := s.service.Published(p.Environment)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	all := answersOf(head, p)
	in, err := readContext(w, r, all.reads)
	if err != nil {
		s.ofrepFailure(w, r, ofrepFlag{Key: key}, err)
		return
	}
	defer in.release()
	flag := all.byKey[key]
	if flag == nil {
		writeJSON(w, r, http.StatusNotFound, ofrepFlag{Key: key, ErrorCode: flyball.ErrorFlagNotFound, ErrorDetails: ofrepDetails(flyball.ErrorFlagNotFound)})
		return
	}
	s.noted.flag(p.Environment, key)
	a := flag.answer(&in.context)
	announce(w.Header(), a.length)
	if a.failed {
		w.WriteHeader(http.StatusBadRequest)
	}
	w.Write(a.body)
}

// ofrepFailure answers a request whose context cannot be read.
func (s *Server) ofrepFailure(w http.ResponseWriter, r *http.Request, failure ofrepFlag, err error) {
	if flyball.CodeOf(err) != flyball.Invalid {
		s.refuse(w, r, err)
		return
	}
	failure.ErrorCode, failure.ErrorDetails = flyball.ErrorInvalidContext, err.Error()
	writeJSON(w, r, http.StatusBadRequest, failure)
}

// visible says whether a token may evaluate a flag; to a client token, a flag
// that is not client-visible does not exist.
func visible(p *service.Principal, rs *eval.Ruleset, key string) bool {
	f := rs.Flag(key)
	return f != nil && (p.Kind != flyball.TokenClient || f.ClientVisible) && p.Opens(key)
}

// ofrepAnswer is a resolution as OFREP tells it; plainly, without what is nobody's
// business but the server's own.
func ofrepAnswer(key string, r *flyball.Resolution, plainly bool) ofrepFlag {
	if r.ErrorCode != "" {
		return ofrepFlag{Key: key, ErrorCode: r.ErrorCode, ErrorDetails: ofrepDetails(r.ErrorCode)}
	}
	a := ofrepFlag{Key: key, Value: r.Value, Reason: r.Reason, Variant: r.Variant}
	if plainly {
		return a
	}
	a.Metadata = map[string]any{"version": r.Version}
	if r.Rule != "" {
		a.Metadata["rule"] = r.Rule
	}
	if r.Rollout != "" {
		a.Metadata["rollout"], a.Metadata["step"] = r.Rollout, r.Step
	}
	return a
}

func ofrepDetails(code flyball.ErrorCode) string {
	if code == flyball.ErrorTargetingKeyMissing {
		return "this flag is split by a unit that the context lacks: send a targetingKey"
	}
	return "there is no such flag for this token"
}

// ofrepBulk evaluates every flag that the token opens.
func (s *Server) ofrepBulk(w http.ResponseWriter, r *http.Request, p *service.Principal, _ string) {
	head, err := s.reach(r, p)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	all, now := answersOf(head, p), time.Now()
	in, err := readContext(w, r, all.reads)
	if err != nil {
		s.ofrepFailure(w, r, ofrepFlag{}, err)
		return
	}
	defer in.release()
	s.noteAll(head, p)
	in.spell()
	h, era := w.Header(), all.era(now)
	tag := bulkTag(in, head.ID(), era, now)
	h["Etag"] = []string{tag}
	if known := r.Header.Get("If-None-Match"); known == tag || known != "" && matchesETag(known, tag[1:len(tag)-1]) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	opening, err := s.opening(all, head, p, now)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	flags := all.bulk(in, era)
	announce(h, []string{strconv.Itoa(len(opening) + len(flags))})
	w.Write(opening)
	w.Write(flags)
}

// Values of headers, made once. They are shared, and never written to.
var (
	ofJSON  = []string{"application/json; charset=utf-8"}
	noStore = []string{"no-store"}
	nosniff = []string{"nosniff"}

	everyOrigin = []string{"*"}
	forPages    = []string{"ETag, Retry-After"}
)

// announce sets the headers of an answer that is encoded already.
func announce(h http.Header, length []string) {
	h["Content-Type"], h["Cache-Control"], h["Content-Length"] = ofJSON, noStore, length
}

// allowOrigin lets pages of every origin evaluate: a client token is public by
// nature, and it is all that gives access.
func allowOrigin(w http.ResponseWriter) {
	h := w.Header()
	h["Access-Control-Allow-Origin"], h["Access-Control-Expose-Headers"] = everyOrigin, forPages
}

func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Content-Type, Authorization, X-API-Key, If-None-Match, Content-Encoding, traceparent, baggage")
	h.Set("Access-Control-Max-Age", "86400")
	h.Set("Vary", "Origin")
	w.WriteHeader(http.StatusNoContent)
}
