package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/api"
	"github.com/flyballdev/flyball/internal/service"
)

// addManners gives a command the flags of the ways in which a change is made.
func addManners(f *pflag.FlagSet, o api.Operation) {
	for _, m := range o.Manners() {
		f.Bool(kebab(m.Name), false, m.About)
	}
	if !o.Changes() {
		return
	}
	f.String(kebab(api.PreviewBy.Name), "", api.PreviewBy.About)
}

// mannerOf returns the query that says in which way a change is to be made.
func mannerOf(f *pflag.FlagSet, o api.Operation) url.Values {
	query := url.Values{}
	for _, m := range o.Manners() {
		if yes, err := f.GetBool(kebab(m.Name)); err == nil && yes {
			query.Set(m.Name, "true")
		}
	}
	if by, err := f.GetString(kebab(api.PreviewBy.Name)); err == nil && by != "" {
		query.Set(api.PreviewBy.Name, by)
	}
	return query
}

// dryRun is the query of a change that is not to be made.
var dryRun = url.Values{"dryRun": {"true"}}

// plans says that the command at hand changes nothing.
func (p *program) plans() bool { return p.manner.Has("dryRun") || p.manner.Has("propose") }

// tellBroken says, loudly, that the glass was broken.
func (p *program) tellBroken() {
	if p.review != "" {
		fmt.Fprintf(p.err, "%s %s\n", p.paint(red, "GLASS BROKEN:"), "this was done though others ought to have approved it; somebody else must look at it: flyball change review "+p.review)
	}
}

// printPlanned prints what a change would do, or the request that it became.
func (p *program) printPlanned(answer json.RawMessage) error {
	if p.output == "json" {
		return p.printJSON(answer)
	}
	answer = plainJSON(answer)
	var request flyball.ChangeRequest
	if err := json.Unmarshal(answer, &request); err != nil {
		return err
	}
	if request.ID != "" {
		p.printRequest(request)
		return nil
	}
	var plan flyball.Plan
	if err := json.Unmarshal(answer, &plan); err != nil {
		return err
	}
	p.printPlan(plan)
	if p.manner.Has("dryRun") && len(plan.Edits) > 0 {
		fmt.Fprintln(p.out, p.paint(faint, "nothing was changed: this was a dry run"))
	}
	return nil
}

// printChanges prints requests for approval as a table.
func (p *program) printChanges(answer json.RawMessage) error {
	var list service.Changes
	if err := json.Unmarshal(answer, &list); err != nil {
		return err
	}
	rows := []any{}
	for _, r := range list.Changes {
		until := r.ExpiresAt.Format(time.RFC3339)
		if r.State == flyball.RequestReview {
			until = ""
		}
		rows = append(rows, map[string]any{
			"id": r.ID, "state": string(r.State), "change": r.Plan.Action + " " + r.Plan.Subject, "risk": p.risk(r.Plan.Risk),
			"approvals": fmt.Sprintf("%d of %d", len(r.Approvals), r.Plan.Needs.Number), "by": r.Proposer.ID,
			"until": until, "reason": r.Reason,
		})
	}
	p.printTable(rows, []string{"id", "state", "change", "risk", "approvals", "by", "until", "reason"})
	for _, r := range list.Changes {
		if r.State == flyball.RequestReview {
			fmt.Fprintf(p.out, "%s %s broke the glass; somebody else must look at it: flyball change review %s\n", p.paint(red, r.ID+":"), r.Proposer.ID, r.ID)
		}
	}
	return nil
}

// printRequest prints a request for approval, and what is to be done with it.
func (p *program) printRequest(r flyball.ChangeRequest) {
	fmt.Fprintf(p.out, "%s  %s\n", p.paint(bold, "change "+r.ID), p.cell("state", string(r.State)))
	fmt.Fprintf(p.out, "%s of %s, proposed by %s: %s\n", r.Plan.Action, r.Plan.Subject, r.Proposer.ID, r.Reason)
	p.printPlan(r.Plan)
	for _, a := range r.Approvals {
		fmt.Fprintf(p.out, "%s by %s, %s: %s\n", p.paint(green, "approved"), a.By, local(a.At), a.Reason)
	}
	missing := r.Plan.Needs.Number - len(r.Approvals)
	switch {
	case r.State == flyball.RequestReview:
		fmt.Fprintf(p.out, "%s by breaking the glass, %s\nsomebody else must look at it:  flyball change review %s --reason …\n", p.paint(red, "made"), local(r.CreatedAt), r.ID)
	case r.State == flyball.RequestRejected:
		fmt.Fprintf(p.out, "%s by %s: %s\n", p.paint(red, "rejected"), r.RejectedBy, r.RejectedAs)
	case r.State == flyball.RequestApplied && r.AppliedAt != nil:
		fmt.Fprintln(p.out, strings.TrimSuffix(fmt.Sprintf("%s by %s, %s: %s", p.paint(green, "applied"), r.AppliedBy, local(r.AppliedAt.Time), r.AppliedAs), ": "))
	case r.State == flyball.RequestOpen && missing > 0:
		fmt.Fprintf(p.out, "until %s, somebody else approves it:  flyball change approve %s --reason …\n", local(r.ExpiresAt), r.ID)
	case r.State == flyball.RequestOpen && r.Proposer.OnBehalfOf != "":
		fmt.Fprintf(p.out, "until %s, a person makes it:  flyball change apply %s\n", local(r.ExpiresAt), r.ID)
	case r.State == flyball.RequestOpen:
		fmt.Fprintf(p.out, "until %s, make it:  flyball change apply %s\n", local(r.ExpiresAt), r.ID)
	}
}

func local(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// printPlan prints what a change does, to whom, and who must consent.
func (p *program) printPlan(plan flyball.Plan) {
	if plan.Digest == "" {
		fmt.Fprintln(p.out, p.paint(faint, "no difference: everything is so already"))
		return
	}
	for _, line := range plan.Difference {
		fmt.Fprintln(p.out, "  "+line)
	}
	p.printJudgement(plan)
}

// printJudgement prints to whom a change does something, and who must consent.
func (p *program) printJudgement(plan flyball.Plan) {
	for _, v := range plan.Previews {
		p.printPreview(v)
	}
	line := p.paint(faint, "risk:  ") + p.risk(plan.Risk)
	if len(plan.Why) > 0 {
		line += " (" + strings.Join(plan.Why, "; ") + ")"
	}
	fmt.Fprintln(p.out, line)
	if b := plan.Beyond; b != nil {
		fmt.Fprintf(p.out, "%s: %s; %s\n", p.paint(red, "beyond the envelope"), b.Why, b.How)
	}
	switch needs := plan.Needs; {
	case plan.Refused != "":
		fmt.Fprintln(p.out, p.paint(red, "refused: "+plan.Refused))
	case plan.Retreat:
		fmt.Fprintln(p.out, p.paint(faint, "needs: ")+"nobody: a retreat never waits")
	case needs.Number == 0:
		fmt.Fprintln(p.out, p.paint(faint, "needs: ")+"nobody else")
	case needs.Number == 1:
		fmt.Fprintln(p.out, p.paint(faint, "needs: ")+"one approval, from an "+grants(needs.From))
	default:
		fmt.Fprintf(p.out, "%s%d approvals, each from an %s\n", p.paint(faint, "needs: "), needs.Number, grants(needs.From))
	}
	fmt.Fprintln(p.out, p.paint(faint, "digest: "+plan.Digest))
}

// risk paints a risk.
func (p *program) risk(r flyball.Risk) string {
	switch r {
	case flyball.RiskHigh:
		return p.paint(red, string(r))
	case flyball.RiskMedium:
		return p.paint(yellow, string(r))
	}
	return string(r)
}

func (p *program) printPreview(v flyball.Preview) {
	switch v.Basis {
	case "unused":
		fmt.Fprintf(p.out, "%s: nobody: %s\n", v.Environment, v.Note)
		return
	case "structure":
		fmt.Fprintf(p.out, "%s: at most %.3g %% of users\n", v.Environment, 100*v.Share.High)
	default:
		fmt.Fprintf(p.out, "%s: %s of %s users get something else (%.3g %%, %.3g to %.3g %%); %s gain, %s lose\n",
			v.Environment, whole(v.Affected), whole(v.Users), 100*v.Share.Value, 100*v.Share.Low, 100*v.Share.High, whole(v.Gain), whole(v.Lose))
	}
	if v.Oldest != nil && v.Newest != nil {
		fmt.Fprintf(p.out, "  from %d contexts (worth %.0f), seen %s to %s\n", v.Sample, v.Effective, v.Oldest.Format(time.RFC3339), v.Newest.Format(time.RFC3339))
	}
	if v.Note != "" {
		fmt.Fprintf(p.out, "  note: %s\n", v.Note)
	}
	for _, f := range v.Flags {
		p.printImpact(f, v.By)
	}
	if v.Further > 0 {
		fmt.Fprintf(p.out, "  and %d flags more\n", v.Further)
	}
}

func (p *program) printImpact(f flyball.FlagImpact, by string) {
	what := f.Flag
	if !f.Edited {
		what += ", which depends on it"
	}
	if f.Basis == "structure" {
		fmt.Fprintf(p.out, "  %s: at most %.3g %%\n", what, 100*f.Share.High)
	} else if f.Share.High == 0 {
		fmt.Fprintf(p.out, "  %s: nobody, by its rules\n", what)
	} else if len(f.Moves) == 0 {
		fmt.Fprintf(p.out, "  %s: none of those contexts\n", what)
	}
	for _, m := range f.Moves {
		to := cmp.Or(m.To, "nothing")
		if m.From == m.To {
			to += " with its new value"
		}
		fmt.Fprintf(p.out, "  %s: %s → %s: %s\n", what, cmp.Or(m.From, "nothing"), to, whole(m.Users))
	}
	for _, name := range slices.Sorted(maps.Keys(f.By)) {
		fmt.Fprintf(p.out, "    %s %s: %s\n", by, name, whole(f.By[name]))
	}
	for _, x := range f.Examples {
		attributes, _ := json.Marshal(x.Attributes)
		fmt.Fprintf(p.out, "    such as unit #%s %s: %s → %s\n", x.Unit, attributes, cmp.Or(x.From, "nothing"), cmp.Or(x.To, "nothing"))
	}
}

func whole(e flyball.Estimate) string {
	return fmt.Sprintf("%.0f (%.0f to %.0f)", e.Value, e.Low, e.High)
}

func grants(all []flyball.Grant) string {
	var texts []string
	for _, g := range all {
		text := string(g.Role)
		if g.Team != "" {
			text += " for " + g.Team
		}
		if g.Environment != "" {
			text += " in " + g.Environment
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " and ")
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
		Example:           "  flyball change apply 0f3a9c12d4e5",
		ValidArgsFunction: p.completeKeys("list_changes", "changes"),
	}
	wait.flags(c.Flags())
	dry := c.Flags().Bool("dry-run", false, "change nothing; tell the plan, if it can be applied")
	reason := c.Flags().StringP("reason", "r", "", "what you say to it, if anything; why it is made was said when it was proposed")
	c.RunE = func(c *cobra.Command, args []string) error {
		target := strings.TrimSuffix(p.server, "/") + appliedAt(args[0])
		if *dry {
			p.manner = dryRun
			target += "?" + dryRun.Encode()
		}
		said := map[string]string{}
		if *reason != "" {
			said["reason"] = *reason
		}
		body, err := json.Marshal(said)
		if err != nil {
			return err
		}
		answer, err := p.request(c.Context(), http.MethodPost, target, bytes.NewReader(body))
		if err != nil {
			return err
		}
		if *dry {
			return p.printPlanned(answer)
		}
		made := p.made
		if p.output == "json" {
			err = p.printJSON(answer)
		} else {
			err = p.printYAML(plainJSON(answer))
		}
		if err != nil {
			return err
		}
		return p.waitForFleet(c.Context(), wait, made)
	}
	return c
}
