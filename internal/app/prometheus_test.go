package app_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/flyballdev/flyball/internal/app"
	"github.com/flyballdev/flyball/provider"
)

// A scraped is a service with one gauge, and the Prometheus that scrapes it.
type scraped struct {
	t      *testing.T
	url    string // of Prometheus
	gauge  atomic.Uint64
	folder string
	listen string
	server *exec.Cmd
}

// scrape starts a real Prometheus, with a past of the gauge if one is given: the
// value at each second before now.
func scrape(t *testing.T, past func(at time.Time) float64) *scraped {
	t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("install Prometheus: docs/install-test-deps.sh")
	}
	s := &scraped{t: t, folder: t.TempDir(), listen: freeAddress(t)}
	s.url = "http://" + s.listen
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		noise := 0.01 * rand.NormFloat64()
		fmt.Fprintf(w, "# TYPE cpu gauge\ncpu{service=\"checkout\"} %v\n", s.value()+noise)
	}))
	t.Cleanup(exporter.Close)
	config := fmt.Sprintf("global: {scrape_interval: 250ms, scrape_timeout: 250ms}\nscrape_configs: [{job_name: checkout, static_configs: [{targets: [%q]}]}]\n",
		strings.TrimPrefix(exporter.URL, "http://"))
	if err := os.WriteFile(filepath.Join(s.folder, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if past != nil {
		s.remember(past)
	}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *scraped) value() float64 { return math.Float64frombits(s.gauge.Load()) }
func (s *scraped) set(v float64)  { s.gauge.Store(math.Float64bits(v)) }

// remember writes a past of a quarter of an hour into Prometheus's data.
func (s *scraped) remember(past func(at time.Time) float64) {
	var b strings.Builder
	b.WriteString("# TYPE cpu gauge\n")
	now := time.Now().Truncate(time.Second)
	for at := now.Add(-15 * time.Minute); !at.After(now); at = at.Add(time.Second) {
		fmt.Fprintf(&b, "cpu{service=\"checkout\"} %v %d\n", past(at), at.Unix())
	}
	b.WriteString("# EOF\n")
	file := filepath.Join(s.folder, "past")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.Command("promtool", "tsdb", "create-blocks-from", "openmetrics", file, filepath.Join(s.folder, "data")).CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
}

// start starts Prometheus, and waits until it has a value.
func (s *scraped) start() {
	s.t.Helper()
	s.server = exec.Command("prometheus", "--config.file="+filepath.Join(s.folder, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(s.folder, "data"),
		"--web.listen-address="+s.listen, "--log.level=warn")
	s.server.Stderr = os.Stderr
	s.server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.server.Start(); err != nil {
		s.t.Fatal(err)
	}
	wait(s.t, "Prometheus has a value", func() bool {
		resp, err := http.Get(s.url + "/api/v1/query?query=max(cpu)")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return strings.Contains(string(body), `"value":[`)
	})
}

// kill ends Prometheus without a chance to say so.
func (s *scraped) kill() {
	s.server.Process.Kill()
	s.server.Wait()
}

// wait waits for what another process does, of which nobody tells us.
func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// cpu makes a metric of the gauge, and starts a rollout that it guards.
func (p person) cpu(source map[string]any, steps ...any) (rollout string) {
	p.t.Helper()
	source["query"], source["every"] = `max(cpu{service="checkout"})`, "1s"
	p.do("POST", "/api/v1/metrics", map[string]any{"key": "shop.cpu", "type": "stream", "better": "lower", "of": map[string]any{"prometheus": source}, "reason": "a test"})
	started := p.do("POST", "/api/v1/rollouts", map[string]any{
		"flag": key, "environment": "production", "treatment": "on", "control": "off", "reason": "a test",
		"steps": steps, "guardrails": []any{map[string]any{"metric": "shop.cpu"}},
	})
	return started["id"].(string)
}

// becomes waits until a rollout is in a state, for a reason that holds a word.
func (p person) becomes(rollout, state, word string) {
	p.t.Helper()
	var last map[string]any
	defer func() {
		if p.t.Failed() {
			p.t.Logf("the rollout is %v: %v; %v", last["state"], last["why"], last["evidence"])
		}
	}()
	wait(p.t, "the rollout is "+state+", "+word, func() bool {
		last = p.do("GET", "/api/v1/rollouts/"+rollout, nil)
		why, _ := last["why"].(string)
		return last["state"] == state && strings.Contains(why, word)
	})
}

// fares waits until the rollout's stream is in a state.
func (p person) fares(rollout, state string) {
	p.t.Helper()
	wait(p.t, "the stream is "+state, func() bool {
		evidence, _ := p.do("GET", "/api/v1/rollouts/"+rollout, nil)["evidence"].(map[string]any)
		guardrails, _ := evidence["guardrails"].([]any)
		return len(guardrails) == 1 && guardrails[0].(map[string]any)["stream"].(map[string]any)["state"] == state
	})
}

// gated is a step that is not left, since an agent would have to say so.
var gated = map[string]any{"ppm": 500_000, "hold": "2s", "gates": []any{map[string]any{"agent": "nobody"}}}

func TestALimitInARealPrometheusAbortsARollout(t *testing.T) {
	t.Parallel() // with the others: they mostly wait
	s := scrape(t, nil)
	onBoth(t, func(t *testing.T, c app.Config) {
		s.set(0.3)
		c.PrometheusURL = s.url
		a := start(t, c)
		ann := person{t, a.URL, a.AdminToken}
		p, client := program(t, provider.Options{Server: a.URL, Token: ann.stage(), Service: "shop"})
		r := ann.cpu(map[string]any{"threshold": map[string]any{"value": 0.9, "for": "2s"}}, gated, map[string]any{"ppm": 1_000_000})
		reach(t, p, "the rollout arrives", func() bool { return p.Ruleset().Live() })
		ann.fares(r, "normal")
		began := time.Now()
		s.set(0.97)
		reach(t, p, "the rollout is aborted", func() bool { return !p.Ruleset().Live() })
		t.Logf("taken back after %v, of which the limit may be exceeded for 2 s", time.Since(began))
		ann.becomes(r, "aborted", "is above 0.9 for 2s or longer")
		if value(t, client, "user-1") {
			t.Error("the treatment is served still")
		}
	})
}

func TestAnAlarmInARealPrometheusHoldsARollout(t *testing.T) {
	t.Parallel()
	s := scrape(t, func(time.Time) float64 { return 0.4 + 0.01*rand.NormFloat64() })
	s.set(0.4)
	a := start(t, app.Config{Listen: "127.0.0.1:0", Data: t.TempDir(), PrometheusURL: s.url})
	ann := person{t, a.URL, a.AdminToken}
	ann.stage()
	r := ann.cpu(map[string]any{"baseline": map[string]any{}}, gated, map[string]any{"ppm": 1_000_000})
	ann.fares(r, "normal") // it has learnt from the past
	s.set(0.6)
	ann.becomes(r, "holding", "alarm: it is at 0.")
	ann.fares(r, "alarm")
}

// On everybody, an alarm right after the step is the treatment's doing.
func TestAnAlarmOnEverybodyAbortsARollout(t *testing.T) {
	t.Parallel()
	s := scrape(t, func(time.Time) float64 { return 0.4 + 0.01*rand.NormFloat64() })
	s.set(0.4)
	a := start(t, app.Config{Listen: "127.0.0.1:0", Data: t.TempDir(), PrometheusURL: s.url})
	ann := person{t, a.URL, a.AdminToken}
	ann.stage()
	r := ann.cpu(map[string]any{"baseline": map[string]any{}}, map[string]any{"ppm": 1_000_000, "hold": "10m"})
	ann.fares(r, "normal")
	s.set(0.6)
	ann.becomes(r, "aborted", "everybody had got the treatment")
}

func TestARolloutHoldsWhilePrometheusIsDown(t *testing.T) {
	t.Parallel()
	s := scrape(t, nil)
	s.set(0.3)
	a := start(t, app.Config{Listen: "127.0.0.1:0", Data: t.TempDir(), PrometheusURL: s.url})
	ann := person{t, a.URL, a.AdminToken}
	p, client := program(t, provider.Options{Server: a.URL, Token: ann.stage(), Service: "shop"})
	r := ann.cpu(map[string]any{"threshold": map[string]any{"value": 0.9}}, gated, map[string]any{"ppm": 1_000_000})
	reach(t, p, "the rollout arrives", func() bool { return p.Ruleset().Live() })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // without exposures of both arms a rollout does not resume
		pace := time.NewTicker(5 * time.Millisecond)
		defer pace.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			<-pace.C
			client.BooleanValue(ctx, key, false, openfeature.NewEvaluationContext(fmt.Sprint("user-", i%1000), nil))
		}
	}()
	ann.fares(r, "normal")
	s.kill()
	ann.becomes(r, "holding", "no data for")
	ann.fares(r, "silent")
	s.start()
	ann.becomes(r, "running", "what held it is over")
	ann.fares(r, "normal")
}

func TestAServerWithoutPrometheusRefusesStreams(t *testing.T) {
	a := start(t, app.Config{Listen: "127.0.0.1:0", Data: t.TempDir()})
	ann := person{t, a.URL, a.AdminToken}
	ann.stage()
	ann.do("POST", "/api/v1/metrics", map[string]any{
		"key": "shop.cpu", "type": "stream", "better": "lower", "reason": "a test",
		"of": map[string]any{"prometheus": map[string]any{"query": "max(cpu)", "threshold": map[string]any{"value": 1}}},
	})
	status, answer := ann.try("POST", "/api/v1/rollouts", map[string]any{
		"flag": key, "environment": "production", "treatment": "on", "control": "off", "reason": "a test",
		"steps": []any{map[string]any{"ppm": 1_000_000}}, "guardrails": []any{map[string]any{"metric": "shop.cpu"}},
	})
	if status != http.StatusUnprocessableEntity && status != http.StatusBadRequest || !strings.Contains(fmt.Sprint(answer), "start it with --prometheus-url") {
		t.Errorf("%d %v", status, answer)
	}
	if _, err := app.Start(t.Context(), app.Config{Listen: "127.0.0.1:0", Data: t.TempDir(), PrometheusURL: "prometheus:9090"}); err == nil || !strings.Contains(err.Error(), "http://prometheus:9090") {
		t.Error(err)
	}
}
