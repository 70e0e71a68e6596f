package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/flyballdev/flyball/internal/app"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"flyball": main})
}

// Each script is a story that a person could type. "server" starts a server
// with a database of its own and points the command line at it.
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server": startServer, "exit": exitCode, "receiver": startReceiver, "told": told,
			"person": person, "evaluated": evaluated, "match": match,
			"deploy": deploy, "take": take, "until": until,
		},
	})
}

func startServer(ts *testscript.TestScript, _ bool, args []string) {
	c := app.Config{Listen: "127.0.0.1:0", Data: ts.MkAbs("data"), WebhookLocal: slices.Contains(args, "--webhook-local")}
	a, err := app.Start(context.Background(), c)
	ts.Check(err)
	ts.Defer(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ts.Check(a.Stop(ctx))
	})
	ts.Setenv("FLYBALL_SERVER", a.URL)
	ts.Setenv("FLYBALL_TOKEN", a.AdminToken)
}

// startReceiver starts a server that takes what webhooks are told, at
// $RECEIVER.
func startReceiver(ts *testscript.TestScript, _ bool, _ []string) {
	messages := make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct{ Message string }
		json.NewDecoder(r.Body).Decode(&body)
		messages <- body.Message
	}))
	ts.Defer(s.Close)
	ts.Setenv("RECEIVER", s.URL)
	receivers.Store(s.URL, messages)
}

var receivers sync.Map // of channels of messages, by URL

// told waits until the receiver was told something that matches: told 'ABORTED'
func told(ts *testscript.TestScript, _ bool, args []string) {
	messages, _ := receivers.Load(ts.Getenv("RECEIVER"))
	for late := time.After(30 * time.Second); ; {
		select {
		case m := <-messages.(chan string):
			ts.Logf("told: %s", m)
			if ok, err := regexp.MatchString(args[0], m); err != nil || ok {
				ts.Check(err)
				return
			}
		case <-late:
			ts.Fatalf("nothing was told that matches %s", args[0])
		}
	}
}

// person makes a token of somebody with a role, whose name in capitals is the
// variable that holds it: person bob approver
func person(ts *testscript.TestScript, _ bool, args []string) {
	var made struct{ Secret string }
	if !send(ts.Getenv("FLYBALL_SERVER"), "POST", "/api/v1/tokens", ts.Getenv("FLYBALL_TOKEN"), map[string]any{
		"kind": "api", "name": args[0], "actor": "user:" + args[0], "grants": []any{map[string]any{"role": args[1]}}, "reason": "a new colleague",
	}, &made) {
		ts.Fatalf("no token for %s", args[0])
	}
	ts.Setenv(strings.ToUpper(args[0]), made.Secret)
}

// evaluated makes a program tell that it evaluates a flag in production, and
// waits until the server knows.
func evaluated(ts *testscript.TestScript, _ bool, args []string) {
	url, admin := ts.Getenv("FLYBALL_SERVER"), ts.Getenv("FLYBALL_TOKEN")
	var made struct{ Secret string }
	send(url, "POST", "/api/v1/tokens", admin, map[string]any{"kind": "sdk", "name": "shop", "environment": "production", "reason": "deploy"}, &made)
	at := time.Now().UTC().Format(time.RFC3339Nano)
	b := batch("evaluations-of-" + args[0])
	b["counts"] = []any{map[string]any{"flag": args[0], "variant": "off", "n": 1000, "from": at, "to": at}}
	if !send(url, "POST", "/sdk/v1/telemetry", made.Secret, b, new(any)) {
		ts.Fatalf("the telemetry is not taken")
	}
	for late := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var flag struct{ LastEvaluated string }
		if send(url, "GET", "/api/v1/flags/"+args[0], admin, nil, &flag); flag.LastEvaluated != "" {
			return
		}
		if time.Now().After(late) {
			ts.Fatalf("nobody knows that %s is evaluated", args[0])
		}
	}
}

// match keeps what the last command printed that matches: match ID 'change (\w+)'
func match(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout") + ts.ReadFile("stderr"))
	if m == nil {
		ts.Fatalf("nothing matches %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// exitCode runs a command that must end with a given code: exit 3 flyball …
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if err != nil {
		code = codeOf(err)
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}
