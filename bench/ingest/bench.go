package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/flyballdev/flyball/bench/target"
	"github.com/flyballdev/flyball/bench/workload"
)

type config struct {
	seconds, rounds, rate int
	binary                string
}

// quantiles are of latencies, in milliseconds.
type quantiles struct {
	P50 float64 `json:"p50Ms"`
	P99 float64 `json:"p99Ms"`
	N   int     `json:"n"`
}

func (q quantiles) String() string { return fmt.Sprintf("%.2f/%.2f", q.P50, q.P99) }

func quantilesOf(all []time.Duration) quantiles {
	if len(all) == 0 {
		return quantiles{}
	}
	slices.Sort(all)
	at := func(p float64) float64 {
		return float64(all[min(int(p*float64(len(all))), len(all)-1)].Nanoseconds()) / 1e6
	}
	return quantiles{P50: at(0.5), P99: at(0.99), N: len(all)}
}

// A comparison is what something took while nothing else happened, and while
// telemetry came in.
type comparison struct {
	Case  string    `json:"case"`
	Quiet quantiles `json:"quiet"`
	Busy  quantiles `json:"busy"`
	Ratio float64   `json:"ratio" doc:"of the p99s, each the best of its rounds"`
}

type figures struct {
	Fastest     float64      `json:"fastest" doc:"observations a second, the best round"`
	ServerCPUMS float64      `json:"serverCpuMs" doc:"per 1,000 observations"`
	SenderCPUMS float64      `json:"senderCpuMs" doc:"per 1,000 observations"`
	Start       int64        `json:"start" doc:"bytes of memory before"`
	Peak        int64        `json:"peak" doc:"and the most there ever were"`
	Sent        int64        `json:"sent" doc:"observations, each counted once"`
	Wrong       int64        `json:"wrong" doc:"by how many the evidence differs"`
	Paced       float64      `json:"paced" doc:"observations a second while others were looked at"`
	Meanwhile   []comparison `json:"meanwhile"`
}

func bench(ctx context.Context, c config) (f figures, err error) {
	dir, err := os.MkdirTemp("", "flyball-bench-")
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(dir)
	if c.binary, err = target.Binary(ctx, c.binary); err != nil {
		return f, err
	}
	server, err := target.Serve(c.binary, filepath.Join(dir, "data"), "", target.Options{})
	if err != nil {
		return f, err
	}
	defer server.Stop()
	if err := server.Seed(ctx); err != nil {
		return f, err
	}
	rollout, err := start(ctx, server)
	if err != nil {
		return f, err
	}
	token, err := server.Token(ctx, workload.Environment)
	if err != nil {
		return f, err
	}
	crowd := newCrowd(server.URL, token, rollout)
	if err := crowd.expose(ctx); err != nil {
		return f, err
	}
	if f.Start, _, err = server.RSS(); err != nil {
		return f, err
	}
	if err := f.fastest(ctx, c, server, crowd); err != nil {
		return f, err
	}
	if err := f.meanwhile(ctx, c, server, crowd, token); err != nil {
		return f, err
	}
	f.Sent = crowd.sent.Load()
	counted, err := counted(ctx, server, rollout, f.Sent)
	f.Wrong = counted - f.Sent
	if err != nil {
		return f, err
	}
	_, f.Peak, err = server.RSS()
	return f, err
}

// fastest sends as much as is taken, in rounds.
func (f *figures) fastest(ctx context.Context, c config, server *target.Server, crowd *crowd) error {
	for range c.rounds {
		ours, theirs, err := cpu(server)
		if err != nil {
			return err
		}
		before, began := crowd.sent.Load(), time.Now()
		if err := crowd.send(ctx, time.Duration(c.seconds)*time.Second, 0); err != nil {
			return err
		}
		n := float64(crowd.sent.Load() - before)
		oursAfter, theirsAfter, err := cpu(server)
		if err != nil {
			return err
		}
		if rate := n / time.Since(began).Seconds(); rate > f.Fastest {
			f.Fastest = rate
			f.ServerCPUMS = 1e6 * (theirsAfter - theirs).Seconds() / n
			f.SenderCPUMS = 1e6 * (oursAfter - ours).Seconds() / n
		}
	}
	return nil
}

// cpu returns the time that this process and the server have used.
func cpu(server *target.Server) (ours, theirs time.Duration, err error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, 0, err
	}
	theirs, err = server.CPU()
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), theirs, err
}

// meanwhile looks at evaluations and changes with and without telemetry, by turns.
func (f *figures) meanwhile(ctx context.Context, c config, server *target.Server, crowd *crowd, token string) error {
	long := time.Duration(c.seconds) * time.Second
	evaluation, change := comparison{Case: "evaluation"}, comparison{Case: "a change reaches a stream"}
	w, err := watch(ctx, server, token)
	if err != nil {
		return err
	}
	defer w.close()
	best := func(q *quantiles, all []time.Duration) {
		if r := quantilesOf(all); q.N == 0 || r.P99 < q.P99 {
			*q = r
		}
	}
	for range c.rounds {
		e, s, err := w.look(ctx, long)
		if err != nil {
			return err
		}
		best(&evaluation.Quiet, e)
		best(&change.Quiet, s)
		sent, before, began := make(chan error, 1), crowd.sent.Load(), time.Now()
		go func() { sent <- crowd.send(ctx, long, c.rate) }()
		e, s, err = w.look(ctx, long)
		if err != nil {
			return err
		}
		if err := <-sent; err != nil {
			return err
		}
		f.Paced = max(f.Paced, float64(crowd.sent.Load()-before)/time.Since(began).Seconds())
		best(&evaluation.Busy, e)
		best(&change.Busy, s)
	}
	for _, m := range []comparison{evaluation, change} {
		m.Ratio = m.Busy.P99 / m.Quiet.P99
		f.Meanwhile = append(f.Meanwhile, m)
	}
	return nil
}

// The rollout that telemetry is about.
var (
	rolled    = workload.Plain[0]
	seed      = ""
	treatment = 50_000
)

// start begins a rollout with a guardrail of each type.
func start(ctx context.Context, s *target.Server) (id string, err error) {
	for _, file := range workload.ServerFiles().Flags {
		if file.Key == rolled {
			seed = file.Environments[workload.Environment].Seed
		}
	}
	for _, m := range []map[string]any{
		{"key": "failures", "type": "rate", "analysis": "request"},
		{"key": "latency", "type": "mean", "analysis": "request"},
		{"key": "latency.p95", "type": "quantile", "quantile": 0.95, "of": map[string]any{"observation": "latency"}, "analysis": "request"},
		{"key": "retries", "type": "ratio", "numerator": "retry", "denominator": "call", "analysis": "request"},
	} {
		m["better"], m["reason"] = "lower", "to be measured"
		if err := s.Call(ctx, http.MethodPost, "/api/v1/metrics", m, nil); err != nil {
			return "", err
		}
	}
	margin := map[string]any{"relative": 0.5}
	var made struct {
		ID string `json:"id"`
	}
	err = s.Call(ctx, http.MethodPost, "/api/v1/rollouts", map[string]any{
		"flag": rolled, "environment": workload.Environment, "control": "on", "treatment": "off", "reason": "to be measured",
		"steps": []map[string]any{{"ppm": treatment, "hold": "24h"}},
		"guardrails": []map[string]any{
			{"metric": "failures", "margin": margin}, {"metric": "latency", "margin": margin},
			{"metric": "latency.p95", "margin": margin, "by": "route"}, {"metric": "retries", "margin": margin},
		},
	}, &made)
	return made.ID, err
}

// counted returns how many observations the evidence tells of, once the judge has
// read them all or a while has passed.
func counted(ctx context.Context, s *target.Server, rollout string, want int64) (n int64, err error) {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var view struct {
			State    string `json:"state"`
			Evidence struct {
				Joined   int64  `json:"joined"`
				Unjoined int64  `json:"unjoined"`
				Lossy    string `json:"lossy"`
			} `json:"evidence"`
		}
		if err := s.Call(ctx, http.MethodGet, "/api/v1/rollouts/"+rollout, nil, &view); err != nil {
			return 0, err
		}
		n = view.Evidence.Joined + view.Evidence.Unjoined
		if view.State != "running" && view.State != "holding" || view.Evidence.Lossy != "" {
			return n, fmt.Errorf("the rollout is %s, lossy %q", view.State, view.Evidence.Lossy)
		}
		if n >= want || time.Now().After(deadline) {
			return n, nil
		}
	}
}
