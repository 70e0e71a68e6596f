package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/google/go-cmp/cmp"
)

func aWebhook(key string) WebhookRecord {
	return WebhookRecord{
		Webhook: flyball.Webhook{Key: key, Kind: flyball.WebhookGeneric, Flags: []string{"payments.*"}},
		Host:    "example.com", Signed: true, Aimed: 1, Target: []byte{0, 255, '\'', 0},
	}
}

// entries appends so many audit entries.
func entries(n int) func(*Tx) error {
	return func(tx *Tx) error {
		for range n {
			e := flyball.AuditEntry{At: at, Actor: flyball.Actor{ID: "user:ann"}, Action: "team.update", Subject: "t", Reason: "a test"}
			if err := tx.AppendAudit(&e); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestWebhooks(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := aWebhook("ops")
		update(t, db, func(tx *Tx) error { return errors.Join(tx.PutWebhook(w), tx.PutWebhook(aWebhook("a-first"))) })
		update(t, db, func(tx *Tx) error {
			told := wantCode(t, tx.PutWebhook(w), flyball.Conflict) // it is there already
			if told.Details["version"] != int64(1) {
				t.Errorf("the conflict tells %v", told.Details)
			}
			w.Revision, w.Description, w.Target, w.Aimed = 1, "mended", []byte("new"), 2
			err := tx.PutWebhook(w)
			w.Revision = 1
			wantCode(t, tx.PutWebhook(w), flyball.Conflict)
			missing := aWebhook("nobody")
			missing.Revision = 3
			wantCode(t, tx.PutWebhook(missing), flyball.NotFound)
			return err
		})
		view(t, db, func(tx *Tx) error {
			got, err := tx.Webhook("ops")
			w.Revision = 2
			if diff := cmp.Diff(w, got); diff != "" {
				t.Error(diff)
			}
			all, err2 := tx.Webhooks()
			if len(all) != 2 || all[0].Key != "a-first" {
				t.Errorf("listed %+v", all)
			}
			_, err3 := tx.Webhook("nobody")
			wantCode(t, err3, flyball.NotFound)
			return errors.Join(err, err2)
		})
		update(t, db, func(tx *Tx) error {
			w.WebhookHealth = WebhookHealth{Failures: 3, Rest: at}
			err := tx.PutWebhookHealth("ops", w.WebhookHealth)
			got, err2 := tx.Webhook("ops")
			if diff := cmp.Diff(w, got); diff != "" {
				t.Error(diff)
			}
			return errors.Join(err, err2)
		})
		update(t, db, entries(1))
		update(t, db, func(tx *Tx) error {
			err := errors.Join(tx.QueueDelivery("ops", 1, at), tx.DeleteWebhook("ops"))
			wantCode(t, tx.DeleteWebhook("ops"), flyball.NotFound)
			left, err2 := tx.Deliveries(DeliveryFilter{})
			if len(left) != 0 {
				t.Errorf("deliveries of a webhook that is gone: %+v", left)
			}
			return errors.Join(err, err2, tx.PutDelivery(flyball.Delivery{Webhook: "ops", Seq: 1, At: at})) // comes too late, and is no fault
		})
	})
}

func TestDeliveries(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, func(tx *Tx) error { return errors.Join(tx.PutWebhook(aWebhook("ops")), tx.PutWebhook(aWebhook("dev"))) })
		update(t, db, entries(5))
		update(t, db, func(tx *Tx) error {
			var errs []error
			for seq := range int64(5) {
				errs = append(errs, tx.QueueDelivery("ops", seq+1, at.Add(time.Duration(seq)*time.Minute)))
			}
			return errors.Join(append(errs, tx.QueueDelivery("dev", 2, at), tx.QueueDelivery("ops", 1, at.Add(time.Hour)))...) // the last is there already
		})
		failed := flyball.Delivery{
			Webhook: "ops", Seq: 1, State: flyball.DeliveryPending, Attempts: 3, Due: &flyball.Time{Time: at.Add(time.Hour)},
			Status: 500, Error: "answered \x00 500", Queued: at, At: at.Add(time.Minute),
		}
		update(t, db, func(tx *Tx) error { return tx.PutDelivery(failed) })
		failed.Error = "answered \uFFFD 500"
		seqs := func(which DeliveryFilter) (found []int64) {
			view(t, db, func(tx *Tx) error {
				all, err := tx.Deliveries(which)
				for _, d := range all {
					found = append(found, d.Seq)
				}
				return err
			})
			return found
		}
		view(t, db, func(tx *Tx) error {
			all, err := tx.Deliveries(DeliveryFilter{Webhook: "ops", Seq: 1})
			if diff := cmp.Diff([]flyball.Delivery{failed}, all); diff != "" {
				t.Error(diff)
			}
			return err
		})
		for what, tt := range map[string]struct {
			which DeliveryFilter
			want  []int64
		}{
			"all":    {DeliveryFilter{}, []int64{5, 4, 3, 2, 2, 1}},
			"oldest": {DeliveryFilter{Webhook: "ops", OldestFirst: true, Limit: 2}, []int64{1, 2}},
			"due":    {DeliveryFilter{Webhook: "ops", State: flyball.DeliveryPending, DueBy: at.Add(2 * time.Minute), OldestFirst: true}, []int64{2, 3}},
			"dead":   {DeliveryFilter{State: flyball.DeliveryDead}, nil},
		} {
			if got := seqs(tt.which); !slices.Equal(got, tt.want) {
				t.Errorf("%s: got %v, want %v", what, got, tt.want)
			}
		}
		update(t, db, func(tx *Tx) error { return tx.HurryDeliveries("ops", at.Add(time.Minute)) })
		if got := seqs(DeliveryFilter{Webhook: "ops", DueBy: at.Add(time.Minute)}); !slices.Equal(got, []int64{5, 4, 3, 2, 1}) {
			t.Errorf("after hurrying, %v are due", got)
		}
		view(t, db, func(tx *Tx) error {
			due, err := tx.DueWebhooks(at.Add(time.Minute))
			none, err2 := tx.DueWebhooks(at.Add(-time.Minute))
			if !slices.Equal(due, []string{"dev", "ops"}) || len(none) != 0 {
				t.Errorf("due are %v, and a minute before %v", due, none)
			}
			return errors.Join(err, err2)
		})
		update(t, db, func(tx *Tx) error {
			err := tx.PutWebhookHealth("ops", WebhookHealth{Failures: 1, Rest: at.Add(time.Hour)})
			due, err2 := tx.DueWebhooks(at.Add(time.Minute))
			if !slices.Equal(due, []string{"dev"}) {
				t.Errorf("due are %v while ops is left alone", due)
			}
			return errors.Join(err, err2)
		})
		// The oldest is too old, and of the four that are left two are too many.
		update(t, db, func(tx *Tx) error {
			return tx.ExpireDeliveries("ops", at.Add(time.Second), at.Add(time.Hour), 2, "too old")
		})
		if got := seqs(DeliveryFilter{Webhook: "ops", State: flyball.DeliveryDead}); !slices.Equal(got, []int64{3, 2, 1}) {
			t.Errorf("given up are %v", got)
		}
		view(t, db, func(tx *Tx) error {
			dead, err := tx.Deliveries(DeliveryFilter{State: flyball.DeliveryDead, OldestFirst: true})
			if dead[0].Error != failed.Error || dead[1].Error != "too old" || !dead[1].At.Equal(at.Add(time.Hour)) || dead[1].Due != nil {
				t.Errorf("given up: %+v", dead)
			}
			counts, err2 := tx.CountDeliveries()
			want := []DeliveryCount{{"dev", "pending", 1}, {"ops", "dead", 3}, {"ops", "pending", 2}}
			if diff := cmp.Diff(want, counts); diff != "" {
				t.Error(diff)
			}
			return errors.Join(err, err2)
		})
		update(t, db, func(tx *Tx) error { return tx.ForgetDeliveries("ops", flyball.DeliveryDead, at, 2) })
		if got := seqs(DeliveryFilter{State: flyball.DeliveryDead}); !slices.Equal(got, []int64{3, 2}) {
			t.Errorf("of the dead are left %v", got)
		}
		update(t, db, func(tx *Tx) error { return tx.ForgetDeliveries("ops", flyball.DeliveryDead, at.Add(2*time.Hour), 2) })
		if got := seqs(DeliveryFilter{}); !slices.Equal(got, []int64{5, 4, 2}) {
			t.Errorf("left are %v", got)
		}
	})
}

func TestUpToWhereDeliveriesAreQueued(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, entries(3))
		update(t, db, func(tx *Tx) error {
			first, err := tx.Told()
			last, err2 := tx.LastAudit()
			err3 := tx.SetTold(last)
			then, err4 := tx.Told()
			if first != 0 || last != 3 || then != 3 {
				t.Errorf("told %d, then %d of %d", first, then, last)
			}
			return errors.Join(err, err2, err3, err4)
		})
	})
}

func TestASealKeepsSecrets(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "new", "data")
	seal, err := NewSeal("", folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); err == nil {
		t.Error("a seal that nobody used left something behind")
	}
	secret := []byte("https://hooks.slack.com/services/T/B/hush")
	sealed, err := seal.Seal(secret, "webhook ops")
	if err != nil {
		t.Fatal(err)
	}
	again, _ := seal.Seal(secret, "webhook ops")
	if bytes.Contains(sealed, []byte("hush")) || bytes.Equal(sealed, again) {
		t.Error("what is sealed can be told")
	}
	info, err := os.Stat(filepath.Join(folder, KeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the key's file: %v, %v", info, err)
	}
	other, _ := NewSeal("", folder) // as after a restart
	if got, err := other.Open(sealed, "webhook ops"); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("got %q, %v", got, err)
	}
	key, _ := os.ReadFile(filepath.Join(folder, KeyFile))
	given, err := NewSeal(string(key), "")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := given.Open(sealed, "webhook ops"); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("with the same key as a setting: %q, %v", got, err)
	}
	stranger, _ := NewSeal("", t.TempDir())
	stranger.Seal(secret, "x")
	empty, _ := NewSeal("", t.TempDir())
	spoilt := bytes.Clone(sealed)
	spoilt[len(spoilt)-1] ^= 1
	for what, open := range map[string]func() ([]byte, error){
		"another key":   func() ([]byte, error) { return stranger.Open(sealed, "webhook ops") },
		"no key":        func() ([]byte, error) { return empty.Open(sealed, "webhook ops") },
		"another place": func() ([]byte, error) { return seal.Open(sealed, "webhook dev") },
		"spoilt":        func() ([]byte, error) { return seal.Open(spoilt, "webhook ops") },
		"nothing":       func() ([]byte, error) { return seal.Open(nil, "webhook ops") },
	} {
		if _, err := open(); err == nil || !strings.Contains(err.Error(), "FLYBALL_SECRET_KEY") || flyball.CodeOf(err) != flyball.Unavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, bad := range []string{"x", "c2hvcnQ=", strings.Repeat("A", 100)} {
		_, err := NewSeal(bad, "")
		if told := wantCode(t, err, flyball.Invalid); strings.Contains(told.Error(), bad+" ") || told.Field != "secretKey" {
			t.Errorf("%q: %v", bad, told)
		}
	}
}

// Two servers that start at once on one folder end with one key.
func TestOneKeyIsMadeHoweverManyMakeIt(t *testing.T) {
	folder := t.TempDir()
	var wg sync.WaitGroup
	seals, sealed := make([]*Seal, 16), make([][]byte, 16)
	for i := range seals {
		seals[i], _ = NewSeal("", folder)
		wg.Go(func() { sealed[i], _ = seals[i].Seal([]byte("s"), "x") })
	}
	wg.Wait()
	for i := range seals {
		if _, err := seals[i].Open(sealed[(i+1)%len(seals)], "x"); err != nil {
			t.Fatal(err)
		}
	}
	if files, _ := os.ReadDir(folder); len(files) != 1 {
		t.Errorf("%d files are left", len(files))
	}
}
