// Package prometheus asks a Prometheus server what a stream's values are, and
// believes little of what it answers.
//
// An answer counts if it is one series of finite numbers at the moments that
// were asked for, the last of them included, came within [Timeout] and has no
// more than [MaxBytes]. Anything else is no data, with a reason for people.
package prometheus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/api"
	"github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Bounds of an answer.
const (
	Timeout  = 5 * time.Second
	MaxBytes = 1 << 20
)

// A Client asks one server. Its methods may be called at the same time.
type Client struct {
	api     v1.API
	timeout time.Duration
	// looksBack is true once the server is known to look back no further than it
	// is asked to.
	looksBack atomic.Bool
}

// New returns a client of the server at an address such as
// http://prometheus:9090, with user and password in it where it wants them.
func New(address string) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the address of Prometheus must be like http://prometheus:9090") // not repeated: it may hold a password
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // what arrives is what is bounded
	client, err := api.NewClient(api.Config{Address: address, Client: &http.Client{
		Transport:     bounded{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
	}})
	if err != nil {
		return nil, err
	}
	return &Client{api: v1.NewAPI(client), timeout: Timeout}, nil
}

var (
	errRedirect = errors.New("it sends us elsewhere, and we do not go there")
	errTooLarge = fmt.Errorf("it has more than %d bytes", MaxBytes)
)

// bounded is a transport whose answers end with an error beyond MaxBytes.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = &boundedBody{resp.Body, MaxBytes}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// A Sample is the value of a stream at a moment.
type Sample struct {
	T     time.Time
	Value float64
}

// Ask returns the answers to a query from one moment to another, in steps of
// every; the last of them is there, others may be missing. No value is looked
// up that is older than twice the step. Errors say in few words why there are no
// data.
func (c *Client) Ask(ctx context.Context, query string, from, to time.Time, every time.Duration) (found []Sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil { // whatever was answered
			found, err = nil, fmt.Errorf("the answer cannot be read: %.100v", p)
		}
	}()
	v, warnings, _, err := c.api.QueryRange(ctx, query, v1.Range{Start: from, End: to, Step: every}, v1.WithLookbackDelta(2*every))
	switch {
	case err != nil:
		return nil, c.explain(err)
	case len(warnings) > 0:
		return nil, fmt.Errorf("the answer comes with a warning: %s", brief(warnings[0]))
	}
	if found, err = samples(v, from, to, every); err == nil {
		err = c.scrapes(ctx, to, 2*every)
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

// scrapes says why a server that does not know how far to look back, as before
// version 2.43, may have answered with what is long past. A target that is gone
// has no value there either, but a server that was stopped for a while, or that
// is stopping, tells what it knew for minutes more.
func (c *Client) scrapes(ctx context.Context, at time.Time, age time.Duration) error {
	if c.looksBack.Load() {
		return nil
	}
	info, err := c.api.Buildinfo(ctx)
	if e, ok := errors.AsType[*v1.Error](err); ok && (e.Type == v1.ErrClient || e.Type == v1.ErrBadResponse) {
		return nil // it is no Prometheus, but answers like one
	} else if err != nil {
		return c.explain(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(info.Version, "%d.%d", &major, &minor); err == nil && (major > 2 || minor >= 43) {
		c.looksBack.Store(true)
		return nil
	}
	v, _, _, err := c.api.Query(ctx, "max(timestamp(up))", at)
	if err != nil {
		return c.explain(err)
	}
	last, ok := v.(model.Vector)
	if !ok || len(last) != 1 || float64(last[0].Value) < float64(at.Add(-age).Unix()) {
		return errors.New("nothing has been scraped lately")
	}
	return nil
}

// samples checks an answer, and returns its values in the order of time.
func samples(v model.Value, from, to time.Time, every time.Duration) ([]Sample, error) {
	matrix, ok := v.(model.Matrix)
	switch {
	case !ok:
		return nil, errors.New("the answer is no series of values")
	case len(matrix) == 0:
		return nil, errors.New("the query has no value now")
	case len(matrix) > 1:
		return nil, fmt.Errorf("the query has %d values at once: make one of them, such as with sum()", len(matrix))
	case len(matrix[0].Histograms) > 0:
		return nil, errors.New("the query's value is a histogram, not a number")
	}
	var found []Sample
	next := from
	for _, p := range matrix[0].Values {
		t, x := p.Timestamp.Time(), float64(p.Value)
		switch {
		case t.Before(next) || t.After(to):
			return nil, fmt.Errorf("the answer is for %s, which nobody asked for: it is stale, or the clocks differ", t.UTC().Format(time.RFC3339))
		case t.Equal(to) && (math.IsNaN(x) || math.IsInf(x, 0)):
			return nil, fmt.Errorf("the query's value is %v, which is no number to judge by", x)
		}
		next = t.Add(every)
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			found = append(found, Sample{t, x})
		}
	}
	if len(found) == 0 || !found[len(found)-1].T.Equal(to) {
		return nil, errors.New("the query has no value now")
	}
	return found, nil
}

// explain words an error for people, without the address, which may hold a
// password and is nobody's business who only reads evidence.
func (c *Client) explain(err error) error {
	if e, ok := errors.AsType[*v1.Error](err); ok {
		return fmt.Errorf("the query was refused: %s", brief(string(e.Type)+": "+e.Msg))
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		err = e.Err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v", c.timeout)
	case errors.Is(err, errTooLarge), errors.Is(err, errRedirect):
		return fmt.Errorf("no answer that counts: %w", err)
	}
	return fmt.Errorf("cannot be reached: %s", brief(err.Error()))
}

// brief keeps what others wrote to one short line.
func brief(s string) string {
	s = strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "")
	if len(s) > 160 {
		s = strings.ToValidUTF8(s[:160], "") + "…"
	}
	return s
}
