package ingest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
)

// Limits bound what [DecodeBatch] reads. The zero value stands for the limits
// of the root package.
type Limits struct {
	Bytes    int64 // as sent
	Inflated int64 // after inflation
	Ratio    int64 // inflated over sent; see below
}

func (l Limits) withDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = flyball.MaxBatchBytes
	}
	if l.Inflated <= 0 {
		l.Inflated = flyball.MaxBatchInflated
	}
	if l.Ratio <= 0 {
		l.Ratio = flyball.MaxBatchInflation
	}
	return l
}

// DecodeBatch reads one telemetry batch as JSON, plain (encoding "" or
// "identity") or compressed ("gzip"). It reads no more than the limits allow
// and answers [flyball.TooLarge] beyond them, and [flyball.Invalid] for what is
// no batch. Fields it does not know are skipped, so that a newer SDK is not
// refused. A bad item does not spoil the others: one that cannot be read is
// empty in its place, and misread says why.
//
// The ratio binds only what inflates to more than could have been sent plain:
// telemetry repeats itself, and honest batches often shrink thirtyfold.
//
// A batch is read whole and then decoded in a place of [decoding], so that a slow
// sender keeps no place, and telemetry leaves a core, and memory, to all else.
func DecodeBatch(r io.Reader, encoding string, limits Limits) (batch flyball.TelemetryBatch, misread []flyball.Rejected, err error) {
	l := limits.withDefaults()
	plain := encoding == "" || encoding == "identity"
	if !plain && encoding != "gzip" {
		return flyball.TelemetryBatch{}, nil, flyball.FieldErrorf("Content-Encoding", "%.32q is not supported: send the batch plain or as gzip", encoding)
	}
	sent := buffers.Get().(*bytes.Buffer)
	defer func() { sent.Reset(); buffers.Put(sent) }()
	if err := fill(sent, r, l.Bytes); err != nil {
		return flyball.TelemetryBatch{}, nil, err
	}
	decoding <- struct{}{}
	defer func() { <-decoding }()
	if plain {
		return parseBatch(sent.Bytes())
	}
	buf := buffers.Get().(*bytes.Buffer)
	defer func() { buf.Reset(); buffers.Put(buf) }()
	if err := inflate(buf, sent, l); err != nil {
		return flyball.TelemetryBatch{}, nil, err
	}
	return parseBatch(buf.Bytes())
}

// decoding has a place for each batch that may be decoded at once: half of the
// cores.
var decoding = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

var (
	buffers   = sync.Pool{New: func() any { return new(bytes.Buffer) }}
	inflaters = sync.Pool{New: func() any { return new(gzip.Reader) }}
)

// fill reads all of r into buf, or refuses it.
func fill(buf *bytes.Buffer, r io.Reader, most int64) error {
	n, err := buf.ReadFrom(io.LimitReader(r, most+1))
	if n > most {
		return flyball.Errorf(flyball.TooLarge, "the batch has more than %d bytes: send less at a time", most)
	}
	if err != nil {
		return explainRead(err)
	}
	return nil
}

func explainRead(err error) error {
	if e, ok := errors.AsType[*flyball.Error](err); ok {
		return e
	}
	return flyball.Errorf(flyball.Invalid, "the batch could not be read to its end: %v", err)
}

// explainShape names the field that is of another type than a batch's.
func explainShape(err error) error {
	e, ok := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case !ok:
		return flyball.Errorf(flyball.Invalid, "this is no telemetry batch: %v", err)
	case e.Field == "":
		return flyball.Errorf(flyball.Invalid, "this is no telemetry batch: it is a JSON object, not a JSON %s", e.Value)
	}
	return flyball.FieldErrorf(strings.TrimPrefix(e.Field, "TelemetryBatch."), "cannot be a JSON %s", e.Value)
}

func inflate(buf *bytes.Buffer, r io.Reader, l Limits) error {
	sent := &counter{r: r}
	z := inflaters.Get().(*gzip.Reader)
	defer inflaters.Put(z)
	if err := z.Reset(sent); err != nil {
		return explainRead(err)
	}
	most := min(l.Inflated, l.Bytes)
	n, err := buf.ReadFrom(io.LimitReader(z, most+1))
	for err == nil && n > most { // more than could have come plain
		if most >= l.Inflated {
			return flyball.Errorf(flyball.TooLarge, "the batch inflates to more than %d bytes: send less at a time", l.Inflated)
		}
		if n > l.Ratio*sent.n {
			return flyball.Errorf(flyball.TooLarge, "the batch inflates to more than %d times what was sent: send it plain, in parts", l.Ratio)
		}
		most = min(l.Inflated, 2*most)
		var more int64
		more, err = buf.ReadFrom(io.LimitReader(z, most+1-n))
		n += more
	}
	if err != nil {
		return explainRead(err)
	}
	return nil
}

// A counter counts what is read through it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// parseBatch reads a batch, and apart from it why single items are of another
// shape than they should be; those are empty in their places.
func parseBatch(data []byte) (b flyball.TelemetryBatch, misread []flyball.Rejected, err error) {
	if json.Unmarshal(data, &b) == nil {
		return b, nil, nil
	}
	// Something is amiss: find out whether it is the envelope or single items.
	var loose struct {
		flyball.TelemetryBatch
		Exposures    []json.RawMessage `json:"exposures"`
		Observations []json.RawMessage `json:"observations"`
		Contexts     []json.RawMessage `json:"contexts"`
		Counts       []json.RawMessage `json:"counts"`
		UnknownFlags []json.RawMessage `json:"unknownFlags"`
	}
	if err := json.Unmarshal(data, &loose); err != nil {
		return flyball.TelemetryBatch{}, nil, explainShape(err)
	}
	if n := len(loose.Exposures) + len(loose.Observations); n > flyball.MaxBatchItems {
		return flyball.TelemetryBatch{}, nil, flyball.FieldErrorf("observations", "%d exposures and observations, at most %d a batch", n, flyball.MaxBatchItems)
	}
	b = loose.TelemetryBatch
	b.Exposures = readItems[flyball.Exposure]("exposures", loose.Exposures, &misread)
	b.Observations = readItems[flyball.Observation]("observations", loose.Observations, &misread)
	b.Contexts = readItems[flyball.SampledContext]("contexts", loose.Contexts, &misread)
	b.Counts = readItems[flyball.EvaluationCount]("counts", loose.Counts, &misread)
	b.UnknownFlags = readItems[string]("unknownFlags", loose.UnknownFlags, &misread)
	return b, misread, nil
}

func readItems[T any](list string, raw []json.RawMessage, misread *[]flyball.Rejected) []T {
	if len(raw) > flyball.MaxBatchItems {
		return make([]T, len(raw)) // the batch is refused for it
	}
	all := make([]T, len(raw))
	for i := range raw {
		if err := json.Unmarshal(raw[i], &all[i]); err != nil {
			all[i] = *new(T)
			*misread = append(*misread, flyball.Rejected{List: list, Index: i, Why: explainItem(err)})
		}
	}
	return all
}

// explainItem says what is wrong with the shape of one item.
func explainItem(err error) string {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return strings.TrimPrefix(fmt.Sprintf("%s: cannot be a JSON %s", e.Field, e.Value), ": ")
	}
	if _, ok := errors.AsType[*time.ParseError](err); ok || strings.HasPrefix(err.Error(), "Time.") {
		return "a time is text such as \"2026-11-21T19:00:00Z\""
	}
	return "cannot be read: " + strings.TrimPrefix(err.Error(), "json: ")
}
