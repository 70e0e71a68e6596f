package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
)

// A Tx is a transaction, alive while the function that got it runs. It belongs
// to one goroutine.
//
// Its methods return [flyball.NotFound] for what is not there, and
// [flyball.Conflict] for what changed meanwhile or is taken; the current
// revision then stands in the error's Details as "version". After a conflict
// the transaction is still good.
type Tx struct {
	ctx     context.Context
	tx      *sql.Tx
	dialect *dialect
}

// Context returns the context under which the transaction runs.
func (tx *Tx) Context() context.Context { return tx.ctx }

// exec runs a statement and returns how many rows it changed.
func (tx *Tx) exec(query string, args ...any) (int64, error) {
	result, err := tx.tx.ExecContext(tx.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// one scans the only row of a query into dest; found is false if there is none.
func (tx *Tx) one(query string, args []any, dest ...any) (found bool, err error) {
	err = tx.tx.QueryRowContext(tx.ctx, query, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// list collects the rows of a query.
func list[T any](tx *Tx, scan func(scan func(...any) error) (T, error), query string, args ...any) ([]T, error) {
	rows, err := tx.tx.QueryContext(tx.ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []T{}
	for rows.Next() {
		v, err := scan(rows.Scan)
		if err == errEnough {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// errEnough ends a list before the row at hand.
var errEnough = errors.New("enough")

// counter raises a counter and returns what it was before. Nobody else can
// raise it before the transaction ends, so that numbers have no gaps and rise
// in the order of commits.
func (tx *Tx) counter(name string, by int64) (before int64, err error) {
	found, err := tx.one(`UPDATE counter SET value = value + $1 WHERE name = $2 RETURNING value - $1`, []any{by, name}, &before)
	if err == nil && !found {
		err = errors.New("it is missing from the database")
	}
	if err != nil {
		return 0, fmt.Errorf("raise the counter %s: %w", name, err)
	}
	return before, nil
}

// Epoch returns the generation of the database: an evaluator prefers any
// version of a later epoch to all of an earlier one.
func (tx *Tx) Epoch() (epoch int64, err error) {
	if _, err := tx.one(`SELECT value FROM counter WHERE name = 'epoch'`, nil, &epoch); err != nil {
		return 0, fmt.Errorf("read the epoch: %w", err)
	}
	return epoch, nil
}

// RaiseEpoch starts a new generation, as a restore from a backup must, and
// returns its number.
func (tx *Tx) RaiseEpoch() (int64, error) {
	before, err := tx.counter("epoch", 1)
	return before + 1, err
}

// Setting returns a small fact about the installation.
func (tx *Tx) Setting(name string) (value string, found bool, err error) {
	found, err = tx.one(`SELECT value FROM setting WHERE name = $1`, []any{name}, &value)
	if err != nil {
		return "", false, fmt.Errorf("read setting %s: %w", name, err)
	}
	return value, found, nil
}

// PutSetting keeps a small fact about the installation.
func (tx *Tx) PutSetting(name, value string) error {
	_, err := tx.exec(`INSERT INTO setting (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	if err != nil {
		return fmt.Errorf("put setting %s: %w", name, err)
	}
	return nil
}

// encode returns v as the text of a body column.
func encode(v any) (string, error) {
	body, err := json.Marshal(v)
	return string(body), err
}

// micros is how a time stands in the database: microseconds since 1970, UTC.
func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// plain makes a string of unknown origin one that both databases take: valid
// UTF-8 without zero bytes.
func plain(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// A filter gathers the conditions of a query and their arguments.
type filter struct {
	where []string
	args  []any
}

// and adds a condition, in which $ stands for the argument.
func (f *filter) and(condition string, arg any) {
	f.args = append(f.args, arg)
	f.where = append(f.where, strings.Replace(condition, "$", "$"+strconv.Itoa(len(f.args)), 1))
}

// String returns the WHERE clause, if there is one.
func (f *filter) String() string {
	if len(f.where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(f.where, " AND ")
}

// placeholders returns ($1,$2),($3,$4)… for rows of a width.
func placeholders(rows, width int) string {
	var b strings.Builder
	for i := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		for j := range width {
			b.WriteByte("(,"[min(j, 1)])
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(i*width + j + 1))
		}
		b.WriteByte(')')
	}
	return b.String()
}

func notFound(noun, key string) error {
	return flyball.Errorf(flyball.NotFound, "there is no %s %q", noun, key)
}

// stale is the conflict of a noun that is not at the revision that was read.
func stale(noun, key string, read, current int64) error {
	return flyball.Errorf(flyball.Conflict, "%s %q is at revision %d, not %d: read it again", noun, key, current, read).With("version", current)
}
