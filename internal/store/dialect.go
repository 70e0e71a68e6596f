package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3/database"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
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

// limit bounds a pool and keeps its connections open.
func limit(pool *sql.DB, n int) {
	pool.SetMaxOpenConns(n)
	pool.SetMaxIdleConns(n)
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
	case sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return faultDown
	}
	return diagnoseAny(err)
}

func diagnoseAny(err error) fault {
	_, isNet := errors.AsType[net.Error](err)
	_, isConnect := errors.AsType[*pgconn.ConnectError](err)
	switch {
	case errors.Is(err, context.Canceled):
		return faultOther
	case isNet, isConnect, errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return faultDown // context.DeadlineExceeded is a net.Error too
	}
	return faultOther
}

var postgres = &dialect{
	name:     "postgres",
	goose:    database.DialectPostgres,
	words:    strings.NewReplacer("{{serial}}", "BIGINT", "{{key}}", `TEXT COLLATE "C"`, "{{blob}}", "BYTEA"),
	open:     openPostgres,
	lock:     lockPostgres,
	begin:    `SELECT pg_advisory_xact_lock(6012214831)`,
	snapshot: &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true},
	notify:   `SELECT pg_notify('flyball', $1)`,
	listen:   listenPostgres,
	diagnose: diagnosePostgres,
}

func openPostgres(url string) (write, read *sql.DB, err error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, nil, flyball.FieldErrorf("database", "%v", err) // the password is not in it
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	// A process that is stopped in its turn must not stop all others, and an
	// acknowledged write must be on disk whatever the server's default says.
	session := stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, `SELECT set_config('lock_timeout', '10s', false),
			set_config('idle_in_transaction_session_timeout', '10s', false),
			set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)`)
		return err
	})
	write, read = stdlib.OpenDB(*config, session), stdlib.OpenDB(*config, session)
	limit(write, 1)
	limit(read, maxReaders)
	read.SetConnMaxIdleTime(5 * time.Minute)
	return write, read, nil
}

// lockPostgres takes an advisory lock, which ends with its connection.
func lockPostgres(ctx context.Context, db *DB) (func() error, error) {
	conn, err := db.read.Conn(ctx)
	if err != nil {
		return nil, err
	}
	unlock := func() error {
		_, err := conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock_all(), set_config('lock_timeout', '10s', false)`)
		return errors.Join(err, conn.Close())
	}
	for _, statement := range []string{`SET lock_timeout = 0`, `SELECT pg_advisory_lock(6012214832)`} { // a migration may take long
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return nil, errors.Join(err, unlock())
		}
	}
	return unlock, nil
}

func listenPostgres(ctx context.Context, url string, heard func()) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `LISTEN flyball`); err != nil {
		return err
	}
	heard()
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		heard()
	}
}

func diagnosePostgres(err error) fault {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return diagnoseAny(err)
	}
	switch e.Code {
	case "40001", "40P01": // serialization failure, deadlock
		return faultConflict
	case "55P03": // lock timeout
		return faultBusy
	case "23505":
		return faultUnique
	case "23503":
		return faultMissing
	case "53100":
		return faultFull
	case "25006", "25P03", "28000", "28P01", "3D000": // read-only after a failover, idle timeout, sign-in, no such database
		return faultDown
	}
	switch e.Code[:2] {
	case "08", "53", "57", "58": // connection, resources, shutdown, system
		return faultDown
	}
	return faultOther
}
