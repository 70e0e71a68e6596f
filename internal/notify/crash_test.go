package notify

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// listen starts a server at an address that was another's a moment ago.
func listen(t *testing.T, server *httptest.Server, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
}

// TestTheTellerThatIsKilled is the process that the next test kills.
func TestTheTellerThatIsKilled(t *testing.T) {
	url := os.Getenv("FLYBALL_TEST_TELL")
	if url == "" {
		t.Skip("it runs as a process of its own")
	}
	db, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	teller := New(db, aSeal(t), "the one that is killed", Local)
	teller.every, teller.ttl = 5*time.Millisecond, time.Second
	teller.Run(t.Context())
}

// A process is killed after its receiver took a message and before it could
// write that down: the message comes again, under the same id, and the next
// one after it.
func TestAMessageSurvivesAKillBetweenTellingAndWritingDown(t *testing.T) {
	onBoth(t, func(t *testing.T, l *log) {
		victim := exec.Command(os.Args[0], "-test.run", "^TestTheTellerThatIsKilled$")
		victim.Env = append(os.Environ(), "FLYBALL_TEST_TELL="+l.url)
		victim.Stdout, victim.Stderr = os.Stdout, os.Stderr
		told := make(chan heard, 100)
		started, gone := make(chan struct{}), make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			<-started
			select {
			case <-gone:
			default:
				victim.Process.Kill()
				victim.Wait()
				close(gone)
			}
			told <- heard{r.Header, body}
		}))
		t.Cleanup(server.Close)
		l.webhook("ops", server.URL, nil)
		l.happen("first", "second")
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		close(started)
		want(t, ids(t, told, 1), "1")
		if d := l.await("ops", 1, in(flyball.DeliveryPending)); d.Attempts != 0 {
			t.Fatalf("the attempt was written down: %+v", d)
		}
		l.tell(nil) // it waits for the end of the victim's lease
		want(t, ids(t, told, 2), "1", "2")
	})
}

// What is queued and where the queue ends are written together, so that a kill
// at any moment between loses and doubles nothing.
func TestAQueueThatBreaksOffIsQueuedOnce(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "flyball.db"))
	l.webhook("ops", "http://127.0.0.1:1", nil)
	l.happen("first", "second", "third")
	teller := l.teller("one")
	if held, err := teller.hold(t.Context(), time.Now()); err != nil || !held {
		t.Fatal(held, err)
	}
	teller.fence++ // as if another had taken over
	if err := teller.queue(t.Context()); flyball.CodeOf(err) != flyball.Conflict {
		t.Errorf("a teller without its lease queues: %v", err)
	}
	if all := l.deliveries(store.DeliveryFilter{}); len(all) != 0 {
		t.Errorf("queued are %+v", all)
	}
	teller.fence--
	for range 2 {
		if err := teller.queue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if all := l.deliveries(store.DeliveryFilter{}); len(all) != 3 {
		t.Errorf("queued are %+v", all)
	}
}
