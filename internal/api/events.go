package api

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// A line carries the bytes of one answer that goes on.
type line interface {
	// write sends a frame as a whole before a deadline.
	write(f *frame, deadline time.Time) error
}

// A frame is an event as it is sent, made once for all who are sent the same.
// Those who take gzip get one stream of deflate blocks, of which each stands for
// itself: an event is compressed once, whatever each client was sent before.
type frame struct {
	plain [][]byte // what it says
	body  [][]byte // what is sent of it
	chunk []byte   // the body as a chunk of HTTP/1.1, if it is small
	size  int      // of the body
}

// smallFrame is the size up to which a frame is worth a copy of its body.
const smallFrame = 4 << 10

func newFrame(body, plain [][]byte) *frame {
	f := &frame{plain: plain, body: body}
	for _, b := range body {
		f.size += len(b)
	}
	if f.size <= smallFrame {
		f.chunk = slices.Concat(append([][]byte{chunkHead(f.size)}, append(slices.Clone(body), chunkEnd)...)...)
	}
	return f
}

// frameOf makes a frame of a few bytes.
func frameOf(zip bool, text []byte) *frame {
	plain := [][]byte{text}
	if zip {
		return newFrame([][]byte{service.Stored(text)}, plain)
	}
	return newFrame(plain, plain)
}

// rulesetFrame returns what brings a client from what it has to a view: a patch
// if it has the version before, else the whole.
func rulesetFrame(v *service.View, has flyball.RulesetID, zip bool) *frame {
	name, patch := "ruleset", v.Patch != nil && has == v.From
	if patch {
		name = "patch"
	}
	kept := name
	if zip {
		kept += " gzip"
	}
	return v.Keep(kept, func() any {
		data, deflated := v.JSON, v.Deflated
		if patch {
			data, deflated = func() []byte { return v.Patch }, v.DeflatedPatch
		}
		plain := [][]byte{fmt.Appendf(nil, "event: %s\nid: %s\ndata: ", name, v.ETag()), data(), []byte("\n\n")}
		switch {
		case !zip:
			return newFrame(plain, plain)
		case len(plain[1]) < smallFrame/4:
			return newFrame([][]byte{service.Stored(slices.Concat(plain...))}, plain)
		}
		return newFrame([][]byte{service.Stored(plain[0]), deflated(), service.Stored(plain[2])}, plain)
	}).(*frame)
}

// events are what one client is sent, each within a deadline.
type events struct {
	line   line
	gone   <-chan struct{} // closed when the client is
	zip    bool
	within time.Duration
	told   int    // how often something was told
	sum    uint32 // of what was said, for the end of a gzip stream
	size   int64
	err    error
}

// begin sends what stands before all events.
func (e *events) begin() {
	f := frameOf(e.zip, fmt.Appendf(nil, "retry: %d\n\n", 1000+rand.IntN(2000)))
	if e.zip {
		f = newFrame(append([][]byte{service.GzipHeader}, f.body...), f.plain)
	}
	e.write(f)
}

// send sends a comment, or a field that belongs to no event.
func (e *events) send(format string, args ...any) {
	e.write(frameOf(e.zip, fmt.Appendf(nil, format, args...)))
}

// write sends what is shared by all who are sent it.
func (e *events) write(f *frame) {
	if e.zip {
		for _, b := range f.plain {
			e.sum, e.size = crc32.Update(e.sum, crc32.IEEETable, b), e.size+int64(len(b))
		}
	}
	e.put(f)
}

func (e *events) put(f *frame) {
	if e.err == nil {
		e.err = e.line.write(f, time.Now().Add(e.within))
	}
}

// end sends what stands behind all events.
func (e *events) end() {
	if e.zip {
		e.put(newFrame([][]byte{service.GzipEnd(e.sum, e.size)}, nil))
	}
}
