package service

import (
	"context"
	"errors"
	"slices"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// RolloutView is a rollout with what the judge knows of it.
type RolloutView struct {
	flyball.Rollout
	Evidence *flyball.Evidence `json:"evidence,omitempty"`
}

// RolloutID names a rollout.
type RolloutID struct {
	ID string `json:"id" doc:"the rollout's id, or its flag's key"`
}

// find returns a rollout by its id, or by its flag's key: the live one, else
// the last one.
func find(tx *store.Tx, id string) (flyball.Rollout, error) {
	r, err := tx.Rollout(id)
	if flyball.CodeOf(err) != flyball.NotFound {
		return r, err
	}
	all, lookErr := tx.Rollouts(store.RolloutFilter{Flag: id})
	if lookErr != nil || len(all) == 0 {
		return r, errors.Join(lookErr, err)
	}
	live := slices.DeleteFunc(slices.Clone(all), func(r flyball.Rollout) bool { return !r.State.Live() })
	switch len(live) {
	case 0:
		return slices.MaxFunc(all, func(a, b flyball.Rollout) int { return a.StartedAt.Compare(b.StartedAt) }), nil
	case 1:
		return live[0], nil
	}
	return r, flyball.FieldErrorf("id", "%q has a live rollout in %s and in %s: name one by its id, %s or %s", id, live[0].Environment, live[1].Environment, live[0].ID, live[1].ID)
}

// Rollout returns a rollout with what the judge knows of it.
func (s *Service) Rollout(ctx context.Context, in RolloutID) (out RolloutView, err error) {
	p, err := principalOf(ctx)
	if err != nil {
		return out, err
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		r, err := find(tx, in.ID)
		if err != nil {
			return err
		}
		out.Rollout = r
		return p.may(r.Flag)
	})
	if err != nil || s.evidence == nil {
		return out, err
	}
	e, found, err := s.evidence(ctx, out.ID)
	if found {
		out.Evidence = &e
	}
	return out, err
}

// ListRollouts narrows a list of rollouts.
type ListRollouts struct {
	Environment string `json:"environment,omitempty" doc:"only those of one"`
	Flag        string `json:"flag,omitempty" doc:"only those of one"`
	Live        bool   `json:"live,omitempty" doc:"only those that still serve"`
	Before      string `json:"before,omitempty" doc:"only those older than this one, by its id"`
	Limit       int    `json:"limit,omitempty" minimum:"0" maximum:"1000" doc:"how many at most (default 100)"`
}

// Rollouts is a list of rollouts, newest first.
type Rollouts struct {
	Rollouts []flyball.Rollout `json:"rollouts"`
	More     bool              `json:"more,omitempty" doc:"whether there are further ones"`
	Next     string            `json:"next,omitempty" doc:"where they go on: the value of before"`
}

// ListRollouts lists rollouts, newest first.
func (s *Service) ListRollouts(ctx context.Context, in ListRollouts) (Rollouts, error) {
	out := Rollouts{Rollouts: []flyball.Rollout{}}
	p, err := principalOf(ctx)
	if err != nil {
		return out, err
	}
	if in.Limit == 0 {
		in.Limit = 100
	}
	which := store.RolloutFilter{Environment: in.Environment, Flag: in.Flag, Live: in.Live, Before: in.Before, Limit: in.Limit + 1} // one more tells whether there are more
	err = s.db.View(ctx, func(tx *store.Tx) error {
		if _, err := tx.Rollout(in.Before); in.Before != "" && err != nil {
			return flyball.FieldErrorf("before", "there is no rollout %q", in.Before)
		}
		for {
			found, err := tx.Rollouts(which)
			if err != nil {
				return err
			}
			for _, r := range found {
				if which.Before = r.ID; p.may(r.Flag) != nil {
					continue
				}
				if out.More = len(out.Rollouts) == in.Limit; out.More {
					out.Next = out.Rollouts[in.Limit-1].ID
					return nil
				}
				out.Rollouts = append(out.Rollouts, r)
			}
			if len(found) < which.Limit {
				return nil
			}
		}
	})
	return out, err
}

// LiveRollouts returns the ids of all rollouts that serve, however many there
// are: one that is left out is never moved.
func (s *Service) LiveRollouts(ctx context.Context) (ids []string, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		live, err := tx.Rollouts(store.RolloutFilter{Live: true})
		for _, r := range live {
			ids = append(ids, r.ID)
		}
		return err
	})
	return ids, err
}

// Exposed returns what tells of the exposures in an environment whether their
// flag is known, to a public token only if public ones may see it, and whether
// their rollout is live. What rests on a newer ruleset than this process has
// heard of is taken for both. It is nil if there is no such environment.
func (s *Service) Exposed(environment string, trusted bool) func(flyball.Exposure) (known, live bool) {
	head, err := s.Published(environment)
	if err != nil {
		return nil
	}
	version := head.ID().Version
	return func(x flyball.Exposure) (known, live bool) {
		f := head.Compiled.Flag(x.Flag)
		switch {
		case x.Version > version:
			return true, true
		case f == nil || !trusted && !f.ClientVisible:
			return false, false
		}
		return true, f.Rollout != nil && f.Rollout.ID == x.Rollout
	}
}

// RolloutRuns says whether a rollout is live in an environment.
func (s *Service) RolloutRuns(environment string) bool {
	head, err := s.Published(environment)
	return err == nil && head.Compiled.Live()
}
