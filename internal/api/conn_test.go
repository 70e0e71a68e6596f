package api

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// joined returns both ends of a connection, the first of which is sparing.
func joined() (*conn, net.Conn) {
	a, b := net.Pipe()
	return &conn{Conn: a}, b
}

func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// However deadlines were set before, a read and a write end when the last one
// says, and not before.
func TestASparingConnectionKeepsItsDeadlines(t *testing.T) {
	after := func(seconds int) time.Duration { return time.Duration(seconds) * time.Second }
	const none, now = -1, -2
	for _, set := range [][]int{
		{5}, {5, 60}, {60, 5}, {5, none, 60}, {5, 60, none, 7}, {now}, {5, now}, {now, 5}, {5, now, none, 9}, {5, now, 3}, {60, now, 5, now}, {9, now, now, none, 4}, {none, 5},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, other := joined()
			defer c.Close()
			defer other.Close()
			began, want := time.Now(), time.Duration(0)
			for _, s := range set {
				var at time.Time
				switch s {
				case none:
				case now:
					at, want = time.Unix(1, 0), 0
				default:
					at, want = began.Add(after(s)), after(s)
				}
				if err := c.SetDeadline(at); err != nil {
					t.Fatal(err)
				}
			}
			_, err := c.Read(make([]byte, 1))
			if took := time.Since(began); !timedOut(err) || took != want {
				t.Errorf("%v: a read ends after %v with %v, want %v", set, took, err, want)
			}
			if _, err := c.Write([]byte("x")); !timedOut(err) {
				t.Errorf("%v: a write ends with %v", set, err)
			}
		})
	}
}

// What comes after a timer went off for nothing still arrives, whole.
func TestASparingConnectionGoesOnAfterAnEarlyTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, other := joined()
		defer c.Close()
		defer other.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		c.SetDeadline(time.Time{})
		go func() {
			time.Sleep(time.Hour)
			other.Write([]byte("late"))
			half := make([]byte, 2)
			io.ReadFull(other, half)
			time.Sleep(time.Hour)
			rest, _ := io.ReadAll(other)
			if string(half)+string(rest) != "answer" {
				t.Errorf("%q and %q arrive", half, rest)
			}
		}()
		p := make([]byte, 4)
		if _, err := io.ReadFull(c, p); err != nil || string(p) != "late" {
			t.Errorf("read %q, %v", p, err)
		}
		c.SetWriteDeadline(time.Now().Add(time.Second))
		c.SetWriteDeadline(time.Now().Add(3 * time.Hour))
		if n, err := c.Write([]byte("answer")); n != 6 || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
		c.Close()
		synctest.Wait()
	})
}

// A read that is interrupted ends at once, and the next one does not.
func TestASparingConnectionIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, other := joined()
		defer c.Close()
		defer other.Close()
		for range 3 {
			c.SetReadDeadline(time.Now().Add(time.Minute))
			ended := make(chan error)
			go func() {
				_, err := c.Read(make([]byte, 1))
				ended <- err
			}()
			synctest.Wait()
			c.SetReadDeadline(time.Unix(1, 0))
			if err := <-ended; !timedOut(err) {
				t.Errorf("interrupted, it ends with %v", err)
			}
			c.SetReadDeadline(time.Time{})
			go func() {
				time.Sleep(2 * time.Minute)
				other.Write([]byte("x"))
			}()
			if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Errorf("after that, it reads %d, %v", n, err)
			}
		}
	})
}
