package service

import (
	"context"
	"fmt"
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
	*encoded
	Compiled   *eval.Ruleset
	Superseded chan struct{} // closed when a newer one is in force
	doc        func() flyball.Ruleset

	mu     sync.Mutex
	before *encoded         // the one it superseded, until that is no longer needed for a patch
	views  map[string]*View // by glob set, encoded once
	keep
}

// A keep is what surfaces keep with a ruleset, or a view of it.
type keep struct {
	mu   sync.Mutex
	kept map[string]any
}

// Keep returns what make made when it was first asked for under a name. It is
// forgotten with the ruleset. Few names are used: one for each class of tokens.
func (k *keep) Keep(name string, make func() any) any {
	k.mu.Lock()
	defer k.mu.Unlock()
	if kept, ok := k.kept[name]; ok {
		return kept
	}
	if k.kept == nil {
		k.kept = map[string]any{}
	}
	kept := make()
	k.kept[name] = kept
	return kept
}

// Doc returns the ruleset. It is shared, and must not be changed.
func (p *Published) Doc() flyball.Ruleset { return p.doc() }

// Digest returns the SHA-256 of what is served, whatever its version.
func (p *Published) Digest() string { return p.digest }

// ID returns the version of the ruleset.
func (p *Published) ID() flyball.RulesetID { return p.id }

// A View is a ruleset as one set of flag globs sees it, encoded once for all
// who share it.
type View struct {
	ID    flyball.RulesetID
	From  flyball.RulesetID // the version that Patch applies to
	Patch []byte            // what changed since From; nil if there is no patch

	whole, deflated, deflatedPatch func() []byte
	keep
}

// JSON returns the whole ruleset as JSON, Gzip the same compressed. Both are
// made when somebody first asks: after most changes nobody does.
func (v *View) JSON() []byte { return v.whole() }

// Gzip is described at [View.JSON].
func (v *View) Gzip() []byte {
	return v.Keep("gzip", func() any { return Gzip(v.whole(), v.deflated()) }).([]byte)
}

// Deflated returns JSON, and DeflatedPatch returns Patch, as a piece of any
// deflate stream, made when somebody first asks.
func (v *View) Deflated() []byte { return v.deflated() }

// DeflatedPatch is described at [View.Deflated].
func (v *View) DeflatedPatch() []byte { return v.deflatedPatch() }

// ETag is the view's entity tag, which is also its id in a stream.
func (v *View) ETag() string { return fmt.Sprintf("%d.%d", v.ID.Epoch, v.ID.Version) }

// View returns the ruleset as a set of flag globs sees it: the flags that
// match, with the prerequisites and segments that they need.
func (p *Published) View(globs []string) (*View, error) {
	key := ""
	if len(globs) > 0 {
		key = strings.Join(sortedGlobs(globs), " ")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := p.views[key]; v != nil {
		return v, nil
	}
	seen := p.encoded.narrow(globs)
	v := &View{ID: p.ID(), whole: sync.OnceValue(seen.json)}
	v.deflated = sync.OnceValue(func() []byte { return Deflate(v.whole()) })
	v.deflatedPatch = sync.OnceValue(func() []byte { return Deflate(v.Patch) })
	if p.before != nil {
		var err error
		v.From = p.before.id
		if v.Patch, err = p.before.narrow(globs).patchTo(seen); err != nil {
			return nil, err
		}
	}
	if p.views == nil {
		p.views = map[string]*View{}
	}
	p.views[key] = v
	return v, nil
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
func (s *Service) publish(e *encoded) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &Published{encoded: e, Compiled: e.compiled, Superseded: make(chan struct{}), doc: sync.OnceValue(e.compiled.Document)}
	old := s.heads[e.environment]
	if old != nil {
		if !old.ID().Before(p.ID()) {
			return
		}
		p.before = old.encoded
		old.mu.Lock()
		old.before = nil // one step back is all that patches need
		old.mu.Unlock()
	}
	s.heads[e.environment] = p
	if old != nil {
		close(old.Superseded)
	}
}

// Refresh publishes what other nodes have committed.
func (s *Service) Refresh(ctx context.Context) error {
	var newest int64
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		if newest, err = tx.LastAudit(); err != nil {
			return err
		}
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
			id := flyball.RulesetID{Epoch: epoch, Version: e.Version}
			if head != nil && !head.ID().Before(id) {
				continue
			}
			if next := catchUp(tx, head, id); next != nil {
				s.publish(next)
				continue
			}
			doc, err := load(tx, e.Key)
			if err != nil {
				return err
			}
			whole, err := encode(doc)
			if err != nil {
				return err
			}
			if whole.compiled, err = eval.Compile(doc); err != nil {
				return fmt.Errorf("compile the ruleset of %q at version %d: %w", e.Key, doc.Version, err)
			}
			s.publish(whole)
		}
		return nil
	})
	if err == nil {
		s.heard.of(newest)
	}
	return err
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
			s.News()
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

// segments reads all segments.
func segments(tx *store.Tx) ([]flyball.Segment, error) {
	records, err := tx.Segments()
	all := make([]flyball.Segment, len(records))
	for i, r := range records {
		all[i] = r.Segment
	}
	return all, err
}

// usedSegments returns those of all segments that flags name, directly or
// through other segments.
func usedSegments(flags []flyball.RulesetFlag, all []flyball.Segment) []flyball.Segment {
	byKey := make(map[string]*flyball.Segment, len(all))
	for i := range all {
		byKey[all[i].Key] = &all[i]
	}
	used := map[string]bool{}
	for i := range flags {
		useSegments(used, segmentsOf(&flags[i]), func(key string) *flyball.Segment { return byKey[key] })
	}
	kept := []flyball.Segment{}
	for _, s := range all {
		if used[s.Key] {
			kept = append(kept, s)
		}
	}
	return kept
}

// useSegments adds segments, and those that they name, to those used.
func useSegments(used map[string]bool, keys []string, find func(key string) *flyball.Segment) {
	for _, key := range keys {
		if used[key] {
			continue
		}
		used[key] = true
		if s := find(key); s != nil && s.If != nil {
			useSegments(used, s.If.Segments(nil), find)
		}
	}
}

// segmentsOf returns the segments that a flag names itself.
func segmentsOf(f *flyball.RulesetFlag) (keys []string) {
	if f == nil {
		return nil
	}
	for _, r := range f.Rules {
		keys = r.If.Segments(keys)
	}
	return keys
}
