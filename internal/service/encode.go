package service

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/flyballdev/flyball"
)

// An encoded ruleset has each of its parts encoded once: a change of one flag
// encodes that flag, and all else is copied.
type encoded struct {
	doc      flyball.Ruleset
	flags    []part // as in doc
	segments []part
	digest   string // SHA-256 of what is served, whatever its version
}

// A part is a flag or a segment as JSON.
type part struct {
	key  string
	body []byte
}

// encode encodes a ruleset. It takes the parts that are in before as they are,
// save for the flags that changed names; a nil before has none.
func encode(doc flyball.Ruleset, before *encoded, changed map[string]bool) (*encoded, error) {
	e := &encoded{doc: doc, flags: make([]part, len(doc.Flags)), segments: make([]part, len(doc.Segments))}
	for i, f := range doc.Flags {
		if before != nil && !changed[f.Key] {
			if known, ok := partOf(before.flags, f.Key); ok {
				e.flags[i] = known
				continue
			}
		}
		body, err := json.Marshal(f)
		if err != nil {
			return nil, err
		}
		e.flags[i] = part{f.Key, body}
	}
	for i, s := range doc.Segments {
		if before != nil {
			if known, ok := partOf(before.segments, s.Key); ok {
				e.segments[i] = known
				continue
			}
		}
		body, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		e.segments[i] = part{s.Key, body}
	}
	h := sha256.New()
	for _, p := range slices.Concat(e.flags, e.segments) {
		h.Write(p.body)
	}
	e.digest = hex.EncodeToString(h.Sum(nil))
	return e, nil
}

// partOf looks a part up; parts are in the order of their keys.
func partOf(parts []part, key string) (part, bool) {
	i, ok := slices.BinarySearchFunc(parts, key, func(p part, key string) int { return strings.Compare(p.key, key) })
	if !ok {
		return part{}, false
	}
	return parts[i], true
}

// narrow returns the part of an encoded ruleset that globs open: the flags that
// match, with the prerequisites and segments that they need.
func (e *encoded) narrow(globs []string) *encoded {
	if len(globs) == 0 {
		return e
	}
	doc := narrow(e.doc, globs)
	n := &encoded{doc: doc}
	for _, f := range doc.Flags {
		p, _ := partOf(e.flags, f.Key)
		n.flags = append(n.flags, p)
	}
	for _, s := range doc.Segments {
		p, _ := partOf(e.segments, s.Key)
		n.segments = append(n.segments, p)
	}
	return n
}

// json returns the whole ruleset as JSON.
func (e *encoded) json() []byte {
	b := bytes.NewBuffer(make([]byte, 0, e.size()))
	b.WriteString(`{"environment":`)
	b.WriteString(strconv.Quote(e.doc.Environment)) // a key needs no other escape
	b.WriteString(`,"epoch":` + strconv.FormatInt(e.doc.Epoch, 10))
	b.WriteString(`,"version":` + strconv.FormatInt(e.doc.Version, 10))
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
	p := patch{From: idOf(e.doc), To: idOf(next.doc)}
	p.Flags, p.RemovedFlags = delta(e.flags, next.flags)
	p.Segments, p.RemovedSegments = delta(e.segments, next.segments)
	return json.Marshal(p)
}

func idOf(doc flyball.Ruleset) flyball.RulesetID {
	return flyball.RulesetID{Epoch: doc.Epoch, Version: doc.Version}
}

// delta returns the parts of next that are not in before or differ from it,
// and the keys of those that are gone. Both are in the order of their keys.
func delta(before, next []part) (changed []json.RawMessage, removed []string) {
	for _, n := range next {
		if b, ok := partOf(before, n.key); !ok || !bytes.Equal(b.body, n.body) {
			changed = append(changed, n.body)
		}
	}
	for _, b := range before {
		if _, ok := partOf(next, b.key); !ok {
			removed = append(removed, b.key)
		}
	}
	return changed, removed
}

func zip(data []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is one that there is
	w.Write(data)                                   // to memory, which does not fail
	w.Close()
	return b.Bytes()
}
