package notify

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
)

// A history is an audit log, the cursor of a follower in it, and the failures
// that the follower told of.
type history struct {
	mu       sync.Mutex
	entries  []flyball.AuditEntry
	cursor   int64
	failures []string
}

func (l *history) source(_ context.Context, after int64, limit int) ([]flyball.AuditEntry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []flyball.AuditEntry
	for _, e := range l.entries {
		if e.Seq > after && len(found) < limit {
			found = append(found, e)
		}
	}
	return found, nil
}

func (l *history) load(context.Context) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cursor, nil
}

func (l *history) save(_ context.Context, seq int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cursor = seq
	return nil
}

func (l *history) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, err.Error())
}

func (l *history) told() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.failures, "\n")
}

func (l *history) append(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, flyball.AuditEntry{
		Seq: int64(len(l.entries) + 1), At: time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC),
		Actor: flyball.Actor{ID: "agent:release-bot", OnBehalfOf: "user:ann"}, Action: "flag.kill",
		Subject: "payments.checkout.new-flow", Environment: "production", Version: 7, Reason: reason,
	})
}

// follow runs a follower until the test is over. A follower waits in
// milliseconds here for what takes seconds otherwise.
func (l *history) follow(t *testing.T, url string, alter func(*Follower)) {
	t.Helper()
	f := &Follower{
		Source: l.source, Load: l.load, Save: l.save, URL: url, Secret: "hush", Client: NewClient(Local), Fail: l.fail,
		every: time.Millisecond, first: time.Millisecond,
	}
	if alter != nil {
		alter(f)
	}
	if err := f.Validate(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// A delivery is a request as a receiver saw it.
type delivery struct {
	header http.Header
	body   []byte
}

// receiver is a real server that answers with status, and hands on what it
// was told.
func receiver(t *testing.T, status func(try int) int) (url string, told <-chan delivery) {
	t.Helper()
	deliveries := make(chan delivery, 1000)
	tries := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		tries++ // one at a time, since a follower tells one at a time
		if s := status(tries); s != http.StatusOK {
			w.WriteHeader(s)
			return
		}
		deliveries <- delivery{header: r.Header, body: body}
	}))
	t.Cleanup(server.Close)
	return server.URL, deliveries
}

func always(status int) func(int) int { return func(int) int { return status } }

func next(t *testing.T, told <-chan delivery) delivery {
	t.Helper()
	select {
	case d := <-told:
		return d
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was told within ten seconds")
		return delivery{}
	}
}

func seqOf(t *testing.T, d delivery) int64 {
	t.Helper()
	var e flyball.AuditEntry
	if err := json.Unmarshal(d.body, &e); err != nil {
		t.Fatalf("%s: %v", d.body, err)
	}
	return e.Seq
}

func TestEveryEntryIsToldInOrderAndSigned(t *testing.T) {
	url, told := receiver(t, always(http.StatusOK))
	var l history
	l.append("first")
	l.append("second")
	l.follow(t, url, nil)
	for want := range 3 {
		if want == 2 {
			l.append("third, while it follows")
		}
		d := next(t, told)
		var got flyball.AuditEntry
		if err := json.Unmarshal(d.body, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(l.entries[want], got); diff != "" {
			t.Errorf("entry %d (-want +got):\n%s", want, diff)
		}
		id, timestamp := d.header.Get("X-Flyball-Id"), d.header.Get("X-Flyball-Timestamp")
		if id != []string{"1", "2", "3"}[want] {
			t.Errorf("id %q for entry %d", id, want+1)
		}
		if got, want := d.header.Get("X-Flyball-Signature"), sign("hush", id, timestamp, d.body); !hmac.Equal([]byte(got), []byte(want)) {
			t.Errorf("signature %q, want %q", got, want)
		}
	}
}

// The value is that of `printf '7.1763751600.{}' | openssl dgst -sha256 -hmac hush`.
func TestTheSignatureIsWhatOtherProgramsCompute(t *testing.T) {
	const want = "sha256=07335b87ffba68e56887c812319308b56499a59ddc71f19f0f92bb9eb5df36e2"
	if got := sign("hush", "7", "1763751600", []byte("{}")); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestAnEntryThatIsRefusedIsToldAgainBeforeTheNext(t *testing.T) {
	url, told := receiver(t, func(try int) int {
		if try <= 3 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	var l history
	l.append("first")
	l.append("second")
	l.follow(t, url, nil)
	if a, b := seqOf(t, next(t, told)), seqOf(t, next(t, told)); a != 1 || b != 2 {
		t.Errorf("told %d, then %d", a, b)
	}
	if got := strings.Count(l.told(), "tell audit entry 1: the webhook answered 500"); got != 3 {
		t.Errorf("%d failures told, want 3:\n%s", got, l.told())
	}
}

func TestAnEntryThatIsNeverTakenIsGivenUp(t *testing.T) {
	var mu sync.Mutex
	refuse := true
	url, told := receiver(t, func(int) int {
		mu.Lock()
		defer mu.Unlock()
		if refuse {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	var l history
	l.append("poison")
	given := make(chan struct{})
	l.follow(t, url, func(f *Follower) {
		f.patient = 20 * time.Millisecond
		f.Fail = func(err error) {
			if l.fail(err); strings.HasPrefix(err.Error(), "give up") {
				mu.Lock()
				refuse = false
				mu.Unlock()
				close(given)
			}
		}
	})
	<-given
	l.append("wholesome")
	if got := seqOf(t, next(t, told)); got != 2 {
		t.Errorf("told %d after giving up 1", got)
	}
}

func TestARestartGoesOnAtTheCursor(t *testing.T) {
	url, told := receiver(t, always(http.StatusOK))
	l := history{cursor: 2}
	for _, reason := range []string{"one", "two", "three"} {
		l.append(reason)
	}
	l.follow(t, url, nil)
	if got := seqOf(t, next(t, told)); got != 3 {
		t.Errorf("told %d first, want 3", got)
	}
}

func TestACursorThatCannotBeReadYetIsWaitedFor(t *testing.T) {
	url, told := receiver(t, always(http.StatusOK))
	var l history
	l.append("first")
	tries := 0
	l.follow(t, url, func(f *Follower) {
		f.Load = func(context.Context) (int64, error) {
			if tries++; tries < 3 {
				return 0, errors.New("database is down")
			}
			return 0, nil
		}
	})
	if got := seqOf(t, next(t, told)); got != 1 {
		t.Errorf("told %d first", got)
	}
	if got := strings.Count(l.told(), "read the cursor: database is down"); got != 2 {
		t.Errorf("%d failures told, want 2:\n%s", got, l.told())
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	elsewhere, told := receiver(t, always(http.StatusOK))
	server := httptest.NewServer(http.RedirectHandler(elsewhere, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	var l history
	l.append("first")
	failed := make(chan error, 1000)
	l.follow(t, server.URL, func(f *Follower) { f.Fail = func(err error) { failed <- err } })
	if err := <-failed; !strings.Contains(err.Error(), "307") {
		t.Errorf("got %v", err)
	}
	select {
	case <-told:
		t.Error("the redirect was followed")
	default:
	}
}

// A slow receiver holds the follower, and nobody else; it ends at once when it
// is told to.
func TestAStalledReceiverDoesNotKeepTheFollowerFromEnding(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-release
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	var l history
	l.append("first")
	f := &Follower{Source: l.source, Load: l.load, Save: l.save, URL: server.URL, Client: NewClient(Local), Fail: l.fail}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Run(ctx)
	}()
	<-arrived
	cancel()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
		t.Error("the follower still runs two seconds after it was told to end")
	}
	if l.cursor != 0 || len(l.failures) > 0 {
		t.Errorf("cursor %d, failures %v; an entry that was not taken is told after the restart", l.cursor, l.failures)
	}
}

func TestAFailureDoesNotTellTheURLWhichMayBeASecret(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close() // so that nobody listens there
	var l history
	l.append("first")
	failed := make(chan error, 1000)
	l.follow(t, server.URL+"/services/T000/B000/SECRET", func(f *Follower) { f.Fail = func(err error) { failed <- err } })
	if err := <-failed; strings.Contains(err.Error(), "SECRET") {
		t.Errorf("the failure tells the URL: %v", err)
	}
}

func TestSlackIsToldALineThatCannotPretend(t *testing.T) {
	f := &Follower{URL: "https://hooks.slack.com/services/T000/B000/XXX"}
	var l history
	l.append("<!channel> all & sundry\n*production*: flag.enable by user:ann")
	req, err := f.request(t.Context(), l.entries[0], time.Unix(1763751600, 0))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Text   string `json:"text"`
		Mrkdwn *bool  `json:"mrkdwn"`
	}
	if err := json.NewDecoder(req.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := "payments.checkout.new-flow: flag.kill by agent:release-bot for user:ann in production (version 7): &lt;!channel&gt; all &amp; sundry *production*: flag.enable by user:ann"
	if got.Text != want {
		t.Errorf("got  %s\nwant %s", got.Text, want)
	}
	if got.Mrkdwn == nil || *got.Mrkdwn {
		t.Error("people's text is read as markup")
	}
	if req.Header.Get("X-Flyball-Signature") != "" {
		t.Error("signed without a secret")
	}
}

func TestWaitsGrowAndAreJittered(t *testing.T) {
	var f Follower
	for failures, full := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second} {
		var seen []time.Duration
		for range 50 {
			d := f.backoff(failures)
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
	if d := f.backoff(1000); d > 5*time.Minute || d < 150*time.Second {
		t.Errorf("wait %v after very many failures", d)
	}
}
