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

	"github.com/google/go-cmp/cmp"

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

func TestEveryEntryIsToldInOrderAndSigned(t *testing.T) {
	onBoth(t, func(t *testing.T, l *log) {
		url, told := receiver(t, always(http.StatusOK))
		l.webhook("ops", url, nil)
		l.happen("first", "second")
		l.tell(nil)
		for i, reason := range []string{"first", "second", "third, while it tells"} {
			if i == 2 {
				l.happen(reason)
			}
			d := next(t, told)
			var got struct {
				Message string `json:"message"`
				flyball.AuditEntry
			}
			if err := json.Unmarshal(d.body, &got); err != nil {
				t.Fatal(err)
			}
			entry := aKill(reason)
			entry.Seq, entry.Version = int64(i)+1, int64(i)+1
			if diff := cmp.Diff(entry, got.AuditEntry); diff != "" {
				t.Errorf("entry %d (-want +got):\n%s", i, diff)
			}
			if !strings.HasPrefix(got.Message, "payments.checkout.new-flow in production: KILLED\n") || !strings.Contains(got.Message, "By agent:release-bot for user:ann: "+reason) {
				t.Errorf("the message is %q", got.Message)
			}
			id, timestamp := d.header.Get("X-Flyball-Id"), d.header.Get("X-Flyball-Timestamp")
			if got := d.header.Get("X-Flyball-Signature"); got != sign(hush, id, timestamp, d.body) || id != []string{"1", "2", "3"}[i] {
				t.Errorf("entry %d has id %q and signature %q", i, id, got)
			}
		}
		d := l.await("ops", 3, in(flyball.DeliveryDelivered))
		if d.Attempts != 1 || d.Status != 200 || d.Error != "" || d.Due != nil {
			t.Errorf("it is kept as %+v", d)
		}
	})
}

// The value is that of `printf '7.1763751600.{}' | openssl dgst -sha256 -hmac hush`.
func TestTheSignatureIsWhatOtherProgramsCompute(t *testing.T) {
	const want = "sha256=07335b87ffba68e56887c812319308b56499a59ddc71f19f0f92bb9eb5df36e2"
	if got := sign("hush", "7", "1763751600", []byte("{}")); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestAReceiverThatFailsIsToldAgainBeforeTheNext(t *testing.T) {
	onBoth(t, func(t *testing.T, l *log) {
		url, told := receiver(t, failing(3, 503))
		l.webhook("ops", url, nil)
		l.happen("first", "second")
		l.tell(nil)
		want(t, ids(t, told, 2), "1", "2")
		d := l.await("ops", 2, in(flyball.DeliveryDelivered))
		if d.Attempts != 4 || !strings.Contains(l.told(), "webhook ops: tell audit entry 1, attempt 3 (pending): it answered 503 Service Unavailable") {
			t.Errorf("%+v; failures:\n%s", d, l.told())
		}
	})
}

func TestAMessageThatIsRefusedLetsTheOthersPass(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "flyball.db"))
	url, told := receiver(t, func(id string) int {
		if id == "1" {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	l.webhook("ops", url, nil)
	l.happen("poison", "wholesome", "wholesome too")
	l.tell(nil)
	want(t, ids(t, told, 2), "2", "3")
	if d := l.await("ops", 1, in(flyball.DeliveryDead)); d.Attempts != maxAttempts || d.Status != 400 || d.Error != "it answered 400 Bad Request" {
		t.Errorf("the poison is %+v", d)
	}
	// A dead letter is told once it is made pending, if it is taken then.
	l.update(func(tx *store.Tx) error {
		return tx.PutDelivery(flyball.Delivery{Webhook: "ops", Seq: 2, State: flyball.DeliveryPending, Due: &flyball.Time{Time: time.Now()}, Queued: time.Now(), At: time.Now()})
	})
	want(t, ids(t, told, 1), "2")
}

func TestAReceiverThatIsGoneIsNotTriedAgain(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "flyball.db"))
	url, told := receiver(t, func(id string) int {
		if id == "2" {
			return http.StatusGone
		}
		return http.StatusOK
	})
	l.webhook("ops", url, nil)
	l.happen("first", "second", "third")
	l.tell(nil)
	want(t, ids(t, told, 2), "1", "3")
	if d := l.await("ops", 2, in(flyball.DeliveryDead)); d.Attempts != 1 || d.Status != 410 {
		t.Errorf("it is %+v", d)
	}
}

func TestAReceiverThatIsDownIsToldWhenItIsUp(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "flyball.db"))
	var mu sync.Mutex
	var got []string
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Header.Get("X-Flyball-Id"))
	}))
	address := up.Listener.Addr().String()
	up.Listener.Close()
	l.webhook("ops", "http://"+address+"/hush-path", nil)
	l.happen("first", "second")
	l.tell(nil)
	l.await("ops", 1, func(d flyball.Delivery) bool {
		return d.Attempts > 0 && d.Status == 0 && strings.Contains(d.Error, "connection refused")
	})
	listen(t, up, address)
	l.await("ops", 2, in(flyball.DeliveryDelivered))
	mu.Lock()
	defer mu.Unlock()
	want(t, got, "1", "2")
	if strings.Contains(l.told(), "hush") {
		t.Errorf("the failures tell the URL:\n%s", l.told())
	}
}

// One webhook never answers; the other gets its message while the first is
// still being waited for. What was not told is told after a restart.
func TestAStalledReceiverDelaysNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, l *log) {
		arrived, release := make(chan struct{}, 100), make(chan struct{})
		stalled := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			arrived <- struct{}{}
			<-release
		}))
		t.Cleanup(stalled.Close)
		t.Cleanup(sync.OnceFunc(func() { close(release) }))
		url, told := receiver(t, always(http.StatusOK))
		l.webhook("a-stalled", stalled.URL, nil)
		l.webhook("brisk", url, nil)
		stop := l.tell(func(t *Teller) { t.client.Timeout = time.Hour })
		l.happen("first")
		<-arrived
		want(t, ids(t, told, 1), "1")
		l.happen("second")
		want(t, ids(t, told, 1), "2")
		l.await("brisk", 2, in(flyball.DeliveryDelivered))
		ended := make(chan struct{})
		go func() { defer close(ended); stop() }()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatal("the teller still runs ten seconds after it was told to end")
		}
		if d := l.await("a-stalled", 1, in(flyball.DeliveryPending)); d.Attempts != 0 {
			t.Errorf("a message that was cut off counts: %+v", d)
		}
	})
}

func TestAReceiverThatNeverAnswersIsGivenUpInTime(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "flyball.db"))
	release := make(chan struct{})
	stalled := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(stalled.Close)
	t.Cleanup(func() { close(release) })
	l.webhook("ops", stalled.URL+"/hush-path", nil)
	l.happen("first")
	l.tell(func(t *Teller) { t.client.Timeout = 20 * time.Millisecond })
	d := l.await("ops", 1, in(flyball.DeliveryDead))
	if d.Attempts != maxAttempts || d.Status != 0 || !strings.Contains(d.Error, "Client.Timeout") || strings.Contains(d.Error, "hush") {
		t.Errorf("it is %+v", d)
	}
	if NewClient(Public).Timeout != 5*time.Second {
		t.Error("an attempt takes another time")
	}
}

// A receiver that is down is knocked at once, whatever waits for it, and left
// alone then; what happens meanwhile does not knock either.
func TestADeadReceiverIsNotHammered(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "flyball.db"))
	knocks := make(chan string, 1000)
	url, _ := receiver(t, func(id string) int { knocks <- id; return http.StatusInternalServerError })
	healthy, told := receiver(t, always(http.StatusOK))
	l.webhook("dead", url, nil)
	l.webhook("well", healthy, nil)
	l.happen(slices.Repeat([]string{"much"}, 50)...)
	l.tell(func(t *Teller) { t.first = time.Hour })
	l.await("dead", 1, func(d flyball.Delivery) bool { return d.Attempts == 1 })
	l.happen("more")
	ids(t, told, 51) // by then the teller has looked at all of it
	if len(knocks) != 1 {
		t.Errorf("%d knocks at a receiver that is down", len(knocks))
	}
	var w store.WebhookRecord
	l.update(func(tx *store.Tx) (err error) { w, err = tx.Webhook("dead"); return err })
	if w.Failures != 1 || time.Until(w.Rest) < 20*time.Minute {
		t.Errorf("it fares %+v", w.WebhookHealth)
	}
	// Somebody mended it, and says so.
	l.update(func(tx *store.Tx) error { return tx.PutWebhookHealth("dead", store.WebhookHealth{}) })
	<-knocks
	if id := <-knocks; id != "2" { // the first waits by itself
		t.Errorf("told %s next", id)
	}
}

func TestOnlyOneOfManyTells(t *testing.T) {
	onBoth(t, func(t *testing.T, l *log) {
		url, told := receiver(t, always(http.StatusOK))
		l.webhook("ops", url, nil)
		var stops []func()
		for _, name := range []string{"one", "two", "three"} {
			stops = append(stops, l.tell(func(t *Teller) { t.holder = name }))
		}
		for range 20 {
			l.happen("again")
		}
		l.await("ops", 20, in(flyball.DeliveryDelivered))
		for i := range 20 {
			if d := next(t, told); d.header.Get("X-Flyball-Id") != []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20"}[i] {
				t.Fatalf("the message %d has id %s", i, d.header.Get("X-Flyball-Id"))
			}
		}
		for i, stop := range stops { // whoever is left takes over
			if i == len(stops)-1 {
				break
			}
			stop()
			l.happen("after one has gone")
			ids(t, told, 1)
		}
		if len(told) != 0 {
			t.Errorf("%d messages came twice", len(told))
		}
	})
}

// A server without the key makes no attempt: another may have it.
func TestAKeyThatIsMissingCostsNoMessage(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "flyball.db"))
	url, told := receiver(t, always(http.StatusOK))
	l.webhook("ops", url, nil)
	l.happen("first")
	other, _ := store.NewSeal("", t.TempDir())
	failed := make(chan error, 1000)
	stop := l.tell(func(t *Teller) {
		t.seal = other
		t.Fail = func(err error) { failed <- err }
	})
	if err := <-failed; !strings.Contains(err.Error(), "FLYBALL_SECRET_KEY") {
		t.Errorf("it fails with %v", err)
	}
	stop()
	if d := l.await("ops", 1, in(flyball.DeliveryPending)); d.Attempts != 0 {
		t.Errorf("it is %+v", d)
	}
	l.tell(nil)
	want(t, ids(t, told, 1), "1")
}

func TestOnlyWhatAWebhookWantsIsQueued(t *testing.T) {
	onBoth(t, func(t *testing.T, l *log) {
		url, told := receiver(t, always(http.StatusOK))
		l.webhook("others", url, func(w *flyball.Webhook) { w.Flags = []string{"search.*"} })
		l.webhook("off", url, func(w *flyball.Webhook) { w.Enabled = new(false) })
		l.webhook("ops", url, func(w *flyball.Webhook) { w.Actions = []string{"flag.kill"} })
		l.happen("first")
		l.tell(nil)
		want(t, ids(t, told, 1), "1")
		if all := l.deliveries(store.DeliveryFilter{}); len(all) != 1 {
			t.Errorf("queued are %+v", all)
		}
	})
}

func TestTheTableOfDeliveriesIsBounded(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "flyball.db"))
	l.webhook("ops", "http://127.0.0.1:1", nil)
	l.happen("delivered long ago", "dead long ago", "pending long ago", "delivered", "dead", "pending")
	now := time.Now()
	states := []flyball.DeliveryState{flyball.DeliveryDelivered, flyball.DeliveryDead, flyball.DeliveryPending}
	l.update(func(tx *store.Tx) error {
		for i := range int64(6) {
			at := now
			if i < 3 {
				at = now.Add(-31 * 24 * time.Hour)
			}
			if err := tx.QueueDelivery("ops", i+1, at); err != nil {
				return err
			}
			if err := tx.PutDelivery(flyball.Delivery{Webhook: "ops", Seq: i + 1, State: states[i%3], Due: &flyball.Time{Time: now.Add(time.Hour)}, Queued: at, At: at}); err != nil {
				return err
			}
		}
		return tx.SetTold(6)
	})
	l.tell(nil)
	l.await("ops", 3, in(flyball.DeliveryDead))
	var left []int64
	for _, d := range l.deliveries(store.DeliveryFilter{OldestFirst: true}) {
		left = append(left, d.Seq)
	}
	if !slices.Equal(left, []int64{3, 4, 5, 6}) {
		t.Errorf("left are %v", left)
	}
}

func TestWaitsGrowAndAreJittered(t *testing.T) {
	teller := New(nil, nil, "", Public)
	for failures, full := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second} {
		var seen []time.Duration
		for range 50 {
			d := teller.backoff(failures)
			if d < full/2 || d > full {
				t.Fatalf("wait %v after %d failures, want %v to %v", d, failures, full/2, full)
			}
			seen = append(seen, d)
		}
		slices.Sort(seen)
		if len(slices.Compact(seen)) < 10 {
			t.Errorf("the waits after %d failures hardly differ", failures)
		}
	}
	if d := teller.backoff(1000); d > longestWait || d < longestWait/2 {
		t.Errorf("wait %v after very many failures", d)
	}
}

func TestAReceiverSaysHowLongItWantsToBeLeftAlone(t *testing.T) {
	now := time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, " 7 ": 7 * time.Second, "-1": 0, "soon": 0, "99999999": longestWait,
		"Sat, 21 Nov 2026 19:10:00 GMT": 10 * time.Minute, "Sat, 21 Nov 2026 18:10:00 GMT": 0,
	} {
		if got := pauseOf(text, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	teller := New(nil, nil, "", Public)
	_, health := teller.outcome(job{}, attempt{status: 429, pause: 30 * time.Minute, err: io.EOF}, now)
	if health.Rest.Sub(now) != 30*time.Minute || health.Failures != 1 {
		t.Errorf("it is left alone for %v", health.Rest.Sub(now))
	}
	d, health := teller.outcome(job{}, attempt{status: 503, pause: 1000 * time.Hour, err: io.EOF}, now)
	if health.Rest.Sub(now) != longestWait || d.Due.Sub(now) != longestWait {
		t.Errorf("it is left alone for %v", health.Rest.Sub(now))
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "flyball.db"))
	elsewhere, told := receiver(t, always(http.StatusOK))
	server := httptest.NewServer(http.RedirectHandler(elsewhere, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	l.webhook("ops", server.URL, nil)
	l.happen("first")
	l.tell(nil)
	if d := l.await("ops", 1, in(flyball.DeliveryDead)); d.Status != 307 || len(told) != 0 {
		t.Errorf("it is %+v, and %d were told elsewhere", d, len(told))
	}
}
