package api

import (
	"encoding/json"
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

// changes tells a page what is changed from now on, or after the entry that it
// heard of last, as server-sent events. Each entry that its reader may see is
// one; every new version of a ruleset and every move of a rollout has an entry.
func (s *Server) changes(w http.ResponseWriter, r *http.Request) {
	p := service.PrincipalOf(r.Context())
	seen, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
	newest, _ := s.service.News()
	again := err == nil && seen > 0 && seen <= newest
	if !again || newest-seen > mostMissed {
		seen = newest
	}
	s.follow(w, r, p, s.stillGood(r), func(e *events) (<-chan struct{}, error) {
		if e.events++; e.events == 1 && !again {
			e.send("event: hello\nid: %d\ndata: {\"seq\":%d}\n\n", seen, seen)
		} else if e.events == 1 {
			e.send(": you are back\n\n")
		}
		newest, next := s.service.News()
		for e.err == nil && seen < newest {
			found, err := s.service.ListAudit(r.Context(), service.ListAudit{After: seen, Limit: mostMissed})
			if err != nil {
				return nil, err
			}
			if seen == 0 { // the log was empty, and without an entry to begin after it is told newest first
				slices.Reverse(found.Entries)
			}
			for _, entry := range found.Entries {
				e.happening(entry)
				seen = entry.Seq
			}
			if len(found.Entries) < mostMissed {
				seen = max(seen, newest)
			}
		}
		return next, nil
	})
}

func (e *events) happening(of flyball.AuditEntry) {
	h := happening{
		Seq: of.Seq, At: of.At, Actor: of.Actor.ID, Action: of.Action, Subject: of.Subject, Environment: of.Environment, Version: of.Version,
	}
	for _, edit := range of.Edits {
		if edit.Noun == "rollout" {
			h.Rollout = edit.Key
		}
	}
	body, err := json.Marshal(h)
	if err != nil {
		e.err = err
		return
	}
	e.send("event: change\nid: %d\ndata: %s\n\n", of.Seq, body)
}
