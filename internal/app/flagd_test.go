package app_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/flyballdev/flyball/internal/app"
)

// Flagd's programs have an address of their own, if they are given one, and
// their streams do not hold up a server that stops.
func TestFlagdsProgramsAreServedOnAnAddressOfTheirOwn(t *testing.T) {
	if a := start(t, app.Config{Listen: "127.0.0.1:0", Data: t.TempDir()}); a.FlagdAddress != "" {
		t.Errorf("unasked, it listens on %s", a.FlagdAddress)
	}
	a := start(t, app.Config{Listen: "127.0.0.1:0", FlagdListen: "127.0.0.1:0", Data: t.TempDir()})
	ann := person{t, a.URL, a.AdminToken}
	token := ann.do("POST", "/api/v1/tokens", map[string]any{"kind": "sdk", "name": "s", "environment": "production", "reason": "a test"})["secret"].(string)
	conn, err := grpc.NewClient(a.FlagdAddress, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "x-api-key", token), 10*time.Second)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/flagd.sync.v1.FlagSyncService/SyncFlags")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(new(emptypb.Empty)); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(emptypb.Empty)); err != nil { // the document is an unknown field to it
		t.Fatal(err)
	}
	began := time.Now()
	stop(t, a)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to stop", took)
	}
	if err := stream.RecvMsg(new(emptypb.Empty)); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}
}
