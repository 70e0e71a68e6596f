package eval

import (
	"time"

	"github.com/flyballdev/flyball"
)

// A flag is a compiled [flyball.RulesetFlag]. Every outcome that it can have
// is made at compile time; an evaluation picks one.
type flag struct {
	def           *flyball.RulesetFlag
	fixed         *flyball.Resolution // the answer whatever the context, if there is one
	off           *flyball.Resolution // when a prerequisite does not hold
	prerequisites []prerequisite
	rules         []rule
	otherwise     serve
	cost          int // evaluations that one can need, with its prerequisites
}

type prerequisite struct {
	flag    *flag
	variant string
}

type rule struct {
	condition condition
	notBefore *time.Time
	notAfter  *time.Time
	serve     serve
}

// A serve is one plain outcome, or arms on the ring. A live rollout has two
// arms: treatment, and control for everybody else.
type serve struct {
	plain    *flyball.Resolution // if it has no arms
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
type state struct {
	ec      *flyball.EvaluationContext
	now     func() time.Time
	at      time.Time
	clocked bool
	known   uint16 // which slots of the flag in hand are filled
	values  [slots]any
	asked   uint64 // which segments of the flag in hand have been asked
	within  uint64 // which of them hold the unit
}

var (
	nobody   = &flyball.EvaluationContext{}
	notReady = flyball.Resolution{Reason: flyball.ReasonError, ErrorCode: flyball.ErrorProviderNotReady}
)

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
func (rs *Ruleset) Evaluate(key string, ec *flyball.EvaluationContext, now func() time.Time, exposed func(flag string, r flyball.Resolution)) flyball.Resolution {
	if rs == nil {
		return notReady
	}
	f := rs.flags[key]
	if f == nil {
		return flyball.Resolution{Reason: flyball.ReasonError, ErrorCode: flyball.ErrorFlagNotFound, Version: rs.id.Version}
	}
	if f.fixed != nil {
		return *f.fixed
	}
	if ec == nil {
		ec = nobody
	}
	st := state{ec: ec, now: now}
	outcome, by := f.resolve(&st, exposed)
	if by == "" {
		return *outcome
	}
	r := *outcome
	r.By = by
	return r
}

// resolve picks the outcome, and the bucketing value if it is to be told.
// exposed is not part of the state, so that a caller's closure need not be
// moved to the heap: what the state holds may reach a regular expression.
func (f *flag) resolve(st *state, exposed func(flag string, r flyball.Resolution)) (outcome *flyball.Resolution, by string) {
	if f.fixed != nil {
		return f.fixed, ""
	}
	for i := range f.prerequisites {
		p := &f.prerequisites[i]
		if o, _ := p.flag.resolve(st, exposed); o.Variant != p.variant {
			return f.off, ""
		}
	}
	st.known, st.asked, st.within = 0, 0, 0 // a prerequisite's slots were its own
	s := &f.otherwise
	for i := range f.rules {
		if r := &f.rules[i]; r.exists(st) && r.condition.holds(st) {
			s = &r.serve
			break
		}
	}
	if s.plain != nil {
		return s.plain, ""
	}
	outcome, by = s.resolve(st)
	if outcome.Exposed && exposed != nil {
		r := *outcome
		r.By = by
		exposed(f.def.Key, r)
	}
	return outcome, by
}

func (r *rule) exists(st *state) bool {
	if r.notBefore != nil && st.clock().Before(*r.notBefore) {
		return false
	}
	return r.notAfter == nil || st.clock().Before(*r.notAfter)
}

func (s *serve) resolve(st *state) (outcome *flyball.Resolution, by string) {
	unit, ok := st.unit(&s.by)
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

// unit returns the text of the value that a serve buckets by.
func (st *state) unit(at *attribute) (string, bool) {
	if at.unit {
		return st.ec.TargetingKey, st.ec.TargetingKey != ""
	}
	return unitText(st.attribute(at))
}

// attribute returns an attribute's value; nil if the context lacks it.
func (st *state) attribute(at *attribute) any {
	if at.slot == 0 {
		return st.read(at)
	}
	i := (at.slot - 1) % slots
	if st.known>>i&1 == 0 {
		st.known |= 1 << i
		st.values[i] = st.read(at)
	}
	return st.values[i]
}

func (st *state) read(at *attribute) any {
	v := st.ec.Attributes[at.name]
	for _, name := range at.rest {
		if v == nil {
			return nil
		}
		v = member(v, name)
	}
	return plain(v)
}
