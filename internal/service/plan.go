package service

import (
	"context"
	"errors"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// PlanRollout is a plan that is to be looked at.
type PlanRollout struct {
	flyball.RolloutPlan
	Traffic flyball.PlanTraffic `json:"traffic,omitzero" doc:"what you know of the traffic, in place of what was observed"`
	Reason  string              `json:"reason,omitempty" doc:"not needed; a file for a start may hold it"`
}

// PlanRollout tells what a plan would come to, and starts nothing. What would be
// refused at the start is refused here.
func (s *Service) PlanRollout(ctx context.Context, in PlanRollout) (out flyball.RolloutForecast, err error) {
	p, err := principalOf(ctx)
	if err != nil {
		return out, err
	}
	plan := in.RolloutPlan.WithDefaults()
	if err := errors.Join(p.may(plan.Flag), plan.Validate(), in.Traffic.Validate()); err != nil {
		return out, err
	}
	if err := s.fleetMayStep(ctx, plan); err != nil {
		return out, err
	}
	var metrics []flyball.Metric
	err = s.db.View(ctx, func(tx *store.Tx) error {
		e := &edit{tx: tx, service: s, principal: p, at: now(), rulesets: map[string]*rulesetEdit{}}
		if _, err := e.startable(plan); err != nil {
			return err
		}
		metrics, err = e.metrics(plan)
		return err
	})
	if err != nil {
		return out, err
	}
	if s.forecast == nil {
		return out, flyball.Errorf(flyball.Unavailable, "this server cannot judge, and so makes no forecast")
	}
	return s.forecast(ctx, plan, metrics, in.Traffic)
}
