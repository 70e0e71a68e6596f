package service

import (
	"math"
	"slices"

	"github.com/flyballdev/flyball"
)

// bound returns the largest share of users that may get something else of a
// flag, by the rules alone: by its own change, and by that of the flags and the
// segments that it needs.
func (b *blast) bound(key string) float64 {
	if b.before.Find(key) == b.after.Find(key) { // and so what it needs is the same too
		return 0
	}
	before, after := b.before.Flag(key), b.after.Flag(key)
	share := structural(before, after)
	if share >= 1 {
		return 1
	}
	if was, ok := only(before); ok {
		if is, ok := only(after); ok && was == is {
			return 0 // whatever it needs
		}
	}
	for _, p := range after.Prerequisites {
		share += b.bound(p.Flag)
	}
	met := map[string]bool{}
	for _, r := range after.Rules {
		for _, s := range r.If.Segments(nil) {
			share += b.segmentBound(s, met)
		}
	}
	return min(1, share)
}

// segmentBound returns the largest share of users that may come into a segment,
// or leave it: those whose keys were added to its lists or taken from them, or
// everybody if its condition is another.
func (b *blast) segmentBound(key string, met map[string]bool) float64 {
	before, after := b.before.Segment(key), b.after.Segment(key)
	if before == after || met[key] {
		return 0
	}
	met[key] = true
	if before == nil || after == nil || !sameJSON(before.If, after.If) {
		return 1
	}
	share := 0.0
	if n := b.relisted(key, before, after); n > 0 {
		if share = 1; b.sample.Users.Low > 0 {
			share = min(1, float64(n)/b.sample.Users.Low)
		}
	}
	if after.If != nil {
		for _, s := range after.If.Segments(nil) {
			share += b.segmentBound(s, met)
		}
	}
	return min(1, share)
}

// relisted counts the keys that were added to a segment's lists or taken from them,
// once for all the flags that use it.
func (b *blast) relisted(key string, before, after *flyball.Segment) int {
	n, known := b.lists[key]
	if !known {
		n = apart(before.Include, after.Include) + apart(before.Exclude, after.Exclude)
		if b.lists == nil {
			b.lists = map[string]int{}
		}
		b.lists[key] = n
	}
	return n
}

// apart counts the keys that are in one list alone.
func apart(a, b []string) int {
	in := make(map[string]int, len(a)+len(b))
	for _, k := range a {
		in[k] |= 1
	}
	for _, k := range b {
		in[k] |= 2
	}
	n := 0
	for _, where := range in {
		if where != 3 {
			n++
		}
	}
	return n
}

// structural returns the largest share of users that may get something else by a
// change of a flag itself: what a split or a rollout moves, and everybody where a
// condition or a plain serve decides.
func structural(before, after *flyball.RulesetFlag) float64 {
	if before == nil || after == nil {
		return 1
	}
	if resafed(before, after) || shown(before, after) {
		return 1
	}
	changed := revalued(before, after)
	if was, ok := only(before); ok {
		if is, ok := only(after); ok && was == is && !changed[is] {
			return 0
		}
	}
	if len(changed) > 0 || !sameGates(before, after) {
		return 1
	}
	most := moved(before.Default, after.Default)
	for i := range before.Rules {
		most = max(most, moved(before.Rules[i].Serve, after.Rules[i].Serve))
	}
	return max(most, rolled(before.Rollout, after.Rollout))
}

// rolled returns the share of units that get another variant by a change of a
// live rollout.
func rolled(before, after *flyball.Overlay) float64 {
	switch {
	case before == nil && after == nil:
		return 0
	case before == nil:
		return float64(after.PPM) / flyball.PPM
	case after == nil:
		return 1 // it may have ended with either variant
	case before.Where != after.Where || before.Unit != after.Unit || before.Treatment != after.Treatment || before.Control != after.Control:
		return 1
	}
	return math.Abs(float64(after.PPM-before.PPM)) / flyball.PPM
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
	if a.Seed != b.Seed || a.HashVersion != b.HashVersion || a.Enabled != b.Enabled || (a.Killed == nil) != (b.Killed == nil) || a.OffVariant != b.OffVariant ||
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
