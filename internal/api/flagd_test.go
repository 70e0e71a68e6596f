package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

const flagdPath = "/flagd/v1/flags"

// flagdDocument is what the tests read of a document.
type flagdDocument struct {
	Metadata struct{ FlagSetID, Version string }
	Flags    map[string]struct {
		State, DefaultVariant string
		Targeting             json.RawMessage
	}
}

func readFlagd(t testing.TB, body []byte) (d flagdDocument) {
	t.Helper()
	if err := json.Unmarshal(body, &d); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return d
}

func TestFlagdsDocumentIsServedWithAnEntityTag(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk := h.sdk()
	first := h.send("GET", flagdPath, sdk, "").want(t, 200)
	d := readFlagd(t, first.body)
	if d.Metadata.FlagSetID != "production" || len(d.Flags) != 4 || d.Flags[killed].DefaultVariant != "off" || d.Flags[killed].Targeting != nil ||
		!strings.Contains(string(d.Flags[fast].Targeting), `["on",100000],["off",900000]`) {
		t.Errorf("%s", first.body)
	}
	tag := first.Header.Get("ETag")
	if !strings.HasPrefix(tag, `"`+h.tag()+"-") {
		t.Errorf("the tag is %s, of ruleset %s", tag, h.tag())
	}
	if same := h.send("GET", flagdPath, "", "", "X-API-Key", sdk, "If-None-Match", tag).want(t, 304); len(same.body) > 0 {
		t.Errorf("beside the tag: %s", same.body)
	}
	packed := h.send("GET", flagdPath, sdk, "", "Accept-Encoding", "gzip").want(t, 200)
	if z, err := gzip.NewReader(bytes.NewReader(packed.body)); err != nil {
		t.Error(err)
	} else if plain, err := io.ReadAll(z); err != nil || !bytes.Equal(plain, first.body) {
		t.Errorf("packed it says %s, %v", plain, err)
	}
	h.must("kill_flag", in(fast))
	next := h.send("GET", flagdPath, sdk, "", "If-None-Match", tag).want(t, 200)
	if readFlagd(t, next.body).Flags[fast].Targeting != nil || next.Header.Get("ETag") == tag {
		t.Errorf("after a kill: %s, %s", next.Header.Get("ETag"), next.body)
	}
}

func TestFlagdsDocumentHoldsWhatTheTokenOpens(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	of := func(flags ...string) flagdDocument {
		token := h.token(fields{"kind": "sdk", "name": "s", "environment": "production", "flags": flags})
		return readFlagd(t, h.send("GET", flagdPath, token, "").want(t, 200).body)
	}
	if d := of("shop.search.*"); len(d.Flags) != 1 || d.Flags[search].State != "ENABLED" || !strings.Contains(string(d.Flags[search].Targeting), "tester-1") {
		t.Errorf("%+v", d)
	}
	if d := of("nothing.*"); len(d.Flags) != 0 {
		t.Errorf("%+v", d)
	}
}

func TestWhatFlagdCannotExpressIsTold(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	h.must("add_rule", in(search).with("rule", fields{"id": "staff-by-mail", "if": fields{"attribute": "email", "op": "matches", "values": []string{"@example.com$"}}, "serve": fields{"variant": "new"}}))
	r := h.must("export_flagd", fields{"environment": "production"})
	if r.read(t, "skipped.0.flag") != search || !strings.Contains(r.read(t, "skipped.0.why").(string), "matches") {
		t.Errorf("%s", r.body)
	}
	var out struct{ Document json.RawMessage }
	if err := json.Unmarshal(r.body, &out); err != nil {
		t.Fatal(err)
	}
	if served := h.send("GET", flagdPath, h.sdk(), "").want(t, 200); !bytes.Equal(served.body, out.Document) {
		t.Errorf("exported %s\nserved   %s", out.Document, served.body)
	}
}

// lines passes messages as their bytes.
type lines struct{}

func (lines) Name() string { return "proto" }

func (lines) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (lines) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = bytes.Clone(data)
	return nil
}

// flagdConn serves flagd's sync protocol, and connects to it.
func (h *house) flagdConn() *grpc.ClientConn {
	h.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	server := h.api.FlagdSync()
	h.run(func(ctx context.Context) {
		done := make(chan struct{})
		go func() { defer close(done); server.Serve(listener) }()
		<-ctx.Done()
		server.Stop(ctx)
		<-done
	})
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(lines{})))
	if err != nil {
		h.t.Fatal(err)
	}
	h.ends = append(h.ends, func() { conn.Close() })
	return conn
}

// A flagdStream is one that a test reads.
type flagdStream struct {
	grpc.ClientStream
	t testing.TB
}

func (h *house) flagdStream(conn *grpc.ClientConn, token string) flagdStream {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(h.t.Context(), "authorization", "Bearer "+token), 10*time.Second)
	h.ends = append(h.ends, cancel)
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/flagd.sync.v1.FlagSyncService/SyncFlags")
	if err != nil {
		h.t.Fatal(err)
	}
	if err := errors.Join(s.SendMsg(new([]byte)), s.CloseSend()); err != nil {
		h.t.Fatal(err)
	}
	return flagdStream{s, h.t}
}

func (s flagdStream) next() flagdDocument {
	s.t.Helper()
	var message []byte
	if err := s.RecvMsg(&message); err != nil {
		s.t.Fatal(err)
	}
	number, _, n := protowire.ConsumeTag(message)
	body, m := protowire.ConsumeBytes(message[max(0, n):])
	if number != 1 || n+m != len(message) {
		s.t.Fatalf("not a SyncFlagsResponse: % x", message[:min(50, len(message))])
	}
	return readFlagd(s.t, body)
}

func (s flagdStream) ends(want codes.Code) {
	s.t.Helper()
	if err := s.RecvMsg(new([]byte)); grpcstatus.Code(err) != want {
		s.t.Errorf("the stream ends with %v, want %v", err, want)
	}
}

func TestFlagdsStreamFollowsTheRuleset(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	conn := h.flagdConn()
	start := time.Now()
	s := h.flagdStream(conn, h.sdk())
	first := s.next()
	if took := time.Since(start); took > 500*time.Millisecond {
		t.Errorf("the first document came after %v; programs wait 500 ms", took)
	}
	if first.Metadata.FlagSetID != "production" || len(first.Flags) != 4 {
		t.Errorf("%+v", first)
	}
	h.must("kill_flag", in(fast))
	if d := s.next(); d.Flags[fast].Targeting != nil || d.Metadata.Version == first.Metadata.Version {
		t.Errorf("after a kill: %+v", d)
	}
}

func TestFlagdsStreamIsOpenToTokensOfRulesetsOnly(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	conn := h.flagdConn()
	h.flagdStream(conn, "").ends(codes.Unauthenticated)
	h.flagdStream(conn, "fb_sdk_000000000000_00").ends(codes.Unauthenticated)
	h.flagdStream(conn, h.admin).ends(codes.PermissionDenied)
	h.flagdStream(conn, h.token(fields{"kind": "client", "name": "c", "environment": "production"})).ends(codes.PermissionDenied)
	if d := h.flagdStream(conn, h.token(fields{"kind": "sdk", "name": "s", "environment": "staging", "flags": []string{"shop.search.*"}})).next(); d.Metadata.FlagSetID != "staging" || len(d.Flags) != 1 {
		t.Errorf("%+v", d)
	}
}

func TestFlagdsStreamEndsWithItsToken(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	made := h.must("create_token", fields{"kind": "sdk", "name": "s", "environment": "production", "reason": "a test"})
	s := h.flagdStream(h.flagdConn(), made.read(t, "secret").(string))
	s.next()
	h.must("revoke_token", fields{"id": made.read(t, "id"), "reason": "it leaked"})
	s.ends(codes.Unauthenticated)
}

func TestFlagdsStreamEndsWithTheServer(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	conn, sdk := h.flagdConn(), h.sdk()
	s := h.flagdStream(conn, sdk)
	s.next()
	h.api.Drain()
	s.ends(codes.Unavailable)
	h.flagdStream(conn, sdk).ends(codes.Unavailable)
}
