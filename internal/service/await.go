package service

import (
	"context"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
)

// A bell rings for all who listen at once.
type bell struct {
	mu   sync.Mutex
	next chan struct{} // closed by the next ring
}

// listen returns a channel that is closed by the next ring.
func (b *bell) listen() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// News wakes those who wait for something to become of a rollout. It never
// blocks.
func (s *Service) News() { s.news.ring() }

// AwaitRollout says what is waited for. An answer that tells that it has not
// come yet names the rollout and the step to ask for again.
type AwaitRollout struct {
	ID      string           `json:"id" doc:"the rollout's id, or its flag's key"`
	For     string           `json:"for,omitempty" enum:"verdict,step,end" doc:"what to wait for (default verdict)"`
	Step    *int             `json:"step,omitempty" minimum:"0" doc:"the step to be judged (default the one in force), or to be reached (default the next one; one beyond the last is completion), counted from 0"`
	Timeout flyball.Duration `json:"timeout,omitempty" doc:"how long to wait, at most 1m (default 30s); ask again if it has not come" example:"30s"`
}

// What is waited for.
const (
	awaitVerdict = "verdict"
	awaitStep    = "step"
	awaitEnd     = "end"
)

// Awaited tells what came.
type Awaited struct {
	Done    bool        `json:"done" doc:"whether what was waited for has come, or cannot come any more; else ask again"`
	Outcome string      `json:"outcome" enum:"healthy,breached,unsure,reached,steppedBack,completed,aborted,stopped"`
	Why     string      `json:"why,omitempty"`
	For     string      `json:"for"`
	Step    int         `json:"step" doc:"the step that is judged, or to be reached"`
	Rollout RolloutView `json:"rollout"`
}

const (
	awaitDefault = 30 * time.Second
	awaitLongest = time.Minute
	// awaitPace is how long a wait looks away after it looked, however often the
	// bell rings.
	awaitPace = 250 * time.Millisecond
)

// AwaitRollout waits until a rollout has a verdict, reaches a step, or ends; if
// that has not come when the time is over, or when ctx ends, it says so.
func (s *Service) AwaitRollout(ctx context.Context, in AwaitRollout) (Awaited, error) {
	in, err := in.sane()
	if err != nil {
		return Awaited{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, in.Timeout.Std())
	defer cancel()
	asked := context.WithoutCancel(ctx) // the last look must be able to answer
	for {
		news := s.news.listen() // before the look, so that nothing between the two is missed
		v, err := s.Rollout(asked, RolloutID{ID: in.ID})
		if err != nil {
			return Awaited{}, err
		}
		in.ID = v.ID // a new rollout of the flag is not what was meant
		if err := in.settle(v); err != nil {
			return Awaited{}, err
		}
		out := in.look(v)
		if out.Done || bounded.Err() != nil {
			return out, nil
		}
		for _, next := range []<-chan struct{}{news, timer(bounded, awaitPace)} {
			select {
			case <-bounded.Done():
			case <-next:
			}
		}
	}
}

// timer returns a channel that is closed after a while, or when ctx ends.
func timer(ctx context.Context, d time.Duration) <-chan struct{} {
	ctx, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(ctx, cancel)
	return ctx.Done()
}

func (in AwaitRollout) sane() (AwaitRollout, error) {
	if in.For == "" {
		in.For = awaitVerdict
	}
	if in.Timeout == 0 {
		in.Timeout = flyball.Duration(awaitDefault)
	}
	if in.Timeout < 0 || in.Timeout.Std() > awaitLongest {
		return in, flyball.FieldErrorf("timeout", "must lie above 0 and not above %v: ask again to wait for longer", awaitLongest)
	}
	return in, nil
}

// settle decides the step that is meant, at the first look.
func (in *AwaitRollout) settle(v RolloutView) error {
	last := len(v.Steps) - 1
	if in.For == awaitVerdict && len(v.Guardrails) == 0 {
		return flyball.FieldErrorf("for", "the plan of %s has no guardrails, so there will be no verdict: wait for a step or for the end", v.ID)
	}
	if in.For == awaitStep {
		last++ // completion
	}
	if in.Step == nil {
		in.Step = new(min(v.At+last-(len(v.Steps)-1), last))
	}
	if *in.Step > last {
		return flyball.FieldErrorf("step", "the rollout has %d steps; they count from 0", len(v.Steps))
	}
	return nil
}

// look says whether what is waited for has come.
func (in AwaitRollout) look(v RolloutView) Awaited {
	out := Awaited{For: in.For, Step: *in.Step, Rollout: v}
	out.Outcome, out.Why = stands(v)
	says := func(outcome, why string) Awaited {
		out.Done, out.Outcome, out.Why = true, outcome, why
		return out
	}
	switch {
	case !v.State.Live():
		return says(string(v.State), v.Why)
	case in.For == awaitEnd:
		return out
	case v.Evidence != nil && v.Evidence.Verdict == flyball.Breached:
		return says(string(flyball.Breached), v.Evidence.Why)
	case in.For == awaitStep:
		if v.At >= *in.Step {
			return says("reached", v.Why)
		}
		return out
	case v.At < *in.Step:
		return says("steppedBack", v.Why)
	case v.At > *in.Step && v.Unproven:
		return says(string(flyball.Unsure), v.Why)
	case v.At > *in.Step:
		return says(string(flyball.Healthy), v.Why)
	}
	out.Done = out.Outcome == string(flyball.Healthy)
	return out
}

// stands says how a live rollout stands: healthy is what the judge says of the
// step in force, on data that allow an advance.
func stands(v RolloutView) (outcome, why string) {
	e := v.Evidence
	switch {
	case e == nil:
		return string(flyball.Unsure), "there is no evidence yet"
	case e.Verdict == flyball.Breached:
		return string(flyball.Breached), e.Why
	case e.Step != v.At:
		return string(flyball.Unsure), "the judge has not heard of the step yet"
	case e.Verdict != flyball.Healthy || len(e.Guardrails) == 0:
		return string(flyball.Unsure), e.Why
	}
	for _, q := range e.Quality {
		if q.Blocks {
			return string(flyball.Unsure), q.Why
		}
	}
	if len(e.Blocks) > 0 {
		return string(flyball.Unsure), e.Blocks[0]
	}
	return string(flyball.Healthy), e.Why
}

// RolloutEvidence is what the judge knows of a rollout, with what it is about.
type RolloutEvidence struct {
	Flag        string               `json:"flag"`
	Environment string               `json:"environment"`
	Treatment   string               `json:"treatment"`
	Control     string               `json:"control"`
	State       flyball.RolloutState `json:"state"`
	PPM         int                  `json:"ppm" doc:"the treatment's share in the step in force"`
	flyball.Evidence
}

// RolloutEvidence tells what the judge knows of a rollout.
func (s *Service) RolloutEvidence(ctx context.Context, in RolloutID) (out RolloutEvidence, err error) {
	v, err := s.Rollout(ctx, in)
	if err != nil {
		return out, err
	}
	out = RolloutEvidence{Flag: v.Flag, Environment: v.Environment, Treatment: v.Treatment, Control: v.Control, State: v.State, PPM: v.Steps[v.At].PPM}
	if v.Evidence == nil {
		out.Evidence = flyball.Evidence{Rollout: v.ID, Step: v.At, Verdict: flyball.Unsure, Why: "there is no evidence yet", Guardrails: []flyball.MetricEvidence{}}
		return out, nil
	}
	out.Evidence = *v.Evidence
	return out, nil
}
