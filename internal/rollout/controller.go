package rollout

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
)

// A World is what a [Controller] acts on: the service is one, the simulator of
// the tests is another. Its methods may be called at the same time for
// different rollouts, never for the same one, and obey their context.
type World interface {
	// Running returns the ids of all live rollouts.
	Running(ctx context.Context) ([]string, error)
	// Situation reads a rollout and all that is known of it. It answers
	// [flyball.NotFound] if the rollout is gone.
	Situation(ctx context.Context, id string) (Situation, error)
	// Apply carries d out, by compare-and-set on the revision of the rollout in
	// s, and as [After] says. It answers [flyball.Conflict] if something else
	// came first.
	Apply(ctx context.Context, s Situation, d Decision) error
}

// Defaults of a Controller.
const (
	DefaultEvery   = time.Second
	DefaultTimeout = 5 * time.Second
)

// A Controller asks [Next] about every live rollout, each time it ticks or is
// woken. One rollout's trouble, be it an error, a panic or slowness, never
// stops another, and no two decisions about the same rollout overlap.
type Controller struct {
	World   World
	Every   time.Duration // between looks (default DefaultEvery)
	Timeout time.Duration // for one look at one rollout (default DefaultTimeout)
	// Fail is told of each look that failed; id is empty if the list of rollouts
	// could not be read. It may be called from several goroutines.
	Fail func(id string, err error)

	ready sync.Once
	wake  chan struct{}

	mu      sync.Mutex
	looking map[string]bool // rollouts being looked at; true: look again right after
	clock   clock
	lookers sync.WaitGroup
}

func (c *Controller) prepare() {
	c.ready.Do(func() {
		c.wake = make(chan struct{}, 1)
		c.looking = make(map[string]bool)
		c.Every, c.Timeout = positive(c.Every, DefaultEvery), positive(c.Timeout, DefaultTimeout)
	})
}

func positive(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// Wake makes the controller look at once, as a breach demands. It never
// blocks; calls that come together are one look, and each look begins after
// the call that asked for it.
func (c *Controller) Wake() {
	c.prepare()
	select {
	case c.wake <- struct{}{}:
	default: // a look is due already, and will see what this call is about
	}
}

// Run works until ctx ends, and returns when its last look has ended too.
func (c *Controller) Run(ctx context.Context) {
	c.prepare()
	defer c.lookers.Wait()
	tick := time.NewTicker(c.Every)
	defer tick.Stop()
	for {
		c.pass(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.wake:
		}
	}
}

// pass starts a look at every live rollout, and waits for none of them.
func (c *Controller) pass(ctx context.Context) {
	var ids []string
	err := c.guarded(ctx, func(ctx context.Context) (err error) {
		ids, err = c.World.Running(ctx)
		return err
	})
	if err != nil {
		c.fail(ctx, "", fmt.Errorf("list the live rollouts: %w", err))
		return
	}
	for _, id := range ids {
		c.look(ctx, id)
	}
}

// look moves one rollout in its own goroutine; if that is under way already,
// it is done once more right after, since it may have read the evidence
// before what woke us came in. There are at most as many goroutines as live
// rollouts.
func (c *Controller) look(ctx context.Context, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, busy := c.looking[id]; busy {
		c.looking[id] = true
		return
	}
	c.looking[id] = false
	c.lookers.Go(func() {
		for again := true; again; again = c.again(id) {
			err := c.guarded(ctx, func(ctx context.Context) error { return c.move(ctx, id) })
			if err != nil {
				c.fail(ctx, id, err)
			}
		}
	})
}

// again says whether a look was asked for while one was under way.
func (c *Controller) again(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.looking[id] {
		c.looking[id] = false
		return true
	}
	delete(c.looking, id)
	return false
}

// tries is how often a look begins anew after somebody else changed the
// rollout, so that an abort does not wait a whole tick for a pause.
const tries = 3

// move decides about one rollout and does it.
func (c *Controller) move(ctx context.Context, id string) error {
	var err error
	for range tries {
		now := time.Now()
		err = c.try(ctx, id, now, c.leaps(now))
		if err == nil || flyball.CodeOf(err) != flyball.Conflict {
			break
		}
	}
	return err
}

func (c *Controller) try(ctx context.Context, id string, now time.Time, leaps []Leap) error {
	s, err := c.World.Situation(ctx, id)
	if err != nil {
		if flyball.CodeOf(err) == flyball.NotFound {
			return nil // it ended since the list was read
		}
		return fmt.Errorf("read rollout %s: %w", id, err)
	}
	s.Now, s.Leaps = now, leaps
	d := Next(s)
	if d.Action == Wait {
		return nil
	}
	if err := c.World.Apply(ctx, s, d); err != nil {
		return fmt.Errorf("%s rollout %s: %w", d.Action, id, err)
	}
	return nil
}

func (c *Controller) leaps(now time.Time) []Leap {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clock.look(now)
}

// guarded calls f with a time limit, and makes an error of its panic.
func (c *Controller) guarded(ctx context.Context, f func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = flyball.Errorf(flyball.Internal, "panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f(ctx)
}

// fail tells of an error, save for those that only say that we are stopping.
func (c *Controller) fail(ctx context.Context, id string, err error) {
	if c.Fail != nil && ctx.Err() == nil {
		c.Fail(id, err)
	}
}
