package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// UserView is a person's account and its version.
type UserView struct {
	flyball.User
	Version int64 `json:"version" doc:"rises with each change"`
}

func viewOf(u store.UserRecord) UserView { return UserView{User: u.User, Version: u.Revision} }

// PutUser is a person's account as it is to be.
type PutUser struct {
	ID        flyball.ActorID `json:"id" doc:"user: and a name; the name alone will do" example:"user:ann"`
	Name      string          `json:"name,omitempty" example:"Ann Example" doc:"what people call them"`
	Email     string          `json:"email,omitempty" doc:"where they are reached; it is no proof of who they are"`
	Grants    flyball.Grants  `json:"grants,omitempty" doc:"what they may do beside look at everything" example:"[{\"role\": \"editor\", \"team\": \"payments\"}]"`
	Disabled  bool            `json:"disabled,omitempty" doc:"may not sign in, and their tokens open nothing"`
	Issuer    string          `json:"issuer,omitempty" doc:"the provider of OpenID Connect that knows them"`
	Subject   string          `json:"subject,omitempty" doc:"what that provider calls them (its claim sub)"`
	IfVersion int64           `json:"ifVersion,omitempty" doc:"the version that you read; a newer one is a conflict"`
	Reason    string          `json:"reason" doc:"why it is made or changed"`
}

// CreateUser makes an account. Until a link for a password is used, or a provider
// vouches for the person, nobody signs in by it.
func (s *Service) CreateUser(ctx context.Context, in PutUser) (UserView, error) {
	return s.putUser(ctx, "user.create", in, true)
}

// UpdateUser replaces what an account says of a person and what they may do.
func (s *Service) UpdateUser(ctx context.Context, in PutUser) (UserView, error) {
	return s.putUser(ctx, "user.update", in, false)
}

func (s *Service) putUser(ctx context.Context, action string, in PutUser, create bool) (UserView, error) {
	in.ID = personID(string(in.ID))
	_, err := s.change(ctx, changeOf{
		access: Admin, action: action, subject: string(in.ID), reason: in.Reason,
		apply: func(e *edit) error {
			user := flyball.User{ID: in.ID, Name: in.Name, Email: in.Email, Grants: in.Grants, Disabled: in.Disabled, Issuer: in.Issuer, Subject: in.Subject}
			if err := user.Validate(); err != nil {
				return err
			}
			if err := e.placesExist(in.Grants); err != nil {
				return err
			}
			old, err := e.tx.User(in.ID)
			if err := expect("user "+string(in.ID), create, old.Revision, err); err != nil {
				return err
			}
			if in.IfVersion != 0 && in.IfVersion != old.Revision {
				return stale("user "+string(in.ID), in.IfVersion, old.Revision)
			}
			if create {
				user.CreatedAt = flyball.Time{Time: e.at}
				return e.putUser(nil, store.UserRecord{User: user})
			}
			user.CreatedAt, user.PasswordAt, user.LastSeen = old.CreatedAt, old.PasswordAt, old.LastSeen
			next := old
			next.User = user
			return e.putUser(&old, next)
		},
	})
	if err != nil {
		return UserView{}, err
	}
	s.tokens.forgetPerson(in.ID)
	return s.User(ctx, UserID{ID: in.ID})
}

// putUser writes an account, new or read before. Whoever may do something else
// from now on, or has another password, signs in anew.
func (e *edit) putUser(old *store.UserRecord, next store.UserRecord) error {
	var before any
	if old != nil {
		if err := e.staysInCharge(*old, next); err != nil {
			return err
		}
		was := old.User
		was.LastSeen = nil
		before = was
	}
	after := next.User
	after.LastSeen = nil
	if changed, err := e.record("user", string(next.ID), "", before, after); err != nil || !changed {
		return err
	}
	if err := e.tx.PutUser(next); err != nil {
		return err
	}
	if old == nil || next.Password == old.Password && next.Disabled == old.Disabled && slices.Equal(next.Grants, old.Grants) {
		return nil
	}
	if err := e.tx.DeleteSessionsOf(next.ID); err != nil {
		return err
	}
	return e.tx.ForgetLinks(next.ID)
}

// staysInCharge refuses that somebody shuts themselves out: another admin can.
func (e *edit) staysInCharge(old, next store.UserRecord) error {
	if e.principal.ID == next.ID && (next.Disabled && !old.Disabled || old.Grants.Runs() && !next.Grants.Runs()) {
		return flyball.Errorf(flyball.Conflict, "%s would shut themselves out: let another admin do it", next.ID)
	}
	return nil
}

// placesExist says of which environments and teams of grants there are none.
func (e *edit) placesExist(grants flyball.Grants) error {
	var errs []error
	for i, g := range grants {
		if g.Environment != "" {
			if _, err := e.tx.Environment(g.Environment); flyball.CodeOf(err) == flyball.NotFound {
				errs = append(errs, flyball.FieldErrorf(fmt.Sprintf("grants[%d].environment", i), "there is no environment %q", g.Environment))
			} else if err != nil {
				return err
			}
		}
		if g.Team != "" {
			if _, err := e.tx.Team(g.Team); flyball.CodeOf(err) == flyball.NotFound {
				errs = append(errs, flyball.FieldErrorf(fmt.Sprintf("grants[%d].team", i), "there is no team %q", g.Team))
			} else if err != nil {
				return err
			}
		}
	}
	return errors.Join(errs...)
}

// UserID names a person.
type UserID struct {
	ID flyball.ActorID `json:"id" doc:"user: and a name; the name alone will do"`
}

// User returns a person's account.
func (s *Service) User(ctx context.Context, in UserID) (out UserView, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		u, err := findUser(tx, in.ID)
		out = viewOf(u)
		return err
	})
	return out, err
}

// findUser reads an account by what somebody calls it.
func findUser(tx *store.Tx, name flyball.ActorID) (store.UserRecord, error) {
	id := personID(string(name))
	if !id.Valid() {
		return store.UserRecord{}, flyball.Errorf(flyball.NotFound, "there is no user %q", name)
	}
	return tx.User(id)
}

// Users are all accounts, by id.
type Users struct {
	Users []UserView `json:"users"`
}

// ListUsers lists all accounts.
func (s *Service) ListUsers(ctx context.Context, _ None) (Users, error) {
	out := Users{Users: []UserView{}}
	err := s.db.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Users()
		for _, u := range all {
			out.Users = append(out.Users, viewOf(u))
		}
		return err
	})
	return out, err
}

// DisableUser names a person whose account is to open nothing any more.
type DisableUser struct {
	ID     flyball.ActorID `json:"id" doc:"user: and a name; the name alone will do"`
	Reason string          `json:"reason" doc:"why"`
}

// DisableUser shuts a person out: sessions end, tokens open nothing, and agents
// that act for them neither.
func (s *Service) DisableUser(ctx context.Context, in DisableUser) (UserView, error) {
	id := personID(string(in.ID))
	_, err := s.change(ctx, changeOf{
		access: Admin, action: "user.disable", subject: string(id), reason: in.Reason,
		apply: func(e *edit) error {
			old, err := findUser(e.tx, id)
			if err != nil {
				return err
			}
			next := old
			next.Disabled = true
			return e.putUser(&old, next)
		},
	})
	if err != nil {
		return UserView{}, err
	}
	s.tokens.forgetPerson(id)
	return s.User(ctx, UserID{ID: id})
}

// SetPassword is how a person gets another password.
type SetPassword struct {
	ID       flyball.ActorID `json:"id" doc:"user: and a name; the name alone will do"`
	Current  string          `json:"current,omitempty" doc:"your own password, as it is"`
	Password string          `json:"password,omitempty" doc:"your own password, as it is to be: 12 to 256 bytes. Read it from a file or from standard input (-f -)"`
	Link     bool            `json:"link,omitempty" doc:"make a link, good for one use within 24 hours, by which the person chooses a password (admins)"`
	Reason   string          `json:"reason" doc:"why"`
}

// PasswordSet tells what came of it.
type PasswordSet struct {
	Changed   bool          `json:"changed" doc:"whether the password is another now"`
	Path      string        `json:"path,omitempty" doc:"the link, after this server's address; it is shown once"`
	ExpiresAt *flyball.Time `json:"expiresAt,omitempty" doc:"until when the link can be used"`
}

// SetPassword changes one's own password, or makes a link by which somebody else
// chooses theirs. Nobody chooses another's.
func (s *Service) SetPassword(ctx context.Context, in SetPassword) (PasswordSet, error) {
	in.ID = personID(string(in.ID))
	if in.Link == (in.Password != "") {
		return PasswordSet{}, flyball.FieldErrorf("link", "give your own password as it is and as it is to be, or ask for a link")
	}
	if mannerOf(ctx).Propose != nil {
		return PasswordSet{}, flyball.Errorf(flyball.Forbidden, "a password is nothing to propose: what is proposed is kept for others to read")
	}
	if in.Link {
		return s.passwordLink(ctx, in)
	}
	p, err := principalOf(ctx)
	if err != nil {
		return PasswordSet{}, err
	}
	if p.ID != in.ID || p.Kind != flyball.TokenAPI {
		return PasswordSet{}, flyball.Errorf(flyball.Forbidden, "people choose their own passwords; an admin makes a link: flyball user password %s --link", in.ID)
	}
	if err := validPassword(in.Password, string(in.ID)); err != nil {
		return PasswordSet{}, err
	}
	if _, err := s.prove(ctx, in.ID, in.Current, p.Token); flyball.CodeOf(err) == flyball.Unauthenticated {
		return PasswordSet{}, flyball.FieldErrorf("current", "is not your password; an admin makes a link for another: flyball user password %s --link", in.ID)
	} else if err != nil {
		return PasswordSet{}, err
	}
	kept, err := s.passwords.hash(ctx, in.Password)
	if err != nil {
		return PasswordSet{}, err
	}
	_, err = s.change(ctx, changeOf{
		access: Write, action: "user.password", subject: string(in.ID), reason: in.Reason,
		apply: func(e *edit) error {
			old, err := e.tx.User(in.ID)
			if err != nil {
				return err
			}
			next := old
			next.Password, next.PasswordAt = kept, &flyball.Time{Time: e.at}
			return e.putUser(&old, next)
		},
	})
	s.tokens.forgetPerson(in.ID)
	return PasswordSet{Changed: err == nil}, err
}

func (s *Service) passwordLink(ctx context.Context, in SetPassword) (PasswordSet, error) {
	secret, expires := newID(32), now().Add(setUpFor)
	_, err := s.change(ctx, changeOf{
		access: Admin, action: "user.link", subject: string(in.ID), reason: in.Reason,
		apply: func(e *edit) error {
			u, err := findUser(e.tx, in.ID)
			if err != nil {
				return err
			}
			if u.Disabled {
				return flyball.Errorf(flyball.Conflict, "the account of %s is disabled", in.ID)
			}
			if err := e.tx.ForgetLinks(u.ID); err != nil {
				return err
			}
			if _, err := e.record("link", string(u.ID), "", nil, map[string]time.Time{"expiresAt": expires}); err != nil {
				return err
			}
			return e.tx.InsertLink(linkHash(secret), u.ID, expires)
		},
	})
	if err != nil {
		return PasswordSet{}, err
	}
	return PasswordSet{Path: SetUpPath(secret), ExpiresAt: &flyball.Time{Time: expires}}, nil
}

// SetUpPath is where the page for a one-time link is. What is behind the # never
// leaves the browser.
func SetUpPath(secret string) string { return "/#/setup?token=" + secret }
