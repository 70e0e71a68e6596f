package eval

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
)

// Limits of what one evaluation can cost, so that no ruleset makes it slow.
const (
	MaxEvaluations = 100    // of flags for one, itself and its prerequisites, each as often as it is needed
	MaxTests       = 10_000 // of attributes and segments for one flag, each as often as it is needed
)

// A builder makes a ruleset out of a document. What cannot be built keeps its
// definition of the previous ruleset, if there is one.
type builder struct {
	rs         *Ruleset
	previous   *Ruleset // may be nil
	flagDefs   map[string]*flyball.RulesetFlag
	segDefs    map[string]*flyball.Segment
	building   map[string]bool // flags and segments under way, to find cycles
	failedSegs map[string]bool
	tests      *tests
	cycles     int // found so far
	problems   []error
	valid      bool // the document has been validated as a whole
}

func newBuilder(previous *Ruleset, doc *flyball.Ruleset) *builder {
	b := &builder{
		rs: &Ruleset{
			environment: doc.Environment,
			id:          flyball.RulesetID{Epoch: doc.Epoch, Version: doc.Version},
			flags:       make(map[string]*Flag, len(doc.Flags)),
			segments:    make(map[string]*segment, len(doc.Segments)),
			notFound:    &flyball.Resolution{Reason: flyball.ReasonError, ErrorCode: flyball.ErrorFlagNotFound, Version: doc.Version},
		},
		previous:   previous,
		flagDefs:   make(map[string]*flyball.RulesetFlag, len(doc.Flags)),
		segDefs:    make(map[string]*flyball.Segment, len(doc.Segments)),
		building:   map[string]bool{},
		failedSegs: map[string]bool{},
		tests:      &tests{known: map[[sha256.Size]byte]*test{}},
	}
	for i := range doc.Segments {
		s := &doc.Segments[i]
		if b.segDefs[s.Key] != nil {
			b.report(fmt.Errorf("occurs twice"), "segments[%q]", s.Key)
			continue
		}
		b.segDefs[s.Key] = s
	}
	for i := range doc.Flags {
		f := &doc.Flags[i]
		if b.flagDefs[f.Key] != nil {
			b.report(fmt.Errorf("occurs twice"), "flags[%q]", f.Key)
			continue
		}
		b.flagDefs[f.Key] = f
	}
	return b
}

func (b *builder) build(doc *flyball.Ruleset) *Ruleset {
	for i := range doc.Segments {
		b.segment(doc.Segments[i].Key)
	}
	for i := range doc.Flags {
		b.flag(doc.Flags[i].Key)
	}
	for _, f := range b.rs.flags {
		b.rs.lives += f.lives()
	}
	b.rs.whole, b.rs.tests = len(b.problems) == 0, b.tests
	b.tests.most = 2*len(b.tests.known) + 1000
	return b.rs
}

func (b *builder) validate(def interface{ Validate() error }) error {
	if b.valid {
		return nil
	}
	return def.Validate()
}

// report adds problems, their fields led by the place they were found at.
func (b *builder) report(err error, at string, args ...any) {
	at = fmt.Sprintf(at, args...)
	for _, e := range flyball.Problems(err) {
		field := at
		if e.Field != "" {
			field += "." + e.Field
		}
		b.problems = append(b.problems, flyball.FieldErrorf(field, "%s", e.Message))
	}
	if len(flyball.Problems(err)) == 0 {
		b.problems = append(b.problems, flyball.FieldErrorf(at, "%v", err))
	}
}

// segment returns a segment; the previous one if the new one cannot be built or
// is missing. It is an error if there is neither.
func (b *builder) segment(key string) (*segment, error) {
	if s := b.rs.segments[key]; s != nil {
		return s, nil
	}
	def := b.segDefs[key]
	if def == nil {
		if old := b.previousSegment(key); old != nil {
			def, b.segDefs[key] = old.def, old.def
			b.report(fmt.Errorf("is missing, and used: its previous definition stays"), "segments[%q]", key)
		}
	}
	switch {
	case def == nil:
		return nil, fmt.Errorf("there is no segment %q", key)
	case b.building["segment "+key]:
		return nil, fmt.Errorf("a cycle: segment %q needs itself", key)
	case b.failedSegs[key]:
		return nil, fmt.Errorf("segment %q is broken", key)
	}
	b.building["segment "+key] = true
	s, err := b.compileSegment(def)
	delete(b.building, "segment "+key)
	if err != nil {
		b.report(err, "segments[%q]", key)
		if s = b.previousSegment(key); s == nil {
			b.failedSegs[key] = true
			return nil, fmt.Errorf("segment %q is broken", key)
		}
	}
	b.rs.segments[key] = s
	return s, nil
}

func (b *builder) previousSegment(key string) *segment {
	if b.previous == nil {
		return nil
	}
	return b.previous.segments[key]
}

func (b *builder) compileSegment(def *flyball.Segment) (*segment, error) {
	if err := b.validate(def); err != nil {
		return nil, err
	}
	s := &segment{def: def, include: setOf(def.Include), exclude: setOf(def.Exclude), needs: needs{tests: 1}}
	if def.If == nil {
		return s, nil
	}
	rest, err := b.compileCondition(*def.If, &s.needs)
	if err != nil {
		return nil, err
	}
	if s.tests > MaxTests {
		return nil, fmt.Errorf("needs more than %d tests with the segments it uses", MaxTests)
	}
	s.rest = assembleCondition(&rest)
	return s, nil
}

func (b *builder) compileCondition(c flyball.Condition, n *needs) (condition, error) {
	n.tests++
	parts, out := c.All, condition{kind: kindAll}
	switch {
	case c.All != nil:
	case c.Any != nil:
		parts, out.kind = c.Any, kindAny
	case c.Not != nil:
		parts, out.kind = []flyball.Condition{*c.Not}, kindNot
	case c.Segment != "":
		s, err := b.segment(c.Segment)
		if err != nil {
			return condition{}, err
		}
		n.tests = min(n.tests+s.tests, MaxTests+1)
		if !slices.Contains(n.segments, s) {
			n.segments = append(n.segments, s)
		}
		return condition{leaf: leaf{kind: leafSegment, segment: s}}, nil
	default:
		return condition{leaf: leaf{test: b.tests.of(c)}}, nil
	}
	out.parts = make([]condition, 0, len(parts))
	for _, p := range parts {
		part, err := b.compileCondition(p, n)
		if err != nil {
			return condition{}, err
		}
		out.parts = append(out.parts, part)
	}
	return out, nil
}

// flag returns a flag, built after those it needs; nil if it cannot be built
// and there is no previous definition of it.
func (b *builder) flag(key string) *Flag {
	if f, done := b.rs.flags[key]; done {
		return f
	}
	def := b.flagDefs[key]
	if def == nil {
		return nil
	}
	b.building[key] = true
	f, err := b.compileFlag(def)
	later := false
	if err != nil {
		b.report(err, "flags[%q]", key)
		f, later = b.fallBack(def)
	}
	delete(b.building, key)
	switch {
	case f != nil:
		b.rs.flags[key] = f
	case !later:
		delete(b.flagDefs, key) // and so it is unknown to all others
	}
	return f
}

// fallBack returns what stands in for a definition that cannot be compiled. A
// kill or a disable needs nothing but a variant, and is obeyed; else the
// previous good definition stands. If that needs a flag that is being built, and
// so the new definition of that one is what closes the cycle, there is nothing
// yet, and it is to be built later.
func (b *builder) fallBack(def *flyball.RulesetFlag) (f *Flag, later bool) {
	old := b.previous.Find(def.Key)
	if def.Killed != nil || !def.Enabled {
		if f := b.settle(def, def); f != nil {
			return f, false
		}
		if old != nil {
			return b.settle(old.def, def), false
		}
	}
	if old == nil {
		return nil, false
	}
	cycles := b.cycles
	f, err := b.compileFlag(old.def)
	switch {
	case err == nil:
		return f, false
	case b.cycles > cycles && len(b.building) > 1:
		return nil, true
	}
	return old, false // something it needs is no more: it stays as it was, with all it needs
}

// settle compiles no more of a definition than its variants, killed or
// disabled as another definition says.
func (b *builder) settle(def, as *flyball.RulesetFlag) *Flag {
	d := *def
	d.Killed, d.Enabled, d.Seed, d.HashVersion = as.Killed, as.Enabled, d.Key, flyball.HashVersion
	d.Prerequisites, d.Rules, d.Rollout = nil, nil, nil
	d.Default = flyball.Serve{Variant: d.SafeVariant}
	if d.Killed != nil {
		d.OffVariant = d.SafeVariant
	}
	f, err := b.compileFlag(&d)
	if err != nil {
		return nil
	}
	return f
}

func (b *builder) compileFlag(def *flyball.RulesetFlag) (*Flag, error) {
	if err := b.validate(def); err != nil {
		return nil, err
	}
	c := flagCompiler{def: def}
	f := &Flag{def: def, off: c.outcome(def.OffVariant, flyball.ReasonDefault, ""), cost: 1}
	if o := c.fixed(); o != nil {
		f.answer = *o
		f.fixed = &f.answer
	}
	var errs []error
	for i, p := range def.Prerequisites {
		if err := b.prerequisite(f, p); err != nil {
			errs = append(errs, flyball.FieldErrorf(fmt.Sprintf("prerequisites[%d]", i), "%v", err))
		}
	}
	rules := make([]rule, len(def.Rules))
	for i, r := range def.Rules {
		cond, err := b.compileCondition(r.If, &f.needs)
		if err != nil {
			errs = append(errs, flyball.FieldErrorf(fmt.Sprintf("rules[%d].if", i), "%v", err))
		}
		rules[i] = rule{condition: cond, notBefore: std(r.NotBefore), notAfter: std(r.NotAfter)}
		f.serves = append(f.serves, c.serve(r.Serve, r.ID))
	}
	if f.tests > MaxTests {
		errs = append(errs, flyball.FieldErrorf("rules", "need more than %d tests with the segments they use", MaxTests))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	f.program = assembleRules(rules)
	f.serves = append(f.serves, c.serve(def.Default, ""))
	return f, nil
}

func (b *builder) prerequisite(f *Flag, p flyball.Prerequisite) error {
	if b.building[p.Flag] {
		b.cycles++
		return fmt.Errorf("a cycle: %s needs %s", f.def.Key, p.Flag)
	}
	if old := b.previous.Find(p.Flag); old != nil && b.flagDefs[p.Flag] == nil {
		b.flagDefs[p.Flag] = old.def
		b.report(fmt.Errorf("is missing, and a prerequisite of %q: its previous definition stays", f.def.Key), "flags[%q]", p.Flag)
	}
	other := b.flag(p.Flag)
	if other == nil {
		return fmt.Errorf("there is no flag %q", p.Flag)
	}
	if _, ok := other.def.Variants[p.Variant]; !ok {
		return fmt.Errorf("%q is not one of the variants of %q", p.Variant, p.Flag)
	}
	if f.cost += other.cost; f.cost > MaxEvaluations {
		f.cost = MaxEvaluations + 1
		return fmt.Errorf("more than %d evaluations of prerequisites", MaxEvaluations)
	}
	f.prerequisites = append(f.prerequisites, prerequisite{flag: other, variant: p.Variant})
	return nil
}

// A flagCompiler makes the outcomes of one flag.
type flagCompiler struct{ def *flyball.RulesetFlag }

func (c flagCompiler) outcome(variant string, why flyball.Reason, rule string) *flyball.Resolution {
	return &flyball.Resolution{
		Value: c.def.Variants[variant], Variant: strings.Clone(variant), Reason: why, Rule: rule,
	}
}

// fixed returns the answer that no context changes; nil if there is none.
func (c flagCompiler) fixed() *flyball.Resolution {
	d := c.def
	switch {
	case d.Killed != nil:
		return c.outcome(d.SafeVariant, flyball.ReasonDisabled, "")
	case !d.Enabled:
		return c.outcome(d.OffVariant, flyball.ReasonDisabled, "")
	case len(d.Rules) == 0 && len(d.Prerequisites) == 0 && d.Rollout == nil && d.Default.Split == nil:
		return c.outcome(d.Default.Variant, flyball.ReasonStatic, "")
	}
	return nil
}

// serve compiles what stands at a rule, or at the default if rule is empty.
func (c flagCompiler) serve(s flyball.Serve, rule string) serve {
	where, why := rule, flyball.ReasonTargetingMatch
	if rule == "" {
		where, why = flyball.WhereDefault, flyball.ReasonDefault
	}
	if o := c.def.Rollout; o != nil && o.Where == where {
		return c.rollout(o, rule)
	}
	if s.Split == nil {
		return serve{plain: c.outcome(s.Variant, why, rule)}
	}
	out := &split{
		ring: ring(c.def.Seed), by: compileAttribute(s.Split.By),
		missing: &flyball.Resolution{
			Reason: flyball.ReasonError, ErrorCode: flyball.ErrorTargetingKeyMissing, Rule: rule,
		},
	}
	upTo := uint32(0)
	for _, w := range s.Split.Weights {
		upTo += uint32(w.PPM)
		if w.PPM > 0 {
			out.arms = append(out.arms, arm{upTo, c.outcome(w.Variant, flyball.ReasonSplit, rule)})
		}
	}
	return serve{split: out}
}

// rollout compiles a live rollout's overlay. Its share is measured on the
// flag's own ring, so that the next rollout starts with the same people.
func (c flagCompiler) rollout(o *flyball.Overlay, rule string) serve {
	outcome := func(variant string, why flyball.Reason, exposed bool) *flyball.Resolution {
		r := c.outcome(variant, why, rule)
		r.Rollout, r.Step, r.Exposed = o.ID, o.Step, exposed
		return r
	}
	return serve{split: &split{
		ring: ring(c.def.Seed), by: compileAttribute(o.Unit), notAfter: std(o.NotAfter),
		missing: outcome(o.Control, flyball.ReasonDefault, false),
		lapsed:  outcome(o.Control, flyball.ReasonSplit, false),
		arms: []arm{
			{uint32(o.PPM), outcome(o.Treatment, flyball.ReasonSplit, true)},
			{flyball.PPM, outcome(o.Control, flyball.ReasonSplit, true)},
		},
	}}
}

func std(t *flyball.Time) *time.Time {
	if t == nil {
		return nil
	}
	return &t.Time
}
