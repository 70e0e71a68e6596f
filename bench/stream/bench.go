package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/flyballdev/flyball/bench/target"
	"github.com/flyballdev/flyball/bench/workload"
)

type config struct {
	sizes           []int
	changes, writes int
	binary          string
}

// quantiles are of latencies, in milliseconds.
type quantiles struct {
	P50 float64 `json:"p50Ms"`
	P99 float64 `json:"p99Ms"`
	Max float64 `json:"maxMs"`
	N   int     `json:"n"`
}

func quantilesOf(all []time.Duration) *quantiles {
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	at := func(p float64) float64 {
		return float64(all[min(int(p*float64(len(all))), len(all)-1)].Nanoseconds()) / 1e6
	}
	return &quantiles{P50: at(0.5), P99: at(0.99), Max: at(1), N: len(all)}
}

// reach is how changes reach the clients of one server.
type reach struct {
	ConnectMS float64    `json:"connectMs" doc:"until every client has what is in force"`
	Light     *quantiles `json:"light,omitempty" doc:"clients that read the event and apply what it says of the flag"`
	TypicalMS float64    `json:"typicalMs,omitempty" doc:"the median change's p99: one bad moment of the machine is all of a p99 over few changes"`
	Provider  *quantiles `json:"provider,omitempty" doc:"one real provider among them, until its evaluation gives the new value"`
	ClientKB  float64    `json:"clientKb" doc:"the server's memory per idle client"`
	ClientUS  float64    `json:"clientUs" doc:"the server's CPU per change and client, in microseconds: what a busy machine disturbs least"`
}

type comparison struct {
	Clients int     `json:"clients"`
	Floor   reach   `json:"floor"`
	Flyball reach   `json:"flyball"`
	Ratio   float64 `json:"ratio" doc:"of p99 to the floor's; for one client that of the provider"`
	Typical float64 `json:"typicalRatio,omitempty" doc:"the same of the median change's p99"`
	Target  string  `json:"target"`
}

// write is what one change costs the server, without clients.
type write struct {
	CPUMS    float64 `json:"cpuMs"`
	AnswerMS float64 `json:"answerMs" doc:"median"`
	N        int     `json:"n"`
}

type figures struct {
	Sizes   []comparison `json:"sizes"`
	Write   write        `json:"write"`
	Skipped []string     `json:"skipped,omitempty"`
}

func bench(ctx context.Context, c config) (f figures, err error) {
	debug.SetGCPercent(400) // the clients' memory is nobody's concern, and their pauses must not be measured
	dir, err := os.MkdirTemp("", "flyball-bench-")
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(dir)
	if c.binary, err = target.Binary(ctx, c.binary); err != nil {
		return f, err
	}
	house := &house{binary: c.binary, data: filepath.Join(dir, "data"), rest: time.Second}
	if err := house.fill(ctx); err != nil {
		return f, err
	}
	for _, n := range c.sizes {
		if most := files(); n+500 > most {
			f.Skipped = append(f.Skipped, fmt.Sprintf("%d clients: a process may have %d files open here (ulimit -n)", n, most))
			continue
		}
		size := comparison{Clients: n, Target: targets[n]}
		changes := c.changes
		if n == 1 {
			changes *= 5
		}
		if size.Floor, err = atHub(ctx, n, changes, house.rest); err != nil {
			return f, fmt.Errorf("%d clients of the floor: %w", n, err)
		}
		if size.Flyball, err = house.reach(ctx, n, changes); err != nil {
			return f, fmt.Errorf("%d clients: %w", n, err)
		}
		ours := size.Flyball.Light
		if n == 1 {
			ours = size.Flyball.Provider
		}
		if size.Flyball.TypicalMS > 0 {
			size.Typical = size.Flyball.TypicalMS / size.Floor.TypicalMS
		}
		size.Ratio = ours.P99 / size.Floor.Light.P99
		f.Sizes = append(f.Sizes, size)
	}
	f.Write, err = house.write(ctx, c.writes)
	return f, err
}

var targets = map[int]string{1: "≤ 10 ms", 1000: "≤ 2 × floor", 5000: "≤ 2 × floor", 10_000: "p99 ≤ 250 ms"}

// files is how many files a process may have open.
func files() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(limit.Max) // what Go raises it to at the start
}

// A house is a server with flags, which is started anew for each measurement.
type house struct {
	binary, data, admin, token string
	rest                       time.Duration
}

func (h *house) open() (*target.Server, error) {
	return target.Serve(h.binary, h.data, h.admin, target.Options{})
}

func (h *house) fill(ctx context.Context) error {
	s, err := h.open()
	if err != nil {
		return err
	}
	defer s.Stop()
	if err := s.Seed(ctx); err != nil {
		return err
	}
	h.admin = s.Admin
	h.token, err = s.Token(ctx, workload.Environment)
	return err
}

// switched is the flag that is killed and resumed by turns.
var switched = workload.Plain[500]

// toggle changes the flag, and returns when the call is answered.
func toggle(ctx context.Context, s *target.Server, kill bool) error {
	verb := "resume"
	if kill {
		verb = "kill"
	}
	return s.Call(ctx, http.MethodPost, "/api/v1/environments/"+workload.Environment+"/flags/"+switched+"/"+verb, map[string]any{"reason": "to be measured"}, nil)
}

// reach measures how changes reach n clients. One of them is a real provider,
// and with one client that is all.
func (h *house) reach(ctx context.Context, n, changes int) (r reach, err error) {
	s, err := h.open()
	if err != nil {
		return r, err
	}
	defer s.Stop()
	if err := toggle(ctx, s, true); err != nil { // a first change opens the connection and the database
		return r, err
	}
	if err := toggle(ctx, s, false); err != nil {
		return r, err
	}
	p, err := follow(ctx, s.URL, h.token)
	if err != nil {
		return r, err
	}
	defer p.close()
	crowd := &crowd{url: s.URL + "/sdk/v1/stream", token: h.token, rest: h.rest, provider: p}
	if n == 1 {
		n = 0
	}
	return crowd.reach(ctx, s, n, changes, func(kill bool) error { return toggle(ctx, s, kill) })
}

// write measures what changes cost.
func (h *house) write(ctx context.Context, n int) (w write, err error) {
	s, err := h.open()
	if err != nil {
		return w, err
	}
	defer s.Stop()
	if err := toggle(ctx, s, true); err != nil {
		return w, err
	}
	idle, err := cpuDuring(s, func() error { time.Sleep(2 * h.rest); return nil })
	if err != nil {
		return w, err
	}
	var answers []time.Duration
	began := time.Now()
	busy, err := cpuDuring(s, func() error {
		for i := range n {
			sent := time.Now()
			if err := toggle(ctx, s, i%2 == 1); err != nil {
				return err
			}
			answers = append(answers, time.Since(sent))
		}
		return nil
	})
	if err != nil {
		return w, err
	}
	background := idle.Seconds() / (2 * h.rest).Seconds() * time.Since(began).Seconds()
	return write{CPUMS: 1000 * (busy.Seconds() - background) / float64(n), AnswerMS: quantilesOf(answers).P50, N: n}, nil
}

func cpuDuring(s *target.Server, f func() error) (time.Duration, error) {
	before, err := s.CPU()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := s.CPU()
	return after - before, err
}
