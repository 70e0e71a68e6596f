package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/google/go-cmp/cmp"
)

func batch(id string, body string) LogEntry {
	return LogEntry{Kind: KindBatch, Environment: "production", ID: id, At: at, Body: []byte(body)}
}

func appendLog(t testing.TB, db *DB, entries ...LogEntry) (seqs []int64) {
	t.Helper()
	update(t, db, func(tx *Tx) (err error) {
		seqs, err = tx.AppendLog(entries)
		return err
	})
	return seqs
}

func TestALogEntryIsStoredOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		elsewhere, rollout, zero := batch("b1", "2"), batch("b1", "3"), batch("z\x00ro\xff", "\x00\xff")
		elsewhere.Environment, rollout.Kind = "development", KindRollout
		for _, step := range []struct {
			entries []LogEntry
			want    []int64
		}{
			{nil, []int64{}},
			{[]LogEntry{batch("b1", "1")}, []int64{1}},
			{[]LogEntry{batch("b1", "changed")}, []int64{0}},
			{[]LogEntry{batch("b1", ""), elsewhere, rollout}, []int64{0, 2, 3}},
			{[]LogEntry{batch("b2", "4"), batch("b1", ""), batch("b2", "again"), batch("b3", "5")}, []int64{4, 0, 0, 5}},
			{[]LogEntry{zero, zero}, []int64{6, 0}},
		} {
			if got := appendLog(t, db, step.entries...); !slices.Equal(got, step.want) {
				t.Errorf("appended %+v as %v, want %v", step.entries, got, step.want)
			}
		}
		want := []LogEntry{batch("b1", "1"), elsewhere, rollout, batch("b2", "4"), batch("b3", "5"), batch("z\uFFFDro\uFFFD", "\x00\xff")}
		for i := range want {
			want[i].Seq = int64(i) + 1
		}
		view(t, db, func(tx *Tx) error {
			got, err := tx.Log(0, 100, 1<<20)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			return err
		})
	})
}

func TestTheLogIsReadInBounds(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		var entries []LogEntry
		for i := range 700 { // more than one statement holds
			entries = append(entries, batch(fmt.Sprint(i), fmt.Sprintf("%010d", i)))
		}
		entries[650].Body = bytes.Repeat([]byte("x"), 1<<20)
		for i, seq := range appendLog(t, db, entries...) {
			if seq != int64(i)+1 {
				t.Fatalf("entry %d got number %d", i, seq)
			}
		}
		for _, tt := range []struct {
			after           int64
			limit, maxBytes int
			from, to        int64
		}{
			{0, 700, 1 << 30, 1, 700},
			{0, 3, 1 << 20, 1, 3},
			{10, 100, 35, 11, 13},
			{10, 100, 1, 11, 11},      // one at least
			{640, 100, 200, 641, 650}, // stops before the large one
			{650, 100, 200, 651, 651}, // which comes alone
			{700, 100, 200, 701, 700}, // there is no more
		} {
			view(t, db, func(tx *Tx) error {
				got, err := tx.Log(tt.after, tt.limit, tt.maxBytes)
				if int64(len(got)) != tt.to-tt.from+1 {
					t.Fatalf("%+v: got %d entries", tt, len(got))
				}
				for i, e := range got {
					if e.Seq != tt.from+int64(i) || !bytes.Equal(e.Body, entries[e.Seq-1].Body) {
						t.Errorf("%+v: entry %d is %d", tt, i, e.Seq)
					}
				}
				return err
			})
		}
	})
}

func TestATrimmedEntryIsStillKnown(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		early, late := batch("early", "e"), batch("late", "l")
		late.At = at.Add(DedupWindow)
		if got := appendLog(t, db, early, late); !slices.Equal(got, []int64{1, 2}) {
			t.Fatal(got)
		}
		trim := func(upto int64, now time.Time, left ...int64) {
			t.Helper()
			update(t, db, func(tx *Tx) error {
				more, err := tx.TrimLog(upto, now)
				if more {
					t.Error("a small log needs a second trim")
				}
				entries, err2 := tx.Log(0, 10, 100)
				var seqs []int64
				for _, e := range entries {
					seqs = append(seqs, e.Seq)
				}
				if !slices.Equal(seqs, left) {
					t.Errorf("entries %v left, want %v", seqs, left)
				}
				return errors.Join(err, err2)
			})
		}
		trim(0, at.Add(3*DedupWindow), 1, 2) // no entry is forgotten, so no id is, however old
		if got := appendLog(t, db, early, late); !slices.Equal(got, []int64{0, 0}) {
			t.Errorf("got %v: an entry in the log was stored again", got)
		}
		trim(1, at.Add(DedupWindow), 2)
		if got := appendLog(t, db, early, late); !slices.Equal(got, []int64{0, 0}) {
			t.Errorf("got %v: an id was forgotten within the window", got)
		}
		trim(2, at.Add(DedupWindow+time.Microsecond))
		if got := appendLog(t, db, late, early); !slices.Equal(got, []int64{0, 3}) {
			t.Errorf("got %v, want the early id free again and numbers that go on", got)
		}
	})
}

func TestALongLogIsTrimmedInParts(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		var entries []LogEntry
		for i := range trimEntries + 10 {
			entries = append(entries, batch(fmt.Sprint(i), "x"))
		}
		appendLog(t, db, entries...)
		upto := int64(len(entries) - 3)
		for call, want := range []int{10, 3, 3} {
			update(t, db, func(tx *Tx) error {
				more, err := tx.TrimLog(upto, at)
				left, err2 := tx.Log(0, 1000, 1<<20)
				if len(left) != want || more != (call == 0) {
					t.Errorf("call %d: %d left, more %v; want %d", call, len(left), more, want)
				}
				return errors.Join(err, err2)
			})
		}
	})
}

func TestCheckpoints(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, func(tx *Tx) error {
			_, _, found, err := tx.Checkpoint("judge")
			if found {
				t.Error("found a checkpoint before any was saved")
			}
			return errors.Join(err, tx.SaveCheckpoint("judge", 1, []byte("old")), tx.SaveCheckpoint("judge", 7, []byte{0, 1, 255}))
		})
		view(t, db, func(tx *Tx) error {
			seq, state, found, err := tx.Checkpoint("judge")
			if seq != 7 || !bytes.Equal(state, []byte{0, 1, 255}) || !found {
				t.Errorf("got %d, %v, %v", seq, state, found)
			}
			return err
		})
	})
}

func TestTimesKeepTheirMicroseconds(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		for i, want := range []time.Time{
			at, at.Add(time.Microsecond), time.UnixMicro(0).UTC(), time.UnixMicro(-1).UTC(), {},
			time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC),
			time.Date(2026, 11, 1, 1, 30, 0, 1000, time.FixedZone("EST", -5*3600)),
		} {
			key := fmt.Sprint("flag-", i)
			e := batch(key, "")
			e.At = want
			appendLog(t, db, e)
			update(t, db, func(tx *Tx) error {
				return errors.Join(tx.InsertFlag(aFlag(key), "user:ann", want.Add(999)), tx.ArchiveFlag(key, "user:ann", "", want),
					tx.AppendAudit(&flyball.AuditEntry{At: want.Add(999), Subject: key}))
			})
			view(t, db, func(tx *Tx) error {
				f, err := tx.Flag(key)
				entries, err2 := tx.Log(int64(i), 1, 1)
				audit, err3 := tx.Audit(AuditFilter{Subject: key})
				for where, got := range map[string]time.Time{"created": f.CreatedAt, "archived": *f.ArchivedAt, "log": entries[0].At, "audit": audit[0].At} {
					if !got.Equal(want) || got.Location() != time.UTC {
						t.Errorf("%s: %v came back as %v", where, want, got)
					}
				}
				return errors.Join(err, err2, err3)
			})
		}
	})
}
