package cli

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/app"
)

// stopTime is how long a server that is told to stop may take.
const stopTime = 10 * time.Second

func (p *program) serveCommand() *cobra.Command {
	var c app.Config
	var level string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Start a server",
		Long: "Starts a server: API, OpenFeature remote evaluation, SDK streams, judge, controller\n" +
			"and dashboard, on an embedded database or on PostgreSQL.\n" +
			"Each setting is also an environment variable: --listen is FLYBALL_LISTEN.\n" +
			"FLYBALL_SECRET_KEY seals the secrets of webhooks (32 bytes in base64); without it, a key\n" +
			"is made in the data folder. Servers that share a database need the same one.\n" +
			"FLYBALL_OIDC_CLIENT_SECRET is what the provider of OpenID Connect knows this server by.\n" +
			"The first start prints an admin token and a link for the first person's account on\n" +
			"standard error, once.",
		Example: "  flyball serve\n  flyball serve --listen 0.0.0.0:8080 --data /var/lib/flyball\n  flyball serve --database postgres://flyball@db/flyball",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var l slog.Level
			if err := l.UnmarshalText([]byte(level)); err != nil {
				return usage{fmt.Errorf("--log-level: %q is none of debug, info, warn, error", level)}
			}
			c.SecretKey = p.env("FLYBALL_SECRET_KEY") // no flag: other users of the machine see those
			c.OIDC.Secret = p.env("FLYBALL_OIDC_CLIENT_SECRET")
			c.Log = slog.New(slog.NewTextHandler(p.err, &slog.HandlerOptions{Level: l}))
			slog.SetDefault(c.Log)
			return p.serve(cmd.Context(), c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Listen, "listen", "127.0.0.1:8080", "the address to listen on")
	f.StringVar(&c.FlagdListen, "flagd-listen", "", "an address for flagd's in-process providers (gRPC), such as 127.0.0.1:8015; none by default")
	f.StringVar(&c.Data, "data", "./flyball-data", "the folder of the embedded database")
	f.StringVar(&c.Database, "database", "", "a PostgreSQL database to use in its place, postgres://…")
	f.BoolVar(&c.WebhookLocal, "webhook-local", false, "allow webhooks at private addresses and on this machine")
	f.StringVar(&c.PrometheusURL, "prometheus-url", "", "the Prometheus that is asked for guardrails of type stream, such as http://prometheus:9090")
	f.StringVar(&c.PublicURL, "public-url", "", "where people's browsers find this server, such as https://flyball.example.com; needed behind a proxy")
	f.StringVar(&c.OIDC.Issuer, "oidc-issuer", "", "the provider of OpenID Connect by which people sign in, such as https://accounts.example.com")
	f.StringVar(&c.OIDC.ClientID, "oidc-client-id", "", "what this server is called there")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	p.fromEnvironment(f)
	return cmd
}

// fromEnvironment gives flags the values of the variables of the same name.
func (p *program) fromEnvironment(f *pflag.FlagSet) {
	f.VisitAll(func(flag *pflag.Flag) {
		name := "FLYBALL_" + upperSnake(flag.Name)
		if v := p.env(name); v != "" && flag.Value.Set(v) == nil {
			flag.DefValue = v
		}
		flag.Usage += " (" + name + ")"
	})
}

// serve runs a server until ctx ends.
func (p *program) serve(ctx context.Context, c app.Config) error {
	start := time.Now()
	a, err := app.Start(ctx, c)
	if err != nil {
		return err
	}
	if a.AdminToken != "" {
		fmt.Fprintln(p.err, "admin token:", a.AdminToken)
	}
	if a.SetUpLink != "" {
		fmt.Fprintln(p.err, "set-up link, for 24 hours:", a.SetUpLink)
	}
	debug.FreeOSMemory() // the garbage of reading and compiling rulesets
	c.Log.Info("flyball is ready", "version", flyball.ProgramVersion, "url", a.URL, "after", time.Since(start).Round(time.Millisecond))
	if a.FlagdAddress != "" {
		c.Log.Info("flagd's programs are served too", "address", a.FlagdAddress)
	}
	var failed error
	select {
	case <-ctx.Done():
		c.Log.Info("stopping")
	case failed = <-a.Failed():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := a.Stop(stopping); err != nil {
		return err
	}
	return failed
}
