package service

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/flyballdev/flyball"
)

// ofRollout tells an edit of a rollout in words: a plan that is started as what it
// does, and else what differs, without what follows from that.
func ofRollout(edit flyball.Edit) ([]string, error) {
	var before, after flyball.Rollout
	if err := json.Unmarshal(edit.After, &after); err != nil {
		return nil, err
	}
	what := fmt.Sprintf("rollout of %s in %s", after.Flag, after.Environment)
	if edit.Before == nil {
		lines := []string{"new: " + what + ": " + stepsInWords(after.RolloutPlan), what + ": " + guardrailsInWords(after.RolloutPlan)}
		others, err := rest(after.RolloutPlan)
		return append(lines, led(what, others)...), err
	}
	if err := json.Unmarshal(edit.Before, &before); err != nil {
		return nil, err
	}
	b, err := standing(before)
	if err != nil {
		return nil, err
	}
	a, err := standing(after)
	return led(what, differ("", b, a)), err
}

func led(what string, lines []string) []string {
	for i := range lines {
		lines[i] = what + ": " + lines[i]
	}
	return lines
}

// stepsInWords tells who gets what, for how long.
func stepsInWords(p flyball.RolloutPlan) string {
	var steps []string
	for _, s := range p.Steps {
		text := percent(float64(s.PPM) / flyball.PPM)
		if s.Hold > 0 {
			text += " for " + s.Hold.String()
		}
		if s.Lease > 0 && s.Lease != s.Hold {
			text += fmt.Sprintf(" (lease %s)", s.Lease)
		}
		for _, g := range s.Gates {
			if g.Agent != "" {
				text += " and until agent:" + g.Agent + " lets it go on"
			} else {
				text += " and until it has " + people(g.Approval)
			}
		}
		steps = append(steps, text)
	}
	end := "then it is kept"
	if p.Then == flyball.ThenOff {
		end = "then it is taken back"
	}
	where := "the default serves"
	if p.Where != flyball.WhereDefault {
		where = "rule " + p.Where + " serves"
	}
	return fmt.Sprintf("%q in place of %q where %s: %s; %s", p.Treatment, p.Control, where, strings.Join(steps, " → "), end)
}

// guardrailsInWords tells what must not get worse.
func guardrailsInWords(p flyball.RolloutPlan) string {
	if len(p.Guardrails) == 0 {
		return "no guardrails: nothing takes it back by itself"
	}
	var all []string
	for _, g := range p.Guardrails {
		text := g.Metric
		if g.Margin.Relative > 0 {
			text += fmt.Sprintf(" by %s", percent(g.Margin.Relative))
		}
		if g.Margin.Absolute > 0 {
			text += fmt.Sprintf(" by %g", g.Margin.Absolute)
		}
		if g.By != "" {
			text += ", for any " + g.By
		}
		all = append(all, text)
	}
	return "must not worsen " + strings.Join(all, "; ") + "; a breach: " + string(p.OnBreach)
}

// rest tells what else a plan says that is not the default.
func rest(p flyball.RolloutPlan) ([]string, error) {
	usual := flyball.RolloutPlan{}.WithDefaults()
	usual.Flag, usual.Environment, usual.Treatment, usual.Control, usual.Where = p.Flag, p.Environment, p.Treatment, p.Control, p.Where
	usual.Steps, usual.Guardrails, usual.Then, usual.OnBreach = p.Steps, p.Guardrails, p.Then, p.OnBreach
	for i := range p.Steps { // of gates, what is waited for is told already
		if slices.ContainsFunc(p.Steps[i].Gates, func(g flyball.Gate) bool { return g.Timeout > 0 }) {
			usual.Steps = nil
		}
	}
	b, err := plainly(usual)
	if err != nil {
		return nil, err
	}
	a, err := plainly(p)
	return differ("", b, a), err
}

// standing is what of a rollout does not follow from the rest of it, or from when
// it was changed.
func standing(r flyball.Rollout) (map[string]any, error) {
	m, err := plainly(r)
	for _, name := range []string{"revision", "since", "steppedAt", "steppedIn", "startedAt", "leaseUntil", "endedAt", "steppedBack", "unproven"} {
		delete(m, name)
	}
	return m, err
}

func plainly(v any) (m map[string]any, err error) {
	body, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	return m, err
}
