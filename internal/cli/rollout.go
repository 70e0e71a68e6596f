package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// printRollout tells where a rollout stands, and what the judge knows of it.
func (p *program) printRollout(answer json.RawMessage) error {
	var v service.RolloutView
	if err := json.Unmarshal(answer, &v); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "%s  %s → %s in %s  (%s)\n", p.paint(bold, v.Flag), v.Control, v.Treatment, v.Environment, v.ID)
	fmt.Fprintf(p.out, "%s  %s", p.cell("state", string(v.State)), ago(v.Since))
	if v.Why != "" {
		fmt.Fprintf(p.out, "  %s", v.Why)
	}
	fmt.Fprintln(p.out)
	fmt.Fprintln(p.out, p.ladder(v.Rollout))
	if v.LeaseUntil != nil && v.State.Live() {
		fmt.Fprintf(p.out, "lease until %s\n", v.LeaseUntil.Local().Format(time.DateTime))
	}
	if v.Evidence != nil {
		p.printEvidence(*v.Evidence, false)
	}
	return nil
}

func ago(t time.Time) string { return time.Since(t).Round(time.Second).String() + " ago" }

// ladder draws the steps, with the one in force marked.
func (p *program) ladder(r flyball.Rollout) string {
	var parts []string
	for i, s := range r.Steps {
		label := share(s.PPM)
		switch {
		case i == r.At && r.State.Live():
			label = p.paint(bold, "["+label+"]")
		case i > r.At || r.State == flyball.RolloutAborted:
			label = p.paint(faint, label)
		default:
			label = p.paint(green, label)
		}
		parts = append(parts, label)
	}
	return strings.Join(parts, " → ")
}

func (p *program) verdict(v flyball.Verdict) string {
	switch v {
	case flyball.Healthy:
		return p.paint(green, string(v))
	case flyball.Breached:
		return p.paint(red, string(v))
	}
	return p.paint(yellow, string(v))
}

func number(v *float64) string {
	if v == nil || math.IsNaN(*v) {
		return "–"
	}
	return fmt.Sprintf("%.4g", *v)
}

func (p *program) watchCommand() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "watch ID",
		Short: "Follow a rollout until it ends",
		Long: "Prints each change of a rollout, named by its id or its flag's key, until it ends.\n" +
			"Exits with 0 if it completed, 4 if it was aborted, and 5 if it was stopped or the time ran out.",
		Example:           "  flyball rollout watch payments.checkout.new-flow\n  flyball rollout watch payments.checkout.new-flow --timeout 10m -o json",
		Args:              oneID,
		ValidArgsFunction: p.completeKeys("list_rollouts", "rollouts"),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
			}
			return p.watch(ctx, args[0])
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait at most (default: until it ends)")
	return c
}

func oneID(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage{fmt.Errorf("\"%s\" takes ID\nsee \"%s --help\"", c.CommandPath(), c.CommandPath())}
	}
	return nil
}

// watch prints a line each time a rollout or its verdict changes.
func (p *program) watch(ctx context.Context, id string) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		v, err := invoke[service.RolloutView](ctx, p, "get_rollout", map[string]any{"id": id})
		if err != nil && ctx.Err() == nil {
			return err
		}
		if ctx.Err() != nil {
			fmt.Fprintln(p.err, p.paint(yellow, "the time ran out; the rollout goes on"))
			return exit(exitUnsure)
		}
		id = v.ID
		if line := p.watchLine(v); line != last {
			last = line
			if p.output == "json" {
				body, _ := json.Marshal(v)
				fmt.Fprintln(p.out, string(body))
			} else {
				fmt.Fprintln(p.out, clock(v), line)
			}
		}
		switch v.State {
		case flyball.RolloutCompleted:
			return nil
		case flyball.RolloutAborted:
			return exit(exitBreached)
		case flyball.RolloutStopped:
			return exit(exitUnsure)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// clock is when a rollout is seen, or when it ended.
func clock(v service.RolloutView) string {
	if v.EndedAt != nil {
		return v.EndedAt.Local().Format(time.DateTime)
	}
	return time.Now().Format(time.TimeOnly)
}

func (p *program) watchLine(v service.RolloutView) string {
	line := fmt.Sprintf("%-9s %s", p.cell("state", string(v.State)), p.ladder(v.Rollout))
	if v.Evidence != nil && v.State.Live() {
		line += "  " + p.verdict(v.Evidence.Verdict)
	}
	if v.Why != "" {
		line += "  " + plain(v.Why)
	}
	return line
}
