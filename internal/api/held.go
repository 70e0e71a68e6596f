package api

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// A response is a line that net/http keeps, as it must for HTTP/2.
type response struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func (r response) write(f *frame, deadline time.Time) error {
	r.c.SetWriteDeadline(deadline)
	for _, b := range f.body {
		if _, err := r.w.Write(b); err != nil {
			return err
		}
	}
	return r.c.Flush()
}

// A held line is a connection that was taken from net/http, with its buffers,
// its request and its goroutine let go. One goroutine writes to it and one, which
// needs next to nothing, waits for the client to go.
type held struct {
	conn net.Conn
	gone chan struct{}
}

// chunkHead returns what stands before a chunk of HTTP/1.1, and chunkEnd is what
// stands behind it.
func chunkHead(size int) []byte { return append(strconv.AppendInt(nil, int64(size), 16), "\r\n"...) }

var (
	chunkEnd  = []byte("\r\n")
	lastChunk = []byte("0\r\n\r\n")
)

func (l *held) write(f *frame, deadline time.Time) error {
	l.conn.SetWriteDeadline(deadline)
	if f.chunk != nil {
		_, err := l.conn.Write(f.chunk)
		return err
	}
	parts := append(net.Buffers{chunkHead(f.size)}, f.body...)
	parts = append(parts, chunkEnd)
	_, err := parts.WriteTo(l.conn)
	return err
}

// end ends the answer, as HTTP has it.
func (l *held) end(deadline time.Time) error {
	l.conn.SetWriteDeadline(deadline)
	_, err := l.conn.Write(lastChunk)
	return err
}

// listen reads until the connection ends. A client has nothing more to say, and
// if it does, it is not heard.
func (l *held) listen() {
	defer close(l.gone)
	b := make([]byte, 64)
	for {
		if _, err := l.conn.Read(b); err != nil {
			return
		}
	}
}

// holding knows the lines that are held, since net/http does not.
type holding struct {
	mu    sync.Mutex
	lines map[*held]struct{}
	empty chan struct{} // closed when the last is gone, if somebody waits
}

// take takes the connection of a request and sends the header of the answer. It
// returns nil, and leaves everything as it was, where that cannot be.
func (h *holding) take(w http.ResponseWriter, r *http.Request) *held {
	if r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ProtoMinor < 1 {
		return nil
	}
	header := w.Header().Clone()
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil
	}
	l := &held{conn: conn, gone: make(chan struct{})}
	h.mu.Lock()
	if h.lines == nil {
		h.lines = map[*held]struct{}{}
	}
	h.lines[l] = struct{}{}
	h.mu.Unlock()
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	header.Set("Transfer-Encoding", "chunked")
	header.Set("Connection", "close")
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\n")
	header.Write(&b) // to memory, which does not fail
	b.WriteString("\r\n")
	conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	conn.Write(b.Bytes()) // an error comes back with the next
	go l.listen()
	return l
}

func (h *holding) leave(l *held) {
	l.conn.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.lines, l)
	if len(h.lines) == 0 && h.empty != nil {
		close(h.empty)
		h.empty = nil
	}
}

// Stop ends all streams: it waits until those that net/http does not know have
// said goodbye, and cuts those that have not when ctx ends. It is called when no
// request is served any more.
func (s *Server) Stop(ctx context.Context) error {
	s.Drain()
	h := &s.held
	h.mu.Lock()
	if len(h.lines) == 0 {
		h.mu.Unlock()
		return nil
	}
	if h.empty == nil {
		h.empty = make(chan struct{})
	}
	empty := h.empty
	h.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	h.mu.Lock()
	for l := range h.lines {
		l.conn.Close()
	}
	h.mu.Unlock()
	<-empty
	return ctx.Err()
}
