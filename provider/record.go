package provider

import (
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
)

// Bounds of what telemetry holds. What is over them is dropped, newest first,
// and counted.
const (
	maxQueued   = 50_000 // exposures and observations that wait
	maxPairs    = 5_000  // of flag and variant, between two batches
	maxUnknown  = 500    // keys of unknown flags, between two batches
	maxKeyBytes = 128    // of an unknown flag's key
	batchItems  = 2_000  // exposures and observations of one batch
	seenPerHalf = 2_048  // exposures remembered by each half of each shard
	seenShards  = 16
)

// A recorder gathers what telemetry sends. Evaluations write to it from any
// number of goroutines, so what each of them touches is split into shards.
type recorder struct {
	counts []countShard // of flags that are found by key
	seen   [seenShards]seenShard
	seed   maphash.Seed

	mu       sync.Mutex
	queue    []item          // in order: an exposure before the observations that follow it
	tallies  map[pair]*tally // of flags that are bound once
	dropped  flyball.Dropped
	unknown  map[string]struct{}
	since    time.Time     // when the counts began
	rollouts bool          // a rollout is live
	told     time.Duration // how often the server wants batches; 0 if it has not said
	seq      int64         // of the last batch
	due      time.Time     // when the next batch is to be sent
	soon     time.Time     // when it is needed, if that is earlier; zero if nothing hurries
	hurry    chan struct{}
}

// An item is an exposure or an observation.
type item struct {
	exposure    *flyball.Exposure
	observation *flyball.Observation
}

type pair struct{ flag, variant string }

type countShard struct {
	mu sync.Mutex
	n  map[pair]int64
	_  [40]byte // shards of two processors do not share a cache line
}

// A seenShard remembers the exposures that were sent. When the newer half is
// full the older one is forgotten; a forgotten exposure is sent again, which
// does no harm.
type seenShard struct {
	mu           sync.Mutex
	newer, older map[met]struct{}
}

// met is what makes an exposure the same as another.
type met struct {
	rollout, variant, unit, by string
	step                       int
}

func newRecorder() *recorder {
	return &recorder{
		counts: make([]countShard, lanes()), tallies: map[pair]*tally{}, seed: maphash.MakeSeed(),
		unknown: map[string]struct{}{}, since: time.Now(), hurry: make(chan struct{}, 1),
	}
}

// count counts one evaluation.
func (r *recorder) count(flag, variant string) {
	s := &r.counts[lane(len(r.counts))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == nil {
		s.n = map[pair]int64{}
	}
	key := pair{flag, variant}
	if n, known := s.n[key]; known || len(s.n) < maxPairs {
		s.n[key] = n + 1
	}
}

func (r *recorder) unknownFlag(key string) {
	if len(key) > maxKeyBytes {
		key = key[:maxKeyBytes]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.unknown) < maxUnknown {
		r.unknown[key] = struct{}{}
	}
}

// expose records that a unit met a rollout, if that is not known yet.
func (r *recorder) expose(flag, unit string, res *flyball.Resolution) {
	if unit == "" { // without a targeting key, what it was bucketed by is all that names it
		unit = res.By
	}
	key := met{rollout: res.Rollout, variant: res.Variant, unit: unit, by: res.By, step: res.Step}
	s := &r.seen[maphash.String(r.seed, unit)%seenShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.newer[key]; known {
		return
	}
	_, known := s.older[key]
	if !known && !r.add(item{exposure: &flyball.Exposure{
		T: time.Now(), Flag: flag, Variant: res.Variant, Unit: unit, By: res.By,
		Rollout: res.Rollout, Step: res.Step, Version: res.Version,
	}}) {
		return // dropped: the next one may find room
	}
	if s.newer == nil || len(s.newer) >= seenPerHalf {
		s.older, s.newer = s.newer, make(map[met]struct{}, 64)
	}
	s.newer[key] = struct{}{}
}

// forget makes every exposure new again: a batch of them was lost.
func (r *recorder) forget() {
	for i := range r.seen {
		s := &r.seen[i]
		s.mu.Lock()
		s.newer, s.older = nil, nil
		s.mu.Unlock()
	}
}

func (r *recorder) observe(o flyball.Observation) { r.add(item{observation: &o}) }

func (r *recorder) add(i item) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) >= maxQueued {
		r.drop(i)
		return false
	}
	r.queue = append(r.queue, i)
	if len(r.queue) == batchItems {
		r.hastenTo(time.Now())
	}
	return true
}

// drop counts what is lost. It is called with the lock.
func (r *recorder) drop(items ...item) {
	for _, i := range items {
		if i.exposure != nil {
			r.dropped.Exposures++
		} else {
			r.dropped.Observations++
		}
	}
}

// lose counts a batch that no server will take.
func (r *recorder) lose(b *batch) {
	r.mu.Lock()
	r.drop(b.items...)
	r.dropped.Exposures += b.dropped.Exposures
	r.dropped.Observations += b.dropped.Observations
	r.mu.Unlock()
	r.forget()
}

// A batch is what one request carries, but for its number and its time.
type batch struct {
	id      string
	items   []item
	dropped flyball.Dropped
	counts  []flyball.EvaluationCount
	unknown []string

	contexts []flyball.SampledContext
	level    int // at which units are left out
}

func (b *batch) empty() bool {
	return len(b.items) == 0 && len(b.contexts) == 0 && len(b.counts) == 0 && len(b.unknown) == 0 && b.dropped == flyball.Dropped{}
}

// collect takes what is to be sent next.
func (r *recorder) collect() *batch {
	b := &batch{id: newID(), counts: r.takeCounts()}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.soon = time.Time{} // what hurried is in this batch
	n := min(len(r.queue), batchItems)
	b.items = slices.Clone(r.queue[:n])
	r.queue = append(r.queue[:0:0], r.queue[n:]...)
	b.dropped, r.dropped = r.dropped, flyball.Dropped{}
	for key := range r.unknown {
		b.unknown = append(b.unknown, key)
	}
	clear(r.unknown)
	return b
}

func (r *recorder) takeCounts() []flyball.EvaluationCount {
	sum := map[pair]int64{}
	for i := range r.counts {
		s := &r.counts[i]
		s.mu.Lock()
		n := s.n
		s.n = nil
		s.mu.Unlock()
		for k, v := range n {
			if _, known := sum[k]; known || len(sum) < maxPairs {
				sum[k] += v
			}
		}
	}
	now := time.Now()
	r.mu.Lock()
	for k, t := range r.tallies {
		if n := t.take(); n > 0 {
			sum[k] += n // there are no more of them than maxPairs
		}
	}
	from := r.since
	r.since = now
	r.mu.Unlock()
	counts := make([]flyball.EvaluationCount, 0, len(sum))
	for k, n := range sum {
		counts = append(counts, flyball.EvaluationCount{Flag: k.flag, Variant: k.variant, N: n, From: from, To: now})
	}
	return counts
}

// left returns how many exposures and observations wait or were lost since the
// last batch.
func (r *recorder) left() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int64(len(r.queue)) + r.dropped.Exposures + r.dropped.Observations
}

// live notes whether a rollout is live: then telemetry is what it is judged by,
// and must not wait for the server's first word on how often to send it.
func (r *recorder) live(is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if is != r.rollouts {
		r.rollouts, r.told = is, 0
	}
}

// tell notes how often the server wants telemetry.
func (r *recorder) tell(every time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if every > 0 {
		r.told = min(max(every, 20*time.Millisecond), time.Minute)
	}
}

// schedule sets when the next batch is due, unless something hurries.
func (r *recorder) schedule(p pace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	every := r.told
	switch {
	case every > 0:
	case r.rollouts:
		every = p.flushLive
	default:
		every = p.flush
	}
	r.due = time.Now().Add(every - every/5 + rand.N(every*2/5+1))
	if len(r.queue) >= batchItems {
		r.due = time.Now()
	}
}

// hasten makes the next batch due within d, at random.
func (r *recorder) hasten(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hastenTo(time.Now().Add(rand.N(d + 1)))
}

func (r *recorder) hastenTo(t time.Time) {
	if r.soon.IsZero() || t.Before(r.soon) {
		r.soon = t
		select {
		case r.hurry <- struct{}{}:
		default:
		}
	}
}

func (r *recorder) dueAt() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.soon.IsZero() && r.soon.Before(r.due) {
		return r.soon
	}
	return r.due
}

// lastSeq returns the number of the last batch, after noting a later one: an
// instance that starts again goes on counting.
func (r *recorder) lastSeq(seq int64) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq = max(r.seq, seq)
	return r.seq
}
