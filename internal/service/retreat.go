package service

import (
	"encoding/json"
	"slices"

	"github.com/flyballdev/flyball"
)

// retreats says that the change only puts users back on what they had: every
// flag that it edits serves its safe variant to more, or its rollout's control,
// and nothing else to anyone. What flags that depend on them do then was judged
// when they were made so, by [blast.latent]: a retreat waits for nobody.
func (e *edit) retreats() bool {
	if len(e.edits) == 0 {
		return false
	}
	for _, edit := range e.edits {
		if edit.Noun == "rollout" && withdraws(edit) {
			continue
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
	return true
}

// withdraws says that an edit ends a rollout, or stops its rise; what that does
// to users stands in the configuration beside it.
func withdraws(edit flyball.Edit) bool {
	var before, after flyball.Rollout
	if json.Unmarshal(edit.Before, &before) != nil || json.Unmarshal(edit.After, &after) != nil {
		return false
	}
	ended := !after.State.Live() && after.State != flyball.RolloutCompleted
	return ended || after.State == flyball.RolloutPaused && after.At <= before.At
}

// lowers says that a configuration differs from another only in that it serves
// the safe variant to more, by construction: whoever is served something else
// was served the same before.
func lowers(f flyball.Flag, before, after flyball.FlagConfig) bool {
	after = withOwnRule(before, after)
	switch {
	case after.Killed != nil:
		return true
	case before.Killed != nil:
		return false
	case !after.Enabled:
		return after.OffVariant == f.SafeVariant || !before.Enabled && after.OffVariant == before.OffVariant
	case after.OffVariant != before.OffVariant && after.OffVariant != f.SafeVariant: // what an unmet prerequisite serves
		return false
	case !before.Enabled || !waitsForMore(f, before, after) || !lowersRules(f, before, after):
		return false
	}
	if before.Rollout != nil && after.Rollout == nil { // everybody there is on control again
		serve, ok := after.Serve(before.Rollout.Where)
		return ok && serve.Variant == before.Rollout.Control && shrinks(f, before.Default, after.Default)
	}
	if (after.Rollout == nil) != (before.Rollout == nil) || after.Rollout != nil && (after.Rollout.ID != before.Rollout.ID || after.Rollout.PPM > before.Rollout.PPM) {
		return false
	}
	return shrinks(f, before.Default, after.Default)
}

// waitsForMore says that a configuration asks for all that another did of other
// flags, and perhaps for more, without which it is safe.
func waitsForMore(f flyball.Flag, before, after flyball.FlagConfig) bool {
	if slices.Equal(before.Prerequisites, after.Prerequisites) {
		return true
	}
	for _, q := range before.Prerequisites {
		if !slices.Contains(after.Prerequisites, q) {
			return false
		}
	}
	return after.OffVariant == f.SafeVariant
}

// lowersRules goes along the rules of two configurations: each asks the same and
// serves less, or is new and safe, or is gone and leaves its users to what is safe.
func lowersRules(f flyball.Flag, before, after flyball.FlagConfig) bool {
	i, j := 0, 0
	for i < len(before.Rules) || j < len(after.Rules) {
		switch {
		case i < len(before.Rules) && j < len(after.Rules) && asksTheSame(before.Rules[i], after.Rules[j]) && shrinks(f, before.Rules[i].Serve, after.Rules[j].Serve):
			i, j = i+1, j+1
		case j < len(after.Rules) && after.Rules[j].Serve.Variant == f.SafeVariant:
			j++
		case i < len(before.Rules) && safeFrom(f, after, j):
			i++
		default:
			return false
		}
	}
	return true
}

func asksTheSame(b, a flyball.Rule) bool {
	return b.ID == a.ID && sameJSON(b.If, a.If) && sameJSON(b.NotBefore, a.NotBefore) && sameJSON(b.NotAfter, a.NotAfter)
}

// safeFrom says that a configuration serves the safe variant to all whom its rules
// before one do not match.
func safeFrom(f flyball.Flag, c flyball.FlagConfig, at int) bool {
	safe := func(s flyball.Serve) bool { return s.Variant == f.SafeVariant }
	return c.Rollout == nil && safe(c.Default) && !slices.ContainsFunc(c.Rules[at:], func(r flyball.Rule) bool { return !safe(r.Serve) })
}

// shrinks says that a serve differs from another only in that some units get the
// safe variant, and nobody anything else that they had not.
func shrinks(f flyball.Flag, before, after flyball.Serve) bool {
	ok := alongRing(before, after, func(_ int, was, is string) bool { return was == is || is == f.SafeVariant })
	return ok || after.Variant == f.SafeVariant
}

func sameJSON(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}
