package record

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Do is what is left of a benchmark program once its flags are read: it measures
// until it is done or interrupted, shows what was found out, and writes it into a
// folder. What goes wrong ends the program.
func Do[F any](benchmark, folder string, measure func(context.Context) (F, error), show func(io.Writer, *Run, F)) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := Begin(benchmark, "make bench-"+benchmark)
	found, err := measure(ctx)
	Fail(err)
	show(os.Stdout, run, found)
	path, err := run.Write(folder, found)
	Fail(err)
	fmt.Println("\nresults:", path)
}

// Fail ends the program if there is an error.
func Fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
