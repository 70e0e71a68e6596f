package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/pgtest"
)

// Every test of this suite runs on both databases.

// kinds open a new, empty database each and return its URL.
var kinds = []struct {
	name string
	url  func(testing.TB) string
}{
	{"sqlite", func(t testing.TB) string { return filepath.Join(t.TempDir(), "a folder?", "f%20lyball.db") }},
	{"postgres", func(t testing.TB) string { return migrated.URL(t) }},
}

var migrated = pgtest.Template{Prepare: func(url string) error {
	db, err := Open(context.Background(), url)
	if err != nil {
		return err
	}
	return db.Close()
}}

// onBoth runs a test on a new database of each kind.
func onBoth(t *testing.T, test func(t *testing.T, db *DB)) {
	atBoth(t, func(t *testing.T, url string) { test(t, open(t, url)) })
}

// atBoth runs a test that opens a new database of each kind itself, as a rule
// more than once. Tests spend their time waiting for the disk, so they overlap.
func atBoth(t *testing.T, test func(t *testing.T, url string)) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			test(t, kind.url(t))
		})
	}
}

func open(t testing.TB, url string) *DB {
	t.Helper()
	db, err := Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// update runs f and fails the test if anything does.
func update(t testing.TB, db *DB, f func(*Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, db *DB, f func(*Tx) error) {
	t.Helper()
	if err := db.View(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// wantCode fails the test unless err has a code, and returns it as ours.
func wantCode(t testing.TB, err error, code flyball.Code) *flyball.Error {
	t.Helper()
	e, ok := errors.AsType[*flyball.Error](err)
	if !ok || e.Code != code {
		t.Fatalf("got error %v, want one with code %s", err, code)
	}
	return e
}

// at is a moment with all the digits that the database keeps.
var at = time.Date(2026, 11, 21, 19, 0, 0, 123456000, time.UTC)

func aFlag(key string) flyball.Flag {
	return flyball.Flag{
		Key: key, Kind: flyball.KindOps, Owner: "payments-team", Type: flyball.TypeBoolean,
		Variants: flyball.Variants{"on": true, "off": false}, SafeVariant: "off",
	}.WithDefaults()
}

func aRollout(id, flag string) flyball.Rollout {
	return flyball.Rollout{
		ID: id, State: flyball.RolloutRunning, StartedBy: "user:ann", StartedAt: at, SteppedAt: at,
		RolloutPlan: flyball.RolloutPlan{
			Flag: flag, Environment: "production", Treatment: "on", Control: "off",
			Steps: []flyball.Step{{PPM: 10_000}, {PPM: 1_000_000}},
		}.WithDefaults(),
	}
}

// furnish adds an environment, a team and flags that it serves.
func furnish(flags ...string) func(*Tx) error {
	return func(tx *Tx) error {
		_, err := tx.PutTeam(flyball.Team{Key: "payments-team"}, 0)
		err = errors.Join(err, tx.InsertEnvironment(flyball.Environment{Key: "production", Protected: true}))
		for _, key := range flags {
			f := aFlag(key)
			err = errors.Join(err, tx.InsertFlag(f, "user:ann", at), tx.InsertFlagConfig("production", flyball.NewFlagConfig(f), 0))
		}
		return err
	}
}

// change is a whole change of a flag: its version, what is served, its audit
// entry and its row in the log.
func change(tx *Tx, flag, reason string) (version, audit, log int64, err error) {
	version, err = tx.NextVersion("production")
	if err != nil {
		return 0, 0, 0, err
	}
	c, err := tx.FlagConfig("production", flag)
	if err != nil {
		return 0, 0, 0, err
	}
	c.Enabled = !c.Enabled
	if err := tx.UpdateFlagConfig("production", c.FlagConfig, version, c.Version); err != nil {
		return 0, 0, 0, err
	}
	entry := flyball.AuditEntry{
		At: at, Actor: flyball.Actor{ID: "user:ann"}, Action: "flag.set", Subject: flag,
		Environment: "production", Version: version, Reason: reason,
	}
	if err := tx.AppendAudit(&entry); err != nil {
		return 0, 0, 0, err
	}
	seqs, err := tx.AppendLog([]LogEntry{{Kind: KindRollout, Environment: "production", ID: fmt.Sprint(version), At: at, Body: []byte(reason)}})
	if err != nil {
		return 0, 0, 0, err
	}
	return version, entry.Seq, seqs[0], nil
}

func nightly() bool { return os.Getenv("FLYBALL_NIGHTLY") != "" }

// emptyPostgres returns the URL of a database without tables.
func emptyPostgres(t testing.TB) string { return pgtest.URL(t) }
