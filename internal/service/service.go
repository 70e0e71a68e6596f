// Package service is what the platform can do, each capability once. People,
// agents and the rollout controller all come through it, whatever surface they
// use; every change of what users get goes through its one door, change.
package service

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// A Service does what the platform can do, on one database.
type Service struct {
	db        *store.DB
	log       *slog.Logger
	judgeable func(flyball.RolloutPlan, []flyball.Metric) error
	changed   func()
	evidence  func(context.Context, string) (flyball.Evidence, bool, error)
	fleet     func(ctx context.Context, environment string, head flyball.RulesetID) (flyball.Fleet, error)
	seal      *store.Seal
	tell      func(ctx context.Context, webhook string, e flyball.AuditEntry) (status int, err error)
	reachable func(url string) error
	forecast  Forecast

	sample func(ctx context.Context, environment string) (Sample, error)

	mu        sync.Mutex // guards heads; publishing only
	heads     map[string]*Published
	published chan struct{} // closed and replaced when an environment first appears
	news      bell          // rings when rollouts, or their evidence, may have changed
	heard     hearing
	tokens    tokenCache
	passwords *hasher
	tries     *tries
	ticketKey string
	turn      chan struct{} // held by the change in hand, save by what must not wait for others
	proving   chan struct{} // held by a proof of the audit log
	watchman  watchman
}

// Options are what a Service needs beside its database.
type Options struct {
	Log *slog.Logger
	// Judgeable says whether the judge can judge a plan; nil accepts all.
	Judgeable func(flyball.RolloutPlan, []flyball.Metric) error
	// Changed is called after each change that the judge is to hear of; nil is
	// never called.
	Changed func()
	// Evidence tells what the judge knows of a rollout; nil knows nothing.
	Evidence func(ctx context.Context, rollout string) (flyball.Evidence, bool, error)
	// Fleet tells how far an environment's instances have come; nil sees none.
	Fleet func(ctx context.Context, environment string, head flyball.RulesetID) (flyball.Fleet, error)
	// Sample tells what is known of an environment's users; nil knows nothing.
	Sample func(ctx context.Context, environment string) (Sample, error)
	// Seal keeps the secrets of webhooks; without one none can be made.
	Seal *store.Seal
	// Tell tells a webhook something at once, past its queue, and returns the
	// status of its answer; nil tells nothing.
	Tell func(ctx context.Context, webhook string, e flyball.AuditEntry) (status int, err error)
	// Reachable says why a webhook may not be at a URL; nil lets it be anywhere.
	Reachable func(url string) error
	// Forecast tells what a plan comes to; nil cannot tell.
	Forecast Forecast
}

// A Forecast tells what a plan comes to at the traffic that was observed, save
// for what is given.
type Forecast func(ctx context.Context, plan flyball.RolloutPlan, metrics []flyball.Metric, given flyball.PlanTraffic) (flyball.RolloutForecast, error)

// New returns a service on db, with the ruleset of every environment compiled
// and published, and the environments of a new installation made.
func New(ctx context.Context, db *store.DB, opts Options) (*Service, error) {
	s := &Service{
		db: db, log: opts.Log, judgeable: opts.Judgeable, changed: opts.Changed, evidence: opts.Evidence, fleet: opts.Fleet, forecast: opts.Forecast,
		sample: opts.Sample, seal: opts.Seal, tell: opts.Tell, reachable: opts.Reachable,
		heads: map[string]*Published{}, published: make(chan struct{}), tokens: newTokenCache(),
		passwords: newHasher(), tries: newTries(),
		proving: make(chan struct{}, 1), turn: make(chan struct{}, 1),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.firstStart(ctx); err != nil {
		return nil, fmt.Errorf("prepare the installation: %w", err)
	}
	if err := s.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("publish rulesets: %w", err)
	}
	return s, nil
}

// firstStart makes what a new installation has: two environments and a team.
func (s *Service) firstStart(ctx context.Context) error {
	const made = "installed"
	return s.db.Update(ctx, func(tx *store.Tx) error {
		var err error
		if s.ticketKey, err = makeTicketKey(tx); err != nil {
			return err
		}
		if _, ok, err := tx.Setting(made); err != nil || ok {
			return err
		}
		for _, e := range []flyball.Environment{{Key: "development"}, {Key: "production", Protected: true}} {
			if err := tx.InsertEnvironment(e); err != nil {
				return err
			}
		}
		if _, err := tx.PutTeam(flyball.Team{Key: "default", Name: "Default team"}, 0); err != nil {
			return err
		}
		return tx.PutSetting(made, now().Format(time.RFC3339))
	})
}

// now is the time that is written down: UTC, to the microsecond, as databases
// keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// newID returns an id of n random bytes, in lower-case hexadecimal.
func newID(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// DB tells whether the database answers.
func (s *Service) DB(ctx context.Context) error { return s.db.Ping(ctx) }
