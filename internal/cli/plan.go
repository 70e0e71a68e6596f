package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/api"
)

// addManners gives a command the flags of the ways in which a change is made.
func addManners(f *pflag.FlagSet) {
	for _, m := range api.Manners() {
		f.Bool(kebab(m.Name), false, m.About)
	}
}

// mannerOf returns the query that says in which way a change is to be made.
func mannerOf(f *pflag.FlagSet) url.Values {
	query := url.Values{}
	for _, m := range api.Manners() {
		if yes, err := f.GetBool(kebab(m.Name)); err == nil && yes {
			query.Set(m.Name, "true")
		}
	}
	return query
}

// printPlanned prints what a change would do, or the request that it became.
func (p *program) printPlanned(answer json.RawMessage) error {
	if p.output == "json" {
		return p.printJSON(answer)
	}
	var request flyball.ChangeRequest
	if err := json.Unmarshal(answer, &request); err != nil {
		return err
	}
	if request.ID != "" {
		return p.printRequest(request)
	}
	var plan flyball.Plan
	if err := json.Unmarshal(answer, &plan); err != nil {
		return err
	}
	p.printPlan(plan)
	return nil
}

// printRequest prints a request for approval.
func (p *program) printRequest(r flyball.ChangeRequest) error {
	fmt.Fprintf(p.out, "%s %s, %s by %s: %s\n", p.paint(bold, "change "+r.ID), r.State, r.Operation, r.Proposer.ID, r.Reason)
	p.printPlan(r.Plan)
	for _, a := range r.Approvals {
		fmt.Fprintf(p.out, "approved by %s at %s: %s\n", a.By, a.At.Format(time.RFC3339), a.Reason)
	}
	if r.State == flyball.RequestOpen {
		fmt.Fprintf(p.out, "until %s: flyball change approve %s --reason …, then flyball change apply %s\n", r.ExpiresAt.Format(time.RFC3339), r.ID, r.ID)
	}
	return nil
}

// printPlan prints what a change does, to whom, and who must consent.
func (p *program) printPlan(plan flyball.Plan) {
	if len(plan.Edits) == 0 {
		fmt.Fprintln(p.out, "no difference: everything is so already")
		return
	}
	for _, line := range plan.Difference {
		fmt.Fprintln(p.out, "  "+line)
	}
	risk := string(plan.Risk)
	if plan.Risk == flyball.RiskHigh {
		risk = p.paint(red, risk)
	}
	fmt.Fprintf(p.out, "risk: %s", risk)
	if plan.Retreat {
		fmt.Fprint(p.out, ", a retreat: it waits for nobody")
	}
	if len(plan.Why) > 0 {
		fmt.Fprintf(p.out, " (%s)", strings.Join(plan.Why, "; "))
	}
	fmt.Fprintln(p.out)
	for _, v := range plan.Previews {
		p.printPreview(v)
	}
	if b := plan.Beyond; b != nil {
		fmt.Fprintf(p.out, "%s: %s; %s\n", p.paint(red, "beyond the envelope"), b.Why, b.How)
	}
	switch {
	case plan.Refused != "":
		fmt.Fprintln(p.out, p.paint(red, "refused: "+plan.Refused))
	case plan.Needs.Number > 0:
		fmt.Fprintf(p.out, "needs %d of: %s\n", plan.Needs.Number, grants(plan.Needs.From))
	default:
		fmt.Fprintln(p.out, "needs nobody else")
	}
	fmt.Fprintln(p.out, "digest: "+plan.Digest)
}

func (p *program) printPreview(v flyball.Preview) {
	switch v.Basis {
	case "unused":
		fmt.Fprintf(p.out, "%s: nobody: %s\n", v.Environment, v.Note)
		return
	case "structure":
		fmt.Fprintf(p.out, "%s: at most %.3g %% of users (%s)\n", v.Environment, 100*v.Share.High, v.Note)
	default:
		fmt.Fprintf(p.out, "%s: %s of %s users get something else (%.3g %%, %.3g to %.3g %%); %s gain, %s lose; from %d contexts\n",
			v.Environment, whole(v.Affected), whole(v.Users), 100*v.Share.Value, 100*v.Share.Low, 100*v.Share.High, whole(v.Gain), whole(v.Lose), v.Sample)
	}
	for _, f := range v.Flags {
		for _, m := range f.Moves {
			fmt.Fprintf(p.out, "  %s: %s → %s: %s\n", f.Flag, m.From, m.To, whole(m.Users))
		}
	}
}

func whole(e flyball.Estimate) string {
	return fmt.Sprintf("%.0f (%.0f to %.0f)", e.Value, e.Low, e.High)
}

func grants(all []flyball.Grant) string {
	var texts []string
	for _, g := range all {
		texts = append(texts, fmt.Sprintf("%s of %s in %s", g.Role, orElse(g.Team, "every team"), orElse(g.Environment, "every environment")))
	}
	return strings.Join(texts, " and ")
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// appliedAt is where what is named by the id of a request for approval, or by the
// digest of a plan, is applied.
func appliedAt(name string) string {
	if len(name) == 64 {
		return "/api/v1/plans/" + url.PathEscape(name) + "/apply"
	}
	return "/api/v1/changes/" + url.PathEscape(name) + "/apply"
}

// applyChangeCommand makes a change that was approved.
func (p *program) applyChangeCommand() *cobra.Command {
	var wait waiting
	c := &cobra.Command{
		Use: "apply ID", Short: "Make a change that was approved, or planned",
		Long: "Makes a change that was approved, named by its id; or one that was planned with --dry-run in\nthe last hour, named by its digest, if it is still exactly the same.",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage{fmt.Errorf("\"%s\" takes the change's id\nsee \"%s --help\"", c.CommandPath(), c.CommandPath())}
			}
			return nil
		},
		Example: "  flyball change apply 0f3a9c12d4e5",
	}
	wait.flags(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		answer, err := p.request(c.Context(), http.MethodPost, strings.TrimSuffix(p.server, "/")+appliedAt(args[0]), strings.NewReader("{}"))
		if err != nil {
			return err
		}
		made := p.made
		if p.output == "json" {
			err = p.printJSON(answer)
		} else {
			err = p.printYAML(answer)
		}
		if err != nil {
			return err
		}
		return p.waitForFleet(c.Context(), wait, made)
	}
	return c
}
