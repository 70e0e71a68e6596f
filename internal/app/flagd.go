package app

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/flyballdev/flyball/internal/api"
)

// flagdStopTime is how long streams of flagd's protocol may take to end, which
// they do by themselves; a client that does not read would hold up the rest.
const flagdStopTime = 2 * time.Second

// serveFlagd serves flagd's sync protocol on a listener of its own.
func (a *App) serveFlagd(handler *api.Server, listen string) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listen on %s for flagd: %w", listen, err)
	}
	a.FlagdAddress = listener.Addr().String()
	server, done := handler.FlagdSync(), make(chan struct{})
	a.onStop("flagd server", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, flagdStopTime)
		defer cancel()
		handler.Drain()
		server.Stop(ctx)
		<-done
		return nil
	})
	go func() {
		defer close(done)
		if err := server.Serve(listener); err != nil {
			a.failed <- fmt.Errorf("serve flagd: %w", err)
		}
	}()
	return nil
}
