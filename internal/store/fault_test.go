package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

func TestADatabaseThatCannotBeOpenedIsExplained(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]flyball.Code{
		"mysql://localhost/flyball":                flyball.Invalid,
		"postgres://localhost:port/flyball":        flyball.Invalid,
		file + "/below/flyball.db":                 flyball.Invalid,
		"postgres://nobody@127.0.0.1:1/nothing":    flyball.Unavailable,
		"postgres:///nothing?host=/nowhere/at/all": flyball.Unavailable,
		"sqlite:" + file:                           flyball.Unavailable,
	} {
		if db, err := Open(t.Context(), url); err == nil {
			db.Close()
			t.Errorf("%s was opened", url)
		} else if got := flyball.CodeOf(err); got != want {
			t.Errorf("%s: code %s, want %s: %v", url, got, want, err)
		}
	}
}

func TestEveryFormOfAPathOpensTheSameFile(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(folder, "flyball.db")
	update(t, open(t, path), func(tx *Tx) error { return tx.PutSetting("here", "yes") })
	for _, url := range []string{"sqlite:" + path, "sqlite://" + path, folder, "sqlite:" + folder} {
		view(t, open(t, url), func(tx *Tx) error {
			if _, found, _ := tx.Setting("here"); !found {
				t.Errorf("%s is another database", url)
			}
			return nil
		})
	}
	for name, want := range map[string]os.FileMode{folder: 0o700, path: 0o600} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v; want %v", name, info.Mode().Perm(), err, want)
		}
	}
	t.Chdir(t.TempDir())
	if db := open(t, ""); db.url != filepath.Join(first(os.Getwd()), "flyball-data", "flyball.db") {
		t.Errorf("no URL opened %s", db.url)
	}
}

func first(s string, _ error) string { return s }

// What is acknowledged must be on disk, so no setting may weaken that.
func TestSQLiteSyncsEveryCommit(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "flyball.db"))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "100"} {
		var got string
		if err := db.write.QueryRow(`PRAGMA ` + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", pragma, got, err, want)
		}
	}
}

func TestPostgresSyncsEveryCommit(t *testing.T) {
	url := migrated.URL(t)
	db := open(t, url)
	update(t, db, func(tx *Tx) error {
		_, err := tx.exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$`)
		return err
	})
	view(t, open(t, url), func(tx *Tx) error {
		var got string
		_, err := tx.one(`SELECT current_setting('synchronous_commit')`, nil, &got)
		if got != "on" {
			t.Errorf("synchronous_commit is %s", got)
		}
		return err
	})
}

// Real serialization failures come from the server; a function may raise them
// too, which is how this test gets as many as it wants.
func TestAConflictInTheDatabaseIsTriedAgainButNotForEver(t *testing.T) {
	db := open(t, migrated.URL(t))
	update(t, db, furnish("a.flag"))
	for _, state := range []string{"40001", "40P01"} {
		runs := 0
		failUntil := func(n int) func(*Tx) error {
			runs = 0
			return func(tx *Tx) error {
				runs++
				if _, _, _, err := change(tx, "a.flag", "because"); err != nil || runs >= n {
					return err
				}
				_, err := tx.exec(`DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '` + state + `'; END $$`)
				return err
			}
		}
		if err := db.Update(t.Context(), failUntil(3)); err != nil || runs != 3 {
			t.Errorf("%s: %v after %d runs, want none after 3", state, err, runs)
		}
		wantCode(t, db.Update(t.Context(), failUntil(1000)), flyball.Conflict)
		if runs != maxAttempts {
			t.Errorf("%s: %d runs, want %d", state, runs, maxAttempts)
		}
	}
	wantWhole(t, db, 2)
}

func TestDeadConnectionsAreReplaced(t *testing.T) {
	url := migrated.URL(t)
	db, killer := open(t, url), open(t, url)
	update(t, db, furnish("a.flag"))
	for i := range int64(3) {
		var killed int
		view(t, killer, func(tx *Tx) error {
			_, err := tx.one(`SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid()) AS gone`, nil, &killed)
			return err
		})
		if killed == 0 {
			t.Fatal("there was no connection to kill")
		}
		update(t, db, func(tx *Tx) error { _, _, _, err := change(tx, "a.flag", "because"); return err })
		wantWhole(t, db, i+1)
	}
	err := db.Update(t.Context(), func(tx *Tx) error { // one that dies in the middle is not run again in silence
		_, _, _, err := change(tx, "a.flag", "because")
		_, err2 := tx.exec(`SELECT pg_terminate_backend(pg_backend_pid())`)
		return errors.Join(err, err2)
	})
	wantCode(t, err, flyball.Unavailable)
	wantWhole(t, db, 3)
}

func TestAFullDiskIsUnavailableUntilThereIsRoom(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "flyball.db"))
	update(t, db, furnish("a.flag"))
	bound := func(pages string) {
		t.Helper()
		if _, err := db.write.Exec(`PRAGMA max_page_count = ` + pages); err != nil {
			t.Fatal(err)
		}
	}
	bound("1") // no less than there are
	big := batch("b1", strings.Repeat("x", 1<<20))
	err := db.Update(t.Context(), func(tx *Tx) error { _, err := tx.AppendLog([]LogEntry{big}); return err })
	if e := wantCode(t, err, flyball.Unavailable); !strings.Contains(e.Message, "full") {
		t.Errorf("got %q, want that the disk is full", e.Message)
	}
	view(t, db, func(tx *Tx) error { _, err := tx.Ruleset("production"); return err }) // reading goes on
	bound("1000000")
	if got := appendLog(t, db, big); got[0] != 1 {
		t.Errorf("got number %d, want 1", got[0])
	}
}

// A writer that waits for another process gives up when its caller does.
func TestADatabaseThatIsBusyIsUnavailable(t *testing.T) {
	atBoth(t, func(t *testing.T, url string) {
		db, other := open(t, url), open(t, url)
		update(t, other, func(tx *Tx) error {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			started := time.Now()
			err := db.Update(ctx, func(tx *Tx) error { return tx.PutSetting("a", "b") })
			wantCode(t, err, flyball.Unavailable)
			if took := time.Since(started); took > patience*4/5 {
				t.Errorf("it took %v to give up", took)
			}
			return nil
		})
		update(t, db, func(tx *Tx) error { return tx.PutSetting("a", "b") })
	})
}

func TestPing(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		if err := db.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		wantCode(t, db.Ping(ctx), flyball.Unavailable)
	})
}

func TestWakeTellsOtherProcesses(t *testing.T) {
	atBoth(t, func(t *testing.T, url string) {
		db, other := open(t, url), open(t, url)
		update(t, other, furnish("a.flag"))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		hints := db.Wake(ctx)
		if hints == nil {
			if db.Kind() != "sqlite" {
				t.Error("no hints from a database that can give them")
			}
			return
		}
		wantHint(t, hints) // it listens now
		update(t, other, func(tx *Tx) error { _, err := tx.NextVersion("production"); return err })
		wantHint(t, hints)
		if err := other.View(t.Context(), func(tx *Tx) error { // the listener's connection dies
			_, err := tx.tx.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN flyball'`)
			return err
		}); err != nil {
			t.Error(err)
		}
		wantHint(t, hints) // and is replaced
		cancel()
		for range hints { // until it is closed
		}
	})
}

func wantHint(t *testing.T, hints <-chan struct{}) {
	t.Helper()
	select {
	case <-hints:
	case <-time.After(30 * time.Second):
		t.Fatal("no hint came")
	}
}

func TestTablesAreMigratedOnce(t *testing.T) {
	atBoth(t, func(t *testing.T, url string) {
		update(t, open(t, url), furnish("a.flag"))
		db := open(t, url)
		wantMigratedOnce(t, db)
		wantWhole(t, db, 0)
		// A newer release has been here: its tables have what ours have.
		if _, err := db.write.Exec(`INSERT INTO migration (version_id, is_applied) VALUES (999, true)`); err != nil {
			t.Fatal(err)
		}
		open(t, url)
	})
}

func wantMigratedOnce(t testing.TB, db *DB) {
	t.Helper()
	for version := range int64(3) {
		var n int
		err := db.read.QueryRow(`SELECT count(*) FROM migration WHERE version_id = $1`, version).Scan(&n)
		if err != nil || n != 1 {
			t.Errorf("migration %d ran %d times, %v; want once", version, n, err)
		}
	}
	var epochs int
	if err := db.read.QueryRow(`SELECT count(*) FROM counter WHERE name = 'epoch'`).Scan(&epochs); err != nil || epochs != 1 {
		t.Errorf("%d epochs, %v; want 1", epochs, err)
	}
}

// The two dialects must end with the same tables and columns.
func TestBothDatabasesHaveTheSameTables(t *testing.T) {
	columns := func(db *DB, query string) string {
		var all string
		if err := db.read.QueryRow(query).Scan(&all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	lite := columns(open(t, filepath.Join(t.TempDir(), "flyball.db")), `SELECT group_concat(c, ' ') FROM
		(SELECT m.name || '.' || p.name AS c FROM sqlite_master m, pragma_table_xinfo(m.name) p
		WHERE m.type = 'table' AND m.name NOT IN ('migration', 'sqlite_sequence') ORDER BY c)`)
	pg := columns(open(t, migrated.URL(t)), `SELECT string_agg(c, ' ' ORDER BY c COLLATE "C") FROM
		(SELECT table_name || '.' || column_name AS c FROM information_schema.columns
		WHERE table_schema = 'public' AND table_name <> 'migration') AS t`)
	if lite != pg || len(lite) < 100 {
		t.Errorf("sqlite   %s\npostgres %s", lite, pg)
	}
}
