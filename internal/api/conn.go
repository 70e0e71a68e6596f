package api

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// Sparing returns a listener for an HTTP server, whose connections spare most of
// what deadlines cost. net/http sets eight for each request, and each moves a
// timer of the runtime; nearly all are later than the one before.
func Sparing(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

// A conn leaves a timer where it is unless it has to go off sooner. When it goes
// off and a later time, or none, is wanted by then, it is set anew and the conn
// goes on: to its user, deadlines are what they always are.
type conn struct {
	net.Conn
	read, write deadline
}

type deadline struct {
	mu     sync.Mutex
	wanted time.Time // none if zero
	armed  time.Time // when the timer goes off; never if zero
	before time.Time // what armed was before the last interruption
}

// longAgo tells a deadline that is meant to interrupt at once: net/http's is the
// first second of 1970.
var longAgo = time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC)

func (d *deadline) set(t time.Time, arm func(time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wanted = t
	interrupts, interrupted := !t.IsZero() && t.Before(longAgo), !d.armed.IsZero() && d.armed.Before(longAgo)
	switch {
	case interrupts && !interrupted:
		d.before = d.armed
	case interrupts:
	case interrupted:
		if !d.before.IsZero() && (t.IsZero() || d.before.Before(t)) {
			t = d.before
		}
	case t.IsZero(), !d.armed.IsZero() && !t.Before(d.armed):
		return nil
	}
	d.armed = t
	return arm(t)
}

// early says whether an error is that of a timer that went off before it was
// wanted, and sets the timer anew if so.
func (d *deadline) early(err error, arm func(time.Time) error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.wanted.IsZero() && !time.Now().Before(d.wanted) {
		return false
	}
	d.armed = d.wanted
	return arm(d.armed) == nil
}

func (c *conn) SetReadDeadline(t time.Time) error  { return c.read.set(t, c.Conn.SetReadDeadline) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.write.set(t, c.Conn.SetWriteDeadline) }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err == nil || n > 0 || !c.read.early(err, c.Conn.SetReadDeadline) {
			return n, err
		}
	}
}

func (c *conn) Write(p []byte) (int, error) {
	for written := 0; ; {
		n, err := c.Conn.Write(p[written:])
		written += n
		if err == nil || !c.write.early(err, c.Conn.SetWriteDeadline) {
			return written, err
		}
	}
}

// NetConn returns the connection beneath, as that of crypto/tls does.
func (c *conn) NetConn() net.Conn { return c.Conn }

// CloseWrite lets net/http end an answer to a request that it does not read to
// its end.
func (c *conn) CloseWrite() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.CloseWrite()
	}
	return nil
}
