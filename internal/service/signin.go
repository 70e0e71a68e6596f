package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// setUpFor is how long a one-time link can be used.
const setUpFor = 24 * time.Hour

// personID is the id of who calls themselves so; a name and an id are the same.
func personID(name string) flyball.ActorID {
	return flyball.ActorID("user:" + strings.TrimPrefix(strings.TrimSpace(name), "user:"))
}

// SignIn begins a session of somebody who has a name and a password. It takes as
// long, and says the same, whichever of the two is wrong. replaces is the session
// that their browser had.
func (s *Service) SignIn(ctx context.Context, name, password, address, replaces string) (NewSession, error) {
	u, err := s.prove(ctx, personID(name), password, address)
	if err != nil {
		return NewSession{}, err
	}
	at := now()
	return s.openSession(ctx, u.User, at, at, replaces)
}

// prove returns the account whose password somebody knows.
func (s *Service) prove(ctx context.Context, id flyball.ActorID, password, address string) (store.UserRecord, error) {
	var u store.UserRecord
	if !id.Valid() {
		id = "user:-" // has no account, and yet takes as long
	}
	if err := s.tries.enter(string(id), address, time.Now()); err != nil {
		return u, err
	}
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		u, err = tx.User(id)
		return err
	})
	if err != nil && flyball.CodeOf(err) != flyball.NotFound {
		return u, err
	}
	right, anew, err := s.passwords.check(ctx, password[:min(len(password), maxPassword+1)], u.Password)
	if err != nil {
		return u, err
	}
	right = right && !u.Disabled
	s.tries.ended(string(id), address, right, time.Now())
	if !right {
		return u, flyball.Errorf(flyball.Unauthenticated, "the name or the password is wrong")
	}
	if anew {
		s.keepAnew(ctx, u, password)
	}
	return u, nil
}

// keepAnew keeps a password at today's cost. That it does not succeed is no
// reason to send the person away; nor is it a change that anybody made.
func (s *Service) keepAnew(ctx context.Context, u store.UserRecord, password string) {
	kept, err := s.passwords.hash(ctx, password)
	if err == nil {
		u.Password = kept
		err = s.db.Update(ctx, func(tx *store.Tx) error { return tx.PutUser(u) })
	}
	if err != nil {
		s.log.WarnContext(ctx, "a password is not kept anew", "user", u.ID, "error", err)
	}
}

// settingSetUp says that the link that sets an installation up was made.
const settingSetUp = "set-up-link"

// FirstSetUp makes the link by which the first person of an installation makes
// their account, and returns what stands in it; empty if it was made before.
func (s *Service) FirstSetUp(ctx context.Context) (string, error) {
	secret := newID(32)
	first := false
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		_, done, err := tx.Setting(settingSetUp)
		if err != nil || done {
			return err
		}
		first = true
		if err := tx.PutSetting(settingSetUp, now().Format(time.RFC3339)); err != nil {
			return err
		}
		return tx.InsertLink(linkHash(secret), "", now().Add(setUpFor))
	})
	if err != nil || !first {
		return "", err
	}
	return secret, nil
}

func linkHash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// SetUp is what somebody makes of a one-time link.
type SetUp struct {
	Token    string // what stands in the link
	Name     string // of the first person; of a link for a new password it may be left out
	Password string
	Address  string // from which it comes
}

// SetUp uses a one-time link: the first person of an installation gets an account
// and runs it; anybody else gets a password. They are signed in.
func (s *Service) SetUp(ctx context.Context, in SetUp) (NewSession, error) {
	if err := s.tries.enter("link "+in.Address, in.Address, time.Now()); err != nil {
		return NewSession{}, err
	}
	if err := validPassword(in.Password, in.Name); err != nil {
		return NewSession{}, err
	}
	kept, err := s.passwords.hash(ctx, in.Password)
	if err != nil {
		return NewSession{}, err
	}
	var u flyball.User
	reason := "a one-time link"
	_, err = s.change(WithPrincipal(ctx, Principal{Actor: flyball.Actor{ID: "system:setup"}, Kind: flyball.TokenAPI, Request: requestIn(ctx)}), changeOf{
		access: Admin, action: "user.setup", subject: string(personID(in.Name)), reason: reason,
		apply: func(e *edit) error {
			u, err = e.useLink(in, kept)
			return err
		},
	})
	s.tries.ended("link "+in.Address, in.Address, err == nil, time.Now())
	if err != nil {
		return NewSession{}, err
	}
	s.tokens.forgetPerson(u.ID)
	at := now()
	return s.openSession(ctx, u, at, at, "")
}

func requestIn(ctx context.Context) string { return PrincipalOf(ctx).Request }

// useLink gives the person of a link a password, and, if it is the first person,
// an account.
func (e *edit) useLink(in SetUp, kept string) (flyball.User, error) {
	id, err := e.tx.UseLink(linkHash(in.Token), e.at)
	if flyball.CodeOf(err) == flyball.NotFound {
		return flyball.User{}, flyball.Errorf(flyball.Forbidden, "the link was used, is over, or was never made; an admin makes another: flyball user password NAME --link")
	}
	if err != nil {
		return flyball.User{}, err
	}
	next := store.UserRecord{User: flyball.User{ID: personID(in.Name), Name: in.Name, Grants: flyball.Installation, CreatedAt: flyball.Time{Time: e.at}}}
	var old *store.UserRecord
	if id != "" {
		found, err := e.tx.User(id)
		if err != nil {
			return flyball.User{}, err
		}
		if found.Disabled {
			return flyball.User{}, flyball.Errorf(flyball.Forbidden, "the account of %s is disabled", id)
		}
		if in.Name != "" && personID(in.Name) != id {
			return flyball.User{}, flyball.FieldErrorf("name", "this link is for somebody else")
		}
		next, old = found, &found
		e.change.subject = string(id)
	} else if !next.ID.Valid() {
		return flyball.User{}, flyball.FieldErrorf("name", "choose a name of at most 128 letters, digits and . _ @ + -, such as ann")
	} else if _, err := e.tx.User(next.ID); err == nil {
		return flyball.User{}, flyball.FieldErrorf("name", "there is an account of this name already; choose another")
	}
	next.Password, next.PasswordAt = kept, &flyball.Time{Time: e.at}
	return next.User, e.putUser(old, next)
}

// An Identity is who somebody is, as a provider of OpenID Connect vouches for.
type Identity struct {
	Issuer, Subject string
	Email           string // verified, or empty
	Name            string
	ProvedAt        time.Time // when they proved it to the provider; zero if it does not say
}

// SignInAs begins a session of somebody whom a provider of OpenID Connect vouches
// for. Who comes for the first time gets an account without grants, and so may
// look at everything and change nothing.
func (s *Service) SignInAs(ctx context.Context, who Identity, replaces string) (NewSession, error) {
	var u store.UserRecord
	find := func(tx *store.Tx) (err error) {
		u, err = tx.UserByIdentity(who.Issuer, who.Subject)
		return err
	}
	err := s.db.View(ctx, find)
	if flyball.CodeOf(err) == flyball.NotFound {
		if err = s.welcome(ctx, who); err == nil {
			err = s.db.View(ctx, find)
		}
	}
	if err != nil {
		return NewSession{}, err
	}
	if u.Disabled {
		return NewSession{}, flyball.Errorf(flyball.Forbidden, "the account of %s is disabled", u.ID)
	}
	return s.openSession(ctx, u.User, now(), who.ProvedAt, replaces)
}

// welcome makes the account of somebody who signs in for the first time. It is
// named after their address, but it is theirs by what the provider calls them.
func (s *Service) welcome(ctx context.Context, who Identity) error {
	unique := linkHash(who.Issuer + "\x00" + who.Subject)[:12]
	id := personID(who.Email)
	if !id.Valid() {
		id = personID("oidc-" + unique)
	}
	user := flyball.User{ID: id, Name: who.Name, Email: who.Email, Issuer: who.Issuer, Subject: who.Subject, CreatedAt: flyball.Time{Time: now()}}
	if user.Validate() != nil { // what a provider calls people may be anything
		user.Name, user.Email = "", ""
	}
	if err := user.Validate(); err != nil {
		return err
	}
	_, err := s.change(WithPrincipal(ctx, Principal{Actor: flyball.Actor{ID: "system:sign-in"}, Kind: flyball.TokenAPI, Request: requestIn(ctx)}), changeOf{
		access: Admin, action: "user.create", subject: string(id), reason: "signed in for the first time, through " + who.Issuer,
		apply: func(e *edit) error {
			if _, err := e.tx.UserByIdentity(who.Issuer, who.Subject); err == nil {
				return nil // at the same moment in another tab
			}
			taken, err := e.taken(user.ID)
			if err != nil {
				return err
			}
			if taken { // somebody else's: an address is no identity
				user.ID = personID("oidc-" + unique)
				e.change.subject = string(user.ID)
			}
			return e.putUser(nil, store.UserRecord{User: user})
		},
	})
	return err
}

// taken says whether somebody has a name: by an account, or by a token alone, which
// a new account of that name would bound.
func (e *edit) taken(id flyball.ActorID) (bool, error) {
	if _, err := e.tx.User(id); flyball.CodeOf(err) != flyball.NotFound {
		return err == nil, err
	}
	all, err := e.tx.Tokens()
	return slices.ContainsFunc(all, func(t flyball.Token) bool { return t.Actor == id || t.OnBehalfOf == id }), err
}

// HasAccounts says whether anybody has an account.
func (s *Service) HasAccounts(ctx context.Context) (has bool, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		has, err = tx.HasUsers()
		return err
	})
	return has, err
}
