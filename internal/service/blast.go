package service

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// A Sample is what is known of the users of an environment: contexts that were
// seen lately, one a user, each as likely to be in it as any other; and how many
// users there are.
type Sample struct {
	Contexts []SampledContext
	Users    flyball.Estimate
}

// A SampledContext is one user's context, as last seen.
type SampledContext struct {
	Context flyball.EvaluationContext
	At      time.Time
}

// fewContexts is how many contexts a sample has at least, for shares to be read
// off it.
const fewContexts = 30

// blast evaluates two rulesets for a sample of users, and says who gets something
// else. Where the sample is too small, or lacks what rules ask for, the rules
// alone give an upper bound.
func blast(environment string, before, after *eval.Ruleset, keys, edited []string, sample Sample) flyball.Preview {
	v := flyball.Preview{Environment: environment, Users: sample.Users, Sample: len(sample.Contexts), Basis: "sample"}
	if missing := unseen(before, after, keys, sample); len(sample.Contexts) < fewContexts || len(missing) > 0 {
		v.Basis = "structure"
		v.Note = "too few contexts of users are known here; the share is what the rules allow at most"
		if len(missing) > 0 {
			v.Note = "no context that is known here has " + strings.Join(missing, ", ") + "; the share is what the rules allow at most"
		}
	}
	for _, c := range sample.Contexts {
		if at := (flyball.Time{Time: c.At}); v.Oldest == nil {
			v.Oldest, v.Newest = &at, &at
		} else if c.At.Before(v.Oldest.Time) {
			v.Oldest = &at
		} else if c.At.After(v.Newest.Time) {
			v.Newest = &at
		}
	}
	users := scale{len(sample.Contexts), sample.Users}
	now := time.Now()
	clock := func() time.Time { return now }
	affected := make([]bool, len(sample.Contexts))
	gained, lost := make([]bool, len(sample.Contexts)), make([]bool, len(sample.Contexts))
	most := 0.0
	for _, key := range keys {
		f := flyball.FlagImpact{Flag: key, Edited: slices.Contains(edited, key)}
		moves := map[[2]string]int{}
		hit := 0
		for i := range sample.Contexts {
			ec := &sample.Contexts[i].Context
			was, is := before.Evaluate(key, ec, clock, nil), after.Evaluate(key, ec, clock, nil)
			if was.Variant == is.Variant && reflect.DeepEqual(was.Value, is.Value) {
				continue
			}
			from, to := was.Variant, is.Variant
			hit++
			moves[[2]string{from, to}]++
			affected[i] = true
			safe := safeVariant(before, after, key)
			gained[i], lost[i] = gained[i] || from == safe, lost[i] || to == safe
			if len(f.Examples) < maxExamples {
				f.Examples = append(f.Examples, flyball.Example{Attributes: ec.Attributes, From: from, To: to})
			}
		}
		f.Affected = users.of(hit)
		if v.Basis == "structure" {
			share := bound(before, after, key)
			f.Affected = flyball.Estimate{Value: share * v.Users.Value, High: share * v.Users.High}
			most = max(most, share)
			if v.Users.High == 0 && share > 0 { // how many users there are is not known either
				f.Affected.High = 1
			}
		}
		for move, n := range moves {
			f.Moves = append(f.Moves, flyball.Move{From: move[0], To: move[1], Users: users.of(n)})
		}
		slices.SortFunc(f.Moves, func(a, b flyball.Move) int { return int(b.Users.Value) - int(a.Users.Value) })
		v.Flags = append(v.Flags, f)
	}
	v.Share = wilson(count(affected), len(sample.Contexts))
	v.Affected, v.Gain, v.Lose = users.of(count(affected)), users.of(count(gained)), users.of(count(lost))
	if v.Basis == "structure" {
		v.Share = flyball.Estimate{Value: most, High: most}
		v.Affected = times(v.Share, v.Users)
		v.Gain, v.Lose = flyball.Estimate{High: v.Affected.High}, flyball.Estimate{High: v.Affected.High}
	}
	return v
}

// maxExamples is how many examples of a flag a preview tells.
const maxExamples = 5

// A scale turns a number of contexts of a sample into users, with an interval.
type scale struct {
	n     int
	users flyball.Estimate
}

func (s scale) of(hits int) flyball.Estimate { return times(wilson(hits, s.n), s.users) }

// times multiplies two estimates.
func times(a, b flyball.Estimate) flyball.Estimate {
	return flyball.Estimate{Value: a.Value * b.Value, Low: a.Low * b.Low, High: a.High * b.High}
}

func count(all []bool) (n int) {
	for _, b := range all {
		if b {
			n++
		}
	}
	return n
}

func safeVariant(before, after *eval.Ruleset, key string) string {
	if f := after.Flag(key); f != nil {
		return f.SafeVariant
	}
	if f := before.Flag(key); f != nil {
		return f.SafeVariant
	}
	return ""
}

// wilson returns a share of successes with its interval of 95 % (Wilson,
// "Probable inference, the law of succession, and statistical inference", 1927).
func wilson(hits, n int) flyball.Estimate {
	if n == 0 {
		return flyball.Estimate{High: 1}
	}
	const z = 1.96
	p, m := float64(hits)/float64(n), float64(n)
	centre, width := p+z*z/(2*m), z*math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	scale := 1 + z*z/m
	return flyball.Estimate{Value: p, Low: max(0, (centre-width)/scale), High: min(1, (centre+width)/scale)}
}

// unseen lists attributes that rules of the flags read and that no context of
// the sample has: of those the sample cannot tell.
func unseen(before, after *eval.Ruleset, keys []string, sample Sample) []string {
	read := map[string]bool{}
	for _, rs := range []*eval.Ruleset{before, after} {
		for _, key := range keys {
			if f := rs.Flag(key); f != nil {
				for _, r := range f.Rules {
					attributesOf(rs, &r.If, read)
				}
			}
		}
	}
	for i := range sample.Contexts {
		for name := range sample.Contexts[i].Context.Attributes {
			delete(read, name)
		}
	}
	var missing []string
	for name := range read {
		missing = append(missing, name)
	}
	slices.Sort(missing)
	return missing
}

// attributesOf notes the names, before any dot, of the attributes that a
// condition reads, its segments included.
func attributesOf(rs *eval.Ruleset, c *flyball.Condition, read map[string]bool) {
	if c.Attribute != "" && c.Attribute != flyball.AttributeTargetingKey {
		name, _, _ := strings.Cut(c.Attribute, ".")
		read[name] = true
	}
	for i := range c.All {
		attributesOf(rs, &c.All[i], read)
	}
	for i := range c.Any {
		attributesOf(rs, &c.Any[i], read)
	}
	if c.Not != nil {
		attributesOf(rs, c.Not, read)
	}
	if c.Segment != "" {
		if s := rs.Segment(c.Segment); s != nil && s.If != nil {
			attributesOf(rs, s.If, read)
		}
	}
}
