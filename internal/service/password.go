package service

import (
	"context"
	"fmt"
	"runtime"

	"github.com/alexedwards/argon2id"

	"github.com/flyballdev/flyball"
)

// cost is what a guess of a password costs, after OWASP: 19 MiB of memory, twice
// over. A hash tells its own cost, and is made anew at the next sign-in when this
// one rises.
var cost = &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// nobodys is a hash of no password, of the same cost as all others: who signs in
// under a name that nobody has waits as long.
const nobodys = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// Bounds of a password.
const (
	minPassword = 12
	maxPassword = 256
)

func validPassword(password, name string) error {
	switch {
	case len(password) < minPassword || len(password) > maxPassword:
		return flyball.FieldErrorf("password", "has %d bytes; choose %d to %d", len(password), minPassword, maxPassword)
	case password == name:
		return flyball.FieldErrorf("password", "is the name itself; choose another")
	}
	return nil
}

// A hasher hashes few passwords at once, since each takes 19 MiB and 30 ms.
type hasher struct {
	queue chan struct{} // those who wait, and those who hash
	slots chan struct{}
}

// maxHashWaits is how many may wait for their turn.
const maxHashWaits = 20

func newHasher() *hasher {
	n := runtime.NumCPU()
	return &hasher{queue: make(chan struct{}, n+maxHashWaits), slots: make(chan struct{}, n)}
}

// turn runs f when it is its turn.
func (h *hasher) turn(ctx context.Context, f func() error) error {
	select {
	case h.queue <- struct{}{}:
	default:
		return flyball.Errorf(flyball.Overloaded, "too many people sign in at once: try again in a moment").With("retryAfter", 2)
	}
	defer func() { <-h.queue }()
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return flyball.Errorf(flyball.Unavailable, "the request ended before its turn came")
	}
	defer func() { <-h.slots }()
	return f()
}

// hash returns what is kept of a password.
func (h *hasher) hash(ctx context.Context, password string) (kept string, err error) {
	err = h.turn(ctx, func() error {
		kept, err = argon2id.CreateHash(password, cost)
		return err
	})
	return kept, err
}

// check says whether a password is the one that was kept, and whether it is to
// be kept anew because the cost has risen. An empty hash is nobody's.
func (h *hasher) check(ctx context.Context, password, kept string) (right, anew bool, err error) {
	known := kept != ""
	if !known {
		kept = nobodys
	}
	err = h.turn(ctx, func() error {
		match, params, err := argon2id.CheckHash(password, kept)
		if err != nil {
			return fmt.Errorf("check a password: %w", err)
		}
		right, anew = match && known, *params != *cost
		return nil
	})
	return right, anew, err
}
