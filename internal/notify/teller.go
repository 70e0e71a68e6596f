// Package notify tells webhooks what the audit log says. The log itself is the
// outbox: an entry is durable together with the change that it tells of, and
// from the log the deliveries of each webhook are queued, so that nothing that
// happened is lost, and nobody who changes something waits for a receiver.
package notify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// leaseName is the lease that makes a process the only one that tells.
const leaseName = "teller"

// The pace of a Teller, and what it keeps.
const (
	defaultEvery = 250 * time.Millisecond // between two looks at the log
	defaultTTL   = 6 * time.Second        // of the lease: longer than one attempt takes
	defaultFirst = 5 * time.Second        // wait after a first failure
	longestWait  = time.Hour
	maxAttempts  = 12 // with the waits between them, 1.2 to 2.4 hours
	patience     = 24 * time.Hour
	batch        = 200 // entries queued in one transaction
	batchBytes   = 16 << 20

	pruneEvery    = time.Minute
	keepDelivered = 7 * 24 * time.Hour
	keepDead      = 30 * 24 * time.Hour
	maxDelivered  = 1000 // of each webhook
	maxDead       = 10_000
	maxPending    = 10_000
)

// A Teller queues what webhooks are to be told, and tells it: each webhook in
// the order of the log, none waiting for another. A message is told at least
// once; after a crash the last one may come again, under the same id.
type Teller struct {
	db     *store.DB
	seal   *store.Seal
	holder string
	client *http.Client
	// Fail is told of each failure; nil is never told.
	Fail func(error)

	every, ttl, first time.Duration

	fence   int64 // of the lease, 0 while it is not held
	renewed time.Time
	denied  time.Time // when another process held it
	pruned  time.Time

	mu   sync.Mutex // guards busy
	busy map[string]bool
	work sync.WaitGroup
}

// New returns a teller of the webhooks in db. holder names this process; no
// two may share a name.
func New(db *store.DB, seal *store.Seal, holder string, reach Reach) *Teller {
	return &Teller{
		db: db, seal: seal, holder: holder, client: NewClient(reach), busy: map[string]bool{},
		every: defaultEvery, ttl: defaultTTL, first: defaultFirst,
	}
}

// Run tells until ctx ends; then it hands over. What it was telling just then
// is told again by whoever comes next.
func (t *Teller) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := t.look(ctx); err != nil {
			t.fail(ctx, err)
		}
		wait(ctx, t.every+rand.N(t.every/4+1))
	}
	t.work.Wait()
	if t.fence == 0 {
		return
	}
	over, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.ttl)
	defer cancel()
	t.db.Update(over, func(tx *store.Tx) error { return tx.ReleaseLease(leaseName, t.fence) }) // else it ends by itself
}

// look does what there is to do. Where there are no webhooks, or nothing
// happens, it only reads.
func (t *Teller) look(ctx context.Context) error {
	now := time.Now()
	var webhooks []store.WebhookRecord
	var due []string
	var told, last int64
	err := t.db.View(ctx, func(tx *store.Tx) (err error) {
		if webhooks, err = tx.Webhooks(); err != nil || len(webhooks) == 0 {
			return err
		}
		if told, err = tx.Told(); err != nil {
			return err
		}
		if last, err = tx.LastAudit(); err != nil {
			return err
		}
		due, err = dueOf(tx, webhooks, now)
		return err
	})
	prune := now.Sub(t.pruned) >= pruneEvery
	if err != nil || len(webhooks) == 0 || told == last && len(due) == 0 && !t.working() && !prune {
		return err
	}
	if held, err := t.hold(ctx, now); err != nil || !held {
		t.pruned = now // that is for who holds it
		return err
	}
	if told < last {
		if err := t.queue(ctx); err != nil {
			return err
		}
		err = t.db.View(ctx, func(tx *store.Tx) (err error) { due, err = dueOf(tx, webhooks, time.Now()); return err })
		if err != nil {
			return err
		}
	}
	for _, key := range due {
		t.begin(ctx, key)
	}
	if prune {
		return t.prune(ctx, webhooks, now)
	}
	return nil
}

// dueOf returns the keys of the webhooks that are to be told something now.
func dueOf(tx *store.Tx, webhooks []store.WebhookRecord, now time.Time) ([]string, error) {
	due, err := tx.DueWebhooks(now)
	return slices.DeleteFunc(due, func(key string) bool {
		return !slices.ContainsFunc(webhooks, func(w store.WebhookRecord) bool { return w.Key == key && w.On() })
	}), err
}

// hold takes the lease, or renews it in good time.
func (t *Teller) hold(ctx context.Context, now time.Time) (held bool, err error) {
	if t.fence != 0 && now.Sub(t.renewed) < t.ttl/3 {
		return true, nil
	}
	if now.Sub(t.denied) < t.ttl/6 { // asking is a write
		return false, nil
	}
	err = t.db.Update(ctx, func(tx *store.Tx) error {
		var fence int64
		if fence, held, err = tx.AcquireLease(leaseName, t.holder, t.ttl, now); err != nil || !held {
			return err
		}
		t.fence, t.renewed = fence, now
		return nil
	})
	if err == nil && !held {
		t.fence, t.denied = 0, now
	}
	return held && err == nil, err
}

// queue makes deliveries of the entries that are new in the log.
func (t *Teller) queue(ctx context.Context) error {
	for more := true; more; {
		err := t.db.Update(ctx, func(tx *store.Tx) error {
			now := time.Now()
			if err := tx.HoldsLease(leaseName, t.fence, now); err != nil {
				return err
			}
			told, err := tx.Told()
			if err != nil {
				return err
			}
			entries, err := tx.Audit(store.AuditFilter{AfterSeq: told, Limit: batch, Bytes: batchBytes, OldestFirst: true})
			bytes := 0
			for _, e := range entries {
				bytes += store.Size(e)
			}
			if more = len(entries) == batch || bytes >= batchBytes; err != nil || len(entries) == 0 {
				return err
			}
			webhooks, err := tx.Webhooks()
			if err != nil {
				return err
			}
			if err := queue(tx, webhooks, entries, now); err != nil {
				return err
			}
			return tx.SetTold(entries[len(entries)-1].Seq)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func queue(tx *store.Tx, webhooks []store.WebhookRecord, entries []flyball.AuditEntry, now time.Time) error {
	for _, e := range entries {
		for _, w := range webhooks {
			if !w.Wants(e) {
				continue
			}
			if err := tx.QueueDelivery(w.Key, e.Seq, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin tells a webhook what is due for it, unless that is being done.
func (t *Teller) begin(ctx context.Context, key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy[key] {
		return
	}
	t.busy[key] = true
	fence := t.fence
	t.work.Go(func() {
		defer func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			delete(t.busy, key)
		}()
		t.drain(ctx, key, fence)
	})
}

func (t *Teller) working() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.busy) > 0
}

// prune keeps the table of deliveries small.
func (t *Teller) prune(ctx context.Context, webhooks []store.WebhookRecord, now time.Time) error {
	err := t.db.Update(ctx, func(tx *store.Tx) error {
		if err := tx.HoldsLease(leaseName, t.fence, now); err != nil {
			return err
		}
		for _, w := range webhooks {
			if err := tx.ExpireDeliveries(w.Key, now.Add(-patience), now, maxPending, fmt.Sprintf("not told within %v, or too many waited", patience)); err != nil {
				return err
			}
			if err := tx.ForgetDeliveries(w.Key, flyball.DeliveryDelivered, now.Add(-keepDelivered), maxDelivered); err != nil {
				return err
			}
			if err := tx.ForgetDeliveries(w.Key, flyball.DeliveryDead, now.Add(-keepDead), maxDead); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		t.pruned = now
	}
	return err
}

func (t *Teller) fail(ctx context.Context, err error) {
	if t.Fail != nil && ctx.Err() == nil {
		t.Fail(err)
	}
}

// wait waits; false if ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
