package ingest

import (
	"context"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// Limits of a Tally.
const (
	usageEvery    = 2 * time.Second
	maxTallied    = 50_000 // flags and variants between two writes
	maxUnknown    = 1_000
	unknownMemory = 30 * 24 * time.Hour
	maxKeyBytes   = 128
)

// A Tally adds up what senders say of their evaluations, and writes it now and
// then: how often flags served what, and which keys are no flags. What a server
// had not written when it is killed is not counted; nothing is decided by it.
type Tally struct {
	db   *store.DB
	Fail func(error) // told of writes that failed; nil is never told

	heard   chan heard
	usage   map[usageKey]*flyball.Usage
	unknown map[flyball.UnknownFlag]time.Time
	swept   time.Time
}

type usageKey struct{ environment, flag, variant string }

type heard struct {
	environment string
	batch       flyball.TelemetryBatch
	noted       []string // flags that are in use, nobody counts how often
}

// NewTally returns a tally that writes to db once its Run is called.
func NewTally(db *store.DB) *Tally {
	return &Tally{db: db, heard: make(chan heard, 1024), usage: map[usageKey]*flyball.Usage{}, unknown: map[flyball.UnknownFlag]time.Time{}}
}

// Hear takes over the counts of a batch. It never blocks: what comes too fast
// is not counted. Counts of public tokens are anybody's word, and left out.
func (t *Tally) Hear(environment string, trusted bool, b flyball.TelemetryBatch) {
	if !trusted || len(b.Counts) == 0 && len(b.UnknownFlags) == 0 {
		return
	}
	t.hear(heard{environment: environment, batch: b})
}

// Note takes over that flags are in use, of which no telemetry tells. It never
// blocks.
func (t *Tally) Note(environment string, flags []string) {
	t.hear(heard{environment: environment, noted: flags})
}

func (t *Tally) hear(h heard) {
	select {
	case t.heard <- h:
	default:
	}
}

// Run adds up and writes until ctx ends, and then once more.
func (t *Tally) Run(ctx context.Context) {
	tick := time.NewTicker(usageEvery)
	defer tick.Stop()
	for {
		select {
		case h := <-t.heard:
			t.add(h, time.Now())
		case <-tick.C:
			t.write(ctx)
		case <-ctx.Done():
			for len(t.heard) > 0 {
				t.add(<-t.heard, time.Now())
			}
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), usageEvery)
			defer cancel()
			t.write(last)
			return
		}
	}
}

func (t *Tally) add(h heard, now time.Time) {
	for _, c := range h.batch.Counts {
		if c.Validate() == nil {
			t.count(usageKey{h.environment, c.Flag, c.Variant}, c.N, now)
		}
	}
	for _, flag := range h.noted {
		t.count(usageKey{environment: h.environment, flag: flag}, 0, now)
	}
	for _, key := range h.batch.UnknownFlags {
		if key == "" || len(key) > maxKeyBytes || len(t.unknown) >= maxUnknown {
			continue
		}
		t.unknown[flyball.UnknownFlag{Environment: h.environment, Flag: key, Service: h.batch.Instance.Service, Version: h.batch.Instance.Version}] = now
	}
}

func (t *Tally) count(k usageKey, n int64, now time.Time) {
	u := t.usage[k]
	if u == nil {
		if len(t.usage) >= maxTallied {
			return
		}
		u = &flyball.Usage{Environment: k.environment, Flag: k.flag, Variant: k.variant}
		t.usage[k] = u
	}
	u.N += n
	u.Last = now
}

// write adds what was tallied to the store. What cannot be written stays for
// the next time.
func (t *Tally) write(ctx context.Context) {
	sweep := time.Since(t.swept) > time.Hour
	if len(t.usage) == 0 && len(t.unknown) == 0 && !sweep {
		return
	}
	usage := make([]flyball.Usage, 0, len(t.usage))
	for _, u := range t.usage {
		usage = append(usage, *u)
	}
	unknown := make([]flyball.UnknownFlag, 0, len(t.unknown))
	for u, last := range t.unknown {
		u.Last = last
		unknown = append(unknown, u)
	}
	err := t.db.Update(ctx, func(tx *store.Tx) error {
		if sweep {
			if err := tx.ForgetUnknownFlags(time.Now().Add(-unknownMemory)); err != nil {
				return err
			}
		}
		if err := tx.AddUsage(usage); err != nil {
			return err
		}
		return tx.PutUnknownFlags(unknown)
	})
	if err != nil {
		if t.Fail != nil && ctx.Err() == nil {
			t.Fail(err)
		}
		return
	}
	clear(t.usage)
	clear(t.unknown)
	if sweep {
		t.swept = time.Now()
	}
}
