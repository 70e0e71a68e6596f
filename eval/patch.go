package eval

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/flyballdev/flyball"
)

// A Patch is what changes from one ruleset to the next.
type Patch struct {
	From, To        flyball.RulesetID
	Flags           []flyball.RulesetFlag // that are new, or stand in place of those of their key
	RemovedFlags    []string
	Segments        []flyball.Segment
	RemovedSegments []string
}

// DecodePatch reads a patch as streams send it, and as [Decode] reads a whole
// ruleset: what cannot be read of it is left to [Ruleset.Update].
func DecodePatch(data []byte) (Patch, error) {
	var raw struct {
		From            flyball.RulesetID `json:"from"`
		To              flyball.RulesetID `json:"to"`
		Flags           []json.RawMessage `json:"flags"`
		RemovedFlags    []string          `json:"removedFlags"`
		Segments        []json.RawMessage `json:"segments"`
		RemovedSegments []string          `json:"removedSegments"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return Patch{}, flyball.Errorf(flyball.Invalid, "not a patch: %v", err)
	}
	p := Patch{From: raw.From, To: raw.To, RemovedFlags: raw.RemovedFlags, RemovedSegments: raw.RemovedSegments}
	for _, data := range raw.Flags {
		f, err := decodeFlag(data)
		if err != nil {
			return Patch{}, flyball.FieldErrorf("flags", "%v", err)
		}
		p.Flags = append(p.Flags, f)
	}
	for _, data := range raw.Segments {
		s, err := decodeSegment(data)
		if err != nil {
			return Patch{}, flyball.FieldErrorf("segments", "%v", err)
		}
		p.Segments = append(p.Segments, s)
	}
	return p, nil
}

// Patched returns the document that a patch leads to. It is a
// [flyball.Conflict] if the patch is of another ruleset.
func (rs *Ruleset) Patched(p Patch) (flyball.Ruleset, error) {
	if rs == nil || p.From != rs.id {
		return flyball.Ruleset{}, flyball.Errorf(flyball.Conflict, "the patch is of another ruleset")
	}
	doc := rs.Document()
	doc.Epoch, doc.Version = p.To.Epoch, p.To.Version
	doc.Flags = patched(doc.Flags, p.Flags, p.RemovedFlags, func(f flyball.RulesetFlag) string { return f.Key })
	doc.Segments = patched(doc.Segments, p.Segments, p.RemovedSegments, func(s flyball.Segment) string { return s.Key })
	return doc, nil
}

// patched returns all without those removed, and with those changed.
func patched[T any](all, changed []T, removed []string, key func(T) string) []T {
	byKey := make(map[string]T, len(all))
	for _, v := range all {
		byKey[key(v)] = v
	}
	for _, k := range removed {
		delete(byKey, k)
	}
	for _, v := range changed {
		byKey[key(v)] = v
	}
	out := make([]T, 0, len(byKey))
	for _, k := range slices.Sorted(maps.Keys(byKey)) {
		out = append(out, byKey[k])
	}
	return out
}

// Compile is [Compile] of the document that a patch leads to, and gives the
// same ruleset or the same error; it costs what changed, and what depends on
// that. The patch belongs to the ruleset afterwards. Its error is a
// [flyball.Conflict] if the patch is of another ruleset.
func (rs *Ruleset) Compile(p Patch) (*Ruleset, error) {
	if next := rs.next(p); next != nil {
		return next, nil
	}
	doc, err := rs.Patched(p)
	if err != nil {
		return nil, err
	}
	return Compile(doc)
}

// Update is [Update] of the document that a patch leads to, as
// [Ruleset.Compile] is Compile.
func (rs *Ruleset) Update(p Patch) (*Ruleset, []*flyball.Error) {
	if next := rs.next(p); next != nil {
		return next, nil
	}
	doc, err := rs.Patched(p)
	if err != nil {
		return nil, flyball.Problems(err)
	}
	return Update(rs, doc)
}

// next builds what a patch leads to of what is compiled already. It returns nil
// where that is not sure to be what compiling all of it makes: something is
// wrong with the patch or with what came before, and every problem is to be
// told; or too much has gathered that nothing needs any more.
func (rs *Ruleset) next(p Patch) *Ruleset {
	if rs == nil || p.From != rs.id || !rs.whole || rs.tests.worn() {
		return nil
	}
	doc := flyball.Ruleset{Environment: rs.environment, Epoch: p.To.Epoch, Version: p.To.Version}
	if envelope(&doc) != nil {
		return nil
	}
	b := newBuilder(nil, &doc)
	b.tests, b.rs.tests, b.rs.whole, b.rs.lives = rs.tests, rs.tests, true, rs.lives
	b.rs.flags, b.rs.segments = maps.Clone(rs.flags), rs.segments
	s := spread{segments: map[*segment]bool{}, flags: map[*Flag]bool{}}
	b.replaceSegments(rs, p, &s)
	b.replaceFlags(rs, p, &s)
	for key := range b.segDefs {
		b.segment(key)
	}
	for key := range b.flagDefs {
		if f := b.flag(key); f != nil {
			b.rs.lives += f.lives()
		}
	}
	if len(b.problems) > 0 || len(b.rs.flags) > flyball.MaxFlags {
		return nil
	}
	return b.rs
}

// replaceSegments takes out the segments that a patch changes, and those that
// need such a one, so that they are built anew.
func (b *builder) replaceSegments(rs *Ruleset, p Patch, s *spread) {
	if len(p.Segments) == 0 && len(p.RemovedSegments) == 0 {
		return // all share them
	}
	for _, key := range p.RemovedSegments {
		s.segments[rs.segments[key]] = true
	}
	for i := range p.Segments {
		key := p.Segments[i].Key
		s.segments[rs.segments[key]] = true
		b.segDefs[key] = &p.Segments[i]
	}
	b.rs.segments = make(map[string]*segment, len(rs.segments)+len(p.Segments))
	for key, old := range rs.segments {
		switch {
		case !s.segment(old):
			b.rs.segments[key] = old
		case b.segDefs[key] == nil && !slices.Contains(p.RemovedSegments, key):
			b.segDefs[key] = old.def
		}
	}
}

// replaceFlags does the same for flags.
func (b *builder) replaceFlags(rs *Ruleset, p Patch, s *spread) {
	removed := make(map[string]bool, len(p.RemovedFlags))
	for _, key := range p.RemovedFlags {
		removed[key] = true
		s.flags[rs.flags[key]] = true
	}
	for i := range p.Flags {
		key := p.Flags[i].Key
		s.flags[rs.flags[key]] = true
		b.flagDefs[key] = &p.Flags[i]
	}
	for key, old := range rs.flags {
		if !s.flag(old) {
			continue
		}
		delete(b.rs.flags, key)
		b.rs.lives -= old.lives()
		if b.flagDefs[key] == nil && !removed[key] {
			b.flagDefs[key] = old.def
		}
	}
}

// A spread is how far a patch reaches: to what it changes, and to what needs
// that.
type spread struct {
	segments map[*segment]bool
	flags    map[*Flag]bool
}

func (s *spread) segment(of *segment) bool {
	reached, known := s.segments[of]
	if !known {
		reached = slices.ContainsFunc(of.segments, s.segment)
		s.segments[of] = reached
	}
	return reached
}

func (s *spread) flag(of *Flag) bool {
	reached, known := s.flags[of]
	if known || len(of.prerequisites) == 0 && len(of.segments) == 0 {
		return reached
	}
	reached = len(s.segments) > 0 && slices.ContainsFunc(of.segments, s.segment) ||
		slices.ContainsFunc(of.prerequisites, func(p prerequisite) bool { return s.flag(p.flag) })
	s.flags[of] = reached
	return reached
}
