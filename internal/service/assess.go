package service

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// Shares of users from which on a change is of medium and of high risk.
const (
	fewUsers  = 0.01
	manyUsers = 0.10
)

// usedLately is how long after its last evaluation a flag still counts as used.
const usedLately = 7 * 24 * time.Hour

// assess previews what the change does to people, and says how much it could
// hurt. A share is taken at the upper end of its interval.
func (e *edit) assess(p *flyball.Plan) error {
	for _, env := range e.altered() {
		preview, err := e.preview(env)
		if err != nil {
			return err
		}
		p.Previews = append(p.Previews, preview)
		before, err := e.unaskedBefore(preview)
		if err != nil {
			return err
		}
		e.weigh(p, preview, before)
	}
	return nil
}

// weigh raises the risk of a plan to what one environment's preview says, and what
// went before it.
func (e *edit) weigh(p *flyball.Plan, v flyball.Preview, before float64) {
	if v.Share.High == 0 {
		if v.Basis == "unused" {
			p.Why = append(p.Why, "no program evaluates it in "+v.Environment)
		}
		return
	}
	exposed := e.exposed(v)
	p.Why = append(p.Why, fmt.Sprintf("up to %s of the users of %s get something else", percent(exposed), v.Environment))
	if before > 0 {
		exposed = min(1, exposed+before)
		p.Why = append(p.Why, fmt.Sprintf("%s together with what nobody approved in the last 24 hours", percent(exposed)))
	}
	level := level(exposed)
	tier, stateful := e.severity(v)
	switch tier {
	case flyball.TierHigh:
		level++
		p.Why = append(p.Why, "a flag is of the high tier")
	case flyball.TierLow:
		level--
		p.Why = append(p.Why, "the flag is of the low tier")
	}
	if stateful {
		level++
		p.Why = append(p.Why, "a flag is stateful")
	}
	if i := slices.IndexFunc(v.Flags, depends); i >= 0 && !e.segmentsOnly() {
		level++
		p.Why = append(p.Why, v.Flags[i].Flag+" depends on it")
	}
	risk := flyball.Risks[min(max(level, 1), len(flyball.Risks)-1)]
	if slices.Index(flyball.Risks, risk) > slices.Index(flyball.Risks, p.Risk) {
		p.Risk = risk
	}
}

// depends says of a flag that it was not edited and serves something else all the
// same.
func depends(f flyball.FlagImpact) bool { return !f.Edited && f.Share.Value > 0 }

// level is the place among all risks of what a share of users notices.
func level(share float64) int {
	switch {
	case share >= manyUsers:
		return 3
	case share >= fewUsers:
		return 2
	}
	return 1
}

// guarded says that a plan goes no further than its guardrails show it to be
// healthy. One that advances although it is not known does, and so may one without
// the guardrails that policy asks for.
func (e *edit) guarded(p *flyball.RolloutPlan) bool {
	_, lacks := e.policy.Lacks(*p)
	return len(p.Guardrails) > 0 && !lacks && p.OnUnsure.Then != "advance"
}

// exposed is the share of users that a change exposes before anybody looks: of a
// rollout, that of its first step, if guardrails watch the others; else that of
// its last.
func (e *edit) exposed(v flyball.Preview) float64 {
	plan := e.started()
	if plan == nil || plan.Environment != v.Environment {
		return v.Share.High
	}
	first, last := plan.Steps[0].PPM, plan.Steps[len(plan.Steps)-1].PPM
	switch {
	case !e.guarded(plan):
		return min(1, v.Share.High*float64(last)/float64(first))
	case e.besides(plan): // which no guardrail watches
		return v.Share.High
	}
	return min(v.Share.High, float64(first)/flyball.PPM)
}

// besides says that a change that starts a rollout also gives somebody something
// else of its flag by other ways, as when it enables the flag and with it rules.
func (e *edit) besides(plan *flyball.RolloutPlan) bool {
	r := e.rulesets[plan.Environment]
	return !rolloutAlone(r.compiledBefore.Flag(plan.Flag), r.after.compiled.Flag(plan.Flag))
}

// rolloutAlone says that a flag serves what it did, save for a rollout that is new,
// and the rule that its cohort got.
func rolloutAlone(before, after *flyball.RulesetFlag) bool {
	if before == nil || after == nil || before.Rollout != nil || after.Rollout == nil {
		return false
	}
	alone := *after
	alone.Rollout = nil
	if n := len(alone.Rules) - 1; n == len(before.Rules) && sameServe(alone.Rules[n].Serve, alone.Default) {
		alone.Rules = alone.Rules[:n]
	}
	return structural(before, &alone) == 0
}

// segmentsOnly says that no flag was edited, so that each that changes depends on
// what was: there is no other whom it could surprise.
func (e *edit) segmentsOnly() bool { return len(e.editedFlags()) == 0 }

func percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }

// severity returns the highest tier of the flags that were edited, that depend on
// them, or that a segment that was edited concerns, and whether one of them is
// stateful. A flag counts as what it was, and as what it is to be: nobody lowers
// its tier and raises it at once, or raises it by one of a lower tier before it.
func (e *edit) severity(v flyball.Preview) (tier flyball.RiskTier, stateful bool) {
	seen := false
	tier = flyball.TierLow
	consider := func(f flyball.Flag) {
		seen = true
		if slices.Index(tiers, f.RiskTier) > slices.Index(tiers, tier) {
			tier = f.RiskTier
		}
		stateful = stateful || f.Consistency == flyball.Stateful
	}
	for _, edit := range e.edits {
		var was flyball.Flag
		if edit.Noun == "flag" && json.Unmarshal(edit.Before, &was) == nil {
			consider(was)
		}
	}
	keys := e.editedFlags()
	if len(keys) == 0 {
		for _, env := range e.altered() {
			keys = append(keys, eval.Changed(e.rulesets[env].compiledBefore, e.rulesets[env].after.compiled)...)
		}
	}
	for _, f := range v.Flags {
		if depends(f) {
			keys = append(keys, f.Flag)
		}
	}
	for _, key := range keys {
		if f, err := e.tx.Flag(key); err == nil {
			consider(f.Flag)
		}
	}
	if !seen {
		tier = flyball.TierMedium
	}
	return tier, stateful
}

// started returns the plan of a rollout that the change starts; nil if it is
// another change.
func (e *edit) started() *flyball.RolloutPlan {
	for _, edit := range e.edits {
		if edit.Noun != "rollout" || edit.Before != nil {
			continue
		}
		var r flyball.Rollout
		if json.Unmarshal(edit.After, &r) == nil && len(r.Steps) > 0 {
			return &r.RolloutPlan
		}
	}
	return nil
}

// preview says who gets something else in an environment.
func (e *edit) preview(environment string) (flyball.Preview, error) {
	r := e.rulesets[environment]
	before, after := r.compiledBefore, r.after.compiled
	changed := slices.DeleteFunc(eval.Changed(before, after), func(key string) bool { return dark(before.Flag(key), after.Flag(key)) })
	used, err := e.tx.UsedSince(environment, e.at.Add(-usedLately), changed)
	if err != nil {
		return flyball.Preview{}, err
	}
	if len(used) == 0 {
		return flyball.Preview{Environment: environment, Basis: "unused", Note: "no program has evaluated what changes here in the last seven days"}, nil
	}
	sample := Sample{}
	if e.service.sample != nil {
		if sample, err = e.service.sample(e.tx.Context(), environment); err != nil {
			return flyball.Preview{}, err
		}
	}
	b := &blast{
		environment: environment, before: before, after: after, flags: used, edited: e.editedFlags(), sample: sample, at: e.at, by: e.manner.PreviewBy,
	}
	return b.preview(), nil
}

// dark says that a flag is new and serves its safe variant to everybody: to those
// who ask for it already, that is what they make do with.
func dark(before, after *flyball.RulesetFlag) bool {
	if before != nil || after == nil {
		return false
	}
	variant, ok := only(after)
	return ok && variant == after.SafeVariant
}

// editedFlags names the flags that were edited themselves.
func (e *edit) editedFlags() []string {
	var keys []string
	for _, edit := range e.edits {
		if (edit.Noun == "config" || edit.Noun == "flag") && !slices.Contains(keys, edit.Key) {
			keys = append(keys, edit.Key)
		}
	}
	return keys
}

// compact returns a preview as the audit log keeps them: without contexts.
func compact(v flyball.Preview) flyball.Preview {
	v.Flags = slices.Clone(v.Flags)
	for i := range v.Flags {
		v.Flags[i].Examples, v.Flags[i].By = nil, nil
	}
	v.By = ""
	return v
}
