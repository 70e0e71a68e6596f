package app_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/flyballdev/flyball/internal/app"
)

// A receiver is a real server that a webhook leads to.
type receiver struct {
	*httptest.Server
	told chan heard
}

// A heard is a message as a receiver got it.
type heard struct {
	header http.Header
	raw    []byte
	body   map[string]any
}

func listen(t *testing.T) receiver {
	r := receiver{told: make(chan heard, 100)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		h := heard{header: req.Header}
		h.raw, _ = io.ReadAll(req.Body)
		json.Unmarshal(h.raw, &h.body)
		r.told <- h
	}))
	t.Cleanup(r.Close)
	return r
}

func (r receiver) next(t *testing.T) heard {
	t.Helper()
	select {
	case h := <-r.told:
		return h
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was told within thirty seconds")
		return heard{}
	}
}

// A journal is what a server logs.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

const (
	canaryPath   = "services/T0CANARY/B0CANARY/x9CanaryOfAPath"
	canarySecret = "x9CanaryOfASecret-0123456789"
)

// A webhook's whole life: its secrets sign what it is told, and are found
// nowhere, in no answer, no log and no database.
func TestAWebhookIsToldAndItsSecretsAreNot(t *testing.T) {
	onBoth(t, func(t *testing.T, c app.Config) {
		var logged journal
		c.WebhookLocal, c.Log = true, slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		if c.Data == "" {
			c.Data = t.TempDir() // of the key
		}
		a := start(t, c)
		ann := person{t, a.URL, a.AdminToken}
		ann.stage()
		room := listen(t)
		var seen bytes.Buffer
		do := func(method, path string, body any) map[string]any {
			t.Helper()
			answer := ann.do(method, path, body)
			fmt.Fprintln(&seen, answer)
			return answer
		}
		do("POST", "/api/v1/webhooks", map[string]any{"key": "room", "kind": "generic", "url": room.URL + "/" + canaryPath, "secret": canarySecret, "flags": []string{"shop.*"}, "reason": "a test"})
		do("POST", "/api/v1/webhooks", map[string]any{"key": "dead", "kind": "slack", "url": "https://127.0.0.1:1/" + canaryPath, "reason": "a test"})
		_, refused := ann.try("POST", "/api/v1/webhooks", map[string]any{"key": "dead", "kind": "slack", "url": "http://127.0.0.1:1/" + canaryPath, "secret": canarySecret, "reason": "a test"})
		fmt.Fprintln(&seen, refused)

		if tested := do("POST", "/api/v1/webhooks/room/test", map[string]any{"reason": "does it work?"}); tested["delivered"] != true || tested["status"] != 200.0 {
			t.Errorf("the test says %v", tested)
		}
		if h := room.next(t); h.body["action"] != "webhook.test" || !strings.Contains(h.body["message"].(string), "By user:admin: does it work?") {
			t.Errorf("the test tells %s", h.raw)
		}
		if tested := do("POST", "/api/v1/webhooks/dead/test", map[string]any{"reason": "does it work?"}); tested["delivered"] != false || !strings.Contains(tested["error"].(string), "refused") {
			t.Errorf("the test of a dead one says %v", tested)
		}

		ann.do("POST", "/api/v1/environments/production/flags/"+key+"/kill", map[string]any{"reason": "errors doubled"})
		h := room.next(t)
		if h.body["action"] != "flag.kill" || !strings.Contains(h.body["message"].(string), "errors doubled") {
			t.Errorf("the kill tells %s", h.raw)
		}
		mac := hmac.New(sha256.New, []byte(canarySecret)) // as docs/webhooks.md has it
		mac.Write([]byte(h.header.Get("X-Flyball-Id") + "." + h.header.Get("X-Flyball-Timestamp") + "." + string(h.raw)))
		if h.header.Get("X-Flyball-Signature") != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
			t.Errorf("the signature is %q", h.header.Get("X-Flyball-Signature"))
		}
		id := h.header.Get("X-Flyball-Id")
		ann.until("it is known as delivered", func() bool {
			all := do("GET", "/api/v1/deliveries?webhook=room&state=delivered", nil)["deliveries"].([]any)
			return len(all) == 1 && fmt.Sprint(all[0].(map[string]any)["seq"]) == id
		})
		ann.until("the dead one fails", func() bool { return do("GET", "/api/v1/webhooks/dead", nil)["failures"] != nil })
		do("POST", "/api/v1/webhooks/room/redeliver", map[string]any{"seq": h.body["seq"], "reason": "we lost it"})
		if again := room.next(t); again.header.Get("X-Flyball-Id") != id {
			t.Errorf("told again is %s, want %s", again.header.Get("X-Flyball-Id"), id)
		}
		stop(t, a)

		b := start(t, c) // the key outlives the process
		ann.url = b.URL
		updated := do("PUT", "/api/v1/webhooks/room", map[string]any{"key": "room", "kind": "generic", "reason": "of all flags"})
		if updated["signed"] != true || updated["targetSet"] != 1.0 || updated["version"] != 2.0 || updated["flags"] != nil {
			t.Errorf("updated it is %v", updated)
		}
		do("POST", "/api/v1/webhooks/room/test", map[string]any{"reason": "does it still work?"})
		room.next(t)
		rotated := do("PUT", "/api/v1/webhooks/room", map[string]any{"key": "room", "kind": "generic", "secret": canarySecret + "2", "enabled": false, "reason": "a new secret"})
		if rotated["targetSet"] != 3.0 || rotated["enabled"] != false {
			t.Errorf("rotated it is %v", rotated)
		}
		if kept := do("PUT", "/api/v1/webhooks/room", map[string]any{"key": "room", "kind": "generic", "secret": canarySecret + "2", "reason": "nothing"}); kept["version"] != 3.0 || kept["enabled"] != false {
			t.Errorf("after a change of nothing it is %v", kept)
		}
		for _, path := range []string{"/api/v1/webhooks", "/api/v1/deliveries", "/api/v1/audit?limit=1000", "/api/v1/files"} {
			do("GET", path, nil)
		}
		do("POST", "/api/v1/webhooks/dead/delete", map[string]any{"reason": "the channel is closed"})
		if status, _ := ann.try("GET", "/api/v1/webhooks/dead", nil); status != http.StatusNotFound {
			t.Errorf("a deleted one: %d", status)
		}
		stop(t, b)
		for what, text := range map[string]string{"the answers": seen.String(), "the log": logged.String(), "the database": everything(t, c)} {
			if len(text) < 100 {
				t.Errorf("%s: only %d bytes were looked at", what, len(text))
			}
			for _, canary := range []string{canaryPath, canarySecret, hex.EncodeToString([]byte(canaryPath)), hex.EncodeToString([]byte(canarySecret))} {
				if strings.Contains(text, canary) {
					t.Errorf("%s tell %s", what, canary)
				}
			}
		}
	})
}

// everything is what a server's database has on disk, or tells whoever may
// read all of it.
func everything(t *testing.T, c app.Config) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(c.Data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		b.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Database == "" {
		return b.String()
	}
	conn, err := pgx.Connect(t.Context(), c.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, table := range []string{"webhook", "delivery", "audit", "setting", "log", "token"} {
		rows, err := conn.Query(t.Context(), `SELECT x::text FROM `+table+` x`)
		if err != nil {
			t.Fatal(err)
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(strings.Join(all, "\n"))
	}
	return b.String()
}

// Without the setting, no webhook leads to this machine, whoever makes it.
func TestAWebhookToThisMachineNeedsTheSetting(t *testing.T) {
	data, room := t.TempDir(), listen(t)
	a := start(t, app.Config{Listen: "127.0.0.1:0", Data: data, WebhookLocal: true})
	ann := person{t, a.URL, a.AdminToken}
	wish := map[string]any{"key": "room", "kind": "generic", "url": room.URL, "reason": "a test"}
	ann.do("POST", "/api/v1/webhooks", wish)
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	a = start(t, app.Config{Listen: "127.0.0.1:0", Data: data})
	ann.url = a.URL
	for _, key := range []string{"room", "another"} {
		wish["key"], wish["url"] = key, room.URL+"/"+key
		method, path := "PUT", "/api/v1/webhooks/room"
		if key != "room" {
			method, path = "POST", "/api/v1/webhooks"
		}
		status, refused := ann.try(method, path, wish)
		if text, _ := refused["detail"].(string); status != 422 || !strings.Contains(text, "url: 127.0.0.1 is not a public address") {
			t.Errorf("%s %s: %d %v", method, path, status, refused)
		}
	}
	tested := ann.do("POST", "/api/v1/webhooks/room/test", map[string]any{"reason": "a test"})
	if tested["delivered"] != false || !strings.Contains(tested["error"].(string), "is not a public address") || len(room.told) > 0 {
		t.Errorf("the test says %v", tested)
	}
}

// History is not news: a webhook is told what happens from its making on.
func TestANewWebhookIsToldNoHistory(t *testing.T) {
	a := start(t, app.Config{Listen: "127.0.0.1:0", Data: t.TempDir(), WebhookLocal: true})
	ann := person{t, a.URL, a.AdminToken}
	ann.stage()
	room := listen(t)
	for _, k := range []string{"first", "second"} {
		ann.do("POST", "/api/v1/webhooks", map[string]any{"key": k, "kind": "generic", "url": room.URL, "reason": "a test"})
		ann.do("POST", "/api/v1/webhooks/"+k+"/delete", map[string]any{"reason": "a test"})
		ann.do("POST", "/api/v1/environments/production/flags/"+key+"/kill", map[string]any{"reason": "nobody hears it"})
		ann.do("POST", "/api/v1/webhooks", map[string]any{"key": k + "-again", "kind": "generic", "url": room.URL, "reason": "a test"})
		ann.do("POST", "/api/v1/environments/production/flags/"+key+"/resume", map[string]any{"reason": "heard"})
		if h := room.next(t); h.body["reason"] != "heard" {
			t.Errorf("told first is %s", h.raw)
		}
		ann.do("POST", "/api/v1/webhooks/"+k+"-again/delete", map[string]any{"reason": "a test"})
	}
}

func TestAKeyThatIsNoneStopsTheStart(t *testing.T) {
	_, err := app.Start(t.Context(), app.Config{Listen: "127.0.0.1:0", Data: t.TempDir(), SecretKey: "c2hvcnQ="})
	if err == nil || !strings.Contains(err.Error(), "openssl rand -base64 32") || strings.Contains(err.Error(), "c2hvcnQ=") {
		t.Errorf("it starts with %v", err)
	}
}

// The receiver of the manual takes what is signed with its secret, once, and
// nothing else.
func TestTheReceiverOfTheManualVerifies(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no Python here")
	}
	manual, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, program, _ := strings.Cut(string(manual), "```python\n")
	program, _, _ = strings.Cut(program, "```")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	cmd := exec.Command(python, "-c", program)
	cmd.Env = append(os.Environ(), "SECRET="+canarySecret, "PORT="+port)
	var out, complaints journal
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })

	a := start(t, app.Config{Listen: "127.0.0.1:0", Data: t.TempDir(), WebhookLocal: true})
	ann := person{t, a.URL, a.AdminToken}
	url := "http://127.0.0.1:" + port + "/"
	ann.do("POST", "/api/v1/webhooks", map[string]any{"key": "right", "kind": "generic", "url": url, "secret": canarySecret, "reason": "a test"})
	ann.do("POST", "/api/v1/webhooks", map[string]any{"key": "wrong", "kind": "generic", "url": url, "secret": "a wrong secret, and a long one", "reason": "a test"})
	ann.do("POST", "/api/v1/webhooks", map[string]any{"key": "none", "kind": "generic", "url": url, "reason": "a test"})
	test := func(key string) map[string]any {
		return ann.do("POST", "/api/v1/webhooks/"+key+"/test", map[string]any{"reason": "hear, hear"})
	}
	ann.until("the receiver is up", func() bool { return test("right")["delivered"] == true })
	for _, key := range []string{"wrong", "none"} {
		if tested := test(key); tested["delivered"] != false || tested["status"] != 401.0 {
			t.Errorf("%s: %v\n%s", key, tested, complaints.String())
		}
	}
	if n := strings.Count(out.String(), "By user:admin: hear, hear"); n != 1 {
		t.Errorf("it tells %d messages: %s", n, out.String())
	}
	old, err := http.NewRequest("POST", url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(canarySecret))
	mac.Write([]byte("7.1763751600.{}"))
	old.Header.Set("X-Flyball-Id", "7")
	old.Header.Set("X-Flyball-Timestamp", "1763751600")
	old.Header.Set("X-Flyball-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(old)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("an old message is answered %d", resp.StatusCode)
	}
}
