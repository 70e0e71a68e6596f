package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/ingest"
	"github.com/flyballdev/flyball/internal/notify"
	"github.com/flyballdev/flyball/internal/prometheus"
	"github.com/flyballdev/flyball/internal/rollout"
	"github.com/flyballdev/flyball/internal/service"
	"github.com/flyballdev/flyball/internal/store"
)

// parts are what works behind the doors.
type parts struct {
	receiver   *ingest.Receiver
	runner     *ingest.Runner
	poller     *ingest.Poller
	sampler    *ingest.Sampler
	tally      *ingest.Tally
	teller     *notify.Teller
	service    *service.Service
	controller *rollout.Controller
}

// newParts makes the parts; none of them works yet.
func newParts(ctx context.Context, c Config, db *store.DB, log *slog.Logger) (*parts, error) {
	seal, err := store.NewSeal(c.SecretKey, c.Data)
	if err != nil {
		return nil, err
	}
	reach := notify.Public
	if c.WebhookLocal {
		reach = notify.Local
	}
	p := &parts{
		receiver: ingest.NewReceiver(db), runner: ingest.NewRunner(db, holder()),
		sampler: ingest.NewSampler(db, seal), tally: ingest.NewTally(db), teller: notify.New(db, seal, holder(), reach),
	}
	if p.poller, err = streams(c, db, p.runner); err != nil {
		return nil, err
	}
	p.service, err = service.New(ctx, db, service.Options{
		Log: log, Judgeable: func(plan flyball.RolloutPlan, metrics []flyball.Metric) error {
			return errors.Join(ingest.Supported(plan, metrics), p.poller.Reaches(plan, metrics))
		},
		Changed: p.runner.Wake, Seal: seal, Tell: p.teller.Tell, Reachable: reach.CheckURL,
		Evidence: func(ctx context.Context, id string) (flyball.Evidence, bool, error) {
			return p.runner.Evidence(ctx, id, time.Now())
		},
		Fleet: func(ctx context.Context, environment string, head flyball.RulesetID) (flyball.Fleet, error) {
			return p.runner.Fleet(ctx, environment, head, time.Now())
		},
		Forecast: p.runner.Forecast, Sample: sample(p.sampler),
	})
	p.controller = &rollout.Controller{World: &world{service: p.service, runner: p.runner}}
	return p, err
}

// connect lets the parts wake each other, and tell what fails.
func (p *parts) connect(log *slog.Logger) {
	p.runner.OnBreach = func(string) { p.controller.Wake() }
	p.runner.OnNews = p.service.News
	p.receiver.Committed = p.runner.Wake
	p.receiver.Running, p.receiver.Exposed = p.service.RolloutRuns, p.service.Exposed
	p.receiver.Wish = p.sampler.Wish
	p.receiver.Heard = func(environment string, trusted bool, b flyball.TelemetryBatch) {
		p.tally.Hear(environment, trusted, b)
		p.sampler.Hear(environment, trusted, b)
	}

	warn := func(what string) func(error) {
		return func(err error) { log.Warn(what, "error", err) }
	}
	p.teller.Fail = warn("webhook not told")
	p.runner.Fail = warn("judge interrupted")
	p.poller.Fail = warn("stream not written")
	p.tally.Fail = warn("usage not written")
	p.sampler.Fail = warn("contexts not sampled")
	p.controller.Fail = func(id string, err error) { log.Warn("rollout not moved", "rollout", id, "error", err) }
}

// runLoops starts what works by itself.
func (a *App) runLoops(p *parts) {
	a.run("receiver", func(ctx context.Context) { p.receiver.Run(ctx) })
	a.run("usage tally", p.tally.Run)
	a.run("sampler", p.sampler.Run)
	a.run("ruleset follower", p.service.Follow)
	a.run("audit watchman", p.service.WatchAudit)
	a.run("judge", func(ctx context.Context) { p.runner.Run(ctx) })
	a.run("stream poller", p.poller.Run)
	a.run("rollout controller", p.controller.Run)
	a.run("teller", p.teller.Run)
	a.run("keeper of accounts", p.service.Keep)
}

// streams returns what asks Prometheus for the streams of rollouts.
func streams(c Config, db *store.DB, runner *ingest.Runner) (*ingest.Poller, error) {
	if c.PrometheusURL == "" {
		return ingest.NewPoller(db, runner, nil), nil
	}
	client, err := prometheus.New(c.PrometheusURL)
	return ingest.NewPoller(db, runner, client), err
}
