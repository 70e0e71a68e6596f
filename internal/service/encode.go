package service

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// An encoded ruleset has each of its parts encoded once: a change of one flag
// encodes that flag, and all else is shared.
type encoded struct {
	environment string
	id          flyball.RulesetID
	flags       []part // by key
	segments    []part
	digest      string        // SHA-256 of what is served, whatever its version
	compiled    *eval.Ruleset // nil until it is compiled
}

// A part is a flag or a segment as JSON.
type part struct {
	key  string
	body []byte
	sum  [sha256.Size]byte // of body
}

func newPart(key string, v any) (part, error) {
	body, err := json.Marshal(v)
	return part{key, body, sha256.Sum256(body)}, err
}

// encode encodes a ruleset.
func encode(doc flyball.Ruleset) (*encoded, error) {
	e := &encoded{environment: doc.Environment, id: flyball.RulesetID{Epoch: doc.Epoch, Version: doc.Version}}
	for _, f := range doc.Flags {
		p, err := newPart(f.Key, f)
		if err != nil {
			return nil, err
		}
		e.flags = append(e.flags, p)
	}
	for _, s := range doc.Segments {
		p, err := newPart(s.Key, s)
		if err != nil {
			return nil, err
		}
		e.segments = append(e.segments, p)
	}
	e.sum()
	return e, nil
}

// sum makes the digest, of those of the parts: a change costs no more than it.
func (e *encoded) sum() {
	h := sha256.New()
	for _, p := range e.flags {
		h.Write(p.sum[:])
	}
	for _, p := range e.segments {
		h.Write(p.sum[:])
	}
	e.digest = hex.EncodeToString(h.Sum(nil))
}

// patched returns what a patch makes of an encoded ruleset, given what of the
// patch is new, encoded.
func (e *encoded) patched(p eval.Patch, flags, segments []part) *encoded {
	n := &encoded{environment: e.environment, id: p.To}
	n.flags = replaceParts(e.flags, flags, p.RemovedFlags)
	n.segments = replaceParts(e.segments, segments, p.RemovedSegments)
	n.sum()
	return n
}

func replaceParts(parts, changed []part, removed []string) []part {
	parts = slices.Clone(parts)
	for _, key := range removed {
		if i, ok := searchPart(parts, key); ok {
			parts = slices.Delete(parts, i, i+1)
		}
	}
	for _, p := range changed {
		if i, ok := searchPart(parts, p.key); ok {
			parts[i] = p
		} else {
			parts = slices.Insert(parts, i, p)
		}
	}
	return parts
}

func searchPart(parts []part, key string) (int, bool) {
	return slices.BinarySearchFunc(parts, key, func(p part, key string) int { return strings.Compare(p.key, key) })
}

// narrow returns the part of a ruleset that globs open: the flags that match,
// with the prerequisites and segments that they need.
func (e *encoded) narrow(globs []string) *encoded {
	if len(globs) == 0 {
		return e
	}
	keep := map[string]bool{}
	var need func(key string)
	need = func(key string) {
		if f := e.compiled.Flag(key); f != nil && !keep[key] {
			keep[key] = true
			for _, q := range f.Prerequisites {
				need(q.Flag)
			}
		}
	}
	for _, p := range e.flags {
		if matchAny(globs, p.key) {
			need(p.key)
		}
	}
	n, used := &encoded{environment: e.environment, id: e.id}, map[string]bool{}
	for _, p := range e.flags {
		if keep[p.key] {
			n.flags = append(n.flags, p)
			useSegments(used, segmentsOf(e.compiled.Flag(p.key)), e.compiled.Segment)
		}
	}
	for _, p := range e.segments {
		if used[p.key] {
			n.segments = append(n.segments, p)
		}
	}
	return n
}

// json returns the whole ruleset as JSON.
func (e *encoded) json() []byte {
	b := bytes.NewBuffer(make([]byte, 0, e.size()))
	b.WriteString(`{"environment":`)
	b.WriteString(strconv.Quote(e.environment)) // a key needs no other escape
	b.WriteString(`,"epoch":` + strconv.FormatInt(e.id.Epoch, 10))
	b.WriteString(`,"version":` + strconv.FormatInt(e.id.Version, 10))
	writeList(b, `,"flags":`, e.flags)
	writeList(b, `,"segments":`, e.segments)
	b.WriteByte('}')
	return b.Bytes()
}

func (e *encoded) size() int {
	n := 256
	for _, p := range e.flags {
		n += len(p.body) + 1
	}
	for _, p := range e.segments {
		n += len(p.body) + 1
	}
	return n
}

func writeList(b *bytes.Buffer, name string, parts []part) {
	b.WriteString(name)
	b.WriteByte('[')
	for i, p := range parts {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(p.body)
	}
	b.WriteByte(']')
}

// A patch brings a ruleset from one version to the next.
type patch struct {
	From            flyball.RulesetID `json:"from"`
	To              flyball.RulesetID `json:"to"`
	Flags           []json.RawMessage `json:"flags,omitempty"`
	RemovedFlags    []string          `json:"removedFlags,omitempty"`
	Segments        []json.RawMessage `json:"segments,omitempty"`
	RemovedSegments []string          `json:"removedSegments,omitempty"`
}

// patchTo returns what changed from one encoded ruleset to another, as JSON.
func (e *encoded) patchTo(next *encoded) ([]byte, error) {
	p := patch{From: e.id, To: next.id}
	p.Flags, p.RemovedFlags = delta(e.flags, next.flags)
	p.Segments, p.RemovedSegments = delta(e.segments, next.segments)
	return json.Marshal(p)
}

// delta returns the parts of next that are not in before or differ from it,
// and the keys of those that are gone. All are in the order of their keys.
func delta(before, next []part) (changed []json.RawMessage, removed []string) {
	for len(before) > 0 || len(next) > 0 {
		switch {
		case len(next) == 0 || len(before) > 0 && before[0].key < next[0].key:
			removed = append(removed, before[0].key)
			before = before[1:]
		case len(before) == 0 || next[0].key < before[0].key:
			changed = append(changed, next[0].body)
			next = next[1:]
		default:
			if before[0].sum != next[0].sum {
				changed = append(changed, next[0].body)
			}
			before, next = before[1:], next[1:]
		}
	}
	return changed, removed
}
