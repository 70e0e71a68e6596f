package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/bench/target"
	"github.com/flyballdev/flyball/provider"
)

// A crowd is many clients of one server, in this process.
type crowd struct {
	url, token string
	rest       time.Duration // how long a server is let alone before its memory is looked at
	provider   *follower
	clients    []*light
	underWay   atomic.Pointer[change]
	failed     atomic.Pointer[error]
}

// A change is one that is under way: from before the call until the last
// client has it.
type change struct {
	version int64
	kill    bool
	sent    time.Time
	waiting atomic.Int64
	done    chan struct{}
}

// A light client reads events and applies what they say of one flag.
type light struct {
	conn    net.Conn
	version atomic.Int64
	killed  bool
	took    time.Duration // for the last change
}

// reach connects n clients, lets them idle, and measures changes.
func (c *crowd) reach(ctx context.Context, s *target.Server, n, changes int, toggle func(kill bool) error) (r reach, err error) {
	time.Sleep(c.rest)
	before, _, err := s.RSS()
	if err != nil {
		return r, err
	}
	began := time.Now()
	defer c.close()
	if err := c.connect(ctx, n); err != nil {
		return r, err
	}
	r.ConnectMS = float64(time.Since(began).Microseconds()) / 1000
	if c.provider != nil && n == 0 {
		r.ConnectMS = float64(c.provider.started.Microseconds()) / 1000
	}
	time.Sleep(c.rest)
	after, _, err := s.RSS()
	if err != nil {
		return r, err
	}
	r.ClientKB = float64(after-before) / float64(max(n, 1)) / 1024
	var lights, providers []time.Duration
	var worst []float64
	spent, err := s.CPU()
	if err != nil {
		return r, err
	}
	for i := range changes {
		if err := c.change(i%2 == 0, toggle); err != nil {
			return r, err
		}
		var these []time.Duration
		for _, l := range c.clients {
			these = append(these, l.took)
		}
		if q := quantilesOf(these); q != nil {
			worst = append(worst, q.P99)
		}
		lights = append(lights, these...)
		if c.provider != nil {
			providers = append(providers, c.provider.took)
		}
	}
	now, err := s.CPU()
	if err != nil {
		return r, err
	}
	r.ClientUS = float64((now - spent).Microseconds()) / float64(changes*max(n, 1))
	r.Light, r.Provider = quantilesOf(lights), quantilesOf(providers)
	if slices.Sort(worst); len(worst) > 0 {
		r.TypicalMS = worst[len(worst)/2]
	}
	return r, nil
}

// change makes one change and waits until everybody has it.
func (c *crowd) change(kill bool, toggle func(kill bool) error) error {
	next := &change{kill: kill, done: make(chan struct{})}
	waiting := int64(len(c.clients))
	if c.provider != nil {
		waiting++
		next.version = c.provider.Version().Version + 1
	} else {
		next.version = c.clients[0].version.Load() + 1
	}
	next.waiting.Store(waiting)
	var watching sync.WaitGroup
	if c.provider != nil {
		watching.Go(func() { c.provider.await(next) })
	}
	next.sent = time.Now()
	c.underWay.Store(next)
	if err := toggle(kill); err != nil {
		return err
	}
	select {
	case <-next.done:
		watching.Wait()
	case <-time.After(time.Minute):
		return fmt.Errorf("%d of %d clients do not have version %d after a minute", next.waiting.Load(), waiting, next.version)
	}
	if err := c.failed.Load(); err != nil {
		return *err
	}
	for i, l := range c.clients {
		if l.killed != kill {
			return fmt.Errorf("client %d has version %d, and not what it says", i, l.version.Load())
		}
	}
	return nil
}

func (ch *change) arrived() {
	if ch.waiting.Add(-1) == 0 {
		close(ch.done)
	}
}

// connect opens n streams, some at a time, and waits for what each begins with.
func (c *crowd) connect(ctx context.Context, n int) error {
	at, err := url.Parse(c.url)
	if err != nil {
		return err
	}
	c.clients = make([]*light, n)
	next, errs := atomic.Int64{}, make([]error, 256)
	var wg sync.WaitGroup
	for worker := range errs {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || errs[worker] != nil {
					return
				}
				c.clients[i], errs[worker] = c.dial(ctx, at)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// dial opens one stream and reads until it has a version.
func (c *crowd) dial(ctx context.Context, at *url.URL) (*light, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", at.Host)
	if err != nil {
		return nil, err
	}
	l := &light{conn: conn}
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nAccept: text/event-stream\r\n\r\n", at.Path, at.Host, c.token)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return l, err
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return l, fmt.Errorf("stream: %s: %s", resp.Status, body)
	}
	r := bufio.NewReader(resp.Body)
	for l.version.Load() == 0 {
		if err := l.read(r); err != nil {
			return l, err
		}
	}
	conn.SetDeadline(time.Time{})
	go c.listen(l, r)
	return l, nil
}

// listen reads events until the connection ends.
func (c *crowd) listen(l *light, r *bufio.Reader) {
	for last := int64(0); ; {
		if err := l.read(r); err != nil {
			if !errors.Is(err, net.ErrClosed) {
				err = fmt.Errorf("a client lost its stream: %w", err)
				c.failed.CompareAndSwap(nil, &err)
			}
			return
		}
		if ch := c.underWay.Load(); ch != nil && ch.version > last && l.version.Load() >= ch.version {
			l.took, last = time.Since(ch.sent), ch.version
			ch.arrived()
		}
	}
}

// read reads one event and applies it. A line that is too long to be a patch
// is a whole ruleset, of which the version is enough.
func (l *light) read(r *bufio.Reader) error {
	var id int64
	for {
		line, err := r.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice('\n')
		}
		if err != nil {
			return err
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case len(line) == 0 && id == 0: // the end of a comment, or of a retry time
			return nil
		case len(line) == 0:
			l.version.Store(id)
			return nil
		case long:
		case string(name) == "id":
			_, version, _ := strings.Cut(string(value), ".")
			if id, err = strconv.ParseInt(version, 10, 64); err != nil {
				return err
			}
		case string(name) == "data":
			if err := l.apply(value); err != nil {
				return err
			}
		}
	}
}

// apply reads what an event says of the flag.
func (l *light) apply(data []byte) error {
	var patch struct {
		Flags []struct {
			Key    string          `json:"key"`
			Killed json.RawMessage `json:"killed"`
		} `json:"flags"`
	}
	if err := json.Unmarshal(data, &patch); err != nil {
		return fmt.Errorf("%w: %.200s", err, data)
	}
	for _, f := range patch.Flags {
		if f.Key == switched {
			l.killed = len(f.Killed) > 0
		}
	}
	return nil
}

func (c *crowd) close() {
	for _, l := range c.clients {
		if l != nil && l.conn != nil {
			if tcp, ok := l.conn.(*net.TCPConn); ok {
				tcp.SetLinger(0) // thousands of ports are wanted again soon
			}
			l.conn.Close()
		}
	}
}

// A follower is a real provider.
type follower struct {
	*provider.Provider
	started time.Duration // how long its start took
	took    time.Duration // for the last change
}

func follow(ctx context.Context, server, token string) (*follower, error) {
	p, err := provider.New(provider.Options{Server: server, Token: token, Service: "bench", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := p.Start(ctx); err != nil {
		return nil, err
	}
	return &follower{Provider: p, started: time.Since(began)}, nil
}

func (f *follower) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	f.Close(ctx)
}

// await waits until evaluating the flag gives what the change serves.
func (f *follower) await(ch *change) {
	for {
		news := f.Changed()
		if f.Version().Version >= ch.version && (f.Evaluate(switched, &flyball.EvaluationContext{TargetingKey: "user-1"}).Value == false) == ch.kill {
			f.took = time.Since(ch.sent)
			ch.arrived()
			return
		}
		<-news
	}
}
