package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/provider"
)

// agentEnvelope is what the agent of these tests may do: 5 % for a minute.
const agentEnvelope = `{"flags":["shop.*"],"environments":["production"],"maxPpm":50000,"maxMinutesPerExposure":1,"maxConcurrentRollouts":1,"maxRiskTier":"medium","changesPerHour":20}`

// An agent's day, by the tools of the protocol: on standard input and output with
// a feature that is good, and by HTTP with one that is bad.
func TestAnAgentsDay(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]bool{"good": true, "bad": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDay(t)
			if good {
				d.tools = d.overStdio()
				d.good()
			} else {
				d.tools = d.overHTTP()
				d.bad()
			}
		})
	}
}

// A day is a server, and an agent that works with it.
type day struct {
	*testing.T
	server       *process
	agent, bob   string
	tools        *mcp.ClientSession
	sdk, feature string
}

func newDay(t *testing.T) *day {
	d := &day{T: t, server: serve(t, program(t), t.TempDir()), feature: "shop.checkout.fast"}
	admin := d.server.token
	must(t, d.server, admin, "POST", "/api/v1/metrics", object{"key": "shop.errors", "type": "rate", "better": "lower", "analysis": "request", "reason": "guard the shop"})
	var envelope object
	if err := json.Unmarshal([]byte(agentEnvelope), &envelope); err != nil {
		t.Fatal(err)
	}
	d.agent = must(t, d.server, admin, "POST", "/api/v1/tokens", object{"kind": "agent", "name": "shipper", "onBehalfOf": "user:ann", "envelope": envelope, "reason": "ship checkout"})["secret"].(string)
	d.bob = must(t, d.server, admin, "POST", "/api/v1/tokens", object{"kind": "api", "name": "bob", "actor": "user:bob", "grants": []object{{"role": "approver"}}, "reason": "bob approves"})["secret"].(string)
	d.sdk = sdkToken(t, d.server, admin)
	return d
}

func (d *day) overStdio() *mcp.ClientSession {
	c := exec.Command(program(d.T), "mcp", "--server", d.server.url)
	c.Env = append(os.Environ(), "FLYBALL_TOKEN="+d.agent)
	return d.connect(&mcp.CommandTransport{Command: c})
}

func (d *day) overHTTP() *mcp.ClientSession {
	return d.connect(&mcp.StreamableClientTransport{Endpoint: d.server.url + "/mcp", HTTPClient: &http.Client{Transport: bearer(d.agent)}})
}

// bearer is a token that goes with each request.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

func (d *day) connect(transport mcp.Transport) *mcp.ClientSession {
	d.Helper()
	s, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(d.Context(), transport, nil)
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { s.Close() })
	return s
}

// call uses a tool; refused says whether it ought to be.
func (d *day) call(tool string, refused bool, args object) object {
	d.Helper()
	r, err := d.tools.CallTool(d.Context(), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		d.Fatalf("%s: %v", tool, err)
	}
	body, err := json.Marshal(r.StructuredContent)
	if err != nil {
		d.Fatal(err)
	}
	var out object
	if err := json.Unmarshal(body, &out); err != nil || r.IsError != refused {
		d.Fatalf("%s: refused %v: %s", tool, r.IsError, body)
	}
	return out
}

// await waits for a rollout, however often it takes.
func (d *day) await(id any, what string) object {
	d.Helper()
	for began := time.Now(); ; {
		out := d.call("await_verdict", false, object{"rollout": id, "for": what, "seconds": 20})
		if out["done"] == true {
			return out
		}
		if time.Since(began) > 2*time.Minute {
			d.Fatalf("nothing has come of it: %v; %v", out, d.call("get_evidence", false, object{"rollout": id}))
		}
	}
}

func want(t *testing.T, got object, field string, v any) {
	t.Helper()
	if got[field] != v {
		t.Fatalf("%s is %v, want %v: %v", field, got[field], v, got)
	}
}

// darkAndDeployed makes the flag, and deploys code that reads it.
func (d *day) darkAndDeployed(errors float64) {
	made := d.call("create_flag", false, object{"key": d.feature, "owner": "default", "description": "a faster checkout", "reason": "rebuild checkout"})
	want(d.T, made, "safe_variant", "off")
	deployed(d.T, d.server.url, d.sdk, d.feature, errors)
	within(d.T, time.Minute, "the flag is evaluated", func() bool {
		return d.call("explain_flag", false, object{"flag": d.feature})["last_evaluated"] != nil
	})
}

func (d *day) expose(share int, seconds float64) object {
	return object{
		"flag": d.feature, "environment": "production", "share_ppm": share, "minutes": seconds / 60, "reason": "a look",
		"guardrails": []object{{"metric": "shop.errors", "relative": 0.5}},
	}
}

func (d *day) good() {
	d.darkAndDeployed(0.02)
	first := d.call("expose", false, d.expose(1000, 6)) // 0.1 %, for what would be two minutes
	ended := d.await(first["rollout"], "end")
	want(d.T, ended, "outcome", "stopped")
	if v := d.call("get_evidence", false, object{"rollout": first["rollout"]}); v["verdict"] == "breached" {
		d.Fatalf("the good feature is bad: %v", v)
	}
	second := d.call("expose", false, d.expose(50_000, 30)) // raised within the envelope
	want(d.T, d.await(second["rollout"], "verdict"), "outcome", "healthy")
	if v := d.call("get_evidence", false, object{"rollout": second["rollout"]}); len(v["guardrails"].([]any)) != 1 {
		d.Fatalf("the evidence is %v", v)
	}
	d.call("rollout_action", false, object{"rollout": second["rollout"], "action": "abort", "reason": "seen enough"})

	no := d.call("expose", true, d.expose(200_000, 30)) // and beyond it
	want(d.T, no, "code", "forbidden")
	if details := no["details"].(object); details["limit"] != "maxPpm" || details["allowed"] != 50_000.0 || details["how"] == "" {
		d.Fatalf("the refusal tells %v", details)
	}
	plan := d.call("plan_change", false, object{"operation": "start_rollout", "reason": "ship it", "input": object{
		"flag": d.feature, "environment": "production", "treatment": "on", "control": "off",
		"steps":      []object{{"ppm": 200_000, "hold": "2s"}, {"ppm": 1_000_000, "hold": "2s"}},
		"guardrails": []object{{"metric": "shop.errors", "margin": object{"relative": 0.5}}},
	}})
	if beyond, ok := plan["beyond_envelope"].(object); !ok || beyond["limit"] != "maxPpm" {
		d.Fatalf("the plan says %v", plan)
	}
	d.call("apply_plan", true, object{"digest": plan["digest"]})
	asked := d.call("request_approval", false, object{"digest": plan["digest"]})
	change := asked["change"].(string)
	if needs := asked["plan"].(object)["needs"].(object); needs["number"] != 1.0 {
		d.Fatalf("it needs %v", needs)
	}
	d.applied(change)
	ended = d.await(d.feature, "end")
	want(d.T, ended, "outcome", "completed")
	work := d.call("worklist", false, object{"why": "completed"})["work"].([]any)
	if len(work) != 1 || work[0].(object)["flag"] != d.feature || work[0].(object)["variant"] != "on" {
		d.Fatalf("the clean-up list is %v", work)
	}
}

// applied lets people approve and apply a request: not the agent, and not before
// it was approved.
func (d *day) applied(change string) {
	at := "/api/v1/changes/" + change
	admin, url := d.server.token, d.server.url
	var answer object
	if send(url, "POST", at+"/approve", d.agent, object{"reason": "I like it"}, &answer) {
		d.Fatal("the agent approves its own request")
	}
	if send(url, "POST", at+"/apply", admin, object{}, &answer) {
		d.Fatal("it is applied though nobody approved")
	}
	must(d.T, d.server, d.bob, "POST", at+"/approve", object{"reason": "the evidence is good"})
	if send(url, "POST", at+"/apply", d.agent, object{}, &answer) {
		d.Fatal("the agent applies what goes beyond its envelope")
	}
	must(d.T, d.server, admin, "POST", at+"/apply", object{})
}

func (d *day) bad() {
	d.darkAndDeployed(0.9)
	first := d.call("expose", false, d.expose(1000, 60))
	out := d.await(first["rollout"], "verdict")
	if out["outcome"] != "breached" && out["outcome"] != "aborted" {
		d.Fatalf("the bad feature is not found out: %v", out)
	}
	want(d.T, d.await(first["rollout"], "end"), "outcome", "aborted")
	v := d.call("get_evidence", false, object{"rollout": first["rollout"]})
	want(d.T, v, "verdict", "breached")
	work := d.call("worklist", false, object{})["work"].([]any)
	if len(work) != 1 || work[0].(object)["flag"] != d.feature || work[0].(object)["why"] != "aborted" || work[0].(object)["variant"] != "off" {
		d.Fatalf("the worklist is %v", work)
	}
	history := d.call("history", false, object{"flag": d.feature})["entries"].([]any)
	if last := history[0].(object); last["actor"] != string(flyball.ControllerID) || last["action"] != "rollout.abort" {
		d.Fatalf("the last that happened is %v", last)
	}
}

// deployed is a program that reads a flag, and that ever new customers use:
// of those who get the feature, a share meets an error, and of the others one in
// 25.
func deployed(t interface {
	Cleanup(func())
	Fatal(...any)
}, url, sdk, key string, errors float64) {
	p, err := provider.New(provider.Options{Server: url, Token: sdk, Service: "shop", Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err == nil {
		err = p.Start(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		random := rand.New(rand.NewPCG(1, 2))
		tick := time.NewTicker(25 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; <-tick.C {
			for range 25 { // a thousand a second
				n++
				user := fmt.Sprint("customer-", n)
				failing := 0.04
				if p.Evaluate(key, &flyball.EvaluationContext{TargetingKey: user}).Variant == "on" {
					failing = errors
				}
				o := flyball.Observation{T: time.Now(), Metric: "shop.errors", Unit: user}
				if random.Float64() < failing {
					o.Value = 1
				}
				_ = p.Observe(o) // what it has no room for is counted, and told
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
		late, end := context.WithTimeout(context.Background(), 2*time.Second)
		defer end()
		_ = p.Close(late)
	})
}

// scripted lets a program that is deployed by a script end with it.
type scripted struct{ *testscript.TestScript }

func (s scripted) Cleanup(f func())   { s.Defer(f) }
func (s scripted) Fatal(parts ...any) { s.Fatalf("%s", fmt.Sprint(parts...)) }

// deploy deploys a program that reads a flag: deploy shop.checkout.fast good
func deploy(ts *testscript.TestScript, _ bool, args []string) {
	errors := map[string]float64{"good": 0.02, "bad": 0.9}[args[1]]
	deployed(scripted{ts}, ts.Getenv("FLYBALL_SERVER"), ts.Getenv("SDK"), args[0], errors)
}

// take sets a variable to a field of the JSON that was printed last: take ID id
func take(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for part := range strings.SplitSeq(args[1], ".") {
		m, ok := v.(map[string]any)
		if !ok {
			ts.Fatalf("there is no %s in it", args[1])
		}
		v = m[part]
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

// until runs a command until it prints something: until 'completed' flyball …
func until(ts *testscript.TestScript, _ bool, args []string) {
	for late := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if err := ts.Exec(args[1], args[2:]...); err == nil && strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		if time.Now().After(late) {
			ts.Fatalf("it never prints %s: %s%s", args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
	}
}
