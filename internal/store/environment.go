package store

import (
	"encoding/json"
	"fmt"

	"github.com/flyballdev/flyball"
)

const environmentColumns = `SELECT key, protected, version, revision, sample_attributes FROM environment`

func scanEnvironment(scan func(...any) error) (e flyball.Environment, err error) {
	var sampled string
	if err := scan(&e.Key, &e.Protected, &e.Version, &e.Revision, &sampled); err != nil {
		return e, err
	}
	if err = json.Unmarshal([]byte(sampled), &e.SampleAttributes); len(e.SampleAttributes) == 0 {
		e.SampleAttributes = nil
	}
	return e, err
}

// Environments returns all environments, by key.
func (tx *Tx) Environments() ([]flyball.Environment, error) {
	all, err := list(tx, scanEnvironment, environmentColumns+` ORDER BY key`)
	if err != nil {
		return nil, fmt.Errorf("list environments: %w", err)
	}
	return all, nil
}

// Environment returns one environment, with the version in force.
func (tx *Tx) Environment(key string) (e flyball.Environment, err error) {
	all, err := list(tx, scanEnvironment, environmentColumns+` WHERE key = $1`, key)
	switch {
	case err != nil:
		return e, fmt.Errorf("read environment %q: %w", key, err)
	case len(all) == 0:
		return e, notFound("environment", key)
	}
	return all[0], nil
}

// Head returns the epoch and version of the ruleset that an environment serves.
func (tx *Tx) Head(environment string) (id flyball.RulesetID, err error) {
	found, err := tx.one(`SELECT version, (SELECT value FROM counter WHERE name = 'epoch') FROM environment WHERE key = $1`,
		[]any{environment}, &id.Version, &id.Epoch)
	switch {
	case err != nil:
		return id, fmt.Errorf("read the version of environment %q: %w", environment, err)
	case !found:
		return id, notFound("environment", environment)
	}
	return id, nil
}

// InsertEnvironment adds an environment, at the version it has (0 for a new
// one).
func (tx *Tx) InsertEnvironment(e flyball.Environment) error {
	sampled, err := encode(append([]string{}, e.SampleAttributes...))
	if err != nil {
		return err
	}
	n, err := tx.exec(`INSERT INTO environment (key, protected, version, sample_attributes) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		e.Key, e.Protected, e.Version, sampled)
	switch {
	case err != nil:
		return fmt.Errorf("insert environment %q: %w", e.Key, err)
	case n == 0:
		return flyball.Errorf(flyball.Conflict, "environment %q exists already", e.Key)
	}
	return nil
}

// UpdateEnvironment changes whether an environment is protected, and what is
// sampled there, if it is still at e.Revision. Its version is raised by
// [Tx.NextVersion] alone.
func (tx *Tx) UpdateEnvironment(e flyball.Environment) error {
	sampled, err := encode(append([]string{}, e.SampleAttributes...))
	if err != nil {
		return err
	}
	n, err := tx.exec(`UPDATE environment SET protected = $1, sample_attributes = $2, revision = revision + 1 WHERE key = $3 AND revision = $4`, e.Protected, sampled, e.Key, e.Revision)
	switch {
	case err != nil:
		return fmt.Errorf("update environment %q: %w", e.Key, err)
	case n == 1:
		return nil
	}
	current, err := tx.Environment(e.Key)
	if err != nil {
		return err
	}
	return stale("environment", e.Key, e.Revision, current.Revision)
}

// NextVersion raises the version of an environment's ruleset and returns it.
// Versions have no gaps, and rise in the order of commits. Other processes are
// told when the transaction commits.
func (tx *Tx) NextVersion(environment string) (version int64, err error) {
	found, err := tx.one(`UPDATE environment SET version = version + 1 WHERE key = $1 RETURNING version`, []any{environment}, &version)
	switch {
	case err != nil:
		return 0, fmt.Errorf("raise the version of environment %q: %w", environment, err)
	case !found:
		return 0, notFound("environment", environment)
	}
	return version, tx.Tell(environment)
}

// Tell wakes other processes when the transaction commits; see [DB.Wake]. What
// it is about is for whoever watches the database.
func (tx *Tx) Tell(about string) error {
	if tx.dialect.notify == "" {
		return nil
	}
	if _, err := tx.exec(tx.dialect.notify, about); err != nil {
		return fmt.Errorf("tell other processes of %s: %w", about, err)
	}
	return nil
}

// scanBody scans a row that is a body alone.
func scanBody[T any](scan func(...any) error) (v T, err error) {
	var body []byte
	if err := scan(&body); err != nil {
		return v, err
	}
	return v, json.Unmarshal(body, &v)
}

// readBody returns the noun whose body a query selects by its key.
func readBody[T any](tx *Tx, noun, query, key string) (v T, err error) {
	var body []byte
	found, err := tx.one(query, []any{key}, &body)
	if err == nil && found {
		err = json.Unmarshal(body, &v)
	}
	switch {
	case err != nil:
		return v, fmt.Errorf("read %s %q: %w", noun, key, err)
	case !found:
		return v, notFound(noun, key)
	}
	return v, nil
}
