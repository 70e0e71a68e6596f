package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flyballdev/flyball"
)

// A farm is a World of several healthy rollouts, each of which tells what was
// done with it. Trouble is told by id.
type farm struct {
	mu       sync.Mutex
	rollouts map[string]flyball.Rollout
	verdicts map[string]flyball.Verdict
	done     map[string][]Action
	when     map[string][]time.Duration
	begun    time.Time
	inside   map[string]int // calls under way
	overlaps int
	// trouble is called at the begin of Situation, without the lock.
	trouble func(ctx context.Context, id string) error
	// refuse is called at the begin of Apply, with the lock held.
	refuse func(id string, d Decision) error
	lists  func() error
	looks  int
}

func newFarm(ids ...string) *farm {
	f := &farm{
		rollouts: make(map[string]flyball.Rollout), verdicts: make(map[string]flyball.Verdict),
		done: make(map[string][]Action), when: make(map[string][]time.Duration), inside: make(map[string]int), begun: time.Now(),
	}
	hold := flyball.Duration(10 * time.Minute)
	for _, id := range ids {
		f.verdicts[id] = flyball.Healthy
		f.rollouts[id] = flyball.Rollout{ID: id, State: flyball.RolloutPending, StartedAt: f.begun, RolloutPlan: flyball.RolloutPlan{
			Treatment: "on", Control: "off", Guardrails: []flyball.Guardrail{{Metric: "errors"}},
			Steps: []flyball.Step{{PPM: 10_000, Hold: hold}, {PPM: 50_000, Hold: hold}, {PPM: 250_000, Hold: hold}, {PPM: 1_000_000, Hold: hold}},
		}}
	}
	return f
}

func (f *farm) Running(context.Context) (ids []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	if f.lists != nil {
		if err := f.lists(); err != nil {
			return nil, err
		}
	}
	for id, r := range f.rollouts {
		if r.State.Live() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

func (f *farm) enter(id string) (leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.inside[id]++; f.inside[id] > 1 {
		f.overlaps++
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.inside[id]--
	}
}

func (f *farm) Situation(ctx context.Context, id string) (Situation, error) {
	defer f.enter(id)()
	if f.trouble != nil {
		if err := f.trouble(ctx, id); err != nil {
			return Situation{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Situation{Rollout: f.rollouts[id], Now: time.Now(), Metrics: map[string]flyball.Metric{"errors": {Key: "errors", Analysis: flyball.AnalysisRequest}}}
	s.Evidence = evidence(s, f.verdicts[id])
	return s, nil
}

func (f *farm) Apply(_ context.Context, s Situation, d Decision) error {
	id := s.Rollout.ID
	defer f.enter(id)()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		if err := f.refuse(id, d); err != nil {
			return err
		}
	}
	r, err := After(f.rollouts[id], d, time.Now())
	if err != nil {
		return err
	}
	f.rollouts[id] = r
	f.done[id] = append(f.done[id], d.Action)
	f.when[id] = append(f.when[id], time.Since(f.begun))
	return nil
}

// become gives a rollout's evidence a verdict.
func (f *farm) become(id string, v flyball.Verdict) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.verdicts[id] = v
}

// run lets a controller work for d of the bubble's time, and returns what it
// failed at.
func run(t *testing.T, c *Controller, d time.Duration) (failed []string) {
	t.Helper()
	var mu sync.Mutex
	c.Fail = func(id string, err error) {
		mu.Lock()
		defer mu.Unlock()
		failed = append(failed, fmt.Sprintf("%s: %v", id, err))
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	c.Run(ctx)
	return failed
}

var whole = []Action{Start, Advance, Advance, Advance, Finish}

func (f *farm) want(t *testing.T, id string, want ...Action) {
	t.Helper()
	if got := f.done[id]; !slices.Equal(got, want) {
		t.Errorf("rollout %s: did %v, want %v", id, got, want)
	}
	if f.overlaps > 0 {
		t.Errorf("%d calls about one rollout overlapped", f.overlaps)
	}
}

func TestAHealthyRolloutCompletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // an hour passes in no time
		f := newFarm("a")
		if failed := run(t, &Controller{World: f}, time.Hour); len(failed) > 0 {
			t.Error(failed)
		}
		f.want(t, "a", whole...)
	})
}

func TestABreachStopsTheRollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm("a")
		time.AfterFunc(25*time.Minute, func() { f.become("a", flyball.Breached) })
		run(t, &Controller{World: f}, time.Hour)
		f.want(t, "a", Start, Advance, Advance, Abort)
		if at := f.when["a"][3]; at > 25*time.Minute+time.Second {
			t.Errorf("aborted at %v, more than a tick after the breach", at)
		}
	})
}

func TestAWakeUpActsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm("a")
		c := &Controller{World: f, Every: time.Hour}
		breach := 25*time.Minute + 123*time.Millisecond
		time.AfterFunc(breach, func() {
			f.become("a", flyball.Breached)
			for range 1000 { // one per judging window, all at once
				c.Wake()
			}
		})
		run(t, c, 30*time.Minute)
		f.want(t, "a", Start, Abort)
		if at := f.when["a"][1]; at != breach {
			t.Errorf("aborted at %v, the breach was at %v", at, breach)
		}
		if f.looks > 10 { // of a thousand: how many come together is the scheduler's business
			t.Errorf("a burst of wake-ups made %d looks", f.looks)
		}
	})
}

func TestAWakeUpBeforeRunIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm("a")
		c := &Controller{World: f, Every: time.Hour}
		c.Wake()
		run(t, c, time.Minute)
		if f.looks != 2 {
			t.Errorf("%d looks, want the first and the one that was asked for", f.looks)
		}
	})
}

// A breach that comes while a look is under way, after that look has read the
// evidence, is acted on right after it.
func TestAWakeUpDuringALookIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm("a")
		c := &Controller{World: f, Every: time.Hour}
		read, late := false, make(chan struct{})
		f.refuse = func(id string, d Decision) error {
			if read {
				return nil
			}
			read = true
			f.mu.Unlock() // Apply is slow: it has begun, on evidence from before
			<-late
			f.mu.Lock()
			return nil
		}
		time.AfterFunc(2*time.Second, func() {
			f.become("a", flyball.Breached)
			c.Wake()
			synctest.Wait() // the wake-up finds the rollout busy
			close(late)
		})
		run(t, c, time.Minute)
		f.want(t, "a", Start, Abort)
		if at := f.when["a"][1]; at != 2*time.Second {
			t.Errorf("aborted at %v, want right after the look that was under way", at)
		}
	})
}

func TestOneRolloutsTroubleNeverStopsAnother(t *testing.T) {
	for _, tt := range []struct {
		name    string
		trouble func(ctx context.Context) error
		told    string
	}{
		{"an error", func(context.Context) error { return errors.New("no such table") }, "no such table"},
		{"a panic", func(context.Context) error { panic("nil map") }, "panic: nil map"},
		{"slowness", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "deadline exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFarm("a", "b", "c")
				f.trouble = func(ctx context.Context, id string) error {
					if id == "b" {
						return tt.trouble(ctx)
					}
					return nil
				}
				failed := run(t, &Controller{World: f}, time.Hour)
				f.want(t, "a", whole...)
				f.want(t, "b")
				f.want(t, "c", whole...)
				if len(failed) < 600 {
					t.Errorf("told of %d failures in an hour", len(failed))
				}
				for _, text := range failed {
					if !strings.HasPrefix(text, "b: ") || !strings.Contains(text, tt.told) {
						t.Fatalf("told %q, want one of b that says %q", text, tt.told)
					}
				}
				if !slices.Equal(f.when["a"], f.when["c"]) || f.when["a"][4] > 40*time.Minute+5*time.Second {
					t.Errorf("the others were late: %v, %v", f.when["a"], f.when["c"])
				}
			})
		})
	}
}

func TestAListThatCannotBeReadIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm("a")
		f.lists = func() error {
			switch {
			case f.looks == 2:
				return errors.New("the database is away")
			case f.looks == 4:
				panic("a bug")
			}
			return nil
		}
		failed := run(t, &Controller{World: f}, time.Hour)
		if len(failed) != 2 || !strings.Contains(failed[0], "the database is away") || !strings.Contains(failed[1], "panic: a bug") {
			t.Errorf("told %v", failed)
		}
		f.want(t, "a", whole...)
	})
}

// A person changes the rollout between the decision and the deed: the abort is
// decided anew at once, and an advance is not carried out on what was.
func TestAConflictIsDecidedAnewAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm("a")
		f.refuse = func(id string, d Decision) error {
			if r := f.rollouts[id]; d.Action == Abort && r.State == flyball.RolloutRunning {
				r.State, r.Revision = flyball.RolloutPaused, r.Revision+1
				f.rollouts[id] = r
			}
			return nil
		}
		time.AfterFunc(90*time.Second, func() { f.become("a", flyball.Breached) })
		if failed := run(t, &Controller{World: f, Every: time.Minute}, time.Hour); len(failed) > 0 {
			t.Error(failed)
		}
		f.want(t, "a", Start, Abort)
		if at := f.when["a"][1]; at != 2*time.Minute {
			t.Errorf("aborted at %v, want at the first look after the breach", at)
		}
	})
}

// What never ceases to conflict is told, and tried again at the next look.
func TestAnEndlessConflictIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm("a")
		tried := 0
		f.refuse = func(string, Decision) error {
			tried++
			return flyball.Errorf(flyball.Conflict, "somebody else was first")
		}
		failed := run(t, &Controller{World: f}, 2*time.Second+time.Millisecond)
		if len(failed) != 3 || tried != 3*tries {
			t.Errorf("told of %d failures after %d tries, want 3 after %d", len(failed), tried, 3*tries)
		}
	})
}

// A rollout that ended between the list and the look is nobody's trouble.
func TestARolloutThatIsGoneIsNoTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm("a", "b")
		f.trouble = func(_ context.Context, id string) error {
			if id == "b" {
				return flyball.Errorf(flyball.NotFound, "no rollout %q", id)
			}
			return nil
		}
		if failed := run(t, &Controller{World: f}, time.Hour); len(failed) > 0 {
			t.Error(failed)
		}
		f.want(t, "a", whole...)
	})
}

// Two controllers on one world take every step once.
func TestTwoControllersTakeEveryStepOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm("a", "b")
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { run(t, &Controller{World: f}, time.Hour) })
		}
		both.Wait()
		f.overlaps = 0 // each controller keeps its own looks apart, not another's
		f.want(t, "a", whole...)
		f.want(t, "b", whole...)
	})
}

// Run returns only when nothing of it is left: synctest fails on a goroutine
// that stays, and no call is under way.
func TestRunWaitsForItsLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm("a")
		f.trouble = func(ctx context.Context, _ string) error {
			<-ctx.Done()
			time.Sleep(time.Second) // a transaction that is being rolled back
			return ctx.Err()
		}
		if failed := run(t, &Controller{World: f, Timeout: time.Hour}, time.Minute); len(failed) > 0 {
			t.Errorf("a stop is no failure: %v", failed)
		}
		if f.inside["a"] != 0 {
			t.Error("a look is still under way")
		}
	})
}
