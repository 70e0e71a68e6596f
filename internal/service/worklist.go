package service

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// ListWork narrows the worklist.
type ListWork struct {
	Owner string `json:"owner,omitempty" doc:"only flags of one team"`
	Why   string `json:"why,omitempty" enum:"completed,aborted,expired" doc:"only those that are there for one reason"`
	Limit int    `json:"limit,omitempty" minimum:"0" maximum:"1000" doc:"how many at most (default 100)"`
}

// Worklist are flags that want somebody's work.
type Worklist struct {
	Work []WorkItem `json:"work"`
	More bool       `json:"more,omitempty" doc:"whether there are further ones"`
}

// A WorkItem is a flag that wants somebody's work, and why.
type WorkItem struct {
	Flag        string        `json:"flag"`
	Why         string        `json:"why" enum:"completed,aborted,expired" doc:"completed: everybody has one variant, so the code of the others can go; aborted: its last rollout was taken back, so mend it or let it go; expired: it was to be gone by now"`
	Environment string        `json:"environment,omitempty" doc:"where it was completed or aborted"`
	Variant     string        `json:"variant,omitempty" doc:"what everybody there has"`
	Rollout     string        `json:"rollout,omitempty"`
	Since       *flyball.Time `json:"since,omitempty"`
	Owner       string        `json:"owner"`
	Kind        flyball.Kind  `json:"kind"`
	ExpiresAt   *flyball.Time `json:"expiresAt,omitempty"`
	LastSeen    *flyball.Time `json:"lastEvaluated,omitempty" doc:"when a program last told that it evaluates it: one that none evaluates can be archived"`
}

// Worklist lists flags that want somebody's work: what is completed or expired is
// to be cleaned up, what was aborted to be mended.
func (s *Service) Worklist(ctx context.Context, in ListWork) (Worklist, error) {
	out := Worklist{Work: []WorkItem{}}
	if in.Limit == 0 {
		in.Limit = 100
	}
	flags, err := s.ListFlags(ctx, ListFlags{Owner: in.Owner})
	if err != nil {
		return out, err
	}
	last := map[string]flyball.Rollout{} // by flag and protected environment, the latest
	err = s.db.View(ctx, func(tx *store.Tx) error {
		environments, err := tx.Environments()
		if err != nil {
			return err
		}
		protected := slices.DeleteFunc(slices.Clone(environments), func(e flyball.Environment) bool { return !e.Protected })
		if len(protected) == 0 {
			protected = environments
		}
		for _, env := range protected {
			all, err := tx.Rollouts(store.RolloutFilter{Environment: env.Key})
			if err != nil {
				return err
			}
			for _, r := range all {
				if at := r.Flag + " " + r.Environment; last[at].StartedAt.Before(r.StartedAt) {
					last[at] = r
				}
			}
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	for _, f := range flags.Flags {
		item, ok := s.work(f, last)
		if !ok || in.Why != "" && in.Why != item.Why {
			continue
		}
		if out.More = len(out.Work) == in.Limit; out.More {
			break
		}
		out.Work = append(out.Work, item)
	}
	return out, nil
}

// work says what is to be done about a flag, if anything is.
func (s *Service) work(f FlagView, last map[string]flyball.Rollout) (WorkItem, bool) {
	item := WorkItem{Flag: f.Key, Owner: f.Owner, Kind: f.Kind, ExpiresAt: f.ExpiresAt, LastSeen: f.LastSeen}
	ended := []flyball.Rollout{}
	for at, r := range last {
		if r.Flag == f.Key && strings.HasPrefix(at, f.Key+" ") && f.Environments[r.Environment].Rollout == nil {
			ended = append(ended, r)
		}
	}
	slices.SortFunc(ended, func(a, b flyball.Rollout) int { return b.StartedAt.Compare(a.StartedAt) })
	for _, r := range ended {
		variant, one := s.serves(r.Environment, f.Key)
		if !one || f.Kind != flyball.KindRelease && f.Kind != flyball.KindExperiment {
			continue
		}
		switch {
		case variant == r.Treatment && r.State == flyball.RolloutCompleted:
			item.Why = "completed"
		case variant == r.Control && r.State == flyball.RolloutAborted:
			item.Why = "aborted"
		default:
			continue
		}
		item.Environment, item.Variant, item.Rollout, item.Since = r.Environment, variant, r.ID, r.EndedAt
		return item, true
	}
	if f.ExpiresAt != nil && !f.ExpiresAt.IsZero() && f.ExpiresAt.Before(time.Now()) {
		item.Why, item.Since = "expired", f.ExpiresAt
		return item, true
	}
	return item, false
}

// serves returns the variant that a flag serves to everybody in an environment,
// if there is one.
func (s *Service) serves(environment, flag string) (string, bool) {
	head, err := s.Published(environment)
	if err != nil {
		return "", false
	}
	f := head.Compiled.Flag(flag)
	if f == nil {
		return "", false
	}
	return only(f)
}
