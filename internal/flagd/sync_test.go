package flagd_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	_ "google.golang.org/protobuf/types/known/structpb" // registers Struct

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/flagd"
)

// schema is the sync protocol as flagd publishes it, which tells the messages
// to the stock implementation of protocol buffers that the tests call with.
var schema = sync.OnceValue(func() protoreflect.FileDescriptor {
	text := func(name string, n int32) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{Name: &name, Number: &n, Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
	}
	object := func(name string, n int32) *descriptorpb.FieldDescriptorProto {
		f := text(name, n)
		f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String(".google.protobuf.Struct")
		return f
	}
	message := func(name string, fields ...*descriptorpb.FieldDescriptorProto) *descriptorpb.DescriptorProto {
		return &descriptorpb.DescriptorProto{Name: &name, Field: fields}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("flagd/sync/v1/sync.proto"), Package: proto.String("flagd.sync.v1"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/struct.proto"},
		MessageType: []*descriptorpb.DescriptorProto{
			message("SyncFlagsRequest", text("provider_id", 1), text("selector", 2)),
			message("SyncFlagsResponse", text("flag_configuration", 1), object("sync_context", 2)),
			message("FetchAllFlagsRequest", text("provider_id", 1), text("selector", 2)),
			message("FetchAllFlagsResponse", text("flag_configuration", 1)),
			message("GetMetadataRequest"),
			message("GetMetadataResponse", object("metadata", 2)),
		},
	}, protoregistry.GlobalFiles)
	if err != nil {
		panic(err)
	}
	return file
})

func message(name string) *dynamicpb.Message {
	return dynamicpb.NewMessage(schema().Messages().ByName(protoreflect.Name(name)))
}

func field(m *dynamicpb.Message, name string) protoreflect.Value {
	return m.Get(m.Descriptor().Fields().ByName(protoreflect.Name(name)))
}

// A board is what a Sync serves from: one document at a time, for one token.
type board struct {
	mu         sync.Mutex
	document   string
	superseded chan struct{}
	revoked    atomic.Bool
	left       atomic.Int32
}

func (b *board) put(document string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.superseded != nil {
		close(b.superseded)
	}
	b.document, b.superseded = document, make(chan struct{})
}

func (b *board) open(_ context.Context, c flagd.Call) (flagd.Session, error) {
	switch {
	case c.Token == "panic":
		panic("as a fault of ours would")
	case c.Token == "fault":
		return flagd.Session{}, errors.New("password=hunter2")
	case c.Token == "client":
		return flagd.Session{}, flyball.Errorf(flyball.Forbidden, "this token does not open this door")
	case c.Token != "good" || b.revoked.Load():
		return flagd.Session{}, flyball.Errorf(flyball.Unauthenticated, "no token")
	}
	return flagd.Session{
		Document: func() ([]byte, <-chan struct{}, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return []byte(b.document), b.superseded, nil
		},
		Recheck: func() error { _, err := b.open(context.Background(), c); return err },
		Leave:   func() { b.left.Add(1) },
	}, nil
}

// served starts a server and returns a connection to it.
func served(t *testing.T, b *board) (conn *grpc.ClientConn, server *flagd.Server, drain func(), complaints *bytes.Buffer) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stopping := make(chan struct{})
	drain = sync.OnceFunc(func() { close(stopping) })
	complaints = new(bytes.Buffer)
	server = flagd.NewServer(flagd.Sync{Open: b.open, Stopping: stopping, Recheck: 20 * time.Millisecond, Log: slog.New(slog.NewTextHandler(complaints, nil))})
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(listener) }()
	conn, err = grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		drain()
		server.Stop(context.Background())
		<-done
	})
	return conn, server, drain, complaints
}

func with(t *testing.T, pairs ...string) context.Context {
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), pairs...), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

const sync1 = "/flagd.sync.v1.FlagSyncService/"

func follow(t *testing.T, ctx context.Context, conn *grpc.ClientConn) grpc.ClientStream {
	t.Helper()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, sync1+"SyncFlags")
	if err != nil {
		t.Fatal(err)
	}
	r := message("SyncFlagsRequest")
	r.Set(r.Descriptor().Fields().ByName("provider_id"), protoreflect.ValueOfString("tests"))
	r.Set(r.Descriptor().Fields().ByName("selector"), protoreflect.ValueOfString("flagSetId=other"))
	if err := errors.Join(stream.SendMsg(r), stream.CloseSend()); err != nil {
		t.Fatal(err)
	}
	return stream
}

func receive(t *testing.T, stream grpc.ClientStream, want string) {
	t.Helper()
	m := message("SyncFlagsResponse")
	if err := stream.RecvMsg(m); err != nil {
		t.Fatal(err)
	}
	if got := field(m, "flag_configuration").String(); got != want {
		t.Errorf("received %.80s, want %.80s", got, want)
	}
	if m.Has(m.Descriptor().Fields().ByName("sync_context")) {
		t.Error("a context came with it")
	}
}

func ends(t *testing.T, stream grpc.ClientStream, want codes.Code) {
	t.Helper()
	if err := stream.RecvMsg(message("SyncFlagsResponse")); status.Code(err) != want {
		t.Errorf("the stream ended with %v, want %v", err, want)
	}
}

func TestAStreamSendsTheDocumentAndEachThatFollows(t *testing.T) {
	b := &board{}
	b.put(`{"flags":{}}`)
	conn, _, _, _ := served(t, b)
	stream := follow(t, with(t, "authorization", "Bearer good"), conn)
	receive(t, stream, `{"flags":{}}`)
	large := `{"flags":{"é":"` + strings.Repeat("x", 3<<20) + `"}}`
	b.put(large)
	receive(t, stream, large)
	b.put("last")
	receive(t, stream, "last")
}

func TestAClientThatReadsSlowlyGetsTheLatest(t *testing.T) {
	b := &board{}
	b.put("first")
	conn, _, _, _ := served(t, b)
	stream := follow(t, with(t, "x-api-key", "good"), conn)
	receive(t, stream, "first")
	body := strings.Repeat("x", 1<<20)
	for range 50 {
		b.put(body)
	}
	b.put("last")
	for n := 1; ; n++ {
		m := message("SyncFlagsResponse")
		if err := stream.RecvMsg(m); err != nil {
			t.Fatal(err)
		}
		if field(m, "flag_configuration").String() == "last" {
			break
		}
		if n > 20 {
			t.Fatal("the server keeps a backlog")
		}
	}
}

func TestFetchAndMetadata(t *testing.T) {
	b := &board{}
	b.put(`{"flags":{}}`)
	conn, _, _, _ := served(t, b)
	ctx := with(t, "authorization", "bearer good")
	all := message("FetchAllFlagsResponse")
	if err := conn.Invoke(ctx, sync1+"FetchAllFlags", message("FetchAllFlagsRequest"), all); err != nil || field(all, "flag_configuration").String() != `{"flags":{}}` {
		t.Errorf("%v, %v", all, err)
	}
	m := message("GetMetadataResponse")
	if err := conn.Invoke(ctx, sync1+"GetMetadata", message("GetMetadataRequest"), m); err != nil || !m.Has(m.Descriptor().Fields().ByName("metadata")) {
		t.Errorf("%v, %v", m, err)
	}
}

func TestWhoIsLetIn(t *testing.T) {
	b := &board{}
	b.put("secret")
	conn, _, _, complaints := served(t, b)
	for _, tt := range []struct {
		pairs []string
		want  codes.Code
	}{
		{nil, codes.Unauthenticated},
		{[]string{"authorization", "good"}, codes.Unauthenticated},
		{[]string{"authorization", "Basic good"}, codes.Unauthenticated},
		{[]string{"authorization", "Bearer bad"}, codes.Unauthenticated},
		{[]string{"x-api-key", "client"}, codes.PermissionDenied},
		{[]string{"x-api-key", "panic"}, codes.Internal},
		{[]string{"x-api-key", "fault"}, codes.Internal},
	} {
		ctx := with(t, tt.pairs...)
		ends(t, follow(t, ctx, conn), tt.want)
		for _, call := range []string{"FetchAllFlags", "GetMetadata"} {
			err := conn.Invoke(ctx, sync1+call, message(call+"Request"), message(call+"Response"))
			if status.Code(err) != tt.want || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s with %v: %v, want %v", call, tt.pairs, err, tt.want)
			}
		}
	}
	if !strings.Contains(complaints.String(), "hunter2") || !strings.Contains(complaints.String(), "as a fault of ours would") {
		t.Errorf("the log does not tell of faults: %s", complaints)
	}
}

func TestARevokedTokensStreamEnds(t *testing.T) {
	b := &board{}
	b.put("document")
	conn, _, _, _ := served(t, b)
	stream := follow(t, with(t, "x-api-key", "good"), conn)
	receive(t, stream, "document")
	b.revoked.Store(true)
	ends(t, stream, codes.Unauthenticated)
}

func TestAServerThatStopsEndsItsStreams(t *testing.T) {
	b := &board{}
	b.put("document")
	conn, server, drain, _ := served(t, b)
	stream := follow(t, with(t, "x-api-key", "good"), conn)
	receive(t, stream, "document")
	drain()
	server.Stop(t.Context())
	ends(t, stream, codes.Unavailable)
	if b.left.Load() != 1 {
		t.Errorf("%d streams were left, of 1", b.left.Load())
	}
}

func TestAStreamThatDoesNotEndIsCutOff(t *testing.T) {
	b := &board{}
	b.put("document")
	conn, server, _, _ := served(t, b)
	stream := follow(t, with(t, "x-api-key", "good"), conn)
	receive(t, stream, "document")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	server.Stop(ctx)
	ends(t, stream, codes.Unavailable)
}

// raw sends bytes as they are.
type raw struct{}

func (raw) Name() string                  { return "proto" }
func (raw) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (raw) Unmarshal([]byte, any) error   { return nil }

func TestMalformedRequestsAreRefused(t *testing.T) {
	b := &board{}
	b.put("document")
	conn, _, _, _ := served(t, b)
	for _, tt := range []struct {
		name string
		body []byte
		want codes.Code
	}{
		{"an unknown field", []byte{0x18, 0x01}, codes.OK},
		{"a field without its end", []byte{0x0a, 0xff}, codes.Internal},
		{"no field at all", []byte{0xff, 0xff, 0xff}, codes.Internal},
		{"too much", make([]byte, 20<<10), codes.ResourceExhausted},
	} {
		var answer any
		err := conn.Invoke(with(t, "x-api-key", "good"), sync1+"FetchAllFlags", tt.body, &answer, grpc.ForceCodec(raw{}))
		if status.Code(err) != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if err := conn.Invoke(with(t), sync1+"Nothing", message("GetMetadataRequest"), message("GetMetadataResponse")); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that is not there: %v", err)
	}
}
