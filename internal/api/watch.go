package api

import (
	"context"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
)

// A watch looks after the tokens of open streams: each token once, however many
// streams it has open, and no stream waits meanwhile.
type watch struct {
	good func(ctx context.Context, token string) error

	mu     sync.Mutex
	tokens map[string]*watched
	stop   chan struct{} // ends the loop, which runs while there are streams
}

type watched struct {
	streams int
	bad     chan struct{} // closed when the token opens nothing any more
}

// enter watches over a stream of a token: bad is closed soon after the token
// stops being good. leave must be called when the stream ends.
func (w *watch) enter(token string, every time.Duration) (bad <-chan struct{}, leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tokens == nil {
		w.tokens = map[string]*watched{}
	}
	t := w.tokens[token]
	if t == nil {
		t = &watched{bad: make(chan struct{})}
		w.tokens[token] = t
	}
	t.streams++
	if w.stop == nil {
		w.stop = make(chan struct{})
		go w.run(every, w.stop)
	}
	return t.bad, func() { w.leave(token, t) }
}

func (w *watch) leave(token string, t *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.streams--; t.streams == 0 && w.tokens[token] == t {
		w.forget(token)
	}
}

// forget is called with the lock.
func (w *watch) forget(token string) {
	if delete(w.tokens, token); len(w.tokens) == 0 {
		close(w.stop)
		w.stop = nil
	}
}

func (w *watch) run(every time.Duration, stop chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		w.mu.Lock()
		tokens := make([]string, 0, len(w.tokens))
		for token := range w.tokens {
			tokens = append(tokens, token)
		}
		w.mu.Unlock()
		for _, token := range tokens {
			w.look(token)
		}
	}
}

// look ends the streams of a token that is not good. What else is wrong, such as
// a database that is away, is no reason to send anybody off.
func (w *watch) look(token string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := w.good(ctx, token); flyball.CodeOf(err) != flyball.Unauthenticated {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.tokens[token]; t != nil {
		close(t.bad)
		w.forget(token)
	}
}
