package ingest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/store"
)

var epoch = time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC)

// A stage plays a log to a judge: entries with the times and numbers that the
// receiver would give them.
type stage struct {
	t       testing.TB
	judge   *Judge
	rollout flyball.Rollout
	metrics []flyball.Metric
	seqs    map[string]int64 // of instances
	seq     int64
	log     []store.LogEntry // all that was played
	tripped []string
}

func plan(steps ...int) flyball.RolloutPlan {
	p := flyball.RolloutPlan{Flag: "checkout", Environment: "production", Treatment: "on", Control: "off"}
	for _, ppm := range steps {
		p.Steps = append(p.Steps, flyball.Step{PPM: ppm, Hold: flyball.Duration(10 * time.Minute)})
	}
	return p.WithDefaults()
}

// errorsByUnit is a guardrail on errors, each unit counting once.
var errorsByUnit = flyball.Metric{Key: "errors", Type: flyball.MetricRate, Better: flyball.BetterLower, Window: flyball.Duration(30 * time.Minute)}

func guarded(p flyball.RolloutPlan, margin flyball.Margin, metrics ...flyball.Metric) (flyball.RolloutPlan, []flyball.Metric) {
	for _, m := range metrics {
		p.Guardrails = append(p.Guardrails, flyball.Guardrail{Metric: m.Key, Margin: margin})
	}
	return p, metrics
}

func newStage(t testing.TB, p flyball.RolloutPlan, metrics []flyball.Metric) *stage {
	s := &stage{t: t, judge: NewJudge(), metrics: metrics, seqs: make(map[string]int64), rollout: flyball.Rollout{
		ID: "r1", RolloutPlan: p, State: flyball.RolloutRunning, StartedAt: epoch, SteppedAt: epoch,
	}}
	s.change(0, func(*flyball.Rollout) {})
	return s
}

func (s *stage) apply(kind string, at time.Duration, body []byte) {
	s.seq++
	e := store.LogEntry{Seq: s.seq, Kind: kind, Environment: "production", ID: fmt.Sprint(s.seq), At: epoch.Add(at), Body: body}
	s.log = append(s.log, e)
	s.tripped = append(s.tripped, s.judge.Apply(e)...)
}

// change plays a change of the rollout.
func (s *stage) change(at time.Duration, f func(*flyball.Rollout)) {
	f(&s.rollout)
	body, err := json.Marshal(flyball.RolloutRecord{Rollout: s.rollout, Seed: "seed", Metrics: s.metrics})
	if err != nil {
		s.t.Fatal(err)
	}
	s.apply(store.KindRollout, at, body)
}

func (s *stage) step(at time.Duration, step int) {
	s.change(at, func(r *flyball.Rollout) { r.At, r.SteppedAt = step, epoch.Add(at) })
}

// send plays a batch of an instance.
func (s *stage) send(at time.Duration, instance string, items ...any) {
	r := &record{trusted: true, instance: flyball.InstanceInfo{ID: instance}}
	s.sendRecord(at, r, items...)
}

func (s *stage) sendRecord(at time.Duration, r *record, items ...any) {
	s.seqs[r.instance.ID]++
	r.seq = s.seqs[r.instance.ID]
	for _, item := range items {
		switch item := item.(type) {
		case exposure:
			r.exposures = append(r.exposures, item)
		case observation:
			r.observations = append(r.observations, item)
		}
	}
	s.apply(store.KindBatch, at, r.encode())
}

func (s *stage) evidence() flyball.Evidence {
	e, ok := s.judge.Evidence("r1", fromMicros(s.judge.clock))
	if !ok {
		s.t.Fatal("the judge knows nothing of the rollout")
	}
	return e
}

func us(at time.Duration) int64 { return micros(epoch.Add(at)) }

// met is the exposure that a sound evaluator sends: the arm follows from the
// unit's point and the share of the step.
func (s *stage) met(at time.Duration, unit string, step int) exposure {
	variant := "off"
	if int(eval.Point("seed", unit)) < s.rollout.Steps[step].PPM {
		variant = "on"
	}
	return exposure{t: us(at), rollout: "r1", variant: variant, unit: unit, step: step}
}

func saw(at time.Duration, unit, metric string, value float64) observation {
	return observation{t: us(at), unit: unit, metric: metric, value: value}
}

// unitIn returns the n-th unit whose cohort is the given step.
func (s *stage) unitIn(cohort, n int) string {
	low, high := 0, flyball.PPM
	if cohort > 0 {
		low = s.rollout.Steps[cohort-1].PPM
	}
	if cohort < len(s.rollout.Steps) {
		high = s.rollout.Steps[cohort].PPM
	}
	for i := 0; ; i++ {
		unit := fmt.Sprintf("unit-%d", i)
		if p := int(eval.Point("seed", unit)); p >= low && p < high {
			if n--; n < 0 {
				return unit
			}
		}
	}
}

// seeded returns a source of chance, and prints what it began with.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(1)
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestAnObservationWaitsFiveSecondsForItsExposure(t *testing.T) {
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	s := newStage(t, p, m)
	s.send(time.Second, "a", saw(time.Second, "early", "errors", 1), saw(time.Second, "never", "errors", 1))
	s.send(4*time.Second, "a", s.met(time.Second, "early", 0))
	if e := s.evidence(); e.Joined != 1 || e.Unjoined != 0 {
		t.Errorf("after 4 s: joined %d, unjoined %d; want 1 and 0", e.Joined, e.Unjoined)
	}
	s.send(7*time.Second, "a")
	if e := s.evidence(); e.Joined != 1 || e.Unjoined != 1 {
		t.Errorf("after 7 s: joined %d, unjoined %d; want 1 and 1", e.Joined, e.Unjoined)
	}
	s.send(8*time.Second, "a", s.met(8*time.Second, "never", 0))
	if e := s.evidence(); e.Joined != 1 {
		t.Errorf("what was given up is joined after all: %d", e.Joined)
	}
}

func TestTheUnjoinedAreKnownThoughNothingComes(t *testing.T) {
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	s := newStage(t, p, m)
	s.send(time.Second, "a", saw(time.Second, "x", "errors", 1))
	if e, _ := s.judge.Evidence("r1", epoch.Add(time.Minute)); e.Unjoined != 1 {
		t.Errorf("%d unjoined a minute later, want 1", e.Unjoined)
	}
}

func TestAnObservationBeforeTheExposureDoesNotCount(t *testing.T) {
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	s := newStage(t, p, m)
	s.send(10*time.Second, "a", s.met(10*time.Second, "u", 0), saw(7999*time.Millisecond, "u", "errors", 1), saw(8*time.Second, "u", "errors", 0))
	if e := s.evidence(); e.Joined != 1 {
		t.Errorf("joined %d, want only the one that lies 2 s before", e.Joined)
	}
}

func TestAUnitInBothArmsWithoutAStepIsCrossed(t *testing.T) {
	p, m := guarded(plan(100_000, 500_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	s := newStage(t, p, m)
	moved, never := s.unitIn(1, 0), s.unitIn(2, 0)
	s.send(time.Second, "a", s.met(time.Second, moved, 0), s.met(time.Second, never, 0))
	s.step(2*time.Second, 1)
	s.send(3*time.Second, "a", s.met(3*time.Second, moved, 1), s.met(3*time.Second, never, 1))
	if e := s.evidence(); e.Crossed != 0 || e.Units != (flyball.Arms{Control: 1, Treatment: 1}) {
		t.Fatalf("crossed %d, units %+v: a step explains who moved", e.Crossed, e.Units)
	}
	s.send(4*time.Second, "a", s.met(3*time.Second, moved, 0)) // an instance that is behind
	if e := s.evidence(); e.Crossed != 0 {
		t.Fatalf("crossed %d: an older step explains the control", e.Crossed)
	}
	wrong := s.met(5*time.Second, never, 1)
	wrong.variant = "on"
	s.send(5*time.Second, "a", wrong, saw(6*time.Second, never, "errors", 1))
	e := s.evidence()
	if e.Crossed != 1 || e.Guardrails[0].N != (flyball.Arms{Control: 2}) && e.Guardrails[0].Control != nil && *e.Guardrails[0].Control != 0 {
		t.Errorf("crossed %d, %+v; want one, whose error does not count", e.Crossed, e.Guardrails[0])
	}
	if g := s.judge.trials[0].gauges[0]; g.Events != [2]int64{} {
		t.Errorf("events %v after the crossing count", g.Events)
	}
}

func TestAStepMovesWholeCohortsAtOnce(t *testing.T) {
	p, m := guarded(plan(100_000, 500_000, 900_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	s := newStage(t, p, m)
	for i := range 300 {
		s.send(time.Second, "a", s.met(time.Second, fmt.Sprintf("u%d", i), 0))
	}
	count := func(ppm int) (n int64) {
		for i := range 300 {
			if int(eval.Point("seed", fmt.Sprintf("u%d", i))) < ppm {
				n++
			}
		}
		return n
	}
	risk := func() int64 { return s.judge.trials[0].gauges[0].Risk.Treatment }
	for step, ppm := range []int{100_000, 500_000, 900_000} {
		if step > 0 {
			s.step(time.Duration(step)*time.Minute, step)
		}
		if got, want := risk(), count(ppm); got != want {
			t.Errorf("step %d: %d units of treatment are at risk, want %d", step, got, want)
		}
	}
	s.step(5*time.Minute, 1)
	if got, want := risk(), count(500_000); got != want {
		t.Errorf("after the step back: %d units of treatment are at risk, want %d", got, want)
	}
}

func TestUnitsOfATenantMoveAndCountAsOne(t *testing.T) {
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	s := newStage(t, p, m)
	tenant := s.unitIn(0, 0)
	for i := range 5 {
		x := exposure{t: us(time.Second), rollout: "r1", variant: "on", unit: fmt.Sprintf("user%d", i), by: tenant}
		s.send(time.Second, "a", x, saw(2*time.Second, x.unit, "errors", 1))
	}
	g := s.judge.trials[0].gauges[0]
	if e := s.evidence(); e.Units.Treatment != 1 || e.Joined != 5 || g.Events != [2]int64{0, 1} {
		t.Errorf("units %+v, joined %d, first events %v; want one unit with one first event", e.Units, e.Joined, g.Events)
	}
}

func TestLateAndPublicEventsDecideNothing(t *testing.T) {
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	s := newStage(t, p, m)
	in, out := s.unitIn(0, 0), s.unitIn(1, 0)
	s.send(time.Second, "a", s.met(time.Second, in, 0), s.met(time.Second, out, 0))
	s.send(20*time.Minute, "a", saw(time.Minute, in, "errors", 1))
	s.sendRecord(20*time.Minute, &record{instance: flyball.InstanceInfo{ID: "browser"}}, saw(20*time.Minute, in, "errors", 1),
		exposure{t: us(20 * time.Minute), rollout: "r1", variant: "on", unit: out})
	g := s.judge.trials[0].gauges[0]
	if e := s.evidence(); g.Events != [2]int64{} || g.Totals[treatment].N != 2 || e.Crossed != 0 || g.E > g.First.Spent {
		t.Errorf("events %v, totals %+v, crossed %d, E %g; want totals only", g.Events, g.Totals, e.Crossed, g.E)
	}
}

func TestLostBatchesAndDroppedEventsAreLossyUntilTheNextStep(t *testing.T) {
	p, m := guarded(plan(100_000, 500_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	lossy := func(s *stage, want bool) {
		t.Helper()
		if e := s.evidence(); (e.Lossy != "") != want {
			t.Errorf("lossy %q, want %v", e.Lossy, want)
		}
	}
	s := newStage(t, p, m)
	s.seqs["a"] = 411 // the judge may begin in the middle
	s.send(time.Second, "a")
	lossy(s, false)
	s.seqs["a"] = 413
	s.send(2*time.Second, "a")
	lossy(s, true)
	s.seqs["a"] = 412
	s.send(3*time.Second, "a") // it was late, not lost
	lossy(s, false)
	s.seqs["a"] = 414
	s.sendRecord(4*time.Second, &record{trusted: true, instance: flyball.InstanceInfo{ID: "a"}, dropped: flyball.Dropped{Observations: 3}})
	lossy(s, true)
	s.step(5*time.Second, 1)
	lossy(s, false)
	s.sendRecord(6*time.Second, &record{instance: flyball.InstanceInfo{ID: "a"}, dropped: flyball.Dropped{Observations: 3}})
	lossy(s, false) // anybody could claim losses with a public token
}

func TestSilenceIsToldForEachArm(t *testing.T) {
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	s := newStage(t, p, m)
	in, out := s.unitIn(0, 0), s.unitIn(1, 0)
	s.send(time.Second, "a", s.met(time.Second, in, 0))
	if e := s.evidence(); !e.Last.Control.IsZero() || !e.Last.Treatment.Equal(epoch.Add(time.Second)) {
		t.Errorf("last %+v: control never sent", e.Last)
	}
	s.send(2*time.Second, "a", s.met(2*time.Second, out, 0))
	s.send(9*time.Second, "a", saw(8*time.Second, in, "errors", 0))
	e := s.evidence()
	if !e.Last.Control.Equal(epoch.Add(2*time.Second)) || !e.Last.Treatment.Equal(epoch.Add(9*time.Second)) || e.Lag.Std() != time.Second {
		t.Errorf("last %+v, lag %v", e.Last, e.Lag)
	}
}

func TestAShuffleWithinBatchesChangesNothing(t *testing.T) {
	latency := flyball.Metric{Key: "latency", Type: flyball.MetricMean, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	requests := flyball.Metric{Key: "failures", Type: flyball.MetricRate, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	p, m := guarded(plan(200_000, 500_000), flyball.Margin{Relative: 0.05}, errorsByUnit, latency, requests)
	run := func(shuffle *rand.Rand) []byte {
		s := newStage(t, p, m)
		rng := rand.New(rand.NewPCG(5, 5))
		for b := range 200 {
			at := time.Duration(b) * 100 * time.Millisecond
			if b == 100 {
				s.step(at, 1)
			}
			var items []any
			for range 20 {
				unit, step := fmt.Sprint(rng.IntN(300)), s.rollout.At
				items = append(items, s.met(at, unit, step), saw(at, unit, "latency", rng.ExpFloat64()), saw(at, unit, "failures", float64(rng.IntN(2))))
				if rng.IntN(4) == 0 {
					items = append(items, saw(at, unit, "errors", 1))
				}
			}
			if shuffle != nil {
				shuffle.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
			}
			s.send(at, "a", items...)
		}
		return state(t, s.judge)
	}
	if plain, shuffled := run(nil), run(seeded(t)); !slices.Equal(plain, shuffled) {
		t.Error("a shuffle within batches changed the evidence")
	}
}

func state(t testing.TB, j *Judge) []byte {
	t.Helper()
	b, err := j.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAPulseIsJudgedAfterItsEnd(t *testing.T) {
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	p.Then = flyball.ThenOff
	s := newStage(t, p.WithDefaults(), m)
	in := s.unitIn(0, 0)
	s.send(time.Second, "a", s.met(time.Second, in, 0))
	s.change(11*time.Second, func(r *flyball.Rollout) { r.State = flyball.RolloutStopped })
	s.send(time.Minute, "a", saw(time.Minute, in, "errors", 1))
	if g := s.judge.trials[0].gauges[0]; g.Events[treatment] != 1 {
		t.Error("an outcome after the pulse does not count")
	}
	s.send(time.Hour, "a")
	if len(s.judge.Live()) != 0 {
		t.Error("the pulse is judged for ever")
	}
	if e := s.evidence(); e.Units.Treatment != 1 {
		t.Errorf("the last word is lost: %+v", e)
	}
}

func TestATroubledRolloutStopsNoOther(t *testing.T) {
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	s := newStage(t, p, m)
	s.change(0, func(r *flyball.Rollout) { r.ID = "r2"; r.Flag = "other" })
	s.judge.trials[0].gauges = nil // what no input can do, a fault of ours may
	s.judge.trials[0].byMetric = map[string][]int{"errors": {7}}
	in := s.unitIn(0, 0)
	both := s.met(time.Second, in, 0)
	both.rollout = "r2"
	s.send(time.Second, "a", s.met(time.Second, in, 0), both, saw(2*time.Second, in, "errors", 1))
	if s.judge.trials[0].Broken == "" {
		t.Fatal("nothing broke")
	}
	if e, _ := s.judge.Evidence("r2", epoch); e.Joined != 1 {
		t.Errorf("the other rollout joined %d", e.Joined)
	}
	if e := s.evidence(); len(e.Blocks) == 0 || e.Verdict == flyball.Healthy {
		t.Errorf("the broken one is %s, blocks %v", e.Verdict, e.Blocks)
	}
}

// An instance that falls silent may run on, cut off; it is waited for until it
// says that it ends, is declared gone, or was silent for very long.
func TestTheFleetIsToldBehindAndConverged(t *testing.T) {
	p, m := guarded(plan(500_000), flyball.Margin{Relative: 0.05}, errorsByUnit)
	s := newStage(t, p, m)
	head := flyball.RulesetID{Epoch: 1, Version: 7}
	send := func(at time.Duration, id string, version int64, leaving bool, errs ...string) {
		r := &record{trusted: true, leaving: leaving, instance: flyball.InstanceInfo{ID: id, Service: "shop"}, errors: errs}
		if version >= 0 {
			r.applied = &flyball.RulesetID{Epoch: 1, Version: version}
		}
		s.sendRecord(at, r)
	}
	send(time.Second, "forgotten", 6, false)
	send(time.Hour, "silent", 6, false)
	send(time.Hour, "dead", 6, false)
	send(time.Hour, "stopped", 6, false)
	send(time.Hour+time.Second, "stopped", 6, true)
	send(time.Hour+2*time.Minute, "a", 7, false)
	send(time.Hour+2*time.Minute, "b", 6, false)
	send(time.Hour+2*time.Minute, "c", 7, false, "flag x: unknown operator")
	send(time.Hour+2*time.Minute, "starting", 0, false)
	send(time.Hour+2*time.Minute, "remote", -1, false)
	send(time.Hour+2*time.Minute, "a", -1, false) // it told before what it runs
	s.judge.Apply(store.LogEntry{Seq: s.judge.Seq() + 1, Kind: store.KindGone, Environment: "production", ID: "1", At: epoch.Add(time.Hour + 2*time.Minute), Body: []byte("dead")})
	f := s.judge.Fleet("production", head, epoch.Add(time.Hour+2*time.Minute))
	var behind []string
	for _, i := range f.Behind {
		behind = append(behind, i.ID)
	}
	if f.Instances != 5 || f.Converged != 1 || f.Remote != 1 || !slices.Equal(behind, []string{"b", "c", "silent", "starting"}) {
		t.Errorf("%d of %d converged, %d remote, behind are %v", f.Converged, f.Instances, f.Remote, behind)
	}
	if len(f.Services) != 1 || f.Services[0].Remote != 1 || f.Services[0].Rulesets["1.6"] != 2 || f.Services[0].Errors != 1 {
		t.Errorf("%+v", f.Services)
	}
}

// What nothing guards is not healthy: nothing shows it.
func TestARolloutWithoutGuardrailsIsNeverHealthy(t *testing.T) {
	s := newStage(t, plan(500_000), nil)
	if e := s.evidence(); e.Verdict != flyball.Unsure || e.Why == "" {
		t.Errorf("it is %s: %q", e.Verdict, e.Why)
	}
}
