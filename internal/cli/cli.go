// Package cli is the flyball command: a server, a demo, a backtest, and one
// command for each capability of the API.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/api"
)

// The exit codes.
const (
	exitDone     = 0
	exitError    = 1
	exitUsage    = 2
	exitRefused  = 3 // by policy
	exitBreached = 4
	exitUnsure   = 5 // also unconverged, or timed out
)

// An exit is an error that only carries an exit code: all there is to say has
// been said.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// A usage is an error in how a command was called.
type usage struct{ err error }

func (u usage) Error() string { return u.err.Error() }
func (u usage) Unwrap() error { return u.err }

// A program is what a command works with: its streams and its common flags.
type program struct {
	in       io.Reader
	out, err io.Writer
	server   string
	token    string
	output   string
	noColor  bool
	env      func(string) string
	made     map[string]int64 // the ruleset versions that the last change made, by environment
	review   string           // the id of the review that the last change opened by breaking the glass
	manner   url.Values       // how the command at hand is to change things
}

// Run runs the command line args and returns its exit code.
func Run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	p := &program{in: in, out: out, err: errOut, env: os.Getenv}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	return p.exitCode(root.ExecuteContext(ctx))
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "flyball",
		Short:         "Feature flags and progressive delivery, judged in seconds",
		Long:          "Flyball turns a feature on for some users for some time, measures what that does,\nand raises it, holds it or takes it back by itself.\n\nStart a server with \"flyball serve\", or see the whole loop with \"flyball demo\".",
		Example:       "  flyball serve\n  flyball demo\n  flyball flag list\n  flyball rollout watch payments.checkout.new-flow",
		Version:       flyball.ProgramVersion,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage{fmt.Errorf("%w\nsee \"%s --help\"", err, c.CommandPath())}
	})
	f := root.PersistentFlags()
	f.StringVar(&p.server, "server", p.setting("FLYBALL_SERVER", "http://127.0.0.1:8080"), "the server's address (FLYBALL_SERVER)")
	f.StringVar(&p.token, "token", "", "the token to use (FLYBALL_TOKEN)")
	f.StringVarP(&p.output, "output", "o", "table", "how to answer: table or json")
	f.BoolVar(&p.noColor, "no-color", p.env("NO_COLOR") != "", "no colour (NO_COLOR)")
	root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if p.output != "table" && p.output != "json" {
			return usage{fmt.Errorf("--output is table or json, not %q", p.output)}
		}
		if p.token == "" {
			p.token = p.env("FLYBALL_TOKEN")
		}
		return nil
	}
	for _, o := range api.Operations() {
		if o.Command != "" {
			p.addRow(root, o)
		}
	}
	noun(root, "rollout").AddCommand(p.watchCommand(), p.awaitCommand())
	noun(root, "flag").AddCommand(p.exportFlagdCommand())
	noun(root, "audit").AddCommand(p.verifyAuditCommand(), p.exportAuditCommand())
	change := noun(root, "change")
	change.AddCommand(p.applyChangeCommand())
	p.addBetween(noun(change, "list"))
	root.AddCommand(p.serveCommand(), p.demoCommand(), p.backtestCommand(), p.applyCommand(), p.exportCommand(), p.scanCommand(), p.mcpCommand(), p.openAPICommand())
	return root
}

// openAPICommand prints the API's document, of which the dashboard's types are
// made.
func (p *program) openAPICommand() *cobra.Command {
	return &cobra.Command{
		Use: "openapi", Hidden: true, Short: "Print the OpenAPI document that a server of this version has", Example: "  flyball openapi", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			body, err := api.OpenAPI()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.out, "%s\n", body)
			return err
		},
	}
}

func (p *program) setting(name, otherwise string) string {
	if v := p.env(name); v != "" {
		return v
	}
	return otherwise
}

// nouns tell what the commands are about.
var nouns = map[string]string{
	"flag": "Create flags, switch them, and see what they serve", "rule": "Say who gets what",
	"segment": "Name sets of users", "metric": "Say what is measured", "rollout": "Raise a feature step by step, judged by its metrics",
	"audit": "See who changed what, when and why, and prove it", "token": "Make and revoke tokens", "environment": "Manage environments, and see their fleets",
	"agents": "See what agents may do, and stop them all", "change": "See what a change does, propose, approve and apply it", "policy": "Say what changes need in protected environments",
	"team": "Manage the teams that own flags", "user": "Manage people's accounts and what they may do", "webhook": "Tell other programs what happens",
}

// noun returns the command that the commands about a noun stand under.
func noun(root *cobra.Command, name string) *cobra.Command {
	for _, c := range root.Commands() {
		if c.Name() == name {
			return c
		}
	}
	c := &cobra.Command{Use: name, Short: nouns[name], RunE: func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage{fmt.Errorf("there is no command \"%s %s\"\nsee \"%s --help\"", c.CommandPath(), args[0], c.CommandPath())}
		}
		return c.Help()
	}}
	root.AddCommand(c)
	return c
}

// exitCode tells of an error, once, and returns the code that stands for it.
func (p *program) exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	if code, ok := errors.AsType[exit](err); ok {
		return int(code)
	}
	code := exitError
	if _, ok := errors.AsType[usage](err); ok || strings.HasPrefix(err.Error(), "unknown command") {
		code = exitUsage
	}
	if problem, ok := errors.AsType[*api.Problem](err); ok {
		if problem.Code == flyball.Forbidden {
			code = exitRefused
		}
		p.tellProblem(problem)
		return code
	}
	fmt.Fprintln(p.err, p.paint(red, "error:"), err)
	return code
}
