package provider

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/flyballdev/flyball"
)

// A sender sends telemetry, one batch at a time and in order.
type sender struct {
	p        *Provider
	stop     <-chan struct{}
	seq      int64
	reported flyball.RulesetID // what the server knows that we run
	last     time.Time         // when the server last heard of us
	pause    jitter
	leaving  bool // the next batch is the last
}

// send sends telemetry until stop is closed, and then what is left as far as
// ctx allows.
func (p *Provider) send(ctx context.Context, stop <-chan struct{}) {
	s := &sender{p: p, stop: stop, seq: p.record.lastSeq(0), pause: jitter{least: p.pace.retry, most: p.pace.retryMax}}
	timer := time.NewTimer(time.Until(p.record.dueAt()))
	defer timer.Stop()
	for {
		select {
		case <-p.record.hurry:
			timer.Reset(time.Until(p.record.dueAt()))
			continue
		case <-timer.C:
			s.flush(ctx)
			p.record.schedule(p.pace)
			timer.Reset(time.Until(p.record.dueAt()))
		case <-stop:
			for s.flush(ctx) && p.record.left() > 0 {
			}
			s.leave(ctx)
			p.record.lastSeq(s.seq)
			return
		}
	}
}

// leave tells a server that knows us that we end, so that it does not wait for
// us to run what it publishes next.
func (s *sender) leave(ctx context.Context) {
	if !s.last.IsZero() {
		s.leaving = true
		s.deliver(ctx, &batch{id: newID()})
	}
}

// flush sends one batch, if there is anything to say.
func (s *sender) flush(ctx context.Context) bool {
	b := s.p.record.collect()
	b.contexts, b.level = s.p.sample.take()
	if b.empty() && s.p.Version() == s.reported && time.Since(s.last) < s.p.pace.idle {
		return true
	}
	return s.deliver(ctx, b)
}

// deliver sends a batch until it is acknowledged. It fails if the batch is
// lost: refused for good, or not acknowledged before the end.
func (s *sender) deliver(ctx context.Context, b *batch) bool {
	s.seq++
	for {
		last := s.stopped()
		applied := s.p.Version()
		reply, err := s.post(ctx, b, applied)
		switch code := flyball.CodeOf(err); {
		case err == nil:
			s.reported, s.last = applied, time.Now()
			s.pause.reset()
			s.p.record.tell(reply.FlushAfter.Std())
			if reply.FlushAfter > 0 { // the answer could be read
				s.p.sample.ask(reply.Sample)
			}
			return true
		case code == flyball.TooLarge && len(b.items) > 1:
			s.seq-- // its halves take its place
			first, second := b.halves()
			ok := s.deliver(ctx, first)
			return s.deliver(ctx, second) && ok
		case code != flyball.Unavailable && code != flyball.Overloaded:
			s.p.log.Error("telemetry is refused and lost", "error", err, "items", len(b.items))
			s.p.miss(b)
			return false
		}
		if last || !s.again(ctx, err) {
			s.p.miss(b)
			return false
		}
	}
}

// miss notes that a batch was lost.
func (p *Provider) miss(b *batch) {
	p.record.lose(b)
	if len(b.contexts) > 0 {
		p.sample.restart()
	}
}

// stopped says whether the provider is ending: then an attempt is the last.
func (s *sender) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// again waits before the next attempt, though not beyond the end of the
// provider; it says no if there is no time for one.
func (s *sender) again(ctx context.Context, err error) bool {
	t := time.NewTimer(max(s.pause.next(), min(retryAfter(err), s.p.pace.refusedMax)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.stop:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// halves splits a batch that is too large.
func (b *batch) halves() (first, second *batch) {
	first, second = &batch{}, &batch{}
	*first = *b
	first.id, first.items = newID(), b.items[:len(b.items)/2]
	second.id, second.items = newID(), b.items[len(b.items)/2:]
	second.dropped, second.counts, second.unknown, second.contexts = flyball.Dropped{}, nil, nil, nil
	return first, second
}

// post makes one attempt. The time it is sent is that of the attempt, since
// the server corrects our clock by it.
func (s *sender) post(ctx context.Context, b *batch, applied flyball.RulesetID) (flyball.TelemetryReply, error) {
	var reply flyball.TelemetryReply
	body, encoding, err := encode(s.telemetry(b, applied))
	if err != nil {
		return reply, flyball.Errorf(flyball.Invalid, "telemetry: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.p.pace.request)
	defer cancel()
	req, err := s.p.request(ctx, http.MethodPost, "/sdk/v1/telemetry", bytes.NewReader(body))
	if err != nil {
		return reply, flyball.Errorf(flyball.Invalid, "telemetry: %v", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	resp, err := s.p.client.Do(req)
	if err != nil {
		return reply, flyball.Errorf(flyball.Unavailable, "telemetry: %v", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return reply, statusError("telemetry", resp)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(data, &reply)
	}
	if err != nil { // it is acknowledged, and that is what counts
		return flyball.TelemetryReply{}, nil
	}
	if len(reply.Rejected) > 0 {
		s.p.log.Warn("the server rejects part of the telemetry", "items", len(reply.Rejected), "first", reply.Rejected[0].Why)
	}
	return reply, nil
}

func (s *sender) telemetry(b *batch, applied flyball.RulesetID) flyball.TelemetryBatch {
	o := s.p.options
	t := flyball.TelemetryBatch{
		Batch: b.id, Seq: s.seq, SentAt: time.Now(), Dropped: b.dropped, Applied: &applied, Errors: s.p.unreadable(),
		Instance: flyball.InstanceInfo{ID: o.Instance, Service: o.Service, Version: o.ServiceVersion, SDK: SDKVersion},
		Counts:   b.counts, UnknownFlags: b.unknown, Leaving: s.leaving, Contexts: b.contexts, ContextLevel: b.level,
	}
	for _, i := range b.items {
		if i.exposure != nil {
			t.Exposures = append(t.Exposures, *i.exposure)
		} else {
			t.Observations = append(t.Observations, *i.observation)
		}
	}
	return t
}

// encode compresses a batch, but no further than servers are willing to
// inflate.
func encode(t flyball.TelemetryBatch) (body []byte, encoding string, err error) {
	plain, err := json.Marshal(t)
	if err != nil || len(plain) < 1024 {
		return plain, "", err
	}
	for _, level := range []int{gzip.BestSpeed, gzip.HuffmanOnly} {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, level)
		if err == nil {
			_, err = z.Write(plain)
		}
		if err = errors.Join(err, z.Close()); err != nil {
			return nil, "", err
		}
		if len(plain) < (flyball.MaxBatchInflation-2)*b.Len() {
			return b.Bytes(), "gzip", nil
		}
	}
	return plain, "", nil
}
