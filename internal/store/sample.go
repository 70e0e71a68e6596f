package store

import (
	"fmt"
	"time"
)

// A SealedContext is a row of a sample of contexts: what it is of is known to
// whoever has the key alone.
type SealedContext struct {
	ID   string // a hash of the unit
	Rank float64
	At   time.Time // when it was seen
	Body []byte    // sealed
}

// PutSampledContexts adds contexts to an environment's sample, or replaces those
// of the same unit that are older.
func (tx *Tx) PutSampledContexts(environment string, all []SealedContext) error {
	for _, c := range all {
		_, err := tx.exec(`INSERT INTO sampled_context (environment, id, rank, seen_at, body) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (environment, id) DO UPDATE SET rank = excluded.rank, seen_at = excluded.seen_at, body = excluded.body
			WHERE sampled_context.seen_at < excluded.seen_at`, environment, c.ID, c.Rank, micros(c.At), c.Body)
		if err != nil {
			return fmt.Errorf("sample a context of %q: %w", environment, err)
		}
	}
	return nil
}

// TrimSample lowers the bound of an environment's sample to one rank, if that is
// lower, and then so far that no more than keep contexts are below it. What is
// not below it, or was seen before a time, goes. So the sample holds every unit
// seen since whose rank is below the bound, and no other.
func (tx *Tx) TrimSample(environment string, keep int, bound float64, before time.Time) error {
	if _, err := tx.exec(`DELETE FROM sampled_context WHERE environment = $1 AND seen_at < $2`, environment, micros(before)); err != nil {
		return fmt.Errorf("trim the sample of %q: %w", environment, err)
	}
	var over float64
	found, err := tx.one(`SELECT rank FROM sampled_context WHERE environment = $1 ORDER BY rank LIMIT 1 OFFSET $2`, []any{environment, keep}, &over)
	if err != nil {
		return fmt.Errorf("trim the sample of %q: %w", environment, err)
	}
	if found {
		bound = min(bound, over)
	}
	if bound < Unbounded {
		if _, err := tx.exec(`INSERT INTO sample_bound (environment, rank) VALUES ($1, $2)
			ON CONFLICT (environment) DO UPDATE SET rank = excluded.rank WHERE sample_bound.rank > excluded.rank`, environment, bound); err != nil {
			return fmt.Errorf("bound the sample of %q: %w", environment, err)
		}
	}
	if _, err := tx.exec(`DELETE FROM sampled_context WHERE environment = $1
		AND rank >= (SELECT rank FROM sample_bound WHERE environment = $1)`, environment); err != nil {
		return fmt.Errorf("trim the sample of %q: %w", environment, err)
	}
	return nil
}

// Unbounded is the bound of a sample that has been full never.
const Unbounded = 1e300

// SampleBound returns the rank from which on units are not in the sample.
func (tx *Tx) SampleBound(environment string) (bound float64, err error) {
	found, err := tx.one(`SELECT rank FROM sample_bound WHERE environment = $1`, []any{environment}, &bound)
	if err != nil {
		return 0, fmt.Errorf("read the bound of the sample of %q: %w", environment, err)
	}
	if !found {
		bound = Unbounded
	}
	return bound, nil
}

// SampledSince returns when each unit of an environment's sample was seen last.
func (tx *Tx) SampledSince(environment string) (map[string]time.Time, error) {
	seen := map[string]time.Time{}
	_, err := list(tx, func(scan func(...any) error) (struct{}, error) {
		var id string
		var at int64
		err := scan(&id, &at)
		seen[id] = fromMicros(at)
		return struct{}{}, err
	}, `SELECT id, seen_at FROM sampled_context WHERE environment = $1`, environment)
	if err != nil {
		return nil, fmt.Errorf("list the sample of %q: %w", environment, err)
	}
	return seen, nil
}

// SampledContexts returns an environment's sample, in the order of the units'
// hashes, which is a random one.
func (tx *Tx) SampledContexts(environment string) ([]SealedContext, error) {
	all, err := list(tx, func(scan func(...any) error) (c SealedContext, err error) {
		var at int64
		err = scan(&c.ID, &c.Rank, &at, &c.Body)
		c.At = fromMicros(at)
		return c, err
	}, `SELECT id, rank, seen_at, body FROM sampled_context WHERE environment = $1 ORDER BY id`, environment)
	if err != nil {
		return nil, fmt.Errorf("read the sample of %q: %w", environment, err)
	}
	return all, nil
}

// ForgetSample deletes an environment's sample; how many units there were stays.
func (tx *Tx) ForgetSample(environment string) error {
	for _, table := range []string{"sampled_context", "sample_bound"} {
		if _, err := tx.exec(`DELETE FROM `+table+` WHERE environment = $1`, environment); err != nil {
			return fmt.Errorf("forget the sample of %q: %w", environment, err)
		}
	}
	return nil
}

// A UnitSketch is what is kept of the units of one day that are of one level.
type UnitSketch struct {
	Day   int64 // since 1970
	Level int
	Body  []byte
}

// UnitSketches returns the sketches of an environment since a day, and the
// highest level at which senders left units out.
func (tx *Tx) UnitSketches(environment string, since int64) (all []UnitSketch, level int, err error) {
	all, err = list(tx, func(scan func(...any) error) (s UnitSketch, err error) {
		return s, scan(&s.Day, &s.Level, &s.Body)
	}, `SELECT day, level, body FROM unit_sketch WHERE environment = $1 AND day >= $2 ORDER BY day, level`, environment, since)
	if err == nil {
		_, err = tx.one(`SELECT COALESCE(MAX(level), 0) FROM sampled_day WHERE environment = $1 AND day >= $2`, []any{environment, since}, &level)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read the units of %q: %w", environment, err)
	}
	return all, level, nil
}

// UnitSketch returns one sketch; nil if there is none.
func (tx *Tx) UnitSketch(environment string, day int64, level int) (body []byte, err error) {
	if _, err := tx.one(`SELECT body FROM unit_sketch WHERE environment = $1 AND day = $2 AND level = $3`, []any{environment, day, level}, &body); err != nil {
		return nil, fmt.Errorf("read the units of %q: %w", environment, err)
	}
	return body, nil
}

// PutUnitSketch replaces one sketch.
func (tx *Tx) PutUnitSketch(environment string, s UnitSketch) error {
	_, err := tx.exec(`INSERT INTO unit_sketch (environment, day, level, body) VALUES ($1, $2, $3, $4)
		ON CONFLICT (environment, day, level) DO UPDATE SET body = excluded.body`, environment, s.Day, s.Level, s.Body)
	if err != nil {
		return fmt.Errorf("write the units of %q: %w", environment, err)
	}
	return nil
}

// NoteLevel notes that on a day a sender left units out below a level.
func (tx *Tx) NoteLevel(environment string, day int64, level int) error {
	_, err := tx.exec(`INSERT INTO sampled_day (environment, day, level) VALUES ($1, $2, $3)
		ON CONFLICT (environment, day) DO UPDATE SET level = excluded.level WHERE sampled_day.level < excluded.level`, environment, day, level)
	if err != nil {
		return fmt.Errorf("note the level of %q: %w", environment, err)
	}
	return nil
}

// ForgetUnits deletes what is known of the units of earlier days, everywhere.
func (tx *Tx) ForgetUnits(before int64) error {
	for _, table := range []string{"unit_sketch", "sampled_day"} {
		if _, err := tx.exec(`DELETE FROM `+table+` WHERE day < $1`, before); err != nil {
			return fmt.Errorf("forget units: %w", err)
		}
	}
	return nil
}
