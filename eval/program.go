package eval

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
)

// A program is what conditions compile to: steps that each ask one leaf, and
// go on from there as it holds or not. It has no recursion and no short
// circuit to work out; that was done when it was compiled.
type program struct {
	steps  []step
	leaves []leaf
	start  int16
}

// A step asks a leaf. Where it goes on is the index of another step, or the
// complement of the number that the program returns.
type step struct {
	leaf    uint16
	yes, no int16
}

// A leaf is what a condition is built of, each once in a program however often
// it occurs: rules that follow each other tend to ask the same things again.
// It is one struct and no interface, so that the state of an evaluation stays
// on the stack.
type leaf struct {
	kind    leafKind
	slot    uint8 // counted from 1: where an evaluation remembers the attribute; 0 if it need not
	test    *test
	segment *segment
	at      *time.Time
}

type leafKind uint8

const (
	leafTest leafKind = iota
	leafSegment
	leafFrom  // it is at or later
	leafUntil // it is earlier than at
)

// run returns the number that the program leads to. It remembers the answers of
// the first 64 leaves.
func (p *program) run(st *state, c *Context) int {
	var asked, held uint64
	at := p.start
	for at >= 0 {
		s := p.steps[at]
		// A shift of 64 and more leaves nothing, and so other leaves are asked
		// each time.
		bit := uint64(1) << s.leaf
		holds := held&bit != 0
		if asked&bit == 0 {
			if l := &p.leaves[s.leaf]; l.kind == leafTest {
				holds = l.test.holds(st, c, l.slot)
			} else {
				holds = l.holds(st, c)
			}
			if holds {
				held |= bit
			}
			asked |= bit
		}
		if holds {
			at = s.yes
		} else {
			at = s.no
		}
	}
	return int(^at)
}

// holds asks a leaf that is no test.
func (l *leaf) holds(st *state, c *Context) bool {
	switch l.kind {
	case leafSegment:
		return l.segment.holds(st, c)
	case leafFrom:
		return !st.clock().Before(*l.at)
	}
	return st.clock().Before(*l.at)
}

// attributes adds the names of the attributes that the program may ask for.
func (p *program) attributes(names map[string]bool) {
	for _, l := range p.leaves {
		switch {
		case l.kind == leafTest:
			l.test.at.attributes(names)
		case l.kind == leafSegment:
			names[flyball.AttributeTargetingKey] = true
			if l.segment.rest != nil {
				l.segment.rest.attributes(names)
			}
		}
	}
}

// A condition is a compiled [flyball.Condition] on its way into a program.
type condition struct {
	kind  kind
	parts []condition // all, any; not has one
	leaf  leaf
}

type kind uint8

const (
	kindLeaf kind = iota
	kindAll
	kindAny
	kindNot
)

// An assembler lays out a program from its end to its beginning, so that each
// step knows where to go on.
type assembler struct {
	program program
	known   map[leaf]uint16
}

// finished returns the end of a program that returns n.
func finished(n int) int16 { return ^int16(n) }

// add lays out a condition that leads to yes or no, and returns where it
// begins.
func (a *assembler) add(c *condition, yes, no int16) int16 {
	switch c.kind {
	case kindAll:
		for i := range slices.Backward(c.parts) {
			yes = a.add(&c.parts[i], yes, no)
		}
		return yes
	case kindAny:
		for i := range slices.Backward(c.parts) {
			no = a.add(&c.parts[i], yes, no)
		}
		return no
	case kindNot:
		return a.add(&c.parts[0], no, yes)
	}
	return a.ask(c.leaf, yes, no)
}

func (a *assembler) ask(l leaf, yes, no int16) int16 {
	i, known := a.known[l]
	if !known {
		if a.known == nil {
			a.known = map[leaf]uint16{}
		}
		i = uint16(len(a.program.leaves))
		a.program.leaves = append(a.program.leaves, l)
		a.known[l] = i
	}
	a.program.steps = append(a.program.steps, step{leaf: i, yes: yes, no: no})
	return int16(len(a.program.steps) - 1)
}

// remember gives a slot to each attribute that several leaves test. What a
// segment tests itself is read each time, since flags share it.
func (a *assembler) remember() {
	paths := map[string][]*leaf{}
	for i := range a.program.leaves {
		if l := &a.program.leaves[i]; l.kind == leafTest && !l.test.at.unit {
			path := strings.Join(append([]string{l.test.at.name}, l.test.at.rest...), "\x00")
			paths[path] = append(paths[path], l)
		}
	}
	next := uint8(0)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if len(paths[path]) > 1 && next < slots {
			next++
			for _, l := range paths[path] {
				l.slot = next
			}
		}
	}
}

// assembleRules returns the program that leads to the index of the first rule
// that exists and holds; to the number of rules if none does.
func assembleRules(rules []rule) program {
	var a assembler
	begin := finished(len(rules))
	for i, r := range slices.Backward(rules) {
		next := begin
		begin = a.add(&r.condition, finished(i), next)
		if r.notAfter != nil {
			begin = a.ask(leaf{kind: leafUntil, at: r.notAfter}, begin, next)
		}
		if r.notBefore != nil {
			begin = a.ask(leaf{kind: leafFrom, at: r.notBefore}, begin, next)
		}
	}
	a.program.start = begin
	a.remember()
	return a.program
}

// assembleCondition returns the program that leads to 1 if a condition holds,
// and to 0 if not.
func assembleCondition(c *condition) *program {
	var a assembler
	a.program.start = a.add(c, finished(1), finished(0))
	p := a.program // alone, so that it does not keep the assembler
	return &p
}
