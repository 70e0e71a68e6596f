package api

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// A pace is how often the server does what it does by the clock.
type pace struct {
	beat    time.Duration // between signs of life of a stream
	recheck time.Duration // of a stream's token
	write   time.Duration // that a client has to take an event
	body    time.Duration // that a client has to send a body
	spread  time.Duration // over which clients come back after a goodbye
	gather  time.Duration // for which changes are gathered before a page is told
}

// Another node's revocation is known here after two seconds, and a stream's
// token is looked at again within this one's recheck: both together stay below
// the five seconds that a revoked token's streams may last.
var usual = pace{
	beat: 15 * time.Second, recheck: 2500 * time.Millisecond, write: 10 * time.Second, body: time.Minute, spread: 5 * time.Second,
	gather: 100 * time.Millisecond,
}

// stream sends the ruleset in force and each one that follows, as server-sent
// events: a patch where the client has the version before, else the whole. A
// client that is slow gets the latest when it is ready, never a backlog.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	p := service.PrincipalOf(r.Context())
	has := parseRulesetID(r.Header.Get("Last-Event-ID"))
	s.follow(w, r, p, func() error { _, err := s.authenticate(r); return err }, func(e *events, head *service.Published) error {
		v, err := head.View(p.Flags)
		switch {
		case err != nil:
			return err
		case has.Before(v.ID): // a client that has a newer one, from another node, waits for a newer one still
			e.ruleset(v, has)
			has = v.ID
		case e.events == 0 && has == v.ID:
			e.send(": you have the ruleset in force\n\n")
		}
		e.events++
		return nil
	})
}

// follow holds a stream open: tell is called at once and after each change.
func (s *Server) follow(w http.ResponseWriter, r *http.Request, p service.Principal, again func() error, tell func(*events, *service.Published) error) {
	if s.draining() {
		writeProblem(w, r, flyball.Errorf(flyball.Unavailable, "the server is stopping: come back later").With("retryAfter", 1+rand.IntN(5)))
		return
	}
	leave, err := s.streams.enter(p.Token, r.RemoteAddr)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	defer leave()
	head, err := s.service.Published(p.Environment)
	if err != nil {
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
	beat, check := time.NewTicker(s.pace.beat), time.NewTicker(s.pace.recheck)
	defer beat.Stop()
	defer check.Stop()
	for changed := true; e.err == nil; {
		if changed {
			if head, err = s.service.Published(p.Environment); err == nil {
				err = tell(e, head)
			}
			if err != nil {
				return
			}
		}
		changed = false
		select {
		case <-head.Superseded:
			changed = true
		case <-beat.C:
			e.send(": beat\n\n")
		case <-check.C:
			if err := again(); err != nil && flyball.CodeOf(err) == flyball.Unauthenticated {
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

// A gate counts the streams that are open, and turns away those that are too
// many: it never ends one to let another in.
type gate struct {
	all, perToken, perAddress int // at most; 0 is no bound

	mu        sync.Mutex
	open      int
	byToken   map[string]int
	byAddress map[string]int
}

// Bounds of streams. An address may be that of a proxy before many programs.
const (
	maxStreams           = 50_000
	maxStreamsPerToken   = 20_000
	maxStreamsPerAddress = 20_000
)

// enter lets a stream in; leave must be called when it ends.
func (g *gate) enter(token, remote string) (leave func(), err error) {
	address, _, err := net.SplitHostPort(remote)
	if err != nil {
		address = remote
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	why := ""
	switch {
	case g.all > 0 && g.open >= g.all:
		why = "too many streams are open"
	case g.perToken > 0 && g.byToken[token] >= g.perToken:
		why = "this token has too many streams open"
	case g.perAddress > 0 && g.byAddress[address] >= g.perAddress:
		why = "your address has too many streams open"
	}
	if why != "" {
		return nil, flyball.Errorf(flyball.Unavailable, "%s: come back later", why).With("retryAfter", 5+rand.IntN(25))
	}
	if g.byToken == nil {
		g.byToken, g.byAddress = map[string]int{}, map[string]int{}
	}
	g.open++
	g.byToken[token]++
	g.byAddress[address]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.open--
		less(g.byToken, token)
		less(g.byAddress, address)
	}, nil
}

func less(m map[string]int, key string) {
	if m[key]--; m[key] == 0 {
		delete(m, key)
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
	events int // told so far
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
