// Package store remembers everything that must outlive the process: flags and
// what each environment serves for them, rollouts and their evidence, the
// audit log, tokens, and the telemetry log.
//
// There is one implementation, in the SQL that SQLite and PostgreSQL share;
// what they differ in is the dialect. All reading and writing goes through a
// [Tx], so that one transaction can hold a change, its version, its audit
// entry and its row in the log: they are durable together, or not there.
//
// Writers take turns, on PostgreSQL as on SQLite, over all processes. So a
// write transaction sees nothing change under it, and the numbers that it
// hands out (versions of an environment, the audit log's and the telemetry
// log's sequence) have no gaps and rise in the order of commits.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
)

// DefaultPath is the file that is opened where no database is named.
const DefaultPath = "./flyball-data/flyball.db"

const (
	maxReaders  = 8
	maxAttempts = 6 // of one write transaction, all conflicts together
)

// A DB is an open database. It is safe for concurrent use.
type DB struct {
	dialect *dialect
	url     string
	write   *sql.DB // one connection: writers queue here rather than in the database
	read    *sql.DB

	closing context.Context // ends when Close is called
	close   context.CancelFunc
	waking  sync.WaitGroup
}

// Open opens the database at a URL, brings its tables up to date, and returns
// it ready for use. A URL that starts with postgres:// or postgresql:// names
// a PostgreSQL database; sqlite:PATH, or a bare path, names an SQLite file,
// whose folder is made if it is missing; "" is [DefaultPath]. A new database
// starts in epoch 1, without environments.
//
// Several processes may open one database at once. The error is
// [flyball.Invalid] for a URL that cannot be meant, and [flyball.Unavailable]
// if the database cannot be reached.
func Open(ctx context.Context, url string) (*DB, error) {
	d, where, err := dialectOf(url)
	if err != nil {
		return nil, err
	}
	db := &DB{dialect: d, url: where}
	db.write, db.read, err = d.open(where)
	if err != nil {
		return nil, fmt.Errorf("open the %s database: %w", d.name, db.explain(err))
	}
	db.closing, db.close = context.WithCancel(context.Background())
	if err := db.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the %s database: %w", d.name, db.explain(err)), db.Close())
	}
	return db, nil
}

// Close ends what Open and Wake began. Transactions that are under way fail.
func (db *DB) Close() error {
	db.close()
	db.waking.Wait()
	return errors.Join(db.read.Close(), db.write.Close())
}

// Kind returns "sqlite" or "postgres".
func (db *DB) Kind() string { return db.dialect.name }

// Ping says whether the database answers; the error is [flyball.Unavailable]
// if it does not.
func (db *DB) Ping(ctx context.Context) error {
	var one int
	return db.explain(db.read.QueryRowContext(ctx, `SELECT 1`).Scan(&one))
}

// Wake returns a channel that receives soon after any process commits a new
// version of any environment, or whatever else it tells of ([Tx.Tell]); nil where
// the database cannot tell. It is a
// hint to poll sooner: values are merged, and lost while the database is away.
// The channel is closed when ctx ends or the DB is closed.
func (db *DB) Wake(ctx context.Context) <-chan struct{} {
	if db.dialect.listen == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(db.closing, cancel)
	hints := make(chan struct{}, 1)
	db.waking.Go(func() {
		defer close(hints)
		defer cancel()
		defer stop()
		db.listen(ctx, hints)
	})
	return hints
}

// listen passes notifications on until ctx ends, and connects anew, ever more
// slowly, while the database is away. A new connection is a hint too, for what
// was told meanwhile is lost.
func (db *DB) listen(ctx context.Context, hints chan<- struct{}) {
	hint := func() {
		select {
		case hints <- struct{}{}:
		default:
		}
	}
	const shortest, longest = 100 * time.Millisecond, 10 * time.Second
	for wait := shortest; ctx.Err() == nil; wait = min(2*wait, longest) {
		heard := func() { wait = shortest; hint() }
		if err := db.dialect.listen(ctx, db.url, heard); err == nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait + rand.N(wait)):
		}
	}
}

// Update runs f in a write transaction and commits it; if f returns an error,
// nothing of it remains. When Update returns nil, all that f wrote is on disk.
//
// Writers take turns, so f must not wait for anything but the database, nor
// start another transaction. f may run again after a conflict inside the
// database, and must not leave traces outside its Tx before Update returns.
//
// Errors of f are returned as they are. A database that is down, full, or busy
// beyond patience is [flyball.Unavailable].
func (db *DB) Update(ctx context.Context, f func(*Tx) error) error {
	return db.insist(ctx, db.write, nil, db.dialect.begin, f)
}

// View runs f in a read transaction: all that f reads is of one moment. Writes
// fail. f may run again, as in [DB.Update].
func (db *DB) View(ctx context.Context, f func(*Tx) error) error {
	return db.insist(ctx, db.read, db.dialect.snapshot, "", f)
}

// insist runs a transaction again, some times, after a conflict with another,
// and once if it could not even begin: an idle connection may have died with a
// server that is back by now. While another process writes, it waits. A transaction whose commit was not answered is
// never run again, for it may have happened.
func (db *DB) insist(ctx context.Context, pool *sql.DB, opts *sql.TxOptions, begin string, f func(*Tx) error) error {
	started := time.Now()
	for attempt := 1; ; attempt++ {
		begun, err := db.transact(ctx, pool, opts, begin, f)
		if err == nil {
			return nil
		}
		if cause := ctx.Err(); cause != nil { // then the error is an echo of that, in many forms
			return db.explain(fmt.Errorf("%w: %w", cause, err))
		}
		fault := db.dialect.diagnose(err)
		again := fault == faultConflict && attempt < maxAttempts ||
			fault == faultDown && !begun && attempt == 1 ||
			fault == faultBusy && !begun && time.Since(started) < patience
		if !again {
			return db.explain(err)
		}
		select {
		case <-ctx.Done():
			return db.explain(ctx.Err())
		case <-time.After(rand.N(time.Millisecond << min(attempt, maxAttempts))):
		}
	}
}

func (db *DB) transact(ctx context.Context, pool *sql.DB, opts *sql.TxOptions, begin string, f func(*Tx) error) (begun bool, err error) {
	stx, err := pool.BeginTx(ctx, opts)
	if err != nil {
		return false, fmt.Errorf("begin: %w", err)
	}
	defer stx.Rollback() // after a commit it does nothing
	if begin != "" {
		if _, err := stx.ExecContext(ctx, begin); err != nil {
			return false, fmt.Errorf("begin: %w", err)
		}
	}
	if err := f(&Tx{ctx: ctx, tx: stx, dialect: db.dialect}); err != nil {
		return true, err
	}
	if err := stx.Commit(); err != nil {
		return true, fmt.Errorf("commit: %w", err)
	}
	return true, nil
}

// explain gives err a code, if it is the database's own and the caller can do
// something about it.
func (db *DB) explain(err error) error {
	if err == nil {
		return nil
	}
	if _, told := errors.AsType[*flyball.Error](err); told || errors.Is(err, context.Canceled) {
		return err
	}
	var told *flyball.Error
	switch db.dialect.diagnose(err) {
	case faultDown:
		told = flyball.Errorf(flyball.Unavailable, "the %s database does not answer: try again later", db.dialect.name)
	case faultBusy:
		told = flyball.Errorf(flyball.Unavailable, "another process has the %s database to itself: try again later", db.dialect.name)
	case faultFull:
		told = flyball.Errorf(flyball.Unavailable, "the disk of the %s database is full: free some space", db.dialect.name)
	case faultBroken:
		told = flyball.Errorf(flyball.Unavailable, "the %s database is damaged: restore it from a backup", db.dialect.name)
	case faultMissing:
		told = flyball.Errorf(flyball.NotFound, "what is referred to does not exist")
	case faultUnique, faultConflict:
		told = flyball.Errorf(flyball.Conflict, "another change came first: read again")
	default:
		return err
	}
	return fmt.Errorf("%w: %w", told, err)
}
