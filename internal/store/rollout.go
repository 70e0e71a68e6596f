package store

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/flyballdev/flyball"
)

// InsertRollout adds a rollout, at revision 1 whatever r says. A flag has one
// live rollout in an environment at a time; a second is a conflict, whose
// Details name the first as "rollout".
func (tx *Tx) InsertRollout(r flyball.Rollout) error {
	r.Revision = 1
	body, err := encode(r)
	if err != nil {
		return fmt.Errorf("insert rollout %q: %w", r.ID, err)
	}
	n, err := tx.exec(`INSERT INTO rollout (id, environment, flag, live, started_at, revision, body)
		VALUES ($1, $2, $3, $4, $5, 1, $6) ON CONFLICT DO NOTHING`,
		r.ID, r.Environment, r.Flag, r.State.Live(), micros(r.StartedAt), body)
	if err != nil {
		return fmt.Errorf("insert rollout %q: %w", r.ID, err)
	}
	if n == 1 {
		return nil
	}
	var live string
	found, err := tx.one(`SELECT id FROM rollout WHERE environment = $1 AND flag = $2 AND live`, []any{r.Environment, r.Flag}, &live)
	switch {
	case err != nil:
		return fmt.Errorf("insert rollout %q: %w", r.ID, err)
	case found:
		return flyball.Errorf(flyball.Conflict, "flag %q has a live rollout in %q already: %s", r.Flag, r.Environment, live).With("rollout", live)
	}
	return flyball.Errorf(flyball.Conflict, "rollout %q exists already", r.ID)
}

// UpdateRollout changes a rollout that is still at r.Revision, and returns the
// next revision.
func (tx *Tx) UpdateRollout(r flyball.Rollout) (revision int64, err error) {
	read := r.Revision
	r.Revision++
	body, err := encode(r)
	if err != nil {
		return 0, fmt.Errorf("update rollout %q: %w", r.ID, err)
	}
	n, err := tx.exec(`UPDATE rollout SET body = $1, live = $2, revision = $3 WHERE id = $4 AND revision = $5`,
		body, r.State.Live(), r.Revision, r.ID, read)
	if err != nil {
		return 0, fmt.Errorf("update rollout %q: %w", r.ID, err)
	}
	if n == 1 {
		return r.Revision, nil
	}
	current, err := tx.Rollout(r.ID)
	if err != nil {
		return 0, err
	}
	return 0, stale("rollout", r.ID, read, current.Revision)
}

// Rollout returns one rollout.
func (tx *Tx) Rollout(id string) (flyball.Rollout, error) {
	return readBody[flyball.Rollout](tx, "rollout", `SELECT body FROM rollout WHERE id = $1`, id)
}

// A RolloutFilter selects rollouts; its zero value selects all.
type RolloutFilter struct {
	Environment string
	Flag        string
	Live        bool   // only those that serve
	Before      string // only those that come after this one in the list
	Limit       int    // at most so many; all if 0
}

// Rollouts returns rollouts, the latest first.
func (tx *Tx) Rollouts(which RolloutFilter) ([]flyball.Rollout, error) {
	var f filter
	if which.Environment != "" {
		f.and(`environment = $`, which.Environment)
	}
	if which.Flag != "" {
		f.and(`flag = $`, which.Flag)
	}
	if which.Live {
		f.and(`live = $`, true)
	}
	if which.Before != "" {
		f.and(`(started_at, id) < (SELECT started_at, id FROM rollout WHERE id = $)`, which.Before)
	}
	query := `SELECT body FROM rollout` + f.String() + ` ORDER BY started_at DESC, id DESC`
	if which.Limit > 0 {
		query += ` LIMIT ` + strconv.Itoa(which.Limit)
	}
	all, err := list(tx, scanBody[flyball.Rollout], query, f.args...)
	if err != nil {
		return nil, fmt.Errorf("list rollouts: %w", err)
	}
	return all, nil
}

// PutEvidence keeps what the judge knows of a rollout.
func (tx *Tx) PutEvidence(rollout string, e flyball.Evidence) error {
	body, err := encode(e)
	if err == nil {
		_, err = tx.exec(`INSERT INTO evidence (rollout, body) VALUES ($1, $2)
			ON CONFLICT (rollout) DO UPDATE SET body = excluded.body`, rollout, body)
	}
	if err != nil {
		return fmt.Errorf("put the evidence of rollout %q: %w", rollout, err)
	}
	return nil
}

// EvidenceOf returns what the judge last knew of a rollout; found is false
// before its first word.
func (tx *Tx) EvidenceOf(rollout string) (e flyball.Evidence, found bool, err error) {
	var body []byte
	found, err = tx.one(`SELECT body FROM evidence WHERE rollout = $1`, []any{rollout}, &body)
	if err == nil && found {
		err = json.Unmarshal(body, &e)
	}
	if err != nil {
		return e, false, fmt.Errorf("read the evidence of rollout %q: %w", rollout, err)
	}
	return e, found, nil
}
