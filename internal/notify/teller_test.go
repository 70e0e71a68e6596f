package notify

import (
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
	"github.com/flyballdev/flyball/internal/store"
)

func TestEveryEntryIsToldInOrderAndSigned(t *testing.T) {
	onBoth(t, func(t *testing.T, l *log) {
		url, told := receiver(t, always(http.StatusOK))
		l.webhook("ops", url, nil)
		l.happen("first", "second")
		l.tell(nil)
		before := ""
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
			if got.Hash == "" || got.Prev == "" || i > 0 && got.Prev != before {
				t.Errorf("entry %d does not tell how the log is chained: %q after %q", i, got.Prev, before)
			}
			before, got.Prev, got.Hash = got.Hash, "", ""
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

func poisoned(t *testing.T) (l *log, told <-chan heard) {
	l = openLog(t, filepath.Join(t.TempDir(), "flyball.db"))
	url, told := receiver(t, func(id string) int {
		if id == "1" {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	l.webhook("ops", url, nil)
	l.happen("poison", "wholesome", "wholesome too")
	return l, told
}

func TestAMessageThatIsRefusedLetsTheOthersPass(t *testing.T) {
	l, told := poisoned(t)
	l.tell(func(t *Teller) { t.first = time.Hour })
	want(t, ids(t, told, 2), "2", "3")
	if d := l.await("ops", 1, in(flyball.DeliveryPending)); d.Attempts != 1 || d.Status != 400 {
		t.Errorf("the poison is %+v", d)
	}
}

func TestAMessageThatIsNeverTakenDiesAndCanBeToldAgain(t *testing.T) {
	l, told := poisoned(t)
	l.tell(nil)
	want(t, ids(t, told, 2), "2", "3")
	if d := l.await("ops", 1, in(flyball.DeliveryDead)); d.Attempts != maxAttempts || d.Status != 400 || d.Error != "it answered 400 Bad Request" {
		t.Errorf("the poison is %+v", d)
	}
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

// Where there is nothing to tell, not even the lease is asked for.
func TestWhereNothingHappensNothingIsWritten(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "flyball.db"))
	teller := l.teller("one")
	look := func(what string, works bool) {
		t.Helper()
		teller.fence, teller.pruned = 0, time.Now()
		if err := teller.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if held := teller.fence != 0; held != works {
			t.Errorf("%s: it holds the lease: %v", what, held)
		}
	}
	l.happen("before there are webhooks")
	look("no webhooks", false)
	l.webhook("off", "http://127.0.0.1:1", func(w *flyball.Webhook) { w.Enabled = new(false) })
	l.update(func(tx *store.Tx) error {
		if err := tx.QueueDelivery("off", 1, time.Now()); err != nil {
			return err
		}
		return tx.SetTold(1)
	})
	look("what is due is for one that is off", false)
	l.happen("something")
	look("something happened", true)
}
