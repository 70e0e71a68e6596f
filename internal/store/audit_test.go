package store

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/google/go-cmp/cmp"
)

func TestAuditEntriesAreFoundInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		entries := []flyball.AuditEntry{
			{Action: "flag.enable", Subject: "a.flag", Environment: "production", Version: 1, Actor: flyball.Actor{ID: "user:ann"}},
			{Action: "team.create", Subject: "payments-team", Actor: flyball.Actor{ID: "user:bob"}},
			{Action: "flag.kill", Subject: "b.flag", Environment: "production", Version: 2, Actor: flyball.Actor{ID: "user:ann"}},
			{Action: "flag.enable", Subject: "a.flag", Environment: "development", Version: 1, Actor: flyball.Actor{ID: `user:"action":"flag.kill"`}},
			{Action: "team.update", Subject: "other-team", Actor: flyball.Actor{ID: "user:bob"}},
		}
		update(t, db, func(tx *Tx) error {
			for i := range entries {
				entries[i].At = at.Add(time.Duration(i)*time.Second + 7).In(time.FixedZone("", 3600))
				entries[i].Reason = "because"
				entries[i].Evidence = json.RawMessage(`{"e":12}`)
				if err := tx.AppendAudit(&entries[i]); err != nil {
					return err
				}
			}
			twice := entries[2]
			wantCode(t, tx.AppendAudit(&twice), flyball.Conflict)
			return nil
		})
		view(t, db, func(tx *Tx) error {
			for _, tt := range []struct {
				which AuditFilter
				want  []int64
			}{
				{AuditFilter{}, []int64{5, 4, 3, 2, 1}},
				{AuditFilter{OldestFirst: true, Limit: 2}, []int64{1, 2}},
				{AuditFilter{AfterSeq: 3, OldestFirst: true}, []int64{4, 5}},
				{AuditFilter{BeforeSeq: 3}, []int64{2, 1}},
				{AuditFilter{Environment: "production"}, []int64{3, 1}},
				{AuditFilter{Subject: "a.flag"}, []int64{4, 1}},
				{AuditFilter{Actor: "user:bob", Limit: 2}, []int64{5, 2}},
				{AuditFilter{Action: "flag.kill"}, []int64{3}},
				{AuditFilter{Action: "flag.*"}, []int64{4, 3, 1}},
				{AuditFilter{Action: "flag.*", Limit: 2}, []int64{4, 3}},
				{AuditFilter{Action: "*.*", OldestFirst: true, AfterSeq: 1, Limit: 3}, []int64{2, 3, 4}},
				{AuditFilter{Action: "team.?reate", Actor: "user:bob", BeforeSeq: 5}, []int64{2}},
				{AuditFilter{Action: "flag.e*", Environment: "production", From: at, To: at.Add(time.Minute)}, []int64{1}},
				{AuditFilter{Action: "flag"}, nil},
				{AuditFilter{Action: "' OR 1=1 --"}, nil},
			} {
				found, err := tx.Audit(tt.which)
				if err != nil {
					return err
				}
				var seqs []int64
				for _, e := range found {
					seqs = append(seqs, e.Seq)
					if diff := cmp.Diff(entries[e.Seq-1], e); diff != "" {
						t.Error(diff)
					}
				}
				if !slices.Equal(seqs, tt.want) {
					t.Errorf("%+v: got %v, want %v", tt.which, seqs, tt.want)
				}
			}
			for after, want := range [][]flyball.AuditEntry{{entries[0], entries[2]}, {entries[2]}, {}} {
				found, err := tx.Versions("production", int64(after))
				if diff := cmp.Diff(want, found); diff != "" || err != nil {
					t.Errorf("versions after %d: %v %s", after, err, diff)
				}
			}
			return nil
		})
	})
}

func TestTheAuditLogRefusesToForget(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, furnish("a.flag"))
		update(t, db, func(tx *Tx) error { _, _, _, err := change(tx, "a.flag", "because"); return err })
		attacks := []string{`UPDATE audit SET body = '{}'`, `UPDATE audit SET actor = 'user:eve' WHERE seq = 1`, `DELETE FROM audit`}
		if db.Kind() == "postgres" {
			attacks = append(attacks, `TRUNCATE audit CASCADE`, `SET session_replication_role = replica; DELETE FROM audit`,
				`INSERT INTO audit (seq, at, environment, version, actor, subject, body, hash) SELECT seq, at, environment, version, actor, subject, body, hash FROM audit ON CONFLICT (seq) DO UPDATE SET body = '{}'`)
		} else {
			attacks = append(attacks, `REPLACE INTO audit SELECT seq, at, environment, version, actor, subject, '{}', '' FROM audit`,
				`REPLACE INTO audit SELECT seq + 1, at, environment, version, actor, subject, '{}', '' FROM audit`,
				`UPDATE OR REPLACE audit SET seq = 9`)
		}
		for _, attack := range attacks {
			if err := db.Update(t.Context(), func(tx *Tx) error { _, err := tx.exec(attack); return err }); err == nil || !strings.Contains(err.Error(), "append-only") {
				t.Errorf("%s: was allowed, or refused for another reason: %v", attack, err)
			}
		}
		wantWhole(t, db, 1)
	})
}

// Of a long log a rare action is found by its index, and of a frequent one no
// more is read than is wanted.
func TestActionsAreFoundByTheirIndex(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, func(tx *Tx) error {
			for i := range 300 {
				e := flyball.AuditEntry{Action: "rollout.advance", Subject: "a.flag", Actor: flyball.Actor{ID: "user:ann"}, At: at}
				if i == 7 {
					e.Action = "flag.kill"
				}
				if err := tx.AppendAudit(&e); err != nil {
					return err
				}
			}
			return nil
		})
		view(t, db, func(tx *Tx) error {
			if db.Kind() == "postgres" {
				if _, err := tx.exec(`SET LOCAL enable_seqscan = off`); err != nil { // as in a log of a million
					return err
				}
			}
			var f filter
			f.and(`seq > $`, int64(0))
			some, err := tx.ofActions(&f, "flag.*", ` ORDER BY seq DESC LIMIT 5`)
			if err != nil {
				return err
			}
			explain := map[string]string{"sqlite": `EXPLAIN QUERY PLAN `, "postgres": `EXPLAIN `}[db.Kind()]
			plan, err := list(tx, func(scan func(...any) error) (line string, err error) {
				if db.Kind() == "postgres" {
					return line, scan(&line)
				}
				var a, b, c int
				return line, scan(&a, &b, &c, &line)
			}, explain+some, f.args...)
			if all := strings.Join(plan, "\n"); !strings.Contains(all, "audit_action") || strings.Contains(strings.ToUpper(all), "SCAN AUDIT\n") {
				t.Errorf("the plan is\n%s", all)
			}
			return err
		})
	})
}
