package service

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// assemble makes the ruleset as it is after the change: a patch of the one in
// force or, if that is not in memory, all of it anew.
func (e *edit) assemble(environment string, r *rulesetEdit) (err error) {
	base := r.before.compiled
	if base == nil {
		doc, err := load(e.tx, environment)
		if err != nil {
			return err
		}
		doc.Version = r.version + 1
		r.compile = func() (*eval.Ruleset, error) { return eval.Compile(doc) }
		r.after, err = encode(doc)
		return err
	}
	p := eval.Patch{From: base.ID(), To: base.ID()}
	p.To.Version = r.version + 1
	flags, err := e.patchFlags(r, &p)
	if err != nil {
		return err
	}
	segments, err := e.patchSegments(base, &p)
	if err != nil {
		return err
	}
	r.compile = func() (*eval.Ruleset, error) { return base.Compile(p) }
	r.after = r.before.patched(p, flags, segments)
	return nil
}

// patchFlags adds the flags that changed to a patch, and returns them encoded.
// What is compiled is read back from that, as programs will read it.
func (e *edit) patchFlags(r *rulesetEdit, p *eval.Patch) (parts []part, err error) {
	configs := make(map[string]flyball.FlagConfig, len(r.configs))
	keys := make(map[string]bool, len(r.configs)+len(e.flags))
	for _, c := range r.configs {
		configs[c.Flag], keys[c.Flag] = c, true
	}
	for key := range e.flags {
		keys[key] = true
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		old, noun, config := r.before.compiled.Flag(key), e.flags[key], configs[key]
		_, touched := e.flags[key]
		_, configured := configs[key]
		switch {
		case touched && noun == nil:
			p.RemovedFlags = append(p.RemovedFlags, key)
			continue
		case old == nil && !touched:
			return nil, fmt.Errorf("flag %q is not in the ruleset of %q", key, r.before.environment)
		case old == nil && !configured:
			continue // it is not served here
		}
		f := flyball.RulesetFlag{}
		if old != nil {
			f = *old
		}
		if noun != nil {
			f = flyball.NewRulesetFlag(*noun, f.FlagConfig)
		}
		if configured {
			f.FlagConfig = config
		}
		encoded, err := newPart(key, f)
		if err != nil {
			return nil, err
		}
		f = flyball.RulesetFlag{}
		if err := json.Unmarshal(encoded.body, &f); err != nil {
			return nil, err
		}
		p.Flags, parts = append(p.Flags, f), append(parts, encoded)
	}
	return parts, nil
}

// patchSegments adds the segments that changed, that are used from now on, or no
// more, to a patch, and returns them encoded. Most changes are of no segment.
func (e *edit) patchSegments(base *eval.Ruleset, p *eval.Patch) (parts []part, err error) {
	if len(e.segments) == 0 && sameSegments(base, *p) {
		return nil, nil
	}
	doc, err := base.Patched(*p)
	if err != nil {
		return nil, err
	}
	all, err := segments(e.tx)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, s := range usedSegments(doc.Flags, all) {
		used[s.Key] = true
		if base.Segment(s.Key) != nil && !e.segments[s.Key] {
			continue
		}
		encoded, err := newPart(s.Key, s)
		if err != nil {
			return nil, err
		}
		p.Segments, parts = append(p.Segments, s), append(parts, encoded)
	}
	for _, s := range doc.Segments {
		if !used[s.Key] {
			p.RemovedSegments = append(p.RemovedSegments, s.Key)
		}
	}
	return parts, nil
}

// sameSegments says that the flags of a patch name the segments that they named
// before.
func sameSegments(base *eval.Ruleset, p eval.Patch) bool {
	for i := range p.Flags {
		if !slices.Equal(segmentsOf(base.Flag(p.Flags[i].Key)), segmentsOf(&p.Flags[i])) {
			return false
		}
	}
	for _, key := range p.RemovedFlags {
		if len(segmentsOf(base.Flag(key))) > 0 {
			return false
		}
	}
	return true
}
