package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/flyballdev/flyball"
)

// AuditAt returns the latest entry of the audit log at a time, 0 if there was
// none.
func (tx *Tx) AuditAt(at time.Time) (seq int64, err error) {
	_, err = tx.one(`SELECT seq FROM audit WHERE at <= $1 ORDER BY at DESC, seq DESC LIMIT 1`, []any{micros(at)}, &seq)
	return seq, history("the audit log", err)
}

// VersionEntry returns the entry that made a version of an environment's
// ruleset; nil if there is none.
func (tx *Tx) VersionEntry(environment string, version int64) (*flyball.AuditEntry, error) {
	return tx.entry(`environment = $1 AND version = $2 AND version > 0`, environment, version)
}

// VersionUpTo returns the latest entry up to one that made a version of an
// environment's ruleset; nil if none did.
func (tx *Tx) VersionUpTo(environment string, seq int64) (*flyball.AuditEntry, error) {
	return tx.entry(`environment = $1 AND version > 0 AND seq <= $2 ORDER BY seq DESC LIMIT 1`, environment, seq)
}

// Entry returns one entry of the audit log; nil if it is not there.
func (tx *Tx) Entry(seq int64) (*flyball.AuditEntry, error) { return tx.entry(`seq = $1`, seq) }

// Edited returns the latest entry up to one that edited a noun; nil if none did.
// Of nouns of the whole installation, the environment is empty.
func (tx *Tx) Edited(noun, environment, key string, upTo int64) (*flyball.AuditEntry, error) {
	return tx.entry(`seq = (SELECT MAX(seq) FROM audit_edit WHERE noun = $1 AND environment = $2 AND key = $3 AND seq <= $4)`, noun, environment, key, upTo)
}

// Made returns the first entry that edited a noun; nil if none did.
func (tx *Tx) Made(noun, environment, key string) (*flyball.AuditEntry, error) {
	return tx.entry(`seq = (SELECT MIN(seq) FROM audit_edit WHERE noun = $1 AND environment = $2 AND key = $3)`, noun, environment, key)
}

// Edits returns how many changes, up to an entry, edited a noun. The entries
// that one change makes in several environments have one time.
func (tx *Tx) Edits(noun, environment, key string, upTo int64) (n int64, err error) {
	_, err = tx.one(`SELECT COUNT(DISTINCT a.at) FROM audit_edit e JOIN audit a ON a.seq = e.seq
		WHERE e.noun = $1 AND e.environment = $2 AND e.key = $3 AND e.seq <= $4`, []any{noun, environment, key, upTo}, &n)
	return n, history(noun+" "+key, err)
}

// EachLastEdit calls f with the last edit, up to an entry, of each noun of a
// kind, in no order.
func (tx *Tx) EachLastEdit(noun, environment string, upTo int64, f func(flyball.Edit) error) error {
	const last = `SELECT MAX(seq) FROM audit_edit WHERE noun = $1 AND environment = $2 AND seq <= $3 GROUP BY key`
	rows, err := tx.tx.QueryContext(tx.ctx, `SELECT e.key, e.seq, a.body FROM audit_edit e JOIN audit a ON a.seq = e.seq
		WHERE e.noun = $1 AND e.environment = $2 AND e.seq IN (`+last+`) ORDER BY e.seq`, noun, environment, upTo)
	if err != nil {
		return history(noun, err)
	}
	defer rows.Close()
	var in struct { // the entry at hand, which may hold many edits
		seq   int64
		Edits []flyball.Edit `json:"edits"`
	}
	latest := map[string]flyball.Edit{} // an entry may be the last of one noun, and an early one of another
	for rows.Next() {
		var key string
		var seq int64
		var body []byte
		if err := rows.Scan(&key, &seq, &body); err != nil {
			return history(noun, err)
		}
		if in.seq != seq {
			in.seq, in.Edits = seq, nil
			if err := json.Unmarshal(body, &in); err != nil {
				return history(noun, err)
			}
		}
		for _, edit := range in.Edits {
			if edit.Noun == noun && edit.Environment == environment && edit.Key == key {
				latest[key] = edit
			}
		}
	}
	if err := rows.Err(); err != nil {
		return history(noun, err)
	}
	for _, edit := range latest {
		if err := f(edit); err != nil {
			return err
		}
	}
	return nil
}

// entry returns the entry that a condition selects.
func (tx *Tx) entry(where string, args ...any) (*flyball.AuditEntry, error) {
	found, err := list(tx, scanEntry, `SELECT body, hash FROM audit WHERE `+where, args...)
	if err != nil || len(found) == 0 {
		return nil, history("the audit log", err)
	}
	return &found[0], nil
}

func history(of string, err error) error {
	if _, told := errors.AsType[*flyball.Error](err); err == nil || told {
		return err
	}
	return fmt.Errorf("read the history of %s: %w", of, err)
}
