package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// Wholes are the flags of bulk answers as they were given, for one class of
// tokens. What does not fit in any more is put together each time: the first to
// come tend to be what most get.
type wholes struct {
	mu       sync.Mutex
	byAnswer map[string][]byte // by the numbers of the answers, so that those who get the same share it
	byAsked  map[string][]byte // by all that answers depend on, so that nothing is evaluated
	bytes    int               // in byAnswer
}

const (
	maxWholes = 1 << 20 // bytes
	maxAsked  = 2000    // entries
	maxAsking = 256     // bytes: a longer one is not worth its place
)

// bulk returns the flags of a bulk answer, encoded, as far as the end of the
// object of which an opening is the beginning. It is good until in is released.
func (a *answers) bulk(in *asked, era int) []byte {
	in.key = in.only(binary.AppendVarint(in.key[:0], int64(era)), a.names)
	if body := a.wholes.find(a.wholes.byAsked, in.key); body != nil {
		return body
	}
	in.met, in.numbers = in.met[:0], in.numbers[:0]
	for _, p := range a.pieces[:len(a.pieces)-1] {
		met := p.then.answer(&in.context)
		in.met, in.numbers = append(in.met, met), binary.LittleEndian.AppendUint16(in.numbers, met.number)
	}
	body := a.wholes.find(a.wholes.byAnswer, in.numbers)
	if body == nil {
		in.buffer = a.assemble(in.buffer[:0], in.met)
		if body = a.wholes.keep(in.numbers, in.buffer); body == nil {
			return in.buffer
		}
	}
	a.wholes.remember(in.key, body)
	return body
}

// assemble puts the encoded answers together. Most of it is copied in long runs.
func (a *answers) assemble(dst []byte, met []*encoded) []byte {
	for i, p := range a.pieces {
		dst = append(dst, p.fixed...)
		if p.then != nil {
			dst = append(dst, met[i].body...)
		}
	}
	return dst
}

func (w *wholes) find(among map[string][]byte, key []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return among[string(key)]
}

// keep keeps a copy of what was put together, and returns it; nil if there is no
// room.
func (w *wholes) keep(numbers, body []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bytes += len(numbers) + len(body); w.bytes > maxWholes {
		w.bytes -= len(numbers) + len(body)
		return nil
	}
	kept := append(make([]byte, 0, len(body)), body...)
	w.byAnswer[string(numbers)] = kept
	return kept
}

func (w *wholes) remember(asked, body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.byAsked) < maxAsked && len(asked) <= maxAsking {
		w.byAsked[string(asked)] = body
	}
}

// Openings are the beginnings of bulk answers, by the id of the token: each has
// a ticket in it, which is as good a minute later.
type openings struct {
	mu   sync.Mutex
	byID map[string]opening
}

type opening struct {
	made time.Time
	body []byte
}

const (
	openingLife = time.Minute
	maxOpenings = 1000
)

// bulkRest is what stands in a bulk answer beside the flags.
type bulkRest struct {
	Metadata     map[string]any `json:"metadata"`
	EventStreams []eventStream  `json:"eventStreams"`
}

// opening returns what a bulk answer begins with: all but the flags.
func (s *Server) opening(a *answers, head *service.Published, p *service.Principal, now time.Time) ([]byte, error) {
	a.openings.mu.Lock()
	defer a.openings.mu.Unlock()
	known, ok := a.openings.byID[p.Token]
	if ok && now.Sub(known.made).Abs() < openingLife {
		return known.body, nil
	}
	body, err := json.Marshal(bulkRest{
		Metadata: map[string]any{"version": head.ID().Version, "flagSetId": p.Environment}, EventStreams: s.eventStreams(*p, now),
	})
	if err != nil {
		return nil, err
	}
	body = append(body[:len(body)-1], `,"flags":[`...)
	if len(a.openings.byID) >= maxOpenings {
		clear(a.openings.byID)
	}
	a.openings.byID[p.Token] = opening{now, body}
	return body, nil
}

// bulkTag identifies a bulk answer without evaluating anything: by the version,
// so that tags are ordered, by the context, and by the dates that have passed,
// which is all that an answer depends on. It changes too when the ticket that
// came with the answer grows old, since an answer of 304 brings no new one.
func bulkTag(in *asked, id flyball.RulesetID, era int, now time.Time) string {
	b := binary.AppendVarint(in.buffer[:0], int64(era))
	b = binary.AppendVarint(b, now.Unix()/int64(ticketRenewal.Seconds()))
	in.buffer = append(b, in.whole...)
	sum := sha256.Sum256(in.buffer)
	tag := append(make([]byte, 0, 80), '"')
	tag = append(strconv.AppendInt(tag, id.Epoch, 10), '.')
	tag = append(strconv.AppendInt(tag, id.Version, 10), '-')
	return string(append(base64.RawURLEncoding.AppendEncode(tag, sum[:12]), '"'))
}
