package store

import (
	"encoding/json"
	"fmt"

	"github.com/flyballdev/flyball"
)

// A ConfigRecord is what an environment serves for a flag, and the version of
// the environment's ruleset that last changed it.
type ConfigRecord struct {
	flyball.FlagConfig
	Version int64 `json:"version"`
}

func scanConfig(scan func(...any) error) (c ConfigRecord, err error) {
	var body []byte
	if err := scan(&body, &c.Version); err != nil {
		return c, err
	}
	return c, json.Unmarshal(body, &c.FlagConfig)
}

// FlagConfigs returns what an environment serves for each flag that is not
// archived, by the flag's key.
func (tx *Tx) FlagConfigs(environment string) ([]ConfigRecord, error) {
	all, err := list(tx, scanConfig, `SELECT c.body, c.version FROM flag_config c JOIN flag f ON f.key = c.flag
		WHERE c.environment = $1 AND f.archived_at IS NULL ORDER BY c.flag`, environment)
	if err != nil {
		return nil, fmt.Errorf("list what %q serves: %w", environment, err)
	}
	return all, nil
}

// FlagConfig returns what an environment serves for a flag; of an archived
// flag, what it served last.
func (tx *Tx) FlagConfig(environment, flag string) (ConfigRecord, error) {
	found, err := list(tx, scanConfig, `SELECT body, version FROM flag_config WHERE environment = $1 AND flag = $2`, environment, flag)
	switch {
	case err != nil:
		return ConfigRecord{}, fmt.Errorf("read flag %q in %q: %w", flag, environment, err)
	case len(found) == 0:
		return ConfigRecord{}, flyball.Errorf(flyball.NotFound, "there is no flag %q in environment %q", flag, environment)
	}
	return found[0], nil
}

// InsertFlagConfig adds what an environment serves for a new flag, from a
// version of its ruleset on.
func (tx *Tx) InsertFlagConfig(environment string, c flyball.FlagConfig, version int64) error {
	body, err := encode(c)
	if err != nil {
		return fmt.Errorf("insert flag %q in %q: %w", c.Flag, environment, err)
	}
	n, err := tx.exec(`INSERT INTO flag_config (environment, flag, body, version) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		environment, c.Flag, body, version)
	switch {
	case err != nil:
		return fmt.Errorf("insert flag %q in %q: %w", c.Flag, environment, err)
	case n == 0:
		return flyball.Errorf(flyball.Conflict, "environment %q serves flag %q already", environment, c.Flag)
	}
	return nil
}

// UpdateFlagConfig changes what an environment serves for a flag, if that was
// last changed by ifVersion; from now on it is version.
func (tx *Tx) UpdateFlagConfig(environment string, c flyball.FlagConfig, version, ifVersion int64) error {
	body, err := encode(c)
	if err != nil {
		return fmt.Errorf("update flag %q in %q: %w", c.Flag, environment, err)
	}
	n, err := tx.exec(`UPDATE flag_config SET body = $1, version = $2 WHERE environment = $3 AND flag = $4 AND version = $5`,
		body, version, environment, c.Flag, ifVersion)
	if err != nil {
		return fmt.Errorf("update flag %q in %q: %w", c.Flag, environment, err)
	}
	if n == 1 {
		return nil
	}
	old, err := tx.FlagConfig(environment, c.Flag)
	if err != nil {
		return err
	}
	return flyball.Errorf(flyball.Conflict, "flag %q in %q was last changed by version %d, not %d: read it again",
		c.Flag, environment, old.Version, ifVersion).With("version", old.Version)
}

// Ruleset returns all that an environment serves: its flags that are not
// archived and all segments.
func (tx *Tx) Ruleset(environment string) (rs flyball.Ruleset, err error) {
	e, err := tx.Environment(environment)
	if err != nil {
		return rs, err
	}
	rs = flyball.Ruleset{Environment: e.Key, Version: e.Version, Flags: []flyball.RulesetFlag{}, Segments: []flyball.Segment{}}
	if rs.Epoch, err = tx.Epoch(); err != nil {
		return rs, err
	}
	flags, err := tx.Flags()
	if err != nil {
		return rs, err
	}
	configs, err := tx.FlagConfigs(environment)
	if err != nil {
		return rs, err
	}
	for _, f := range flags { // both are sorted by key
		for len(configs) > 0 && configs[0].Flag < f.Key {
			configs = configs[1:]
		}
		if len(configs) > 0 && configs[0].Flag == f.Key {
			rs.Flags = append(rs.Flags, flyball.NewRulesetFlag(f.Flag, configs[0].FlagConfig))
		}
	}
	segments, err := tx.Segments()
	for _, s := range segments {
		rs.Segments = append(rs.Segments, s.Segment)
	}
	return rs, err
}
