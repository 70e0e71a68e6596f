package service

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
)

// plan finds out what the change in hand does, who must consent to it, and
// whether it may be made now at all. Everything is staged and nothing is
// written for good.
func (e *edit) plan() (*flyball.Plan, error) {
	digest, err := e.digest()
	if err != nil {
		return nil, err
	}
	if e.policy, err = policyOf(e.tx); err != nil {
		return nil, err
	}
	p := &flyball.Plan{
		Action: e.change.action, Subject: e.change.subject, Digest: digest, Edits: e.edits, Risk: flyball.RiskNone,
		Beyond: e.beyond, Retreat: e.retreats(), Why: []string{}, Difference: []string{}, Versions: map[string]int64{},
	}
	if started := e.started(); started != nil {
		p.Staged = e.guarded(started) && !e.besides(started)
		if want, lacks := e.policy.Lacks(*started); lacks {
			p.Why = append(p.Why, "it counts as unguarded, for policy asks for the guardrail "+guardrailInWords(want))
		}
	}
	for _, env := range e.altered() {
		p.Versions[env] = e.rulesets[env].version
	}
	if p.Difference, err = difference(e.edits); err != nil {
		return nil, err
	}
	if err := e.assess(p); err != nil {
		return nil, err
	}
	if err := e.weighEasing(p); err != nil {
		return nil, err
	}
	protected, err := e.protected()
	if err != nil {
		return nil, err
	}
	if p.Needs.From, err = e.approvers(protected); err != nil || len(protected) == 0 || p.Retreat {
		return p, err
	}
	judge(p, e.policy, protected, e.at)
	for _, env := range protected {
		if why, err := e.frozenLater(e.policy, env); err != nil {
			return nil, err
		} else if why != "" && p.Risk != flyball.RiskNone {
			p.Refused = orElse(p.Refused, why)
		}
	}
	return p, nil
}

// frozenLater says which rule that the change makes would raise something by itself
// in a freeze: by its beginning, or, if it is safe, by its end.
func (e *edit) frozenLater(policy flyball.Policy, environment string) (why string, err error) {
	for _, edit := range e.edits {
		if edit.Noun != "config" || edit.Environment != environment || edit.After == nil {
			continue
		}
		f, err := e.tx.Flag(edit.Key)
		if err != nil {
			return "", err
		}
		var before, after flyball.FlagConfig
		if err := json.Unmarshal(edit.After, &after); err != nil {
			return "", err
		}
		if edit.Before != nil {
			if err := json.Unmarshal(edit.Before, &before); err != nil {
				return "", err
			}
		}
		for _, r := range after.Rules {
			when := r.NotBefore
			if r.Serve.Variant == f.SafeVariant {
				when = r.NotAfter
			}
			if was, at := before.Rule(r.ID); when == nil || at >= 0 && sameJSON(was, r) {
				continue
			}
			if why := frozen(policy, environment, when.Time); why != "" {
				return fmt.Sprintf("the rule %q would change what users get at %s: %s", r.ID, when.Format(time.RFC3339), why), nil
			}
		}
	}
	return "", nil
}

// judge says what the policy demands of a plan. What nobody can notice passes a
// freeze: it raises nothing.
func judge(p *flyball.Plan, policy flyball.Policy, protected []string, now time.Time) {
	need := policy.Approvals[p.Risk]
	p.Needs.Number = need.Direct
	if p.Staged {
		p.Needs.Number = need.Staged
	}
	if p.Needs.Number < 0 {
		p.Needs.Number = 0
		p.Refused = fmt.Sprintf("a change of %s risk goes out by a rollout with guardrails only (flyball rollout start)", p.Risk)
	}
	for _, env := range protected {
		if why := frozen(policy, env, now); why != "" && p.Risk != flyball.RiskNone {
			p.Refused = why
		}
	}
}

// approvers says what somebody must be to approve the change: an approver for
// every team that it touches, in each protected environment that it alters, or,
// if there is none, in each that it touches at all. What belongs to no team is
// for those who run the installation.
func (e *edit) approvers(protected []string) ([]flyball.Grant, error) {
	concerns, err := e.concerns()
	if err != nil {
		return nil, err
	}
	var all []flyball.Grant
	for _, c := range concerns {
		if c.team == anyone {
			c.team = ""
		}
		if c.environment == anywhere {
			for _, env := range protected {
				all = append(all, flyball.Grant{Role: flyball.RoleApprover, Environment: env, Team: c.team})
			}
			c.environment = ""
		}
		if len(protected) == 0 || slices.Contains(protected, c.environment) {
			all = append(all, flyball.Grant{Role: flyball.RoleApprover, Environment: c.environment, Team: c.team})
		}
	}
	if len(all) == 0 {
		all = append(all, flyball.Installation...)
	}
	return all, nil
}

// protected lists the protected environments whose rulesets the change alters, or
// in which later changes count less.
func (e *edit) protected() ([]string, error) {
	names, err := e.easedIn()
	if err != nil {
		return nil, err
	}
	for _, name := range e.altered() {
		env, err := e.tx.Environment(name)
		if err != nil {
			return nil, err
		}
		if env.Protected && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// consented says whether the change may be made now: it needs nobody's consent,
// or has it, or the glass is broken.
func (e *edit) consented(p *flyball.Plan, m *Manner) error {
	if p.Refused == "" && p.Needs.Number == 0 && m.Request == "" {
		return nil
	}
	if m.BreakGlass {
		if err := e.mayBreakGlass(); err != nil {
			return err
		}
		e.glass = true
		return e.openReview(p)
	}
	if p.Refused != "" {
		return flyball.Errorf(flyball.Forbidden, "%s. An admin can break the glass: --break-glass", p.Refused).With("risk", p.Risk).With("digest", p.Digest)
	}
	if m.Request != "" {
		return e.use(m.Request, p)
	}
	return flyball.Errorf(flyball.Forbidden, "%s of %s is of %s risk (%s) and needs %s: ask for it with --propose, or see it first with --dry-run",
		p.Action, p.Subject, p.Risk, orElse(strings.Join(p.Why, "; "), "by policy"), people(p.Needs.Number)).
		With("needs", p.Needs).With("risk", p.Risk).With("why", p.Why).With("digest", p.Digest)
}

// mayBreakGlass says whether the principal may do what others ought to approve.
func (e *edit) mayBreakGlass() error {
	if e.principal.ID.Kind() == "user" && e.principal.Kind != flyball.TokenAgent && e.principal.runs() {
		return nil
	}
	return flyball.Errorf(flyball.Forbidden, "only a person who runs the installation may break the glass, not %s", e.principal.ID)
}

func people(n int) string {
	if n == 1 {
		return "one approval"
	}
	return fmt.Sprintf("%d approvals", n)
}

// openReview notes that a change was made though others ought to have approved
// it, so that somebody else looks at it afterwards: a request that is applied
// already and stays open until it is reviewed.
func (e *edit) openReview(p *flyball.Plan) error {
	r := flyball.ChangeRequest{
		ID: newID(6), Operation: e.change.action, Flag: e.change.flag, Plan: *p, Proposer: e.principal.Actor, Reason: e.change.reason,
		CreatedAt: e.at, ExpiresAt: e.at, State: flyball.RequestReview, AppliedBy: e.principal.ID, AppliedAt: &flyball.Time{Time: e.at},
	}
	e.request = &r
	return e.tx.InsertChangeRequest(r)
}
