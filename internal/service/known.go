package service

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// knownToken is a token, or a session, and the hash of its secret, as last read.
type knownToken struct {
	token     flyball.Token // of a session: its id, its actor and its end
	hash      []byte
	read      time.Time
	barred    bool        // the person who acts with it, or behind it, has a disabled account
	used      atomic.Bool // since it was read
	principal Principal
}

// load reads a token, with the account of whoever acts with it, or a session.
func (k *knownToken) load(tx *store.Tx, id string, used time.Time) (err error) {
	if isSession(id) {
		return k.loadSession(tx, id, used)
	}
	if k.token, k.hash, err = tx.TokenByID(id); err != nil {
		return err
	}
	account, err := accountBehind(tx, k.token)
	if err != nil {
		return err
	}
	k.barred = account != nil && account.Disabled
	k.principal = principalFor(k.token, account)
	return nil
}

// accountBehind returns the account of the person who acts with a token, or
// behind it; nil if there is none.
func accountBehind(tx *store.Tx, t flyball.Token) (*flyball.User, error) {
	who := t.Actor
	if t.Kind == flyball.TokenAgent {
		who = t.OnBehalfOf
	}
	if who.Kind() != "user" {
		return nil, nil
	}
	u, err := tx.User(who)
	if flyball.CodeOf(err) == flyball.NotFound {
		return nil, nil
	}
	return &u.User, err
}

func principalFor(t flyball.Token, account *flyball.User) Principal {
	return Principal{
		Actor: flyball.Actor{ID: t.Actor, OnBehalfOf: t.OnBehalfOf, Token: t.ID},
		Kind:  t.Kind, Environment: t.Environment, Flags: t.Flags, Class: string(t.Kind) + " " + strings.Join(t.Flags, " "), Rights: rightsOf(t, account), Envelope: t.Envelope,
	}
}

// rightsOf are the grants that bound whoever acts with a token: those of the
// person, if they have an account, and those of the token, if it has any. With
// neither, as tokens were before there were roles, nothing bounds it.
func rightsOf(t flyball.Token, account *flyball.User) (rights []flyball.Grants) {
	if len(t.Grants) > 0 {
		rights = append(rights, t.Grants)
	}
	if account != nil {
		rights = append(rights, account.Grants)
	}
	if len(rights) == 0 {
		rights = append(rights, flyball.Installation)
	}
	return rights
}

// grantsOf returns what a person may do at most now. Of who has no account, that
// is what their tokens say.
func (e *edit) grantsOf(who flyball.ActorID) (flyball.Grants, error) {
	u, err := e.tx.User(who)
	switch {
	case err == nil && u.Disabled:
		return nil, nil
	case err == nil || flyball.CodeOf(err) != flyball.NotFound:
		return u.Grants, err
	}
	all, err := e.tx.Tokens()
	if err != nil {
		return nil, err
	}
	var grants flyball.Grants
	for _, t := range all {
		if k := (&knownToken{token: t}); t.Actor == who && t.Kind == flyball.TokenAPI && k.live() {
			grants = append(grants, rightsOf(t, nil)[0]...)
		}
	}
	return grants, nil
}

// live reads the clock only for a token that ends at a time.
func (k *knownToken) live() bool {
	return !k.barred && (k.token.RevokedAt == nil || time.Now().Before(k.token.RevokedAt.Time)) &&
		(k.token.ExpiresAt == nil || time.Now().Before(k.token.ExpiresAt.Time))
}

// TokenGood says whether a token or a session, named by its id, still opens
// anything. Its error is Unauthenticated if not. Whoever asks has it in use.
func (s *Service) TokenGood(ctx context.Context, id string) error {
	known, err := s.tokens.find(ctx, id, s.db)
	if flyball.CodeOf(err) == flyball.NotFound || err == nil && !known.live() {
		return flyball.Errorf(flyball.Unauthenticated, "the token is expired or revoked")
	}
	if err == nil {
		s.tokens.use(known)
	}
	return err
}

// A tokenCache spares a database read for each request. What another node
// revokes is honoured within tokenFresh.
type tokenCache struct {
	mu   *sync.Mutex
	byID map[string]*knownToken
	uses map[string]use // that the database does not know of yet
}

// A use is when a token was last used, and by which person, if it was one.
type use struct {
	at time.Time
	by flyball.ActorID
}

const (
	tokenFresh  = 2 * time.Second
	maxCached   = 10_000
	maxTokenAge = 24 * time.Hour // how long a cached token opens doors while the database is down
)

func newTokenCache() tokenCache {
	return tokenCache{mu: new(sync.Mutex), byID: map[string]*knownToken{}, uses: map[string]use{}}
}

func (c tokenCache) find(ctx context.Context, id string, db *store.DB) (*knownToken, error) {
	c.mu.Lock()
	known := c.byID[id]
	c.mu.Unlock()
	if known != nil && time.Since(known.read) < tokenFresh {
		return known, nil
	}
	return c.readAgain(ctx, strings.Clone(id), known, db)
}

func (c tokenCache) readAgain(ctx context.Context, id string, known *knownToken, db *store.DB) (*knownToken, error) {
	c.mu.Lock()
	used := c.uses[id].at
	c.mu.Unlock()
	fresh := &knownToken{read: time.Now()}
	err := db.View(ctx, func(tx *store.Tx) error { return fresh.load(tx, id, used) })
	if err != nil {
		if known != nil && flyball.CodeOf(err) != flyball.NotFound && time.Since(known.read) < maxTokenAge {
			return known, nil // reads go on while the database is down
		}
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.byID) >= maxCached {
		clear(c.byID)
	}
	c.byID[id] = fresh
	return fresh, nil
}

func (c tokenCache) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byID, id)
}

// forgetPerson forgets all with which, or behind which, a person acts.
func (c tokenCache) forgetPerson(id flyball.ActorID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, known := range c.byID {
		if known.token.Actor == id || known.token.OnBehalfOf == id {
			delete(c.byID, key)
		}
	}
}

// use notes that a token was used. Nearly always that is noted already, since a
// token is read anew every two seconds only.
func (c tokenCache) use(known *knownToken) {
	if known.used.Load() || known.used.Swap(true) {
		return
	}
	u := use{at: time.Now()}
	if known.token.Actor.Kind() == "user" && known.token.Kind == flyball.TokenAPI {
		u.by = known.token.Actor
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uses[known.token.ID] = u
}

// tellUse says of a token when it was last used, if that is not written down yet.
func (c tokenCache) tellUse(t *flyball.Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.uses[t.ID].at; t.LastUsed == nil && !at.IsZero() || t.LastUsed != nil && at.After(t.LastUsed.Time) {
		t.LastUsed = &flyball.Time{Time: at.UTC().Truncate(time.Microsecond)}
	}
}

// keepEvery is how often it is written down what was used.
const keepEvery = time.Minute

// Keep writes down each minute which tokens and sessions were used, and forgets
// sessions and links that are over, until ctx ends.
func (s *Service) Keep(ctx context.Context) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			s.NoteUses(last)
			return
		case <-tick.C:
			if err := s.NoteUses(ctx); err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "the uses of tokens are not written down", "error", err)
			}
		}
	}
}

// NoteUses writes down which tokens and sessions were used since it was last
// called.
func (s *Service) NoteUses(ctx context.Context) error {
	tokens, sessions, people := map[string]time.Time{}, map[string]time.Time{}, map[flyball.ActorID]time.Time{}
	s.tokens.mu.Lock()
	for id, u := range s.tokens.uses {
		at := u.at.Truncate(time.Microsecond)
		if isSession(id) {
			sessions[id] = at
		} else {
			tokens[id] = at
		}
		if u.by != "" && people[u.by].Before(at) {
			people[u.by] = at
		}
	}
	s.tokens.mu.Unlock()
	at := now()
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		if err := tx.UsedTokens(tokens); err != nil {
			return err
		}
		if err := tx.SawUsers(people); err != nil {
			return err
		}
		if err := tx.ForgetOldLinks(at); err != nil {
			return err
		}
		return tx.SawSessions(sessions, at.Add(-sessionAge), at.Add(-sessionIdle))
	})
	if err != nil {
		return err
	}
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	for id, u := range s.tokens.uses {
		if u.at.Truncate(time.Microsecond).Equal(sessions[id]) || u.at.Truncate(time.Microsecond).Equal(tokens[id]) {
			delete(s.tokens.uses, id)
		}
	}
	return nil
}
