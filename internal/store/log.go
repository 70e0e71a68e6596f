package store

import (
	"fmt"
	"time"
)

// A LogEntry is one row of the telemetry log: a batch as it arrived, or a
// change of a rollout, so that whoever replays the log sees both in the one
// order in which they happened.
type LogEntry struct {
	Seq         int64     // rises by one without gaps, in the order of commits
	Kind        string    // KindBatch, KindRollout, …
	Environment string    // where it belongs
	ID          string    // of the batch or the change; unique with kind and environment
	At          time.Time // when it arrived
	Body        []byte
}

// The kinds of log entries.
const (
	KindBatch   = "batch"
	KindRollout = "rollout"
	KindStream  = "stream" // samples of a guardrail that has no units
	KindGone    = "gone"   // an instance was declared gone; the body is its id
)

// DedupWindow is how long after its arrival an id of the log is remembered at
// least, so that a second arrival is recognised even after the entry itself
// was trimmed.
const DedupWindow = 24 * time.Hour

// AppendLog adds entries to the log and returns the number that each got, in
// order; 0 for an entry whose id is known already, which is not stored again.
// The entries' own Seq is not read.
func (tx *Tx) AppendLog(entries []LogEntry) (seqs []int64, err error) {
	seqs = make([]int64, len(entries))
	if len(entries) == 0 {
		return seqs, nil
	}
	// The counter comes first: from here to the commit no other writer can get
	// a number, whatever the database's rules.
	next, err := tx.counter("log", int64(len(entries)))
	if err != nil {
		return nil, err
	}
	fresh, err := tx.claimIDs(entries)
	if err != nil {
		return nil, fmt.Errorf("append to the log: %w", err)
	}
	kept := make([]LogEntry, 0, len(entries))
	for i, e := range entries {
		if k := keyOf(e); fresh[k] {
			delete(fresh, k) // the second of two in one call is a duplicate
			next++
			e.Seq, seqs[i] = next, next
			kept = append(kept, e)
		}
	}
	if twice := len(entries) - len(kept); twice > 0 {
		if _, err := tx.counter("log", -int64(twice)); err != nil {
			return nil, err
		}
	}
	err = inRuns(kept, func(run []LogEntry) error {
		args := make([]any, 0, 6*len(run))
		for _, e := range run {
			args = append(args, e.Seq, plain(e.Kind), plain(e.Environment), plain(e.ID), micros(e.At), e.Body)
		}
		_, err := tx.exec(`INSERT INTO log (seq, kind, environment, id, at, body) VALUES `+placeholders(len(run), 6), args...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("append to the log: %w", err)
	}
	return seqs, nil
}

// A logKey is what makes a log entry the same as another.
type logKey struct{ kind, environment, id string }

func keyOf(e LogEntry) logKey { return logKey{plain(e.Kind), plain(e.Environment), plain(e.ID)} }

// claimIDs remembers the ids of entries and returns those that are new.
func (tx *Tx) claimIDs(entries []LogEntry) (fresh map[logKey]bool, err error) {
	fresh = make(map[logKey]bool, len(entries))
	err = inRuns(entries, func(run []LogEntry) error {
		args := make([]any, 0, 4*len(run))
		for _, e := range run {
			k := keyOf(e)
			args = append(args, k.id, k.environment, k.kind, micros(e.At))
		}
		claimed, err := list(tx, func(scan func(...any) error) (k logKey, err error) {
			err = scan(&k.id, &k.environment, &k.kind)
			return k, err
		}, `INSERT INTO log_id (id, environment, kind, at) VALUES `+placeholders(len(run), 4)+`
			ON CONFLICT DO NOTHING RETURNING id, environment, kind`, args...)
		for _, k := range claimed {
			fresh[k] = true
		}
		return err
	})
	return fresh, err
}

// longestRun is short since SQLite looks each parameter up among all others.
const longestRun = 32

// inRuns calls f for runs of all, whose lengths are powers of two: so there
// are six forms of a statement at most, which the database can keep prepared.
func inRuns[T any](all []T, f func(run []T) error) error {
	for n := longestRun; len(all) > 0; {
		for n > len(all) {
			n /= 2
		}
		if err := f(all[:n]); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// Log returns the entries after a number, in order: at most limit, and no more
// than fit in maxBytes of bodies together, but at least one if there is one.
func (tx *Tx) Log(afterSeq int64, limit, maxBytes int) ([]LogEntry, error) {
	type size struct{ seq, bytes int64 }
	sizes, err := list(tx, func(scan func(...any) error) (s size, err error) {
		err = scan(&s.seq, &s.bytes)
		return s, err
	}, `SELECT seq, LENGTH(body) FROM log WHERE seq > $1 ORDER BY seq LIMIT $2`, afterSeq, limit)
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	last, bytes := afterSeq, int64(0)
	for _, s := range sizes {
		if bytes += s.bytes; bytes > int64(maxBytes) && last > afterSeq {
			break
		}
		last = s.seq
	}
	entries, err := list(tx, scanLog, `SELECT seq, kind, environment, id, at, body FROM log
		WHERE seq > $1 AND seq <= $2 ORDER BY seq`, afterSeq, last)
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	return entries, nil
}

func scanLog(scan func(...any) error) (e LogEntry, err error) {
	var at int64
	if err := scan(&e.Seq, &e.Kind, &e.Environment, &e.ID, &at, &e.Body); err != nil {
		return e, err
	}
	e.At = fromMicros(at)
	return e, nil
}

// LogHead returns the number of the latest entry of the log, 0 if there never
// was one.
func (tx *Tx) LogHead() (seq int64, err error) {
	if _, err := tx.one(`SELECT value FROM counter WHERE name = 'log'`, nil, &seq); err != nil {
		return 0, fmt.Errorf("read the head of the log: %w", err)
	}
	return seq, nil
}

// Most rows that one call of TrimLog deletes, so that no writer waits long.
const (
	trimEntries = 500
	trimIDs     = 5000
)

// TrimLog deletes entries up to a number, and ids that arrived more than
// [DedupWindow] before now and have no entry left. It deletes a bounded number
// of rows, the oldest first; more says that another call would delete more.
func (tx *Tx) TrimLog(uptoSeq int64, now time.Time) (more bool, err error) {
	var first int64
	if _, err := tx.one(`SELECT COALESCE(MIN(seq), 0) FROM log`, nil, &first); err != nil {
		return false, fmt.Errorf("trim the log: %w", err)
	}
	if first > 0 && first <= uptoSeq {
		last := min(uptoSeq, first+trimEntries-1)
		if _, err := tx.exec(`DELETE FROM log WHERE seq <= $1`, last); err != nil {
			return false, fmt.Errorf("trim the log: %w", err)
		}
		more = last < uptoSeq
	}
	// An id is only forgotten with its entry: the log may be older than the
	// window where nobody reads it.
	cutoff := micros(now.Add(-DedupWindow))
	var oldest int64
	if found, err := tx.one(`SELECT at FROM log ORDER BY seq LIMIT 1`, nil, &oldest); err != nil {
		return false, fmt.Errorf("trim the log: %w", err)
	} else if found {
		cutoff = min(cutoff, oldest)
	}
	n, err := tx.exec(`DELETE FROM log_id WHERE (id, environment, kind) IN
		(SELECT id, environment, kind FROM log_id WHERE at < $1 ORDER BY at LIMIT $2)`, cutoff, trimIDs)
	if err != nil {
		return false, fmt.Errorf("forget ids of the log: %w", err)
	}
	return more || n == trimIDs, nil
}

// Checkpoint returns the state that was saved last under a name, and the
// number of the log up to which it counts.
func (tx *Tx) Checkpoint(name string) (seq int64, state []byte, found bool, err error) {
	found, err = tx.one(`SELECT seq, state FROM checkpoint WHERE name = $1`, []any{name}, &seq, &state)
	if err != nil {
		return 0, nil, false, fmt.Errorf("read checkpoint %q: %w", name, err)
	}
	return seq, state, found, nil
}

// SaveCheckpoint keeps a state that counts the log up to a number.
func (tx *Tx) SaveCheckpoint(name string, seq int64, state []byte) error {
	_, err := tx.exec(`INSERT INTO checkpoint (name, seq, state) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, state = excluded.state`, name, seq, state)
	if err != nil {
		return fmt.Errorf("save checkpoint %q: %w", name, err)
	}
	return nil
}
