package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// LeaseName is the lease that makes a process the only judge. Whoever acts on
// its evidence acts under it too.
const LeaseName = "judge"

const (
	leaseTTL = 5 * time.Second

	pollEvery = 100 * time.Millisecond // with a jitter of as much again
	readLimit = 512                    // entries
	readBytes = 8 << 20

	checkpointEvery = time.Second
	// A checkpoint may take a hundredth of the time, since nothing else can be
	// written meanwhile: with many units they are rarer, and a restart reads more
	// of the log.
	checkpointShare  = 100
	evidenceEvery    = time.Second
	instancesEvery   = 2 * time.Second
	forgetInstances  = 7 * 24 * time.Hour
	checkpointBudget = 20 * time.Second
)

// A Runner makes a judge of this process, as long as no other one is: it holds
// a fenced lease, reads the log, and saves checkpoints and evidence, in whose
// transactions the fence is checked, so that a runner that was asleep cannot
// undo what its successor did.
type Runner struct {
	db     *store.DB
	holder string
	// OnBreach is called at once when a guardrail trips; it must not block.
	OnBreach func(rollout string)
	// OnNews is called whenever evidence may have changed; it must not block.
	OnNews func()
	// Fail is told of errors; Run goes on after them.
	Fail func(error)

	wake chan struct{}

	mu    sync.Mutex // guards judge
	judge *Judge     // nil while another process judges
	fence int64      // of the lease, while judge is not nil
}

// NewRunner returns a runner that judges the log of db once its Run is called.
// holder names this process; no two may share a name.
func NewRunner(db *store.DB, holder string) *Runner {
	return &Runner{db: db, holder: holder, wake: make(chan struct{}, 1)}
}

// Wake tells that the log has grown. It never blocks.
func (r *Runner) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Fence returns the fencing token of the lease; ok is false while another
// process is the judge.
func (r *Runner) Fence() (fence int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fence, r.judge != nil
}

// Run judges until ctx ends; then it hands over.
func (r *Runner) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		fence, held, err := r.acquire(ctx)
		if err == nil && held {
			err = r.reign(ctx, fence)
		}
		if err != nil {
			r.fail(ctx, err)
		}
		rest(ctx, pollEvery*5, nil) // however often the log grows: asking for the lease is a write
	}
	return nil
}

func (r *Runner) fail(ctx context.Context, err error) {
	if r.Fail != nil && ctx.Err() == nil {
		r.Fail(fmt.Errorf("judge: %w", err))
	}
}

// rest waits a while, with jitter, or until it is woken.
func rest(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(d + rand.N(d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer.C:
	}
}

func (r *Runner) acquire(ctx context.Context) (fence int64, held bool, err error) {
	err = r.db.Update(ctx, func(tx *store.Tx) (err error) {
		fence, held, err = tx.AcquireLease(LeaseName, r.holder, leaseTTL, time.Now())
		return err
	})
	return fence, held, err
}

// A reign is the time for which a runner holds the lease.
type reign struct {
	*Runner
	judge      *Judge
	fence      int64
	saved      time.Time // when the last checkpoint was complete
	savedSeq   int64
	cost       time.Duration // of the last checkpoint
	told       time.Time     // when evidence was written last
	toldSeq    int64
	renewed    time.Time
	instances  time.Time           // when instances were written last
	flowsTold  time.Time           // when the traffic was written last
	trimming   bool                // more of the log can be trimmed
	knownEnded map[string]struct{} // whose last evidence is written
	said       map[string]string   // the verdicts that other processes were woken for, by rollout
}

// reign judges while the lease holds.
func (r *Runner) reign(ctx context.Context, fence int64) error {
	g := &reign{Runner: r, fence: fence, renewed: time.Now(), saved: time.Now(), knownEnded: make(map[string]struct{}), said: make(map[string]string)}
	if err := g.load(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	r.judge, r.fence = g.judge, fence
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.judge = nil
		r.mu.Unlock()
	}()
	for ctx.Err() == nil {
		read, err := g.consume(ctx)
		if err == nil {
			err = g.upkeep(ctx, time.Now())
		}
		switch {
		case flyball.CodeOf(err) == flyball.Conflict && err != nil:
			return fmt.Errorf("hand over: %w", err)
		case err != nil && time.Since(g.renewed) > leaseTTL:
			return err
		case err != nil:
			r.fail(ctx, err)
			rest(ctx, pollEvery, r.wake)
		case read == 0:
			rest(ctx, pollEvery, r.wake)
		}
	}
	return g.handOver()
}

// load reads the last checkpoint. Of one that cannot be read, such as that of
// another release, the number stands: what came before it may have left the log.
// The evidence of the rollouts that are live then begins anew.
func (g *reign) load(ctx context.Context) error {
	return g.db.View(ctx, func(tx *store.Tx) error {
		seq, state, found, err := tx.Checkpoint(LeaseName)
		if err != nil {
			return err
		}
		g.judge = NewJudge()
		if !found {
			return nil
		}
		g.savedSeq = seq
		judge, err := Restore(state)
		if err == nil {
			g.judge = judge
			return nil
		}
		g.fail(ctx, fmt.Errorf("the checkpoint at entry %d cannot be read, evidence begins anew: %w", seq, err))
		g.judge.seq, g.judge.clock = seq, micros(time.Now())
		return g.judge.adopt(tx)
	})
}

// adopt begins to judge the rollouts that are live now.
func (j *Judge) adopt(tx *store.Tx) error {
	live, err := tx.Rollouts(store.RolloutFilter{Live: true})
	if err != nil {
		return err
	}
	for _, r := range slices.Backward(live) { // the oldest first
		c, err := tx.FlagConfig(r.Environment, r.Flag)
		if err != nil {
			return err
		}
		rec := flyball.RolloutRecord{Rollout: r, Seed: c.Seed}
		for _, g := range r.Guardrails {
			rec.Metrics = append(rec.Metrics, flyball.Metric{Key: g.Metric})
		}
		for _, s := range r.Success {
			rec.Metrics = append(rec.Metrics, flyball.Metric{Key: s.Metric})
		}
		for i, m := range rec.Metrics {
			found, err := tx.Metric(m.Key)
			if err != nil {
				return err
			}
			rec.Metrics[i] = found.Metric
		}
		j.rollout(rec)
	}
	return nil
}

// consume applies what is new in the log, and returns how much it was.
func (g *reign) consume(ctx context.Context) (read int, err error) {
	var entries []store.LogEntry
	err = g.db.View(ctx, func(tx *store.Tx) (err error) {
		entries, err = tx.Log(g.judge.Seq(), readLimit, readBytes)
		return err
	})
	began := time.Now()
	for i, e := range entries {
		if time.Since(began) > leaseTTL/4 {
			return i, err // the lease comes first
		}
		g.mu.Lock()
		breached := g.judge.Apply(e)
		g.mu.Unlock()
		for _, id := range breached {
			if g.OnBreach != nil {
				g.OnBreach(id)
			}
		}
	}
	if len(entries) > 0 && g.OnNews != nil {
		g.OnNews()
	}
	return len(entries), err
}

// upkeep renews the lease, and writes what others need when it is time.
func (g *reign) upkeep(ctx context.Context, now time.Time) error {
	due := now.Sub(g.saved) >= max(checkpointEvery, checkpointShare*g.cost)
	if due && g.judge.Seq() > g.savedSeq {
		return g.save(ctx, now)
	}
	if now.Sub(g.told) >= evidenceEvery && g.judge.Seq() > g.toldSeq {
		return g.tell(ctx, now)
	}
	if now.Sub(g.renewed) < leaseTTL/4 && !g.trimming {
		return nil
	}
	return g.db.Update(ctx, func(tx *store.Tx) error {
		if err := tx.RenewLease(LeaseName, g.fence, leaseTTL, now); err != nil {
			return err
		}
		g.renewed = now
		return g.trim(tx, now)
	})
}

func (g *reign) trim(tx *store.Tx, now time.Time) (err error) {
	if g.savedSeq > 0 {
		g.trimming, err = tx.TrimLog(g.savedSeq, now)
	}
	return err
}

// save writes a checkpoint, the evidence for other nodes, and now and then the
// instances.
func (g *reign) save(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, checkpointBudget)
	defer cancel()
	start := time.Now()
	state, err := g.judge.Checkpoint()
	if err != nil {
		return err
	}
	var instances []flyball.Instance
	writeInstances := now.Sub(g.instances) >= instancesEvery
	if writeInstances {
		instances = g.judge.changedInstances()
	}
	flows := ""
	if now.Sub(g.flowsTold) >= flowsTold {
		flows, g.flowsTold = g.judge.writtenFlows(now), now
	}
	seq := g.judge.Seq()
	err = g.db.Update(ctx, func(tx *store.Tx) error {
		if err := tx.RenewLease(LeaseName, g.fence, leaseTTL, now); err != nil {
			return err
		}
		if err := tx.SaveCheckpoint(LeaseName, seq, state); err != nil {
			return err
		}
		if err := tx.PutInstances(instances); err != nil {
			return err
		}
		if flows != "" {
			if err := tx.PutSetting(settingFlow, flows); err != nil {
				return err
			}
		}
		if writeInstances {
			if err := tx.ForgetInstances(now.Add(-forgetInstances)); err != nil {
				return err
			}
		}
		return nil
	})
	g.cost, g.saved = time.Since(start), time.Now()
	if err != nil {
		return err
	}
	g.savedSeq, g.renewed, g.trimming = seq, now, true
	if writeInstances {
		g.instances = now
		g.judge.instancesWritten()
	}
	return g.tell(ctx, now)
}

// handOver saves a last checkpoint and lets go of the lease, so that another
// process need not wait for its end.
func (g *reign) handOver() error {
	ctx, cancel := context.WithTimeout(context.Background(), leaseTTL)
	defer cancel()
	var errs []error
	if g.judge.Seq() > g.savedSeq {
		errs = append(errs, g.save(ctx, time.Now()))
	}
	errs = append(errs, g.db.Update(ctx, func(tx *store.Tx) error { return tx.ReleaseLease(LeaseName, g.fence) }))
	return errors.Join(errs...)
}
