package api

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// A page cannot send headers with an event stream, so its address carries a
// ticket in place of the token: good for one hour, for nothing but this.
const (
	eventsPath    = "/ofrep/v1/events"
	ticketLife    = time.Hour
	ticketRenewal = ticketLife / 2 // a bulk answer older than this comes with a new ticket, though nothing else changed
	inactivity    = 2 * time.Minute
)

// eventStream tells a provider where to hear of changes, as OFREP has it.
type eventStream struct {
	Type       string              `json:"type"`
	Endpoint   eventStreamEndpoint `json:"endpoint"`
	Inactivity int                 `json:"inactivityDelaySec"`
}

type eventStreamEndpoint struct {
	RequestURI string `json:"requestUri"`
}

// eventStreams returns where the holder of a token hears of changes after a
// version.
func (s *Server) eventStreams(p service.Principal, now time.Time) []eventStream {
	query := url.Values{"ticket": {s.service.Ticket(p, now.Add(ticketLife))}}
	return []eventStream{{
		Type: "sse", Endpoint: eventStreamEndpoint{eventsPath + "?" + query.Encode()}, Inactivity: int(inactivity.Seconds()),
	}}
}

// ofrepEvents tells a page that it should fetch again. Several changes at once
// are told as one, with the newest version.
func (s *Server) ofrepEvents(w http.ResponseWriter, r *http.Request) {
	ticket := r.URL.Query().Get("ticket")
	p, err := s.service.Redeem(r.Context(), ticket, time.Now())
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	has := parseRulesetID(r.Header.Get("Last-Event-ID"))
	revoked := func() error { _, err := s.service.Redeem(r.Context(), ticket, time.Time{}); return err }
	s.follow(w, r, p, revoked, func(e *events, head *service.Published) error {
		if e.events++; e.events > 1 { // gather what comes together
			select {
			case <-time.After(s.pace.gather):
			case <-r.Context().Done():
			}
			var err error
			if head, err = s.service.Published(p.Environment); err != nil {
				return err
			}
		}
		if id := head.ID(); has.Before(id) {
			tag := fmt.Sprintf("%d.%d", id.Epoch, id.Version)
			e.send("id: %s\nevent: message\ndata: {\"type\":\"refetchEvaluation\",\"etag\":%q,\"lastModified\":%d}\n\n", tag, tag, time.Now().Unix())
			has = id
		}
		return nil
	})
}

// reach waits a little until this node has the version that an event told of:
// the event may have come from another.
func (s *Server) reach(r *http.Request, p service.Principal) (*service.Published, error) {
	want := parseRulesetID(r.URL.Query().Get("flagConfigEtag"))
	late := time.After(2 * time.Second)
	for {
		head, err := s.service.Published(p.Environment)
		if err != nil || !head.ID().Before(want) || want == (flyball.RulesetID{}) {
			return head, err
		}
		select {
		case <-head.Superseded:
		case <-late:
			return head, nil
		case <-r.Context().Done():
			return head, nil
		}
	}
}
