package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/flyballdev/flyball/bench/target"
)

// eventSize is how many bytes an event of the floor has.
const eventSize = 130

// A hub is the least that streams of events are: everyone who is connected is
// sent the same few bytes. It has no flags, no tokens, no database, no beat.
type hub struct {
	mu      sync.Mutex
	version int64
	clients map[chan []byte]struct{}
}

func serveHub() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "listening on http://%s\n", listener.Addr())
	return http.Serve(listener, newHub())
}

func newHub() http.Handler {
	h := &hub{version: 1, clients: map[chan []byte]struct{}{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stream", h.stream)
	mux.HandleFunc("POST /kill", func(http.ResponseWriter, *http.Request) { h.publish(true) })
	mux.HandleFunc("POST /resume", func(http.ResponseWriter, *http.Request) { h.publish(false) })
	return mux
}

func (h *hub) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	events := make(chan []byte, 16)
	h.mu.Lock()
	events <- event(h.version, false)
	h.clients[events] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.clients, events)
	}()
	out := http.NewResponseController(w)
	for {
		select {
		case e := <-events:
			if _, err := w.Write(e); err != nil {
				return
			}
			if out.Flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

func (h *hub) publish(killed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.version++
	e := event(h.version, killed)
	for events := range h.clients {
		select {
		case events <- e:
		default: // it is slow, and the floor does not care
		}
	}
}

// event is a change in the shape of flyball's, of the size of the floor's.
func event(version int64, killed bool) []byte {
	flag := ""
	if killed {
		flag = `,"killed":{}`
	}
	e := fmt.Appendf(nil, "id: 1.%d\nevent: patch\ndata: {\"flags\":[{\"key\":%q%s}]}", version, switched, flag)
	e = append(e, bytes.Repeat([]byte(" "), max(0, eventSize-2-len(e)))...)
	return append(e, "\n\n"...)
}

// atHub measures how changes reach n clients of the floor.
func atHub(ctx context.Context, n, changes int, rest time.Duration) (reach, error) {
	self, err := os.Executable()
	if err != nil {
		return reach{}, err
	}
	s, err := target.Floor(target.Options{}, self, "-hub")
	if err != nil {
		return reach{}, err
	}
	defer s.Stop()
	crowd := &crowd{url: s.URL + "/stream", rest: rest}
	return crowd.reach(ctx, s, n, changes, func(kill bool) error {
		path := "/resume"
		if kill {
			path = "/kill"
		}
		return s.Call(ctx, http.MethodPost, path, nil, nil)
	})
}
