package provider

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// follow keeps the ruleset up to date until ctx ends: by the stream, and by a
// poll whenever the stream fails.
func (p *Provider) follow(ctx context.Context) {
	pause := jitter{least: p.pace.retry, most: p.pace.retryMax}
	polling := false
	for again := false; ctx.Err() == nil; again = true {
		began := time.Now()
		err := p.stream(ctx, again)
		if ctx.Err() != nil {
			return
		}
		var bye goodbye
		if errors.As(err, &bye) {
			sleep(ctx, rand.N(bye.spread+1))
			continue
		}
		if time.Since(began) >= p.pace.settled {
			pause.reset()
			polling = false
		}
		if !lasting(err) {
			lost := err
			if err = p.poll(ctx); err == nil && !polling {
				p.log.Warn("the stream of flags is lost: polling meanwhile", "error", lost)
			}
			polling = err == nil
		}
		if ctx.Err() != nil {
			return
		}
		switch {
		case err == nil:
			p.report(fresh, nil)
		case flyball.CodeOf(err) == flyball.Unauthenticated, flyball.CodeOf(err) == flyball.Forbidden:
			p.report(refused, err)
		default:
			p.report(stale, err)
		}
		pause.most = p.pace.retryMax
		if lasting(err) || flyball.CodeOf(err) == flyball.Invalid { // any other 4xx will be there in a moment too
			pause.most = p.pace.refusedMax
		}
		sleep(ctx, max(pause.next(), min(retryAfter(err), p.pace.refusedMax)))
	}
}

// lasting says that an error will still be there in a moment: a refused token,
// or a ruleset that cannot be read.
func lasting(err error) bool {
	code := flyball.CodeOf(err)
	return code == flyball.Unauthenticated || code == flyball.Forbidden || errors.As(err, &poison{})
}

// poison is a ruleset that is unusable as a whole.
type poison struct{ error }

// goodbye is a server's request to come back within a spread.
type goodbye struct{ spread time.Duration }

func (goodbye) Error() string { return "the server is going away" }

// A jitter spaces attempts, so that clients that failed together do not return
// together: decorrelated jitter, by Marc Brooker, "Exponential Backoff And
// Jitter" (AWS Architecture Blog, 2015).
type jitter struct {
	least, most, last time.Duration
}

func (j *jitter) reset() { j.last = 0 }

func (j *jitter) next() time.Duration {
	j.last = max(j.last, j.least)
	j.last = min(j.most, j.least+rand.N(3*j.last-j.least+1))
	return j.last
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// poll asks for the ruleset once.
func (p *Provider) poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.pace.request)
	defer cancel()
	req, err := p.request(ctx, http.MethodGet, "/sdk/v1/ruleset", nil)
	if err != nil {
		return err
	}
	if p.rules.Current() != nil {
		req.Header.Set("If-None-Match", `"`+eventID(p.Version())+`"`)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return flyball.Errorf(flyball.Unavailable, "poll: %v", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified {
		return nil
	}
	if resp.StatusCode != http.StatusOK {
		return statusError("poll", resp)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, eval.MaxDocumentBytes+1))
	if err != nil {
		return flyball.Errorf(flyball.Unavailable, "poll: %v", err)
	}
	return p.applyJSON(data)
}

func (p *Provider) applyJSON(data []byte) error {
	doc, err := eval.Decode(data)
	if err != nil {
		return poison{err}
	}
	return p.apply(doc)
}

func (p *Provider) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.server.String()+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.options.Token)
	req.Header.Set("User-Agent", "flyball-"+SDKVersion)
	return req, nil
}

func eventID(id flyball.RulesetID) string { return fmt.Sprintf("%d.%d", id.Epoch, id.Version) }

// statusError tells what an answer other than a success means.
func statusError(what string, resp *http.Response) error {
	code := flyball.Unavailable
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		code = flyball.Unauthenticated
	case http.StatusForbidden:
		code = flyball.Forbidden
	case http.StatusRequestEntityTooLarge:
		code = flyball.TooLarge
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		code = flyball.Overloaded
	case http.StatusRequestTimeout:
	default:
		if resp.StatusCode/100 == 4 {
			code = flyball.Invalid
		}
	}
	err := flyball.Errorf(code, "%s: the server answers %s", what, resp.Status)
	if s, parse := strconv.Atoi(resp.Header.Get("Retry-After")); parse == nil && s >= 0 {
		err = err.With("retryAfter", time.Duration(min(s, 3600))*time.Second)
	}
	return err
}

// retryAfter returns how long the server asked to wait; 0 if it did not.
func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*flyball.Error](err); ok {
		d, _ := e.Details["retryAfter"].(time.Duration)
		return d
	}
	return 0
}

// stream follows the stream until it ends, and says why it did.
func (p *Provider) stream(ctx context.Context, again bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(p.pace.header, func() {
		cancel(flyball.Errorf(flyball.Unavailable, "stream: the server is silent"))
	})
	defer silence.Stop()
	req, err := p.request(ctx, http.MethodGet, "/sdk/v1/stream", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Accept-Encoding", "gzip")
	if again && p.rules.Current() != nil {
		req.Header.Set("Last-Event-ID", eventID(p.Version()))
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return cause(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return statusError("stream", resp)
	}
	if t := resp.Header.Get("Content-Type"); !strings.HasPrefix(t, "text/event-stream") {
		return flyball.Errorf(flyball.Unavailable, "stream: the server sends %q", t)
	}
	body := io.Reader(resp.Body)
	if resp.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			return cause(ctx, err)
		}
	}
	events := newEventReader(body, func() { silence.Reset(p.pace.stall) })
	for {
		e, err := events.next()
		if err != nil {
			return cause(ctx, err)
		}
		if err := p.take(ctx, e, again); err != nil {
			return err
		}
	}
}

// cause returns why ctx was ended, if it was, and not what broke by that.
func cause(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil {
		return why
	}
	return flyball.Errorf(flyball.Unavailable, "stream: %v", err)
}

// take acts on one event of the stream.
func (p *Provider) take(ctx context.Context, e event, again bool) error {
	switch e.name {
	case "ruleset":
		if err := p.applyJSON(e.data); err != nil {
			return err
		}
	case "patch":
		change, err := eval.DecodePatch(e.data)
		if err == nil {
			err = p.applyPatch(change)
		}
		if err != nil { // it is of a ruleset that we do not have, or cannot be read: the whole one will do
			if err := p.poll(ctx); err != nil {
				return err
			}
		}
	case "goodbye":
		var bye struct {
			SpreadMs int64 `json:"spreadMs"`
		}
		_ = json.Unmarshal(e.data, &bye) // whatever it says, it is a goodbye
		return goodbye{time.Duration(min(max(bye.SpreadMs, 0), 300_000)) * time.Millisecond}
	case "":
		if !again || p.rules.Current() == nil { // a first stream begins with the ruleset: wait for it
			return nil
		}
	default: // an event of a later version
		return nil
	}
	p.fresh()
	return nil
}

// fresh reports that the provider is up to date, if that is news.
func (p *Provider) fresh() {
	p.mu.Lock()
	known := p.condition == fresh
	p.mu.Unlock()
	if !known {
		p.report(fresh, nil)
	}
}
