package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/pgtest"
	"github.com/flyballdev/flyball/provider"
)

type object = map[string]any

// must sends a request that is not refused.
func must(t *testing.T, p *process, admin, method, path string, body any) (answer object) {
	t.Helper()
	if !send(p.url, method, path, admin, body, &answer) {
		t.Fatalf("%s %s is refused: %v", method, path, answer)
	}
	return answer
}

// shipped makes a flag of two variants that is enabled in production.
func shipped(t *testing.T, p *process, admin, key string) {
	t.Helper()
	must(t, p, admin, "POST", "/api/v1/flags", object{
		"key": key, "kind": "ops", "owner": "default", "type": "boolean", "variants": object{"on": true, "off": false}, "safeVariant": "off", "reason": "a test",
	})
	must(t, p, admin, "POST", "/api/v1/environments/production/flags/"+key+"/enable", object{"reason": "a test"})
}

func startRollout(t *testing.T, p *process, admin, key string, more object) (id string) {
	t.Helper()
	plan := object{"flag": key, "environment": "production", "treatment": "on", "control": "off", "reason": "a test"}
	for k, v := range more {
		plan[k] = v
	}
	return must(t, p, admin, "POST", "/api/v1/rollouts", plan)["id"].(string)
}

func sdkToken(t *testing.T, p *process, admin string) string {
	t.Helper()
	return must(t, p, admin, "POST", "/api/v1/tokens", object{"kind": "sdk", "name": "t", "environment": "production", "reason": "a test"})["secret"].(string)
}

func application(t *testing.T, url, sdk string) *provider.Provider {
	t.Helper()
	p, err := provider.New(provider.Options{Server: url, Token: sdk, Service: "shop", Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = p.Close(ctx)
	})
	return p
}

// looked tells whether a server has answered a request that awaits a rollout. It
// is counted just before the answer goes out, and so looked for twice.
func (p *process) looked() bool {
	for range 2 {
		resp, err := http.Get(p.url + "/metrics")
		if err != nil {
			return false
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		_, count, _ := strings.Cut(string(text), `flyball_http_request_duration_seconds_count{route="/api/v1/rollouts/{id}/await"} `)
		if count == "" || count[0] == '0' {
			return false
		}
	}
	return true
}

// The server is killed while somebody waits for a rollout, and comes back; the
// waiting goes on, and ends with the exit code that tells what happened.
func TestAwaitOutlivesARestart(t *testing.T) {
	t.Parallel()
	path, folder, address := program(t), t.TempDir(), quietPort(t)
	p := serveAt(t, path, folder, address)
	admin := p.token
	shipped(t, p, admin, "shop.checkout.fast")
	id := startRollout(t, p, admin, "shop.checkout.fast", object{"steps": []object{{"ppm": 10_000, "hold": "1h"}, {"ppm": 1_000_000}}})
	waiting := exec.Command(path, "rollout", "await", "shop.checkout.fast", "--for", "end", "--timeout", "2m", "-o", "json", "--server", p.url, "--token", admin)
	var out, told bytes.Buffer
	waiting.Stdout, waiting.Stderr = &out, &told
	if err := waiting.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { waiting.Process.Kill() })
	within(t, 30*time.Second, "it waits", p.looked)
	p.kill()
	p = serveAt(t, path, folder, address)
	must(t, p, admin, "POST", "/api/v1/rollouts/"+id+"/abort", object{"reason": "support calls"})
	ended := make(chan error, 1)
	go func() { ended <- waiting.Wait() }()
	select {
	case err := <-ended:
		if err == nil || codeOf(err) != "4" {
			t.Errorf("it ends with %v, not with 4: %s%s", err, &out, &told)
		}
	case <-time.After(60 * time.Second):
		t.Fatalf("it still waits: %s", &told)
	}
	var answer struct {
		Done    bool
		Outcome string
		Rollout struct{ ID, Why string }
	}
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil || !answer.Done || answer.Outcome != "aborted" || answer.Rollout.ID != id || answer.Rollout.Why != "support calls" {
		t.Errorf("%v: %s", err, &out)
	}
}

// A lease, and a pulse, end by themselves where flags are evaluated, though the
// server is dead: everybody gets control, told with the rollout that it was.
func TestALeaseEndsThoughTheServerIsDead(t *testing.T) {
	t.Parallel()
	p := serve(t, program(t), t.TempDir())
	admin := p.token
	sdk := sdkToken(t, p, admin)
	plans := map[string]object{
		"shop.leased.one": {"steps": []object{{"ppm": 1_000_000, "hold": "1h", "lease": "10s"}}},
		"shop.pulsed.one": {"steps": []object{{"ppm": 500_000, "hold": "5s"}}, "then": "off"},
	}
	ids := map[string]string{}
	began := time.Now()
	for key, plan := range plans {
		shipped(t, p, admin, key)
		ids[key] = startRollout(t, p, admin, key, plan)
	}
	app := application(t, p.url, sdk)
	users := func(key string) (on, named int) {
		for i := range 200 {
			r := app.Evaluate(key, &flyball.EvaluationContext{TargetingKey: fmt.Sprint("user-", i)})
			if r.Variant == "on" {
				on++
			}
			if r.Rollout == ids[key] {
				named++
			}
		}
		return on, named
	}
	p.kill()
	if on, _ := users("shop.leased.one"); on != 200 {
		t.Fatalf("%d of 200 have it", on)
	}
	if on, _ := users("shop.pulsed.one"); on < 50 || on > 150 {
		t.Fatalf("%d of 200 have the pulse", on)
	}
	for key, least := range map[string]time.Duration{"shop.pulsed.one": 5 * time.Second, "shop.leased.one": 10 * time.Second} {
		within(t, 60*time.Second, key+" ends", func() bool { on, _ := users(key); return on == 0 })
		if after := time.Since(began); after < least {
			t.Errorf("%s ended after %v, before its time", key, after)
		}
		if _, named := users(key); named != 200 {
			t.Errorf("%s: %d of 200 on control name the rollout", key, named)
		}
	}
}

// Of two processes on one database, the one that holds the lease is stopped
// while it is about to take a step, for longer than its lease. The other one
// takes over and goes on. Woken, the first finds that it is not the controller
// any more: no step is taken twice, none is skipped, and nothing is missing in
// the audit log.
func TestAStoppedControllerDoesNotActAfterItsLease(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	path := program(t)
	folder := t.TempDir()
	named := url + "&application_name=first"
	if !strings.Contains(url, "?") {
		named = url + "?application_name=first"
	}
	first := serveWith(t, path, "--listen", "127.0.0.1:0", "--database", named, "--data", folder)
	admin := first.token
	db, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	holds := func(p *process) func() bool {
		return func() bool {
			var holder string
			err := db.QueryRow(t.Context(), `SELECT holder FROM lease WHERE name = 'judge'`).Scan(&holder)
			return err == nil && strings.Contains(holder, fmt.Sprintf("/%d/", p.cmd.Process.Pid))
		}
	}
	within(t, 20*time.Second, "the first is the judge", holds(first))
	second := serveWith(t, path, "--listen", "127.0.0.1:0", "--database", url, "--data", folder)
	key := "shop.checkout.fast"
	shipped(t, first, admin, key)
	app := application(t, second.url, sdkToken(t, second, admin))
	var steps []object
	for i := range flyball.MaxSteps {
		steps = append(steps, object{"ppm": 200_000 + 10_000*i, "hold": "3s"})
	}
	id := startRollout(t, second, admin, key, object{"steps": steps})
	stop := newUsers(app, key)
	defer stop()
	type position struct {
		At        int
		SteppedAt time.Time
		Evidence  struct {
			Step      int
			StepUnits flyball.Arms
		}
	}
	look := func(p *process) (r position) {
		send(p.url, "GET", "/api/v1/rollouts/"+id, admin, nil, &r)
		return r
	}
	at := func() int { return look(second).At }
	within(t, 60*time.Second, "the first takes a step, and has what the next one needs but for the hold", func() bool {
		r := look(first)
		return r.At >= 1 && r.Evidence.Step == r.At && r.Evidence.StepUnits.Treatment > 300
	})

	// Nobody may write while the first comes to want its next step.
	if _, err := db.Exec(t.Context(), `SELECT pg_advisory_lock(6012214831)`); err != nil {
		t.Fatal(err)
	}
	within(t, 60*time.Second, "the hold is over, the controller has looked since, and the first waits for its turn to write", func() bool {
		var waiting int
		err := db.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND NOT granted AND application_name = 'first'`).Scan(&waiting)
		return err == nil && waiting > 0 && time.Since(look(second).SteppedAt) > 4500*time.Millisecond // it looks each second
	})
	if err := first.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer first.cmd.Process.Signal(syscall.SIGCONT)
	if _, err := db.Exec(t.Context(), `SELECT pg_advisory_unlock(6012214831)`); err != nil {
		t.Fatal(err)
	}
	stopped := at()
	within(t, 60*time.Second, "the second is the judge", holds(second))
	within(t, 60*time.Second, "the second takes steps", func() bool { return at() > stopped })
	if err := first.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	within(t, 30*time.Second, "the first is told that it is the controller no more", func() bool { return first.says("judge interrupted") || first.says("rollout not moved") })
	woken := at()
	within(t, 60*time.Second, "the second goes on", func() bool { return at() > woken })
	if !holds(second)() {
		t.Error("the first took the lease back")
	}
	first.mu.Lock()
	t.Logf("the first said:\n%s", first.said.String())
	first.mu.Unlock()
	stop()
	checkSteps(t, second.url, admin, id)
}

// newUsers lets new users come until it is told to stop.
func newUsers(app *provider.Provider, key string) (stop func()) {
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n += 60 {
			for i := range 60 {
				app.Evaluate(key, &flyball.EvaluationContext{TargetingKey: fmt.Sprint("user-", n+i)})
			}
			select {
			case <-quit:
				return
			case <-tick.C:
			}
		}
	}()
	return sync.OnceFunc(func() { close(quit); <-gone })
}

// checkSteps reads the whole audit log, and wants neither it nor the versions to
// have gaps, and the rollout to have been moved one step at a time, once each.
func checkSteps(t *testing.T, url, admin, id string) {
	t.Helper()
	var log struct {
		Entries []struct {
			Seq, Version int64
			Environment  string
			Action       string
			Evidence     struct{ Decision struct{ Step, Revision int } }
		}
	}
	if !send(url, "GET", "/api/v1/audit?limit=1000", admin, nil, &log) {
		t.Fatal("the audit log cannot be read")
	}
	slices.Reverse(log.Entries)
	step, revision, version := 0, 0, int64(0)
	for i, e := range log.Entries {
		if e.Seq != log.Entries[0].Seq+int64(i) {
			t.Fatalf("audit entry %d follows %d", e.Seq, log.Entries[i-1].Seq)
		}
		if e.Environment == "production" && e.Version > 0 {
			if version > 0 && e.Version != version+1 {
				t.Errorf("version %d follows %d", e.Version, version)
			}
			version = e.Version
		}
		d := e.Evidence.Decision
		if d.Revision > 0 {
			if d.Revision <= revision {
				t.Errorf("revision %d was decided upon after %d", d.Revision, revision)
			}
			revision = d.Revision
		}
		if e.Action == "rollout.advance" {
			if d.Step != step+1 {
				t.Errorf("step %d was taken after step %d", d.Step, step)
			}
			step = d.Step
		}
	}
	t.Logf("%d entries, %d steps of rollout %s", len(log.Entries), step, id)
}
