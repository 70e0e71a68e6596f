package store

import (
	"fmt"
	"time"

	"github.com/flyballdev/flyball"
)

// PutInstances keeps what instances last told of themselves. Of two words on
// one instance the later by LastSeen stays.
func (tx *Tx) PutInstances(instances []flyball.Instance) error {
	for _, i := range instances {
		body, err := encode(i)
		if err == nil {
			_, err = tx.exec(`INSERT INTO instance (environment, id, last_seen, body) VALUES ($1, $2, $3, $4)
				ON CONFLICT (environment, id) DO UPDATE SET last_seen = excluded.last_seen, body = excluded.body
				WHERE instance.last_seen <= excluded.last_seen`, plain(i.Environment), plain(i.ID), micros(i.LastSeen), body)
		}
		if err != nil {
			return fmt.Errorf("put instance %q: %w", i.ID, err)
		}
	}
	return nil
}

// Instances returns the instances of an environment that were seen at a time
// or after it, by id.
func (tx *Tx) Instances(environment string, since time.Time) ([]flyball.Instance, error) {
	all, err := list(tx, scanBody[flyball.Instance],
		`SELECT body FROM instance WHERE environment = $1 AND last_seen >= $2 ORDER BY id`, environment, micros(since))
	if err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	return all, nil
}

// ForgetInstances deletes the instances that were last seen before a time.
func (tx *Tx) ForgetInstances(before time.Time) error {
	if _, err := tx.exec(`DELETE FROM instance WHERE last_seen < $1`, micros(before)); err != nil {
		return fmt.Errorf("forget instances: %w", err)
	}
	return nil
}
