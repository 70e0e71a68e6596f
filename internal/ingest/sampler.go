package ingest

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/axiomhq/hyperloglog"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/store"
)

// Limits of a Sampler.
const (
	sampleEvery   = 2 * time.Second
	sampleLast    = 8 * time.Second    // within which all is written at the end
	sampleSize    = 2_000              // contexts kept of an environment
	sampleMemory  = 7 * 24 * time.Hour // for which a unit counts as seen lately
	sampleHalf    = 84 * time.Hour     // within which a context loses half of its weight
	sampleRefresh = time.Hour          // for which the context of a unit is not replaced
	sampleAsked   = 10 * time.Minute   // for which a sample that was asked for is kept at hand
	maxHeard      = 256                // batches that wait
	maxSketched   = 64                 // sketches of an environment between two writes
)

// A Sampler keeps, for each environment, a sample of the contexts of units that
// were seen lately and an estimate of how many units there were, by which the
// effect of a change is foreseen.
//
// The sample is a bottom-k sample with ranks that decay (Cohen and Kaplan,
// "Summarizing data using bottom-k sketches", 2007; Cormode et al., "Forward
// decay", 2009): each unit has a place in [0, 1), always the same, and a rank
// made of its place and of when it was seen last, and the units of the lowest
// ranks are kept. So a unit counts once however often and by whomever it is
// told, a unit seen lately is more likely to be kept, how likely is known, and
// the samples of several servers merge by keeping the lowest of all.
type Sampler struct {
	db   *store.DB
	seal *store.Seal
	Fail func(error) // told of what failed; nil is never told

	heard   chan sampled
	gathers map[string]*gather // by environment
	swept   time.Time

	mu     sync.Mutex
	wishes map[string]*flyball.SampleWish // by environment
	drawn  map[string]*drawn
}

// sampled is what a batch tells of units.
type sampled struct {
	environment string
	level       int
	skew        time.Duration
	contexts    []flyball.SampledContext
	exposures   []flyball.Exposure
}

// A gather is what was heard of one environment and is not written yet.
type gather struct {
	bound    float64              // of ranks
	seen     map[string]time.Time // the units that are kept, and when they were seen
	pending  map[string]pending
	sketches map[sketchKey]*hyperloglog.Sketch
	levels   map[int64]int // by day
}

type sketchKey struct {
	day   int64
	level int
}

// pending is a context that is to be kept.
type pending struct {
	rank       float64
	at         time.Time
	unit       string
	attributes flyball.Attributes
}

// NewSampler returns a sampler that writes to db once its Run is called.
func NewSampler(db *store.DB, seal *store.Seal) *Sampler {
	return &Sampler{
		db: db, seal: seal, heard: make(chan sampled, maxHeard), gathers: map[string]*gather{},
		wishes: map[string]*flyball.SampleWish{}, drawn: map[string]*drawn{},
	}
}

// Wish returns what senders in an environment are asked for; nil if that is not
// known yet.
func (s *Sampler) Wish(environment string) *flyball.SampleWish {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wishes[environment]
}

// Hear takes over what a batch tells of units. It never blocks: what comes too
// fast is left out. What public tokens tell is anybody's word, and left out too.
func (s *Sampler) Hear(environment string, trusted bool, b flyball.TelemetryBatch) {
	if !trusted || len(b.Contexts) == 0 && len(b.Exposures) == 0 {
		return
	}
	h := sampled{environment: environment, level: b.ContextLevel, contexts: b.Contexts, exposures: b.Exposures}
	if !b.SentAt.IsZero() {
		h.skew = time.Since(b.SentAt)
	}
	select {
	case s.heard <- h:
	default:
	}
}

// Run gathers and writes until ctx ends, and then once more.
func (s *Sampler) Run(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	s.told(s.listen(ctx))
	for {
		select {
		case h := <-s.heard:
			s.told(s.add(h, time.Now()))
		case <-tick.C:
			s.told(errors.Join(s.write(ctx, time.Now()), s.listen(ctx)))
			s.redraw(ctx)
		case <-ctx.Done():
			for len(s.heard) > 0 {
				s.told(s.add(<-s.heard, time.Now()))
			}
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), sampleLast)
			defer cancel()
			s.told(s.write(last, time.Now()))
			return
		}
	}
}

func (s *Sampler) told(err error) {
	if err != nil && s.Fail != nil && !errors.Is(err, context.Canceled) {
		s.Fail(err)
	}
}

// listen reads what senders are to be asked for.
func (s *Sampler) listen(ctx context.Context) error {
	var all []flyball.Environment
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.Environments()
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range all {
		if w := s.wishes[e.Key]; w == nil || !slices.Equal(w.Attributes, e.SampleAttributes) {
			s.wishes[e.Key] = &flyball.SampleWish{Attributes: append([]string{}, e.SampleAttributes...)}
		}
	}
	return nil
}

func (s *Sampler) add(h sampled, now time.Time) error {
	g := s.gathers[h.environment]
	if g == nil {
		g = &gather{
			bound: store.Unbounded, seen: map[string]time.Time{}, pending: map[string]pending{},
			sketches: map[sketchKey]*hyperloglog.Sketch{}, levels: map[int64]int{},
		}
		s.gathers[h.environment] = g
	}
	wish := s.Wish(h.environment)
	for _, c := range h.contexts {
		if c.Validate() != nil {
			continue
		}
		at := seenAt(c.T, h.skew, now)
		if now.Sub(at) > sampleMemory {
			continue
		}
		u, err := s.who(h.environment, c.Unit)
		if err != nil {
			return err
		}
		g.count(u, at, h.level)
		if !g.wants(u, at) {
			continue
		}
		if attributes, fits := allowed(c.Attributes, wish); fits {
			g.keep(u, pending{at: at, unit: c.Unit, attributes: attributes})
		}
	}
	for _, e := range h.exposures {
		if at := seenAt(e.T, h.skew, now); e.Validate() == nil && now.Sub(at) <= sampleMemory {
			u, err := s.who(h.environment, e.Unit)
			if err != nil {
				return err
			}
			g.count(u, at, 0)
		}
	}
	return nil
}

// seenAt returns a time of a sender's clock by ours, to the microsecond.
func seenAt(t time.Time, skew time.Duration, now time.Time) time.Time {
	if t.IsZero() || t.Add(skew).After(now) {
		t, skew = now, 0
	}
	return t.Add(skew).UTC().Truncate(time.Microsecond)
}

// allowed returns those of a context's attributes that were asked for, if they
// are of a bearable size.
func allowed(attributes flyball.Attributes, wish *flyball.SampleWish) (flyball.Attributes, bool) {
	out := flyball.Attributes{}
	if wish != nil {
		for _, name := range wish.Attributes {
			if v, ok := attributes[name]; ok {
				out[name] = v
			}
		}
	}
	if len(out) == 0 {
		return out, true
	}
	body, err := json.Marshal(out)
	return out, err == nil && len(body) <= flyball.MaxContextBytes
}

// A who is a unit without its name.
type who struct {
	id    string
	place float64 // in [0, 1)
	level int     // the highest at which senders tell of it
	hash  uint64  // for sketches
}

func (s *Sampler) who(environment, name string) (who, error) {
	h, err := s.seal.Name(name, "unit of "+environment)
	if err != nil {
		return who{}, err
	}
	u := placed(name, binary.BigEndian.Uint64(h[16:]))
	u.id, u.hash = hex.EncodeToString(h[:16]), binary.BigEndian.Uint64(h[24:])
	return u, nil
}

// placed returns a unit's place: its point on the ring, by which senders choose
// too, and a fraction that tells units of the same point apart.
func placed(name string, fraction uint64) who {
	point := eval.Point(flyball.ContextRing, name)
	u := who{place: (float64(point) + float64(fraction>>11)/(1<<53)) / flyball.PPM}
	for u.level < flyball.MaxContextLevel && uint64(point)<<(u.level+1) < flyball.PPM {
		u.level++
	}
	return u
}

var sampleStart = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// weight is the logarithm of how much a context counts that is seen at a time.
func weight(at time.Time) float64 {
	return math.Ln2 * at.Sub(sampleStart).Seconds() / sampleHalf.Seconds()
}

// rank returns the rank of a unit that was seen at a time. It is below a bound
// with the probability that [likely] tells.
func rank(u who, at time.Time) float64 {
	return math.Log(max(-math.Log1p(-u.place), math.SmallestNonzeroFloat64)) - weight(at)
}

// likely returns how likely it is that a unit that was seen at a time has a rank
// below a bound.
func likely(bound float64, at time.Time) float64 {
	if bound >= store.Unbounded {
		return 1
	}
	return -math.Expm1(-math.Exp(bound + weight(at)))
}

func dayOf(t time.Time) int64 { return t.Unix() / 86_400 }

// count notes that a unit was seen.
func (g *gather) count(u who, at time.Time, told int) {
	key := sketchKey{dayOf(at), u.level}
	sketch := g.sketches[key]
	if sketch == nil {
		if len(g.sketches) >= maxSketched*(flyball.MaxContextLevel+1) {
			return
		}
		sketch = hyperloglog.New14()
		g.sketches[key] = sketch
	}
	sketch.InsertHash(u.hash)
	if told > 0 {
		g.levels[key.day] = max(g.levels[key.day], told)
	}
}

// wants says whether a context belongs in the sample and is not there already.
func (g *gather) wants(u who, at time.Time) bool {
	return rank(u, at) < g.bound && at.Sub(g.seen[u.id]) >= sampleRefresh && g.pending[u.id].at.Before(at)
}

// keep takes a context for the sample.
func (g *gather) keep(u who, p pending) {
	p.rank = rank(u, p.at)
	g.pending[u.id] = p
	if len(g.pending) <= 2*sampleSize {
		return
	}
	type ranked struct {
		id   string
		rank float64
	}
	all := make([]ranked, 0, len(g.pending))
	for id, p := range g.pending {
		all = append(all, ranked{id, p.rank})
	}
	slices.SortFunc(all, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	g.bound = min(g.bound, all[sampleSize].rank)
	for _, r := range all[sampleSize:] {
		delete(g.pending, r.id)
	}
}
