package store

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/pressly/goose/v3/database"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// patience is how long a writer waits for others before it gives up. While
// SQLite waits it does not hear that its caller gave up, so it waits shortly
// and is asked again.
const (
	patience  = 10 * time.Second
	patiently = "busy_timeout(10000)"
	shortly   = "busy_timeout(100)"
)

var sqliteDialect = &dialect{
	name:     "sqlite",
	goose:    database.DialectSQLite3,
	words:    strings.NewReplacer("{{serial}}", "INTEGER", "{{key}}", "TEXT", "{{blob}}", "BLOB"),
	open:     openSQLite,
	lock:     lockSQLite,
	diagnose: diagnoseSQLite,
}

func openSQLite(path string) (write, read *sql.DB, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, flyball.FieldErrorf("database", "%v", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // SQLite alone would let everybody read it
	if err != nil {
		return nil, nil, flyball.FieldErrorf("database", "%v", err)
	}
	if err := f.Close(); err != nil {
		return nil, nil, err
	}
	// A checkpoint copies the log of writes into the database. It comes after
	// 32 MiB rather than SQLite's 4, which one commit of telemetry exceeds.
	write, err = sql.Open("sqlite", sqliteURL(path, "immediate", shortly, "journal_mode(WAL)", "synchronous(FULL)",
		"foreign_keys(1)", "wal_autocheckpoint(8192)", "journal_size_limit(67108864)"))
	if err != nil {
		return nil, nil, err
	}
	read, err = sql.Open("sqlite", sqliteURL(path, "deferred", patiently, "query_only(1)"))
	if err != nil {
		return nil, nil, err
	}
	limit(write, 1)
	limit(read, maxReaders)
	return write, read, nil
}

func sqliteURL(path, begin string, pragmas ...string) string {
	q := url.Values{"_txlock": {begin}, "_pragma": pragmas}
	return "file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath() + "?" + q.Encode()
}

// lockSQLite locks a file beside the database, through SQLite itself, since
// its locks end with the process on every system.
func lockSQLite(ctx context.Context, db *DB) (func() error, error) {
	beside, err := sql.Open("sqlite", sqliteURL(db.url+".lock", "exclusive", patiently))
	if err != nil {
		return nil, err
	}
	held, err := beside.BeginTx(ctx, nil)
	if err != nil {
		return nil, errors.Join(err, beside.Close())
	}
	unlock := func() error {
		_, err := db.write.Exec(`PRAGMA ` + shortly)
		return errors.Join(err, held.Rollback(), beside.Close())
	}
	if _, err := db.write.ExecContext(ctx, `PRAGMA `+patiently); err != nil { // processes that run already may write
		return nil, errors.Join(err, unlock())
	}
	return unlock, nil
}

func diagnoseSQLite(err error) fault {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return diagnoseAny(err)
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return faultUnique
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return faultMissing
	case sqlite3.SQLITE_BUSY_SNAPSHOT:
		return faultConflict
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return faultFull
	case sqlite3.SQLITE_BUSY:
		return faultBusy
	case sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
		return faultDown
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return faultBroken
	}
	return diagnoseAny(err)
}
