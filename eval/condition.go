package eval

import (
	"maps"
	"slices"
	"strings"

	"github.com/flyballdev/flyball"
)

// A condition is a compiled [flyball.Condition]. It is one struct and no
// interface, so that the state of an evaluation stays on the stack.
type condition struct {
	kind    kind
	parts   []condition // all, any; not has one
	segment *segment
	slot    uint8 // counted from 1: where an evaluation remembers the segment; 0 if it need not
	test    *test
}

type kind uint8

const (
	kindAll kind = iota
	kindAny
	kindNot
	kindSegment
	kindTest
)

// A segment is a compiled [flyball.Segment].
type segment struct {
	def     *flyball.Segment
	include map[string]struct{}
	exclude map[string]struct{}
	rest    *condition // nil if only listed keys are in
	tests   int        // how many tests an evaluation can need
}

// An attribute is where a test or a split finds its value.
type attribute struct {
	unit bool     // the targeting key itself
	slot uint8    // counted from 1: where an evaluation remembers the value; 0 if it need not
	name string   // an attribute of the context
	rest []string // names in nested maps
}

func compileAttribute(path string) attribute {
	parts, err := flyball.ParsePath(path)
	if err != nil { // an empty path is the targeting key; others were refused before
		return attribute{unit: true}
	}
	unit := len(parts) == 1 && parts[0] == flyball.AttributeTargetingKey
	return attribute{unit: unit, name: parts[0], rest: parts[1:]}
}

// slots is how many attributes, and segmentSlots how many segments, an
// evaluation remembers.
const (
	slots        = 8
	segmentSlots = 64
)

// remember gives a slot to each attribute and segment that the rules of one
// flag test more than once. What a segment tests itself is read each time,
// since flags share it.
func remember(rules []rule) {
	paths, segments := map[string][]*uint8{}, map[string][]*uint8{}
	var visit func(c *condition)
	visit = func(c *condition) {
		for i := range c.parts {
			visit(&c.parts[i])
		}
		switch {
		case c.kind == kindSegment:
			segments[c.segment.def.Key] = append(segments[c.segment.def.Key], &c.slot)
		case c.kind == kindTest && !c.test.at.unit:
			path := strings.Join(append([]string{c.test.at.name}, c.test.at.rest...), "\x00")
			paths[path] = append(paths[path], &c.test.at.slot)
		}
	}
	for i := range rules {
		visit(&rules[i].condition)
	}
	number := func(of map[string][]*uint8, most uint8) {
		next := uint8(0)
		for _, key := range slices.Sorted(maps.Keys(of)) {
			if len(of[key]) > 1 && next < most {
				next++
				for _, slot := range of[key] {
					*slot = next
				}
			}
		}
	}
	number(paths, slots)
	number(segments, segmentSlots)
}
func setOf(keys []string) map[string]struct{} {
	if len(keys) == 0 {
		return nil
	}
	set := make(map[string]struct{}, len(keys))
	for _, k := range keys {
		set[k] = struct{}{}
	}
	return set
}

// holds says whether the condition holds for the context of st.
func (c *condition) holds(st *state) bool {
	switch c.kind {
	case kindTest:
		return c.test.holds(st)
	case kindAll:
		for i := range c.parts {
			if !c.parts[i].holds(st) {
				return false
			}
		}
		return true
	case kindAny:
		for i := range c.parts {
			if c.parts[i].holds(st) {
				return true
			}
		}
		return false
	case kindNot:
		return !c.parts[0].holds(st)
	}
	if c.slot == 0 {
		return c.segment.holds(st)
	}
	bit := uint64(1) << (c.slot - 1)
	if st.asked&bit == 0 {
		st.asked |= bit
		if c.segment.holds(st) {
			st.within |= bit
		}
	}
	return st.within&bit != 0
}

func (s *segment) holds(st *state) bool {
	if key := st.ec.TargetingKey; key != "" {
		if _, out := s.exclude[key]; out {
			return false
		}
		if _, in := s.include[key]; in {
			return true
		}
	}
	return s.rest != nil && s.rest.holds(st)
}
