package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

// errUndo is what a test's transaction returns in order to be undone.
var errUndo = errors.New("undo")

func TestNumbersHaveNoGapsUnderConcurrentWriters(t *testing.T) {
	atBoth(t, func(t *testing.T, url string) {
		handles := []*DB{open(t, url), open(t, url)} // as two processes would be
		update(t, handles[0], furnish("a.flag"))
		var committed atomic.Int64
		var writers sync.WaitGroup
		for i := range 8 {
			writers.Go(func() {
				for n := range 15 {
					undo := (i+n)%3 == 0
					err := handles[i%2].Update(t.Context(), func(tx *Tx) error {
						_, _, _, err := change(tx, "a.flag", fmt.Sprint(i, " ", n))
						if err == nil && undo {
							return errUndo
						}
						return err
					})
					switch {
					case err == nil:
						committed.Add(1)
					case !errors.Is(err, errUndo):
						t.Errorf("writer %d: %v", i, err)
					}
				}
			})
		}
		writers.Wait()
		if committed.Load() != 80 {
			t.Errorf("%d changes committed, want 80", committed.Load())
		}
		wantWhole(t, handles[0], committed.Load())
	})
}

// wantWhole fails the test unless there were exactly n changes: versions,
// audit entries and log entries from 1 to n, one of each for every change.
func wantWhole(t testing.TB, db *DB, n int64) {
	t.Helper()
	view(t, db, func(tx *Tx) error {
		e, err := tx.Environment("production")
		if e.Version != n {
			t.Errorf("version %d, want %d", e.Version, n)
		}
		audit, err2 := tx.Audit(AuditFilter{OldestFirst: true, Limit: int(n) + 10})
		entries, err3 := tx.Log(0, int(n)+10, 1<<30)
		if int64(len(audit)) != n || int64(len(entries)) != n {
			t.Errorf("%d audit and %d log entries, want %d", len(audit), len(entries), n)
			return errors.Join(err, err2, err3)
		}
		for i, a := range audit {
			if want := int64(i) + 1; a.Seq != want || a.Version != want || entries[i].Seq != want {
				t.Errorf("change %d has audit entry %d, version %d, log entry %d", want, a.Seq, a.Version, entries[i].Seq)
			}
			if a.Reason != string(entries[i].Body) {
				t.Errorf("change %d: the audit log says %q, the log %q", i+1, a.Reason, entries[i].Body)
			}
		}
		head, err4 := tx.LogHead()
		if head != n {
			t.Errorf("head of the log %d, want %d", head, n)
		}
		served, err5 := tx.FlagConfig("production", "a.flag")
		if served.Version != n || served.Enabled != (n%2 == 1) {
			t.Errorf("served %+v, want what change %d left", served, n)
		}
		return errors.Join(err, err2, err3, err4, err5)
	})
}

// A reader who follows the log must never step over an entry that is committed
// after a later one.
func TestTheLogIsInTheOrderOfCommits(t *testing.T) {
	atBoth(t, func(t *testing.T, url string) {
		handles := []*DB{open(t, url), open(t, url)}
		const writing, each = 6, 20
		want := make(chan int, writing) // entries that each writer had stored
		for i := range writing {
			go func() {
				random, stored := rand.New(rand.NewPCG(uint64(i), 1)), 0
				for n := range each {
					batch := make([]LogEntry, 1+random.IntN(4))
					for j := range batch {
						batch[j] = LogEntry{Kind: KindBatch, Environment: "production", ID: fmt.Sprint(i, n, j/2), At: at, Body: []byte("x")}
					}
					err := handles[i%2].Update(t.Context(), func(tx *Tx) error {
						_, err := tx.AppendLog(batch)
						return err
					})
					if err != nil {
						t.Errorf("writer %d: %v", i, err)
					}
					stored += (len(batch) + 1) / 2 // every second one is a duplicate
				}
				want <- stored
			}()
		}
		after, left, total := int64(0), writing, 0
		for done := false; !done; {
			done = left == 0 // then this reading sees all
			view(t, handles[0], func(tx *Tx) error {
				entries, err := tx.Log(after, 7, 1<<20)
				for _, e := range entries {
					if after++; e.Seq != after {
						t.Fatalf("after entry %d came %d", after-1, e.Seq)
					}
				}
				done = done && len(entries) == 0
				return err
			})
			for reading := left > 0; reading && left > 0; {
				select {
				case n := <-want:
					left, total = left-1, total+n
				default:
					reading = false
				}
			}
		}
		if after != int64(total) {
			t.Errorf("read %d entries, want %d", after, total)
		}
	})
}

func TestARollbackLeavesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, furnish("a.flag"))
		everything := func(tx *Tx) error {
			_, _, _, err := change(tx, "a.flag", "because")
			_, err2 := tx.UpdateFlag(aFlag("a.flag"), 1)
			_, err3 := tx.PutSegment(flyball.Segment{Key: "beta"}, 0)
			_, err4 := tx.PutMetric(flyball.Metric{Key: "errors"}, 0)
			_, _, err5 := tx.AcquireLease("judge", "me", time.Hour, at)
			return errors.Join(err, err2, err3, err4, err5,
				tx.InsertFlag(aFlag("b.flag"), "user:ann", at),
				tx.InsertRollout(aRollout("r1", "a.flag")),
				tx.PutEvidence("r1", flyball.Evidence{}),
				tx.InsertToken(flyball.Token{ID: "t1"}, []byte("hash")),
				tx.SaveCheckpoint("judge", 1, []byte("state")),
				tx.PutInstances([]flyball.Instance{{Environment: "production"}}),
				tx.PutSetting("admin", "made"))
		}
		err := db.Update(t.Context(), func(tx *Tx) error { return errors.Join(everything(tx), errUndo) })
		if !errors.Is(err, errUndo) || flyball.CodeOf(err) != flyball.Internal {
			t.Fatalf("got %v, want the function's own error", err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a panic was swallowed")
				}
			}()
			_ = db.Update(t.Context(), func(tx *Tx) error { panic(everything(tx)) })
		}()
		ctx, cancel := context.WithCancel(t.Context())
		err = db.Update(ctx, func(tx *Tx) error { err := everything(tx); cancel(); return err })
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want that the context was cancelled", err)
		}
		wantWhole(t, db, 0)
		update(t, db, everything) // nothing is in its way
		wantWhole(t, db, 1)
	})
}

func TestAViewSeesOneMoment(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, furnish("a.flag"))
		view(t, db, func(tx *Tx) error {
			before, err := tx.Ruleset("production")
			update(t, db, func(tx *Tx) error { _, _, _, err := change(tx, "a.flag", "meanwhile"); return err })
			after, err2 := tx.Ruleset("production")
			if before.Version != 0 || after.Version != 0 || after.Flags[0].Enabled {
				t.Errorf("version %d became %d within one view", before.Version, after.Version)
			}
			return errors.Join(err, err2)
		})
		if err := db.View(t.Context(), func(tx *Tx) error { return tx.PutSetting("a", "b") }); err == nil {
			t.Error("a view could write")
		}
	})
}

func TestKeysSortByTheirBytes(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		keys := []string{"a-b", "a.b", "ab", "a_b", "aB", "Ab", "b", "B", "a", "1", "ä", "~"}
		update(t, db, furnish(keys...))
		update(t, db, func(tx *Tx) error {
			for _, key := range keys {
				if err := tx.InsertEnvironment(flyball.Environment{Key: key}); err != nil {
					return err
				}
			}
			return nil
		})
		slices.Sort(keys)
		view(t, db, func(tx *Tx) error {
			rs, err := tx.Ruleset("production")
			var got []string
			for _, f := range rs.Flags {
				got = append(got, f.Key)
			}
			if !slices.Equal(got, keys) {
				t.Errorf("got  %q\nwant %q", got, keys)
			}
			return err
		})
	})
}

func TestALeaseHasOneHolder(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		const ttl = 10 * time.Second
		acquire := func(holder string, now time.Time, wantFence int64, wantHeld bool) {
			t.Helper()
			update(t, db, func(tx *Tx) error {
				fence, held, err := tx.AcquireLease("judge", holder, ttl, now)
				if fence != wantFence || held != wantHeld {
					t.Errorf("%s got fence %d, held %v; want %d, %v", holder, fence, held, wantFence, wantHeld)
				}
				return err
			})
		}
		holds := func(fence int64, now time.Time, want bool) {
			t.Helper()
			update(t, db, func(tx *Tx) error {
				err := tx.HoldsLease("judge", fence, now)
				if err != nil {
					wantCode(t, err, flyball.Conflict)
				}
				if (err == nil) != want {
					t.Errorf("fence %d holds: %v, want %v", fence, err == nil, want)
				}
				return nil
			})
		}
		renew := func(fence int64, now time.Time) error {
			return db.Update(t.Context(), func(tx *Tx) error { return tx.RenewLease("judge", fence, ttl, now) })
		}
		acquire("a", at, 1, true)
		acquire("b", at.Add(ttl-time.Microsecond), 1, false)
		acquire("a", at, 1, true) // again, without a new fence
		holds(1, at.Add(ttl-time.Microsecond), true)
		holds(1, at.Add(ttl), false)
		holds(2, at, false)
		if err := renew(1, at.Add(5*time.Second)); err != nil {
			t.Error(err)
		}
		acquire("b", at.Add(ttl), 1, false)
		acquire("b", at.Add(15*time.Second), 2, true) // a has slept through
		wantCode(t, renew(1, at.Add(16*time.Second)), flyball.Conflict)
		holds(1, at.Add(16*time.Second), false)
		holds(2, at.Add(16*time.Second), true)
		update(t, db, func(tx *Tx) error { return tx.ReleaseLease("judge", 1) }) // not a's any more
		holds(2, at.Add(16*time.Second), true)
		update(t, db, func(tx *Tx) error { return tx.ReleaseLease("judge", 2) })
		wantCode(t, renew(2, at.Add(17*time.Second)), flyball.Conflict)
		acquire("b", at.Add(17*time.Second), 3, true) // it let go: nobody may have taken it, but somebody could have
	})
}

// Holders race for a lease and write under its fence; the fences of the writes
// that were let through never fall.
func TestAFenceStopsAHolderWhoOverslept(t *testing.T) {
	atBoth(t, func(t *testing.T, url string) {
		handles := []*DB{open(t, url), open(t, url)}
		var clock atomic.Int64 // shared, and far faster than the holders
		now := func() time.Time { return at.Add(time.Duration(clock.Add(1)) * time.Second) }
		var holders sync.WaitGroup
		for i := range 4 {
			holders.Go(func() {
				for range 12 {
					var fence int64
					var held bool
					err := handles[i%2].Update(t.Context(), func(tx *Tx) (err error) {
						fence, held, err = tx.AcquireLease("judge", fmt.Sprint(i), 3*time.Second, now())
						return err
					})
					if err != nil {
						t.Error(err)
					}
					if !held {
						continue
					}
					err = handles[i%2].Update(t.Context(), func(tx *Tx) error {
						if err := tx.HoldsLease("judge", fence, now()); err != nil {
							return err
						}
						return tx.AppendAudit(&flyball.AuditEntry{At: at, Subject: "judge", Reason: fmt.Sprint(fence)})
					})
					if err != nil {
						wantCode(t, err, flyball.Conflict)
					}
				}
			})
		}
		holders.Wait()
		view(t, handles[0], func(tx *Tx) error {
			entries, err := tx.Audit(AuditFilter{OldestFirst: true, Limit: 1000})
			last := 0
			for _, e := range entries {
				var fence int
				fmt.Sscan(e.Reason, &fence)
				if fence < last {
					t.Errorf("a write under fence %d came after one under %d", fence, last)
				}
				last = fence
			}
			if last < 2 {
				t.Errorf("the last fence was %d: the lease never changed hands", last)
			}
			return err
		})
	})
}
