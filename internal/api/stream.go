package api

import (
	"math/rand/v2"
	"net"
	"net/http"
	"runtime/debug"
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
	s.follow(w, r, following{
		principal: p, zip: takesGzip(r.Header.Get("Accept-Encoding")),
		tell: func(e *events, head *service.Published) error {
			v, err := head.View(p.Flags)
			switch {
			case err != nil:
				return err
			case has.Before(v.ID): // a client that has a newer one, from another node, waits for a newer one still
				e.write(rulesetFrame(v, has, e.zip))
				has = v.ID
			case e.told == 0 && has == v.ID:
				e.send(": you have the ruleset in force\n\n")
			}
			e.told++
			return nil
		},
	})
}

// A following is what one stream is about. It outlives its request, and so keeps
// nothing of it.
type following struct {
	principal service.Principal
	zip       bool
	tell      func(*events, *service.Published) error
}

// follow holds a stream open: tell is called at once and after each change. The
// connection is taken from net/http where it can be, and follow returns then
// while the stream goes on: what a request needs is several times what a stream
// does.
func (s *Server) follow(w http.ResponseWriter, r *http.Request, f following) {
	if s.draining() {
		writeProblem(w, r, flyball.Errorf(flyball.Unavailable, "the server is stopping: come back later").With("retryAfter", 1+rand.IntN(5)))
		return
	}
	leave, err := s.streams.enter(f.principal.Token, r.RemoteAddr)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	if _, err := s.service.Published(f.principal.Environment); err != nil {
		leave()
		writeProblem(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	h.Set("Vary", "Accept-Encoding")
	if f.zip {
		h.Set("Content-Encoding", "gzip")
	}
	e := &events{zip: f.zip, within: s.pace.write}
	if held := s.held.take(w, r); held != nil {
		e.line, e.gone = held, held.gone
		go s.hold(held, e, f, leave)
		return
	}
	defer leave()
	w.WriteHeader(http.StatusOK)
	unhurried(w)
	e.line, e.gone = response{w, http.NewResponseController(w)}, r.Context().Done()
	s.run(e, f)
}

// hold runs a stream on a connection of its own. A panic is a fault of ours, and
// ends this stream only.
func (s *Server) hold(held *held, e *events, f following, leave func()) {
	defer s.held.leave(held)
	defer leave()
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("panic in a stream", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	s.run(e, f)
	if e.err == nil {
		e.err = held.end(time.Now().Add(s.pace.write))
	}
}

// run tells a client of each change until it is gone, or must go.
func (s *Server) run(e *events, f following) {
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()
	bad, leave := s.watch.enter(f.principal.Token, s.pace.recheck)
	defer leave()
	e.begin()
	beat := time.NewTicker(s.pace.beat)
	defer beat.Stop()
	for {
		head, err := s.service.Published(f.principal.Environment)
		if err == nil {
			err = f.tell(e, head)
		}
		for waiting := true; waiting; {
			if err != nil || e.err != nil {
				e.end()
				return
			}
			select {
			case <-head.Superseded:
				waiting = false
			case <-beat.C:
				e.send(": beat\n\n")
			case <-bad:
				e.end()
				return
			case <-s.drain:
				e.send("event: goodbye\ndata: {\"spreadMs\":%d}\n\n", s.pace.spread.Milliseconds())
				e.end()
				return
			case <-e.gone:
				return
			}
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
