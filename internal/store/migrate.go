package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
)

// A migration is a file NNNN_what.sql, in which {{serial}}, {{key}} and
// {{blob}} stand for the dialect's words, or one file for each dialect,
// NNNN_what.DIALECT.sql. The line "-- chain" in one stands for [chainAudit].
// Migrations go forward only, and leave room for a
// server that is one release older: add first, remove a release later.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the tables up to date. Of several processes that start at
// once, one works and the others wait and find nothing left to do.
func (db *DB) migrate(ctx context.Context) (err error) {
	unlock, err := db.dialect.lock(ctx, db)
	if err != nil {
		return fmt.Errorf("lock for migrations: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	steps, err := db.dialect.migrations()
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(db.dialect.goose, db.write, nil,
		goose.WithGoMigrations(steps...), goose.WithDisableGlobalRegistry(true), goose.WithTableName("migration"))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the version of the tables: %w", err)
	}
	if current >= target { // a newer release may have been here; its tables serve us too
		return nil
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

func (d *dialect) migrations() (steps []*goose.Migration, err error) {
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		parts := strings.Split(f.Name(), ".")
		if len(parts) == 3 && parts[1] != d.name {
			continue
		}
		number, _, _ := strings.Cut(f.Name(), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("migration %s: its name needs a number", f.Name())
		}
		text, err := migrations.ReadFile("migrations/" + f.Name())
		if err != nil {
			return nil, err
		}
		before, after, chains := strings.Cut(d.words.Replace(string(text)), "\n-- chain\n")
		run := func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, before); err != nil || !chains {
				return err
			}
			if err := chainAudit(&Tx{ctx: ctx, tx: tx, dialect: d}); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, after)
			return err
		}
		steps = append(steps, goose.NewGoMigration(version, &goose.GoFunc{RunTx: run}, nil))
	}
	return steps, nil
}
