package store

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/flyballdev/flyball"
)

// InsertToken adds a token with the hash of its secret.
func (tx *Tx) InsertToken(t flyball.Token, hash []byte) error {
	body, err := encode(t)
	if err != nil {
		return fmt.Errorf("insert token %q: %w", t.ID, err)
	}
	n, err := tx.exec(`INSERT INTO token (id, hash, created_at, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		t.ID, hash, micros(t.CreatedAt), body)
	switch {
	case err != nil:
		return fmt.Errorf("insert token %q: %w", t.ID, err)
	case n == 0:
		return flyball.Errorf(flyball.Conflict, "token %q exists already", t.ID)
	}
	return nil
}

// TokenByID returns a token and the hash of its secret, also if it is revoked
// or expired.
func (tx *Tx) TokenByID(id string) (t flyball.Token, hash []byte, err error) {
	var body []byte
	var used int64
	found, err := tx.one(`SELECT body, hash, last_used FROM token WHERE id = $1`, []any{id}, &body, &hash, &used)
	if err == nil && found {
		err = json.Unmarshal(body, &t)
		t.LastUsed = moment(used)
	}
	switch {
	case err != nil:
		return t, nil, fmt.Errorf("read token %q: %w", id, err)
	case !found:
		return t, nil, notFound("token", id)
	}
	return t, hash, nil
}

// Tokens returns all tokens, the oldest first.
func (tx *Tx) Tokens() ([]flyball.Token, error) {
	all, err := list(tx, func(scan func(...any) error) (t flyball.Token, err error) {
		var body []byte
		var used int64
		if err := scan(&body, &used); err != nil {
			return t, err
		}
		err = json.Unmarshal(body, &t)
		t.LastUsed = moment(used)
		return t, err
	}, `SELECT body, last_used FROM token ORDER BY created_at, id`)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	return all, nil
}

// RevokeToken ends a token. One that is revoked already keeps its time.
func (tx *Tx) RevokeToken(id string, at time.Time) error {
	t, _, err := tx.TokenByID(id)
	if err != nil || t.RevokedAt != nil {
		return err
	}
	t.RevokedAt, t.LastUsed = &flyball.Time{Time: at}, nil // that has a column
	body, err := encode(t)
	if err == nil {
		_, err = tx.exec(`UPDATE token SET body = $1 WHERE id = $2`, body, id)
	}
	if err != nil {
		return fmt.Errorf("revoke token %q: %w", id, err)
	}
	return nil
}
