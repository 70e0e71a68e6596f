package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/prometheus"
	"github.com/flyballdev/flyball/internal/stats"
	"github.com/flyballdev/flyball/internal/store"
)

const (
	pollTick = 200 * time.Millisecond
	maxPolls = 8 // questions under way at once
	// pastSamples is how much of a stream's past a baseline is shown: what it
	// learns from, and a little in which it can show that it has learnt.
	pastSamples = stats.MonitorWarmUp + 60
)

var errNoPrometheus = errors.New("this server has no Prometheus: start it with --prometheus-url")

// A Poller asks Prometheus for the streams of the rollouts that this process
// judges, while it does, and writes what it hears to the log, under the lease
// of the judge. Questions are about moments on a grid, so that what two
// processes ask around a hand-over is the same, and counts once.
type Poller struct {
	db     *store.DB
	runner *Runner
	client *prometheus.Client
	// Fail is told of what could not be written; Run goes on after it.
	Fail func(error)

	slots chan struct{}
	under sync.WaitGroup
	mu    sync.Mutex // guards asked
	asked map[streamKey]*inquiry
}

type streamKey struct{ rollout, metric string }

// An inquiry is where the questions about one stream stand.
type inquiry struct {
	at   time.Time // the moment that was asked about last
	busy bool
}

// A question is what the judge wants to know of a stream.
type question struct {
	streamKey
	environment        string
	source             flyball.PrometheusSource
	treatment, control string // the query for each arm; one of no variant has the first only
	heard              time.Time
	noData             string
}

// NewPoller returns a poller for a runner's judge. Without a client, streams
// have no data, and say so.
func NewPoller(db *store.DB, runner *Runner, client *prometheus.Client) *Poller {
	return &Poller{db: db, runner: runner, client: client, slots: make(chan struct{}, maxPolls), asked: make(map[streamKey]*inquiry)}
}

// Reaches says why a plan's streams could not be asked for.
func (p *Poller) Reaches(plan flyball.RolloutPlan, metrics []flyball.Metric) error {
	if p.client != nil {
		return nil
	}
	return refuseStreams(plan, metrics, errNoPrometheus.Error())
}

// questions returns what the judge wants to know, and the fencing token under
// which answers are written; ok is false if this process is not the judge.
func (r *Runner) questions() (all []question, fence int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.judge == nil {
		return nil, 0, false
	}
	for _, t := range r.judge.trials {
		if t.Ended != 0 || t.Broken != "" {
			continue
		}
		for _, s := range t.streams {
			if !s.suspended(t) {
				all = append(all, s.question(t))
			}
		}
	}
	return all, r.fence, true
}

func (s *stream) question(t *trial) question {
	r := &t.Entry.Rollout
	q := question{
		streamKey: streamKey{r.ID, s.metric.Key}, environment: r.Environment, source: s.source, noData: s.NoData,
		treatment: s.source.Bind(r.Flag, r.Environment, r.Treatment),
	}
	if s.source.ByVariant() {
		q.control = s.source.Bind(r.Flag, r.Environment, r.Control)
	}
	if s.Last != 0 {
		q.heard = fromMicros(s.Last)
	}
	return q
}

// Run asks until ctx ends, and returns when the last answer is in.
func (p *Poller) Run(ctx context.Context) {
	defer p.under.Wait()
	tick := time.NewTicker(pollTick)
	defer tick.Stop()
	for {
		p.pass(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// pass asks what is due, and waits for no answer.
func (p *Poller) pass(ctx context.Context, now time.Time) {
	questions, fence, ok := p.runner.questions()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ok {
		clear(p.asked)
		return
	}
	current := make(map[streamKey]*inquiry, len(questions))
	for _, q := range questions {
		i := p.asked[q.streamKey]
		if i == nil {
			i = &inquiry{}
		}
		current[q.streamKey] = i
		at := now.Truncate(q.source.Every.Std())
		if i.busy || !at.After(i.at) {
			continue
		}
		select {
		case p.slots <- struct{}{}:
		default:
			continue // the next tick tries again
		}
		i.at, i.busy = at, true
		p.under.Go(func() {
			defer func() {
				<-p.slots
				p.mu.Lock()
				i.busy = false
				p.mu.Unlock()
			}()
			if err := p.inquire(ctx, q, at, fence); err != nil && ctx.Err() == nil && p.Fail != nil {
				p.Fail(fmt.Errorf("stream %s of rollout %s: %w", q.metric, q.rollout, err))
			}
		})
	}
	p.asked = current
}

// inquire asks one question, and writes the answer to the log. That there is no
// answer is written once for each reason.
func (p *Poller) inquire(ctx context.Context, q question, at time.Time, fence int64) error {
	rec := streamRecord{Rollout: q.rollout, Metric: q.metric}
	id := fmt.Sprintf("%s/%s/%d", q.rollout, q.metric, at.Unix())
	samples, err := p.answer(ctx, q, at)
	switch {
	case ctx.Err() != nil:
		return nil // we are stopping, which says nothing of Prometheus
	case err != nil:
		if rec.NoData = err.Error(); p.client != nil {
			rec.NoData = "Prometheus: " + rec.NoData
		}
		if rec.NoData == q.noData {
			return nil
		}
		id += "/none"
	default:
		rec.Samples = samples
	}
	body, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	err = p.db.Update(ctx, func(tx *store.Tx) error {
		now := time.Now() // as the commit begins, so that times in the log rise with its numbers
		if err := tx.HoldsLease(LeaseName, fence, now); err != nil {
			return err
		}
		_, err := tx.AppendLog([]store.LogEntry{{Kind: store.KindStream, Environment: q.environment, ID: id, At: now, Body: body}})
		return err
	})
	if err == nil {
		p.runner.Wake()
	}
	return err
}

// answer returns the new samples of a stream, the last of them of the moment
// at. A threshold counts what is so from now on; a baseline is shown the past
// too, and what was missed.
func (p *Poller) answer(ctx context.Context, q question, at time.Time) ([]streamSample, error) {
	if p.client == nil {
		return nil, errNoPrometheus
	}
	every, from := q.source.Every.Std(), at
	if q.source.Baseline != nil {
		from = at.Add(-pastSamples * every)
		if next := q.heard.Add(every); next.After(from) && !next.After(at) {
			from = next
		}
	}
	values, err := p.client.Ask(ctx, q.treatment, from, at, every)
	if err != nil {
		return nil, err
	}
	samples := make([]streamSample, len(values))
	for i, v := range values {
		samples[i] = streamSample{T: micros(v.T), X: v.Value}
	}
	if q.control == "" {
		return samples, nil
	}
	control, err := p.client.Ask(ctx, q.control, at, at, every)
	if err != nil {
		return nil, fmt.Errorf("of the control: %w", err)
	}
	samples[0].X -= control[0].Value // of one moment each
	return samples, nil
}
