package service

import (
	"context"
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
	*encoded
	Compiled   *eval.Ruleset
	Superseded chan struct{} // closed when a newer one is in force

	mu     sync.Mutex
	before *encoded         // the one it superseded, until that is no longer needed for a patch
	views  map[string]*View // by glob set, encoded once
	kept   map[string]any   // what surfaces keep with it
}

// Keep returns what make made when it was first asked for under a name. It is
// forgotten with the ruleset. Few names are used: one for each class of tokens.
func (p *Published) Keep(name string, make func() any) any {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kept, ok := p.kept[name]; ok {
		return kept
	}
	if p.kept == nil {
		p.kept = map[string]any{}
	}
	kept := make()
	p.kept[name] = kept
	return kept
}

// Doc returns the ruleset. It is shared, and must not be changed.
func (p *Published) Doc() flyball.Ruleset { return p.doc }

// Digest returns the SHA-256 of what is served, whatever its version.
func (p *Published) Digest() string { return p.digest }

// ID returns the version of the ruleset.
func (p *Published) ID() flyball.RulesetID { return idOf(p.doc) }

// A View is a ruleset as one set of flag globs sees it, encoded once for all
// who share it.
type View struct {
	ID    flyball.RulesetID
	From  flyball.RulesetID // the version that Patch applies to
	Patch []byte            // what changed since From; nil if there is no patch

	whole func() []byte
	gzip  func() []byte
}

// JSON returns the whole ruleset as JSON, Gzip the same compressed. Both are
// made when somebody first asks: after most changes nobody does.
func (v *View) JSON() []byte { return v.whole() }

// Gzip is described at [View.JSON].
func (v *View) Gzip() []byte { return v.gzip() }

// ETag is the view's entity tag, which is also its id in a stream.
func (v *View) ETag() string { return fmt.Sprintf("%d.%d", v.ID.Epoch, v.ID.Version) }

// View returns the ruleset as a set of flag globs sees it: the flags that
// match, with the prerequisites and segments that they need.
func (p *Published) View(globs []string) (*View, error) {
	key := strings.Join(sortedGlobs(globs), " ")
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := p.views[key]; v != nil {
		return v, nil
	}
	seen := p.encoded.narrow(globs)
	v := &View{ID: p.ID(), whole: sync.OnceValue(seen.json)}
	v.gzip = sync.OnceValue(func() []byte { return zip(v.whole()) })
	if p.before != nil {
		var err error
		v.From = idOf(p.before.doc)
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
func (s *Service) publish(e *encoded, compiled *eval.Ruleset) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &Published{encoded: e, Compiled: compiled, Superseded: make(chan struct{})}
	old := s.heads[e.doc.Environment]
	if old != nil {
		if !old.ID().Before(p.ID()) {
			return
		}
		p.before = old.encoded
		old.mu.Lock()
		old.before = nil // one step back is all that patches need
		old.mu.Unlock()
	}
	s.heads[e.doc.Environment] = p
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
			whole, err := encode(doc, nil, nil)
			if err != nil {
				return err
			}
			s.publish(whole, compiled)
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

// missingSegment says whether a flag names a segment that the ruleset lacks.
func missingSegment(doc flyball.Ruleset) bool {
	have := make(map[string]bool, len(doc.Segments))
	for _, s := range doc.Segments {
		have[s.Key] = true
	}
	for _, f := range doc.Flags {
		for _, r := range f.Rules {
			for _, key := range r.If.Segments(nil) {
				if !have[key] {
					return true
				}
			}
		}
	}
	return false
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
