package service

import (
	"math"
	"slices"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// bound returns the largest share of users that may get something else of a
// flag, by the rules alone: what a split or a rollout moves, and everybody where
// a condition or a plain serve decides. What the flag needs counts too.
func bound(before, after *eval.Ruleset, key string) float64 {
	b, a := before.Flag(key), after.Flag(key)
	if b == nil || a == nil {
		return 1
	}
	if v, ok := only(b); ok {
		if w, ok := only(a); ok && v == w && sameJSON(b.Variants[v], a.Variants[w]) {
			return 0
		}
	}
	if !sameGates(b, a) || !segmentsKept(before, after, a) {
		return 1
	}
	share := movedBy(b, a)
	for _, p := range a.Prerequisites {
		share += bound(before, after, p.Flag)
	}
	return min(1, share)
}

// movedBy returns the share of units that a change moves that leaves a flag's
// questions as they were.
func movedBy(before, after *flyball.RulesetFlag) float64 {
	most := moved(before.Default, after.Default)
	for i := range before.Rules {
		most = max(most, moved(before.Rules[i].Serve, after.Rules[i].Serve))
	}
	b, a := before.Rollout, after.Rollout
	switch {
	case a != nil && b != nil && a.ID == b.ID:
		return most + math.Abs(float64(a.PPM-b.PPM))/flyball.PPM
	case a != nil:
		most += float64(a.PPM) / flyball.PPM
	}
	if b != nil {
		most += float64(b.PPM) / flyball.PPM
	}
	return most
}

// segmentsKept says that the segments that a flag's rules name, and those that
// these name, hold what they held.
func segmentsKept(before, after *eval.Ruleset, f *flyball.RulesetFlag) bool {
	var kept func(names []string) bool
	kept = func(names []string) bool {
		for _, name := range names {
			s := after.Segment(name)
			if !sameJSON(before.Segment(name), s) || s != nil && s.If != nil && !kept(s.If.Segments(nil)) {
				return false
			}
		}
		return true
	}
	for _, r := range f.Rules {
		if !kept(r.If.Segments(nil)) {
			return false
		}
	}
	return true
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
	same := 0 // where on the ring both serve the same variant, nobody moves
	known := alongRing(before, after, func(width int, was, is string) bool {
		if was == is {
			same += width
		}
		return true
	})
	if !known {
		return 1
	}
	return float64(flyball.PPM-same) / flyball.PPM
}

// alongRing goes along the ring of units, and tells f of each stretch how wide it
// is and what is served there before and after, for as long as f wants to hear
// more. It returns false if f did not, or if the two serves put units on
// different rings.
func alongRing(before, after flyball.Serve, f func(width int, was, is string) bool) bool {
	if before.Split != nil && after.Split != nil && by(before) != by(after) {
		return false
	}
	b, a := edges(before), edges(after)
	for x, i, j := 0, 0, 0; x < flyball.PPM && i < len(b) && j < len(a); {
		end := min(b[i].upTo, a[j].upTo)
		if !f(end-x, b[i].variant, a[j].variant) {
			return false
		}
		if x = end; b[i].upTo == x {
			i++
		}
		if a[j].upTo == x {
			j++
		}
	}
	return true
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
