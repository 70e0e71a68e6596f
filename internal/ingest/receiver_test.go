package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/pgtest"
	"github.com/flyballdev/flyball/internal/store"
)

func openStore(t testing.TB) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// started runs a receiver until the test ends.
func started(t testing.TB, db *store.DB) *Receiver {
	r := NewReceiver(db)
	run(t, func(ctx context.Context) { r.Run(ctx) })
	return r
}

// run runs a loop until the test ends, and waits for its end. The function it
// returns ends it sooner.
func run(t testing.TB, loop func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		loop(ctx)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func batchOf(id string, seq int64, observations int) flyball.TelemetryBatch {
	now := time.Now()
	b := flyball.TelemetryBatch{Batch: "batch-000-" + id, Seq: seq, SentAt: now, Instance: flyball.InstanceInfo{ID: "i-" + id, Service: "checkout", SDK: "go/0.1.0"}}
	for i := range observations {
		unit := fmt.Sprintf("user-%d", i)
		if i%10 == 0 {
			b.Exposures = append(b.Exposures, flyball.Exposure{T: now, Flag: "checkout", Variant: "on", Unit: unit, Rollout: "r1", Version: 3})
		}
		b.Observations = append(b.Observations, flyball.Observation{T: now, Metric: "latency", Unit: unit, Value: 182.4 + float64(i)})
	}
	return b
}

func logOf(t testing.TB, db *store.DB) (all []store.LogEntry) {
	t.Helper()
	err := db.View(t.Context(), func(tx *store.Tx) (err error) {
		all, err = tx.Log(0, 1<<20, 1<<30)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestABatchCountsOnceHoweverOftenItComes(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { countsOnce(t, openStore(t)) })
	t.Run("postgres", func(t *testing.T) {
		db, err := store.Open(t.Context(), pgtest.URL(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		countsOnce(t, db)
	})
}

func countsOnce(t *testing.T, db *store.DB) {
	r := started(t, db)
	var wg sync.WaitGroup
	var mu sync.Mutex
	accepted, duplicates := 0, 0
	for n := range 100 {
		for range 1 + n%5/4 { // a fifth of them twice
			wg.Go(func() {
				reply, err := r.Accept(t.Context(), "production", true, batchOf(fmt.Sprint(n), 1, 10))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				accepted += reply.Accepted
				if reply.Duplicate {
					duplicates++
				}
			})
		}
	}
	wg.Wait()
	if log := logOf(t, db); len(log) != 100 || accepted != 1100 || duplicates != 20 {
		t.Errorf("%d entries, %d accepted, %d duplicates; want 100, 1100 and 20", len(log), accepted, duplicates)
	}
	if reply, err := r.Accept(t.Context(), "development", true, batchOf("1", 1, 10)); err != nil || reply.Duplicate {
		t.Errorf("the same id in another environment: %+v, %v", reply, err)
	}
}

func TestBadItemsAreRejectedByIndexAndTheRestCounts(t *testing.T) {
	db := openStore(t)
	r := started(t, db)
	b := batchOf("x", 1, 4)
	b.Observations[1].Metric = ""
	b.Observations[2].T = b.SentAt.Add(-25 * time.Hour)
	b.Observations[3].T = b.SentAt.Add(6 * time.Minute)
	b.Exposures[0].Rollout = ""
	reply, err := r.Accept(t.Context(), "production", true, b)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, rejected := range reply.Rejected {
		got = append(got, fmt.Sprintf("%s[%d]", rejected.List, rejected.Index))
	}
	want := "exposures[0] observations[1] observations[2] observations[3]"
	if strings.Join(got, " ") != want || reply.Accepted != 1 {
		t.Errorf("rejected %v, accepted %d; want %s and 1", got, reply.Accepted, want)
	}
	if _, err := r.Accept(t.Context(), "production", true, flyball.TelemetryBatch{Seq: -1}); flyball.CodeOf(err) != flyball.Invalid || len(flyball.Problems(err)) != 3 {
		t.Errorf("a bad envelope: %v", err)
	}
}

// A clock that is an hour fast is corrected by when the batch was sent.
func TestTimesAreCorrectedByWhenTheBatchWasSent(t *testing.T) {
	db := openStore(t)
	r := started(t, db)
	b := batchOf("x", 1, 1)
	b.SentAt = b.SentAt.Add(time.Hour)
	b.Observations[0].T = b.SentAt.Add(-3 * time.Second)
	b.Exposures = nil
	if reply, err := r.Accept(t.Context(), "production", true, b); err != nil || reply.Accepted != 1 {
		t.Fatalf("%+v, %v", reply, err)
	}
	rec, err := decodeRecord(logOf(t, db)[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(fromMicros(rec.observations[0].t)) - 3*time.Second; d < 0 || d > time.Minute {
		t.Errorf("the time is off by %v", d)
	}
}

func TestAFullQueueRefusesAndLosesNothingItAccepted(t *testing.T) {
	db := openStore(t)
	r := NewReceiver(db) // whose writer does not run yet
	var wg sync.WaitGroup
	results := make(chan error, 200)
	for n := range 200 {
		wg.Go(func() {
			_, err := r.Accept(t.Context(), "production", true, batchOf(fmt.Sprint("n", n), 1, 9000))
			results <- err
		})
	}
	refused := <-results // before the writer runs, only a refusal can come
	if flyball.CodeOf(refused) != flyball.Overloaded {
		t.Fatalf("a full queue says %v", refused)
	}
	if e := flyball.Problems(refused)[0]; e.Details["retryAfter"] == nil {
		t.Error("it does not say when to try again")
	}
	run(t, func(ctx context.Context) { r.Run(ctx) })
	wg.Wait()
	close(results)
	ok := 0
	for err := range results {
		if err == nil {
			ok++
		} else if flyball.CodeOf(err) != flyball.Overloaded {
			t.Error(err)
		}
	}
	if n := len(logOf(t, db)); n != ok || ok == 0 {
		t.Errorf("%d acknowledged, %d in the log", ok, n)
	}
}

func TestAStoppingReceiverWritesWhatItQueued(t *testing.T) {
	db := openStore(t)
	r := NewReceiver(db)
	stop := run(t, func(ctx context.Context) { r.Run(ctx) })
	var wg sync.WaitGroup
	var mu sync.Mutex
	ok := 0
	for n := range 50 {
		wg.Go(func() {
			if _, err := r.Accept(t.Context(), "production", true, batchOf(fmt.Sprint("n", n), 1, 5)); err == nil {
				mu.Lock()
				ok++
				mu.Unlock()
			} else if flyball.CodeOf(err) != flyball.Unavailable {
				t.Error(err)
			}
		})
	}
	stop()
	wg.Wait()
	if n := len(logOf(t, db)); n != ok {
		t.Errorf("%d acknowledged, %d in the log", ok, n)
	}
}

func TestSendersSlowDownAsTheFleetGrows(t *testing.T) {
	running := true
	r := NewReceiver(nil)
	r.Running = func(environment string) bool { return running && environment == "production" }
	now := time.Now()
	check := func(n int, environment string, want time.Duration) {
		t.Helper()
		var got time.Duration
		for i := range n {
			got = r.flushAfter(environment, fmt.Sprint(i), now)
		}
		if got != want {
			t.Errorf("%d senders of %s: flush after %v, want %v", n, environment, got, want)
		}
	}
	check(1, "production", 250*time.Millisecond)
	check(200, "production", 250*time.Millisecond)
	check(400, "production", 500*time.Millisecond)
	check(10_000, "production", 5*time.Second)
	check(1, "development", 10*time.Second)
	now = now.Add(2 * time.Minute)
	r.flushAfter("production", "0", now) // sweeps
	check(1, "production", 250*time.Millisecond)
	running = false
	check(1, "production", 10*time.Second)
}

func zipped(t testing.TB, data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDecodingIsBounded(t *testing.T) {
	good, err := json.Marshal(batchOf("x", 412, 20))
	if err != nil {
		t.Fatal(err)
	}
	half := zipped(t, good)
	half = half[:len(half)/2]
	for _, tt := range []struct {
		name     string
		body     []byte
		encoding string
		want     flyball.Code
	}{
		{"plain", good, "", ""},
		{"plain by name", good, "identity", ""},
		{"gzip", zipped(t, good), "gzip", ""},
		{"unknown fields", []byte(`{"batch":"0192-4444","instance":{"id":"a"},"later":{"x":[1,2]}}`), "", ""},
		{"half a gzip", half, "gzip", flyball.Invalid},
		{"gzip of nothing", zipped(t, nil), "gzip", flyball.Invalid},
		{"no gzip at all", good, "gzip", flyball.Invalid},
		{"an encoding we lack", good, "br", flyball.Invalid},
		{"empty", nil, "", flyball.Invalid},
		{"a number too large", []byte(`{"seq":1e400}`), "", flyball.Invalid},
		{"NaN", []byte(`{"seq":NaN}`), "", flyball.Invalid},
		{"null", []byte(`null`), "", ""},
		{"a list", []byte(`[]`), "", flyball.Invalid},
		{"very deep", []byte(`{"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`), "", flyball.Invalid},
		{"too long", []byte(`{"batch":"` + strings.Repeat("x", flyball.MaxBatchBytes) + `"}`), "", flyball.TooLarge},
		{"a bomb", zipped(t, bytes.Repeat([]byte(" "), 3<<20)), "gzip", flyball.TooLarge},
		{"too long inflated", zipped(t, append(good, bytes.Repeat([]byte(" "), flyball.MaxBatchInflated)...)), "gzip", flyball.TooLarge},
		{"too many bad items", []byte(`{"batch":1,"observations":[` + strings.Repeat("1,", flyball.MaxBatchItems) + `1]}`), "", flyball.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := DecodeBatch(bytes.NewReader(tt.body), tt.encoding, Limits{})
			if tt.want == "" && err != nil || tt.want != "" && flyball.CodeOf(err) != tt.want {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestAnItemThatCannotBeReadSpoilsNoOther(t *testing.T) {
	body := `{"batch":"0192-4444","seq":1,"instance":{"id":"a"},
		"exposures":[{"t":"yesterday"},{"t":"2026-11-21T19:00:00Z","flag":"f","variant":"on","unit":"u","rollout":"r"}],
		"observations":[{"t":"2026-11-21T19:00:00Z","metric":"m","unit":"u","value":1e999},{"t":"2026-11-21T19:00:00Z","metric":"m","unit":"u","value":"7"},7,{"t":"2026-11-21T19:00:00Z","metric":"m","unit":"u","value":7}],
		"contexts":[{"t":7},{"unit":"u"},{"unit":7}],
		"counts":[{"flag":"f","variant":"on","n":3},{"flag":"f","n":"3"},"f",{"flag":"f","n":0},null],
		"unknownFlags":["a",7,"b"]}`
	b, misread, err := DecodeBatch(strings.NewReader(body), "", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	rec, told := recordOf(b, true, time.Date(2026, 11, 21, 19, 0, 1, 0, time.UTC), nil, misread)
	if len(rec.exposures) != 1 || len(rec.observations) != 1 {
		t.Errorf("kept %d and %d", len(rec.exposures), len(rec.observations))
	}
	got := map[string]string{}
	for _, r := range told.rejected {
		got[fmt.Sprintf("%s[%d]", r.List, r.Index)] = r.Why
	}
	const aTime = "a time is text such as \"2026-11-21T19:00:00Z\""
	if diff := cmp.Diff(map[string]string{
		"exposures[0]": aTime, "observations[0]": "value: cannot be a JSON number 1e999", "observations[1]": "value: cannot be a JSON string",
		"observations[2]": "cannot be a JSON number", "contexts[0]": aTime, "contexts[2]": "unit: cannot be a JSON number",
		"counts[1]": "n: cannot be a JSON string", "counts[2]": "cannot be a JSON string", "counts[3]": "n: must lie between 1 and 1000000000000",
		"counts[4]": "flag: needs 1 to 128 bytes", "unknownFlags[1]": "cannot be a JSON number",
	}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(b.Contexts) != 3 || len(b.Counts) != 5 || b.Counts[0].N != 3 || b.UnknownFlags[2] != "b" {
		t.Errorf("the others are %+v", b)
	}
}

func FuzzDecodeBatch(f *testing.F) {
	good, _ := json.Marshal(batchOf("x", 412, 3))
	f.Add(good, false)
	f.Add(zipped(f, good), true)
	f.Add([]byte(`{"observations":[{"value":1e999},null,[]],"exposures":[7]}`), false)
	f.Fuzz(func(t *testing.T, body []byte, gzip bool) {
		encoding := ""
		if gzip {
			encoding = "gzip"
		}
		b, misread, err := DecodeBatch(bytes.NewReader(body), encoding, Limits{Bytes: 1 << 16, Inflated: 1 << 18, Ratio: 20})
		if err != nil {
			if c := flyball.CodeOf(err); c != flyball.Invalid && c != flyball.TooLarge {
				t.Fatalf("code %q: %v", c, err)
			}
			return
		}
		rec, _ := recordOf(b, true, time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC), nil, misread)
		back, err := decodeRecord(rec.encode())
		if err != nil {
			t.Fatalf("what was kept cannot be read: %v", err)
		}
		if !bytes.Equal(back.encode(), rec.encode()) {
			t.Fatal("what was kept changed in the log")
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	rec, _ := recordOf(batchOf("x", 412, 30), true, time.Now(), nil, nil)
	f.Add(rec.encode())
	f.Fuzz(func(t *testing.T, body []byte) {
		j := NewJudge()
		j.Apply(store.LogEntry{Seq: 1, Kind: store.KindBatch, Environment: "production", At: epoch, Body: body})
		Restore(body)
	})
}

func BenchmarkReceiver(b *testing.B) {
	r := started(b, openStore(b))
	batch := batchOf("x", 1, 500)
	batch.Exposures = nil
	b.SetParallelism(16)
	var n int64
	var mu sync.Mutex
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mu.Lock()
			n++
			mine := batch
			mine.Batch = fmt.Sprintf("batch-000-%d", n)
			mu.Unlock()
			if _, err := r.Accept(context.Background(), "production", true, mine); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(500*b.N)/b.Elapsed().Seconds(), "observations/s")
}

func BenchmarkDecodeBatch(b *testing.B) {
	body, _ := json.Marshal(batchOf("x", 1, 500))
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, _, err := DecodeBatch(bytes.NewReader(body), "", Limits{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(500*b.N)/b.Elapsed().Seconds(), "observations/s")
}
