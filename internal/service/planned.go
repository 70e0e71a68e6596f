package service

import (
	"context"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// Bounds of the plans that are kept, so that they can be made by their digest.
const (
	plansKept    = 100 // of one token
	planLasts    = time.Hour
	maxPlanInput = 1 << 20
)

// keepPlan keeps what was planned, for the token that planned it.
func (s *Service) keepPlan(ctx context.Context, p Principal, digest string, what Proposal) error {
	if len(what.Input) > maxPlanInput || p.Token == "" || what.Secret && s.seal == nil {
		return nil
	}
	input, err := s.keep(what, digest)
	if err != nil {
		return err
	}
	at := now()
	kept := store.PlannedChange{Token: p.Token, Digest: digest, At: at, Operation: what.Operation, Input: input}
	return s.db.Update(ctx, func(tx *store.Tx) error { return tx.PutPlannedChange(kept, plansKept, at.Add(-planLasts)) })
}

// PlannedChange returns what the caller's token planned within the last hour.
func (s *Service) PlannedChange(ctx context.Context, digest string) (out Proposal, err error) {
	p, err := principalOf(ctx)
	if err != nil {
		return out, err
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		kept, err := tx.PlannedChange(p.Token, digest)
		if flyball.CodeOf(err) == flyball.NotFound || err == nil && now().Sub(kept.At) > planLasts {
			return flyball.Errorf(flyball.NotFound, "this token has no plan of that digest from the last hour: plan it again")
		}
		if err != nil {
			return err
		}
		out.Operation = kept.Operation
		out.Input, err = s.opened(kept.Input, digest)
		return err
	})
	return out, err
}

// asPlanned says whether the change in hand is the one that may be made.
func (e *edit) asPlanned() error {
	if digest := e.manner.Digest; digest != "" && digest != e.planned.Digest {
		return flyball.Errorf(flyball.Conflict, "what this would change has been changed since it was planned: plan it again").
			With("digest", e.planned.Digest).With("planned", digest)
	}
	return nil
}
