package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhatNobodyApprovedAddsUp(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		at := time.Now()
		sums := func(environment string, since time.Time) (all map[string]int64) {
			view(t, db, func(tx *Tx) (err error) { all, err = tx.Unasked(environment, since); return err })
			return all
		}
		add := func(environment string, version int64, at time.Time, all ...Unasked) {
			update(t, db, func(tx *Tx) error { return tx.AddUnasked(environment, version, at, at.Add(-time.Hour), all) })
		}
		add("production", 1, at.Add(-30*time.Minute), Unasked{"a", 100}, Unasked{"b", 1})
		add("production", 2, at, Unasked{"a", 20})
		add("staging", 1, at, Unasked{"a", 7})
		for since, want := range map[time.Time]map[string]int64{at.Add(-time.Hour): {"a": 120, "b": 1}, at.Add(-time.Minute): {"a": 20}, at.Add(time.Minute): {}} {
			if d := cmp.Diff(want, sums("production", since)); d != "" {
				t.Errorf("since %v (-want +got):\n%s", since, d)
			}
		}
		update(t, db, func(tx *Tx) error { return tx.ForgetUnasked("production", "a") })
		add("production", 3, at.Add(2*time.Hour), Unasked{"c", 1})
		if d := cmp.Diff(map[string]int64{"c": 1}, sums("production", time.Time{})); d != "" {
			t.Errorf("later (-want +got):\n%s", d)
		}
	})
}
