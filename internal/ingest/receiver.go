package ingest

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// Limits of a Receiver.
const (
	maxQueuedBytes   = 32 << 20
	maxQueuedBatches = 4096
	maxCommitBytes   = 4 << 20
	maxCommitBatches = 256

	commitTimeout = 10 * time.Second
	retryAfter    = 2 * time.Second // what an overloaded receiver asks for
)

// A Receiver makes telemetry durable. Batches queue for one writer, which
// commits as many together as have come while it was busy with the last ones.
type Receiver struct {
	db *store.DB
	// Running tells whether a rollout is live in an environment; senders then
	// send more often. Nil is never.
	Running func(environment string) bool
	// Exposed returns what tells of the exposures in an environment, sent by a
	// trusted token or a public one, whether their flag is known and whether
	// their rollout is live. Nil takes all for both.
	Exposed func(environment string, trusted bool) func(flyball.Exposure) (known, live bool)
	// Committed is called after each commit, so that a judge in the same process
	// need not poll. It must not block. Nil is allowed.
	Committed func()
	// Heard is told of each new batch once it is durable: its contexts, counts
	// and unknown flags are not in the log. It must not block. Nil is allowed.
	Heard func(environment string, trusted bool, batch flyball.TelemetryBatch)
	// Wish returns what senders with a secret token are asked to tell of contexts;
	// nil asks for nothing.
	Wish func(environment string) *flyball.SampleWish

	queue chan *arrival
	idle  chan struct{} // closed when the writer has stopped

	mu      sync.Mutex
	queued  int // bytes
	stopped bool
	senders map[string]map[string]time.Time // by environment and instance: when they sent last
	swept   time.Time
}

// An arrival is a batch on its way to the disk.
type arrival struct {
	entry store.LogEntry
	done  chan outcome // has room for one
}

type outcome struct {
	duplicate bool
	err       error
}

// NewReceiver returns a receiver that writes to db once its Run is called.
func NewReceiver(db *store.DB) *Receiver {
	return &Receiver{
		db: db, queue: make(chan *arrival, maxQueuedBatches), idle: make(chan struct{}),
		senders: make(map[string]map[string]time.Time),
	}
}

// Accept checks a batch, makes it durable and acknowledges it. trusted says
// whether a secret token sent it; what a public one sends is shown but decides
// nothing. Items that are no good are told in the reply and the others count;
// misread are those that [DecodeBatch] could not read.
//
// Errors: [flyball.Invalid] for a bad envelope, [flyball.Overloaded] while the
// queue is full (its detail "retryAfter" is in seconds; nothing of the batch
// was counted), [flyball.Unavailable] if the database is down. If ctx ends
// first the batch may be durable or not: sent again, it still counts once.
func (r *Receiver) Accept(ctx context.Context, environment string, trusted bool, batch flyball.TelemetryBatch, misread ...flyball.Rejected) (flyball.TelemetryReply, error) {
	now := time.Now()
	if err := batch.Validate(); err != nil {
		return flyball.TelemetryReply{}, err
	}
	var exposed exposedFunc
	if r.Exposed != nil {
		exposed = r.Exposed(environment, trusted)
	}
	rec, told := recordOf(batch, trusted, now, exposed, misread)
	a := &arrival{done: make(chan outcome, 1), entry: store.LogEntry{
		Kind: store.KindBatch, Environment: environment, ID: batch.Batch, Body: rec.encode(),
	}}
	if err := r.enqueue(a); err != nil {
		return flyball.TelemetryReply{}, err
	}
	var out outcome
	select {
	case out = <-a.done:
	case <-ctx.Done():
		return flyball.TelemetryReply{}, flyball.Errorf(flyball.Unavailable, "the request ended before the batch was durable: send it again")
	}
	if out.err != nil {
		return flyball.TelemetryReply{}, out.err
	}
	reply := flyball.TelemetryReply{Duplicate: out.duplicate, Rejected: told.rejected}
	if !out.duplicate {
		reply.Unmatched = told.unmatched
		reply.Accepted = len(rec.exposures) + len(rec.observations)
		if r.Heard != nil {
			r.Heard(environment, trusted, batch)
		}
	}
	if trusted && r.Wish != nil {
		reply.Sample = r.Wish(environment)
	}
	reply.FlushAfter = flyball.Duration(r.flushAfter(environment, batch.Instance.ID, now))
	return reply, nil
}

func (r *Receiver) enqueue(a *arrival) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return flyball.Errorf(flyball.Unavailable, "the server is stopping: send the batch again")
	}
	if r.queued+len(a.entry.Body) > maxQueuedBytes {
		return overloaded()
	}
	select {
	case r.queue <- a:
		r.queued += len(a.entry.Body)
		return nil
	default:
		return overloaded()
	}
}

func overloaded() error {
	return flyball.Errorf(flyball.Overloaded, "too much telemetry at once: send the batch again later").With("retryAfter", int(retryAfter.Seconds()))
}

// Run writes what Accept queues, until ctx ends and the queue is empty.
func (r *Receiver) Run(ctx context.Context) error {
	defer close(r.idle)
	for {
		select {
		case first := <-r.queue:
			r.commit(context.WithoutCancel(ctx), r.gather(first))
		case <-ctx.Done():
			r.mu.Lock()
			r.stopped = true
			r.mu.Unlock()
			for {
				select {
				case first := <-r.queue:
					r.commit(context.WithoutCancel(ctx), r.gather(first))
				default:
					return nil
				}
			}
		}
	}
}

// gather takes from the queue what is there and fits into one commit.
func (r *Receiver) gather(first *arrival) []*arrival {
	all, bytes := []*arrival{first}, len(first.entry.Body)
	for len(all) < maxCommitBatches && bytes < maxCommitBytes {
		select {
		case a := <-r.queue:
			all, bytes = append(all, a), bytes+len(a.entry.Body)
			continue
		default:
		}
		break
	}
	r.mu.Lock()
	r.queued -= bytes
	r.mu.Unlock()
	return all
}

func (r *Receiver) commit(ctx context.Context, all []*arrival) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	entries := make([]store.LogEntry, len(all))
	for i, a := range all {
		entries[i] = a.entry
	}
	var seqs []int64
	err := r.db.Update(ctx, func(tx *store.Tx) (err error) {
		// The arrival is when the commit begins, so that times in the log rise
		// with its numbers, however long a batch was queued.
		now := time.Now()
		for i := range entries {
			entries[i].At = now
		}
		seqs, err = tx.AppendLog(entries)
		return err
	})
	if err == nil && r.Committed != nil {
		r.Committed()
	}
	for i, a := range all {
		a.done <- outcome{err: err, duplicate: err == nil && seqs[i] == 0}
	}
}

// How often senders send.
const (
	flushRunning = 250 * time.Millisecond // while a rollout runs
	flushSlowest = 5 * time.Second        // while a rollout runs and there are very many of them
	flushIdle    = 10 * time.Second
	fullFleet    = 200 // senders, up to which all may send at the shortest interval
)

// flushAfter notes that an instance sent something, and returns when it should
// send again: the load of a fleet is bounded, whatever its size.
func (r *Receiver) flushAfter(environment, instance string, now time.Time) time.Duration {
	running := r.Running != nil && r.Running(environment)
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.senders[environment]
	if seen == nil {
		seen = make(map[string]time.Time)
		r.senders[environment] = seen
	}
	if len(seen) < MaxInstances {
		seen[instance] = now
	}
	if now.Sub(r.swept) > seenLately/2 {
		r.swept = now
		for _, all := range r.senders {
			maps.DeleteFunc(all, func(_ string, last time.Time) bool { return now.Sub(last) > seenLately })
		}
	}
	if !running {
		return flushIdle
	}
	return min(flushSlowest, max(flushRunning, flushRunning*time.Duration(len(seen))/fullFleet))
}
