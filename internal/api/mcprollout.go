package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

type awaitVerdict struct {
	Rollout string `json:"rollout" jsonschema:"the rollout's id, or its flag's key"`
	For     string `json:"for,omitempty" jsonschema:"verdict (default), step or end"`
	Seconds int    `json:"seconds,omitempty" jsonschema:"how long to wait, up to 100 (default 45)"`
}

type awaited struct {
	Done      bool                 `json:"done"`
	Outcome   string               `json:"outcome"`
	Rollout   string               `json:"rollout"`
	State     flyball.RolloutState `json:"state"`
	Step      int                  `json:"step"`
	PPM       int                  `json:"ppm"`
	Untrusted texts                `json:"untrusted_text,omitempty"`
}

func (a agent) awaitVerdict(ctx context.Context, r *mcp.CallToolRequest, in awaitVerdict) (any, error) {
	if in.Seconds <= 0 {
		in.Seconds = 45
	}
	began := time.Now()
	long := time.Duration(min(in.Seconds, 100)) * time.Second
	for {
		var v service.Awaited
		pace := min(awaitPace, max(10*time.Millisecond, long-time.Since(began)))
		fields := given(map[string]any{"id": in.Rollout, "for": in.For, "timeout": pace.Round(10 * time.Millisecond).String()})
		if err := a.do.use(ctx, "await_rollout", fields, nil, &v); err != nil {
			return nil, err
		}
		in.Rollout = v.Rollout.ID
		out := awaited{v.Done, v.Outcome, v.Rollout.ID, v.Rollout.State, v.Rollout.At, v.Rollout.Steps[v.Rollout.At].PPM, texts{}}
		out.Untrusted.add("why", v.Why)
		if v.Done || time.Since(began) >= long || ctx.Err() != nil || closed(a.stop) {
			return out, nil
		}
		if token := r.Params.GetProgressToken(); token != nil {
			err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
				ProgressToken: token, Progress: time.Since(began).Seconds(), Total: long.Seconds(), Message: v.Outcome,
			})
			if err != nil {
				return out, nil // nobody listens
			}
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

type rolloutNamed struct {
	Rollout string `json:"rollout" jsonschema:"the rollout's id, or its flag's key"`
}

type metricTold struct {
	Metric    string            `json:"metric"`
	Verdict   flyball.Verdict   `json:"verdict"`
	Estimate  *float64          `json:"estimate"`
	Interval  *[2]float64       `json:"interval"`
	Control   *float64          `json:"control"`
	Treatment *float64          `json:"treatment"`
	N         flyball.Arms      `json:"n"`
	E         float64           `json:"e"`
	Threshold float64           `json:"threshold"`
	EnoughIn  *flyball.Duration `json:"enough_in"`
}

func (a agent) evidence(ctx context.Context, _ *mcp.CallToolRequest, in rolloutNamed) (any, error) {
	var e service.RolloutEvidence
	if err := a.do.use(ctx, "get_evidence", map[string]any{"id": in.Rollout}, nil, &e); err != nil {
		return nil, err
	}
	out := struct {
		Rollout    string                `json:"rollout"`
		Flag       string                `json:"flag"`
		State      flyball.RolloutState  `json:"state"`
		Step       int                   `json:"step"`
		PPM        int                   `json:"ppm"`
		Verdict    flyball.Verdict       `json:"verdict"`
		Units      flyball.Arms          `json:"units"`
		Guardrails []metricTold          `json:"guardrails"`
		Success    []metricTold          `json:"success,omitempty"`
		Quality    []flyball.QualityKind `json:"data_quality,omitempty"`
		Blocked    int                   `json:"blocks_on_advance"`
		EnoughIn   *flyball.Duration     `json:"enough_in"`
		Winner     string                `json:"winner,omitempty"`
		Untrusted  texts                 `json:"untrusted_text,omitempty"`
	}{
		Rollout: e.Rollout, Flag: e.Flag, State: e.State, Step: e.Step, PPM: e.PPM, Verdict: e.Verdict, Units: e.Units,
		Guardrails: []metricTold{}, EnoughIn: e.EnoughIn, Blocked: len(e.Blocks), Untrusted: texts{},
	}
	out.Untrusted.add("why", e.Why)
	for _, q := range e.Quality {
		if !slices.Contains(out.Quality, q.Kind) { // once, though it be of both arms
			out.Quality = append(out.Quality, q.Kind)
		}
	}
	if e.Winner != nil {
		out.Winner = e.Winner.Variant
	}
	for i, m := range e.Guardrails {
		out.Guardrails = append(out.Guardrails, toldOf(m))
		out.Untrusted.add(fmt.Sprintf("guardrails.%d.why", i), m.Why)
	}
	for _, m := range e.Success {
		out.Success = append(out.Success, toldOf(m))
	}
	return out, nil
}

func toldOf(m flyball.MetricEvidence) metricTold {
	return metricTold{m.Metric, m.Verdict, m.Estimate, m.Interval, m.Control, m.Treatment, m.N, m.E, m.Threshold, m.EnoughIn}
}
