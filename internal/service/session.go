package service

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// How long a session lasts: since it was last used, and since it began; and how
// long a proof of who somebody is serves for what only they may do.
const (
	sessionIdle = 8 * time.Hour
	sessionAge  = 24 * time.Hour
	provedFor   = 5 * time.Minute
)

// NewSession is a session that has just begun, with its secret, which only the
// person's browser keeps.
type NewSession struct {
	User    flyball.User
	Secret  string
	Expires time.Time // at the latest
}

// sessionMark begins the id of each session, and of no token.
const sessionMark = "s"

func isSession(id string) bool { return strings.HasPrefix(id, sessionMark) }

// openSession begins a session, in place of another if that is named. It lasts
// from when the person signed in.
func (s *Service) openSession(ctx context.Context, u flyball.User, began, proved time.Time, replaces string) (NewSession, error) {
	session := store.Session{ID: sessionMark + newID(6), User: u.ID, Created: began, Seen: now(), ProvedAt: proved}
	secret := session.ID + "_" + newID(32)
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		if replaces != "" {
			if err := tx.DeleteSession(replaces); err != nil {
				return err
			}
		}
		return tx.InsertSession(session, hash(secret))
	})
	if err != nil {
		return NewSession{}, err
	}
	s.tokens.forget(replaces)
	return NewSession{User: u, Secret: secret, Expires: began.Add(sessionAge)}, nil
}

// loadSession reads a session, which may have been used later than the database
// knows.
func (k *knownToken) loadSession(tx *store.Tx, id string, used time.Time) error {
	session, hash, err := tx.SessionByID(id)
	if err != nil {
		return err
	}
	u, err := tx.User(session.User)
	if err != nil {
		return err
	}
	ends := session.Created.Add(sessionAge)
	if used.Before(session.Seen) {
		used = session.Seen
	}
	if idle := used.Add(sessionIdle); idle.Before(ends) {
		ends = idle
	}
	k.token = flyball.Token{ID: id, Kind: flyball.TokenAPI, Actor: u.ID, CreatedAt: session.Created, ExpiresAt: &flyball.Time{Time: ends}}
	k.hash, k.barred = hash, u.Disabled
	k.principal = principalFor(k.token, &u.User)
	k.principal.Session, k.principal.SteppedUp = true, session.ProvedAt
	return nil
}

// AuthenticateSession returns whose session a secret is. The error is
// Unauthenticated for every one that is not good, and tells no more.
func (s *Service) AuthenticateSession(ctx context.Context, secret string) (*Principal, error) {
	bad := flyball.Errorf(flyball.Unauthenticated, "you are not signed in, or no longer: sign in again")
	id, _, ok := strings.Cut(secret, "_")
	if !ok || !isSession(id) || len(secret) != len(sessionMark)+12+1+64 || strings.Trim(secret, "0123456789abcdef_s") != "" {
		return nil, bad
	}
	known, err := s.tokens.find(ctx, id, s.db)
	if flyball.CodeOf(err) == flyball.NotFound {
		return nil, bad
	}
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(known.hash, sum[:]) != 1 || !known.live() {
		return nil, bad
	}
	s.tokens.use(known)
	return &known.principal, nil
}

// provedLately says whether a person who signed in by a browser proved lately
// who they are: a session that somebody left open approves nothing.
func (p Principal) provedLately(now time.Time) error {
	if !p.Session || now.Sub(p.SteppedUp) <= provedFor {
		return nil
	}
	return flyball.Errorf(flyball.Forbidden, "prove once more who you are: this takes a password, or a sign-in, of the last five minutes").With("stepUp", true)
}

// SignOut ends the session under which it is called.
func (s *Service) SignOut(ctx context.Context) error {
	p, err := principalOf(ctx)
	if err != nil || !p.Session {
		return err
	}
	err = s.db.Update(ctx, func(tx *store.Tx) error { return tx.DeleteSession(p.Token) })
	s.tokens.forget(p.Token)
	return err
}

// StepUp proves once more who somebody is, by their password. The session goes
// on under another secret.
func (s *Service) StepUp(ctx context.Context, password, address string) (NewSession, error) {
	p, err := principalOf(ctx)
	if err != nil {
		return NewSession{}, err
	}
	if !p.Session {
		return NewSession{}, flyball.Errorf(flyball.Forbidden, "only a session can be stepped up; a token is proof enough")
	}
	u, err := s.prove(ctx, p.ID, password, address)
	if err != nil {
		return NewSession{}, err
	}
	var began time.Time
	err = s.db.View(ctx, func(tx *store.Tx) error {
		session, _, err := tx.SessionByID(p.Token)
		began = session.Created
		return err
	})
	if err != nil {
		return NewSession{}, err
	}
	return s.openSession(ctx, u.User, began, now(), p.Token)
}
