package store

import (
	"fmt"
	"time"
)

// An Unasked is the share of users, in parts per million, that got something else
// of a flag by a change that nobody else approved.
type Unasked struct {
	Flag string
	PPM  int64
}

// AddUnasked notes what a version of an environment's ruleset changed without an
// approval, and forgets what was noted before a time.
func (tx *Tx) AddUnasked(environment string, version int64, at, since time.Time, all []Unasked) error {
	_, err := tx.exec(`DELETE FROM unasked WHERE at < $1`, micros(since))
	for _, u := range all {
		if err == nil {
			_, err = tx.exec(`INSERT INTO unasked (environment, flag, version, at, ppm) VALUES ($1, $2, $3, $4, $5)`, environment, u.Flag, version, micros(at), u.PPM)
		}
	}
	if err != nil {
		return fmt.Errorf("note what nobody approved: %w", err)
	}
	return nil
}

// Unasked sums, by flag, what changed in an environment since a time without an
// approval.
func (tx *Tx) Unasked(environment string, since time.Time) (map[string]int64, error) {
	all, err := list(tx, func(scan func(...any) error) (u Unasked, err error) { err = scan(&u.Flag, &u.PPM); return u, err },
		`SELECT flag, CAST(SUM(ppm) AS BIGINT) FROM unasked WHERE environment = $1 AND at >= $2 GROUP BY flag`, environment, micros(since))
	if err != nil {
		return nil, fmt.Errorf("read what nobody approved: %w", err)
	}
	sums := make(map[string]int64, len(all))
	for _, u := range all {
		sums[u.Flag] = u.PPM
	}
	return sums, nil
}

// ForgetUnasked begins anew with a flag: somebody has looked at it, or it serves
// what it is safe with to everybody.
func (tx *Tx) ForgetUnasked(environment, flag string) error {
	if _, err := tx.exec(`DELETE FROM unasked WHERE environment = $1 AND flag = $2`, environment, flag); err != nil {
		return fmt.Errorf("forget what nobody approved: %w", err)
	}
	return nil
}
