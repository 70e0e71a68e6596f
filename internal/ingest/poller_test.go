package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/prometheus"
	"github.com/flyballdev/flyball/internal/store"
)

// A fakePrometheus answers as its test wants.
type fakePrometheus struct {
	*httptest.Server
	answer atomic.Pointer[func(query string, from, to, step int64) string]
}

func newFakePrometheus(t testing.TB) *fakePrometheus {
	f := &fakePrometheus{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/query_range" {
			http.NotFound(w, r)
			return
		}
		n := func(name string) int64 {
			v, err := strconv.ParseInt(r.FormValue(name), 10, 64)
			if err != nil {
				t.Error(err)
			}
			return v
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, (*f.answer.Load())(r.FormValue("query"), n("start"), n("end"), n("step")))
	}))
	t.Cleanup(f.Close)
	return f
}

// says makes the fake answer every question by one series.
func (f *fakePrometheus) says(value func(query string, at int64) string) {
	f.answers(func(query string, from, to, step int64) string {
		var values []string
		for at := from; at <= to; at += step {
			values = append(values, fmt.Sprintf(`[%d,%q]`, at, value(query, at)))
		}
		return `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[` + strings.Join(values, ",") + `]}]}}`
	})
}

func (f *fakePrometheus) answers(a func(query string, from, to, step int64) string) {
	f.answer.Store(&a)
}

// polled starts a judge and a poller on a rollout with one stream.
func polled(t *testing.T, f *fakePrometheus, m flyball.Metric) *Runner {
	t.Helper()
	p := plan(200_000, 1_000_000)
	p.Guardrails = []flyball.Guardrail{{Metric: m.Key}}
	now := time.Now()
	r := flyball.Rollout{ID: "r1", RolloutPlan: p, State: flyball.RolloutRunning, StartedAt: now, SteppedAt: now, Revision: 1}
	db, _ := withRollout(t, r)
	body, err := json.Marshal(flyball.RolloutRecord{Rollout: r, Seed: "seed", Metrics: []flyball.Metric{m}})
	if err != nil {
		t.Fatal(err)
	}
	appendLog(t, db, store.LogEntry{Kind: store.KindRollout, Environment: "production", ID: "begin", At: now, Body: body})
	client, err := prometheus.New(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	runner := NewRunner(db, "test")
	runner.Fail = func(err error) { t.Error(err) }
	poller := NewPoller(db, runner, client)
	poller.Fail = runner.Fail
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 2)
	go func() { runner.Run(ctx); done <- struct{}{} }()
	go func() { poller.Run(ctx); done <- struct{}{} }()
	t.Cleanup(func() { cancel(); <-done; <-done })
	return runner
}

func everySecond(m flyball.Metric, query string) flyball.Metric {
	s := *m.Of.Prometheus
	s.Query, s.Every = query, flyball.Duration(time.Second)
	m.Of.Prometheus = &s
	return m
}

// comes waits until the evidence of the stream is as a test wants it.
func comes(t *testing.T, r *Runner, what string, ok func(flyball.MetricEvidence) bool) (m flyball.MetricEvidence) {
	t.Helper()
	defer func() {
		if t.Failed() && m.Stream != nil {
			t.Logf("%+v %+v", m, *m.Stream)
		}
	}()
	eventually(t, what, func() bool {
		e, found, err := r.Evidence(t.Context(), "r1", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if found && len(e.Guardrails) == 1 {
			m = e.Guardrails[0]
		}
		return m.Stream != nil && ok(m)
	})
	return m
}

// A baseline is shown the stream's past, so that it need not learn for hours
// before it can tell anything.
func TestABaselineLearnsFromThePast(t *testing.T) {
	f := newFakePrometheus(t)
	f.says(func(_ string, at int64) string { return fmt.Sprint(hum(uint64(at), 1, 0.4)[0]) })
	m := watched()
	r := polled(t, f, everySecond(m, "cpu"))
	got := comes(t, r, "the past", func(m flyball.MetricEvidence) bool { return m.Stream.Samples > pastSamples })
	if got.Verdict != flyball.Healthy || got.Stream.State != flyball.StreamNormal {
		t.Errorf("%s, %s: %s", got.Stream.State, got.Verdict, got.Why)
	}
	f.says(func(_ string, at int64) string { return "0.9" })
	comes(t, r, "the alarm", func(m flyball.MetricEvidence) bool { return m.Stream.State == flyball.StreamAlarm })
}

// Whatever a server answers, it is no data if it is no good answer, and the
// next good one counts again.
func TestGarbageIsNoData(t *testing.T) {
	f := newFakePrometheus(t)
	good := func(string, int64) string { return "0.5" }
	f.says(good)
	r := polled(t, f, everySecond(limited(), "cpu"))
	comes(t, r, "a sample", func(m flyball.MetricEvidence) bool { return m.Verdict == flyball.Healthy })
	for _, tt := range []struct {
		why    string
		answer func(query string, from, to, step int64) string
	}{
		{"Prometheus: the query was refused: bad_response", func(string, int64, int64, int64) string { return "<html>" }},
		{"Prometheus: the query has no value now", func(string, int64, int64, int64) string {
			return `{"status":"success","data":{"resultType":"matrix","result":[]}}`
		}},
		{"Prometheus: the query's value is NaN", func(_ string, _, to, _ int64) string {
			return fmt.Sprintf(`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[%d,"NaN"]]}]}}`, to)
		}},
		{"Prometheus: the answer is for", func(_ string, _, to, _ int64) string {
			return fmt.Sprintf(`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[%d,"99"]]}]}}`, to-60)
		}},
	} {
		f.answers(tt.answer)
		m := comes(t, r, tt.why, func(m flyball.MetricEvidence) bool { return strings.HasPrefix(m.Stream.NoData, tt.why) })
		if m.Verdict == flyball.Breached {
			t.Errorf("%s: %s", tt.why, m.Why)
		}
		f.says(good)
		comes(t, r, "a sample again", func(m flyball.MetricEvidence) bool { return m.Stream.NoData == "" && m.Verdict == flyball.Healthy })
	}
}

// A query that names the variant is asked for each arm, with their names as the
// values of labels.
func TestArmsAreCompared(t *testing.T) {
	f := newFakePrometheus(t)
	f.says(func(query string, _ int64) string {
		switch query {
		case `errors{flag="checkout",env="production",variant="on"}`:
			return "0.75"
		case `errors{flag="checkout",env="production",variant="off"}`:
			return "0.25"
		}
		t.Errorf("asked %s", query)
		return "0"
	})
	m := everySecond(limited(), `errors{flag="{{flag}}",env="{{environment}}",variant="{{variant}}"}`)
	m.Of.Prometheus.Threshold = &flyball.Threshold{Value: 0.4}
	r := polled(t, f, m)
	got := comes(t, r, "a breach", func(m flyball.MetricEvidence) bool { return m.Verdict == flyball.Breached })
	if got.Why != "0.5 is above 0.4 for 0s or longer" {
		t.Error(got.Why)
	}
}

// What is asked comes from the one that holds the lease, and counts once.
func TestOnlyTheJudgeAsks(t *testing.T) {
	f := newFakePrometheus(t)
	f.says(func(string, int64) string { return "0.5" })
	r := polled(t, f, everySecond(limited(), "cpu"))
	comes(t, r, "a sample", func(m flyball.MetricEvidence) bool { return m.Verdict == flyball.Healthy })
	q, fence, ok := r.questions()
	if !ok || len(q) != 1 {
		t.Fatalf("%v, %v", q, ok)
	}
	client, err := prometheus.New(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	other := NewPoller(r.db, NewRunner(r.db, "other"), client)
	if _, _, ok := other.runner.questions(); ok {
		t.Error("two judges")
	}
	if err := other.inquire(t.Context(), q[0], time.Now().Truncate(time.Second), fence-1); flyball.CodeOf(err) != flyball.Conflict {
		t.Errorf("written under a lease that was lost: %v", err)
	}
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	for range 2 {
		if err := other.inquire(t.Context(), q[0], at, fence); err != nil {
			t.Error(err)
		}
	}
	var ids []string
	err = r.db.View(t.Context(), func(tx *store.Tx) error {
		entries, err := tx.Log(0, 1000, 1<<20)
		for _, e := range entries {
			if e.Kind == store.KindStream {
				ids = append(ids, e.ID)
			}
		}
		return err
	})
	if n := len(slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id != fmt.Sprintf("r1/cpu/%d", at.Unix()) })); err != nil || n > 1 {
		t.Errorf("%v: %d times: %q", err, n, ids)
	}
}
