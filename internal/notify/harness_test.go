package notify

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/pgtest"
	"github.com/flyballdev/flyball/internal/store"
)

const hush = "hush-hush-hush-hush"

var migrated = pgtest.Template{Prepare: func(url string) error {
	db, err := store.Open(context.Background(), url)
	if err != nil {
		return err
	}
	return db.Close()
}}

// A log is an installation with an audit log, on a real database.
type log struct {
	t    *testing.T
	url  string
	db   *store.DB
	seal *store.Seal

	mu       sync.Mutex
	failures []string
}

// onBoth runs a test on a new database of each kind.
func onBoth(t *testing.T, test func(t *testing.T, l *log)) {
	t.Parallel()
	for name, url := range map[string]func() string{
		"sqlite": func() string { return filepath.Join(t.TempDir(), "flyball.db") }, "postgres": func() string { return migrated.URL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, openLog(t, url()))
		})
	}
}

func openLog(t *testing.T, url string) *log {
	t.Helper()
	db, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &log{t: t, url: url, db: db, seal: aSeal(t)}
}

func aSeal(t testing.TB) *store.Seal {
	t.Helper()
	seal, err := store.NewSeal(base64.StdEncoding.EncodeToString(make([]byte, 32)), "")
	if err != nil {
		t.Fatal(err)
	}
	return seal
}

func (l *log) update(f func(*store.Tx) error) {
	l.t.Helper()
	if err := l.db.Update(l.t.Context(), f); err != nil {
		l.t.Fatal(err)
	}
}

// webhook makes a webhook that is told of everything.
func (l *log) webhook(key, url string, alter func(*flyball.Webhook)) {
	l.t.Helper()
	w := store.WebhookRecord{Webhook: flyball.Webhook{Key: key, Kind: flyball.WebhookGeneric}, Signed: true, Aimed: 1}
	if alter != nil {
		alter(&w.Webhook)
	}
	to := flyball.WebhookTarget{URL: url, Secret: hush}
	if w.Kind == flyball.WebhookSlack {
		to.Secret = ""
	}
	body, err := json.Marshal(to)
	if err != nil {
		l.t.Fatal(err)
	}
	if w.Target, err = l.seal.Seal(body, w.Place()); err != nil {
		l.t.Fatal(err)
	}
	l.update(func(tx *store.Tx) error { return tx.PutWebhook(w) })
}

// happen appends a kill to the audit log for each reason.
func (l *log) happen(reasons ...string) {
	l.t.Helper()
	l.update(func(tx *store.Tx) error {
		last, err := tx.LastAudit()
		for i, reason := range reasons {
			if err != nil {
				return err
			}
			e := aKill(reason)
			e.Version = last + int64(i) + 1
			err = tx.AppendAudit(&e)
		}
		return err
	})
}

func aKill(reason string) flyball.AuditEntry {
	return flyball.AuditEntry{
		At: time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC), Actor: flyball.Actor{ID: "agent:release-bot", OnBehalfOf: "user:ann"},
		Action: "flag.kill", Subject: "payments.checkout.new-flow", Environment: "production", Version: 7, Reason: reason,
		Edits: []flyball.Edit{{Noun: "config", Key: "payments.checkout.new-flow", Environment: "production", Before: json.RawMessage(`{"flag":"x"}`), After: json.RawMessage(`{"flag":"y"}`)}},
	}
}

// teller is a teller that waits in milliseconds for what takes seconds
// otherwise.
func (l *log) teller(name string) *Teller {
	t := New(l.db, l.seal, name, Local)
	t.every, t.first = 5*time.Millisecond, time.Millisecond
	t.Fail = func(err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.failures = append(l.failures, err.Error())
	}
	return t
}

// tell runs a teller until the test is over, or it is stopped.
func (l *log) tell(alter func(*Teller)) (stop func()) {
	t := l.teller(l.t.Name())
	if alter != nil {
		alter(t)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); t.Run(ctx) }()
	stop = func() { cancel(); <-done }
	l.t.Cleanup(stop)
	return stop
}

func (l *log) told() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.failures, "\n")
}

func (l *log) deliveries(which store.DeliveryFilter) (all []flyball.Delivery) {
	l.t.Helper()
	err := l.db.View(l.t.Context(), func(tx *store.Tx) (err error) { all, err = tx.Deliveries(which); return err })
	if err != nil {
		l.t.Fatal(err)
	}
	return all
}

// await returns the delivery of an entry once it is as it should be.
func (l *log) await(webhook string, seq int64, ok func(flyball.Delivery) bool) flyball.Delivery {
	l.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		all := l.deliveries(store.DeliveryFilter{Webhook: webhook, Seq: seq})
		if len(all) == 1 && ok(all[0]) {
			return all[0]
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("after thirty seconds the delivery of %d to %s is %+v; failures:\n%s", seq, webhook, all, l.told())
		}
	}
}

func in(state flyball.DeliveryState) func(flyball.Delivery) bool {
	return func(d flyball.Delivery) bool { return d.State == state }
}

// A heard is a request as a receiver saw it.
type heard struct {
	header http.Header
	body   []byte
}

// receiver is a real server that answers with a status, and hands on what it
// took.
func receiver(t *testing.T, status func(id string) int) (url string, told <-chan heard) {
	t.Helper()
	all := make(chan heard, 1000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if s := status(r.Header.Get("X-Flyball-Id")); s != http.StatusOK {
			w.WriteHeader(s)
			return
		}
		all <- heard{header: r.Header, body: body}
	}))
	t.Cleanup(server.Close)
	return server.URL + "/hush-path", all
}

func always(status int) func(string) int { return func(string) int { return status } }

// failing answers so many requests for each entry with a status, then takes it.
func failing(times, status int) func(string) int {
	var mu sync.Mutex
	tries := map[string]int{}
	return func(id string) int {
		mu.Lock()
		defer mu.Unlock()
		if tries[id]++; tries[id] <= times {
			return status
		}
		return http.StatusOK
	}
}

func next(t *testing.T, told <-chan heard) heard {
	t.Helper()
	select {
	case d := <-told:
		return d
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was told within thirty seconds")
		return heard{}
	}
}

// ids are those of the next messages.
func ids(t *testing.T, told <-chan heard, n int) (all []string) {
	t.Helper()
	for range n {
		all = append(all, next(t, told).header.Get("X-Flyball-Id"))
	}
	return all
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}
