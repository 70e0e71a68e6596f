package store

import (
	"fmt"
	"time"

	"github.com/flyballdev/flyball"
)

// AcquireLease takes a lease that is free or has ended, until now + ttl; the
// holder of a lease that has not ended gets it again. The fence rises with
// each new holder: a write that checks it by [Tx.HoldsLease] in its own
// transaction is refused once another has taken over, however long its writer
// was asleep. If somebody else holds the lease, held is false and fence is
// theirs.
func (tx *Tx) AcquireLease(name, holder string, ttl time.Duration, now time.Time) (fence int64, held bool, err error) {
	held, err = tx.one(`INSERT INTO lease (name, holder, fence, until) VALUES ($1, $2, 1, $3)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until,
			fence = lease.fence + CASE WHEN lease.until <= $4 THEN 1 ELSE 0 END
		WHERE lease.until <= $4 OR lease.holder = excluded.holder
		RETURNING fence`, []any{name, holder, micros(now.Add(ttl)), micros(now)}, &fence)
	if err == nil && !held {
		_, err = tx.one(`SELECT fence FROM lease WHERE name = $1`, []any{name}, &fence)
	}
	if err != nil {
		return 0, false, fmt.Errorf("acquire lease %q: %w", name, err)
	}
	return fence, held, nil
}

// RenewLease extends a lease to now + ttl. It is a conflict if the lease has
// ended or is somebody else's.
func (tx *Tx) RenewLease(name string, fence int64, ttl time.Duration, now time.Time) error {
	n, err := tx.exec(`UPDATE lease SET until = $1 WHERE name = $2 AND fence = $3 AND until > $4`,
		micros(now.Add(ttl)), name, fence, micros(now))
	switch {
	case err != nil:
		return fmt.Errorf("renew lease %q: %w", name, err)
	case n == 0:
		return lost(name, fence)
	}
	return nil
}

// HoldsLease returns a conflict if the lease has ended or is somebody else's.
// Within a write transaction the answer stays true until the commit.
func (tx *Tx) HoldsLease(name string, fence int64, now time.Time) error {
	var one int
	found, err := tx.one(`SELECT 1 FROM lease WHERE name = $1 AND fence = $2 AND until > $3`, []any{name, fence, micros(now)}, &one)
	switch {
	case err != nil:
		return fmt.Errorf("check lease %q: %w", name, err)
	case !found:
		return lost(name, fence)
	}
	return nil
}

// ReleaseLease ends a lease, so that another holder need not wait; it does
// nothing if the lease is lost.
func (tx *Tx) ReleaseLease(name string, fence int64) error {
	if _, err := tx.exec(`UPDATE lease SET until = 0 WHERE name = $1 AND fence = $2`, name, fence); err != nil {
		return fmt.Errorf("release lease %q: %w", name, err)
	}
	return nil
}

func lost(name string, fence int64) error {
	return flyball.Errorf(flyball.Conflict, "lease %q with fence %d is lost", name, fence)
}
