package store

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/flyballdev/flyball"
)

// A UserRecord is a person's account, with the hash of their password and how
// often the account was changed.
type UserRecord struct {
	flyball.User
	Password string `json:"-"`
	Revision int64  `json:"-"`
}

const userColumns = `SELECT body, password, last_seen, revision FROM user_account`

func scanUser(scan func(...any) error) (u UserRecord, err error) {
	var body []byte
	var seen int64
	if err := scan(&body, &u.Password, &seen, &u.Revision); err != nil {
		return u, err
	}
	if err := json.Unmarshal(body, &u.User); err != nil {
		return u, err
	}
	u.LastSeen = moment(seen)
	return u, nil
}

// moment is a time that may never have come, kept as 0.
func moment(n int64) *flyball.Time {
	if n == 0 {
		return nil
	}
	return &flyball.Time{Time: fromMicros(n)}
}

// User returns one account.
func (tx *Tx) User(id flyball.ActorID) (UserRecord, error) {
	return tx.user(string(id), userColumns+` WHERE id = $1`, string(id))
}

// UserByIdentity returns the account of who somebody is to a provider of OpenID
// Connect.
func (tx *Tx) UserByIdentity(issuer, subject string) (UserRecord, error) {
	return tx.user(subject, userColumns+` WHERE issuer = $1 AND subject = $2 AND issuer <> ''`, issuer, subject)
}

func (tx *Tx) user(name, query string, args ...any) (UserRecord, error) {
	found, err := list(tx, scanUser, query, args...)
	switch {
	case err != nil:
		return UserRecord{}, fmt.Errorf("read user %q: %w", name, err)
	case len(found) == 0:
		return UserRecord{}, notFound("user", name)
	}
	return found[0], nil
}

// Users returns all accounts, by id.
func (tx *Tx) Users() ([]UserRecord, error) {
	all, err := list(tx, scanUser, userColumns+` ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	return all, nil
}

// HasUsers says whether there is any account.
func (tx *Tx) HasUsers() (bool, error) {
	var one int
	found, err := tx.one(`SELECT 1 FROM user_account LIMIT 1`, nil, &one)
	if err != nil {
		return false, fmt.Errorf("look for users: %w", err)
	}
	return found, nil
}

// PutUser adds an account, if u.Revision is 0, or changes one that is still at
// u.Revision. Two accounts cannot be one person to a provider.
func (tx *Tx) PutUser(u UserRecord) error {
	if u.Issuer != "" {
		other, err := tx.UserByIdentity(u.Issuer, u.Subject)
		if err == nil && other.ID != u.ID {
			return flyball.Errorf(flyball.Conflict, "%s is %s already to %s", other.ID, u.Subject, u.Issuer)
		} else if err != nil && flyball.CodeOf(err) != flyball.NotFound {
			return err
		}
	}
	kept := u.User
	kept.LastSeen = nil // has a column
	body, err := encode(kept)
	if err != nil {
		return fmt.Errorf("put user %q: %w", u.ID, err)
	}
	n, err := tx.exec(`INSERT INTO user_account (id, issuer, subject, password, revision, body) VALUES ($1, $2, $3, $4, 1, $5)
		ON CONFLICT (id) DO UPDATE SET issuer = excluded.issuer, subject = excluded.subject, password = excluded.password,
			revision = user_account.revision + 1, body = excluded.body WHERE user_account.revision = $6`,
		string(u.ID), u.Issuer, u.Subject, u.Password, body, u.Revision)
	if err != nil {
		return fmt.Errorf("put user %q: %w", u.ID, err)
	}
	if n == 1 {
		return nil
	}
	current, err := tx.User(u.ID)
	if err != nil {
		return err
	}
	return stale("user", string(u.ID), u.Revision, current.Revision)
}

// SawUsers notes when people were last there.
func (tx *Tx) SawUsers(seen map[flyball.ActorID]time.Time) error {
	for id, at := range seen {
		if _, err := tx.exec(`UPDATE user_account SET last_seen = $1 WHERE id = $2 AND last_seen < $1`, micros(at), string(id)); err != nil {
			return fmt.Errorf("note that user %q was seen: %w", id, err)
		}
	}
	return nil
}
