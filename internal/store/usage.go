package store

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
)

// AddUsage adds counts of evaluations to those that are there.
func (tx *Tx) AddUsage(all []flyball.Usage) error {
	for _, u := range all {
		_, err := tx.exec(`INSERT INTO usage (environment, flag, variant, n, last) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (environment, flag, variant) DO UPDATE SET n = usage.n + excluded.n,
				last = CASE WHEN excluded.last > usage.last THEN excluded.last ELSE usage.last END`,
			plain(u.Environment), plain(u.Flag), plain(u.Variant), u.N, micros(u.Last))
		if err != nil {
			return fmt.Errorf("add usage of %q: %w", u.Flag, err)
		}
	}
	return nil
}

// Usage returns how often flags served what, by environment, flag and variant.
func (tx *Tx) Usage() ([]flyball.Usage, error) {
	all, err := list(tx, func(scan func(...any) error) (u flyball.Usage, err error) {
		var last int64
		err = scan(&u.Environment, &u.Flag, &u.Variant, &u.N, &last)
		u.Last = time.UnixMicro(last).UTC()
		return u, err
	}, `SELECT environment, flag, variant, n, last FROM usage ORDER BY environment, flag, variant`)
	if err != nil {
		return nil, fmt.Errorf("list usage: %w", err)
	}
	return all, nil
}

// UsedSince returns those of some flags that programs in an environment evaluated
// since a time, by key.
func (tx *Tx) UsedSince(environment string, since time.Time, flags []string) (used []string, err error) {
	for some := range slices.Chunk(flags, 500) {
		args := []any{environment, micros(since)}
		for _, f := range some {
			args = append(args, f)
		}
		found, err := list(tx, func(scan func(...any) error) (key string, err error) { return key, scan(&key) },
			`SELECT DISTINCT flag FROM usage WHERE environment = $1 AND last >= $2 AND flag IN (`+numbered(3, len(some))+`)`, args...)
		if err != nil {
			return nil, fmt.Errorf("list the flags used in %q: %w", environment, err)
		}
		used = append(used, found...)
	}
	slices.Sort(used)
	return used, nil
}

// numbered returns $first,$first+1… for n arguments.
func numbered(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", first+i)
	}
	return b.String()
}

// PutUnknownFlags keeps keys that programs evaluate and that are no flags.
func (tx *Tx) PutUnknownFlags(all []flyball.UnknownFlag) error {
	for _, u := range all {
		_, err := tx.exec(`INSERT INTO unknown_flag (environment, flag, service, version, last) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (environment, flag, service, version) DO UPDATE SET last = excluded.last
			WHERE unknown_flag.last < excluded.last`,
			plain(u.Environment), plain(u.Flag), plain(u.Service), plain(u.Version), micros(u.Last))
		if err != nil {
			return fmt.Errorf("put the unknown flag %q: %w", u.Flag, err)
		}
	}
	return nil
}

// UnknownFlags returns keys that programs evaluated and that are no flags, by
// environment, key, service and version: those told of since a time, at most
// so many.
func (tx *Tx) UnknownFlags(since time.Time, limit int) ([]flyball.UnknownFlag, error) {
	all, err := list(tx, func(scan func(...any) error) (u flyball.UnknownFlag, err error) {
		var last int64
		err = scan(&u.Environment, &u.Flag, &u.Service, &u.Version, &last)
		u.Last = time.UnixMicro(last).UTC()
		return u, err
	}, `SELECT environment, flag, service, version, last FROM unknown_flag u WHERE last >= $1
		AND NOT EXISTS (SELECT 1 FROM flag f WHERE f.key = u.flag AND f.archived_at IS NULL)
		ORDER BY environment, flag, service, version LIMIT $2`, micros(since), limit)
	if err != nil {
		return nil, fmt.Errorf("list unknown flags: %w", err)
	}
	return all, nil
}

// ForgetUnknownFlags deletes those that nobody evaluated since a time.
func (tx *Tx) ForgetUnknownFlags(before time.Time) error {
	if _, err := tx.exec(`DELETE FROM unknown_flag WHERE last < $1`, micros(before)); err != nil {
		return fmt.Errorf("forget unknown flags: %w", err)
	}
	return nil
}
