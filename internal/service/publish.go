package service

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/store"
)

// Published is the ruleset that an environment serves from some version until
// it is superseded by the next.
type Published struct {
	Doc        flyball.Ruleset
	Compiled   *eval.Ruleset
	Digest     string        // SHA-256 of what is served, whatever its version
	Superseded chan struct{} // closed when a newer one is in force

	before *Published // the one it superseded, until that is no longer needed for a patch
	mu     sync.Mutex
	views  map[string]*View // by glob set, encoded once
}

// A View is a ruleset as one set of flag globs sees it, encoded once for all
// who share it.
type View struct {
	ID    flyball.RulesetID
	JSON  []byte
	Gzip  []byte
	From  flyball.RulesetID // the version that Patch applies to
	Patch []byte            // what changed since From; nil if there is no patch
}

// ETag is the view's entity tag, which is also its id in a stream.
func (v *View) ETag() string { return fmt.Sprintf("%d.%d", v.ID.Epoch, v.ID.Version) }

// A Patch brings a ruleset from one version to the next.
type Patch struct {
	From            flyball.RulesetID     `json:"from"`
	To              flyball.RulesetID     `json:"to"`
	Flags           []flyball.RulesetFlag `json:"flags,omitempty"`
	RemovedFlags    []string              `json:"removedFlags,omitempty"`
	Segments        []flyball.Segment     `json:"segments,omitempty"`
	RemovedSegments []string              `json:"removedSegments,omitempty"`
}

// ID returns the version of the ruleset.
func (p *Published) ID() flyball.RulesetID {
	return flyball.RulesetID{Epoch: p.Doc.Epoch, Version: p.Doc.Version}
}

// View returns the ruleset as a set of flag globs sees it: the flags that
// match, with the prerequisites and segments that they need.
func (p *Published) View(globs []string) (*View, error) {
	key := strings.Join(sortedGlobs(globs), " ")
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := p.views[key]; v != nil {
		return v, nil
	}
	doc := narrow(p.Doc, globs)
	v := &View{ID: p.ID()}
	var err error
	if v.JSON, err = json.Marshal(doc); err != nil {
		return nil, err
	}
	v.Gzip = zip(v.JSON)
	if p.before != nil {
		v.From = p.before.ID()
		v.Patch, err = json.Marshal(diff(narrow(p.before.Doc, globs), doc))
	}
	if p.views == nil {
		p.views = map[string]*View{}
	}
	p.views[key] = v
	return v, err
}

func zip(data []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

// narrow returns the part of a ruleset that globs open.
func narrow(doc flyball.Ruleset, globs []string) flyball.Ruleset {
	if len(globs) == 0 {
		return doc
	}
	byKey := make(map[string]flyball.RulesetFlag, len(doc.Flags))
	for _, f := range doc.Flags {
		byKey[f.Key] = f
	}
	keep := map[string]bool{}
	var need func(key string)
	need = func(key string) {
		if f, ok := byKey[key]; ok && !keep[key] {
			keep[key] = true
			for _, q := range f.Prerequisites {
				need(q.Flag)
			}
		}
	}
	for _, f := range doc.Flags {
		if matchAny(globs, f.Key) {
			need(f.Key)
		}
	}
	doc.Flags = slices.DeleteFunc(slices.Clone(doc.Flags), func(f flyball.RulesetFlag) bool { return !keep[f.Key] })
	doc.Segments = usedSegments(doc.Flags, doc.Segments)
	return doc
}

func diff(old, new flyball.Ruleset) Patch {
	p := Patch{From: flyball.RulesetID{Epoch: old.Epoch, Version: old.Version}, To: flyball.RulesetID{Epoch: new.Epoch, Version: new.Version}}
	p.Flags, p.RemovedFlags = delta(old.Flags, new.Flags, func(f flyball.RulesetFlag) string { return f.Key })
	p.Segments, p.RemovedSegments = delta(old.Segments, new.Segments, func(s flyball.Segment) string { return s.Key })
	return p
}

// delta returns the items of new that are not in old or differ from it, and
// the keys of those that are gone.
func delta[T any](old, new []T, key func(T) string) (changed []T, removed []string) {
	before := make(map[string][]byte, len(old))
	for _, o := range old {
		before[key(o)], _ = json.Marshal(o)
	}
	for _, n := range new {
		body, _ := json.Marshal(n)
		if b, ok := before[key(n)]; !ok || !bytes.Equal(b, body) {
			changed = append(changed, n)
		}
		delete(before, key(n))
	}
	for k := range before {
		removed = append(removed, k)
	}
	slices.Sort(removed)
	return changed, removed
}

// Published returns the ruleset in force in an environment.
func (s *Service) Published(environment string) (*Published, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.heads[environment]; p != nil {
		return p, nil
	}
	return nil, flyball.Errorf(flyball.NotFound, "there is no environment %q", environment)
}

// publish puts a ruleset in force unless a newer one is: a late reader of an
// old version must not undo a kill.
func (s *Service) publish(doc flyball.Ruleset, compiled *eval.Ruleset, digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &Published{Doc: doc, Compiled: compiled, Digest: digest, Superseded: make(chan struct{})}
	old := s.heads[doc.Environment]
	if old != nil {
		if !old.ID().Before(p.ID()) {
			return
		}
		p.before = old
		old.mu.Lock()
		old.before = nil // one step back is all that patches need
		old.mu.Unlock()
	}
	s.heads[doc.Environment] = p
	if old != nil {
		close(old.Superseded)
	}
}

// Refresh publishes what other nodes have committed.
func (s *Service) Refresh(ctx context.Context) error {
	return s.db.View(ctx, func(tx *store.Tx) error {
		environments, err := tx.Environments()
		if err != nil {
			return err
		}
		epoch, err := tx.Epoch()
		if err != nil {
			return err
		}
		for _, e := range environments {
			head, _ := s.Published(e.Key)
			if head != nil && !head.ID().Before(flyball.RulesetID{Epoch: epoch, Version: e.Version}) {
				continue
			}
			doc, err := load(tx, e.Key)
			if err != nil {
				return err
			}
			compiled, err := eval.Compile(doc)
			if err != nil {
				return fmt.Errorf("compile the ruleset of %q at version %d: %w", e.Key, doc.Version, err)
			}
			s.publish(doc, compiled, digest(doc))
		}
		return nil
	})
}

// Follow publishes what other nodes commit, until ctx ends: at each wake-up of
// the database, and every half second at the latest.
func (s *Service) Follow(ctx context.Context) {
	wake := s.db.Wake(ctx)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-tick.C:
		}
		err := s.Refresh(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			s.log.WarnContext(ctx, "rulesets not refreshed; the last ones stay in force", "error", err)
		}
		failing = err != nil
	}
}

// load reads what an environment serves, within a transaction: its flags, and
// the segments that they use.
func load(tx *store.Tx, environment string) (flyball.Ruleset, error) {
	doc, err := tx.Ruleset(environment)
	doc.Segments = usedSegments(doc.Flags, doc.Segments)
	return doc, err
}

// usedSegments returns those of all segments that flags name, directly or
// through other segments.
func usedSegments(flags []flyball.RulesetFlag, all []flyball.Segment) []flyball.Segment {
	byKey := make(map[string]flyball.Segment, len(all))
	for _, s := range all {
		byKey[s.Key] = s
	}
	used := map[string]bool{}
	var use func(keys []string)
	use = func(keys []string) {
		for _, k := range keys {
			if used[k] {
				continue
			}
			used[k] = true
			if c := byKey[k].If; c != nil {
				use(c.Segments(nil))
			}
		}
	}
	for _, f := range flags {
		for _, r := range f.Rules {
			use(r.If.Segments(nil))
		}
	}
	kept := []flyball.Segment{}
	for _, s := range all {
		if used[s.Key] {
			kept = append(kept, s)
		}
	}
	return kept
}

// digest identifies what a ruleset serves, whatever its version.
func digest(doc flyball.Ruleset) string {
	sum, _ := measure(doc)
	return sum
}

// measure returns a ruleset's digest and how many bytes it has as JSON.
func measure(doc flyball.Ruleset) (digest string, size int) {
	doc.Epoch, doc.Version = 0, 0
	body, _ := json.Marshal(doc)
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:]), len(body)
}
