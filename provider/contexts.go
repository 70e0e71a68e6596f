package provider

import (
	"encoding/json"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// Bounds of the contexts that are told.
const (
	contextWindow  = time.Hour // within which a unit is told of once
	contextUnits   = 2_048     // told of within it, by one program
	contextsQueued = 256
	contextsSent   = 32 // in one batch
	contextSlots   = 4_096
)

// A contextSampler gathers contexts for the server, if it asks for them: each
// unit's once an hour, with the attributes that the server named and no other.
// With too many units it halves those that it tells of, by a rule that every
// program follows, so that they are a fair sample still.
type contextSampler struct {
	seed    maphash.Seed
	current atomic.Pointer[window] // nil while nothing is to be told

	mu    sync.Mutex
	queue []flyball.SampledContext
}

// A window is an hour of telling. Of each unit that was looked at lately it knows
// that there is nothing to do, so that a hot loop finds out without a lock.
type window struct {
	attributes []string
	began      time.Time
	decided    [contextSlots]atomic.Uint64 // by hash of the unit
	level      atomic.Int32                // under the sampler's lock to write
	told       map[string]struct{}         // under the sampler's lock
}

func newContextSampler() *contextSampler { return &contextSampler{seed: maphash.MakeSeed()} }

// ask notes what the server wants to be told; nil is nothing.
func (s *contextSampler) ask(wish *flyball.SampleWish) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.current.Load()
	switch {
	case wish == nil:
		if w != nil {
			s.current.Store(nil)
			s.queue = nil
		}
	case w == nil || !slices.Equal(w.attributes, wish.Attributes):
		s.queue = nil // it may hold what is no longer wanted
		s.begin(slices.Clone(wish.Attributes), 0)
	}
}

// begin begins a window. It is called with the lock.
func (s *contextSampler) begin(attributes []string, level int32) {
	w := &window{attributes: attributes, began: time.Now(), told: map[string]struct{}{}}
	w.level.Store(level)
	s.current.Store(w)
}

// restart tells of every unit again: a batch was lost.
func (s *contextSampler) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.current.Load(); w != nil {
		s.begin(w.attributes, w.level.Load())
	}
}

// take returns the contexts that are to be sent next, and the level at which
// units are left out.
func (s *contextSampler) take() ([]flyball.SampledContext, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.current.Load()
	if w == nil {
		return nil, 0
	}
	if time.Since(w.began) > contextWindow {
		s.begin(w.attributes, max(0, w.level.Load()-1)) // there may be fewer units now
		w = s.current.Load()
	}
	n := min(len(s.queue), contextsSent)
	some := slices.Clone(s.queue[:n])
	s.queue = slices.Delete(s.queue, 0, n)
	return some, int(w.level.Load())
}

// meet tells of the context of a unit, if that is wanted and was not done.
func (s *contextSampler) meet(c *eval.Context) {
	w := s.current.Load()
	if w == nil || c == nil || c.TargetingKey() == "" {
		return
	}
	if slot, hash := w.slot(s.seed, c.TargetingKey()); slot.Load() != hash {
		s.look(w, slot, hash, c.TargetingKey(), func() flyball.Attributes { return c.EvaluationContext().Attributes })
	}
}

// meetMap is meet for the other form of context.
func (s *contextSampler) meetMap(ec *flyball.EvaluationContext) {
	w := s.current.Load()
	if w == nil || ec == nil || ec.TargetingKey == "" {
		return
	}
	if slot, hash := w.slot(s.seed, ec.TargetingKey); slot.Load() != hash {
		s.look(w, slot, hash, ec.TargetingKey, func() flyball.Attributes { return ec.Attributes })
	}
}

// slot returns where it stands whether a unit was looked at, and as what.
func (w *window) slot(seed maphash.Seed, unit string) (*atomic.Uint64, uint64) {
	hash := maphash.String(seed, unit) | 1 // an empty slot is 0
	return &w.decided[hash>>32%contextSlots], hash
}

func (s *contextSampler) look(w *window, slot *atomic.Uint64, hash uint64, unit string, attributes func() flyball.Attributes) {
	point := uint64(eval.Point(flyball.ContextRing, unit))
	if !chosen(point, w.level.Load()) || len(unit) > flyball.MaxContextUnit {
		slot.Store(hash)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	slot.Store(hash)
	if _, told := w.told[unit]; told || s.current.Load() != w || !chosen(point, w.level.Load()) {
		return
	}
	w.told[unit] = struct{}{}
	if listed, fits := listed(w.attributes, attributes); fits {
		s.queue = append(s.queue, flyball.SampledContext{T: time.Now(), Unit: unit, Attributes: listed})
	}
	for (len(s.queue) > contextsQueued || len(w.told) > contextUnits) && w.level.Load() < flyball.MaxContextLevel {
		s.thin(w)
	}
	if len(s.queue) > contextsQueued {
		s.queue = s.queue[1:]
	}
}

// chosen says whether units at a point are told of at a level.
func chosen(point uint64, level int32) bool { return point<<level < flyball.PPM }

// thin leaves out half of the units from now on. It is called with the lock.
func (s *contextSampler) thin(w *window) {
	level := w.level.Add(1)
	left := func(unit string) bool { return !chosen(uint64(eval.Point(flyball.ContextRing, unit)), level) }
	for unit := range w.told {
		if left(unit) {
			delete(w.told, unit)
		}
	}
	s.queue = slices.DeleteFunc(s.queue, func(c flyball.SampledContext) bool { return left(c.Unit) })
}

// listed copies those attributes that are listed, as JSON, if they fit. Whatever
// an attribute does when it is encoded must not reach who evaluates.
func listed(names []string, attributes func() flyball.Attributes) (out flyball.Attributes, fits bool) {
	if len(names) == 0 {
		return nil, true
	}
	defer func() {
		if recover() != nil {
			out, fits = nil, false
		}
	}()
	size, given := 0, attributes()
	for _, name := range names {
		v, ok := given[name]
		if !ok {
			continue
		}
		text, err := json.Marshal(v)
		if err != nil {
			return nil, false
		}
		if size += len(name) + len(text) + 4; size > flyball.MaxContextBytes {
			return nil, false
		}
		if out == nil {
			out = flyball.Attributes{}
		}
		out[name] = json.RawMessage(text)
	}
	return out, true
}
