package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/axiomhq/hyperloglog"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// A Sample is what is known of the units of an environment that were seen
// lately. It never changes.
type Sample struct {
	Contexts []Drawn // in a random order
	Users    flyball.Estimate
}

// Drawn is a context of a sample.
type Drawn struct {
	ID      string // a hash of the unit
	Context flyball.EvaluationContext
	At      time.Time
	Weight  float64 // how many units it stands for
}

// drawn is a sample that is at hand, and when it was asked for last.
type drawn struct {
	sample *Sample
	asked  time.Time
}

// body is what is sealed of a context.
type body struct {
	Unit       string             `json:"unit"`
	Attributes flyball.Attributes `json:"attributes,omitempty"`
}

func sealName(environment, id string) string { return "the context " + id + " of " + environment }

// atOnce is how many contexts are written in one transaction, so that changes
// need not wait long.
const atOnce = 250

// write adds what was gathered to the store. What cannot be written stays for
// the next time.
func (s *Sampler) write(ctx context.Context, now time.Time) error {
	var errs []error
	for name, g := range s.gathers {
		for len(g.pending) > 0 || len(g.sketches) > 0 {
			err := s.writeSome(ctx, name, g, now)
			if flyball.CodeOf(err) == flyball.NotFound { // there is no such environment any more
				delete(s.gathers, name)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("write the sample of %s: %w", name, err))
				break
			}
		}
	}
	if now.Sub(s.swept) > time.Hour {
		err := s.db.Update(ctx, func(tx *store.Tx) error { return tx.ForgetUnits(dayOf(now.Add(-sampleMemory))) })
		if err == nil {
			s.swept = now
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *Sampler) writeSome(ctx context.Context, environment string, g *gather, now time.Time) error {
	var env flyball.Environment
	if err := s.db.View(ctx, func(tx *store.Tx) (err error) { env, err = tx.Environment(environment); return err }); err != nil {
		return err
	}
	rows := make([]store.SealedContext, 0, atOnce)
	for id, p := range g.pending {
		if len(rows) == atOnce {
			break
		}
		p.attributes, _ = allowed(p.attributes, &flyball.SampleWish{Attributes: env.SampleAttributes})
		plain, err := json.Marshal(body{p.unit, p.attributes})
		if err != nil {
			delete(g.pending, id) // it cannot be written ever
			continue
		}
		sealed, err := s.seal.Seal(plain, sealName(environment, id))
		if err != nil {
			return err
		}
		rows = append(rows, store.SealedContext{ID: id, Rank: p.rank, At: p.at, Body: sealed})
	}
	var bound float64
	var seen map[string]time.Time
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		current, err := tx.Environment(environment)
		if err != nil {
			return err
		}
		if !slices.Equal(current.SampleAttributes, env.SampleAttributes) {
			return flyball.Errorf(flyball.Conflict, "what is sampled in %s was just changed", environment)
		}
		if err := tx.PutSampledContexts(environment, rows); err != nil {
			return err
		}
		if err := tx.TrimSample(environment, sampleSize, g.bound, now.Add(-sampleMemory)); err != nil {
			return err
		}
		if err := g.writeUnits(tx, environment); err != nil {
			return err
		}
		if bound, err = tx.SampleBound(environment); err != nil {
			return err
		}
		seen, err = tx.SampledSince(environment)
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range rows {
		delete(g.pending, r.ID)
	}
	clear(g.sketches)
	clear(g.levels)
	g.bound, g.seen = bound, seen
	for id, p := range g.pending {
		if p.rank >= bound {
			delete(g.pending, id)
		}
	}
	return nil
}

// writeUnits merges the sketches into those of the store, which other servers
// write too.
func (g *gather) writeUnits(tx *store.Tx, environment string) error {
	for key, sketch := range g.sketches {
		stored, err := tx.UnitSketch(environment, key.day, key.level)
		if err != nil {
			return err
		}
		merged, before := hyperloglog.New14(), uint64(0)
		if stored != nil && merged.UnmarshalBinary(stored) == nil {
			before = merged.Estimate()
		}
		if err := merged.Merge(sketch); err != nil {
			return err
		}
		if merged.Estimate() == before {
			continue // they were all known
		}
		encoded, err := merged.MarshalBinary()
		if err != nil {
			return err
		}
		if err := tx.PutUnitSketch(environment, store.UnitSketch{Day: key.day, Level: key.level, Body: encoded}); err != nil {
			return err
		}
	}
	for day, level := range g.levels {
		if err := tx.NoteLevel(environment, day, level); err != nil {
			return err
		}
	}
	return nil
}

// Sample returns what is known of an environment's units. It is at hand, and a
// few seconds old, if it was asked for lately.
func (s *Sampler) Sample(ctx context.Context, environment string) (*Sample, error) {
	s.mu.Lock()
	at := s.drawn[environment]
	if at != nil {
		at.asked = time.Now()
	}
	s.mu.Unlock()
	if at != nil {
		return at.sample, nil
	}
	return s.draw(ctx, environment, time.Now())
}

// redraw renews the samples that were asked for lately.
func (s *Sampler) redraw(ctx context.Context) {
	s.mu.Lock()
	var asked []string
	for environment, d := range s.drawn {
		if time.Since(d.asked) > sampleAsked {
			delete(s.drawn, environment)
		} else {
			asked = append(asked, environment)
		}
	}
	s.mu.Unlock()
	for _, environment := range asked {
		if _, err := s.draw(ctx, environment, time.Now()); err != nil {
			s.told(fmt.Errorf("read the sample of %s: %w", environment, err))
		}
	}
}

// draw reads an environment's sample, and has it at hand from then on.
func (s *Sampler) draw(ctx context.Context, environment string, now time.Time) (*Sample, error) {
	var (
		env      flyball.Environment
		rows     []store.SealedContext
		bound    float64
		sketches []store.UnitSketch
		level    int
	)
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		if env, err = tx.Environment(environment); err != nil {
			return err
		}
		if rows, err = tx.SampledContexts(environment); err != nil {
			return err
		}
		if bound, err = tx.SampleBound(environment); err != nil {
			return err
		}
		sketches, level, err = tx.UnitSketches(environment, dayOf(now.Add(-sampleMemory)))
		return err
	})
	if err != nil {
		return nil, err
	}
	known := map[string]*Drawn{}
	s.mu.Lock()
	last := s.drawn[environment]
	s.mu.Unlock()
	if last != nil {
		for i := range last.sample.Contexts {
			known[last.sample.Contexts[i].ID] = &last.sample.Contexts[i]
		}
	}
	out := &Sample{Users: users(sketches, level)}
	for _, r := range rows {
		d := s.open(environment, r, env.SampleAttributes, known[r.ID])
		// Those below the highest level are told of by some senders only.
		if d == nil || now.Sub(r.At) > sampleMemory || placed(d.Context.TargetingKey, 0).level < level {
			continue
		}
		d.Weight = 1 / min(likely(bound, r.At), math.Exp2(-float64(level)))
		out.Contexts = append(out.Contexts, *d)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := now
	if last := s.drawn[environment]; last != nil {
		asked = last.asked
	}
	s.drawn[environment] = &drawn{out, asked}
	return out, nil
}

// open reads a sealed context; nil if it was sealed with another key, as by a
// server that does not share ours.
func (s *Sampler) open(environment string, r store.SealedContext, names []string, known *Drawn) *Drawn {
	d := Drawn{ID: r.ID, At: r.At}
	if known != nil && known.At.Equal(r.At) {
		d.Context = known.Context
	} else {
		plain, err := s.seal.Open(r.Body, sealName(environment, r.ID))
		var b body
		if err != nil || json.Unmarshal(plain, &b) != nil {
			return nil
		}
		d.Context = flyball.EvaluationContext{TargetingKey: b.Unit, Attributes: b.Attributes}
	}
	for name := range d.Context.Attributes {
		if !slices.Contains(names, name) {
			d.Context.Attributes, _ = allowed(d.Context.Attributes, &flyball.SampleWish{Attributes: names})
			break
		}
	}
	return &d
}

// sketchError is how far the estimate of a sketch is off at most, 99 times of
// 100: 2.58 times its standard error of 1.04/√16384.
const sketchError = 2.58 * 1.04 / 128

// users tells how many units there were, of the sketches of all days and of
// those levels that every sender told of.
func users(sketches []store.UnitSketch, level int) flyball.Estimate {
	all := hyperloglog.New14()
	for _, k := range sketches {
		one := hyperloglog.New14()
		if k.Level >= level && one.UnmarshalBinary(k.Body) == nil {
			_ = all.Merge(one) // both are of the same precision
		}
	}
	n := float64(all.Estimate())
	if n == 0 {
		return flyball.Estimate{}
	}
	scale := math.Exp2(float64(level))
	off := math.Hypot(sketchError, 2.58*math.Sqrt((1-1/scale)/n))
	return flyball.Estimate{Value: n * scale, Low: max(0, n*(1-off)*scale), High: n * (1 + off) * scale}
}
