package flagd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/flyballdev/flyball"
)

// A Sync answers flagd's sync protocol: it sends the document in force, and
// each one that follows, to whoever has a token.
type Sync struct {
	Open     func(context.Context, Call) (Session, error)
	Stopping <-chan struct{} // closed when the server is about to stop
	Recheck  time.Duration   // of a stream's token
	Log      *slog.Logger
}

// A Call is what a caller shows.
type Call struct {
	Token  string // as "authorization: Bearer …" or "x-api-key"
	Remote string // host:port
	Stream bool   // whether the caller stays
}

// A Session is a caller who was let in.
type Session struct {
	// Document returns the document in force, and a channel that is closed when
	// there is a newer one.
	Document func() (document []byte, superseded <-chan struct{}, err error)
	Recheck  func() error // whether the token is still good
	Leave    func()       // is called when a stream ends
}

// A Server speaks gRPC.
type Server struct{ grpc *grpc.Server }

// NewServer returns a server with the bounds that keep slow and greedy clients
// away.
func NewServer(s Sync) *Server {
	server := grpc.NewServer(
		grpc.ForceServerCodecV2(codec{}),
		grpc.MaxRecvMsgSize(16<<10), grpc.MaxHeaderListSize(16<<10), grpc.MaxConcurrentStreams(100),
		grpc.ConnectionTimeout(5*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 5 * time.Minute, Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}))
	server.RegisterService(&protocol, &s)
	return &Server{server}
}

// Serve answers on a listener until Stop.
func (s *Server) Serve(l net.Listener) error { return s.grpc.Serve(l) }

// Stop takes no new calls and waits for those under way, until ctx ends; then
// it cuts them off. Streams end by themselves once the server is stopping.
func (s *Server) Stop(ctx context.Context) {
	defer context.AfterFunc(ctx, s.grpc.Stop)()
	s.grpc.GracefulStop()
}

// protocol is the service as flagd's sync.proto defines it.
var protocol = grpc.ServiceDesc{
	ServiceName: "flagd.sync.v1.FlagSyncService",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "FetchAllFlags", Handler: unary((*Sync).fetch)},
		{MethodName: "GetMetadata", Handler: unary((*Sync).metadata)},
	},
	Streams: []grpc.StreamDesc{{StreamName: "SyncFlags", ServerStreams: true, Handler: func(srv any, stream grpc.ServerStream) (err error) {
		s := srv.(*Sync)
		defer s.rescue(&err)
		if err := stream.RecvMsg(new(request)); err != nil {
			return err
		}
		return s.inStatus(s.stream(stream))
	}}},
	Metadata: "flagd/sync/v1/sync.proto",
}

func unary(method func(*Sync, context.Context) (*response, error)) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (answer any, err error) {
		s := srv.(*Sync)
		defer s.rescue(&err)
		if err := decode(new(request)); err != nil {
			return nil, err
		}
		r, err := method(s, ctx)
		return r, s.inStatus(err)
	}
}

// rescue makes a panic the end of one call only.
func (s *Sync) rescue(err *error) {
	if v := recover(); v != nil {
		s.Log.Error("panic in a flagd call", "panic", v, "stack", string(debug.Stack()))
		*err = fault
	}
}

func (s *Sync) open(ctx context.Context, stream bool) (Session, error) {
	select {
	case <-s.Stopping:
		return Session{}, flyball.Errorf(flyball.Unavailable, "the server is stopping: come back later")
	default:
	}
	call := Call{Stream: stream}
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		call.Remote = p.Addr.String()
	}
	if scheme, token, _ := strings.Cut(first(ctx, "authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		call.Token = token
	} else {
		call.Token = first(ctx, "x-api-key")
	}
	return s.Open(ctx, call)
}

func first(ctx context.Context, key string) string {
	if values := metadata.ValueFromIncomingContext(ctx, key); len(values) > 0 {
		return values[0]
	}
	return ""
}

func (s *Sync) fetch(ctx context.Context) (*response, error) {
	session, err := s.open(ctx, false)
	if err != nil {
		return nil, err
	}
	document, _, err := session.Document()
	return &response{field: 1, body: document}, err
}

// metadata answers a call that flagd has replaced, and some clients still make.
func (s *Sync) metadata(ctx context.Context) (*response, error) {
	_, err := s.open(ctx, false)
	return &response{field: 2}, err
}

// stream sends the document in force at once, and each one that follows. A
// client that is slow gets the latest when it is ready, never a backlog.
func (s *Sync) stream(stream grpc.ServerStream) error {
	session, err := s.open(stream.Context(), true)
	if err != nil {
		return err
	}
	defer session.Leave()
	check := time.NewTicker(s.Recheck)
	defer check.Stop()
	for {
		document, superseded, err := session.Document()
		if err != nil {
			return err
		}
		if err := stream.SendMsg(&response{field: 1, body: document}); err != nil {
			return err
		}
		for waiting := true; waiting; {
			select {
			case <-superseded:
				waiting = false
			case <-check.C:
				if err := session.Recheck(); err != nil && flyball.CodeOf(err) == flyball.Unauthenticated {
					return err
				}
			case <-s.Stopping:
				return flyball.Errorf(flyball.Unavailable, "the server is stopping: come back later")
			case <-stream.Context().Done():
				return stream.Context().Err()
			}
		}
	}
}

var statuses = map[flyball.Code]codes.Code{
	flyball.Invalid: codes.InvalidArgument, flyball.NotFound: codes.NotFound, flyball.Conflict: codes.Aborted,
	flyball.Unauthenticated: codes.Unauthenticated, flyball.Forbidden: codes.PermissionDenied, flyball.TooLarge: codes.ResourceExhausted,
	flyball.Overloaded: codes.ResourceExhausted, flyball.Unavailable: codes.Unavailable,
}

// inStatus writes an error as gRPC's clients understand it. Only what a caller
// may be shown is told.
func (s *Sync) inStatus(err error) error {
	if _, ok := status.FromError(err); ok { // none, or gRPC's own
		return err
	}
	if problems := flyball.Problems(err); len(problems) > 0 && problems[0].Code != flyball.Internal {
		return status.Error(statuses[problems[0].Code], problems[0].Error())
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err()
	}
	s.Log.Error("flagd call failed", "error", err)
	return fault
}

var fault = status.Error(codes.Internal, "something went wrong on our side; the server's log tells what")
