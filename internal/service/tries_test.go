package service

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

func TestATryWaitsLongerWithEachFailureAndNeverForEver(t *testing.T) {
	tries, now := newTries(), time.Unix(0, 0)
	heard := map[int]int{} // by minute
	var longest time.Duration
	for range 3600 { // somebody tries each second for an hour
		if err := tries.enter("user:ann", "10.0.0.1", now); err == nil {
			heard[int(now.Sub(time.Unix(0, 0)).Minutes())]++
			tries.ended("user:ann", "10.0.0.1", false, now)
		} else if wait := flyball.Problems(err)[0].Details["retryAfter"].(int); time.Duration(wait)*time.Second > longest {
			longest = time.Duration(wait) * time.Second
		}
		now = now.Add(time.Second)
	}
	if heard[0] > 5 || heard[0] < 3 || heard[30] > 1 || longest > time.Minute {
		t.Errorf("heard in the first minute %d, in the thirtieth %d; the longest wait was %v", heard[0], heard[30], longest)
	}
	now = now.Add(time.Minute)
	if err := tries.enter("user:ann", "10.0.0.2", now); err != nil {
		t.Errorf("ann herself, a minute later: %v", err)
	}
	tries.ended("user:ann", "10.0.0.2", true, now)
	if err := tries.enter("user:ann", "10.0.0.2", now.Add(time.Second)); err != nil {
		t.Errorf("after she came in: %v", err)
	}
}

func TestTriesFromOneAddressAreBoundedUnderAllNames(t *testing.T) {
	tries, now, heard := newTries(), time.Unix(0, 0), 0
	for i := range 100 {
		if name := fmt.Sprint("user:", i); tries.enter(name, "10.0.0.1", now) == nil {
			heard++
		}
	}
	if heard != 20 {
		t.Errorf("%d tries were heard", heard)
	}
	if err := tries.enter("user:ann", "10.0.0.2", now); err != nil {
		t.Errorf("from another address: %v", err)
	}
}

func TestFewPasswordsAreHashedAtOnceAndFewWait(t *testing.T) {
	h := newHasher()
	n := cap(h.slots)
	var wg sync.WaitGroup
	held, started := make(chan struct{}), make(chan struct{}, n)
	for range n {
		wg.Go(func() {
			if err := h.turn(t.Context(), func() error { started <- struct{}{}; <-held; return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	for range n {
		<-started
	}
	for range maxHashWaits {
		h.queue <- struct{}{} // those who wait
	}
	err := h.turn(t.Context(), func() error { t.Error("it runs beside all the others"); return nil })
	if flyball.CodeOf(err) != flyball.Overloaded {
		t.Errorf("one more gets %v", err)
	}
	close(held)
	wg.Wait()
}

// A password costs as much under a name that nobody has as under one that
// somebody has: compared in one run, each time after the other.
func TestAnUnknownNameTakesAsLongAsAKnownOne(t *testing.T) {
	h := newHasher()
	kept, err := h.hash(t.Context(), "correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	var known, unknown []time.Duration
	for range 15 {
		for hash, times := range map[string]*[]time.Duration{kept: &known, "": &unknown} {
			start := time.Now()
			if right, _, err := h.check(t.Context(), "wrong", hash); right || err != nil {
				t.Fatal(right, err)
			}
			*times = append(*times, time.Since(start))
		}
	}
	least, most := slices.Min(known), slices.Min(unknown)
	if least > most {
		least, most = most, least
	}
	if most > least*5/4 {
		t.Errorf("the fastest of 15 took %v for a known name and %v for an unknown one", slices.Min(known), slices.Min(unknown))
	}
	t.Logf("known %v, unknown %v", slices.Min(known), slices.Min(unknown))
}

func TestAHashSaysWhatItCostsAndNobodysIsNoPassword(t *testing.T) {
	h := newHasher()
	for _, guess := range []string{"", "password", nobodys} {
		if right, _, err := h.check(t.Context(), guess, ""); right || err != nil {
			t.Errorf("%q is nobody's password: %v, %v", guess, right, err)
		}
	}
	params, _, _, err := argon2id.DecodeHash(nobodys)
	if err != nil || *params != *cost || cost.Memory < 19<<10 || cost.Iterations < 2 {
		t.Errorf("nobody's costs %+v, %v", params, err)
	}
}

func TestAPasswordIsKeptAnewWhenTheCostHasRisen(t *testing.T) {
	s, ctx := house(t)
	cheap, err := argon2id.CreateHash("correct horse battery", &argon2id.Params{Memory: 8 << 10, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32})
	if err != nil {
		t.Fatal(err)
	}
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		return tx.PutUser(store.UserRecord{User: flyball.User{ID: "user:ann"}, Password: cheap})
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.SignIn(ctx, "ann", "correct horse battery", "10.0.0.1", ""); err != nil {
			t.Fatal(err)
		}
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		u, err := tx.User("user:ann")
		if params, _, _, err := argon2id.DecodeHash(u.Password); err != nil || *params != *cost || u.Revision != 2 {
			t.Errorf("it is kept at %+v, revision %d: %v", params, u.Revision, err)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What a person's account says counts, whatever their tokens say.
func TestAnAccountBoundsTheTokensOfItsPerson(t *testing.T) {
	team := flyball.Grants{{Role: flyball.RoleEditor, Team: "payments"}}
	all := flyball.Grants{{Role: flyball.RoleEditor}}
	for _, c := range []struct {
		what           string
		token, account flyball.Grants
		none           bool // there is no account
		payments, rest bool
	}{
		{"a token of before there were roles", nil, nil, true, true, true},
		{"a token alone", team, nil, true, true, false},
		{"an account without grants", nil, nil, false, false, false},
		{"a token that says more than the account", all, team, false, true, false},
		{"a token that says less", team, all, false, true, false},
		{"an account alone", nil, all, false, true, true},
	} {
		account := &flyball.User{Grants: c.account}
		if c.none {
			account = nil
		}
		p := principalFor(flyball.Token{Kind: flyball.TokenAPI, Actor: "user:ann", Grants: c.token}, account)
		if p.allows(flyball.RoleEditor, "production", "payments") != c.payments || p.allows(flyball.RoleEditor, "production", "search") != c.rest {
			t.Errorf("%s: it allows %v and %v", c.what, p.allows(flyball.RoleEditor, "production", "payments"), p.allows(flyball.RoleEditor, "production", "search"))
		}
	}
}

// An approver is one when the account says so at that moment.
func TestWhoMayApproveIsWhatTheAccountSaysNow(t *testing.T) {
	s, ctx := house(t)
	grants := func() flyball.Grants {
		t.Helper()
		var got flyball.Grants
		err := s.db.View(ctx, func(tx *store.Tx) (err error) {
			got, err = (&edit{tx: tx}).grantsOf("user:bob")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	must[NewToken](t)(s.CreateToken(ctx, CreateToken{Kind: flyball.TokenAPI, Name: "t", Actor: "user:bob", Reason: "a test"}))
	if !grants().Runs() {
		t.Error("while she has no account, her token counts")
	}
	approver := flyball.Grants{{Role: flyball.RoleApprover}}
	must[UserView](t)(s.CreateUser(ctx, PutUser{ID: "bob", Grants: approver, Reason: "a test"}))
	if got := grants(); !slices.Equal(got, approver) {
		t.Errorf("she has %v", got)
	}
	must[UserView](t)(s.DisableUser(ctx, DisableUser{ID: "bob", Reason: "a test"}))
	if got := grants(); got != nil {
		t.Errorf("when disabled she has %v", got)
	}
}
