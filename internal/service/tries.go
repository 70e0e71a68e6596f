package service

import (
	"math"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
)

// tries bounds how often somebody may try to prove who they are: under one name,
// and from one address.
type tries struct {
	names, addresses throttle
}

func newTries() *tries {
	return &tries{
		names:     throttle{most: 5, patience: 3, tried: map[string]*tried{}},
		addresses: throttle{most: 20, patience: 15, tried: map[string]*tried{}},
	}
}

// enter counts a try. Its error tells when the next one is heard.
func (t *tries) enter(name, address string, now time.Time) error {
	wait := t.addresses.enter(address, now)
	if wait == 0 {
		wait = t.names.enter(name, now)
	}
	if wait == 0 {
		return nil
	}
	seconds := int(math.Ceil(wait.Seconds()))
	return flyball.Errorf(flyball.Overloaded, "too many tries: wait %d seconds", seconds).With("retryAfter", seconds)
}

// ended tells how a try ended.
func (t *tries) ended(name, address string, right bool, now time.Time) {
	t.names.ended(name, right, now)
	t.addresses.ended(address, right, now)
}

// A throttle bounds tries to some in a minute. After a few failures in a row
// each one more doubles the wait, up to a minute: nobody can lock somebody else
// out for good.
type throttle struct {
	most     int // tries in a minute
	patience int // failures in a row before there is a wait

	mu    sync.Mutex
	tried map[string]*tried
}

type tried struct {
	at     []time.Time // in the last minute
	failed int         // in a row
	until  time.Time   // nothing is heard before
}

// maxTried is how many names, or addresses, are remembered.
const maxTried = 50_000

// enter counts a try, and returns 0; or how long the next one must wait, if it
// comes too soon.
func (t *throttle) enter(key string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.tried[key]
	if one == nil {
		if len(t.tried) >= maxTried {
			t.forget(now)
		}
		one = &tried{}
		t.tried[key] = one
	}
	one.at = lately(one.at, now)
	wait := one.until.Sub(now)
	if len(one.at) >= t.most {
		wait = max(wait, one.at[0].Add(time.Minute).Sub(now))
	}
	if wait > 0 {
		return wait
	}
	one.at = append(one.at, now)
	return 0
}

func lately(at []time.Time, now time.Time) []time.Time {
	for len(at) > 0 && now.Sub(at[0]) >= time.Minute {
		at = at[1:]
	}
	return at
}

// forget drops whom nobody has tried lately and, if all are recent, everybody.
func (t *throttle) forget(now time.Time) {
	for key, one := range t.tried {
		if len(lately(one.at, now)) == 0 {
			delete(t.tried, key)
		}
	}
	if len(t.tried) >= maxTried {
		clear(t.tried)
	}
}

func (t *throttle) ended(key string, right bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.tried[key]
	switch {
	case one == nil:
	case right:
		one.failed, one.until = 0, time.Time{}
	default:
		if one.failed++; one.failed >= t.patience {
			one.until = now.Add(min(time.Minute, time.Second<<min(one.failed-t.patience, 10)))
		}
	}
}
