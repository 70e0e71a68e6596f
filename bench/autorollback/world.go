package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/bench/target"
	"github.com/flyballdev/flyball/provider"
)

const (
	flagKey   = "shop.checkout.fast"
	metricKey = "shop.errors"
	patience  = time.Minute // for a rollout to be taken back
)

// An outcome is what became of one rollout.
type outcome struct {
	whole, crossing, spread time.Duration
	missed                  bool // it was not taken back
	early                   bool // it was taken back before it did harm
}

// A world is a server, the instances of a program, and requests to them.
type world struct {
	config
	server    *target.Server
	instances []*provider.Provider
	second    bool

	mu       sync.Mutex
	failures map[string]time.Time // of treated requests, by request
	first    time.Time            // the first of them
	batches  []sentBatch
}

// A sentBatch is telemetry with observations: when it was sent and acknowledged,
// and when the first of its requests was completed, and the first of its treated
// ones that failed.
type sentBatch struct {
	sent, answered   time.Time
	earliest, failed time.Time
}

// lately is how long before the judge trips a batch may have been acknowledged
// whose observations stand in the window that tripped: a window lasts 50 ms and
// then until both arms are in it, of which the treatment comes ten times a second.
const lately = 250 * time.Millisecond

// crossing returns when the observation that crossed was completed, or at the
// earliest could have been: the first failure of the treatment in the batches of
// the window that tripped; where none is in there, the first observation.
func crossing(all []sentBatch, tripped time.Time) (at time.Time) {
	least := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	in := slices.DeleteFunc(slices.Clone(all), func(b sentBatch) bool {
		return b.sent.After(tripped) || b.answered.Before(tripped.Add(-lately))
	})
	for _, b := range in {
		least(b.failed)
	}
	if at.IsZero() {
		for _, b := range in {
			least(b.earliest)
		}
	}
	return at
}

// run starts a rollout that turns bad, and waits until every instance has been
// told to take it back.
func run(ctx context.Context, c config, dir string, second bool) (out outcome, err error) {
	w := &world{config: c, second: second, failures: map[string]time.Time{}}
	if w.server, err = target.Serve(c.binary, filepath.Join(dir, "data"), "", target.Options{}); err != nil {
		return out, err
	}
	defer w.server.Stop()
	if err := w.furnish(ctx); err != nil {
		return out, err
	}
	defer w.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var traffic sync.WaitGroup
	defer traffic.Wait()
	traffic.Go(func() { w.requests(ctx) })
	defer cancel()
	id, err := w.start(ctx)
	if err != nil {
		return out, err
	}
	last, err := w.swapped(ctx)
	if err != nil {
		return out, err
	}
	w.mu.Lock()
	first := w.first
	w.mu.Unlock()
	switch {
	case last.IsZero():
		return outcome{missed: true}, nil
	case first.IsZero():
		return outcome{early: true}, nil
	}
	out.whole = last.Sub(first)
	return w.judged(ctx, id, last, out)
}

// furnish makes what the rollout is about, and starts the instances.
func (w *world) furnish(ctx context.Context) error {
	type object = map[string]any
	calls := []struct {
		path string
		body object
	}{
		{"/api/v1/flags", object{"key": flagKey, "kind": "ops", "owner": "default", "type": "boolean", "variants": object{"on": true, "off": false}, "safeVariant": "off"}},
		{"/api/v1/environments/production/flags/" + flagKey + "/enable", object{}},
		{"/api/v1/metrics", object{"key": metricKey, "type": "rate", "better": "lower", "analysis": "request"}},
	}
	for _, c := range calls {
		c.body["reason"] = "to be measured"
		if err := w.server.Call(ctx, http.MethodPost, c.path, c.body, nil); err != nil {
			return err
		}
	}
	token, err := w.server.Token(ctx, "production")
	if err != nil {
		return err
	}
	for range w.config.instances {
		p, err := provider.New(provider.Options{
			Server: w.server.URL, Token: token, Service: "shop", Logger: slog.New(slog.DiscardHandler),
			Transport: listener{http.DefaultTransport.(*http.Transport).Clone(), w},
		})
		if err != nil {
			return err
		}
		w.instances = append(w.instances, p)
		if err := p.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for _, p := range w.instances {
		all.Go(func() { _ = p.Close(ctx) })
	}
	all.Wait()
}

// start starts the rollout. One that turns bad at its second step takes it for
// want of evidence: to show health at this traffic takes minutes.
func (w *world) start(ctx context.Context) (id string, err error) {
	type object = map[string]any
	steps := []object{{"ppm": treated, "hold": "1h"}, {"ppm": flyball.PPM}}
	plan := object{
		"flag": flagKey, "environment": "production", "treatment": "on", "control": "off", "unit": "requestId", "alpha": .01,
		"guardrails": []object{{"metric": metricKey, "margin": object{"relative": .05}}}, "reason": "to be measured",
	}
	if w.second {
		steps = slices.Insert(steps, 0, object{"ppm": treated / 5, "hold": "5s"})
		plan["onUnsure"] = object{"after": "5s", "then": "advance"}
	}
	plan["steps"] = steps
	var made struct{ ID string }
	err = w.server.Call(ctx, http.MethodPost, "/api/v1/rollouts", plan, &made)
	return made.ID, err
}

// requests come at random moments, each to a random instance.
func (w *world) requests(ctx context.Context) {
	for n, next := 0, time.Now(); ; n++ {
		next = next.Add(time.Duration(rand.ExpFloat64() / w.rate * float64(time.Second)))
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
		w.request(fmt.Sprintf("request-%d", n))
	}
}

func (w *world) request(id string) {
	p := w.instances[rand.IntN(len(w.instances))]
	r := p.Evaluate(flagKey, &flyball.EvaluationContext{TargetingKey: id, Attributes: flyball.Attributes{"requestId": id}})
	bad := r.Variant == "on" && (!w.second || r.Step == 1)
	chance := w.usual
	if bad {
		chance = w.bad
	}
	failed := rand.Float64() < chance
	o := flyball.Observation{T: time.Now(), Metric: metricKey, Unit: id}
	if failed {
		o.Value = 1
	}
	if bad && failed {
		w.mu.Lock()
		w.failures[id] = o.T
		if w.first.IsZero() {
			w.first = o.T
		}
		w.mu.Unlock()
	}
	_ = p.Observe(o) // what it refuses is not there, and would be missed as such
}

// swapped waits until every instance had the rollout and has it no more, and
// returns when the last one swapped; the zero time if that takes too long.
func (w *world) swapped(ctx context.Context) (last time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	times := make([]time.Time, len(w.instances))
	var all sync.WaitGroup
	for i, p := range w.instances {
		all.Go(func() {
			for _, live := range []bool{true, false} {
				for {
					changed := p.Changed()
					if p.Ruleset().Live() == live {
						break
					}
					select {
					case <-changed:
					case <-ctx.Done():
						return
					}
				}
			}
			times[i] = time.Now()
		})
	}
	all.Wait()
	for _, t := range times {
		if t.IsZero() {
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				return time.Time{}, nil
			}
			return last, ctx.Err()
		}
		if t.After(last) {
			last = t
		}
	}
	return last, nil
}

// judged asks the server when it was sure, and when it aborted.
func (w *world) judged(ctx context.Context, id string, last time.Time, out outcome) (outcome, error) {
	var r struct {
		State   flyball.RolloutState
		EndedAt time.Time
		flyball.Evidence
	}
	if err := w.server.Call(ctx, http.MethodGet, "/api/v1/rollouts/"+id, nil, &r); err != nil {
		return out, err
	}
	var e flyball.Evidence
	if err := w.server.Call(ctx, http.MethodGet, "/api/v1/rollouts/"+id+"/evidence", nil, &e); err != nil {
		return out, err
	}
	if r.State != flyball.RolloutAborted || len(e.Guardrails) != 1 || e.Guardrails[0].FirstTripped == nil {
		return out, fmt.Errorf("the rollout is %s, by %+v", r.State, e)
	}
	w.mu.Lock()
	crossed := crossing(w.batches, *e.Guardrails[0].FirstTripped)
	w.mu.Unlock()
	if crossed.IsZero() {
		return out, errors.New("it was aborted before anything was sent")
	}
	out.crossing, out.spread = last.Sub(crossed), last.Sub(r.EndedAt)
	return out, nil
}

// A listener notes what is sent, and when.
type listener struct {
	http.RoundTripper
	w *world
}

func (l listener) RoundTrip(r *http.Request) (*http.Response, error) {
	var b sentBatch
	if strings.HasSuffix(r.URL.Path, "/telemetry") && r.GetBody != nil {
		if body, err := r.GetBody(); err == nil {
			b = l.w.read(body, r.Header.Get("Content-Encoding") == "gzip")
			body.Close()
		}
	}
	b.sent = time.Now()
	resp, err := l.RoundTripper.RoundTrip(r)
	if b.answered = time.Now(); !b.earliest.IsZero() && err == nil {
		l.w.mu.Lock()
		l.w.batches = append(l.w.batches, b)
		l.w.mu.Unlock()
	}
	return resp, err
}

// read looks into a batch of telemetry.
func (w *world) read(body io.Reader, zipped bool) (b sentBatch) {
	if zipped {
		z, err := gzip.NewReader(body)
		if err != nil {
			return b
		}
		body = z
	}
	var t flyball.TelemetryBatch
	if json.NewDecoder(body).Decode(&t) != nil {
		return b
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range t.Observations {
		if b.earliest.IsZero() || o.T.Before(b.earliest) {
			b.earliest = o.T
		}
		if at, ok := w.failures[o.Unit]; ok && (b.failed.IsZero() || at.Before(b.failed)) {
			b.failed = at
		}
	}
	return b
}
