package service

import (
	"slices"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// latent returns the largest share of users that may get something else of a flag
// by what waits for nobody: a kill of it, if that serves another value than it
// did; a retreat of a flag that it needs, if it rises by that; or because client
// tokens see it now. It is 0 if none of these can do more than before the change,
// so that nobody sets up in silence what a retreat would then make true without an
// approval.
func (b *blast) latent(key string) (share float64, why string) {
	before, after := b.before.Flag(key), b.after.Flag(key)
	switch {
	case before != nil && after != nil && resafed(before, after):
		return 1, "a kill of " + key + ", which waits for nobody, would serve another value than it did"
	case shown(before, after):
		return 1, "pages that ask for " + key + " by client tokens get it from then on"
	case after != nil && risesByRetreat(b.after, key):
		share = b.bound(key)
	}
	if share > 0 {
		why = key + " rises when what it needs is taken back, which waits for nobody; the share is what the rules allow at most then"
	}
	return share, why
}

// shown says that client tokens see a flag that they did not see, and by it more than
// its safe variant: no sample tells of whoever gets that.
func shown(before, after *flyball.RulesetFlag) bool {
	if before == nil || after == nil || before.ClientVisible || !after.ClientVisible {
		return false
	}
	variant, one := only(after)
	return !one || variant != after.SafeVariant
}

// resafed says that a kill serves another value than it did.
func resafed(before, after *flyball.RulesetFlag) bool {
	return before.SafeVariant != after.SafeVariant || revalued(before, after)[after.SafeVariant]
}

// risesByRetreat says that a flag may serve something else than its safe variant
// to more users when a flag that it needs, be it by way of others, is taken back:
// to its safe variant, or to the control of its rollout.
func risesByRetreat(rs *eval.Ruleset, key string) (rises bool) {
	needed(rs, key, map[string]bool{}, func(f *flyball.RulesetFlag) {
		rises = rises || len(f.Prerequisites) > 0 && f.OffVariant != f.SafeVariant
		rises = rises || slices.ContainsFunc(f.Prerequisites, func(q flyball.Prerequisite) bool {
			p := rs.Flag(q.Flag)
			return p != nil && (q.Variant == p.SafeVariant || p.Rollout != nil && q.Variant == p.Rollout.Control)
		})
	})
	return rises
}
