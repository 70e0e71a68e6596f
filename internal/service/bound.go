package service

import (
	"math"
	"slices"

	"github.com/flyballdev/flyball"
)

// bound returns the largest share of users that may get something else by a
// change of a flag, by its rules alone: what a split or a rollout moves, and
// everybody where a condition or a plain serve decides.
func bound(before, after *flyball.RulesetFlag) float64 {
	if before == nil || after == nil {
		return 1
	}
	if v, ok := only(before); ok {
		if w, ok := only(after); ok && v == w {
			return 0
		}
	}
	if !sameGates(before, after) {
		return 1
	}
	most := moved(before.Default, after.Default)
	for i := range before.Rules {
		most = max(most, moved(before.Rules[i].Serve, after.Rules[i].Serve))
	}
	switch b, a := before.Rollout, after.Rollout; {
	case a != nil && b == nil:
		return max(most, float64(a.PPM)/flyball.PPM)
	case a == nil && b != nil:
		return 1
	case a != nil:
		return max(most, math.Abs(float64(a.PPM-b.PPM))/flyball.PPM)
	}
	return most
}

// only returns the variant that a flag serves to everybody, if there is one.
func only(f *flyball.RulesetFlag) (string, bool) {
	switch {
	case f.Killed != nil:
		return f.SafeVariant, true
	case !f.Enabled:
		return f.OffVariant, true
	}
	variant := f.Default.Variant
	if variant == "" || f.Rollout != nil || len(f.Prerequisites) > 0 && f.OffVariant != variant {
		return "", false
	}
	for _, r := range f.Rules {
		if r.Serve.Variant != variant {
			return "", false
		}
	}
	return variant, true
}

// sameGates says that two configurations of a flag ask the same questions.
func sameGates(a, b *flyball.RulesetFlag) bool {
	if a.Enabled != b.Enabled || (a.Killed == nil) != (b.Killed == nil) || a.OffVariant != b.OffVariant ||
		!slices.Equal(a.Prerequisites, b.Prerequisites) || len(a.Rules) != len(b.Rules) || !sameJSON(a.Variants, b.Variants) {
		return false
	}
	for i := range a.Rules {
		if !sameJSON(a.Rules[i].If, b.Rules[i].If) || !sameJSON(a.Rules[i].NotBefore, b.Rules[i].NotBefore) || !sameJSON(a.Rules[i].NotAfter, b.Rules[i].NotAfter) {
			return false
		}
	}
	return true
}

// moved returns the share of units that get another variant by a change of what
// is served.
func moved(before, after flyball.Serve) float64 {
	if sameServe(before, after) {
		return 0
	}
	b, a := edges(before), edges(after)
	if b == nil || a == nil || by(before) != by(after) && before.Split != nil && after.Split != nil {
		return 1
	}
	same := 0 // walk the ring: where both serve the same variant, nobody moves
	for x, i, j := 0, 0, 0; x < flyball.PPM && i < len(b) && j < len(a); {
		end := min(b[i].upTo, a[j].upTo)
		if b[i].variant == a[j].variant {
			same += end - x
		}
		x = end
		if b[i].upTo == x {
			i++
		}
		if j < len(a) && a[j].upTo == x {
			j++
		}
	}
	return 1 - float64(same)/flyball.PPM
}

type edge struct {
	variant string
	upTo    int
}

// edges lists where on the ring a serve's variants end.
func edges(s flyball.Serve) []edge {
	if s.Split == nil {
		return []edge{{s.Variant, flyball.PPM}}
	}
	var all []edge
	at := 0
	for _, w := range s.Split.Weights {
		if at += w.PPM; w.PPM > 0 {
			all = append(all, edge{w.Variant, at})
		}
	}
	return all
}

func by(s flyball.Serve) string {
	if s.Split == nil || s.Split.By == "" {
		return flyball.AttributeTargetingKey
	}
	return s.Split.By
}
