package store

import (
	"database/sql"
	"fmt"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/chain"
)

// EachAudit calls f with the entries of the audit log after one, in order, as
// they stand in the database: at most limit, or until f says no. A row's body
// is good until f returns.
func (tx *Tx) EachAudit(afterSeq int64, limit int, f func(chain.Row) (more bool)) error {
	rows, err := tx.tx.QueryContext(tx.ctx, `SELECT seq, at, environment, version, actor, subject, body, hash FROM audit
		WHERE seq > $1 ORDER BY seq LIMIT $2`, afterSeq, limit)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	defer rows.Close()
	var r chain.Row
	var at int64
	var body sql.RawBytes // a million bodies are not copied
	into := []any{&r.Seq, &at, &r.Environment, &r.Version, &r.Actor, &r.Subject, &body, &r.Hash}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		if r.At, r.Body = fromMicros(at), body; !f(r) {
			return nil
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	return nil
}

// WalkAudit returns a walk that stands behind an entry of the audit log, of
// which it takes the hash for true; 0 is the beginning. The error is
// [flyball.NotFound] if there is no such entry.
func (tx *Tx) WalkAudit(after int64) (chain.Walk, error) {
	hash, err := tx.auditHash(after)
	if err == nil && hash == noHash {
		err = flyball.Errorf(flyball.NotFound, "there is no entry %d in the audit log", after)
	}
	return chain.Walk{Seq: after, Hash: hash}, err
}

// ProveAudit leads a walk on, over at most limit entries, and says whether there
// are more. What is wrong with the log it returns; an error is only that it
// could not be read.
func (tx *Tx) ProveAudit(w *chain.Walk, limit int) (more bool, broken *chain.Break, err error) {
	head, err := tx.LastAudit()
	if err != nil {
		return false, nil, err
	}
	n := 0
	err = tx.EachAudit(w.Seq, limit, func(r chain.Row) bool {
		n++
		broken = w.Row(r)
		return broken == nil
	})
	switch {
	case err != nil:
		return false, nil, err
	case broken != nil:
		return false, broken, nil
	case n == limit && w.Seq != head:
		return true, nil, nil
	case w.Seq < head:
		return false, &chain.Break{Seq: w.Seq + 1, Kind: chain.Truncated, Why: fmt.Sprintf("the log ends at entry %d, and was given %d", w.Seq, head)}, nil
	case w.Seq > head:
		return false, &chain.Break{Seq: head + 1, Kind: chain.Edited, Why: fmt.Sprintf("the log goes on to entry %d, and was given %d", w.Seq, head)}, nil
	}
	return false, nil, nil
}
