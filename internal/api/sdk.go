package api

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/ingest"
	"github.com/flyballdev/flyball/internal/service"
)

// view returns the ruleset that a request's token opens, and the one it is of.
func (s *Server) view(r *http.Request) (*service.Published, *service.View, error) {
	p := service.PrincipalOf(r.Context())
	head, err := s.service.Published(p.Environment)
	if err != nil {
		return nil, nil, err
	}
	v, err := head.View(p.Flags)
	return head, v, err
}

// ruleset answers with the ruleset in force, or that the caller has it.
func (s *Server) ruleset(w http.ResponseWriter, r *http.Request) {
	_, v, err := s.view(r)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	h := w.Header()
	h.Set("ETag", `"`+v.ETag()+`"`)
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding, Authorization")
	if matchesETag(r.Header.Get("If-None-Match"), v.ETag()) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json")
	body := v.JSON()
	if takesGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		body = v.Gzip()
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// takesGzip reads an Accept-Encoding, in which a quality of 0 refuses.
func takesGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, quality, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		q, found := strings.CutPrefix(strings.TrimSpace(quality), "q=")
		share, err := strconv.ParseFloat(q, 64)
		return !found || err == nil && share > 0
	}
	return false
}

// matchesETag reads a list of entity tags, weak ones and * included.
func matchesETag(header, tag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == "*" || part == `"`+tag+`"` {
			return true
		}
	}
	return false
}

// A pace is how often the server does what it does by the clock.
type pace struct {
	beat    time.Duration // between signs of life of a stream
	recheck time.Duration // of a stream's token
	write   time.Duration // that a client has to take an event
	spread  time.Duration // over which clients come back after a goodbye
}

// Another node's revocation is known here after two seconds, and a stream's
// token is looked at again within this one's recheck: both together stay below
// the five seconds that a revoked token's streams may last.
var usual = pace{
	beat: 15 * time.Second, recheck: 2500 * time.Millisecond, write: 10 * time.Second, spread: 5 * time.Second,
}

// stream sends the ruleset in force and each one that follows, as server-sent
// events: a patch where the client has the version before, else the whole. A
// client that is slow gets the latest when it is ready, never a backlog.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	if s.draining() {
		writeProblem(w, r, flyball.Errorf(flyball.Unavailable, "the server is stopping: come back later").With("retryAfter", 1+rand.IntN(5)))
		return
	}
	defer s.streams.Add(-1)
	if s.streams.Add(1) > s.maximum {
		writeProblem(w, r, flyball.Errorf(flyball.Unavailable, "too many streams are open: come back later").With("retryAfter", 5+rand.IntN(25)))
		return
	}
	if _, _, err := s.view(r); err != nil {
		writeProblem(w, r, err)
		return
	}
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()

	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	unhurried(w)
	e := &events{w: w, c: http.NewResponseController(w), within: s.pace.write}
	e.send("retry: %d\n\n", 1000+rand.IntN(2000))
	has := parseRulesetID(r.Header.Get("Last-Event-ID"))
	if _, v, err := s.view(r); err == nil && has == v.ID {
		e.send(": you have the ruleset in force\n\n")
	}
	beat, check := time.NewTicker(s.pace.beat), time.NewTicker(s.pace.recheck)
	defer beat.Stop()
	defer check.Stop()
	for e.err == nil {
		head, v, err := s.view(r)
		if err != nil {
			return
		}
		if has.Before(v.ID) { // a client that has a newer one, from another node, waits for a newer one still
			e.ruleset(v, has)
			has = v.ID
		}
		select {
		case <-head.Superseded:
		case <-beat.C:
			e.send(": beat\n\n")
		case <-check.C:
			if _, err := s.authenticate(r); err != nil && flyball.CodeOf(err) == flyball.Unauthenticated {
				return
			}
		case <-s.drain:
			e.send("event: goodbye\ndata: {\"spreadMs\":%d}\n\n", s.pace.spread.Milliseconds())
			return
		case <-r.Context().Done():
			return
		}
	}
}

// parseRulesetID reads the id of a stream's event; what is none is the id that
// comes before all rulesets.
func parseRulesetID(s string) flyball.RulesetID {
	epoch, version, _ := strings.Cut(s, ".")
	e, err := strconv.ParseInt(epoch, 10, 64)
	v, errVersion := strconv.ParseInt(version, 10, 64)
	if err != nil || errVersion != nil {
		return flyball.RulesetID{}
	}
	return flyball.RulesetID{Epoch: e, Version: v}
}

// events writes server-sent events, each within a deadline.
type events struct {
	w      http.ResponseWriter
	c      *http.ResponseController
	within time.Duration
	err    error
}

// send writes a comment, or a field that belongs to no event.
func (e *events) send(format string, args ...any) { e.write(fmt.Appendf(nil, format, args...)) }

// write writes parts as they are: a ruleset is large, and shared by all who
// are sent it.
func (e *events) write(parts ...[]byte) {
	if e.err != nil {
		return
	}
	e.c.SetWriteDeadline(time.Now().Add(e.within))
	for _, part := range parts {
		if _, e.err = e.w.Write(part); e.err != nil {
			return
		}
	}
	e.err = e.c.Flush()
}

func (e *events) ruleset(v *service.View, has flyball.RulesetID) {
	name, data := "ruleset", v.JSON()
	if v.Patch != nil && has == v.From {
		name, data = "patch", v.Patch
	}
	e.write(fmt.Appendf(nil, "event: %s\nid: %s\ndata: ", name, v.ETag()), data, []byte("\n\n"))
}

// telemetry takes a batch, and acknowledges it once it is durable.
func (s *Server) telemetry(w http.ResponseWriter, r *http.Request) {
	p := service.PrincipalOf(r.Context())
	if r.ContentLength > flyball.MaxBatchBytes {
		w.Header().Set("Connection", "close")
		s.metrics.batches.WithLabelValues("refused").Inc()
		writeProblem(w, r, flyball.Errorf(flyball.TooLarge, "a batch has at most %d bytes: split it", flyball.MaxBatchBytes))
		return
	}
	batch, err := ingest.DecodeBatch(r.Body, r.Header.Get("Content-Encoding"), ingest.Limits{})
	var reply flyball.TelemetryReply
	if err == nil {
		unhurried(w)
		ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
		defer cancel()
		reply, err = s.receiver.Accept(ctx, p.Environment, p.Kind == flyball.TokenSDK, batch)
	}
	if err != nil {
		s.metrics.batches.WithLabelValues("refused").Inc()
		writeProblem(w, r, err)
		return
	}
	status := http.StatusAccepted
	if len(reply.Rejected) > 0 {
		status = http.StatusOK
	}
	s.metrics.batches.WithLabelValues("accepted").Inc()
	writeJSON(w, r, status, reply)
}
