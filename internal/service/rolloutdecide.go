package service

import (
	"context"
	"slices"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/rollout"
	"github.com/flyballdev/flyball/internal/store"
)

// decided is what the audit log keeps of an automatic decision.
type decided struct {
	Decision rollout.Decision `json:"decision"`
	Evidence flyball.Evidence `json:"evidence"`
}

// brief leaves out how evidence came about: the audit log keeps how it stood.
func brief(e flyball.Evidence) flyball.Evidence {
	e.Course = nil
	e.Guardrails, e.Success = slices.Clone(e.Guardrails), slices.Clone(e.Success)
	for _, all := range [][]flyball.MetricEvidence{e.Guardrails, e.Success} {
		for i := range all {
			all[i].Track, all[i].Course = nil, nil
		}
	}
	return e
}

// Decide carries out what the controller decided about a rollout that it read,
// under the lease that makes it the only controller. Someone who changed the
// rollout meanwhile wins: the decision is a conflict, and is made anew.
func (s *Service) Decide(ctx context.Context, of rollout.Situation, d rollout.Decision, fence *Fence) error {
	r := of.Rollout
	_, err := s.change(AsController(ctx), changeOf{
		access: Write, action: "rollout." + string(d.Action), subject: r.Flag, flag: r.Flag, reason: d.Why,
		evidence: decided{Decision: d, Evidence: brief(of.Evidence)}, fence: fence,
		apply: func(e *edit) error {
			current, err := e.tx.Rollout(r.ID)
			if err != nil {
				return err
			}
			if _, err := e.touch(r.Environment); err != nil {
				return err
			}
			next, err := rollout.After(current, d, e.at)
			if err != nil {
				return err
			}
			if !next.SteppedAt.Equal(current.SteppedAt) {
				next.SteppedIn = e.nextVersion(r.Environment)
			}
			return e.moveRollout(current, next)
		},
	})
	return err
}

// Situation reads what a decision about a rollout rests on, save for the
// judge's part: evidence and fleet.
func (s *Service) Situation(ctx context.Context, id string) (out rollout.Situation, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		r, err := tx.Rollout(id)
		if err != nil {
			return err
		}
		f, err := tx.Flag(r.Flag)
		if err != nil {
			return err
		}
		out.Rollout, out.Stateful = r, f.Consistency == flyball.Stateful
		out.Metrics = map[string]flyball.Metric{}
		for _, key := range metricKeys(r.RolloutPlan) {
			m, err := tx.Metric(key)
			if err != nil {
				return err
			}
			out.Metrics[key] = m.Metric
		}
		head, err := s.Published(r.Environment)
		if err != nil {
			return err
		}
		out.Fleet.Head = head.ID()
		out.Frozen, err = frozenIn(tx, r.Environment, now())
		return err
	})
	return out, err
}
