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
		e.weigh(p, preview)
	}
	return nil
}

// weigh raises the risk of a plan to what one environment's preview says.
func (e *edit) weigh(p *flyball.Plan, v flyball.Preview) {
	share := v.Share.High
	if plan := e.startedPlan(); plan != nil && plan.Environment == v.Environment && share > 0 {
		if len(plan.Guardrails) > 0 {
			share = min(share, float64(plan.Steps[0].PPM)/flyball.PPM)
		} else { // nothing stops it on its way to the last
			share = max(share, float64(plan.Steps[len(plan.Steps)-1].PPM)/flyball.PPM)
		}
	}
	if share == 0 {
		if v.Basis == "unused" {
			p.Why = append(p.Why, fmt.Sprintf("no program evaluates it in %s", v.Environment))
		}
		return
	}
	level := 1
	switch {
	case share >= manyUsers:
		level = 3
	case share >= fewUsers:
		level = 2
	}
	p.Why = append(p.Why, fmt.Sprintf("up to %s of the users of %s get something else", percent(share), v.Environment))
	tier, stateful := e.severity()
	switch tier {
	case flyball.TierHigh:
		level++
		p.Why = append(p.Why, "the flag is of the high tier")
	case flyball.TierLow:
		level--
	}
	if stateful {
		level++
		p.Why = append(p.Why, "the flag is stateful")
	}
	for _, f := range v.Flags {
		if !f.Edited && f.Share.Value > 0 {
			level++
			p.Why = append(p.Why, fmt.Sprintf("%s depends on it", f.Flag))
			break
		}
	}
	risk := flyball.Risks[min(max(level, 1), 3)]
	if slices.Index(flyball.Risks, risk) > slices.Index(flyball.Risks, p.Risk) {
		p.Risk = risk
	}
}

func percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }

// severity returns the highest tier of the flags that were edited, and whether
// one of them is stateful.
func (e *edit) severity() (tier flyball.RiskTier, stateful bool) {
	tiers := []flyball.RiskTier{flyball.TierLow, flyball.TierMedium, flyball.TierHigh}
	tier = flyball.TierLow
	seen := false
	for _, edit := range e.edits {
		if edit.Noun != "config" && edit.Noun != "flag" {
			continue
		}
		f, err := e.tx.Flag(edit.Key)
		if err != nil {
			continue // it was just taken away
		}
		seen = true
		if slices.Index(tiers, f.RiskTier) > slices.Index(tiers, tier) {
			tier = f.RiskTier
		}
		stateful = stateful || f.Consistency == flyball.Stateful
	}
	if !seen {
		tier = flyball.TierMedium
	}
	return tier, stateful
}

// staged says that the change starts a rollout that guardrails watch.
func (e *edit) staged() bool {
	plan := e.startedPlan()
	return plan != nil && len(plan.Guardrails) > 0
}

// startedPlan returns the plan of a rollout that the change starts; nil if it is
// another change.
func (e *edit) startedPlan() *flyball.RolloutPlan {
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

// retreats says that the change only puts users back on what they had: by what
// it is, or since every flag that it edits serves its safe variant to more and
// nothing else to anyone, and no other flag waits for that.
func (e *edit) retreats() bool {
	if e.change.retreat {
		return true
	}
	if len(e.edits) == 0 {
		return false
	}
	for _, edit := range e.edits {
		if edit.Noun == "rollout" && edit.Before != nil {
			continue // what it does to users stands in the configuration
		}
		if edit.Noun != "config" || edit.Before == nil || edit.After == nil {
			return false
		}
		var before, after flyball.FlagConfig
		if json.Unmarshal(edit.Before, &before) != nil || json.Unmarshal(edit.After, &after) != nil {
			return false
		}
		f, err := e.tx.Flag(edit.Key)
		if err != nil || !lowers(f.Flag, before, after) {
			return false
		}
	}
	edited := e.editedFlags()
	for _, env := range e.altered() {
		r := e.rulesets[env]
		if slices.ContainsFunc(eval.Changed(r.compiledBefore, r.after.compiled), func(key string) bool { return !slices.Contains(edited, key) }) {
			return false // it may be on while this one is off
		}
	}
	return true
}

// lowers says that a configuration differs from another only in that it serves
// the safe variant to more, by construction: whoever is served something else
// was served the same before.
func lowers(f flyball.Flag, before, after flyball.FlagConfig) bool {
	switch {
	case after.Killed != nil:
		return true
	case before.Killed != nil:
		return false
	case !after.Enabled:
		return after.OffVariant == f.SafeVariant || !before.Enabled && after.OffVariant == before.OffVariant
	case !before.Enabled || len(before.Rules) != len(after.Rules) || !slices.Equal(before.Prerequisites, after.Prerequisites):
		return false
	}
	for i := range before.Rules {
		b, a := before.Rules[i], after.Rules[i]
		if !sameJSON(b.If, a.If) || !sameJSON(b.NotBefore, a.NotBefore) || !sameJSON(b.NotAfter, a.NotAfter) || b.ID != a.ID || !shrinks(f, b.Serve, a.Serve) {
			return false
		}
	}
	if before.Rollout != nil && after.Rollout == nil { // everybody there is on control again
		serve, ok := after.Serve(before.Rollout.Where)
		return ok && serve.Variant == before.Rollout.Control && shrinks(f, before.Default, after.Default)
	}
	if (after.Rollout == nil) != (before.Rollout == nil) || after.Rollout != nil && after.Rollout.PPM > before.Rollout.PPM {
		return false
	}
	return shrinks(f, before.Default, after.Default)
}

// shrinks says that a serve differs from another only in that every variant but
// the safe one has less, without moving anybody between the others.
func shrinks(f flyball.Flag, before, after flyball.Serve) bool {
	if sameServe(before, after) || after.Variant == f.SafeVariant {
		return true
	}
	if before.Split == nil || after.Split == nil || before.Split.By != after.Split.By || len(before.Split.Weights) != len(after.Split.Weights) || len(after.Split.Weights) != 2 {
		return false
	}
	b, a := before.Split.Weights, after.Split.Weights
	return b[0].Variant == a[0].Variant && b[1].Variant == a[1].Variant && a[1].Variant == f.SafeVariant && a[0].PPM <= b[0].PPM
}

func sameJSON(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}

// preview says who gets something else in an environment.
func (e *edit) preview(environment string) (flyball.Preview, error) {
	r := e.rulesets[environment]
	before, after := r.compiledBefore, r.after.compiled
	used, err := e.tx.UsedSince(environment, e.at.Add(-usedLately), eval.Changed(before, after))
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
