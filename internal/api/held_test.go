package api_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
)

// dial sends the request of a stream by hand and reads the header of the answer.
func (h *house) dial(token, proto string, headers ...string) (net.Conn, *http.Response) {
	h.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "GET /sdk/v1/stream %s\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n", proto, token, strings.Join(append(headers, ""), "\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		h.t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("X-Request-Id") == "" {
		h.t.Fatalf("%s with %v", resp.Status, resp.Header)
	}
	return conn, resp
}

// Whatever carries a stream, it has the same events, and ends as an answer of
// its protocol does.
func TestAStreamEndsAsItsProtocolHasIt(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk := h.sdk()
	tls := httptest.NewUnstartedServer(h.api)
	tls.EnableHTTP2 = true
	tls.StartTLS()
	t.Cleanup(tls.Close)
	type carrier struct {
		body io.ReadCloser
		zip  bool
	}
	carriers := map[string]carrier{}
	for name, headers := range map[string][]string{"HTTP/1.1": nil, "HTTP/1.1 zipped": {"Accept-Encoding: gzip"}, "HTTP/1.0": nil, "HTTP/1.0 zipped": {"Accept-Encoding: gzip"}} {
		_, resp := h.dial(sdk, name[:8], headers...)
		if chunked := len(resp.TransferEncoding) == 1; chunked != strings.HasPrefix(name, "HTTP/1.1") {
			t.Errorf("%s comes as %q", name, resp.TransferEncoding)
		}
		carriers[name] = carrier{resp.Body, resp.Header.Get("Content-Encoding") == "gzip"}
	}
	for name, accept := range map[string]string{"HTTP/2": "identity", "HTTP/2 zipped": "gzip"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", tls.URL+"/sdk/v1/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+sdk)
		req.Header.Set("Accept-Encoding", accept)
		resp, err := tls.Client().Do(req)
		if err != nil || resp.ProtoMajor != 2 {
			t.Fatal(resp, err)
		}
		carriers[name] = carrier{resp.Body, resp.Header.Get("Content-Encoding") == "gzip"}
	}
	got := make(chan string)
	for name, c := range carriers {
		if c.zip != strings.HasSuffix(name, "zipped") {
			t.Errorf("%s: zipped is %v", name, c.zip)
		}
		go func() {
			var err error
			body := io.Reader(c.body)
			if c.zip {
				if body, err = gzip.NewReader(body); err != nil {
					got <- name + ": " + err.Error()
					return
				}
			}
			s := &stream{t: t, events: make(chan event, 100), close: func() { c.body.Close() }}
			ended := make(chan error, 1)
			go func() { ended <- s.read(body) }()
			var names []string
			for e := range s.events {
				if e.name != "" {
					names = append(names, e.name)
				}
				if e.name != "goodbye" && e.name != "" {
					got <- e.name
				}
			}
			got <- fmt.Sprint(name, " ", names, " ", <-ended)
		}()
	}
	for range carriers {
		if said := <-got; said != "ruleset" {
			t.Fatal(said)
		}
	}
	big := make([]string, 3000) // a patch that is worth compressing
	for i := range big {
		big[i] = fmt.Sprint("user-", i)
	}
	h.must("update_segment", fields{"key": "testers", "owner": "default", "include": big, "reason": "a test"})
	for range carriers {
		if said := <-got; said != "patch" {
			t.Fatal(said)
		}
	}
	h.api.Drain()
	for range carriers {
		if said := <-got; !strings.HasSuffix(said, " [ruleset patch goodbye] EOF") {
			t.Error(said)
		}
	}
}

// A stream takes no more of the server than a connection and two small
// goroutines, and nothing is left of it when it ends, by whichever side.
func TestAStreamTakesLittle(t *testing.T) {
	h := furnished(t)
	sdk := h.sdk()
	h.stream(sdk).next()
	live := func() (bytes uint64, goroutines int) {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse, runtime.NumGoroutine()
	}
	bytes, goroutines := live()
	const streams = 400
	conns, bodies := make([]net.Conn, streams), make([]io.ReadCloser, streams)
	for i := range conns {
		conn, resp := h.dial(sdk, "HTTP/1.1")
		conns[i], bodies[i] = conn, resp.Body
	}
	eventually(t, "all streams are open", func() bool { return h.api.Streams() == streams+1 })
	h.must("disable_flag", in(search)) // with what they have grown to by then
	for i, body := range bodies {
		for said := ""; !strings.Contains(said, "event: patch"); {
			b := make([]byte, 4<<10)
			n, err := body.Read(b)
			if said += string(b[:n]); err != nil {
				t.Fatalf("stream %d: %v", i, err)
			}
		}
	}
	bytesNow, goroutinesNow := live()
	per := (int64(bytesNow) - int64(bytes)) / streams
	t.Logf("%d bytes a stream", per)
	if per > 20<<10 { // with the client's side, which is here too
		t.Errorf("a stream takes %d bytes", per)
	}
	if per := float64(goroutinesNow-goroutines) / streams; per > 2.1 {
		t.Errorf("a stream takes %.1f goroutines", per)
	}
	for _, c := range conns[:streams/2] {
		c.Close()
	}
	eventually(t, "the place of those that left is free", func() bool { return h.api.Streams() == streams/2+1 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := h.api.Stop(ctx); err != nil {
		t.Errorf("streams did not end: %v", err)
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// Stop waits for goodbyes, and cuts a stream whose client does not take it.
func TestStopCutsAStreamThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	small := withHTTP(func(s *http.Server) {
		s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			c.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn).SetWriteBuffer(4 << 10)
			return ctx
		}
	})
	h := furnished(t, small)
	many := make([]string, 50_000)
	for i := range many {
		many[i] = fmt.Sprintf("%060d", i)
	}
	h.must("update_segment", fields{"key": "testers", "owner": "default", "include": many, "reason": "a test"})
	conn, _ := h.dial(h.sdk(), "HTTP/1.1")
	conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	eventually(t, "the stream is open", func() bool { return h.api.Streams() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := h.api.Stop(ctx); err != context.DeadlineExceeded {
		t.Errorf("it ended before its client read: %v", err)
	}
	if n := h.api.Streams(); n != 0 {
		t.Errorf("%d streams are open", n)
	}
	if err := h.api.Stop(t.Context()); err != nil {
		t.Errorf("a second time: %v", err)
	}
}
