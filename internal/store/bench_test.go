package store

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/pgtest"
)

// onBothBench runs a benchmark on a new database of each kind. The private
// PostgreSQL of tests does not sync to disk, so its figures are of the work
// alone; SQLite's hold the disk too.
func onBothBench(b *testing.B, bench func(b *testing.B, db *DB)) {
	b.Run("sqlite", func(b *testing.B) { bench(b, open(b, filepath.Join(b.TempDir(), "flyball.db"))) })
	b.Run("postgres", func(b *testing.B) { bench(b, open(b, pgtest.URL(b))) })
}

// One operation is one transaction of as many batches as the name says.
func BenchmarkAppendLog(b *testing.B) {
	const size = 50_000
	body := make([]byte, size)
	for i := range body {
		body[i] = byte('a' + i*i%26)
	}
	for _, batches := range []int{1, 20, 200} {
		b.Run(fmt.Sprint(batches), func(b *testing.B) {
			onBothBench(b, func(b *testing.B, db *DB) {
				b.SetBytes(int64(batches * size))
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					entries := make([]LogEntry, batches)
					for i := range entries {
						n++
						entries[i] = LogEntry{Kind: KindBatch, Environment: "production", ID: fmt.Sprintf("%036x", n*7919), At: at, Body: body}
					}
					update(b, db, func(tx *Tx) error { _, err := tx.AppendLog(entries); return err })
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "batches/s")
			})
		})
	}
}

func BenchmarkReadLog(b *testing.B) {
	onBothBench(b, func(b *testing.B, db *DB) {
		entries := make([]LogEntry, 200)
		for i := range entries {
			entries[i] = batch(fmt.Sprint(i), string(make([]byte, 50_000)))
		}
		appendLog(b, db, entries...)
		b.SetBytes(200 * 50_000)
		for b.Loop() {
			view(b, db, func(tx *Tx) error {
				got, err := tx.Log(0, 1000, 1<<30)
				if len(got) != 200 {
					b.Fatal(len(got))
				}
				return err
			})
		}
	})
}

// One change of a flag among a thousand: version, config, audit entry, log.
func BenchmarkChange(b *testing.B) {
	onBothBench(b, func(b *testing.B, db *DB) {
		keys := []string{"a.flag"}
		for i := range 1003 {
			keys = append(keys, fmt.Sprint("flag-", i))
		}
		update(b, db, furnish(keys...))
		b.ReportAllocs()
		for b.Loop() {
			update(b, db, func(tx *Tx) error { _, _, _, err := change(tx, "a.flag", "because"); return err })
		}
	})
}

// All that an environment serves, of a thousand flags.
func BenchmarkRuleset(b *testing.B) {
	onBothBench(b, func(b *testing.B, db *DB) {
		keys := []string{}
		for i := range 1004 {
			keys = append(keys, fmt.Sprint("flag-", i))
		}
		update(b, db, furnish(keys...))
		var rs flyball.Ruleset
		for b.Loop() {
			view(b, db, func(tx *Tx) (err error) { rs, err = tx.Ruleset("production"); return err })
		}
		if len(rs.Flags) != 1004 {
			b.Fatal(len(rs.Flags))
		}
	})
}
