package service

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// A Sample is what is known of the users of an environment: contexts that were
// seen lately, one a user, in a random order; and how many users there are.
type Sample struct {
	Contexts []SampledContext
	Users    flyball.Estimate
}

// A SampledContext is one user's context, as last seen.
type SampledContext struct {
	Unit    string // a name that tells nobody who it is
	Context flyball.EvaluationContext
	At      time.Time
	Weight  float64 // how many users it stands for, compared with the others
}

// Limits of a preview.
const (
	fewContexts    = 30     // a sample has at least, for shares to be read off it
	maxExamples    = 5      // of a flag
	maxImpacts     = 50     // flags that are told one by one
	maxGroups      = 20     // values of the attribute by which a preview is divided
	maxInstants    = 8      // moments at which rules begin or end
	maxEvaluations = 40_000 // beyond which fewer contexts are evaluated
	leastContexts  = 200    // that are evaluated all the same
)

// A blast is the question who gets something else by a change of a ruleset.
type blast struct {
	environment   string
	before, after *eval.Ruleset
	flags         []string // that may resolve otherwise, and that programs evaluate
	edited        []string // those of them that were edited themselves
	sample        Sample
	at            time.Time
	by            string // the attribute by which the answer is divided

	lists    map[string]int   // by segment: keys that came or went
	contexts []SampledContext // those of the sample that are evaluated
	scale    scale
	affected hits
	gain     hits
	lose     hits
	names    float64  // the largest share of users that rules name, where the sample tells of fewer
	possible bool     // the rules allow that somebody gets something else
	notes    []string // what is to be known of the answer
}

// hits marks contexts of a sample.
type hits []bool

// preview evaluates both rulesets for a sample of users, and says who gets
// something else. Of a flag whose rules ask what the sample does not tell, the
// rules alone give an upper bound.
func (b *blast) preview() flyball.Preview {
	b.draw()
	v := flyball.Preview{
		Environment: b.environment, Users: b.sample.Users, Sample: len(b.contexts), Effective: b.scale.n, Basis: "sample", By: b.by,
	}
	v.Oldest, v.Newest = ages(b.contexts)
	unsure, latent := b.impacts(&v)
	v.Share = b.scale.share(b.affected)
	if v.Basis == "structure" {
		v.Share.Value, v.Share.High = min(1, v.Share.Value+unsure), min(1, v.Share.High+unsure)
		if !slices.ContainsFunc(v.Flags, func(f flyball.FlagImpact) bool { return f.Basis == "sample" }) {
			v.Share = flyball.Estimate{Value: min(1, unsure), High: min(1, unsure)}
		}
	}
	v.Gain, v.Lose = b.scale.users(b.gain), b.scale.users(b.lose)
	if v.Basis == "sample" && !b.possible { // which is surer than any sample
		v.Share, v.Gain, v.Lose = flyball.Estimate{}, flyball.Estimate{}, flyball.Estimate{}
	}
	v.Share.High = max(v.Share.High, b.names)
	v.Share.High = min(1, v.Share.High+latent)
	v.Affected = times(v.Share, v.Users)
	if unsure+latent+b.names > 0 {
		v.Gain.High, v.Lose.High = v.Affected.High, v.Affected.High
	}
	b.note(b.thin())
	v.Note = strings.Join(b.notes[:min(len(b.notes), 5)], "; ")
	slices.SortStableFunc(v.Flags, func(x, y flyball.FlagImpact) int { return cmp.Compare(y.Share.Value, x.Share.Value) })
	if v.Further = len(v.Flags) - maxImpacts; v.Further > 0 {
		v.Flags = v.Flags[:maxImpacts]
	}
	v.Further = max(0, v.Further)
	return v
}

// impacts says what becomes of each flag, and sums the shares that the sample does
// not tell: for it lacks what the rules ask, or for nothing happens yet.
func (b *blast) impacts(v *flyball.Preview) (unsure, latent float64) {
	for _, key := range b.flags {
		f, why := b.impact(key)
		if b.note(why); why != "" {
			v.Basis = "structure"
			unsure += f.Share.High
		} else if f.Latent, why = b.latent(key); f.Latent > 0 {
			b.note(why)
			latent += f.Latent
			f.Share.High = min(1, f.Share.High+f.Latent)
			f.Affected = times(f.Share, b.sample.Users)
		}
		v.Flags = append(v.Flags, f)
	}
	return unsure, latent
}

// note keeps a reason, once.
func (b *blast) note(why string) {
	if why != "" && !slices.Contains(b.notes, why) {
		b.notes = append(b.notes, why)
	}
}

// draw chooses how many contexts are evaluated: of a change of very many flags,
// as by a segment, each is evaluated for fewer, since others wait meanwhile.
func (b *blast) draw() {
	most := max(leastContexts, maxEvaluations/(2*max(1, len(b.flags))))
	b.contexts = b.sample.Contexts[:min(len(b.sample.Contexts), most)]
	b.scale = scaleOf(b.contexts, b.sample.Users)
	b.affected, b.gain, b.lose = make(hits, len(b.contexts)), make(hits, len(b.contexts)), make(hits, len(b.contexts))
}

func ages(contexts []SampledContext) (oldest, newest *flyball.Time) {
	for _, c := range contexts {
		at := flyball.Time{Time: c.At}
		if oldest == nil || c.At.Before(oldest.Time) {
			oldest = &at
		}
		if newest == nil || c.At.After(newest.Time) {
			newest = &at
		}
	}
	return oldest, newest
}

// impact says what becomes of one flag. If that is not of the sample, but an
// upper bound by its rules, why says why.
func (b *blast) impact(key string) (f flyball.FlagImpact, why string) {
	f = flyball.FlagImpact{Flag: key, Edited: slices.Contains(b.edited, key), Basis: "sample"}
	moments := b.moments(key)
	switch missing := b.unseen(key); {
	case len(b.contexts) < fewContexts:
		why = "too few contexts of users are known here; the share is what the rules allow at most"
	case len(missing) > 0:
		why = "no context that is known here has " + strings.Join(missing, ", ") + "; the share is what the rules allow at most"
	case len(moments) > maxInstants:
		why = "too many rules begin or end later; the share is what the rules allow at most"
	}
	if why != "" {
		f.Basis = "structure"
		share := b.bound(key)
		f.Share = flyball.Estimate{Value: share, High: share}
		f.Affected = times(f.Share, b.sample.Users)
		return f, why
	}
	if b.bound(key) > 0 {
		b.possible = true
		b.evaluate(&f, moments)
		if f.Named = b.named(key); f.Named > f.Share.High {
			f.Share.High = f.Named
			f.Affected = times(f.Share, b.sample.Users)
			b.names = max(b.names, f.Named)
		}
	}
	return f, ""
}

// evaluate fills in what becomes of a flag in the sample. A context is affected
// if it is at any of the moments.
func (b *blast) evaluate(f *flyball.FlagImpact, moments []time.Time) {
	values, safe := revalued(b.before.Flag(f.Flag), b.after.Flag(f.Flag)), b.safeVariant(f.Flag)
	hit := make(hits, len(b.contexts))
	moves, groups := map[[2]string]hits{}, map[string]hits{}
	mark := func(in map[[2]string]hits, key [2]string, i int) {
		if in[key] == nil {
			in[key] = make(hits, len(b.contexts))
		}
		in[key][i] = true
	}
	for i := range b.contexts {
		c := &b.contexts[i].Context
		from, to, differ := b.move(f.Flag, c, moments, values)
		if !differ {
			continue
		}
		hit[i], b.affected[i] = true, true
		b.gain[i] = b.gain[i] || from == safe && to != safe
		b.lose[i] = b.lose[i] || to == safe && from != safe
		mark(moves, [2]string{from, to}, i)
		if b.by != "" {
			group := groupOf(c, b.by)
			if groups[group] == nil {
				groups[group] = make(hits, len(b.contexts))
			}
			groups[group][i] = true
		}
		if len(f.Examples) < maxExamples {
			f.Examples = append(f.Examples, flyball.Example{Unit: b.contexts[i].Unit, Attributes: c.Attributes, From: from, To: to})
		}
	}
	f.Share, f.Affected = b.scale.share(hit), b.scale.users(hit)
	for move, of := range moves {
		f.Moves = append(f.Moves, flyball.Move{From: move[0], To: move[1], Users: b.scale.users(of)})
	}
	slices.SortFunc(f.Moves, func(x, y flyball.Move) int {
		return cmp.Or(cmp.Compare(y.Users.Value, x.Users.Value), cmp.Compare(x.From+"\x00"+x.To, y.From+"\x00"+y.To))
	})
	f.By = b.divided(groups)
}

// move says which variants a context has before and after, at the first moment
// at which they, or their values, differ.
func (b *blast) move(key string, c *flyball.EvaluationContext, moments []time.Time, values map[string]bool) (from, to string, differ bool) {
	for _, at := range moments {
		now := func() time.Time { return at }
		from, to = b.before.Evaluate(key, c, now, nil).Variant, b.after.Evaluate(key, c, now, nil).Variant
		if from != to || values[to] {
			return from, to, true
		}
	}
	return from, to, false
}

// moments returns when a flag is to be evaluated: now, and whenever one of its
// rules, or of its prerequisites', begins or ends. What is to be served next
// week affects people all the same.
func (b *blast) moments(key string) []time.Time {
	all := []time.Time{b.at}
	note := func(t *flyball.Time) {
		if t != nil && t.After(b.at) && !slices.ContainsFunc(all, t.Time.Equal) {
			all = append(all, t.Time)
		}
	}
	for _, rs := range []*eval.Ruleset{b.before, b.after} {
		needed(rs, key, map[string]bool{}, func(f *flyball.RulesetFlag) {
			for i := range f.Rules {
				note(f.Rules[i].NotBefore)
				note(f.Rules[i].NotAfter)
			}
		})
	}
	return all
}

// needed visits a flag and all that it needs.
func needed(rs *eval.Ruleset, key string, met map[string]bool, visit func(*flyball.RulesetFlag)) {
	f := rs.Flag(key)
	if f == nil || met[key] {
		return
	}
	met[key] = true
	visit(f)
	for _, p := range f.Prerequisites {
		needed(rs, p.Flag, met, visit)
	}
}

// revalued names the variants of a flag that both have, with another value.
func revalued(before, after *flyball.RulesetFlag) map[string]bool {
	changed := map[string]bool{}
	if before != nil && after != nil {
		for name, v := range after.Variants {
			if old, ok := before.Variants[name]; ok && !reflect.DeepEqual(old, v) {
				changed[name] = true
			}
		}
	}
	return changed
}

func (b *blast) safeVariant(key string) string {
	for _, rs := range []*eval.Ruleset{b.after, b.before} {
		if f := rs.Flag(key); f != nil {
			return f.SafeVariant
		}
	}
	return ""
}

// unseen lists attributes that a flag's resolution depends on, by its
// prerequisites and segments too, and that no context of the sample has: of
// those the sample cannot tell.
func (b *blast) unseen(key string) []string {
	read := map[string]bool{}
	for _, rs := range []*eval.Ruleset{b.before, b.after} {
		if f := rs.Find(key); f != nil {
			for _, name := range f.Attributes() {
				read[name] = true
			}
		}
	}
	delete(read, flyball.AttributeTargetingKey)
	for i := range b.contexts {
		if len(read) == 0 {
			break
		}
		for name := range b.contexts[i].Context.Attributes {
			delete(read, name)
		}
	}
	return slices.Sorted(maps.Keys(read))
}

// thin tells of attributes that rules ask for and that few contexts have: if
// programs differ in what they tell, the share is too small.
func (b *blast) thin() string {
	read := map[string]bool{}
	for _, key := range b.flags {
		if f := b.after.Find(key); f != nil {
			for _, name := range f.Attributes() {
				read[name] = true
			}
		}
	}
	delete(read, flyball.AttributeTargetingKey)
	if b.by != "" {
		read[b.by] = true
	}
	var few []string
	for _, name := range slices.Sorted(maps.Keys(read)) {
		n := 0
		for i := range b.contexts {
			if _, ok := b.contexts[i].Context.Attributes[name]; ok {
				n++
			}
		}
		if 2*n < len(b.contexts) && (n > 0 || name == b.by) {
			few = append(few, fmt.Sprintf("%d of %d contexts have %s", n, len(b.contexts), name))
		}
	}
	return strings.Join(few[:min(len(few), 5)], ", ")
}

// Names of groups that are no value of an attribute.
const (
	groupNone   = "(none)"
	groupOthers = "(others)"
)

func groupOf(c *flyball.EvaluationContext, attribute string) string {
	switch v := c.Attributes[attribute].(type) {
	case nil:
		return groupNone
	case string:
		return strings.ToValidUTF8(v[:min(len(v), 64)], "")
	case map[string]any, []any:
		return inBrief(v)
	default:
		return fmt.Sprint(v)
	}
}

// divided tells the users of each group, and of the smaller ones together.
func (b *blast) divided(groups map[string]hits) map[string]flyball.Estimate {
	if len(groups) == 0 {
		return nil
	}
	names := slices.SortedFunc(maps.Keys(groups), func(x, y string) int {
		return cmp.Or(cmp.Compare(b.scale.sum(groups[y]), b.scale.sum(groups[x])), cmp.Compare(x, y))
	})
	out := map[string]flyball.Estimate{}
	for i, name := range names {
		if i == maxGroups {
			others := make(hits, len(b.contexts))
			for _, more := range names[i:] {
				for j, yes := range groups[more] {
					others[j] = others[j] || yes
				}
			}
			out[groupOthers] = b.scale.users(others)
			break
		}
		out[name] = b.scale.users(groups[name])
	}
	return out
}
