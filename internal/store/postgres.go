package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3/database"
)

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
	case "XX001", "XX002":
		return faultBroken
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
