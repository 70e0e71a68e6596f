package api

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// A happening tells a page that something changed, so that it reads it again:
// an entry of the audit log without what the entry holds.
type happening struct {
	Seq         int64           `json:"seq"`
	At          time.Time       `json:"at"`
	Actor       flyball.ActorID `json:"actor"`
	Action      string          `json:"action"`
	Subject     string          `json:"subject"`
	Environment string          `json:"environment,omitempty"`
	Version     int64           `json:"version,omitempty"`
	Rollout     string          `json:"rollout,omitempty"`
}

// mostMissed is how many entries are told one by one to a page that comes back;
// one that missed more reads everything again.
const mostMissed = 200

// A happenings is a stream of what happens to one page. It is not one of those
// that thousands of programs hold open, and has no need to be as light.
type happenings struct {
	w      http.ResponseWriter
	c      *http.ResponseController
	within time.Duration // that a page has to take an event
	seen   int64         // the last entry that was told
}

// send writes an event, or a comment.
func (h *happenings) send(format string, args ...any) error {
	h.c.SetWriteDeadline(time.Now().Add(h.within))
	if _, err := fmt.Fprintf(h.w, format, args...); err != nil {
		return err
	}
	return h.c.Flush()
}

// changes tells a page what is changed from now on, or after the entry that it
// heard of last, as server-sent events. Each entry that its reader may see is
// one; every new version of a ruleset and every move of a rollout has an entry.
func (s *Server) changes(w http.ResponseWriter, r *http.Request) {
	if s.draining() {
		writeProblem(w, r, flyball.Errorf(flyball.Unavailable, "the server is stopping: come back later").With("retryAfter", 1+rand.IntN(5)))
		return
	}
	leave, err := s.streams.enter(service.PrincipalOf(r.Context()).Token, r.RemoteAddr)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	defer leave()
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	unhurried(w)
	h := &happenings{w: w, c: http.NewResponseController(w), within: s.pace.write}
	if err := h.begin(s.service, r.Header.Get("Last-Event-ID")); err == nil {
		s.followNews(r, h)
	}
}

// begin greets a page. One that comes back is told what it missed, unless that
// is too much.
func (h *happenings) begin(of *service.Service, last string) error {
	newest, _ := of.Heard()
	seen, err := strconv.ParseInt(last, 10, 64)
	if err == nil && seen > 0 && seen <= newest && newest-seen <= mostMissed {
		h.seen = seen
		return h.send("retry: %d\n\n: you are back\n\n", 1000+rand.IntN(2000))
	}
	h.seen = newest
	return h.send("retry: %d\n\nevent: hello\nid: %d\ndata: {\"seq\":%d}\n\n", 1000+rand.IntN(2000), newest, newest)
}

// followNews tells of each entry until the page is gone, or must go.
func (s *Server) followNews(r *http.Request, h *happenings) {
	beat, check := time.NewTicker(s.pace.beat), time.NewTicker(s.pace.recheck)
	defer beat.Stop()
	defer check.Stop()
	for {
		next, err := h.tell(r.Context(), s.service)
		for waiting := true; waiting; {
			if err != nil {
				return
			}
			select {
			case <-next:
				waiting = false
			case <-beat.C:
				err = h.send(": beat\n\n")
			case <-check.C:
				if _, failed := s.authenticate(&door{sessions: true}, r); failed != nil && flyball.CodeOf(failed) == flyball.Unauthenticated {
					return
				}
			case <-s.drain:
				h.send("event: goodbye\ndata: {\"spreadMs\":%d}\n\n", s.pace.spread.Milliseconds())
				return
			case <-r.Context().Done():
				return
			}
		}
	}
}

// tell tells of the entries that are news, and returns what is closed when
// there are more.
func (h *happenings) tell(ctx context.Context, of *service.Service) (<-chan struct{}, error) {
	newest, next := of.Heard()
	for h.seen < newest {
		found, err := of.ListAudit(ctx, service.ListAudit{After: h.seen, Limit: mostMissed})
		if err != nil {
			return nil, err
		}
		if h.seen == 0 { // the log was empty, and without an entry to begin after it is told newest first
			slices.Reverse(found.Entries)
		}
		for _, entry := range found.Entries {
			if err := h.entry(entry); err != nil {
				return nil, err
			}
			h.seen = entry.Seq
		}
		if len(found.Entries) < mostMissed {
			h.seen = max(h.seen, newest)
		}
	}
	return next, nil
}

func (h *happenings) entry(of flyball.AuditEntry) error {
	told := happening{
		Seq: of.Seq, At: of.At, Actor: of.Actor.ID, Action: of.Action, Subject: of.Subject, Environment: of.Environment, Version: of.Version,
	}
	for _, edit := range of.Edits {
		if edit.Noun == "rollout" {
			told.Rollout = edit.Key
		}
	}
	body, err := json.Marshal(told)
	if err != nil {
		return err
	}
	return h.send("event: change\nid: %d\ndata: %s\n\n", of.Seq, body)
}
