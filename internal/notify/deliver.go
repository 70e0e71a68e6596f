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
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// A job is one delivery, with all that is needed to make it.
type job struct {
	webhook  store.WebhookRecord
	delivery flyball.Delivery
	message  message
}

// drain tells a webhook what is due for it, the oldest first, until there is
// nothing left, or the webhook wants to be left alone.
func (t *Teller) drain(ctx context.Context, key string, fence int64) {
	for ctx.Err() == nil {
		j, ok, err := t.next(ctx, key)
		if err != nil {
			t.fail(ctx, fmt.Errorf("webhook %s: %w", key, err))
		}
		if err != nil || !ok {
			return
		}
		target, err := j.webhook.OpenTarget(t.seal)
		if err != nil { // another server may have the key, so that this is no attempt
			t.fail(ctx, fmt.Errorf("webhook %s: %w", key, err))
			wait(ctx, t.first)
			return
		}
		a := t.post(ctx, j.webhook.Kind, target, strconv.FormatInt(j.delivery.Seq, 10), j.message)
		if ctx.Err() != nil && a.err != nil {
			return // it was cut off, and is told again
		}
		d, health := t.outcome(j, a, time.Now())
		if a.err != nil {
			t.fail(ctx, fmt.Errorf("webhook %s: tell audit entry %d, attempt %d (%s): %w", key, d.Seq, d.Attempts, d.State, a.err))
		}
		if !t.keep(ctx, fence, d, health, j.webhook) {
			return
		}
	}
}

// next reads the next delivery of a webhook.
func (t *Teller) next(ctx context.Context, key string) (j job, ok bool, err error) {
	now := time.Now()
	err = t.db.View(ctx, func(tx *store.Tx) error {
		ok = false
		if j.webhook, err = tx.Webhook(key); flyball.CodeOf(err) == flyball.NotFound && err != nil {
			return nil // deleted meanwhile
		} else if err != nil {
			return err
		}
		if !j.webhook.On() || j.webhook.Rest.After(now) {
			return nil
		}
		due, err := tx.Deliveries(store.DeliveryFilter{Webhook: key, State: flyball.DeliveryPending, DueBy: now, Limit: 1, OldestFirst: true})
		if err != nil || len(due) == 0 {
			return err
		}
		entry, err := tx.Audit(store.AuditFilter{AfterSeq: due[0].Seq - 1, Limit: 1, OldestFirst: true})
		if err != nil || len(entry) == 0 {
			return err
		}
		j.delivery, ok = due[0], true
		j.message, err = messageOf(entry[0], tx.Metric)
		return err
	})
	return j, ok, err
}

// An attempt is what came of telling something once.
type attempt struct {
	status int           // of the answer, if there was one
	pause  time.Duration // for which the receiver wants to be left alone
	err    error         // nil if it took the message
}

// refused says that the receiver is well and does not take this message.
func (a attempt) refused() bool {
	switch a.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return a.status/100 == 4
}

// outcome says what an attempt makes of a delivery and of its webhook. A
// message that the receiver refuses lets those behind it pass; any other
// failure is the receiver's own, and it is left alone for a while.
func (t *Teller) outcome(j job, a attempt, now time.Time) (flyball.Delivery, store.WebhookHealth) {
	d, health := j.delivery, j.webhook.WebhookHealth
	d.Attempts, d.Status, d.At, d.Due = d.Attempts+1, a.status, now, nil
	if a.err == nil {
		d.State, d.Error = flyball.DeliveryDelivered, ""
		return d, store.WebhookHealth{}
	}
	d.Error = clean(a.err.Error(), 300)
	health.Failures++
	pause := max(min(a.pause, longestWait), t.backoff(d.Attempts-1))
	const fewRefusals = 3
	if !a.refused() || health.Failures >= fewRefusals {
		pause = max(pause, t.backoff(health.Failures-1))
		health.Rest = now.Add(pause)
	}
	if d.Attempts >= maxAttempts || a.status == http.StatusGone {
		d.State = flyball.DeliveryDead
		return d, health
	}
	d.Due = &flyball.Time{Time: now.Add(pause)}
	return d, health
}

// backoff is how long to wait after a number of earlier failures: twice as
// long each time, and somewhere between half of it and all of it, so that many
// servers do not knock together.
func (t *Teller) backoff(failures int) time.Duration {
	d := min(t.first<<min(failures, 16), longestWait)
	return d/2 + rand.N(d/2+1)
}

// keep writes down what came of an attempt, however long the database takes;
// false if another process tells by now. A webhook that was changed, or hurried,
// during the attempt is not left alone for what its former self did.
func (t *Teller) keep(ctx context.Context, fence int64, d flyball.Delivery, health store.WebhookHealth, was store.WebhookRecord) bool {
	ctx, stop := lasting(ctx, t.ttl/3) // or what was taken just before the end would be told twice
	defer stop()
	for failures := 0; ; failures++ {
		err := t.db.Update(ctx, func(tx *store.Tx) error {
			if err := tx.HoldsLease(leaseName, fence, time.Now()); err != nil {
				return err
			}
			if err := tx.PutDelivery(d); err != nil {
				return err
			}
			is, err := tx.Webhook(d.Webhook)
			if err != nil || is.Revision != was.Revision || is.WebhookHealth == health {
				return ignoreMissing(err)
			}
			return tx.PutWebhookHealth(d.Webhook, health)
		})
		if err == nil {
			return true
		}
		t.fail(ctx, fmt.Errorf("webhook %s: keep what came of audit entry %d: %w", d.Webhook, d.Seq, err))
		if flyball.CodeOf(err) == flyball.Conflict || !wait(ctx, t.backoff(failures)) {
			return false
		}
	}
}

// lasting returns ctx such that it goes on for a while after its end.
func lasting(ctx context.Context, while time.Duration) (context.Context, context.CancelFunc) {
	longer, stop := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(while, stop) })
	return longer, stop
}

func ignoreMissing(err error) error {
	if flyball.CodeOf(err) == flyball.NotFound && err != nil {
		return nil
	}
	return err
}

// Tell tells a webhook something at once, past its queue, as it would be told
// anything, and returns the status of its answer.
func (t *Teller) Tell(ctx context.Context, webhook string, e flyball.AuditEntry) (status int, err error) {
	var w store.WebhookRecord
	var m message
	err = t.db.View(ctx, func(tx *store.Tx) error {
		if w, err = tx.Webhook(webhook); err != nil {
			return err
		}
		m, err = messageOf(e, tx.Metric)
		return err
	})
	if err != nil {
		return 0, err
	}
	target, err := w.OpenTarget(t.seal)
	if err != nil {
		return 0, err
	}
	a := t.post(ctx, w.Kind, target, "test-"+strconv.FormatInt(e.At.UnixMicro(), 36), m)
	return a.status, a.err
}

// post sends a message once.
func (t *Teller) post(ctx context.Context, kind flyball.WebhookKind, to flyball.WebhookTarget, id string, m message) (a attempt) {
	req, err := request(ctx, kind, to, id, m, time.Now())
	if err != nil {
		return attempt{err: err}
	}
	res, err := t.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL, which is a secret itself
		}
		return attempt{err: err}
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	a.status = res.StatusCode
	if a.status/100 != 2 {
		a.err = fmt.Errorf("it answered %d %s", a.status, http.StatusText(a.status))
		a.pause = pauseOf(res.Header.Get("Retry-After"), time.Now())
	}
	return a
}

// pauseOf reads a Retry-After: seconds, or a date.
func pauseOf(text string, now time.Time) time.Duration {
	if s, err := strconv.Atoi(strings.TrimSpace(text)); err == nil && s > 0 {
		return time.Duration(min(s, int(longestWait/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
