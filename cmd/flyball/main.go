// Flyball is a feature-flag and progressive-delivery platform: a server, its
// command line, and a demonstration of both.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/flyballdev/flyball/internal/cli"
)

func main() { os.Exit(run()) }

// run stands apart from main so that its defers run before the exit.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
