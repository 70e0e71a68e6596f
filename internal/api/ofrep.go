package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/service"
)

// limitContext is how many bytes an evaluation context may have.
const limitContext = 64 << 10

// ofrepRequest is the body of an OFREP evaluation.
type ofrepRequest struct {
	Context flyball.Attributes `json:"context"`
}

// ofrepFlag is one answer of OFREP: a success or a failure.
type ofrepFlag struct {
	Key          string            `json:"key"`
	Value        any               `json:"value,omitempty"`
	Reason       flyball.Reason    `json:"reason,omitempty"`
	Variant      string            `json:"variant,omitempty"`
	Metadata     map[string]any    `json:"metadata,omitempty"`
	ErrorCode    flyball.ErrorCode `json:"errorCode,omitempty"`
	ErrorDetails string            `json:"errorDetails,omitempty"`
}

// ofrepContext reads the evaluation context of a request; a body that is
// absent is an empty context.
func ofrepContext(w http.ResponseWriter, r *http.Request) (*flyball.EvaluationContext, []byte, error) {
	body, err := readBody(w, r, limitContext)
	if err != nil {
		return nil, nil, err
	}
	var in ofrepRequest
	if tooDeep(body) {
		return nil, nil, flyball.FieldErrorf("context", "nests more than %d deep", maxNesting)
	}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, nil, flyball.FieldErrorf("context", "not an evaluation context: %s", readable(err))
		}
	}
	canonical, err := json.Marshal(in.Context)
	if err != nil {
		return nil, nil, err
	}
	ec, err := service.ContextOf(in.Context)
	return &ec, canonical, err
}

// ofrepSingle evaluates one flag.
func (s *Server) ofrepSingle(w http.ResponseWriter, r *http.Request) {
	p, key := service.PrincipalOf(r.Context()), r.PathValue("key")
	head, err := s.service.Published(p.Environment)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	ec, _, err := ofrepContext(w, r)
	if err != nil {
		s.ofrepFailure(w, r, key, err)
		return
	}
	if !visible(p, head.Compiled, key) {
		writeJSON(w, r, http.StatusNotFound, ofrepFlag{Key: key, ErrorCode: flyball.ErrorFlagNotFound, ErrorDetails: "there is no such flag for this token"})
		return
	}
	answer := ofrepAnswer(key, head.Compiled.Evaluate(key, ec, time.Now, nil), p)
	status := http.StatusOK
	if answer.ErrorCode != "" {
		status = http.StatusBadRequest
	}
	writeJSON(w, r, status, answer)
}

// ofrepFailure answers a request whose context cannot be read.
func (s *Server) ofrepFailure(w http.ResponseWriter, r *http.Request, key string, err error) {
	if flyball.CodeOf(err) != flyball.Invalid {
		writeProblem(w, r, err)
		return
	}
	writeJSON(w, r, http.StatusBadRequest, ofrepFlag{Key: key, ErrorCode: flyball.ErrorInvalidContext, ErrorDetails: err.Error()})
}

// visible says whether a token may evaluate a flag; to a client token, a flag
// that is not client-visible does not exist.
func visible(p service.Principal, rs *eval.Ruleset, key string) bool {
	f := rs.Flag(key)
	return f != nil && (p.Kind != flyball.TokenClient || f.ClientVisible) && p.Opens(key)
}

func ofrepAnswer(key string, r flyball.Resolution, p service.Principal) ofrepFlag {
	if r.ErrorCode != "" {
		return ofrepFlag{Key: key, ErrorCode: r.ErrorCode, ErrorDetails: ofrepDetails(r.ErrorCode)}
	}
	a := ofrepFlag{Key: key, Value: r.Value, Reason: r.Reason, Variant: r.Variant}
	if p.Kind == flyball.TokenClient {
		return a // rules and rollouts are nobody's business there
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
func (s *Server) ofrepBulk(w http.ResponseWriter, r *http.Request) {
	p := service.PrincipalOf(r.Context())
	head, err := s.reach(r, p)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	ec, canonical, err := ofrepContext(w, r)
	if err != nil {
		if flyball.CodeOf(err) == flyball.Invalid {
			writeJSON(w, r, http.StatusBadRequest, map[string]any{"errorCode": flyball.ErrorInvalidContext, "errorDetails": err.Error()})
			return
		}
		writeProblem(w, r, err)
		return
	}
	out := struct {
		Flags        []ofrepFlag    `json:"flags"`
		Metadata     map[string]any `json:"metadata"`
		EventStreams []eventStream  `json:"eventStreams"`
	}{Flags: []ofrepFlag{}, Metadata: map[string]any{"version": head.Doc().Version, "flagSetId": p.Environment}}
	for _, f := range head.Doc().Flags {
		if visible(p, head.Compiled, f.Key) {
			out.Flags = append(out.Flags, ofrepAnswer(f.Key, head.Compiled.Evaluate(f.Key, ec, time.Now, nil), p))
		}
	}
	now := time.Now()
	tag := bulkTag(head.ID(), canonical, out.Flags, now)
	w.Header().Set("ETag", `"`+tag+`"`)
	if matchesETag(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	out.EventStreams = s.eventStreams(p, now)
	writeJSON(w, r, http.StatusOK, out)
}

// bulkTag identifies a bulk answer: the version, so that tags are ordered, and
// a digest of the context and of the answers, which dates may change. It
// changes too when the ticket that came with the answer grows old, since an
// answer of 304 brings no new one.
func bulkTag(id flyball.RulesetID, context []byte, flags []ofrepFlag, now time.Time) string {
	h := sha256.New()
	h.Write(binary.AppendVarint(nil, now.Unix()/int64(ticketRenewal.Seconds())))
	h.Write(context)
	json.NewEncoder(h).Encode(flags)
	return strconv.FormatInt(id.Epoch, 10) + "." + strconv.FormatInt(id.Version, 10) + "-" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}

// allowOrigin lets pages of every origin evaluate: a client token is public by
// nature, and it is all that gives access.
func allowOrigin(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "ETag, Retry-After")
}

func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Content-Type, Authorization, X-API-Key, If-None-Match, Content-Encoding, traceparent, baggage")
	h.Set("Access-Control-Max-Age", "86400")
	h.Set("Vary", "Origin")
	w.WriteHeader(http.StatusNoContent)
}
