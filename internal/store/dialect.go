package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/flyballdev/flyball"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3/database"
)

// A dialect is all that the two databases disagree on.
type dialect struct {
	name     string
	goose    database.Dialect
	words    *strings.Replacer // words of the migrations
	open     func(url string) (write, read *sql.DB, err error)
	lock     func(ctx context.Context, db *DB) (unlock func() error, err error) // held while migrating
	begin    string                                                             // opens the turn of a writer
	snapshot *sql.TxOptions                                                     // of a read transaction
	notify   string                                                             // tells other processes of a commit
	listen   func(ctx context.Context, url string, heard func()) error          // until ctx ends, then nil
	diagnose func(error) fault
}

// A fault is what an error of the database means to us.
type fault int

const (
	faultOther    fault = iota
	faultConflict       // with another transaction: running it again helps
	faultBusy           // another process writes: waiting helps
	faultUnique         // a unique index refused a row
	faultMissing        // a row refers to one that is not there
	faultDown           // the database does not answer
	faultFull           // its disk is full
	faultBroken         // its file is damaged
)

// dialectOf returns the dialect of a database's URL, and where it is.
func dialectOf(raw string) (*dialect, string, error) {
	path, isSQLite := strings.CutPrefix(raw, "sqlite:")
	switch {
	case strings.HasPrefix(raw, "postgres://"), strings.HasPrefix(raw, "postgresql://"):
		return postgres, raw, nil
	case !isSQLite && strings.Contains(raw, "://"):
		return nil, "", flyball.FieldErrorf("database", "not a database that is known: give a path, sqlite:PATH, or postgres://…")
	case path == "":
		path = DefaultPath
	}
	path, err := filepath.Abs(strings.TrimPrefix(path, "//"))
	if err != nil {
		return nil, "", flyball.FieldErrorf("database", "%v", err)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, filepath.Base(DefaultPath))
	}
	return sqliteDialect, path, nil
}

// limit bounds a pool and keeps its connections open.
func limit(pool *sql.DB, n int) {
	pool.SetMaxOpenConns(n)
	pool.SetMaxIdleConns(n)
}

func diagnoseAny(err error) fault {
	_, isNet := errors.AsType[net.Error](err)
	_, isConnect := errors.AsType[*pgconn.ConnectError](err)
	switch {
	case isNet, isConnect, errors.Is(err, pgconn.ErrConnClosed), errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return faultDown // context.DeadlineExceeded is a net.Error too
	}
	return faultOther
}
