// Package app builds the parts of the server, starts them in order and stops
// them in the reverse order. It alone knows the settings.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/dashboard"
	"github.com/flyballdev/flyball/internal/api"
	"github.com/flyballdev/flyball/internal/ingest"
	"github.com/flyballdev/flyball/internal/notify"
	"github.com/flyballdev/flyball/internal/prometheus"
	"github.com/flyballdev/flyball/internal/rollout"
	"github.com/flyballdev/flyball/internal/service"
	"github.com/flyballdev/flyball/internal/store"
)

// Config holds the settings. Everything else is data, changed through the API
// and audited.
type Config struct {
	Listen        string // host:port
	FlagdListen   string // host:port of flagd's sync protocol, by gRPC; none if empty
	Data          string // folder of the embedded database, and of the key of secrets
	Database      string // postgres://… in place of the embedded one
	SecretKey     string // seals the secrets of webhooks; empty is one in Data
	WebhookLocal  bool   // webhooks may be at private addresses
	PrometheusURL string // is asked for the streams of rollouts; none if empty
	PublicURL     string // where people's browsers find this server; empty is where it listens
	OIDC          api.OIDC
	Log           *slog.Logger
}

// An App is a running server.
type App struct {
	URL        string // where it listens, such as http://127.0.0.1:8080
	AdminToken string // the first admin token; empty if this is not the first start
	SetUpLink  string // by which the first person makes their account; empty if this is not the first start
	// FlagdAddress is where it listens for flagd's protocol, host:port.
	FlagdAddress string

	server *http.Server
	log    *slog.Logger
	failed chan error
	stops  []stop
	once   sync.Once
	stopEr error
}

type stop struct {
	name string
	f    func(context.Context) error
}

// onStop is called as soon as a part is up, so that a later part's failure
// still takes it down.
func (a *App) onStop(name string, f func(context.Context) error) {
	a.stops = append(a.stops, stop{name, f})
}

// Start starts a server. It is ready when Start returns; ctx bounds only the
// start.
func Start(ctx context.Context, c Config) (*App, error) {
	a := &App{log: c.Log, failed: make(chan error, 2)}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if err := a.start(ctx, c); err != nil {
		return nil, errors.Join(err, a.Stop(ctx))
	}
	return a, nil
}

// start wires the parts; it is long because it is the one place that knows all
// of them.
func (a *App) start(ctx context.Context, c Config) error {
	if err := api.ValidPublicURL(c.PublicURL, c.OIDC); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen) // first, since it is what fails most often
	if err != nil {
		return fmt.Errorf("listen on %s: %w", c.Listen, err)
	}
	a.onStop("listener", func(context.Context) error { listener.Close(); return nil })

	url := c.Database
	if url == "" {
		url = filepath.Join(c.Data, "flyball.db")
	}
	db, err := store.Open(ctx, url)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	a.onStop("database", func(context.Context) error { return db.Close() })

	seal, err := store.NewSeal(c.SecretKey, c.Data)
	if err != nil {
		return err
	}
	reach := notify.Public
	if c.WebhookLocal {
		reach = notify.Local
	}
	teller := notify.New(db, seal, holder(), reach)
	teller.Fail = func(err error) { a.log.Warn("webhook not told", "error", err) }
	receiver := ingest.NewReceiver(db)
	runner := ingest.NewRunner(db, holder())
	poller, err := streams(c, db, runner)
	if err != nil {
		return err
	}
	sampler := ingest.NewSampler(db, seal)
	svc, err := service.New(ctx, db, service.Options{
		Log: a.log, Judgeable: func(plan flyball.RolloutPlan, metrics []flyball.Metric) error {
			return errors.Join(ingest.Supported(plan, metrics), poller.Reaches(plan, metrics))
		},
		Changed: runner.Wake, Seal: seal, Tell: teller.Tell, Reachable: reach.CheckURL,
		Evidence: func(ctx context.Context, id string) (flyball.Evidence, bool, error) {
			return runner.Evidence(ctx, id, time.Now())
		},
		Fleet: func(ctx context.Context, environment string, head flyball.RulesetID) (flyball.Fleet, error) {
			return runner.Fleet(ctx, environment, head, time.Now())
		},
		Forecast: runner.Forecast, Sample: sample(sampler),
	})
	if err != nil {
		return err
	}
	if a.AdminToken, err = svc.FirstAdmin(ctx); err != nil {
		return fmt.Errorf("make the admin token: %w", err)
	}
	setUp, err := svc.FirstSetUp(ctx)
	if err != nil {
		return fmt.Errorf("make the set-up link: %w", err)
	}
	world := &world{service: svc, runner: runner}
	controller := &rollout.Controller{World: world, Fail: func(id string, err error) {
		a.log.Warn("rollout not moved", "rollout", id, "error", err)
	}}
	runner.OnBreach = func(string) { controller.Wake() }
	runner.OnNews = svc.News
	runner.Fail = func(err error) { a.log.Warn("judge interrupted", "error", err) }
	poller.Fail = func(err error) { a.log.Warn("stream not written", "error", err) }
	receiver.Committed = runner.Wake
	receiver.Running, receiver.Exposed = svc.RolloutRuns, svc.Exposed
	tally := ingest.NewTally(db)
	tally.Fail = func(err error) { a.log.Warn("usage not written", "error", err) }
	sampler.Fail = func(err error) { a.log.Warn("contexts not sampled", "error", err) }
	receiver.Wish = sampler.Wish
	receiver.Heard = func(environment string, trusted bool, b flyball.TelemetryBatch) {
		tally.Hear(environment, trusted, b)
		sampler.Hear(environment, trusted, b)
	}

	a.run("receiver", func(ctx context.Context) { receiver.Run(ctx) })
	a.run("usage tally", tally.Run)
	a.run("sampler", sampler.Run)
	a.run("ruleset follower", svc.Follow)
	a.run("audit watchman", svc.WatchAudit)
	a.run("judge", func(ctx context.Context) { runner.Run(ctx) })
	a.run("stream poller", poller.Run)
	a.run("rollout controller", controller.Run)
	a.run("teller", teller.Run)
	a.run("keeper of accounts", svc.Keep)

	handler := api.New(api.Options{Service: svc, Receiver: receiver, Log: a.log, Dashboard: dashboard.Handler(), PublicURL: c.PublicURL, OIDC: c.OIDC, Evaluated: tally.Note})
	a.server = api.HTTPServer(handler)
	a.onStop("HTTP server", func(ctx context.Context) error {
		handler.Drain()
		err := a.server.Shutdown(ctx)
		if err != nil {
			err = a.server.Close()
		}
		handler.Stop(ctx) // those that were still there were cut, as Close does
		return err
	})
	go func() {
		if err := a.server.Serve(api.Sparing(listener)); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- fmt.Errorf("serve: %w", err)
		}
	}()
	a.URL = "http://" + listener.Addr().String()
	if setUp != "" {
		a.SetUpLink = cmp.Or(strings.TrimSuffix(c.PublicURL, "/"), a.URL) + service.SetUpPath(setUp)
	}
	if c.FlagdListen != "" {
		return a.serveFlagd(handler, c.FlagdListen)
	}
	return nil
}

// run starts a loop that works until it is told to stop, and waits for it
// then.
func (a *App) run(name string, loop func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		loop(ctx)
	}()
	a.onStop(name, func(ctx context.Context) error {
		cancel()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// Failed tells of a part that stopped by itself.
func (a *App) Failed() <-chan error { return a.failed }

// Stop takes the parts down in the reverse of the order they came up in.
func (a *App) Stop(ctx context.Context) error {
	a.once.Do(func() {
		var errs []error
		for _, s := range slices.Backward(a.stops) {
			if err := s.f(ctx); err != nil {
				errs = append(errs, fmt.Errorf("stop %s: %w", s.name, err))
			}
		}
		a.stopEr = errors.Join(errs...)
	})
	return a.stopEr
}

// holder names this process to others that want the same lease.
func holder() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s/%d/%d", host, os.Getpid(), time.Now().UnixNano())
}

// streams returns what asks Prometheus for the streams of rollouts.
func streams(c Config, db *store.DB, runner *ingest.Runner) (*ingest.Poller, error) {
	if c.PrometheusURL == "" {
		return ingest.NewPoller(db, runner, nil), nil
	}
	client, err := prometheus.New(c.PrometheusURL)
	return ingest.NewPoller(db, runner, client), err
}
