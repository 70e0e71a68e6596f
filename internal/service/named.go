package service

import (
	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// named returns the largest share of users whom a flag's rules name one by one and
// who may get something else. A sample does not tell of them: whoever names only
// such as are not in it, which trying shows, would change nothing by it.
func (b *blast) named(key string) float64 {
	n := max(namesIn(b.before, key), namesIn(b.after, key))
	if n == 0 {
		return 0
	}
	share := b.bound(key)
	if b.sample.Users.Low > 0 {
		share = min(share, float64(n)/b.sample.Users.Low)
	}
	if before, after := b.before.Flag(key), b.after.Flag(key); rolloutAlone(before, after) {
		share *= float64(after.Rollout.PPM) / flyball.PPM
	}
	return share
}

// namesIn counts the units that a flag, and what it needs, name one by one: the
// lists of segments, and the values of which an attribute is to be one.
func namesIn(rs *eval.Ruleset, key string) (n int) {
	met := map[string]bool{}
	var count func(c flyball.Condition)
	count = func(c flyball.Condition) {
		for _, part := range append(append([]flyball.Condition{}, c.All...), c.Any...) {
			count(part)
		}
		if c.Not != nil {
			count(*c.Not)
		}
		if c.Op == flyball.OpIn {
			n += len(c.Values)
		}
		if s := rs.Segment(c.Segment); c.Segment != "" && s != nil && !met[c.Segment] {
			met[c.Segment] = true
			n += len(s.Include) + len(s.Exclude)
			if s.If != nil {
				count(*s.If)
			}
		}
	}
	needed(rs, key, map[string]bool{}, func(f *flyball.RulesetFlag) {
		for _, r := range f.Rules {
			count(r.If)
		}
	})
	return n
}
