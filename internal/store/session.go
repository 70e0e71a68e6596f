package store

import (
	"fmt"
	"time"

	"github.com/flyballdev/flyball"
)

// A Session is what is kept of one browser in which a person is signed in.
type Session struct {
	ID       string
	User     flyball.ActorID
	Created  time.Time
	Seen     time.Time
	ProvedAt time.Time // when the person last proved who they are; zero if nobody knows
}

// InsertSession adds a session with the hash of its secret.
func (tx *Tx) InsertSession(s Session, hash []byte) error {
	proved := int64(0)
	if !s.ProvedAt.IsZero() {
		proved = micros(s.ProvedAt)
	}
	_, err := tx.exec(`INSERT INTO session (id, hash, user_id, created_at, seen_at, proved_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		s.ID, hash, string(s.User), micros(s.Created), micros(s.Seen), proved)
	if err != nil {
		return fmt.Errorf("insert a session of %q: %w", s.User, err)
	}
	return nil
}

// SessionByID returns a session and the hash of its secret.
func (tx *Tx) SessionByID(id string) (s Session, hash []byte, err error) {
	var created, seen, proved int64
	found, err := tx.one(`SELECT id, hash, user_id, created_at, seen_at, proved_at FROM session WHERE id = $1`, []any{id},
		&s.ID, &hash, &s.User, &created, &seen, &proved)
	switch {
	case err != nil:
		return s, nil, fmt.Errorf("read session %q: %w", id, err)
	case !found:
		return s, nil, notFound("session", id)
	}
	s.Created, s.Seen = fromMicros(created), fromMicros(seen)
	if proved != 0 {
		s.ProvedAt = fromMicros(proved)
	}
	return s, hash, nil
}

// DeleteSession ends a session.
func (tx *Tx) DeleteSession(id string) error {
	if _, err := tx.exec(`DELETE FROM session WHERE id = $1`, id); err != nil {
		return fmt.Errorf("delete session %q: %w", id, err)
	}
	return nil
}

// DeleteSessionsOf ends all sessions of a person.
func (tx *Tx) DeleteSessionsOf(user flyball.ActorID) error {
	if _, err := tx.exec(`DELETE FROM session WHERE user_id = $1`, string(user)); err != nil {
		return fmt.Errorf("delete the sessions of %q: %w", user, err)
	}
	return nil
}

// SawSessions notes when sessions were last used, and forgets those that began,
// or were last used, too long ago.
func (tx *Tx) SawSessions(seen map[string]time.Time, begun, used time.Time) error {
	for id, at := range seen {
		if _, err := tx.exec(`UPDATE session SET seen_at = $1 WHERE id = $2 AND seen_at < $1`, micros(at), id); err != nil {
			return fmt.Errorf("note that session %q was used: %w", id, err)
		}
	}
	if _, err := tx.exec(`DELETE FROM session WHERE created_at < $1 OR seen_at < $2`, micros(begun), micros(used)); err != nil {
		return fmt.Errorf("forget sessions: %w", err)
	}
	return nil
}

// InsertLink adds a link that is good for one use. The empty user is that of an
// installation's first person.
func (tx *Tx) InsertLink(hash string, user flyball.ActorID, expires time.Time) error {
	if _, err := tx.exec(`INSERT INTO one_time_link (hash, user_id, expires_at) VALUES ($1, $2, $3)`, hash, string(user), micros(expires)); err != nil {
		return fmt.Errorf("insert a link for %q: %w", user, err)
	}
	return nil
}

// UseLink uses a link up and returns whose it was; NotFound if it was used
// before, is over, or was never made.
func (tx *Tx) UseLink(hash string, now time.Time) (user flyball.ActorID, err error) {
	var expires int64
	found, err := tx.one(`SELECT user_id, expires_at FROM one_time_link WHERE hash = $1`, []any{hash}, &user, &expires)
	if err == nil && found {
		_, err = tx.exec(`DELETE FROM one_time_link WHERE hash = $1`, hash)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("use a link: %w", err)
	case !found || !now.Before(fromMicros(expires)):
		return "", notFound("link", "")
	}
	return user, nil
}

// ForgetLinks forgets the links of a person.
func (tx *Tx) ForgetLinks(user flyball.ActorID) error {
	if _, err := tx.exec(`DELETE FROM one_time_link WHERE user_id = $1`, string(user)); err != nil {
		return fmt.Errorf("forget the links of %q: %w", user, err)
	}
	return nil
}

// ForgetOldLinks forgets links that are over.
func (tx *Tx) ForgetOldLinks(now time.Time) error {
	if _, err := tx.exec(`DELETE FROM one_time_link WHERE expires_at < $1`, micros(now)); err != nil {
		return fmt.Errorf("forget old links: %w", err)
	}
	return nil
}

// UsedTokens notes when tokens were last used.
func (tx *Tx) UsedTokens(used map[string]time.Time) error {
	for id, at := range used {
		if _, err := tx.exec(`UPDATE token SET last_used = $1 WHERE id = $2 AND last_used < $1`, micros(at), id); err != nil {
			return fmt.Errorf("note that token %q was used: %w", id, err)
		}
	}
	return nil
}
