package service

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

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
	p := &flyball.Plan{
		Beyond: e.beyond, Action: e.change.action, Subject: e.change.subject, Digest: digest, Edits: e.edits, Risk: flyball.RiskNone,
		Retreat: e.retreats(), Staged: e.stagedPlan() != nil, Why: []string{}, Difference: []string{},
	}
	if p.Difference, err = difference(e.edits); err != nil {
		return nil, err
	}
	if err := e.assess(p); err != nil {
		return nil, err
	}
	protected, err := e.protected()
	if err != nil || len(protected) == 0 || p.Retreat {
		return p, err
	}
	policy, err := policyOf(e.tx)
	if err != nil {
		return nil, err
	}
	return p, e.judge(p, policy, protected)
}

// judge says what the policy demands of a plan.
func (e *edit) judge(p *flyball.Plan, policy flyball.Policy, protected []string) error {
	if p.Risk == flyball.RiskNone {
		return nil
	}
	for _, env := range protected {
		if f, frozen := policy.Frozen(env, e.at); frozen {
			p.Refused = fmt.Sprintf("%s is frozen until %s: %s", env, f.To.Format("2006-01-02 15:04 MST"), f.Reason)
		}
	}
	need := policy.Approvals[p.Risk]
	p.Needs.Number = need.Direct
	if p.Staged {
		p.Needs.Number = need.Staged
	}
	if p.Needs.Number < 0 {
		p.Needs.Number = 0
		p.Refused = fmt.Sprintf("a change of %s risk goes out by a rollout with guardrails only: flyball rollout start", p.Risk)
	}
	if p.Needs.Number == 0 {
		return nil
	}
	concerns, err := e.concerns()
	if err != nil {
		return err
	}
	for _, c := range concerns {
		if slices.Contains(protected, c.environment) {
			p.Needs.From = append(p.Needs.From, flyball.Grant{Role: flyball.RoleApprover, Environment: c.environment, Team: c.team})
		}
	}
	return nil
}

// protected lists the protected environments whose rulesets the change alters.
func (e *edit) protected() ([]string, error) {
	var names []string
	for _, name := range e.altered() {
		env, err := e.tx.Environment(name)
		if err != nil {
			return nil, err
		}
		if env.Protected {
			names = append(names, name)
		}
	}
	return names, nil
}

// digest stands for the exact change: its action and every edit, before and
// after. What differs only because time has passed, the moment and new ids, is
// left out, so that the same change made again has the same digest; whoever
// edits any of the nouns in between makes it another.
func (e *edit) digest() (string, error) {
	h := sha256.New()
	write := func(parts ...[]byte) {
		for _, p := range parts {
			fmt.Fprintf(h, "%d:", len(p))
			h.Write(p)
		}
	}
	write([]byte(e.change.action), []byte(e.change.subject))
	for _, edit := range e.edits {
		before, err := timeless(edit.Noun, edit.Before)
		if err != nil {
			return "", err
		}
		after, err := timeless(edit.Noun, edit.After)
		if err != nil {
			return "", err
		}
		key := edit.Key
		if edit.Noun == "rollout" && edit.Before == nil {
			key = "" // made up each time
		}
		write([]byte(edit.Noun), []byte(key), []byte(edit.Environment), before, after)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// timeless returns a noun without what depends on when it was made.
func timeless(noun string, body json.RawMessage) ([]byte, error) {
	if len(body) == 0 {
		return nil, nil
	}
	switch noun {
	case "config":
		var c flyball.FlagConfig
		if err := json.Unmarshal(body, &c); err != nil {
			return nil, err
		}
		if c.Killed != nil {
			c.Killed = &flyball.Kill{Reason: c.Killed.Reason}
		}
		if c.Rollout != nil {
			o := *c.Rollout
			o.ID, o.NotAfter = "", nil
			c.Rollout = &o
		}
		return json.Marshal(c)
	case "rollout":
		var r flyball.Rollout
		if err := json.Unmarshal(body, &r); err != nil {
			return nil, err
		}
		return json.Marshal(flyball.Rollout{RolloutPlan: r.RolloutPlan, State: r.State, At: r.At})
	}
	var compact bytes.Buffer
	err := json.Compact(&compact, body)
	return compact.Bytes(), err
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
		p.Action, p.Subject, p.Risk, joined(p.Why), people(p.Needs.Number)).
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

func joined(why []string) string {
	if len(why) == 0 {
		return "by policy"
	}
	var b bytes.Buffer
	for i, w := range why {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(w)
	}
	return b.String()
}
