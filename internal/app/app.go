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

	"github.com/flyballdev/flyball/dashboard"
	"github.com/flyballdev/flyball/internal/api"
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

// start brings the parts up in order.
func (a *App) start(ctx context.Context, c Config) error {
	if err := api.ValidPublicURL(c.PublicURL, c.OIDC); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen) // first, since it is what fails most often
	if err != nil {
		return fmt.Errorf("listen on %s: %w", c.Listen, err)
	}
	a.onStop("listener", func(context.Context) error { listener.Close(); return nil })
	a.URL = "http://" + listener.Addr().String()

	db, err := store.Open(ctx, cmp.Or(c.Database, filepath.Join(c.Data, "flyball.db")))
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	a.onStop("database", func(context.Context) error { return db.Close() })
	p, err := newParts(ctx, c, db, a.log)
	if err != nil {
		return err
	}
	if err := a.first(ctx, c, p.service); err != nil {
		return err
	}
	p.connect(a.log)
	a.runLoops(p)
	handler := api.New(api.Options{
		Service: p.service, Receiver: p.receiver, Log: a.log, Dashboard: dashboard.Handler(),
		PublicURL: c.PublicURL, OIDC: c.OIDC, Evaluated: p.tally.Note,
	})
	a.serve(handler, listener)
	if c.FlagdListen != "" {
		return a.serveFlagd(handler, c.FlagdListen)
	}
	return nil
}

// first makes what a first start shows, once: the admin token, and the link by
// which the first person makes their account.
func (a *App) first(ctx context.Context, c Config, svc *service.Service) (err error) {
	if a.AdminToken, err = svc.FirstAdmin(ctx); err != nil {
		return fmt.Errorf("make the admin token: %w", err)
	}
	setUp, err := svc.FirstSetUp(ctx)
	if err != nil {
		return fmt.Errorf("make the set-up link: %w", err)
	}
	if setUp != "" {
		a.SetUpLink = cmp.Or(strings.TrimSuffix(c.PublicURL, "/"), a.URL) + service.SetUpPath(setUp)
	}
	return nil
}

// serve answers HTTP until the app stops.
func (a *App) serve(handler *api.Server, listener net.Listener) {
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
