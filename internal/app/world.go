package app

import (
	"context"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/ingest"
	"github.com/flyballdev/flyball/internal/rollout"
	"github.com/flyballdev/flyball/internal/service"
)

// A world is what the rollout controller acts on in a running server: rollouts
// and changes are the service's, evidence is the judge's. It has rollouts only
// while this process is the judge, and changes them only under its lease.
type world struct {
	service *service.Service
	runner  *ingest.Runner
}

// Running returns the ids of the live rollouts, none if another process is the
// judge.
func (w *world) Running(ctx context.Context) ([]string, error) {
	if _, ok := w.runner.Fence(); !ok {
		return nil, nil
	}
	return w.service.LiveRollouts(ctx)
}

// Situation reads a rollout and all that is known of it.
func (w *world) Situation(ctx context.Context, id string) (rollout.Situation, error) {
	s, err := w.service.Situation(service.AsController(ctx), id)
	if err != nil {
		return s, err
	}
	if s.Evidence, _, err = w.runner.Evidence(ctx, id, time.Now()); err != nil {
		return s, err
	}
	s.Fleet, err = w.runner.Fleet(ctx, s.Rollout.Environment, s.Fleet.Head, time.Now())
	return s, err
}

// Apply carries a decision out, with the evidence that it rests on.
func (w *world) Apply(ctx context.Context, s rollout.Situation, d rollout.Decision) error {
	fence, ok := w.runner.Fence()
	if !ok {
		return flyball.Errorf(flyball.Conflict, "another process is the judge now")
	}
	return w.service.Decide(ctx, s, d, &service.Fence{Lease: ingest.LeaseName, Token: fence})
}

// sample lets changes be previewed by what the sampler knows.
func sample(sampler *ingest.Sampler) func(context.Context, string) (service.Sample, error) {
	return func(ctx context.Context, environment string) (service.Sample, error) {
		s, err := sampler.Sample(ctx, environment)
		if err != nil {
			return service.Sample{}, err
		}
		out := service.Sample{Users: s.Users, Contexts: make([]service.SampledContext, len(s.Contexts))}
		for i, c := range s.Contexts {
			out.Contexts[i] = service.SampledContext{Unit: c.ID[:12], Context: c.Context, At: c.At, Weight: c.Weight}
		}
		return out, nil
	}
}
