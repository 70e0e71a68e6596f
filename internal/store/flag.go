package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/flyballdev/flyball"
)

// A FlagRecord is a flag and its life. An archived flag is kept for ever, so
// that its key is never used again.
type FlagRecord struct {
	flyball.Flag
	Revision    int64           `json:"revision" doc:"rises with each change of the flag"`
	CreatedAt   time.Time       `json:"createdAt"`
	CreatedBy   flyball.ActorID `json:"createdBy"`
	ArchivedAt  *time.Time      `json:"archivedAt,omitempty"`
	ArchivedBy  flyball.ActorID `json:"archivedBy,omitempty"`
	ArchivedWhy string          `json:"archivedWhy,omitempty"`
}

const flagColumns = `SELECT body, revision, created_at, created_by, archived_at, archived_by, archived_why FROM flag`

func scanFlag(scan func(...any) error) (f FlagRecord, err error) {
	var body []byte
	var created int64
	var archived sql.Null[int64]
	if err := scan(&body, &f.Revision, &created, &f.CreatedBy, &archived, &f.ArchivedBy, &f.ArchivedWhy); err != nil {
		return f, err
	}
	f.CreatedAt = fromMicros(created)
	if archived.Valid {
		at := fromMicros(archived.V)
		f.ArchivedAt = &at
	}
	return f, json.Unmarshal(body, &f.Flag)
}

// Flags returns all flags that are not archived, by key.
func (tx *Tx) Flags() ([]FlagRecord, error) {
	return tx.flags(` WHERE archived_at IS NULL ORDER BY key`)
}

// ArchivedFlags returns all archived flags, by key.
func (tx *Tx) ArchivedFlags() ([]FlagRecord, error) {
	return tx.flags(` WHERE archived_at IS NOT NULL ORDER BY key`)
}

func (tx *Tx) flags(where string) ([]FlagRecord, error) {
	all, err := list(tx, scanFlag, flagColumns+where)
	if err != nil {
		return nil, fmt.Errorf("list flags: %w", err)
	}
	return all, nil
}

// Flag returns one flag, also if it is archived.
func (tx *Tx) Flag(key string) (FlagRecord, error) {
	found, err := list(tx, scanFlag, flagColumns+` WHERE key = $1`, key)
	switch {
	case err != nil:
		return FlagRecord{}, fmt.Errorf("read flag %q: %w", key, err)
	case len(found) == 0:
		return FlagRecord{}, notFound("flag", key)
	}
	return found[0], nil
}

// InsertFlag adds a flag, at revision 1. A key that was ever used is a
// conflict, whose Details say by what: "version", "createdAt", "createdBy",
// "owner" and, of an archived flag, "archivedAt", "archivedBy", "archivedWhy".
func (tx *Tx) InsertFlag(f flyball.Flag, by flyball.ActorID, at time.Time) error {
	body, err := encode(f)
	if err != nil {
		return fmt.Errorf("insert flag %q: %w", f.Key, err)
	}
	n, err := tx.exec(`INSERT INTO flag (key, body, revision, created_at, created_by) VALUES ($1, $2, 1, $3, $4) ON CONFLICT DO NOTHING`,
		f.Key, body, micros(at), by)
	if err != nil {
		return fmt.Errorf("insert flag %q: %w", f.Key, err)
	}
	if n == 1 {
		return nil
	}
	old, err := tx.Flag(f.Key)
	if err != nil {
		return err
	}
	taken := flyball.Errorf(flyball.Conflict, "flag %q exists already, since %s", f.Key, old.CreatedAt.Format(time.RFC3339))
	if old.ArchivedAt != nil {
		taken = flyball.Errorf(flyball.Conflict, "flag %q was archived on %s and a key is never used again, since code that reads the old flag may still run: choose another key",
			f.Key, old.ArchivedAt.Format(time.DateOnly)).
			With("archivedAt", *old.ArchivedAt).With("archivedBy", old.ArchivedBy).With("archivedWhy", old.ArchivedWhy)
	}
	return taken.With("version", old.Revision).With("createdAt", old.CreatedAt).With("createdBy", old.CreatedBy).With("owner", old.Owner)
}

// UpdateFlag changes a flag that is still at a revision, and returns the next
// one.
func (tx *Tx) UpdateFlag(f flyball.Flag, ifRevision int64) (revision int64, err error) {
	body, err := encode(f)
	if err != nil {
		return 0, fmt.Errorf("update flag %q: %w", f.Key, err)
	}
	found, err := tx.one(`UPDATE flag SET body = $1, revision = revision + 1
		WHERE key = $2 AND revision = $3 AND archived_at IS NULL RETURNING revision`,
		[]any{body, f.Key, ifRevision}, &revision)
	if err != nil {
		return 0, fmt.Errorf("update flag %q: %w", f.Key, err)
	}
	if found {
		return revision, nil
	}
	old, err := tx.Flag(f.Key)
	switch {
	case err != nil:
		return 0, err
	case old.ArchivedAt != nil:
		return 0, archived(old)
	}
	return 0, stale("flag", f.Key, ifRevision, old.Revision)
}

// ArchiveFlag takes a flag out of every ruleset, for ever.
func (tx *Tx) ArchiveFlag(key string, by flyball.ActorID, why string, at time.Time) error {
	n, err := tx.exec(`UPDATE flag SET revision = revision + 1, archived_at = $1, archived_by = $2, archived_why = $3
		WHERE key = $4 AND archived_at IS NULL`, micros(at), by, why, key)
	if err != nil {
		return fmt.Errorf("archive flag %q: %w", key, err)
	}
	if n == 1 {
		return nil
	}
	old, err := tx.Flag(key)
	if err != nil {
		return err
	}
	return archived(old)
}

func archived(f FlagRecord) error {
	return flyball.Errorf(flyball.Conflict, "flag %q was archived on %s", f.Key, f.ArchivedAt.Format(time.DateOnly)).
		With("version", f.Revision).With("archivedAt", *f.ArchivedAt)
}
