package service

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/rollout"
)

// A told judge says what the test wants.
type toldJudge struct {
	mu sync.Mutex
	e  *flyball.Evidence
	n  int // how often it was asked
}

func (j *toldJudge) evidence(_ context.Context, id string) (flyball.Evidence, bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.n++
	if j.e == nil {
		return flyball.Evidence{}, false, nil
	}
	e := *j.e
	e.Rollout = id
	return e, true, nil
}

func (j *toldJudge) say(e flyball.Evidence) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.Guardrails = []flyball.MetricEvidence{{Metric: "shop.errors", Verdict: e.Verdict}}
	j.e = &e
}

// judged is a house with a rollout that a guardrail watches.
func judged(t *testing.T) (*Service, context.Context, *toldJudge, string) {
	t.Helper()
	s, ctx := house(t)
	j := &toldJudge{}
	s.evidence = j.evidence
	must[FlagView](t)(s.CreateFlag(ctx, newFlag(checkout)))
	must[Configured](t)(s.EnableFlag(ctx, in(checkout)))
	must[MetricView](t)(s.CreateMetric(ctx, PutMetric{Metric: flyball.Metric{Key: "shop.errors", Type: flyball.MetricRate, Better: flyball.BetterLower}, Reason: "a test"}))
	r := must[RolloutView](t)(s.StartRollout(ctx, StartRollout{Reason: "ship it", RolloutPlan: flyball.RolloutPlan{
		Flag: checkout, Environment: "production", Treatment: "on", Control: "off",
		Steps:      []flyball.Step{{PPM: 100_000}, {PPM: 500_000}, {PPM: flyball.PPM}},
		Guardrails: []flyball.Guardrail{{Metric: "shop.errors", Margin: flyball.Margin{Relative: .05}}},
	}}))
	return s, ctx, j, r.ID
}

// awaits asks in the background; what comes is sent.
func awaits(t *testing.T, s *Service, ctx context.Context, in AwaitRollout) <-chan Awaited {
	t.Helper()
	out := make(chan Awaited, 1)
	go func() {
		a, err := s.AwaitRollout(ctx, in)
		if err != nil {
			t.Error(err)
		}
		out <- a
	}()
	return out
}

func TestWhatIsAwaitedComesWithTheEventThatBringsIt(t *testing.T) {
	clean := flyball.Evidence{Verdict: flyball.Healthy}
	dirty := flyball.Evidence{Verdict: flyball.Healthy, Quality: []flyball.DataQuality{{Kind: flyball.QualityLossy, Why: "a batch never came", Blocks: true}}}
	for name, c := range map[string]struct {
		in      AwaitRollout
		event   func(*Service, context.Context, *toldJudge, string) error
		outcome string
		step    int
	}{
		"a healthy verdict": {AwaitRollout{For: "verdict"}, func(s *Service, _ context.Context, j *toldJudge, _ string) error {
			j.say(dirty)
			s.News()
			time.Sleep(2 * awaitPace) // it is seen, and is no verdict
			j.say(clean)
			s.News()
			return nil
		}, "healthy", 0},
		"a breach": {AwaitRollout{}, func(s *Service, _ context.Context, j *toldJudge, _ string) error {
			j.say(flyball.Evidence{Verdict: flyball.Breached})
			s.News()
			return nil
		}, "breached", 0},
		"a breach while a step is awaited": {AwaitRollout{For: "step"}, func(s *Service, _ context.Context, j *toldJudge, _ string) error {
			j.say(flyball.Evidence{Verdict: flyball.Breached})
			s.News()
			return nil
		}, "breached", 1},
		"an advance while a verdict is awaited": {AwaitRollout{}, advance(false), "healthy", 0},
		"an advance for want of evidence":       {AwaitRollout{}, advance(true), "unsure", 0},
		"the next step":                         {AwaitRollout{For: "step"}, advance(false), "reached", 1},
		"an end by a person": {AwaitRollout{For: "end"}, func(s *Service, ctx context.Context, _ *toldJudge, id string) error {
			_, err := s.AbortRollout(ctx, RolloutIn{ID: id, Reason: "a test"})
			return err
		}, "aborted", 0},
		"an end by a kill": {AwaitRollout{For: "step", Step: new(3)}, func(s *Service, ctx context.Context, _ *toldJudge, id string) error {
			_, err := s.KillFlag(ctx, in(checkout))
			return err
		}, "stopped", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, ctx, j, id := judged(t)
			c.in.ID, c.in.Timeout = checkout, flyball.Duration(time.Minute)
			out := awaits(t, s, ctx, c.in)
			for len(out) == 0 && !listening(s) {
				time.Sleep(time.Millisecond)
			}
			if len(out) > 0 {
				t.Fatalf("it does not wait: %+v", <-out)
			}
			if err := c.event(s, ctx, j, id); err != nil {
				t.Fatal(err)
			}
			a := <-out
			if !a.Done || a.Outcome != c.outcome || a.Step != c.step || a.Rollout.ID != id {
				t.Errorf("%+v", a)
			}
		})
	}
}

func listening(s *Service) bool {
	s.news.mu.Lock()
	defer s.news.mu.Unlock()
	return s.news.next != nil
}

func advance(unproven bool) func(*Service, context.Context, *toldJudge, string) error {
	return func(s *Service, ctx context.Context, _ *toldJudge, id string) error {
		r, err := s.Rollout(ctx, RolloutID{ID: id})
		if err != nil {
			return err
		}
		d := rollout.Decision{Action: rollout.Advance, Step: 1, Why: "a test", Revision: r.Revision, At: now(), AbsenceOfEvidence: unproven}
		return s.Decide(ctx, rollout.Situation{Rollout: r.Rollout}, d, nil)
	}
}

// Nothing is looked at while nothing happens, and what has not come is told when
// the time is over or the server is about to stop.
func TestAWaitWithoutEventsLooksTwice(t *testing.T) {
	s, ctx, j, _ := judged(t)
	j.n = 0
	a := must[Awaited](t)(s.AwaitRollout(ctx, AwaitRollout{ID: checkout, Timeout: flyball.Duration(500 * time.Millisecond)}))
	if a.Done || a.Outcome != "unsure" || a.Why == "" {
		t.Errorf("%+v", a)
	}
	if j.n != 2 {
		t.Errorf("it looked %d times, at the beginning and at the end are enough", j.n)
	}
	stopping, stop := context.WithCancel(ctx)
	out := awaits(t, s, stopping, AwaitRollout{ID: checkout, For: "end", Timeout: flyball.Duration(time.Minute)})
	for !listening(s) {
		time.Sleep(time.Millisecond)
	}
	stop()
	if a := <-out; a.Done || a.Rollout.Flag != checkout {
		t.Errorf("%+v", a)
	}
}

func TestAWaitThatCannotEndIsRefused(t *testing.T) {
	s, ctx, _, _ := judged(t)
	for field, in := range map[string]AwaitRollout{
		"timeout": {Timeout: flyball.Duration(2 * time.Minute)},
		"step":    {Step: new(3)},
	} {
		in.ID = checkout
		_, err := s.AwaitRollout(ctx, in)
		wantCode(t, err, flyball.Invalid, field)
	}
	bare, ctx := house(t)
	startedRollout(t, bare, ctx)
	_, err := bare.AwaitRollout(ctx, AwaitRollout{ID: checkout})
	wantCode(t, err, flyball.Invalid, "for")
}
