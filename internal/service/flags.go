package service

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// FlagView is a flag with what each environment serves for it.
type FlagView struct {
	flyball.Flag
	Version      int64                 `json:"version" doc:"rises with each change of the flag itself"`
	State        string                `json:"state" enum:"active,archived"`
	CreatedAt    flyball.Time          `json:"createdAt"`
	CreatedBy    flyball.ActorID       `json:"createdBy"`
	ArchivedAt   *flyball.Time         `json:"archivedAt,omitempty"`
	ArchivedBy   flyball.ActorID       `json:"archivedBy,omitempty"`
	ArchivedWhy  string                `json:"archivedWhy,omitempty"`
	LastSeen     *flyball.Time         `json:"lastEvaluated,omitempty" doc:"when a program last told that it evaluates it, anywhere"`
	Environments map[string]ConfigView `json:"environments,omitempty" doc:"by environment"`
}

// ConfigView is what an environment serves for a flag, and since which version
// of its ruleset.
type ConfigView struct {
	flyball.FlagConfig
	Version       int64         `json:"version" doc:"the ruleset version that last changed it"`
	Evaluations   int64         `json:"evaluations,omitempty" doc:"how often programs evaluated it, as far as they told"`
	LastEvaluated *flyball.Time `json:"lastEvaluated,omitempty" doc:"when a program last told that it evaluates it"`
}

func viewFlag(f store.FlagRecord) FlagView {
	v := FlagView{Flag: f.Flag, Version: f.Revision, State: "active", CreatedAt: flyball.Time{Time: f.CreatedAt}, CreatedBy: f.CreatedBy}
	if f.ArchivedAt != nil {
		v.State = "archived"
		v.ArchivedAt, v.ArchivedBy, v.ArchivedWhy = &flyball.Time{Time: *f.ArchivedAt}, f.ArchivedBy, f.ArchivedWhy
	}
	return v
}

// CreateFlag describes a flag that is to be made.
type CreateFlag struct {
	flyball.Flag
	Reason string `json:"reason" doc:"why the flag is made"`
}

// CreateFlag makes a flag. It serves its safe variant, disabled, everywhere.
func (s *Service) CreateFlag(ctx context.Context, in CreateFlag) (FlagView, error) {
	f := in.Flag.WithDefaults()
	if err := f.Validate(); err != nil {
		return FlagView{}, err
	}
	_, err := s.change(ctx, changeOf{
		access: Write, action: "flag.create", subject: f.Key, flag: f.Key, reason: in.Reason,
		apply: func(e *edit) error {
			if f.ExpiresAt != nil && !f.ExpiresAt.After(e.at) { // files may tell of flags that are overdue
				return flyball.FieldErrorf("expiresAt", "lies in the past: say by when the flag must be gone")
			}
			return e.insertFlag(f)
		},
	})
	if err != nil {
		return FlagView{}, err
	}
	return s.Flag(ctx, FlagKey{Key: f.Key})
}

// UpdateFlag describes a flag as it is to be.
type UpdateFlag struct {
	flyball.Flag
	IfVersion int64  `json:"ifVersion,omitempty" doc:"the flag's version that you read; a newer one is a conflict"`
	Reason    string `json:"reason" doc:"why the flag changes"`
}

// UpdateFlag replaces what a flag is; its key and its type stay.
func (s *Service) UpdateFlag(ctx context.Context, in UpdateFlag) (FlagView, error) {
	f := in.Flag.WithDefaults()
	if err := f.Validate(); err != nil {
		return FlagView{}, err
	}
	_, err := s.change(ctx, changeOf{
		access: Write, action: "flag.update", subject: f.Key, flag: f.Key, reason: in.Reason,
		apply: func(e *edit) error { return e.updateFlag(f, in.IfVersion) },
	})
	if err != nil {
		return FlagView{}, err
	}
	return s.Flag(ctx, FlagKey{Key: f.Key})
}

// FlagKey names a flag.
type FlagKey struct {
	Key string        `json:"key" doc:"the flag's key"`
	At  *flyball.Time `json:"at,omitempty" doc:"as it was at this time (default: now)" example:"2026-11-21T19:00:00Z"`
}

// Flag returns a flag with what each environment serves for it.
func (s *Service) Flag(ctx context.Context, in FlagKey) (out FlagView, err error) {
	p, err := principalOf(ctx)
	if err != nil {
		return out, err
	}
	if err := p.may(in.Key); err != nil {
		return out, err
	}
	err = s.db.View(ctx, func(tx *store.Tx) (err error) {
		if in.At != nil {
			out, err = flagAt(tx, in.Key, in.At.Time)
			return err
		}
		f, err := tx.Flag(in.Key)
		if err != nil {
			return err
		}
		out = viewFlag(f)
		out.Environments = map[string]ConfigView{}
		environments, err := tx.Environments()
		if err != nil {
			return err
		}
		for _, env := range environments {
			c, err := tx.FlagConfig(env.Key, in.Key)
			if err != nil {
				return err
			}
			out.Environments[env.Key] = ConfigView{FlagConfig: c.FlagConfig, Version: c.Version}
		}
		one := []FlagView{out}
		err = addUsage(tx, one)
		out = one[0]
		return err
	})
	return out, err
}

// ListFlags narrows a list of flags.
type ListFlags struct {
	Query    string `json:"query,omitempty" doc:"a part of the key or the description"`
	Owner    string `json:"owner,omitempty" doc:"the owning team"`
	Kind     string `json:"kind,omitempty" doc:"release, ops, experiment or permission"`
	Tag      string `json:"tag,omitempty" doc:"only flags with this tag"`
	Archived bool   `json:"archived,omitempty" doc:"those archived, in place of the others"`
}

// Flags is a list of flags, by key.
type Flags struct {
	Flags []FlagView `json:"flags"`
}

// ListFlags lists flags, by key.
func (s *Service) ListFlags(ctx context.Context, in ListFlags) (Flags, error) {
	p, err := principalOf(ctx)
	if err != nil {
		return Flags{}, err
	}
	out := Flags{Flags: []FlagView{}}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		flags, err := tx.Flags()
		if in.Archived {
			flags, err = tx.ArchivedFlags()
		}
		if err != nil {
			return err
		}
		for _, f := range flags {
			if in.matches(f.Flag) && p.may(f.Key) == nil {
				out.Flags = append(out.Flags, viewFlag(f))
			}
		}
		return s.addConfigs(tx, out.Flags)
	})
	slices.SortFunc(out.Flags, func(a, b FlagView) int { return strings.Compare(a.Key, b.Key) })
	return out, err
}

func (in ListFlags) matches(f flyball.Flag) bool {
	return (in.Query == "" || strings.Contains(f.Key, in.Query) || strings.Contains(f.Description, in.Query)) &&
		(in.Owner == "" || in.Owner == f.Owner) &&
		(in.Kind == "" || in.Kind == string(f.Kind)) &&
		(in.Tag == "" || slices.Contains(f.Tags, in.Tag))
}

func (s *Service) addConfigs(tx *store.Tx, flags []FlagView) error {
	environments, err := tx.Environments()
	if err != nil {
		return err
	}
	at := make(map[string]int, len(flags))
	for i := range flags {
		at[flags[i].Key] = i
		flags[i].Environments = map[string]ConfigView{}
	}
	for _, env := range environments {
		configs, err := tx.FlagConfigs(env.Key)
		if err != nil {
			return err
		}
		for _, c := range configs {
			if i, ok := at[c.Flag]; ok {
				flags[i].Environments[env.Key] = ConfigView{FlagConfig: c.FlagConfig, Version: c.Version}
			}
		}
	}
	return addUsage(tx, flags)
}

// addUsage tells when, and how often, flags were evaluated.
func addUsage(tx *store.Tx, flags []FlagView) error {
	all, err := tx.Usage()
	if err != nil {
		return err
	}
	for _, u := range all {
		i, ok := slices.BinarySearchFunc(flags, u.Flag, func(f FlagView, key string) int { return strings.Compare(f.Key, key) })
		if !ok {
			continue
		}
		c, ok := flags[i].Environments[u.Environment]
		if !ok {
			continue
		}
		c.Evaluations += u.N
		if c.LastEvaluated == nil || c.LastEvaluated.Before(u.Last) {
			c.LastEvaluated = &flyball.Time{Time: u.Last}
		}
		flags[i].Environments[u.Environment] = c
		if last := flags[i].LastSeen; last == nil || last.Before(u.Last) {
			flags[i].LastSeen = &flyball.Time{Time: u.Last}
		}
	}
	return nil
}

// ArchiveFlag names a flag whose time is over.
type ArchiveFlag struct {
	Key    string `json:"key" doc:"the flag's key"`
	Reason string `json:"reason" doc:"why its time is over"`
}

// ArchiveFlag takes a flag out of every ruleset. Its key is never free again.
func (s *Service) ArchiveFlag(ctx context.Context, in ArchiveFlag) (FlagView, error) {
	_, err := s.change(ctx, changeOf{
		access: Write, action: "flag.archive", subject: in.Key, flag: in.Key, reason: in.Reason,
		apply: func(e *edit) error { return e.archiveFlag(in.Key) },
	})
	if err != nil {
		return FlagView{}, err
	}
	return s.Flag(ctx, FlagKey{Key: in.Key})
}

func (e *edit) archiveFlag(key string) error {
	f, err := e.flag(key)
	if err != nil {
		return err
	}
	live, err := e.tx.Rollouts(store.RolloutFilter{Flag: key, Live: true})
	if err != nil {
		return err
	}
	if len(live) > 0 {
		return flyball.Errorf(flyball.Conflict, "%q has a live rollout in %s: end it first", key, live[0].Environment).With("rollout", live[0].ID)
	}
	if err := e.touchAll(); err != nil {
		return err
	}
	if needs := e.needs(key); len(needs) > 0 {
		return flyball.Errorf(flyball.Conflict, "%q is a prerequisite of %s: take it out of their prerequisites first (flyball flag configure)", key, strings.Join(needs, ", ")).With("neededBy", needs)
	}
	if _, err := e.record("flag", key, "", f.Flag, nil); err != nil {
		return err
	}
	e.flags[key] = nil
	return e.tx.ArchiveFlag(key, e.principal.ID, e.change.reason, e.at)
}

// needs names the flags that have a flag for a prerequisite, and where, by
// environment: "shop.fast in production".
func (e *edit) needs(key string) (found []string) {
	for _, env := range slices.Sorted(maps.Keys(e.rulesets)) {
		rules := e.rulesets[env].before.compiled
		if rules == nil { // read from the database just now; compiling it again will tell
			continue
		}
		for _, other := range rules.Keys() {
			if slices.ContainsFunc(rules.Flag(other).Prerequisites, func(q flyball.Prerequisite) bool { return q.Flag == key }) {
				found = append(found, other+" in "+env)
			}
		}
	}
	return found
}
