package flyball

import (
	"fmt"
	"slices"
	"time"
)

// A Risk says how much a change can hurt before anybody has looked.
type Risk string

// The risks, from the least on.
const (
	RiskNone   Risk = "none"   // nobody can notice
	RiskLow    Risk = "low"    // fewer than one user in a hundred gets something else
	RiskMedium Risk = "medium" // fewer than one in ten
	RiskHigh   Risk = "high"   // more
)

// Risks are all risks, from the least on.
var Risks = []Risk{RiskNone, RiskLow, RiskMedium, RiskHigh}

// A Policy says what a change of what users get needs in a protected
// environment. A retreat needs nothing, ever.
type Policy struct {
	// Approvals is how many people must approve, by risk.
	Approvals map[Risk]Need `json:"approvals" doc:"by risk: how many approvals a change needs"`
	TTL       Duration      `json:"approvalTTL" doc:"how long a request, with its approvals, can be applied" example:"24h"`
	Freezes   []Freeze      `json:"freezes,omitempty" doc:"times in which nothing is raised"`
	// Guardrails keep an author from choosing guardrails that nothing trips.
	Guardrails []RequiredGuardrail `json:"guardrails,omitempty" doc:"without each of these a rollout counts as one without guardrails"`
	// Described is for every environment: a flag is described where it is defined.
	Described bool `json:"requireDescription,omitempty" doc:"whether a new flag must say what it does"`
}

// A Need is how many approvals a change needs, exposed at once or by a rollout
// that guardrails watch.
type Need struct {
	Direct int `json:"direct" doc:"-1: never at once, by a guarded rollout only"`
	Staged int `json:"staged"`
}

// A RequiredGuardrail is one that a rollout must have to count as guarded.
type RequiredGuardrail struct {
	Metric       string   `json:"metric" example:"checkout.errors"`
	Margin       Margin   `json:"margin,omitzero" doc:"the largest that counts, of the same kind; any, if left out"`
	Environments []string `json:"environments,omitempty" doc:"where (default: in every protected one)"`
}

// Lacks returns the first guardrail that the policy requires of a plan and that it
// does not have, with a margin that is no larger.
func (y Policy) Lacks(plan RolloutPlan) (want RequiredGuardrail, lacks bool) {
	for _, want := range y.Guardrails {
		here := len(want.Environments) == 0 || slices.Contains(want.Environments, plan.Environment)
		if here && !slices.ContainsFunc(plan.Guardrails, want.met) {
			return want, true
		}
	}
	return want, false
}

func (want RequiredGuardrail) met(g Guardrail) bool {
	switch {
	case g.Metric != want.Metric:
		return false
	case want.Margin.Relative > 0:
		return g.Margin.Absolute == 0 && g.Margin.Relative <= want.Margin.Relative
	case want.Margin.Absolute > 0:
		return g.Margin.Relative == 0 && g.Margin.Absolute <= want.Margin.Absolute
	}
	return true
}

// A Freeze is a time in which nothing is raised. Retreats, and whoever breaks
// the glass, pass.
type Freeze struct {
	From         Start    `json:"from" doc:"its first moment; a bare date is the beginning of that day, UTC" example:"2026-12-20"`
	To           Time     `json:"to" doc:"the moment from which it holds no more; a bare date is the end of that day, UTC" example:"2027-01-02"`
	Environments []string `json:"environments,omitempty" doc:"where (default: in every protected one)"`
	Reason       string   `json:"reason"`
}

// DefaultPolicy is the policy of a new installation: what touches few users, or
// is watched by guardrails, is one person's to do.
func DefaultPolicy() Policy {
	return Policy{
		Approvals: map[Risk]Need{RiskNone: {}, RiskLow: {}, RiskMedium: {Direct: 1}, RiskHigh: {Direct: 2, Staged: 1}},
		TTL:       Duration(24 * time.Hour),
	}
}

// Validate reports every problem of the policy at once.
func (y Policy) Validate() error {
	p := newProblems()
	for _, r := range Risks {
		if _, ok := y.Approvals[r]; !ok {
			p.add("approvals."+string(r), "say what a change of risk %s needs", r)
		}
	}
	for r, n := range y.Approvals {
		oneOf(p, "approvals", r, Risks...)
		if n.Direct < -1 || n.Direct > 5 {
			p.add("approvals."+string(r)+".direct", "is 0 to 5, or -1 for by a guarded rollout only")
		}
		if n.Staged < 0 || n.Staged > 5 {
			p.add("approvals."+string(r)+".staged", "is 0 to 5")
		}
	}
	if d := y.TTL.Std(); d < time.Minute || d > 30*24*time.Hour {
		p.add("approvalTTL", "is a minute to 30 days (720h)")
	}
	if len(y.Freezes) > 100 {
		p.add("freezes", "%d freezes, at most 100", len(y.Freezes))
	}
	y.validateGuardrails(p)
	for i, f := range y.Freezes {
		at := p.at("freezes[%d]", i)
		if !f.From.Before(f.To.Time) {
			at.add("to", "must lie after from")
		}
		if f.Reason == "" {
			at.add("reason", "say why nothing is raised")
		}
		at.text("reason", f.Reason)
		for j, e := range f.Environments {
			at.key(fmt.Sprintf("environments[%d]", j), e)
		}
	}
	return p.err()
}

func (y Policy) validateGuardrails(p problems) {
	if len(y.Guardrails) > MaxGuardrails {
		p.add("guardrails", "%d guardrails, at most %d, which is what a rollout may have", len(y.Guardrails), MaxGuardrails)
	}
	for i, g := range y.Guardrails {
		at := p.at("guardrails[%d]", i)
		at.key("metric", g.Metric)
		at.margin("margin", g.Margin)
		if g.Margin.Relative > 0 && g.Margin.Absolute > 0 {
			at.add("margin", "is relative or absolute, not both")
		}
		for j, e := range g.Environments {
			at.key(fmt.Sprintf("environments[%d]", j), e)
		}
	}
}

// Frozen returns the freeze that holds in an environment at a moment.
func (y Policy) Frozen(environment string, now time.Time) (Freeze, bool) {
	for _, f := range y.Freezes {
		if now.Before(f.From.Time.Time) || !now.Before(f.To.Time) {
			continue
		}
		if len(f.Environments) == 0 {
			return f, true
		}
		for _, e := range f.Environments {
			if e == environment {
				return f, true
			}
		}
	}
	return Freeze{}, false
}
