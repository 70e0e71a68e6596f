package app_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/app"
	"github.com/flyballdev/flyball/provider"
)

// A cable carries an instance's requests until it is cut; a cut one carries
// nothing, not even on connections that were open.
type cable struct {
	cut  atomic.Bool
	gone chan struct{}
}

func (c *cable) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.cut.Load() {
		return nil, errors.New("the cable is cut")
	}
	ctx, cancel := context.WithCancel(r.Context())
	go func() {
		select {
		case <-c.gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	return http.DefaultTransport.RoundTrip(r.WithContext(ctx))
}

func (c *cable) pull() {
	c.cut.Store(true)
	close(c.gone)
}

// until waits for something that only the server knows.
func (p person) until(what string, ok func() bool) {
	p.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			p.t.Fatalf("never: %s", what)
		}
	}
}

func (p person) fleet() map[string]any {
	return p.do("GET", "/api/v1/fleet?environment=production", nil)["environments"].([]any)[0].(map[string]any)
}

// Eight servers, one of which does not hear of the change: that sank a company
// in 2012. Here the change is told to be incomplete, the server is named, and
// nothing goes further until it is heard of or declared gone.
func TestKnight8(t *testing.T) {
	a := start(t, app.Config{Listen: "127.0.0.1:0", Data: t.TempDir()})
	ann := person{t, a.URL, a.AdminToken}
	sdk := ann.stage()
	flag := ann.do("GET", "/api/v1/flags/"+key, nil)
	update := map[string]any{"consistency": "stateful", "reason": "orders are kept by it"}
	for _, field := range []string{"key", "kind", "owner", "expiresAt", "type", "variants", "safeVariant"} {
		update[field] = flag[field]
	}
	ann.do("PUT", "/api/v1/flags/"+key, update)

	var fleet [8]*provider.Provider
	var eighth *cable
	for i := range fleet {
		eighth = &cable{gone: make(chan struct{})}
		p, err := provider.New(provider.Options{Server: a.URL, Token: sdk, Service: "orders", Instance: fmt.Sprintf("orders-%d", i+1), Transport: eighth})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			p.Close(ctx)
		})
		fleet[i] = p
	}
	ann.until("eight instances converge", func() bool { f := ann.fleet(); return f["converged"] == 8.0 && f["instances"] == 8.0 })

	eighth.pull()
	ann.do("POST", "/api/v1/rollouts", map[string]any{
		"flag": key, "environment": "production", "treatment": "on", "control": "off", "reason": "a test",
		"steps": []any{map[string]any{"ppm": 500_000, "hold": "1s"}, map[string]any{"ppm": 1_000_000, "hold": "1h"}},
	})
	ann.until("seven of eight run the rollout", func() bool { return ann.fleet()["converged"] == 7.0 })
	behind := ann.fleet()["behind"].([]any)
	if len(behind) != 1 || behind[0].(map[string]any)["id"] != "orders-8" {
		t.Errorf("behind are %v, want orders-8", behind)
	}

	ctx, stopTraffic := context.WithCancel(t.Context())
	defer stopTraffic()
	go func() { // all the evidence that an advance could want
		pace := time.NewTicker(2 * time.Millisecond)
		defer pace.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			<-pace.C
			p, unit := fleet[i%7], fmt.Sprint("user-", i%2000)
			p.Evaluate(key, &flyball.EvaluationContext{TargetingKey: unit})
			p.Observe(flyball.Observation{Metric: "orders", Unit: unit, Value: 1})
		}
	}()
	rollout := func() map[string]any { return ann.do("GET", "/api/v1/rollouts/"+key, nil) }
	ann.until("there is evidence for a step", func() bool {
		e, _ := rollout()["evidence"].(map[string]any)
		units, _ := e["stepUnits"].(map[string]any)
		n, _ := units["treatment"].(float64)
		return n >= 150 && time.Since(when(t, rollout()["steppedAt"])) > 4*time.Second
	})
	if r := rollout(); r["at"] != 0.0 {
		t.Fatalf("it took the next step while orders-8 ran old rules: %v", r["why"])
	}
	old := fleet[7].Evaluate(key, &flyball.EvaluationContext{TargetingKey: "user-1"})
	if old.Variant != "off" {
		t.Errorf("the instance that is cut off serves %q", old.Variant)
	}

	ann.do("POST", "/api/v1/fleet/forget", map[string]any{"instance": "orders-8", "environment": "production", "reason": "its rack is on fire"})
	ann.until("the rollout goes on", func() bool { return rollout()["at"] == 1.0 })
	stopTraffic()
	entries := ann.do("GET", "/api/v1/audit?limit=5&subject="+key, nil)["entries"].([]any)
	if reason := entries[0].(map[string]any)["reason"].(string); !strings.Contains(reason, "50 %") {
		t.Errorf("the advance says %q", reason)
	}

	// Nor does a first step go anywhere while somebody lags.
	ann.do("POST", "/api/v1/rollouts/"+key+"/abort", map[string]any{"reason": "a test"})
	now := time.Now().UTC().Format(time.RFC3339Nano)
	orders := person{t, a.URL, sdk}
	orders.do("POST", "/sdk/v1/telemetry", map[string]any{
		"batch": "an-old-friend", "seq": 1, "sentAt": now, "instance": map[string]any{"id": "orders-8", "service": "orders"}, "applied": map[string]any{"epoch": 1, "version": 1},
	})
	ann.until("orders-8 is back", func() bool { return ann.fleet()["instances"] == 8.0 })
	status, problem := ann.try("POST", "/api/v1/rollouts", map[string]any{
		"flag": key, "environment": "production", "treatment": "on", "control": "off", "reason": "a test", "steps": []any{map[string]any{"ppm": 500_000}},
	})
	if details, _ := problem["details"].(map[string]any); status != http.StatusConflict || !strings.Contains(fmt.Sprint(details["behind"]), "orders-8") {
		t.Errorf("a start while orders-8 lags: %d %v", status, problem)
	}
}

func when(t *testing.T, v any) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, v.(string))
	if err != nil {
		t.Fatal(err)
	}
	return at
}
