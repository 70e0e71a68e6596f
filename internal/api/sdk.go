package api

import (
	"context"
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

// telemetry takes a batch, and acknowledges it once it is durable.
func (s *Server) telemetry(w http.ResponseWriter, r *http.Request) {
	p := service.PrincipalOf(r.Context())
	if r.ContentLength > flyball.MaxBatchBytes {
		w.Header().Set("Connection", "close")
		s.metrics.batches.WithLabelValues("refused").Inc()
		writeProblem(w, r, flyball.Errorf(flyball.TooLarge, "a batch has at most %d bytes: split it", flyball.MaxBatchBytes))
		return
	}
	batch, misread, err := ingest.DecodeBatch(r.Body, r.Header.Get("Content-Encoding"), ingest.Limits{})
	var reply flyball.TelemetryReply
	if err == nil {
		unhurried(w)
		ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
		defer cancel()
		reply, err = s.receiver.Accept(ctx, p.Environment, p.Kind == flyball.TokenSDK, batch, misread...)
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
	s.metrics.items.WithLabelValues("rejected").Add(float64(len(reply.Rejected)))
	s.metrics.items.WithLabelValues("unmatched").Add(float64(reply.Unmatched))
	writeJSON(w, r, status, reply)
}
