package api

import (
	"bytes"
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
	flag := answersOf(head, p).byKey[key]
	if flag == nil {
		writeJSON(w, r, http.StatusNotFound, ofrepFlag{Key: key, ErrorCode: flyball.ErrorFlagNotFound, ErrorDetails: ofrepDetails(flyball.ErrorFlagNotFound)})
		return
	}
	answer, failed := flag.answer(head.Compiled, ec, p)
	status := http.StatusOK
	if failed {
		status = http.StatusBadRequest
	}
	writeEncoded(w, status, answer)
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
	all, now := answersOf(head, p), time.Now()
	tag := bulkTag(head.ID(), canonical, all.era(now), now)
	w.Header().Set("ETag", `"`+tag+`"`)
	if matchesETag(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := bytes.NewBuffer(make([]byte, 0, 256+160*len(all.flags)))
	body.WriteString(`{"flags":[`)
	for i, flag := range all.flags {
		if i > 0 {
			body.WriteByte(',')
		}
		answer, _ := flag.answer(head.Compiled, ec, p)
		body.Write(answer)
	}
	rest, err := json.Marshal(bulkRest{
		Metadata: map[string]any{"version": head.ID().Version, "flagSetId": p.Environment}, EventStreams: s.eventStreams(p, now),
	})
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	body.WriteString(`],`)
	body.Write(rest[1:])
	writeEncoded(w, http.StatusOK, body.Bytes())
}

// bulkRest is what stands in a bulk answer beside the flags.
type bulkRest struct {
	Metadata     map[string]any `json:"metadata"`
	EventStreams []eventStream  `json:"eventStreams"`
}

// bulkTag identifies a bulk answer without evaluating anything: by the version,
// so that tags are ordered, by the context, and by the dates that have passed,
// which is all that an answer depends on. It changes too when the ticket that
// came with the answer grows old, since an answer of 304 brings no new one.
func bulkTag(id flyball.RulesetID, context []byte, era int, now time.Time) string {
	h := sha256.New()
	h.Write(binary.AppendVarint(nil, int64(era)))
	h.Write(binary.AppendVarint(nil, now.Unix()/int64(ticketRenewal.Seconds())))
	h.Write(context)
	return strconv.FormatInt(id.Epoch, 10) + "." + strconv.FormatInt(id.Version, 10) + "-" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}

func writeEncoded(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
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
