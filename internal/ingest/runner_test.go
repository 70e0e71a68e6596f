package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// judgeEnv names a database that this binary, run as another process, judges
// until it is killed.
const judgeEnv = "INGEST_TEST_JUDGE"

func judgeUntilKilled(path string) {
	db, err := store.Open(context.Background(), path)
	if err != nil {
		panic(err)
	}
	r := NewRunner(db, "child") // which gets its own lease again
	r.Fail = func(err error) { fmt.Fprintln(os.Stderr, err) }
	r.Run(context.Background())
}

// withRollout returns a store with the rollout of a stage in it.
func withRollout(t testing.TB, r flyball.Rollout) (*store.DB, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	db, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	err = db.Update(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.PutTeam(flyball.Team{Key: "payments"}, 0); err != nil {
			return err
		}
		if err := tx.InsertEnvironment(flyball.Environment{Key: "production"}); err != nil {
			return err
		}
		f := flyball.Flag{Key: r.Flag, Kind: flyball.KindOps, Owner: "payments", Type: flyball.TypeBoolean,
			Variants: flyball.Variants{"on": true, "off": false}, SafeVariant: "off"}
		if err := tx.InsertFlag(f, "user:ann", epoch); err != nil {
			return err
		}
		c := flyball.FlagConfig{Flag: r.Flag, Enabled: true, OffVariant: "off", Seed: "seed", HashVersion: 2, Default: flyball.Serve{Variant: "off"}}
		if err := tx.InsertFlagConfig("production", c, 1); err != nil {
			return err
		}
		return tx.InsertRollout(r)
	})
	if err != nil {
		t.Fatal(err)
	}
	return db, path
}

func appendLog(t testing.TB, db *store.DB, entries ...store.LogEntry) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.AppendLog(entries)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition of another goroutine or process.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come", what)
		}
	}
}

func checkpointed(t testing.TB, db *store.DB) (seq int64, state []byte) {
	t.Helper()
	err := db.View(t.Context(), func(tx *store.Tx) (err error) {
		seq, state, _, err = tx.Checkpoint(LeaseName)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return seq, state
}

// mixed plays a ramp with every type of metric and of analysis to a stage, and calls each
// after every entry.
func mixed(t testing.TB, s *stage, rng *rand.Rand, batches int, each func()) {
	for b := range batches {
		at := time.Duration(b) * 70 * time.Millisecond
		if b == batches/2 {
			s.step(at, 1)
			each()
		}
		var items []any
		for range 10 {
			unit := fmt.Sprint(rng.IntN(400))
			if rng.IntN(3) > 0 {
				items = append(items, s.met(at, unit, s.rollout.At))
			}
			items = append(items, saw(at, unit, "latency", rng.ExpFloat64()), saw(at, unit, "failures", float64(rng.IntN(8)/7)), saw(at, unit, "cost", rng.ExpFloat64()))
			items = append(items, on(saw(at, unit, "took", rng.ExpFloat64()), fmt.Sprint("/", rng.IntN(11))), saw(at, unit, "orders", float64(rng.IntN(2))), saw(at, unit, "visits", 1))
			if rng.IntN(4) == 0 {
				items = append(items, saw(at, unit, "errors", 1))
			}
		}
		s.send(at, fmt.Sprint("i", b%7), items...)
		each()
	}
}

// mixedStage has what takes little time to judge.
func mixedStage(t testing.TB) *stage {
	p, m := mixedPlan()
	return newStage(t, p, m)
}

func mixedPlan() (flyball.RolloutPlan, []flyball.Metric) {
	latency := flyball.Metric{Key: "latency", Type: flyball.MetricMean, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	failures := flyball.Metric{Key: "failures", Type: flyball.MetricRate, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	cost := flyball.Metric{Key: "cost", Type: flyball.MetricMean, Better: flyball.BetterLower, Window: flyball.Duration(5 * time.Second)}
	short := errorsByUnit
	short.Window = flyball.Duration(5 * time.Second)
	p, m := guarded(plan(200_000, 500_000), flyball.Margin{Relative: 0.05}, short, latency, failures, cost)
	p.Success = []flyball.Success{{Metric: "cost"}}
	return p, m
}

// fullStage has every type of metric, and each that can be by an attribute so too.
func fullStage(t testing.TB) *stage {
	p, m := mixedPlan()
	took, window := flyball.Source{Observation: "took"}, flyball.Duration(5*time.Second)
	more := []flyball.Metric{
		{Key: "p90", Type: flyball.MetricQuantile, Quantile: 0.9, Of: took, Better: flyball.BetterLower, Window: window},
		{Key: "p50", Type: flyball.MetricQuantile, Quantile: 0.5, Of: took, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest},
		{Key: "basket", Type: flyball.MetricRatio, Numerator: "orders", Denominator: "visits", Better: flyball.BetterHigher, Window: window},
		{Key: "bounce", Type: flyball.MetricRatio, Numerator: "orders", Denominator: "visits", Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest},
		{Key: "took", Type: flyball.MetricMean, Better: flyball.BetterLower, Window: window},
	}
	for _, m := range more {
		p.Guardrails = append(p.Guardrails, flyball.Guardrail{Metric: m.Key, Margin: flyball.Margin{Relative: 0.1}},
			flyball.Guardrail{Metric: m.Key, By: "route", Margin: flyball.Margin{Relative: 0.1}})
	}
	p.Guardrails = append(p.Guardrails, flyball.Guardrail{Metric: "failures", By: "route", Margin: flyball.Margin{Absolute: 0.01}})
	p.Success = []flyball.Success{{Metric: "cost"}, {Metric: "basket"}, {Metric: "p50"}}
	return newStage(t, p, append(m, more...))
}

func TestARestoredJudgeIsBitForBitTheSame(t *testing.T) {
	rng := seeded(t)
	s := fullStage(t)
	mixed(t, s, rng, 300, func() {})
	want := state(t, s.judge)
	j := NewJudge()
	for i, e := range s.log {
		j.Apply(e)
		if rng.IntN(10) == 0 || i == len(s.log)-1 {
			restored, err := Restore(state(t, j))
			if err != nil {
				t.Fatal(err)
			}
			j = restored
			j.Apply(e) // what was counted does not count again
		}
	}
	if !bytes.Equal(state(t, j), want) {
		t.Error("a judge that was restored now and then knows something else")
	}
	for i, g := range s.evidence().Guardrails {
		if g.N.Control == 0 || i == 0 && g.E == 0.5 {
			t.Errorf("the run had nothing to judge: %+v", g)
		}
		if slots := len(g.Slots); g.By != "" && slots != 8 && slots+int(g.Others.Treatment) < 100 {
			t.Errorf("%s by %s has %d slots and %d others", g.Metric, g.By, slots, *g.Others)
		}
	}
}

// A judge that is killed at any moment ends with the very bits of one that
// never stopped: each entry counts once.
func TestAKilledJudgeCountsEachEntryOnce(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	s := fullStage(t)
	db, path := withRollout(t, s.rollout)
	appendLog(t, db, s.log...)
	spawn := func() (kill func()) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), judgeEnv+"="+path)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill = func() { cmd.Process.Kill(); cmd.Wait() }
		t.Cleanup(kill)
		return kill
	}
	kills, kill := 0, spawn()
	next := time.Now().Add(time.Second)
	batches := 400
	if testing.Short() { // and with the race detector, on a busy machine
		batches = 150
	}
	mixed(t, s, rng, batches, func() {
		appendLog(t, db, s.log[len(s.log)-1])
		if time.Now().After(next) {
			kill()
			kills++
			kill = spawn()
			next = time.Now().Add(time.Duration(300+rng.IntN(1500)) * time.Millisecond)
		}
		time.Sleep(10 * time.Millisecond) // spreads the entries over several lives
	})
	want := s.evidence().Guardrails[1].E
	var e flyball.Evidence
	eventually(t, "the last checkpoint, and the evidence that is told after it", func() bool {
		if err := db.View(t.Context(), func(tx *store.Tx) (err error) { e, _, err = tx.EvidenceOf("r1"); return err }); err != nil {
			t.Fatal(err)
		}
		seq, _ := checkpointed(t, db)
		return seq == s.seq && len(e.Guardrails) > 1 && e.Guardrails[1].E == want
	})
	kill()
	if _, got := checkpointed(t, db); !bytes.Equal(got, state(t, s.judge)) {
		t.Errorf("after %d kills the judge knows something else than one that never stopped", kills)
	}
	if kills == 0 {
		t.Error("nothing was killed")
	}
	t.Logf("%d kills, E %v", kills, e.Guardrails[1].E)
}

func TestABreachIsToldAtOnceAndEvidenceReachesOtherNodes(t *testing.T) {
	failures := flyball.Metric{Key: "failures", Type: flyball.MetricRate, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.05}, failures)
	r := flyball.Rollout{ID: "r1", RolloutPlan: p, State: flyball.RolloutRunning, StartedAt: time.Now(), SteppedAt: time.Now()}
	db, path := withRollout(t, r)
	body, err := json.Marshal(flyball.RolloutRecord{Rollout: r, Seed: "seed", Metrics: m})
	if err != nil {
		t.Fatal(err)
	}
	appendLog(t, db, store.LogEntry{Kind: store.KindRollout, Environment: "production", ID: "r1.1", At: time.Now(), Body: body})

	breached := make(chan string, 10)
	runner := NewRunner(db, "a")
	runner.OnBreach = func(id string) { breached <- id }
	runner.Fail = func(err error) { t.Error(err) }
	stop := run(t, func(ctx context.Context) { runner.Run(ctx) })
	receiver := started(t, db)
	receiver.Committed = runner.Wake

	rng := seeded(t)
	for n := 0; ; n++ {
		b := flyball.TelemetryBatch{Batch: fmt.Sprintf("batch-%04d", n), Seq: int64(n), SentAt: time.Now(), Instance: flyball.InstanceInfo{ID: "a"}, Applied: &flyball.RulesetID{Epoch: 1, Version: 3}}
		for range 20 {
			o := flyball.Observation{T: time.Now(), Metric: "failures", Variant: "off"}
			if rng.IntN(2) == 0 {
				o.Variant, o.Value = "on", float64(rng.IntN(2))
			}
			b.Observations = append(b.Observations, o)
		}
		if _, err := receiver.Accept(t.Context(), "production", true, b); err != nil {
			t.Fatal(err)
		}
		select {
		case id := <-breached:
			if id != "r1" {
				t.Fatalf("breached %q", id)
			}
		case <-time.After(60 * time.Millisecond):
			if n == 200 {
				t.Fatal("no breach is told")
			}
			continue
		}
		break
	}
	if e, found, err := runner.Evidence(t.Context(), "r1", time.Now()); err != nil || !found || e.Verdict != flyball.Breached {
		t.Errorf("%+v, %v, %v", e, found, err)
	}
	stop() // and with it a last checkpoint

	other, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	second := NewRunner(other, "b")
	e, found, err := second.Evidence(t.Context(), "r1", time.Now())
	if err != nil || !found || e.Verdict != flyball.Breached || e.Guardrails[0].FirstTripped == nil {
		t.Errorf("another node reads %+v, %v, %v", e, found, err)
	}
	f, err := second.Fleet(t.Context(), "production", flyball.RulesetID{Epoch: 1, Version: 4}, time.Now())
	if err != nil || f.Instances != 1 || f.Converged != 0 || len(f.Behind) != 1 {
		t.Errorf("another node's fleet: %+v, %v", f, err)
	}
	run(t, func(ctx context.Context) { second.Run(ctx) })
	eventually(t, "the other judge", func() bool { _, ok := second.Fence(); return ok })
	if got, _, err := second.Evidence(t.Context(), "r1", time.Now()); err != nil || got.Guardrails[0].E != e.Guardrails[0].E {
		t.Errorf("the other judge goes on with %+v, %v", got, err)
	}
}

// A runner that lost its lease must not write, nor pass for the judge.
func TestARunnerThatLostItsLeaseStops(t *testing.T) {
	t.Parallel()
	s := mixedStage(t)
	db, _ := withRollout(t, s.rollout)
	appendLog(t, db, s.log...)
	first := NewRunner(db, "first")
	run(t, func(ctx context.Context) { first.Run(ctx) })
	eventually(t, "the first judge", func() bool { _, ok := first.Fence(); return ok })
	fence, _ := first.Fence()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.ReleaseLease(LeaseName, fence); err != nil {
			return err
		}
		_, _, err := tx.AcquireLease(LeaseName, "second", time.Hour, time.Now())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	before, _ := checkpointed(t, db)
	mixed(t, s, seeded(t), 3, func() { appendLog(t, db, s.log[len(s.log)-1]) })
	eventually(t, "the end of the first judge", func() bool { _, ok := first.Fence(); return !ok })
	if after, _ := checkpointed(t, db); after != before {
		t.Error("it wrote a checkpoint without the lease")
	}
}

// What is behind the checkpoint leaves the log.
func TestTheLogIsTrimmedBehindTheCheckpoint(t *testing.T) {
	t.Parallel()
	s := mixedStage(t)
	db, _ := withRollout(t, s.rollout)
	mixed(t, s, seeded(t), 700, func() {})
	appendLog(t, db, s.log...)
	r := NewRunner(db, "a")
	r.Fail = func(err error) { t.Error(err) }
	run(t, func(ctx context.Context) { r.Run(ctx) })
	eventually(t, "an empty log", func() bool { return len(logOf(t, db)) == 0 })
	if seq, _ := checkpointed(t, db); seq != s.seq {
		t.Errorf("checkpoint at %d, log at %d", seq, s.seq)
	}
}

// A checkpoint of another release cannot be read. The live rollouts are judged
// anew, from where the log goes on.
func TestAnUnreadableCheckpointStartsTheEvidenceAnew(t *testing.T) {
	s := mixedStage(t)
	db, _ := withRollout(t, s.rollout)
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		for _, m := range s.metrics {
			if _, err := tx.PutMetric(m, 0); err != nil {
				return err
			}
		}
		return tx.SaveCheckpoint(LeaseName, 1, []byte("of another release"))
	})
	if err != nil {
		t.Fatal(err)
	}
	mixed(t, s, seeded(t), 30, func() {})
	appendLog(t, db, s.log...) // of which the first is behind the checkpoint
	r := NewRunner(db, "a")
	told := make(chan error, 1)
	r.Fail = func(err error) { told <- err }
	run(t, func(ctx context.Context) { r.Run(ctx) })
	if err := <-told; err == nil {
		t.Error("nobody is told")
	}
	eventually(t, "evidence", func() bool {
		e, found, err := r.Evidence(t.Context(), "r1", time.Now())
		return err == nil && found && e.Joined > 0
	})
}
