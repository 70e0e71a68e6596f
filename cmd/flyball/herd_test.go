package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/provider"
)

// A herd is many clients of one server, each with a stream of its own over
// real HTTP, that come back as the provider does when it is lost.
type herd struct {
	url, token string
	client     *http.Client
	versions   []atomic.Int64 // what each was last sent
	opened     atomic.Int64
}

func newHerd(url, token string, n int) *herd {
	return &herd{
		url: url, token: token, versions: make([]atomic.Int64, n),
		client: &http.Client{Transport: &http.Transport{ReadBufferSize: 1 << 10, WriteBufferSize: 1 << 10, DisableCompression: true}},
	}
}

// follow keeps one client's stream open until ctx ends; lost streams are asked
// for again after decorrelated jitter of 1 to 30 seconds.
func (h *herd) follow(ctx context.Context, i int) {
	last, pause := "", time.Second
	for ctx.Err() == nil {
		before := last
		_ = h.stream(ctx, i, &last)
		if last != before {
			pause = time.Second
		}
		pause = min(30*time.Second, time.Second+rand.N(3*pause-time.Second+1))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (h *herd) stream(ctx context.Context, i int, last *string) error {
	r, err := http.NewRequestWithContext(ctx, "GET", h.url+"/sdk/v1/stream", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+h.token)
	if *last != "" {
		r.Header.Set("Last-Event-ID", *last)
	}
	resp, err := h.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	h.opened.Add(1)
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 1<<10), 1<<20)
	for lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			*last = id
			_, version, _ := strings.Cut(id, ".")
			n, err := strconv.ParseInt(version, 10, 64)
			if err != nil {
				return err
			}
			h.versions[i].Store(n)
		}
	}
	return lines.Err()
}

// at returns how many clients have a version.
func (h *herd) at(version int64) (n int) {
	for i := range h.versions {
		if h.versions[i].Load() == version {
			n++
		}
	}
	return n
}

// quietPort returns an address that no outgoing connection is given by the
// system, so that it is free again after a kill.
func quietPort(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// memory returns the most memory that a process has held, in MiB.
func (p *process) memory(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("memory is not told here: %v", err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(after + " ?")[0])
	if err != nil {
		t.Fatalf("memory: %v", err)
	}
	return kib >> 10
}

// within waits for a real condition.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(began)
}

// A server that thousands follow is killed and comes back: all are at the head
// again within half a minute, it stays small, and no program that uses the
// provider fails to evaluate meanwhile.
func TestAHerdComesBack(t *testing.T) {
	clients, mostMemory := 2000, 256 // MiB
	if os.Getenv("FLYBALL_NIGHTLY") != "" {
		clients, mostMemory = 10_000, 1200
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	files.Cur = files.Max // the server raises its own
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur < uint64(clients+500) {
		t.Skipf("%d clients need as many open files, %d are allowed (%v)", clients, files.Cur, err)
	}
	path, folder, address := program(t), t.TempDir(), quietPort(t)
	server := serveAt(t, path, folder, address)
	admin := server.token
	sdk := stage(t, server.url, admin)

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	h := newHerd(server.url, sdk, clients)
	defer h.client.CloseIdleConnections()
	change := func(variant string) int64 {
		var answer struct{ Version int64 }
		within(t, 10*time.Second, "the flag is changed", func() bool { // while thousands come, a write may be told to come later
			return send(server.url, "PUT", "/api/v1/environments/production/flags/"+crashFlag+"/default", admin,
				map[string]any{"default": map[string]any{"variant": variant}, "reason": "a test"}, &answer)
		})
		return answer.Version
	}
	head := change("b")
	providers, evaluations, failures := programs(t, ctx, &all, server.url, sdk)
	for i := range clients {
		all.Go(func() { h.follow(ctx, i) })
	}
	everyone := func() bool {
		for _, p := range providers {
			if p.Version().Version != head || p.Err() != nil {
				return false
			}
		}
		return h.at(head) == clients
	}
	joined := within(t, 30*time.Second, "everybody joins", everyone)

	before := server.memory(t)
	killed := time.Now()
	server.kill()
	server = serveAt(t, path, folder, address)
	head = change("a")
	within(t, 30*time.Second, "everybody is at the head again", everyone)
	back, after := time.Since(killed), server.memory(t)
	t.Logf("%d clients joined in %v and were back %v after the kill, by %d streams; the server held at most %d MiB before and %d MiB after; %d evaluations",
		clients, joined.Round(time.Millisecond), back.Round(time.Millisecond), h.opened.Load(), before, after, evaluations.Load())
	if back > 30*time.Second {
		t.Errorf("they were back after %v", back)
	}
	if max(before, after) > mostMemory {
		t.Errorf("the server held %d MiB, at most %d", max(before, after), mostMemory)
	}
	if failures.Load() > 0 || evaluations.Load() < 1000 {
		t.Errorf("%d of %d evaluations failed", failures.Load(), evaluations.Load())
	}
}

// programs starts a handful of real providers, each of which evaluates a flag
// all the time until ctx ends.
func programs(t *testing.T, ctx context.Context, all *sync.WaitGroup, url, sdk string) (ps []*provider.Provider, evaluations, failures *atomic.Int64) {
	t.Helper()
	evaluations, failures = new(atomic.Int64), new(atomic.Int64)
	for range 5 {
		p, err := provider.New(provider.Options{Server: url, Token: sdk, Service: "herd", DataDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(ctx); err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
		all.Go(func() {
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				<-tick.C
				evaluations.Add(1)
				if r := p.Evaluate(crashFlag, &flyball.EvaluationContext{TargetingKey: "user-1"}); r.ErrorCode != "" || r.Value != int64(1) && r.Value != int64(2) {
					failures.Add(1)
				}
			}
			end, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			_ = p.Close(end)
		})
	}
	return ps, evaluations, failures
}
