package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/flyballdev/flyball/bench/target"
	"github.com/flyballdev/flyball/bench/workload"
)

// A watcher asks for evaluations at a steady pace, and changes a flag now and
// then and sees when a stream tells of it.
type watcher struct {
	server *target.Server
	token  string
	stream io.Closer
	events chan time.Time
	killed bool
}

const (
	evaluateEvery = 5 * time.Millisecond
	changeEvery   = 100 * time.Millisecond
)

// switched is the flag that is killed and resumed by turns.
var switched = workload.Plain[500]

func watch(ctx context.Context, s *target.Server, token string) (*watcher, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/sdk/v1/stream", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := (&http.Client{Transport: &http.Transport{DisableCompression: true}}).Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the stream: %s", resp.Status)
	}
	w := &watcher{server: s, token: token, stream: resp.Body, events: make(chan time.Time, 1000)}
	go func() {
		lines := bufio.NewReaderSize(resp.Body, 1<<20)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			if strings.HasPrefix(line, "id:") {
				w.events <- time.Now()
			}
		}
	}()
	select {
	case <-w.events: // what is in force
		return w, nil
	case <-time.After(10 * time.Second):
		return nil, fmt.Errorf("the stream says nothing")
	}
}

func (w *watcher) close() { w.stream.Close() }

// look measures for so long.
func (w *watcher) look(ctx context.Context, long time.Duration) (evaluations, changes []time.Duration, err error) {
	began := time.Now()
	var wait sync.WaitGroup
	var evaluationErr, changeErr error
	wait.Go(func() { evaluations, evaluationErr = w.evaluate(ctx, began.Add(long)) })
	wait.Go(func() { changes, changeErr = w.change(ctx, began.Add(long)) })
	wait.Wait()
	if evaluationErr != nil {
		return nil, nil, evaluationErr
	}
	return evaluations, changes, changeErr
}

// evaluate asks at its times, however long answers take: an answer's time counts
// from when it was due.
func (w *watcher) evaluate(ctx context.Context, until time.Time) (took []time.Duration, err error) {
	client := &http.Client{Transport: &http.Transport{}}
	in := map[string]any{"targetingKey": workload.Ann.TargetingKey}
	for name, v := range workload.Ann.Attributes {
		in[name] = v
	}
	body, err := json.Marshal(map[string]any{"context": in})
	if err != nil {
		return nil, err
	}
	for due := time.Now(); due.Before(until) && ctx.Err() == nil; due = due.Add(evaluateEvery) {
		time.Sleep(time.Until(due))
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.server.URL+"/ofrep/v1/evaluate/flags/"+workload.TenRules, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+w.token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("an evaluation: %s, %v", resp.Status, err)
		}
		took = append(took, time.Since(due))
	}
	return took, nil
}

func (w *watcher) change(ctx context.Context, until time.Time) (took []time.Duration, err error) {
	for due := time.Now(); due.Before(until) && ctx.Err() == nil; due = due.Add(changeEvery) {
		time.Sleep(time.Until(due))
		w.killed = !w.killed
		verb := map[bool]string{true: "kill", false: "resume"}[w.killed]
		for len(w.events) > 0 { // such as a step of the rollout
			<-w.events
		}
		sent := time.Now()
		if err := w.server.Call(ctx, http.MethodPost, "/api/v1/environments/"+workload.Environment+"/flags/"+switched+"/"+verb,
			map[string]any{"reason": "to be measured"}, nil); err != nil {
			return nil, err
		}
		select {
		case at := <-w.events:
			took = append(took, at.Sub(sent))
		case <-time.After(10 * time.Second):
			return nil, fmt.Errorf("a change did not reach the stream")
		}
	}
	return took, nil
}
