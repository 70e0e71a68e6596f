package ingest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"sync"

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
// refused. An item that cannot be read becomes one that its Validate refuses:
// a bad item does not spoil the others.
//
// The ratio binds only what inflates to more than could have been sent plain:
// telemetry repeats itself, and honest batches often shrink thirtyfold.
//
// A batch is read whole and then decoded in a place of [decoding], so that a slow
// sender keeps no place, and telemetry leaves a core, and memory, to all else.
func DecodeBatch(r io.Reader, encoding string, limits Limits) (flyball.TelemetryBatch, error) {
	l := limits.withDefaults()
	plain := encoding == "" || encoding == "identity"
	if !plain && encoding != "gzip" {
		return flyball.TelemetryBatch{}, flyball.FieldErrorf("Content-Encoding", "%.32q is not supported: send the batch plain or as gzip", encoding)
	}
	sent := buffers.Get().(*bytes.Buffer)
	defer func() { sent.Reset(); buffers.Put(sent) }()
	if err := fill(sent, r, l.Bytes); err != nil {
		return flyball.TelemetryBatch{}, err
	}
	decoding <- struct{}{}
	defer func() { <-decoding }()
	if plain {
		return parseBatch(sent.Bytes())
	}
	buf := buffers.Get().(*bytes.Buffer)
	defer func() { buf.Reset(); buffers.Put(buf) }()
	if err := inflate(buf, sent, l); err != nil {
		return flyball.TelemetryBatch{}, err
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

func parseBatch(data []byte) (flyball.TelemetryBatch, error) {
	var b flyball.TelemetryBatch
	strict := json.Unmarshal(data, &b)
	if strict == nil {
		return b, nil
	}
	// Something is amiss: find out whether it is the envelope or single items.
	var loose struct {
		flyball.TelemetryBatch
		Exposures    []json.RawMessage `json:"exposures"`
		Observations []json.RawMessage `json:"observations"`
	}
	if err := json.Unmarshal(data, &loose); err != nil {
		return flyball.TelemetryBatch{}, explainShape(err)
	}
	if n := len(loose.Exposures) + len(loose.Observations); n > flyball.MaxBatchItems {
		return flyball.TelemetryBatch{}, flyball.FieldErrorf("observations", "%d exposures and observations, at most %d a batch", n, flyball.MaxBatchItems)
	}
	b = loose.TelemetryBatch
	b.Exposures = make([]flyball.Exposure, len(loose.Exposures))
	for i, raw := range loose.Exposures {
		if json.Unmarshal(raw, &b.Exposures[i]) != nil {
			b.Exposures[i] = flyball.Exposure{}
		}
	}
	b.Observations = make([]flyball.Observation, len(loose.Observations))
	for i, raw := range loose.Observations {
		if err := json.Unmarshal(raw, &b.Observations[i]); err != nil {
			b.Observations[i].Value = math.NaN()
		}
	}
	return b, nil
}
