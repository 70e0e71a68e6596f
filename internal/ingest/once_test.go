package ingest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// A fifth of the batches arrives twice, some of them much later: the log takes
// each once, and the judge knows what it would have known.
func TestDuplicateBatchesChangeNoCountAndNoDecision(t *testing.T) {
	rng := seeded(t)
	s := fullStage(t)
	mixed(t, s, rng, 300, func() {})
	db, _ := withRollout(t, s.rollout)
	sent, twice := []store.LogEntry{}, 0
	var later []store.LogEntry
	for _, e := range s.log {
		sent = append(sent, e)
		if e.Kind == store.KindBatch && rng.IntN(5) == 0 {
			twice++
			if rng.IntN(2) == 0 {
				sent = append(sent, e)
			} else {
				later = append(later, e)
			}
		}
		if len(later) > 10 {
			sent, later = append(sent, later...), nil
		}
	}
	for chunk := range slices.Chunk(append(sent, later...), 17) {
		appendLog(t, db, chunk...)
	}
	j := NewJudge()
	for _, e := range logOf(t, db) {
		s.tripped = append(s.tripped, j.Apply(e)...)
	}
	got, _ := j.Evidence("r1", fromMicros(j.clock))
	if twice < 40 || !equalEvidence(t, got, s.evidence()) {
		t.Errorf("%d batches came twice, and the evidence is another", twice)
	}
}

func equalEvidence(t testing.TB, a, b flyball.Evidence) bool {
	t.Helper()
	x, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(x) == string(y)
}

// Batches that arrive in another order leave every count as it is: of units, of
// what was joined, and of what each metric had in each arm. (Not around a step,
// which changes arms: there an observation takes the arm of its unit's latest
// exposure, by arrival.)
func TestAShuffleAcrossBatchesLeavesEveryCountEqual(t *testing.T) {
	rng := seeded(t)
	s := fullStage(t)
	const batches, every, early = 300, 70 * time.Millisecond, 700 * time.Millisecond
	came := make([]time.Duration, 400)
	for i := range came {
		came[i] = time.Duration(rng.Int64N(int64(batches * every)))
	}
	for b := range batches {
		at := time.Duration(b) * every
		var items []any
		for i, first := range came {
			unit := fmt.Sprint(i)
			if first >= at && first < at+every || first < at && rng.IntN(20) == 0 {
				items = append(items, s.met(max(at, first), unit, s.rollout.At))
			}
			if first < at+early && rng.IntN(20) == 0 { // perhaps before the exposure has come
				items = append(items, saw(at, unit, "latency", rng.ExpFloat64()), saw(at, unit, "failures", float64(rng.IntN(2))),
					on(saw(at, unit, "took", rng.ExpFloat64()), fmt.Sprint("/", rng.IntN(11))), saw(at, unit, "orders", float64(rng.IntN(2))))
			}
		}
		s.send(at, fmt.Sprint("i", b%7), items...)
	}
	s.send(batches*every+time.Minute, "i0")
	log := slices.Clone(s.log)
	for chunk := range slices.Chunk(log, 50) { // of 3.5 s: what waits for an exposure waits for five
		if chunk[0].Kind == store.KindRollout {
			continue // its start
		}
		last := chunk[len(chunk)-1].At
		rng.Shuffle(len(chunk), func(i, j int) { chunk[i], chunk[j] = chunk[j], chunk[i] })
		for i := range chunk {
			chunk[i].At = last
		}
	}
	shuffled := NewJudge()
	for i, e := range log {
		e.Seq = int64(i + 1)
		shuffled.Apply(e)
	}
	want, got := s.judge.trials[0], shuffled.trials[0]
	if got.Joined != want.Joined || got.Unjoined != 0 || want.Unjoined != 0 || got.Units != want.Units || got.StepUnits != want.StepUnits || got.Missing != 0 {
		t.Errorf("joined %d, unjoined %d, units %v, missing %d; in order %d, %d, %v", got.Joined, got.Unjoined, got.Units, got.Missing, want.Joined, want.Unjoined, want.Units)
	}
	for i, g := range want.gauges {
		h := got.gauges[i]
		if h.Totals[0].N != g.Totals[0].N || h.Totals[1].N != g.Totals[1].N || h.Entered[0].N != g.Entered[0].N {
			t.Errorf("%s: %v, in order %v", g.metric.Key, h.Totals, g.Totals)
		}
		if g.by == "" {
			continue
		}
		for arm, sum := range h.Others {
			for _, v := range h.values {
				sum += int64(v.Entered[arm].N)
			}
			if sum != int64(h.Entered[arm].N) {
				t.Errorf("%s by %s: %d of %g in arm %d", g.metric.Key, g.by, sum, h.Entered[arm].N, arm)
			}
		}
	}
	if want.Joined < 10_000 {
		t.Errorf("only %d were joined", want.Joined)
	}
}

// However many observations come, a checkpoint grows with units and routes alone.
func TestACheckpointIsBounded(t *testing.T) {
	rng := seeded(t)
	s := fullStage(t)
	s.step(0, 1)
	var sizes []int
	for round := range 3 {
		for b := range 150 {
			at := time.Duration(round*150+b) * 70 * time.Millisecond
			var items []any
			for unit := range 30 {
				name, route := fmt.Sprint(unit), fmt.Sprint("/", rng.IntN(11))
				items = append(items, s.met(at, name, 1), saw(at, name, "latency", rng.ExpFloat64()), saw(at, name, "failures", float64(rng.IntN(2))),
					on(saw(at, name, "took", rng.ExpFloat64()), route), on(saw(at, name, "orders", 1), route), on(saw(at, name, "visits", 1), route))
			}
			s.send(at, "a", items...)
		}
		sizes = append(sizes, len(state(t, s.judge)))
	}
	t.Logf("%v bytes", sizes)
	if grown := float64(sizes[2]) / float64(sizes[1]); grown > 1.05 {
		t.Errorf("from 300 to 450 batches the checkpoint grew from %d to %d bytes", sizes[1], sizes[2])
	}
}
