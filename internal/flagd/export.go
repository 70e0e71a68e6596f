// Package flagd writes a ruleset as flagd's document of flags, for the
// in-process providers of other languages, and speaks flagd's sync protocol.
//
// What flagd answers to the document is what package eval answers to the
// ruleset, value and variant, or an error where we cannot be sure; never
// another value. A flag for which that cannot be had is left out and listed.
package flagd

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/flyballdev/flyball"
)

// Limits of a document.
const (
	// maxTargeting bounds one flag's logic with its prerequisites and segments
	// written into it, as each program that reads it does.
	maxTargeting = 256 << 10
	// maxFlags bounds flags and segments, so that the whole stays below the
	// 4 MiB that most gRPC clients receive at most.
	maxFlags = 4<<20 - 4<<10
	// maxTold bounds what the metadata tell of flags left out: flagd copies
	// them into each resolution.
	maxTold = 1000
)

// A Skipped flag is not in the document.
type Skipped struct {
	Flag string `json:"flag"`
	Why  string `json:"why" doc:"what flagd cannot express"`
}

// Export writes a ruleset as flagd's document, and lists the flags that it
// leaves out, by key. The ruleset is one that package eval compiles.
//
// Dates are judged by flagd's clock, of whole seconds; a lease that ends within
// a second ends at its beginning, so that no program serves the treatment
// longer than it may.
func Export(rs flyball.Ruleset) (document []byte, skipped []Skipped) {
	e := newExporter(rs)
	flags, used, size := map[string][]byte{}, map[string]bool{}, 0
	for _, key := range e.keys {
		entry, needs, err := e.entry(key)
		more := len(`"":,`) + len(key) + len(entry) + e.shared(needs, used)
		if err == nil && size+more > maxFlags {
			err = fmt.Errorf("the document would have more than 4 MiB, which programs do not receive")
		}
		if err != nil {
			skipped = append(skipped, Skipped{Flag: key, Why: err.Error()})
			continue
		}
		flags[key], size = entry, size+more
		for s := range needs.segments {
			used[s] = true
		}
	}
	return e.document(rs, flags, used, skipped), skipped
}

// shared is how many bytes the segments take that are not in use already.
func (e *exporter) shared(n needs, used map[string]bool) (size int) {
	for key := range n.segments {
		if !used[key] {
			size += len(reference(key)) + len(e.sets[key].logic)
		}
	}
	return size
}

func (e *exporter) document(rs flyball.Ruleset, flags map[string][]byte, used map[string]bool, skipped []Skipped) []byte {
	var b bytes.Buffer
	b.WriteString(`{"metadata":{"flagSetId":`)
	b.WriteString(string(literal(rs.Environment)))
	fmt.Fprintf(&b, `,"version":"%d","epoch":"%d"`, rs.Version, rs.Epoch)
	if len(skipped) > 0 {
		fmt.Fprintf(&b, `,"skipped":%d,"skippedFlags":%s`, len(skipped), literal(told(skipped)))
	}
	b.WriteString(`},"flags":{`)
	comma := ""
	for _, key := range e.keys {
		if flags[key] != nil {
			b.WriteString(comma + string(literal(key)) + ":")
			b.Write(flags[key])
			comma = ","
		}
	}
	b.WriteByte('}')
	if len(used) > 0 {
		b.WriteString(`,"$evaluators":{`)
		comma = ""
		for _, key := range slices.Sorted(maps.Keys(used)) {
			b.WriteString(comma + string(literal(referencePrefix+key)) + ":" + string(e.sets[key].logic))
			comma = ","
		}
		b.WriteByte('}')
	}
	b.WriteByte('}')
	return b.Bytes()
}

// told lists flags and reasons, as many as have room.
func told(skipped []Skipped) string {
	var b strings.Builder
	for i, s := range skipped {
		item := s.Flag + ": " + s.Why
		if b.Len()+len(item) > maxTold-20 {
			fmt.Fprintf(&b, "; and %d more", len(skipped)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(item)
	}
	return strings.TrimPrefix(b.String(), "; ")
}

// An exporter compiles the flags of one ruleset.
type exporter struct {
	keys     []string
	flags    map[string]*flyball.RulesetFlag
	segments map[string]*flyball.Segment
	done     map[string]*expression
	sets     map[string]*set
}

// An expression is what a flag compiles to: JsonLogic whose outcome is the
// name of a variant, or a word that is none, which flagd makes an error.
type expression struct {
	logic logic
	needs needs
	err   error
}

// needs are what an expression needs beside itself.
type needs struct {
	inside   bool            // of a segment, where no other can be referred to
	segments map[string]bool // shared expressions that it refers to
	doubts   map[logic]bool  // when flagd cannot tell what we would
	units    map[logic]bool  // when a unit is none to flagd; an error of the flag itself, a doubt of those that need it
}

func (n *needs) add(other needs) {
	for key := range other.segments {
		n.segment(key)
	}
	for d := range other.doubts {
		n.doubt(d)
	}
}

func (n *needs) doubt(l logic) { n.doubts = with(n.doubts, l) }
func (n *needs) unit(l logic)  { n.units = with(n.units, l) }

func with[K comparable](set map[K]bool, key K) map[K]bool {
	if set == nil {
		set = map[K]bool{}
	}
	set[key] = true
	return set
}

func (n *needs) segment(key string) { n.segments = with(n.segments, key) }

func newExporter(rs flyball.Ruleset) *exporter {
	e := &exporter{
		flags: map[string]*flyball.RulesetFlag{}, segments: map[string]*flyball.Segment{},
		done: map[string]*expression{}, sets: map[string]*set{},
	}
	for i := range rs.Segments {
		e.segments[rs.Segments[i].Key] = &rs.Segments[i]
	}
	for i := range rs.Flags {
		e.flags[rs.Flags[i].Key] = &rs.Flags[i]
		e.keys = append(e.keys, rs.Flags[i].Key)
	}
	slices.Sort(e.keys)
	e.keys = slices.Compact(e.keys)
	return e
}

// entry writes a flag. It is always enabled, since to flagd a disabled flag
// has no value; what has but one outcome has no targeting.
func (e *exporter) entry(key string) ([]byte, needs, error) {
	x, f := e.flag(key), e.flags[key]
	if x.err != nil {
		return nil, needs{}, x.err
	}
	variants := literal(f.Variants)
	if strings.Contains(string(variants), `{"$ref":"`+referencePrefix) {
		return nil, needs{}, fmt.Errorf("a variant's value reads like a reference to a segment, which flagd would replace")
	}
	if x.logic.constant() {
		return fmt.Appendf(nil, `{"state":"ENABLED","variants":%s,"defaultVariant":%s}`, variants, x.logic), needs{}, nil
	}
	targeting := x.logic
	if doubts := slices.Sorted(maps.Keys(x.needs.doubts)); len(doubts) > 0 {
		targeting = call("if", some(doubts...), unsure, targeting)
	}
	size := len(targeting)
	for s := range x.needs.segments {
		size += strings.Count(string(targeting), string(reference(s))) * len(e.sets[s].logic)
	}
	if size > maxTargeting {
		return nil, needs{}, fmt.Errorf("its rules take %d KiB with prerequisites and segments written into them, at most %d", size>>10, maxTargeting>>10)
	}
	return fmt.Appendf(nil, `{"state":"ENABLED","variants":%s,"defaultVariant":%s,"targeting":%s}`, variants, literal(f.SafeVariant), targeting), x.needs, nil
}
