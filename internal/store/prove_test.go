package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/chain"
	"github.com/pressly/goose/v3"
)

// aLog fills an audit log with entries of many kinds, odd texts among them.
func aLog(t testing.TB, db *DB, n int) {
	t.Helper()
	update(t, db, func(tx *Tx) error {
		for i := range n {
			e := flyball.AuditEntry{
				At: at.Add(time.Duration(i) * time.Second), Action: "flag.enable", Subject: fmt.Sprintf("a.flag-%d", i%7),
				Actor: flyball.Actor{ID: flyball.ActorID(fmt.Sprintf("user:u%d", i%5))}, Reason: fmt.Sprintf("because-%06d", i),
			}
			if i%3 == 0 {
				e.Environment, e.Version = "production", int64(i/3+1)
			}
			if i%11 == 0 {
				e.Subject, e.Actor.OnBehalfOf, e.Reason = `,"subject":"x" <b>&\ ü`, "user:ann", "\x00\u2028\xff"
			}
			e.Edits = []flyball.Edit{{Noun: "config", Key: e.Subject, Environment: "production", After: []byte(`{"enabled":true}`)}}
			if err := tx.AppendAudit(&e); err != nil {
				return err
			}
		}
		return nil
	})
}

// prove goes through the whole log, some entries at a time.
func prove(tx *Tx, page int) (w chain.Walk, broken *chain.Break, err error) {
	if w, err = tx.WalkAudit(0); err != nil {
		return w, nil, err
	}
	for more := true; more && broken == nil && err == nil; {
		more, broken, err = tx.ProveAudit(&w, page)
	}
	return w, broken, err
}

func TestAnUntouchedLogProvesItself(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		for _, page := range []int{1, 7, 50, 100} {
			view(t, db, func(tx *Tx) error {
				if w, b, err := prove(tx, page); err != nil || b != nil {
					t.Errorf("%+v: %v, %v", w, b, err)
				}
				return nil
			})
			if page == 1 {
				aLog(t, db, 100)
			}
		}
		view(t, db, func(tx *Tx) error {
			last, err := tx.Entry(100)
			if w, _, _ := prove(tx, 100); err != nil || w.Seq != 100 || w.Hash != last.Hash {
				t.Errorf("the walk ends at %+v, and the last entry is %+v, %v", w, last, err)
			}
			return nil
		})
	})
}

// allow lets a transaction do what the database refuses, as somebody does who
// has the database to himself.
func allow(tx *Tx) error {
	if tx.dialect.name == "postgres" {
		_, err := tx.exec(`ALTER TABLE audit DISABLE TRIGGER audit_append_only`)
		return err
	}
	for _, name := range []string{"audit_no_update", "audit_no_delete", "audit_no_replace"} {
		if _, err := tx.exec(`DROP TRIGGER ` + name); err != nil {
			return err
		}
	}
	return nil
}

// A tamperer does something to a log of n entries.
type tamperer struct {
	name string
	do   func(tx *Tx, r *rand.Rand, n int64) error
}

func run(tx *Tx, statements ...string) error {
	for _, s := range statements {
		if _, err := tx.exec(s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// rewriteFrom chains the log anew from an entry on, as one does who knows how.
func rewriteFrom(tx *Tx, seq int64) error {
	prev, err := tx.auditHash(seq - 1)
	if err != nil {
		return err
	}
	var rows []chain.Row
	if err := tx.EachAudit(seq-1, 1<<30, func(r chain.Row) bool { r.Body = bytes.Clone(r.Body); rows = append(rows, r); return true }); err != nil {
		return err
	}
	for _, r := range rows {
		text := string(r.Body)
		text = text[:strings.LastIndex(text, `,"prev":`)] + `,"prev":"` + prev + `"}`
		prev = chain.Sum([]byte(text))
		if _, err := tx.exec(`UPDATE audit SET body = $1, hash = $2 WHERE seq = $3`, text, prev, r.Seq); err != nil {
			return err
		}
	}
	return nil
}

func pick(r *rand.Rand, n int64) int64 { return 1 + r.Int64N(n) }

var tamperers = []tamperer{
	{"a byte of what an entry says", func(tx *Tx, r *rand.Rand, n int64) error {
		var body string
		seq := pick(r, n)
		if _, err := tx.one(`SELECT body FROM audit WHERE seq = $1`, []any{seq}, &body); err != nil {
			return err
		}
		i := r.IntN(len(body))
		c := byte('a' + r.IntN(26))
		if body[i] == c {
			c = '0'
		}
		_, err := tx.exec(`UPDATE audit SET body = $1 WHERE seq = $2`, body[:i]+string(c)+body[i+1:], seq)
		return err
	}},
	{"an entry with its hash", func(tx *Tx, r *rand.Rand, n int64) error {
		var body string
		seq := pick(r, n-1) // of the last one, only a checkpoint tells
		if _, err := tx.one(`SELECT body FROM audit WHERE seq = $1`, []any{seq}, &body); err != nil {
			return err
		}
		body = strings.Replace(body, `"action":"flag.enable"`, `"action":"flag.kill"`, 1)
		_, err := tx.exec(`UPDATE audit SET body = $1, hash = $2 WHERE seq = $3`, body, chain.Sum([]byte(body)), seq)
		return err
	}},
	{"a column", func(tx *Tx, r *rand.Rand, n int64) error {
		set := []string{`actor = 'user:eve'`, `subject = 'another.flag'`, `environment = 'staging'`, `at = at + 1`, `version = version + 100000`, `hash = 'x'`}
		_, err := tx.exec(`UPDATE audit SET `+set[r.IntN(len(set))]+` WHERE seq = $1`, pick(r, n))
		return err
	}},
	{"entries taken out", func(tx *Tx, r *rand.Rand, n int64) error {
		_, err := tx.exec(`DELETE FROM audit WHERE seq >= $1 AND seq < $2`, pick(r, n), pick(r, n)+1)
		if err == nil {
			_, err = tx.exec(`DELETE FROM audit WHERE seq = $1`, pick(r, n))
		}
		return err
	}},
	{"an entry taken out and the rest moved up", func(tx *Tx, r *rand.Rand, n int64) error {
		seq := pick(r, n-1)
		return run(tx, fmt.Sprintf(`DELETE FROM audit WHERE seq = %d`, seq),
			fmt.Sprintf(`UPDATE audit SET seq = -seq WHERE seq > %d`, seq), `UPDATE audit SET seq = -seq - 1 WHERE seq < 0`,
			`UPDATE counter SET value = value - 1 WHERE name = 'audit'`)
	}},
	{"two entries swapped", func(tx *Tx, r *rand.Rand, n int64) error {
		a := pick(r, n)
		b := pick(r, n)
		if a == b {
			a, b = 1, 2
		}
		return run(tx, fmt.Sprintf(`UPDATE audit SET seq = -1 WHERE seq = %d`, a),
			fmt.Sprintf(`UPDATE audit SET seq = %d WHERE seq = %d`, a, b), fmt.Sprintf(`UPDATE audit SET seq = %d WHERE seq = -1`, b))
	}},
	{"the end cut off", func(tx *Tx, r *rand.Rand, n int64) error {
		_, err := tx.exec(`DELETE FROM audit WHERE seq > $1`, r.Int64N(n))
		return err
	}},
	{"the end cut off, and its number with it", func(tx *Tx, r *rand.Rand, n int64) error {
		keep := r.Int64N(n)
		return run(tx, fmt.Sprintf(`DELETE FROM audit WHERE seq > %d`, keep), fmt.Sprintf(`UPDATE counter SET value = %d WHERE name = 'audit'`, keep))
	}},
	{"everything from an entry on written anew", func(tx *Tx, r *rand.Rand, n int64) error {
		seq := pick(r, n)
		if err := run(tx, fmt.Sprintf(`UPDATE audit SET body = REPLACE(body, '"action":"flag.enable"', '"action":"flag.kill"') WHERE seq = %d`, seq)); err != nil {
			return err
		}
		return rewriteFrom(tx, seq)
	}},
	{"an entry slipped in, and all after it written anew", func(tx *Tx, r *rand.Rand, n int64) error {
		seq := pick(r, n)
		return run(tx, fmt.Sprintf(`UPDATE audit SET seq = -seq WHERE seq >= %d`, seq), `UPDATE audit SET seq = -seq + 1 WHERE seq < 0`,
			fmt.Sprintf(`INSERT INTO audit (seq, at, environment, version, actor, subject, body, hash) SELECT %d, at, '', 0, actor, subject, body, hash FROM audit WHERE seq = %d`, seq, cmp.Or(n+1-seq, n)))
	}},
}

// errTakenBack takes a tampering back.
var errTakenBack = errors.New("undo")

func TestNoTamperingGoesUnseen(t *testing.T) {
	const entries = 60
	rounds := 1000
	if testing.Short() {
		rounds = 200
	}
	onBoth(t, func(t *testing.T, db *DB) {
		aLog(t, db, entries)
		var was chain.Checkpoint
		view(t, db, func(tx *Tx) error {
			w, b, err := prove(tx, entries)
			was = chain.Checkpoint{Seq: w.Seq, Hash: w.Hash, At: at}
			return errors.Join(err, asError(b))
		})
		seen := map[chain.Kind]int{}
		for i := range rounds {
			r := rand.New(rand.NewPCG(uint64(i), 13))
			how := tamperers[i%len(tamperers)]
			err := db.Update(t.Context(), func(tx *Tx) error {
				if err := errors.Join(allow(tx), how.do(tx, r, entries)); err != nil {
					return err
				}
				w, broken, err := prove(tx, 1+r.IntN(entries+5))
				if err != nil {
					return err
				}
				if broken == nil {
					broken = was.Agrees(w)
				}
				if broken == nil {
					t.Errorf("round %d: %s: not seen", i, how.name)
				} else {
					seen[broken.Kind]++
				}
				return errTakenBack
			})
			if !errors.Is(err, errTakenBack) {
				t.Fatalf("round %d: %s: %v", i, how.name, err)
			}
		}
		for _, kind := range []chain.Kind{chain.Edited, chain.Missing, chain.Reordered, chain.Truncated, chain.Rewritten} {
			if seen[kind] == 0 {
				t.Errorf("nothing was ever called %s: %v", kind, seen)
			}
		}
		view(t, db, func(tx *Tx) error {
			_, b, err := prove(tx, entries)
			return errors.Join(err, asError(b))
		})
	})
}

func asError(b *chain.Break) error {
	if b == nil {
		return nil
	}
	return b
}

// Somebody edits the file itself, past the database.
func TestAnEditedFileIsSeen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "flyball.db")
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	aLog(t, db, 60)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		seq := []int{1, 17, 30, 59}[i%4] // of which the reason is plain
		reason := fmt.Appendf(nil, `"reason":"because-%06d"`, seq)
		other := bytes.Clone(reason)
		other[len(`"reason":"`)+i%14] ^= 1
		edited := bytes.ReplaceAll(whole, reason, other) // a database leaves old copies behind
		if bytes.Equal(edited, whole) {
			t.Fatalf("the reason of entry %d is not in the file", seq+1)
		}
		copied := filepath.Join(t.TempDir(), "flyball.db")
		if err := os.WriteFile(copied, edited, fs.FileMode(0o600)); err != nil {
			t.Fatal(err)
		}
		view(t, open(t, copied), func(tx *Tx) error {
			_, b, err := prove(tx, 100)
			if b == nil || b.Seq != int64(seq+1) || b.Kind != chain.Edited {
				t.Errorf("entry %d was edited, and it says %v", seq+1, b)
			}
			return err
		})
	}
}

func TestOlderLogsAreChained(t *testing.T) {
	atBoth(t, func(t *testing.T, url string) {
		if strings.HasPrefix(url, "postgres") {
			url = emptyPostgres(t)
		}
		d, where, err := dialectOf(url)
		if err != nil {
			t.Fatal(err)
		}
		db := &DB{dialect: d, url: where}
		if db.write, db.read, err = d.open(where); err != nil {
			t.Fatal(err)
		}
		steps, err := d.migrations()
		if err != nil {
			t.Fatal(err)
		}
		provider, err := goose.NewProvider(d.goose, db.write, nil, goose.WithGoMigrations(steps...), goose.WithDisableGlobalRegistry(true), goose.WithTableName("migration"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := provider.UpTo(t.Context(), 12); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			e := flyball.AuditEntry{Seq: int64(i + 1), At: at, Action: "flag.enable", Subject: "a.flag", Actor: flyball.Actor{ID: "user:ann"}, Reason: "before there was a chain",
				Edits: []flyball.Edit{{Noun: "config", Key: "a.flag", Environment: "production"}}}
			body, err := encode(e)
			if err == nil {
				_, err = db.write.Exec(`INSERT INTO audit (seq, at, environment, version, actor, subject, body) VALUES ($1, $2, '', 0, 'user:ann', 'a.flag', $3)`, e.Seq, micros(e.At), body)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := db.write.Exec(`UPDATE counter SET value = 5 WHERE name = 'audit'`); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.read.Close(), db.write.Close()); err != nil {
			t.Fatal(err)
		}
		now := open(t, url)
		aLog(t, now, 5)
		view(t, now, func(tx *Tx) error {
			w, b, err := prove(tx, 100)
			if b != nil || w.Seq != 10 {
				t.Errorf("%+v: %v", w, b)
			}
			found, err2 := tx.Edited("config", "production", "a.flag", 3)
			if found == nil || found.Seq != 3 {
				t.Errorf("the edit is found in %+v", found)
			}
			return errors.Join(err, err2)
		})
		if err := now.Update(t.Context(), func(tx *Tx) error { return run(tx, `UPDATE audit SET actor = 'user:eve'`) }); err == nil {
			t.Error("the log can be edited afterwards")
		}
	})
}

// BenchmarkProveAudit measures the proof of a log of a million entries; of a
// tenth of that, unless it is night.
func BenchmarkProveAudit(b *testing.B) {
	entries := 100_000
	if nightly() {
		entries = 1_000_000
	}
	db := open(b, filepath.Join(b.TempDir(), "flyball.db"))
	for range entries / 10_000 {
		fill(b, db, 10_000)
	}
	before := processorTime(b)
	for b.Loop() {
		view(b, db, func(tx *Tx) error {
			w, broken, err := prove(tx, 10_000)
			if w.Seq != int64(entries) {
				b.Errorf("it ends at %d", w.Seq)
			}
			return errors.Join(err, asError(broken))
		})
	}
	millions := float64(entries) * float64(b.N) / 1e6
	b.ReportMetric(b.Elapsed().Seconds()/millions, "s/million")
	b.ReportMetric((processorTime(b)-before).Seconds()/millions, "cpu-s/million")
}

// processorTime is what the process has used until now.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fill appends changes of the usual size.
func fill(b *testing.B, db *DB, n int) {
	b.Helper()
	update(b, db, func(tx *Tx) error {
		for range n {
			e := flyball.AuditEntry{
				At: at, Actor: flyball.Actor{ID: "user:ann", Token: "0123456789ab"}, Action: "flag.enable", Subject: "payments.checkout.new-flow",
				Environment: "production", Reason: "ready to ship", Request: "0123456789abcdef",
				Edits:      []flyball.Edit{{Noun: "config", Key: "payments.checkout.new-flow", Environment: "production", Before: config, After: config}},
				BeforeHash: strings.Repeat("0", 64), AfterHash: strings.Repeat("1", 64),
			}
			if err := tx.AppendAudit(&e); err != nil {
				return err
			}
		}
		return nil
	})
}

var config = []byte(`{"flag":"payments.checkout.new-flow","enabled":true,"offVariant":"off","seed":"payments.checkout.new-flow","hashVersion":2,"default":{"variant":"on"}}`)
