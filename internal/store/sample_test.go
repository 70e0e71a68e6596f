package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

func TestASampleKeepsTheLowestRanks(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, furnish())
		put := func(bound float64, all ...SealedContext) (ids []string, now float64) {
			update(t, db, func(tx *Tx) (err error) {
				if err := errors.Join(tx.PutSampledContexts("production", all), tx.TrimSample("production", 3, bound, at.Add(-time.Hour))); err != nil {
					return err
				}
				kept, err := tx.SampledContexts("production")
				for _, c := range kept {
					ids = append(ids, fmt.Sprint(c.ID, " ", string(c.Body)))
				}
				if err == nil {
					now, err = tx.SampleBound("production")
				}
				return err
			})
			return ids, now
		}
		want := func(what string, ids []string, bound float64, wantBound float64, wantIDs ...string) {
			t.Helper()
			if !slices.Equal(ids, wantIDs) || bound != wantBound {
				t.Errorf("%s: %q below %g, want %q below %g", what, ids, bound, wantIDs, wantBound)
			}
		}
		row := func(id string, rank float64, seen time.Time, body string) SealedContext {
			return SealedContext{ID: id, Rank: rank, At: seen, Body: []byte(body)}
		}
		ids, bound := put(Unbounded, row("c", 3, at, "one"), row("a", 1, at, "one"), row("b", -2, at, "one"))
		want("a sample that is just full", ids, bound, Unbounded, "a one", "b one", "c one")
		ids, bound = put(Unbounded, row("d", 2, at, "one"), row("a", 0, at.Add(time.Second), "two"), row("b", 9, at.Add(-time.Second), "older"))
		want("one more, one anew, and one that is older", ids, bound, 3, "a two", "b one", "d one")
		ids, bound = put(Unbounded, row("e", 3.5, at, "one"), row("f", -5, at.Add(-2*time.Hour), "one"))
		want("one above the bound, and one of long ago", ids, bound, 3, "a two", "b one", "d one")
		ids, bound = put(1.5)
		want("another's bound", ids, bound, 1.5, "a two", "b one")
		update(t, db, func(tx *Tx) error { return tx.ForgetSample("production") })
		ids, bound = put(Unbounded, row("z", 100, at, "one"))
		want("a forgotten sample", ids, bound, Unbounded, "z one")
	})
}

func TestSketchesOfUnits(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, furnish())
		update(t, db, func(tx *Tx) error {
			return errors.Join(
				tx.PutUnitSketch("production", UnitSketch{Day: 1, Body: []byte("old")}), tx.NoteLevel("production", 1, 9),
				tx.PutUnitSketch("production", UnitSketch{Day: 5, Level: 1, Body: []byte("first")}),
				tx.PutUnitSketch("production", UnitSketch{Day: 5, Level: 1, Body: []byte("second")}),
				tx.NoteLevel("production", 5, 2), tx.NoteLevel("production", 5, 1), tx.ForgetUnits(2))
		})
		view(t, db, func(tx *Tx) error {
			all, level, err := tx.UnitSketches("production", 0)
			if len(all) != 1 || all[0].Day != 5 || all[0].Level != 1 || string(all[0].Body) != "second" || level != 2 {
				t.Errorf("%+v at level %d", all, level)
			}
			one, err2 := tx.UnitSketch("production", 5, 1)
			none, err3 := tx.UnitSketch("production", 5, 0)
			if string(one) != "second" || none != nil {
				t.Errorf("%q, %q", one, none)
			}
			return errors.Join(err, err2, err3)
		})
	})
}

func TestWhichFlagsAreUsed(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, furnish())
		var asked, want []string
		update(t, db, func(tx *Tx) error {
			for i := range 1200 {
				key := fmt.Sprintf("shop.flag.n%04d", i)
				asked = append(asked, key)
				last := at
				if i%2 == 0 {
					last = at.Add(-time.Hour)
				} else if i < 1100 {
					want = append(want, key)
				}
				if i < 1100 {
					for _, variant := range []string{"on", "off"} {
						if err := tx.AddUsage([]flyball.Usage{{Environment: "production", Flag: key, Variant: variant, N: 1, Last: last}}); err != nil {
							return err
						}
					}
				}
			}
			return nil
		})
		view(t, db, func(tx *Tx) error {
			used, err := tx.UsedSince("production", at.Add(-time.Minute), asked)
			none, err2 := tx.UsedSince("development", at.Add(-time.Minute), asked)
			nothing, err3 := tx.UsedSince("production", at.Add(-time.Minute), nil)
			if !slices.Equal(used, want) || len(none) > 0 || len(nothing) > 0 {
				t.Errorf("%d are used, want %d; %v, %v", len(used), len(want), none, nothing)
			}
			return errors.Join(err, err2, err3)
		})
	})
}
