package service

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// ShowFleet narrows the fleet.
type ShowFleet struct {
	Environment string `json:"environment,omitempty" doc:"one environment (default: all)"`
}

// Fleets are the fleets of environments, by key.
type Fleets struct {
	Environments []flyball.Fleet `json:"environments"`
}

// Fleet tells how far the instances of environments have come: which run the
// ruleset in force, and which do not yet.
func (s *Service) Fleet(ctx context.Context, in ShowFleet) (Fleets, error) {
	out := Fleets{Environments: []flyball.Fleet{}}
	s.mu.Lock()
	names := slices.Sorted(maps.Keys(s.heads))
	s.mu.Unlock()
	if in.Environment != "" {
		if _, err := s.Published(in.Environment); err != nil {
			return out, err
		}
		names = []string{in.Environment}
	}
	for _, name := range names {
		head, err := s.Published(name)
		if err != nil {
			return out, err
		}
		f := flyball.Fleet{Environment: name, Head: head.ID()}
		if s.fleet != nil {
			if f, err = s.fleet(ctx, name, head.ID()); err != nil {
				return out, err
			}
		}
		out.Environments = append(out.Environments, f)
	}
	return out, nil
}

// ForgetInstance names an instance that is gone.
type ForgetInstance struct {
	Instance    string `json:"instance" doc:"the instance's id"`
	Environment string `json:"environment" doc:"where it ran" example:"production"`
	Reason      string `json:"reason" doc:"how you know that it is gone"`
}

// ForgetInstance declares an instance gone, so that nothing waits for it any
// more. If it is heard of again, it is back.
func (s *Service) ForgetInstance(ctx context.Context, in ForgetInstance) (Fleets, error) {
	if in.Instance == "" || len(in.Instance) > 128 {
		return Fleets{}, flyball.FieldErrorf("instance", "an instance's id has 1 to 128 bytes")
	}
	_, err := s.change(ctx, changeOf{
		access: Write, action: "fleet.forget", subject: in.Instance, reason: in.Reason,
		apply: func(e *edit) error {
			if _, err := e.tx.Environment(in.Environment); err != nil {
				return err
			}
			if _, err := e.record("instance", in.Instance, in.Environment, map[string]bool{"gone": false}, map[string]bool{"gone": true}); err != nil {
				return err
			}
			e.log = append(e.log, store.LogEntry{Kind: store.KindGone, Environment: in.Environment, ID: newID(12), At: e.at, Body: []byte(in.Instance)})
			return nil
		},
	})
	if err != nil {
		return Fleets{}, err
	}
	return s.Fleet(ctx, ShowFleet{Environment: in.Environment})
}

// UnknownFlags are keys that programs evaluate and that are no flags.
type UnknownFlags struct {
	Unknown []flyball.UnknownFlag `json:"unknown"`
}

// ListUnknownFlags lists keys that programs evaluated lately and that are no
// flags: misspelt, not created yet, or archived while code still reads them.
func (s *Service) ListUnknownFlags(ctx context.Context, _ None) (UnknownFlags, error) {
	p, err := principalOf(ctx)
	if err != nil {
		return UnknownFlags{}, err
	}
	out := UnknownFlags{}
	err = s.db.View(ctx, func(tx *store.Tx) (err error) {
		out.Unknown, err = tx.UnknownFlags(time.Now().Add(-7*24*time.Hour), 1000)
		return err
	})
	out.Unknown = slices.DeleteFunc(out.Unknown, func(u flyball.UnknownFlag) bool { return p.may(u.Flag) != nil })
	return out, err
}

// Versions gathers the ruleset versions that the changes of one request made.
type Versions struct {
	mu   sync.Mutex
	made map[string]int64
}

type versionsKey struct{}

// GatherVersions returns ctx such that the versions made under it are gathered.
func GatherVersions(ctx context.Context) (context.Context, *Versions) {
	v := &Versions{made: map[string]int64{}}
	return context.WithValue(ctx, versionsKey{}, v), v
}

func gathered(ctx context.Context, versions map[string]int64) {
	if v, ok := ctx.Value(versionsKey{}).(*Versions); ok {
		v.mu.Lock()
		defer v.mu.Unlock()
		maps.Copy(v.made, versions)
	}
}

// Made returns the versions, by environment.
func (v *Versions) Made() map[string]int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.made)
}
