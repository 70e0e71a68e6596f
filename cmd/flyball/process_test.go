package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
)

func codeOf(err error) string {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return strconv.Itoa(e.ExitCode())
	}
	return err.Error()
}

// binary builds the program once, as users get it.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "flyball-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "flyball")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build does, so that nothing is compiled twice
	out, err := build.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func program(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A process is a running server that can be killed.
type process struct {
	cmd   *exec.Cmd
	url   string
	token string // at the first start only

	mu   sync.Mutex
	said strings.Builder // on standard error, since it is ready
}

// serve starts a server on a folder and waits until it is ready.
func serve(t *testing.T, path, folder string) *process {
	t.Helper()
	return serveAt(t, path, folder, "127.0.0.1:0")
}

// serveAt is serve at a given address.
func serveAt(t *testing.T, path, folder, listen string) *process {
	t.Helper()
	return serveWith(t, path, "--listen", listen, "--data", folder)
}

// serveWith is serve with other settings.
func serveWith(t *testing.T, path string, settings ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(path, append([]string{"serve"}, settings...)...)}
	told, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	lines := bufio.NewScanner(told)
	for lines.Scan() {
		if token, ok := strings.CutPrefix(lines.Text(), "admin token: "); ok {
			p.token = token
		}
		if _, after, ok := strings.Cut(lines.Text(), " url="); ok {
			p.url, _, _ = strings.Cut(after, " ")
			go p.listen(lines)
			return p
		}
	}
	t.Fatal("the server ended before it was ready")
	return nil
}

// listen keeps what the server says.
func (p *process) listen(lines *bufio.Scanner) {
	for lines.Scan() {
		p.mu.Lock()
		fmt.Fprintln(&p.said, lines.Text())
		p.mu.Unlock()
	}
}

// says tells whether the server has said something.
func (p *process) says(what string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(p.said.String(), what)
}

func (p *process) kill() {
	p.cmd.Process.Signal(syscall.SIGKILL)
	p.cmd.Wait()
}

// send sends a request and decodes the answer; ok is false if no whole answer
// came back or it was no success.
func send(url, method, path, token string, body any, answer any) (ok bool) {
	encoded, _ := json.Marshal(body)
	r, err := http.NewRequest(method, url+path, bytes.NewReader(encoded))
	if err != nil {
		return false
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode < 300 && json.NewDecoder(resp.Body).Decode(answer) == nil
}

// acknowledged is what servers said they had kept.
type acknowledged struct {
	mu       sync.Mutex
	versions []int64
	batches  []string
}

// While people change flags and programs send telemetry, the server is killed
// again and again. Whatever it acknowledged is there afterwards, and versions
// and audit log have no gaps.
func TestNothingAcknowledgedIsLostWhenTheServerIsKilled(t *testing.T) {
	const kills = 50
	path, folder := program(t), t.TempDir()
	var acks acknowledged
	admin, sdk := "", ""
	for i := range kills {
		p := serve(t, path, folder)
		if i == 0 {
			admin = p.token
			sdk = stage(t, p.url, admin)
		}
		var writers sync.WaitGroup
		stop := make(chan struct{})
		writers.Go(func() { acks.change(p.url, admin, stop) })
		writers.Go(func() { acks.report(p.url, sdk, stop) })
		time.Sleep(time.Duration(20+rand.IntN(100)) * time.Millisecond) // the moment of the kill is random, not awaited
		p.kill()
		close(stop)
		writers.Wait()
	}
	p := serve(t, path, folder)
	t.Logf("%d changes and %d batches were acknowledged over %d kills", len(acks.versions), len(acks.batches), kills)
	if len(acks.versions) < kills || len(acks.batches) < kills {
		t.Error("too few for this test to mean anything")
	}
	acks.check(t, p.url, admin, sdk)
}

const crashFlag = "shop.crash.test"

func stage(t *testing.T, url, admin string) (sdk string) {
	t.Helper()
	var made struct{ Secret string }
	var flag map[string]any
	if !send(url, "POST", "/api/v1/flags", admin, map[string]any{
		"key": crashFlag, "kind": "ops", "owner": "default", "type": "integer", "variants": map[string]any{"a": 1, "b": 2}, "safeVariant": "a", "reason": "a test",
	}, &flag) || !send(url, "POST", "/api/v1/tokens", admin, map[string]any{"kind": "sdk", "name": "t", "environment": "production", "reason": "a test"}, &made) {
		t.Fatal("the stage could not be set")
	}
	return made.Secret
}

// change edits a flag until it is told to stop, and notes every version that
// was acknowledged.
func (a *acknowledged) change(url, admin string, stop chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		var answer struct {
			Version int64
			Changed bool
		}
		variant := []string{"a", "b"}[i%2]
		if send(url, "PUT", "/api/v1/environments/production/flags/"+crashFlag+"/default", admin,
			map[string]any{"default": map[string]any{"variant": variant}, "reason": "a test"}, &answer) && answer.Changed {
			a.mu.Lock()
			a.versions = append(a.versions, answer.Version)
			a.mu.Unlock()
		}
	}
}

func batch(id string) map[string]any {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	return map[string]any{
		"batch": id, "seq": 1, "sentAt": now, "instance": map[string]any{"id": id},
		"observations": []any{map[string]any{"t": now, "metric": "m", "unit": "u", "value": 1}},
	}
}

// report sends telemetry until it is told to stop, and notes every batch that
// was acknowledged.
func (a *acknowledged) report(url, sdk string, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		id := uuid.NewString()
		var answer map[string]any
		if send(url, "POST", "/sdk/v1/telemetry", sdk, batch(id), &answer) {
			a.mu.Lock()
			a.batches = append(a.batches, id)
			a.mu.Unlock()
		}
	}
}

// check asks the server for everything that was acknowledged.
func (a *acknowledged) check(t *testing.T, url, admin, sdk string) {
	t.Helper()
	there := map[int64]bool{}
	seq, versions := int64(0), map[string]int64{}
	for {
		var page struct {
			Entries []struct {
				Seq, Version int64
				Environment  string
			}
		}
		if !send(url, "GET", fmt.Sprintf("/api/v1/audit?after=%d&limit=1000", seq), admin, nil, &page) {
			t.Fatal("the audit log cannot be read")
		}
		if seq == 0 { // without "after" the newest come first
			seq = 1
			continue
		}
		for _, e := range page.Entries {
			if e.Seq != seq+1 {
				t.Fatalf("audit entry %d follows %d", e.Seq, seq)
			}
			seq = e.Seq
			if e.Version > 0 {
				if e.Version != versions[e.Environment]+1 {
					t.Fatalf("%s: version %d follows %d", e.Environment, e.Version, versions[e.Environment])
				}
				versions[e.Environment] = e.Version
				there[e.Version] = there[e.Version] || e.Environment == "production"
			}
		}
		if len(page.Entries) == 0 {
			break
		}
	}
	for _, v := range a.versions {
		if !there[v] {
			t.Errorf("version %d was acknowledged and is not in the audit log", v)
		}
	}
	for _, id := range a.batches {
		var again struct{ Duplicate bool }
		if !send(url, "POST", "/sdk/v1/telemetry", sdk, batch(id), &again) || !again.Duplicate {
			t.Fatalf("batch %s was acknowledged and is not known any more", id)
		}
	}
}

// The demonstration keeps its promises, and leaves nothing behind.
func TestTheDemonstrationKeepsItsPromises(t *testing.T) {
	cmd := exec.Command(program(t), "demo", "--exit", "--output", "json")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	var out, told bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &told
	began := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, &out, &told)
	}
	var s struct {
		Good struct {
			State   string
			Seconds float64
		}
		Bad struct {
			State                         string
			SecondsToAbort, SecondsToSafe float64
			UsersExposed                  int
		}
		UsersTotal        int
		RequestsPerSecond float64
	}
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatalf("not one JSON object: %v\n%s", err, &out)
	}
	t.Logf("%s", &out)
	took := time.Since(began).Seconds()
	for what, ok := range map[string]bool{
		"the good feature completes":            s.Good.State == "completed" && s.Good.Seconds > 0,
		"the bad feature is aborted":            s.Bad.State == "aborted",
		"the abort comes within 10 s":           s.Bad.SecondsToAbort > 0 && s.Bad.SecondsToAbort <= 10,
		"every worker is safe within 12 s":      s.Bad.SecondsToSafe >= s.Bad.SecondsToAbort && s.Bad.SecondsToSafe <= 12,
		"fewer than a quarter ever see it":      s.Bad.UsersExposed > 0 && s.Bad.UsersExposed < s.UsersTotal/4,
		"there are 5,000 users":                 s.UsersTotal >= 5000,
		"there are 300 requests a second":       s.RequestsPerSecond >= 300,
		"the whole show takes at most 45 s":     took <= 45,
		"nothing is told where JSON is wanted":  told.Len() == 0,
		"the temporary folder is gone after it": empty(t, strings.TrimPrefix(cmd.Env[len(cmd.Env)-1], "TMPDIR=")),
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
	if told.Len() > 0 {
		t.Logf("standard error: %s", &told)
	}
}

func empty(t *testing.T, folder string) bool {
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries) == 0
}

// Ctrl-C at any time ends the demonstration, soon and without a trace.
func TestTheDemonstrationEndsAtCtrlC(t *testing.T) {
	for _, after := range []time.Duration{50 * time.Millisecond, 400 * time.Millisecond, 3 * time.Second} {
		folder := t.TempDir()
		cmd := exec.Command(program(t), "demo")
		cmd.Env = append(os.Environ(), "TMPDIR="+folder)
		var told bytes.Buffer
		cmd.Stderr = &told
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after) // wherever it is by then
		cmd.Process.Signal(os.Interrupt)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			t.Fatalf("interrupted after %v, it runs on", after)
		}
		if !empty(t, folder) {
			t.Errorf("interrupted after %v, it leaves files behind", after)
		}
		// Before the program listens for it, Ctrl-C ends it as it does any other.
		if code := cmd.ProcessState.ExitCode(); code >= 0 && told.String() != "error: interrupted before the end: server and shop are stopped, and nothing is left behind\n" {
			t.Errorf("interrupted after %v, it ends with %d and says %q", after, code, told.String())
		}
	}
}
