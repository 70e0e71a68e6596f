package main

import (
	"context"
	"os"
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
			"server": startServer, "exit": exitCode,
		},
	})
}

func startServer(ts *testscript.TestScript, _ bool, _ []string) {
	a, err := app.Start(context.Background(), app.Config{Listen: "127.0.0.1:0", Data: ts.MkAbs("data")})
	ts.Check(err)
	ts.Defer(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ts.Check(a.Stop(ctx))
	})
	ts.Setenv("FLYBALL_SERVER", a.URL)
	ts.Setenv("FLYBALL_TOKEN", a.AdminToken)
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
