package eval

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"sync"

	"github.com/flyballdev/flyball"
)

// A segment is a compiled [flyball.Segment].
type segment struct {
	def     *flyball.Segment
	include map[string]struct{}
	exclude map[string]struct{}
	rest    *program // nil if only listed keys are in
	needs
}

// needs are what a condition needs beside its context.
type needs struct {
	tests    int        // how many an evaluation can need
	segments []*segment // that it names
}

func (s *segment) holds(st *state, c *Context) bool {
	if st.key != "" {
		if _, out := s.exclude[st.key]; out {
			return false
		}
		if _, in := s.include[st.key]; in {
			return true
		}
	}
	return s.rest != nil && s.rest.run(st, c) == 1
}

// An attribute is where a test or a split finds its value.
type attribute struct {
	unit bool // the targeting key itself
	tag  tag
	name string   // an attribute of the context
	rest []string // names in nested maps
}

func compileAttribute(path string) attribute {
	parts, err := flyball.ParsePath(path)
	if err != nil { // an empty path is the targeting key; others were refused before
		return attribute{unit: true}
	}
	unit := len(parts) == 1 && parts[0] == flyball.AttributeTargetingKey
	return attribute{unit: unit, tag: tagOf(parts[0]), name: parts[0], rest: parts[1:]}
}

func (a *attribute) attributes(names map[string]bool) {
	if a.unit {
		names[flyball.AttributeTargetingKey] = true
	} else {
		names[a.name] = true
	}
}

// tests holds each test of a ruleset and of those that patches led to from it
// once. Flags tend to ask the same things, and what they share stays in the
// processor's cache.
type tests struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]*test // by the digest of its spelling
	most  int
}

func (ts *tests) of(c flyball.Condition) *test {
	text, ok := spell(c)
	if !ok {
		return compileTest(c)
	}
	key := sha256.Sum256(text)
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.known[key]
	if t == nil {
		t = compileTest(c)
		ts.known[key] = t
	}
	return t
}

// worn says that so many tests have come that most may not be needed any more.
func (ts *tests) worn() bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return len(ts.known) > ts.most
}

// spell writes a test so that two are written alike only if they are alike. It
// fails for values of types that no document holds.
func spell(c flyball.Condition) (text []byte, ok bool) {
	add := func(kind byte, s string) {
		text = append(binary.AppendUvarint(append(text, kind), uint64(len(s))), s...)
	}
	add('a', c.Attribute)
	add('o', string(c.Op))
	for _, v := range c.Values {
		switch v := v.(type) {
		case string:
			add('s', v)
		case int64:
			text = binary.LittleEndian.AppendUint64(append(text, 'i'), uint64(v))
		case float64:
			text = binary.LittleEndian.AppendUint64(append(text, 'f'), math.Float64bits(v))
		case bool:
			text = append(text, 'b', byte(index(v)))
		default:
			return nil, false
		}
	}
	return text, true
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
