package ingest

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/flyballdev/flyball"
)

// A record is what the judge needs of a batch. Times are microseconds since
// 1970, corrected by when the batch was sent. It is kept in a form of its own,
// about a quarter of the JSON in size and a tenth of it in reading time, since
// every observation passes through it twice.
type record struct {
	trusted      bool
	leaving      bool
	batch        string
	seq          int64
	dropped      flyball.Dropped
	instance     flyball.InstanceInfo
	applied      *flyball.RulesetID // nil if none was told
	errors       []string
	exposures    []exposure
	observations []observation
}

type exposure struct {
	t       int64
	rollout string
	variant string
	unit    string
	by      string
	step    int
}

type observation struct {
	t       int64
	metric  string
	flag    string
	variant string
	unit    string
	value   float64
	// attributes stand in the order of their names
	attributes []attribute
}

// An attribute is one of an observation, its value as text.
type attribute struct{ name, value string }

const recordVersion = 2

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

// A recordWriter appends values to a buffer. Words that occur often, such as
// the names of metrics, are written once and then referred to.
type recordWriter struct {
	buf   []byte
	words map[string]uint64
}

func (w *recordWriter) uint(v uint64) { w.buf = binary.AppendUvarint(w.buf, v) }
func (w *recordWriter) int(v int64)   { w.buf = binary.AppendVarint(w.buf, v) }
func (w *recordWriter) float(v float64) {
	w.buf = binary.LittleEndian.AppendUint64(w.buf, math.Float64bits(v))
}

func (w *recordWriter) string(s string) {
	w.uint(uint64(len(s)))
	w.buf = append(w.buf, s...)
}

func (w *recordWriter) word(s string) {
	if n, ok := w.words[s]; ok {
		w.uint(n)
		return
	}
	if w.words == nil {
		w.words = make(map[string]uint64, 8)
	}
	w.words[s] = uint64(len(w.words)) + 1
	w.uint(0)
	w.string(s)
}

func (r *record) encode() []byte {
	w := &recordWriter{buf: make([]byte, 0, 128+64*len(r.exposures)+40*len(r.observations))}
	w.uint(recordVersion)
	w.uint(flag(r.trusted) | flag(r.leaving)<<1 | flag(r.applied == nil)<<2)
	w.string(r.batch)
	w.int(r.seq)
	w.int(r.dropped.Exposures)
	w.int(r.dropped.Observations)
	w.string(r.instance.ID)
	w.string(r.instance.Service)
	w.string(r.instance.Version)
	w.string(r.instance.SDK)
	if r.applied != nil {
		w.int(r.applied.Epoch)
		w.int(r.applied.Version)
	}
	w.uint(uint64(len(r.errors)))
	for _, e := range r.errors {
		w.string(e)
	}
	last := int64(0)
	w.uint(uint64(len(r.exposures)))
	for i := range r.exposures {
		x := &r.exposures[i]
		w.int(x.t - last)
		last = x.t
		w.word(x.rollout)
		w.word(x.variant)
		w.string(x.unit)
		w.string(x.by)
		w.int(int64(x.step))
	}
	w.uint(uint64(len(r.observations)))
	for i := range r.observations {
		o := &r.observations[i]
		w.int(o.t - last)
		last = o.t
		w.word(o.metric)
		w.word(o.flag)
		w.word(o.variant)
		w.string(o.unit)
		w.float(o.value)
		w.attributes(o.attributes)
	}
	return w.buf
}

func (w *recordWriter) attributes(all []attribute) {
	w.uint(uint64(len(all)))
	for _, a := range all {
		w.word(a.name)
		w.word(a.value)
	}
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

var errRecord = errors.New("the log entry is cut short or of another version")

// A recordReader reads what a recordWriter wrote. After the first value that
// is not there, all are zero and bad is set.
type recordReader struct {
	buf   []byte
	words []string
	bad   bool
}

func (r *recordReader) uint() uint64 {
	v, n := binary.Uvarint(r.buf)
	if n <= 0 {
		r.bad, r.buf = true, nil
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

func (r *recordReader) int() int64 {
	v, n := binary.Varint(r.buf)
	if n <= 0 {
		r.bad, r.buf = true, nil
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

func (r *recordReader) float() float64 {
	if len(r.buf) < 8 {
		r.bad, r.buf = true, nil
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(r.buf))
	r.buf = r.buf[8:]
	return v
}

func (r *recordReader) string() string {
	n := r.uint()
	if n > uint64(len(r.buf)) {
		r.bad, r.buf = true, nil
		return ""
	}
	s := string(r.buf[:n])
	r.buf = r.buf[n:]
	return s
}

func (r *recordReader) word() string {
	n := r.uint()
	if n == 0 {
		s := r.string()
		r.words = append(r.words, s)
		return s
	}
	if n > uint64(len(r.words)) {
		r.bad, r.buf = true, nil
		return ""
	}
	return r.words[n-1]
}

func (r *recordReader) attributes() []attribute {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	all := make([]attribute, n)
	for i := range all {
		all[i] = attribute{name: r.word(), value: r.word()}
	}
	return all
}

// count reads a length of things that have at least least bytes each.
func (r *recordReader) count(least int) int {
	n := r.uint()
	if n > uint64(len(r.buf)/least) {
		r.bad, r.buf = true, nil
		return 0
	}
	return int(n)
}

func decodeRecord(body []byte) (*record, error) {
	r := &recordReader{buf: body}
	if r.uint() != recordVersion {
		return nil, errRecord
	}
	flags := r.uint()
	rec := &record{trusted: flags&1 != 0, leaving: flags&2 != 0, batch: r.string(), seq: r.int()}
	rec.dropped = flyball.Dropped{Exposures: r.int(), Observations: r.int()}
	rec.instance = flyball.InstanceInfo{ID: r.string(), Service: r.string(), Version: r.string(), SDK: r.string()}
	if flags&4 == 0 {
		rec.applied = &flyball.RulesetID{Epoch: r.int(), Version: r.int()}
	}
	for range r.count(1) {
		rec.errors = append(rec.errors, r.string())
	}
	last := int64(0)
	rec.exposures = make([]exposure, r.count(6))
	for i := range rec.exposures {
		last += r.int()
		rec.exposures[i] = exposure{t: last, rollout: r.word(), variant: r.word(), unit: r.string(), by: r.string(), step: int(r.int())}
	}
	rec.observations = make([]observation, r.count(14))
	for i := range rec.observations {
		last += r.int()
		rec.observations[i] = observation{t: last, metric: r.word(), flag: r.word(), variant: r.word(), unit: r.string(), value: r.float(), attributes: r.attributes()}
	}
	if r.bad || len(r.buf) > 0 {
		return nil, errRecord
	}
	return rec, nil
}
