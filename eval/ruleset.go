// Package eval turns a ruleset into decisions.
//
// [Compile] does all that is slow or can fail. [Ruleset.Evaluate] is total: it
// answers for any key and any context, with no lock, no I/O and no allocation,
// and it reads no clock but the one it is given. Servers and SDKs evaluate
// with this very code, and so agree about every unit. A [Holder] hands a
// program's goroutines one whole ruleset at a time.
//
// Who is evaluated for is told in one of two forms, which mean the same: a
// [flyball.EvaluationContext] with a map of attributes, or a [Context], which is
// built once for a hot loop and is quicker to read.
package eval

import (
	"errors"
	"maps"
	"reflect"
	"slices"

	"github.com/flyballdev/flyball"
)

// A Ruleset is a compiled [flyball.Ruleset]. It never changes and is safe for
// use by any number of goroutines.
type Ruleset struct {
	environment string
	id          flyball.RulesetID
	flags       map[string]*Flag
	segments    map[string]*segment
	lives       int // how many flags hold a live rollout
	notFound    *flyball.Resolution
	whole       bool   // every flag is what its definition says, and so are those it needs
	tests       *tests // of its flags, to be shared with those of the next
}

// Compile prepares a document for evaluation. Its error tells every problem at
// once (see [flyball.Problems]); there is no ruleset then. The document
// belongs to the ruleset afterwards and must not be changed.
func Compile(doc flyball.Ruleset) (*Ruleset, error) {
	if err := envelope(&doc); err != nil {
		return nil, err
	}
	if err := doc.Validate(); err != nil {
		return nil, err
	}
	b := newBuilder(nil, &doc)
	b.valid = true
	rs := b.build(&doc)
	if err := errors.Join(b.problems...); err != nil {
		return nil, err
	}
	return rs, nil
}

// Update prepares a document that a server published, for an evaluator that
// must go on whatever it says. A flag that cannot be compiled, since it uses
// an operator of a later version or names something that is not there, keeps
// its definition of the previous ruleset, and is unknown if it had none; a
// segment likewise. A kill or a disable is obeyed even then. A flag or a segment
// that the document lacks, though another one needs it, keeps its definition
// too. Nobody else is harmed. Every problem is told, its field led by flags["key"] or
// segments["key"].
//
// Update returns no ruleset if the document as a whole is unusable. previous
// may be nil.
func Update(previous *Ruleset, doc flyball.Ruleset) (*Ruleset, []*flyball.Error) {
	if err := envelope(&doc); err != nil {
		return nil, []*flyball.Error{err}
	}
	b := newBuilder(previous, &doc)
	rs := b.build(&doc)
	return rs, flyball.Problems(errors.Join(b.problems...))
}

// envelope says what makes a document unusable as a whole; nil if nothing does.
func envelope(doc *flyball.Ruleset) *flyball.Error {
	switch {
	case doc.Environment == "":
		return flyball.FieldErrorf("environment", "a ruleset names its environment")
	case doc.Epoch < 0 || doc.Version < 0:
		return flyball.FieldErrorf("version", "(%d, %d) is not a version", doc.Epoch, doc.Version)
	case len(doc.Flags) > flyball.MaxFlags:
		return flyball.FieldErrorf("flags", "%d flags, at most %d", len(doc.Flags), flyball.MaxFlags)
	}
	return nil
}

// Environment returns the key of the environment that the ruleset is for.
func (rs *Ruleset) Environment() string { return rs.environment }

// ID returns the epoch and version of the ruleset.
func (rs *Ruleset) ID() flyball.RulesetID { return rs.id }

// Live says whether the ruleset, which may be nil, holds a live rollout.
func (rs *Ruleset) Live() bool { return rs != nil && rs.lives > 0 }

// Keys returns the keys of all flags, sorted.
func (rs *Ruleset) Keys() []string { return slices.Sorted(maps.Keys(rs.flags)) }

// Flag returns the definition in force of a flag, which must not be changed;
// nil if there is no such flag.
func (rs *Ruleset) Flag(key string) *flyball.RulesetFlag {
	if f := rs.flags[key]; f != nil {
		return f.def
	}
	return nil
}

// Segment returns the definition in force of a segment, which must not be
// changed; nil if there is no such segment.
func (rs *Ruleset) Segment(key string) *flyball.Segment {
	if s := rs.segments[key]; s != nil {
		return s.def
	}
	return nil
}

// Document returns the definitions in force, by key: what was compiled, save
// for those that [Update] could not and kept. It shares them with the ruleset.
func (rs *Ruleset) Document() flyball.Ruleset {
	doc := flyball.Ruleset{
		Environment: rs.environment, Epoch: rs.id.Epoch, Version: rs.id.Version,
		Flags: make([]flyball.RulesetFlag, 0, len(rs.flags)), Segments: make([]flyball.Segment, 0, len(rs.segments)),
	}
	for _, key := range rs.Keys() {
		doc.Flags = append(doc.Flags, *rs.flags[key].def)
	}
	for _, key := range slices.Sorted(maps.Keys(rs.segments)) {
		doc.Segments = append(doc.Segments, *rs.segments[key].def)
	}
	return doc
}

// Constant returns the resolution that a flag has whatever the context, if it
// has one: it is killed or disabled, or there is nothing to decide.
func (rs *Ruleset) Constant(key string) (flyball.Resolution, bool) {
	if f := rs.flags[key]; f != nil && f.fixed != nil {
		r := *f.fixed
		r.Version = rs.id.Version
		return r, true
	}
	return flyball.Resolution{}, false
}

// Changed returns the keys, sorted, of all flags that may resolve otherwise in
// one ruleset than in the other: those that came, went or were edited, and
// those that need such a flag or segment. Either may be nil.
func Changed(before, after *Ruleset) []string {
	d := difference{before: before, after: after, flags: map[string]bool{}, segments: map[string]bool{}}
	var keys []string
	for _, rs := range []*Ruleset{before, after} {
		if rs == nil {
			continue
		}
		for key := range rs.flags {
			if d.flag(key) {
				keys = append(keys, key)
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// A difference remembers what changed between two rulesets.
type difference struct {
	before, after   *Ruleset
	flags, segments map[string]bool
}

func (d *difference) flag(key string) bool {
	a, b := d.before.Find(key), d.after.Find(key)
	if a == b { // and so what it needs is the same too
		return false
	}
	if changed, known := d.flags[key]; known {
		return changed
	}
	changed := a == nil || b == nil || !reflect.DeepEqual(a.def, b.def)
	d.flags[key] = changed // the graph has no cycle, so this is never read half done
	if changed {
		return true
	}
	for _, p := range b.def.Prerequisites {
		changed = changed || d.flag(p.Flag)
	}
	for _, r := range b.def.Rules {
		for _, s := range r.If.Segments(nil) {
			changed = changed || d.segment(s)
		}
	}
	d.flags[key] = changed
	return changed
}

func (d *difference) segment(key string) bool {
	if changed, known := d.segments[key]; known {
		return changed
	}
	a, b := d.before.segments[key], d.after.segments[key]
	changed := (a == nil) != (b == nil) || a != nil && !reflect.DeepEqual(a.def, b.def)
	d.segments[key] = changed
	if changed || b == nil || b.def.If == nil {
		return changed
	}
	for _, s := range b.def.If.Segments(nil) {
		changed = changed || d.segment(s)
	}
	d.segments[key] = changed
	return changed
}
