// Package notify tells the world what the audit log says: it follows the log
// and posts each entry to one webhook, in order, without ever standing in the
// way of those who write the log.
package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/flyballdev/flyball"
)

// A Follower posts the entries of the audit log to a URL, one after the other.
// An entry that the URL does not take is tried again with growing, jittered
// waits, for an hour; then it is given up and the next one is told, for the
// audit log still has it. Entries are told at least once: after a restart the
// last one may come again, under the same id.
type Follower struct {
	// Source returns at most limit entries later than after, oldest first.
	Source func(ctx context.Context, after int64, limit int) ([]flyball.AuditEntry, error)
	// Load returns the sequence number of the last entry told, and Save keeps
	// it. Whoever wants no history starts at the log's end.
	Load func(ctx context.Context) (int64, error)
	Save func(ctx context.Context, seq int64) error

	URL    string       // http or https; at hooks.slack.com it is told a line of text
	Secret string       // signs what is told; empty: unsigned
	Client *http.Client // as [NewClient] makes it; nil is NewClient(Public)
	Fail   func(error)  // told of each failure; nil is never told

	every   time.Duration // between two looks at the log
	first   time.Duration // wait after a first failure
	patient time.Duration // with one entry
}

// The waits of a Follower.
const (
	defaultEvery   = time.Second
	defaultFirst   = time.Second
	defaultPatient = time.Hour
	longestWait    = 5 * time.Minute
	batch          = 100
)

// Validate says what is wrong with the URL.
func (f *Follower) Validate() error {
	u, err := url.Parse(f.URL)
	switch {
	case err != nil || u.Host == "":
		return flyball.FieldErrorf("webhookUrl", "is not a URL such as https://example.com/hooks/flyball")
	case u.Scheme != "http" && u.Scheme != "https":
		return flyball.FieldErrorf("webhookUrl", "must begin with http:// or https://")
	case u.User != nil:
		return flyball.FieldErrorf("webhookUrl", "must hold no user name and no password; the signature proves who is calling")
	}
	return nil
}

// Run tells entries until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	client := f.Client
	if client == nil {
		client = NewClient(Public)
	}
	at, ok := f.start(ctx)
	for ok {
		entries, err := f.Source(ctx, at, batch)
		if err != nil {
			f.fail(ctx, fmt.Errorf("read the audit log after %d: %w", at, err))
		}
		for _, e := range entries {
			if !f.tell(ctx, client, e) {
				return
			}
			at = e.Seq
			if err := f.Save(ctx, at); err != nil {
				f.fail(ctx, fmt.Errorf("keep the cursor at %d: %w", at, err))
			}
		}
		if len(entries) == 0 {
			ok = wait(ctx, or(f.every, defaultEvery))
		}
	}
}

// start loads the cursor, however long that takes; false if ctx ended first.
func (f *Follower) start(ctx context.Context) (at int64, ok bool) {
	for failures := 0; ; failures++ {
		at, err := f.Load(ctx)
		if err == nil {
			return at, true
		}
		f.fail(ctx, fmt.Errorf("read the cursor: %w", err))
		if !wait(ctx, f.backoff(failures)) {
			return 0, false
		}
	}
}

// tell posts an entry until it is taken or given up; false if ctx ended first.
func (f *Follower) tell(ctx context.Context, client *http.Client, e flyball.AuditEntry) bool {
	begun := time.Now()
	for failures := 0; ; failures++ {
		pause, err := f.post(ctx, client, e)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if time.Since(begun) >= or(f.patient, defaultPatient) {
			f.fail(ctx, fmt.Errorf("give up telling audit entry %d after %d tries: %w", e.Seq, failures+1, err))
			return true
		}
		f.fail(ctx, fmt.Errorf("tell audit entry %d: %w", e.Seq, err))
		if !wait(ctx, max(pause, f.backoff(failures))) {
			return false
		}
	}
}

// post sends an entry once. After an error, pause is how long the receiver
// wants to be left alone.
func (f *Follower) post(ctx context.Context, client *http.Client, e flyball.AuditEntry) (pause time.Duration, err error) {
	req, err := f.request(ctx, e, time.Now())
	if err != nil {
		return 0, err
	}
	res, err := client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL, which may be a secret itself
		}
		return 0, err
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	if res.StatusCode/100 == 2 {
		return 0, nil
	}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
		pause = min(time.Duration(min(s, 3600))*time.Second, longestWait)
	}
	return pause, fmt.Errorf("the webhook answered %s", res.Status)
}

// backoff is how long to wait after a number of earlier failures: twice as
// long each time, and somewhere between half of it and all of it, so that many
// servers do not knock together.
func (f *Follower) backoff(failures int) time.Duration {
	d := min(or(f.first, defaultFirst)<<min(failures, 16), longestWait)
	return d/2 + rand.N(d/2+1)
}

func (f *Follower) fail(ctx context.Context, err error) {
	if f.Fail != nil && ctx.Err() == nil {
		f.Fail(err)
	}
}

// wait waits; false if ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
