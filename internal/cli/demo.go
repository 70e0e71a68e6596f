package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/app"
	"github.com/flyballdev/flyball/internal/service"
)

// showTime is how long the show may take before it is called a failure.
const showTime = 45 * time.Second

// demoPlans are the two rollouts of the show, as a person would write them.
const demoPlans = `
- flag: ` + goodFlag + `
  environment: production
  treatment: on
  control: off
  steps: [{ppm: 100000, hold: 2s}, {ppm: 500000, hold: 1s}, {ppm: 1000000, hold: 2s}]
  guardrails: [{metric: ` + goodMetric + `, margin: {relative: 0.05}}]
- flag: ` + badFlag + `
  environment: production
  treatment: on
  control: off
  steps: [{ppm: 50000, hold: 2s}, {ppm: 200000, hold: 2s}, {ppm: 500000, hold: 2s}, {ppm: 1000000, hold: 2s}]
  guardrails: [{metric: ` + badMetric + `, margin: {relative: 0.05}}]
  onUnsure: {after: 4s, then: advance}
`

// A demoSummary tells how the show went.
type demoSummary struct {
	Good struct {
		State   flyball.RolloutState `json:"state"`
		Seconds float64              `json:"seconds"`
	} `json:"good"`
	Bad struct {
		State          flyball.RolloutState `json:"state"`
		SecondsToAbort float64              `json:"secondsToAbort"`
		SecondsToSafe  float64              `json:"secondsToSafe"`
		UsersExposed   int                  `json:"usersExposed"`
	} `json:"bad"`
	UsersTotal        int     `json:"usersTotal"`
	Requests          int64   `json:"requests"`
	RequestsPerSecond float64 `json:"requestsPerSecond"`
	Seconds           float64 `json:"seconds"`
	Server            string  `json:"server"`
}

func (p *program) demoCommand() *cobra.Command {
	var listen string
	var leave bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "See the whole loop: a good feature climbs, a bad one is struck down",
		Long: fmt.Sprintf("Starts a real server on a fresh database and a small shop: %d workers, %d customers,\n"+
			"%d requests a second, two features behind flags. One is good and climbs by evidence; the\n"+
			"other starts to fail at its second step and is taken back in seconds.", shopWorkers, shopUsers, shopRate),
		Example: "  flyball demo\n  flyball demo --exit --output json",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return p.demo(c.Context(), listen, leave) },
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "the address to listen on; a free port is taken if it is in use")
	c.Flags().BoolVar(&leave, "exit", false, "end after the show, in place of leaving the server up")
	return c
}

// demo runs the show and takes everything down again, also when ctx ends in
// the middle of it.
func (p *program) demo(ctx context.Context, listen string, leave bool) (err error) {
	dir, err := os.MkdirTemp("", "flyball-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	a, err := startDemoServer(ctx, app.Config{Listen: listen, Data: dir, Log: slog.New(slog.NewTextHandler(p.err, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return interrupted(ctx, err)
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), showTime+stopTime+time.Hour*24*365)
	defer cancel()
	defer func() { err = errors.Join(err, a.Stop(ending)) }()
	p.server, p.token = a.URL, a.AdminToken
	sdk, err := p.stageDemo(ctx)
	if err != nil {
		return interrupted(ctx, err)
	}
	s, err := openShop(ctx, a.URL, sdk)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(ending, stopTime)
		defer cancel()
		err = errors.Join(err, s.close(closing))
	}()
	show := newShow(p, s)
	if err := show.run(ctx); err != nil {
		return interrupted(ctx, err)
	}
	if leave {
		return show.verdict()
	}
	show.whatNext()
	<-ctx.Done()
	return show.verdict()
}

// interrupted tells a person who pressed Ctrl-C that much, and nothing of the
// errors that that makes.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted before the end: server and shop are stopped, and nothing is left behind")
	}
	return err
}

func startDemoServer(ctx context.Context, c app.Config) (*app.App, error) {
	a, err := app.Start(ctx, c)
	if errors.Is(err, syscall.EADDRINUSE) {
		c.Listen = "127.0.0.1:0"
		a, err = app.Start(ctx, c)
	}
	return a, err
}

// stageDemo makes what the show needs, through the same API that everybody
// uses, and returns the token of the shop's workers.
func (p *program) stageDemo(ctx context.Context) (sdk string, err error) {
	const reason = "set the stage"
	expires := time.Now().AddDate(0, 1, 0).Format(time.DateOnly)
	do := func(row string, fields map[string]any) {
		if err == nil {
			fields["reason"] = reason
			_, err = p.call(ctx, operation(row), fields)
		}
	}
	do("create_team", map[string]any{"key": "shop-team", "name": "Shop"})
	do("update_environment", map[string]any{"key": "production", "protected": false}) // who watches alone has nobody to ask
	for _, it := range []struct{ flag, metric, about string }{
		{goodFlag, goodMetric, "Tries a failed payment once more."},
		{badFlag, badMetric, "Ranks search results by a new model."},
	} {
		do("create_metric", map[string]any{"key": it.metric, "type": "rate", "better": "lower", "analysis": "request", "description": "Share of requests that fail."})
		do("create_flag", map[string]any{
			"key": it.flag, "kind": "release", "description": it.about, "owner": "shop-team", "expiresAt": expires,
			"type": "boolean", "variants": map[string]any{"on": true, "off": false}, "safeVariant": "off",
		})
		do("enable_flag", map[string]any{"key": it.flag, "environment": "production"})
	}
	if err != nil {
		return "", err
	}
	made, err := invoke[service.NewToken](ctx, p, "create_token", map[string]any{"kind": "sdk", "name": "shop", "environment": "production", "reason": reason})
	return made.Secret, err
}

// startRollouts sets both plans in motion.
func (p *program) startRollouts(ctx context.Context) error {
	var plans []map[string]any
	if err := fromYAML([]byte(strings.TrimSpace(demoPlans)), &plans); err != nil {
		return err
	}
	for _, plan := range plans {
		plan["reason"] = "ship it"
		if _, err := p.call(ctx, operation("start_rollout"), plan); err != nil {
			return err
		}
	}
	return nil
}

// quietly is where the show's lines go when only its summary is wanted.
func (p *program) stage() io.Writer {
	if p.output == "json" {
		return io.Discard
	}
	return p.out
}

func (s *show) printSummary() error {
	if s.output == "json" {
		return json.NewEncoder(s.out).Encode(s.summary)
	}
	m := s.summary
	fmt.Fprintf(s.stage(), `
%s
  %s  %s after %.1f s, by evidence
  %s  %s %.1f s after its first bad request;
      every worker was safe after %.1f s; %d of %d users ever saw it
  %d requests, %.0f a second, over %.0f s
`, s.paint(bold, "How it went"),
		s.paint(green, "good"), m.Good.State, m.Good.Seconds,
		s.paint(red, "bad "), m.Bad.State, m.Bad.SecondsToAbort, m.Bad.SecondsToSafe, m.Bad.UsersExposed, m.UsersTotal,
		m.Requests, m.RequestsPerSecond, m.Seconds)
	return nil
}

func (s *show) whatNext() {
	fmt.Fprintf(s.stage(), `
The server stays up, and so does the shop. See it at %s, with the token below, or try in another terminal:

  export FLYBALL_SERVER=%s FLYBALL_TOKEN=%s
  flyball flag list
  flyball rollout status %s
  flyball audit list
  flyball flag kill %s -e production --reason 'to see it happen'

Ctrl-C ends everything and leaves nothing behind.
`, s.paint(bold, s.server), s.server, s.token, badFlag, goodFlag)
}

// verdict is what the command exits with.
func (s *show) verdict() error {
	if s.summary.Good.State == flyball.RolloutCompleted && s.summary.Bad.State == flyball.RolloutAborted {
		return nil
	}
	return exit(exitUnsure)
}
