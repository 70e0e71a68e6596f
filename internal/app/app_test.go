package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/app"
	"github.com/flyballdev/flyball/internal/pgtest"
	"github.com/flyballdev/flyball/provider"
)

// onBoth runs a story against a server on each of the two databases.
func onBoth(t *testing.T, story func(t *testing.T, c app.Config)) {
	t.Run("sqlite", func(t *testing.T) {
		story(t, app.Config{Listen: "127.0.0.1:0", Data: t.TempDir()})
	})
	t.Run("postgres", func(t *testing.T) {
		story(t, app.Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Database: pgtest.URL(t)})
	})
}

func start(t *testing.T, c app.Config) *app.App {
	t.Helper()
	a, err := app.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, a) })
	return a
}

func stop(t *testing.T, a *app.App) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := a.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// A person is somebody who uses the API.
type person struct {
	t          *testing.T
	url, token string
}

// do sends a request, fails the test if it is refused, and returns the answer.
func (p person) do(method, path string, body any) map[string]any {
	p.t.Helper()
	status, answer := p.try(method, path, body)
	if status >= 300 {
		p.t.Fatalf("%s %s: %d %v", method, path, status, answer)
	}
	return answer
}

func (p person) try(method, path string, body any) (int, map[string]any) {
	p.t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := http.NewRequest(method, p.url+path, bytes.NewReader(encoded))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+p.token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal(content, &answer); err != nil {
		p.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, content)
	}
	return resp.StatusCode, answer
}

const key = "shop.checkout.fast"

// stage makes a flag that is enabled in production, and a token for programs.
func (p person) stage() (sdk string) {
	p.t.Helper()
	p.do("POST", "/api/v1/flags", map[string]any{
		"key": key, "kind": "release", "owner": "default", "expiresAt": time.Now().AddDate(0, 1, 0).Format(time.DateOnly), "type": "boolean",
		"variants": map[string]any{"on": true, "off": false}, "safeVariant": "off", "reason": "a test",
	})
	p.do("POST", "/api/v1/environments/production/flags/"+key+"/enable", map[string]any{"reason": "a test"})
	made := p.do("POST", "/api/v1/tokens", map[string]any{"kind": "sdk", "name": "app", "environment": "production", "reason": "a test"})
	return made["secret"].(string)
}

func (p person) serve(variant string) {
	p.t.Helper()
	p.do("PUT", "/api/v1/environments/production/flags/"+key+"/default", map[string]any{"default": map[string]any{"variant": variant}, "reason": "a test"})
}

// program is an application with a provider of its own, as OpenFeature sees it.
func program(t *testing.T, o provider.Options) (*provider.Provider, *openfeature.Client) {
	t.Helper()
	p, err := provider.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := openfeature.SetNamedProviderWithContextAndWait(t.Context(), t.Name(), p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Shutdown() })
	return p, openfeature.NewClient(t.Name())
}

func value(t *testing.T, c *openfeature.Client, user string) bool {
	t.Helper()
	v, err := c.BooleanValue(t.Context(), key, false, openfeature.NewEvaluationContext(user, nil))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// reach waits until a provider runs a ruleset for which ok holds.
func reach(t *testing.T, p *provider.Provider, what string, ok func() bool) {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		changed := p.Changed()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("never: %s", what)
		}
	}
}

func TestAChangeReachesAnApplicationAndOutlivesTheServer(t *testing.T) {
	onBoth(t, func(t *testing.T, c app.Config) {
		a := start(t, c)
		ann := person{t, a.URL, a.AdminToken}
		sdk := ann.stage()
		folder := t.TempDir()
		p, client := program(t, provider.Options{Server: a.URL, Token: sdk, DataDir: folder, Service: "shop"})
		if value(t, client, "user-1") {
			t.Fatal("on before anybody said so")
		}
		began := time.Now()
		ann.serve("on")
		reach(t, p, "the change arrives", func() bool { return value(t, client, "user-1") })
		t.Logf("from the call to the application: %v", time.Since(began))

		ann.do("POST", "/api/v1/environments/production/flags/"+key+"/kill", map[string]any{"reason": "a test"})
		reach(t, p, "the kill arrives", func() bool { return !value(t, client, "user-1") })
		ann.do("POST", "/api/v1/environments/production/flags/"+key+"/resume", map[string]any{"reason": "a test"})
		reach(t, p, "the resume arrives", func() bool { return value(t, client, "user-1") })

		stop(t, a)
		if !value(t, client, "user-1") {
			t.Error("the value changed when the server went away")
		}
		p.Shutdown()
		_, again := program(t, provider.Options{Server: a.URL, Token: sdk, DataDir: folder, Service: "shop", InitTimeout: time.Second})
		if !value(t, again, "user-1") {
			t.Error("a program that starts while the server is down does not have the last value")
		}
	})
}

// A bad rollout is judged by what applications send, and taken back in
// seconds; nobody tells the controller.
func TestABadRolloutIsTakenBack(t *testing.T) {
	onBoth(t, func(t *testing.T, c app.Config) {
		c.WebhookLocal = true
		a := start(t, c)
		ann := person{t, a.URL, a.AdminToken}
		pager := listen(t)
		ann.do("POST", "/api/v1/webhooks", map[string]any{"key": "pager", "kind": "generic", "url": pager.URL, "actions": []string{"rollout.abort"}, "reason": "a test"})
		sdk := ann.stage()
		ann.do("POST", "/api/v1/metrics", map[string]any{"key": "shop.errors", "type": "rate", "better": "lower", "analysis": "request", "reason": "a test"})
		p, client := program(t, provider.Options{Server: a.URL, Token: sdk, Service: "shop"})
		started := ann.do("POST", "/api/v1/rollouts", map[string]any{
			"flag": key, "environment": "production", "treatment": "on", "control": "off", "reason": "a test",
			"steps":      []any{map[string]any{"ppm": 200_000, "hold": "10m"}, map[string]any{"ppm": 1_000_000}},
			"guardrails": []any{map[string]any{"metric": "shop.errors", "margin": map[string]any{"relative": 0.05}}},
		})
		reach(t, p, "the rollout arrives", func() bool { return p.Ruleset().Live() })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		go func() { // users whose every request fails where the treatment is served
			pace := time.NewTicker(2 * time.Millisecond)
			defer pace.Stop()
			for i := 0; ctx.Err() == nil; i++ {
				<-pace.C
				ec := openfeature.NewEvaluationContext(fmt.Sprint("user-", i), nil)
				on, _ := client.BooleanValue(ctx, key, false, ec)
				failed := 0.0
				if on || i%25 == 0 {
					failed = 1
				}
				client.Track(ctx, "shop.errors", ec, openfeature.NewTrackingEventDetails(failed))
			}
		}()
		began := time.Now()
		reach(t, p, "the rollout is aborted", func() bool { return !p.Ruleset().Live() })
		t.Logf("taken back after %v", time.Since(began))
		cancel()
		r := ann.do("GET", "/api/v1/rollouts/"+started["id"].(string), nil)
		if r["state"] != string(flyball.RolloutAborted) {
			t.Errorf("the rollout is %v: %v", r["state"], r["why"])
		}
		audit := ann.do("GET", "/api/v1/audit?limit=1&subject="+key, nil)["entries"].([]any)[0].(map[string]any)
		if audit["action"] != "rollout.abort" || audit["evidence"] == nil {
			t.Errorf("the newest audit entry is %v", audit)
		}
		message := pager.next(t).body["message"].(string)
		for _, part := range []string{
			key + " in production: rollout ABORTED\nEverybody is on the control, \"off\"; 20 % of all units had \"on\", at step 1 of 2. Exposed so far: ",
			"\nshop.errors is breached; ", " % with the treatment, ", " % with the control; estimate × ", "; e-value ", " that prove harm; from ",
			"\nBy system:rollout-controller: guardrail breached: ", "flyball rollout start " + key,
		} {
			if !strings.Contains(message, part) {
				t.Errorf("people are told %q, which lacks %q", message, part)
			}
		}
	})
}

func TestASecondStartFindsEverythingAndMakesNoSecondAdmin(t *testing.T) {
	onBoth(t, func(t *testing.T, c app.Config) {
		a := start(t, c)
		ann := person{t, a.URL, a.AdminToken}
		ann.stage()
		before := ann.do("GET", "/api/v1/environments/production", nil)
		stop(t, a)
		b := start(t, c)
		if b.AdminToken != "" {
			t.Error("a second admin token was made")
		}
		ann.url = b.URL
		if after := ann.do("GET", "/api/v1/environments/production", nil); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("production was %v and is %v", before, after)
		}
	})
}

func TestAStartThatFailsLeavesNothingBehind(t *testing.T) {
	c := app.Config{Listen: "127.0.0.1:0", Data: t.TempDir()}
	a := start(t, c)
	c.Listen = a.URL[len("http://"):]
	if _, err := app.Start(t.Context(), c); err == nil {
		t.Fatal("two servers listen at one address")
	}
	c.Listen, c.Data = "127.0.0.1:0", filepath.Join(c.Data, "flyball.db", "no-folder")
	if _, err := app.Start(t.Context(), c); err == nil {
		t.Fatal("a server started in a folder that cannot be")
	}
}
