package eval

import (
	"maps"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
)

// A Flag is a compiled [flyball.RulesetFlag]. Every outcome that it can have is
// made at compile time; an evaluation picks one. Rulesets that follow each other
// share the flags that did not change, and so an outcome lacks the version.
type Flag struct {
	fixed         *flyball.Resolution // the answer whatever the context, if there is one
	answer        flyball.Resolution  // where fixed points to: next to it, which saves a miss of the cache
	program       program             // leads to one of the serves
	serves        []serve             // of the rules, and then of the default
	prerequisites []prerequisite
	off           *flyball.Resolution // when a prerequisite does not hold
	def           *flyball.RulesetFlag
	cost          int // evaluations that one can need, with its prerequisites
	needs             // of its rules
}

type prerequisite struct {
	flag    *Flag
	variant string
}

// A rule is a compiled [flyball.Rule] on its way into a program.
type rule struct {
	condition condition
	notBefore *time.Time
	notAfter  *time.Time
}

// A serve is one plain outcome, or a split.
type serve struct {
	plain *flyball.Resolution
	split *split
}

// A split has arms on the ring. A live rollout has two: treatment, and control
// for everybody else.
type split struct {
	arms     []arm
	ring     hash
	by       attribute
	missing  *flyball.Resolution // without a unit
	notAfter *time.Time          // a rollout's lease, if it has one
	lapsed   *flyball.Resolution // from then on
}

// An arm reaches to a point on the ring, exclusive.
type arm struct {
	upTo    uint32
	outcome *flyball.Resolution
}

// A state is one evaluation under way. It reads the clock at most once.
//
// The other form of context and what is told of exposures are no part of it, but
// handed along beside it: what the state holds may reach a regular expression,
// and so the compiler would have callers allocate both.
type state struct {
	version    int64 // of the ruleset
	key        string
	attributes flyball.Attributes // if there is no context
	now        func() time.Time
	at         time.Time
	clocked    bool
	known      uint8 // which slots of the flag in hand are filled
	slots      [slots]any
}

// slots is how many attributes of a map an evaluation remembers. A Context is
// as quick to read again.
const slots = 8

var notReady = &flyball.Resolution{Reason: flyball.ReasonError, ErrorCode: flyball.ErrorProviderNotReady}

// Evaluate resolves a flag for a context, which may be nil. It always answers:
// a problem is told in the resolution, whose Value is nil then and the
// caller's default stands. It takes no lock and does not allocate. The clock
// is read at most once, and only for flags with dates or a live lease; without
// one it is the year 1.
//
// A Value that is a map or a list belongs to the ruleset and must not be
// changed.
//
// exposed may be nil. It is told of every resolution that puts the unit into
// the population of a rollout, also those of prerequisites evaluated on the
// way, before Evaluate returns; it may be told the same more than once.
func (rs *Ruleset) Evaluate(key string, ec *flyball.EvaluationContext, now func() time.Time, exposed func(flag string, r flyball.Resolution)) (r flyball.Resolution) {
	f := rs.Find(key)
	if f == nil {
		return *rs.unknown()
	}
	if f.fixed != nil {
		r = *f.fixed
		r.Version = rs.id.Version
		return r
	}
	st := state{now: now, version: rs.id.Version}
	if ec != nil {
		st.key, st.attributes = ec.TargetingKey, ec.Attributes
	}
	outcome, by := f.resolve(&st, nil, exposed)
	r = *outcome // it is large, and so it is copied once, to where the caller wants it
	r.Version = rs.id.Version
	if by != "" {
		r.By = by
	}
	return r
}

// EvaluateContext is [Ruleset.Evaluate] for the other form of context, which
// may be nil: equal contexts get equal resolutions.
func (rs *Ruleset) EvaluateContext(key string, c *Context, now func() time.Time, exposed func(flag string, r flyball.Resolution)) (r flyball.Resolution) {
	f := rs.Find(key)
	if f == nil {
		return *rs.unknown()
	}
	if f.fixed != nil {
		r = *f.fixed
		r.Version = rs.id.Version
		return r
	}
	outcome, by := rs.Resolve(f, c, now, exposed)
	r = *outcome // it is large, and so it is copied once, to where the caller wants it
	r.Version = rs.id.Version
	if by != "" {
		r.By = by
	}
	return r
}

// Find returns a compiled flag, for those who evaluate it again and again while
// the ruleset stays in force; nil if there is no such flag.
func (rs *Ruleset) Find(key string) *Flag {
	if rs == nil {
		return nil
	}
	return rs.flags[key]
}

func (rs *Ruleset) unknown() *flyball.Resolution {
	if rs == nil {
		return notReady
	}
	return rs.notFound
}

// Key returns the flag's key.
func (f *Flag) Key() string { return f.def.Key }

// Constant returns the resolution that the flag has whatever the context, if it
// has one: it is killed or disabled, or there is nothing to decide. It lacks the
// version and must not be changed.
func (f *Flag) Constant() *flyball.Resolution { return f.fixed }

// lives is 1 if the flag holds a live rollout.
func (f *Flag) lives() int {
	if f.def.Rollout != nil && f.fixed == nil {
		return 1
	}
	return 0
}

// Attributes returns the names of all attributes that the flag's resolution may
// depend on, sorted: those that its rules and segments test or that units are
// bucketed by, and those of its prerequisites. Of attributes in nested maps it
// is the name of the outermost.
func (f *Flag) Attributes() []string {
	names := map[string]bool{}
	f.attributes(names)
	return slices.Sorted(maps.Keys(names))
}

func (f *Flag) attributes(names map[string]bool) {
	if f.fixed != nil {
		return
	}
	for _, p := range f.prerequisites {
		p.flag.attributes(names)
	}
	f.program.attributes(names)
	for _, s := range f.serves {
		if s.split != nil {
			s.split.by.attributes(names)
		}
	}
}

// Resolve is [Ruleset.EvaluateContext] for a flag of the ruleset that is at hand,
// and without a copy: the outcome is shared and must not be changed. By is the
// resolution's By, which the outcome lacks, as it lacks the version.
func (rs *Ruleset) Resolve(f *Flag, c *Context, now func() time.Time, exposed func(flag string, r flyball.Resolution)) (outcome *flyball.Resolution, by string) {
	if f.fixed != nil {
		return f.fixed, ""
	}
	st := state{now: now, version: rs.id.Version}
	if c != nil {
		st.key = c.key
	}
	return f.resolve(&st, c, exposed)
}

// resolve picks the outcome, and the bucketing value if it is to be told. c is
// nil if the state has attributes.
func (f *Flag) resolve(st *state, c *Context, exposed func(flag string, r flyball.Resolution)) (outcome *flyball.Resolution, by string) {
	if f.fixed != nil {
		return f.fixed, ""
	}
	for i := range f.prerequisites {
		p := &f.prerequisites[i]
		if o, _ := p.flag.resolve(st, c, exposed); o.Variant != p.variant {
			return f.off, ""
		}
		st.known = 0 // its slots were its own
	}
	s := &f.serves[0]
	if f.program.start >= 0 { // there are rules
		s = &f.serves[f.program.run(st, c)]
	}
	if s.plain != nil {
		return s.plain, ""
	}
	outcome, by = s.split.resolve(st, c)
	if outcome.Exposed && exposed != nil {
		r := *outcome
		r.By, r.Version = by, st.version
		exposed(f.def.Key, r)
	}
	return outcome, by
}

func (s *split) resolve(st *state, c *Context) (outcome *flyball.Resolution, by string) {
	unit, ok := st.key, st.key != ""
	if !s.by.unit {
		unit, ok = st.value(c, &s.by, 0).unit()
	}
	switch {
	case !ok:
		return s.missing, ""
	case s.notAfter != nil && !st.clock().Before(*s.notAfter):
		outcome = s.lapsed
	default:
		point, i := s.ring.point(unit), 0
		for i < len(s.arms)-1 && point >= s.arms[i].upTo {
			i++
		}
		outcome = s.arms[i].outcome
	}
	if s.by.unit || outcome.Rollout == "" {
		unit = ""
	}
	return outcome, unit
}

func (st *state) clock() time.Time {
	if !st.clocked && st.now != nil {
		st.at, st.clocked = st.now(), true
	}
	return st.at
}

// value returns what tests see of an attribute.
func (st *state) value(c *Context, at *attribute, slot uint8) value {
	if at.unit {
		if st.key == "" {
			return value{}
		}
		return value{kind: isText, text: st.key}
	}
	if c != nil && len(at.rest) == 0 {
		if e := c.find(at.tag, at.name); e != nil {
			return e.value
		}
		return value{}
	}
	v := st.attribute(c, at, slot)
	if s, ok := v.(string); ok { // as most are
		return value{kind: isText, text: s}
	}
	return valueOf(v)
}

// attribute returns an attribute as it was given; nil if there is none.
func (st *state) attribute(c *Context, at *attribute, slot uint8) any {
	if c != nil {
		if e := c.find(at.tag, at.name); e != nil && e.other > 0 { // others have no members
			return dig(c.others[e.other-1], at.rest)
		}
		return nil
	}
	i := (slot - 1) % slots
	if slot > 0 && st.known>>i&1 != 0 {
		return st.slots[i]
	}
	v := st.attributes[at.name]
	if len(at.rest) > 0 {
		v = dig(v, at.rest)
	}
	if slot > 0 {
		st.known |= 1 << i
		st.slots[i] = v
	}
	return v
}
