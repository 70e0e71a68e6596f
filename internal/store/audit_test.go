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
			{Subject: "a.flag", Environment: "production", Version: 1, Actor: flyball.Actor{ID: "user:ann"}},
			{Subject: "payments-team", Actor: flyball.Actor{ID: "user:bob"}},
			{Subject: "b.flag", Environment: "production", Version: 2, Actor: flyball.Actor{ID: "user:ann"}},
			{Subject: "a.flag", Environment: "development", Version: 1, Actor: flyball.Actor{ID: "user:bob"}},
			{Subject: "other-team", Actor: flyball.Actor{ID: "user:bob"}},
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
				{AuditFilter{Actor: "user:bob", Limit: 2}, []int64{5, 4}},
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
				`INSERT INTO audit SELECT * FROM audit ON CONFLICT (seq) DO UPDATE SET body = '{}'`)
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
