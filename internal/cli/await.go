package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/flyballdev/flyball/internal/api"
	"github.com/flyballdev/flyball/internal/service"
)

// An awaiting is what is waited for, and for how long.
type awaiting struct {
	id      string
	what    string
	step    int // -1 is left to the server
	timeout time.Duration
}

func (p *program) awaitCommand() *cobra.Command {
	a := awaiting{}
	c := &cobra.Command{
		Use:   "await ID",
		Short: "Wait until a rollout has a verdict, reaches a step or ends, and say which by the exit code",
		Long: "Waits for a rollout, named by its id or its flag's key, and prints the evidence.\n\n" +
			"  --for verdict  the step in force is shown to be healthy, or the rollout breached (the default)\n" +
			"  --for step     the next step, or the one that --step names, is reached\n" +
			"  --for end      the rollout has ended\n\n" +
			"Exits with 0 if it is healthy, has reached the step or completed; with 4 if it is breached, was\n" +
			"aborted or stepped back; with 5 if it is unsure, was stopped, or the time ran out.\n" +
			"A server that is restarted meanwhile is waited for.",
		Example:           "  flyball rollout await payments.checkout.new-flow --timeout 30m\n  flyball rollout await payments.checkout.new-flow --for end --timeout 6h -o json",
		Args:              oneID,
		ValidArgsFunction: p.completeKeys("list_rollouts", "rollouts"),
		RunE: func(c *cobra.Command, args []string) error {
			a.id = args[0]
			if a.timeout <= 0 {
				return usage{errors.New("--timeout must be above 0")}
			}
			if !c.Flags().Changed("step") {
				a.step = -1
			}
			return p.await(c.Context(), a)
		},
	}
	f := c.Flags()
	f.StringVar(&a.what, "for", "verdict", "what to wait for: verdict, step or end")
	f.IntVar(&a.step, "step", 0, "the step to be judged or reached, counted from 0; one beyond the last is completion")
	f.DurationVar(&a.timeout, "timeout", 30*time.Minute, "how long to wait at most")
	c.RegisterFlagCompletionFunc("for", cobra.FixedCompletions([]string{"verdict", "step", "end"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// How long one request waits, how much sooner than our own time is out it must
// answer, and how long is waited before the next one if it came back too soon.
const (
	pollTime   = 20 * time.Second
	pollMargin = 300 * time.Millisecond
	pollPause  = 500 * time.Millisecond
)

// await asks again and again until there is an answer or the time is out. Once
// the server has answered, it may be away for a while.
func (p *program) await(ctx context.Context, a awaiting) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	fields := map[string]any{"id": a.id, "for": a.what}
	if a.step >= 0 {
		fields["step"] = a.step
	}
	var last service.Awaited
	var answer json.RawMessage
	for {
		asked := time.Now()
		wait := time.Millisecond // the first request only looks, and learns which rollout and which step are meant
		if answer != nil {
			wait = max(pollMargin, min(pollTime, time.Until(deadline)-pollMargin)).Round(time.Millisecond)
		}
		fields["timeout"] = wait.String()
		found, err := p.call(ctx, operation("await_rollout"), fields)
		switch {
		case err == nil:
			last = service.Awaited{} // what is not told any more is not so any more
			if err := json.Unmarshal(found, &last); err != nil {
				return err
			}
			answer = found
			fields["id"], fields["step"] = last.Rollout.ID, last.Step
		case ctx.Err() != nil:
		case answer == nil || !passing(err):
			return err
		}
		if last.Done || ctx.Err() != nil || time.Until(deadline) <= pollMargin {
			break
		}
		if pause := pollPause - time.Since(asked); pause > 0 && wait > time.Millisecond {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
	if answer == nil {
		fmt.Fprintln(p.err, p.paint(yellow, "the time ran out before the server answered"))
		return exit(exitUnsure)
	}
	return p.tellAwaited(last, answer)
}

// passing says whether an error may be over when the server is back: it could
// not be reached, or said that it is busy or away.
func passing(err error) bool {
	problem, ok := errors.AsType[*api.Problem](err)
	return !ok || problem.Status == 429 || problem.Status >= 500
}

// tellAwaited prints what came, and exits with what it means.
func (p *program) tellAwaited(a service.Awaited, answer json.RawMessage) error {
	if p.output == "json" {
		if err := p.printJSON(answer); err != nil {
			return err
		}
	} else {
		body, err := json.Marshal(a.Rollout)
		if err != nil {
			return err
		}
		if err := p.printRollout(body); err != nil {
			return err
		}
		outcome := a.Outcome
		if !a.Done {
			outcome = "the time ran out: " + outcome
		}
		fmt.Fprintf(p.out, "%s  %s\n", p.paint(bold, outcome), a.Why)
	}
	switch a.Outcome {
	case "healthy", "reached", "completed":
		if a.Done {
			return nil
		}
		return exit(exitUnsure)
	case "breached", "aborted", "steppedBack":
		return exit(exitBreached)
	}
	return exit(exitUnsure)
}
