package api

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"net/http"
	"sync/atomic"
)

func (s *Server) named(r *http.Request, id string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), requestKey{}, request{id: id, log: s.log}))
}

type requestKey struct{}

// A request is what is known of one beside its content.
type request struct {
	id  string // that it goes by in logs and in the audit log: the caller's own, if it is sane
	log *slog.Logger
}

func requestOf(r *http.Request) request {
	of, _ := r.Context().Value(requestKey{}).(request)
	return of
}

// A naming gives requests that come without an id one that no other has.
type naming struct {
	first uint64 // nobody knows it
	n     atomic.Uint64
}

func (n *naming) start() {
	var b [8]byte
	rand.Read(b[:])
	n.first = binary.NativeEndian.Uint64(b[:])
}

// next returns sixteen hexadecimal digits: a number, and all of its bits mixed,
// as in Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators"
// (2014). No two numbers are mixed to the same.
func (n *naming) next() string {
	x := n.first + n.n.Add(1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	var number [8]byte
	var id [16]byte
	binary.BigEndian.PutUint64(number[:], x^x>>31)
	hex.Encode(id[:], number[:])
	return string(id[:])
}

// sane says whether a caller's own id is one to go by.
func sane(id string) bool {
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return len(id) >= 1 && len(id) <= 64
}
