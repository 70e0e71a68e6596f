package ingest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// A Judge keeps the evidence of all live rollouts. It is a deterministic state
// machine over the entries of the log, in their order. Nothing is safe for
// concurrent use; a [Runner] guards its judge.
type Judge struct {
	seq    int64
	clock  int64
	trials []*trial           // live ones, in the order of their starts
	ended  []flyball.Evidence // the last words on rollouts that ended, oldest first
	fleet  fleet
	flows  traffic
	strays int64 // entries that could not be read
	swept  int64 // when instances that are gone were forgotten last
}

// maxEnded is how many ended rollouts the judge still answers for.
const maxEnded = 100

// NewJudge returns a judge that has read nothing.
func NewJudge() *Judge { return &Judge{fleet: newFleet(), flows: newTraffic()} }

// Seq returns the number of the last entry that was counted.
func (j *Judge) Seq() int64 { return j.seq }

// Apply counts an entry, and returns the ids of rollouts of which a guardrail
// tripped by it. An entry that was counted before changes nothing.
func (j *Judge) Apply(e store.LogEntry) (breached []string) {
	if e.Seq <= j.seq {
		return nil
	}
	j.seq = e.Seq
	j.clock = max(j.clock, micros(e.At)) // a clock that was set back must not turn time back
	switch e.Kind {
	case store.KindRollout:
		breached = j.applyRollout(e)
	case store.KindBatch:
		breached = j.applyBatch(e)
	case store.KindStream:
		breached = j.applyStream(e)
	case store.KindGone:
		j.fleet.declareGone(e.Environment, string(e.Body))
	}
	if j.clock-j.swept > sweepEvery.Microseconds() {
		j.swept = j.clock
		j.fleet.forget(j.clock - goneAfter.Microseconds())
		j.flows.sweep(j.clock)
	}
	j.trials = slices.DeleteFunc(j.trials, func(t *trial) bool {
		over := t.over(j.clock)
		if over {
			j.bury(t)
		}
		return over
	})
	return breached
}

func (j *Judge) bury(t *trial) {
	guard(t, func(t *trial) { t.advance(j.clock); t.settle() })
	j.ended = append(j.ended, t.evidence(fromMicros(j.clock)))
	j.ended = j.ended[max(0, len(j.ended)-maxEnded):]
}

func (j *Judge) applyRollout(e store.LogEntry) (breached []string) {
	var body flyball.RolloutRecord
	if err := json.Unmarshal(e.Body, &body); err != nil || len(body.Rollout.Steps) == 0 {
		j.strays++
		return nil
	}
	body.Rollout.Environment = cmp.Or(body.Rollout.Environment, e.Environment)
	return j.rollout(body)
}

// rollout begins to judge a rollout, or takes over what it has become.
func (j *Judge) rollout(body flyball.RolloutRecord) (breached []string) {
	r := body.Rollout
	if i := slices.IndexFunc(j.trials, func(t *trial) bool { return t.Entry.Rollout.ID == r.ID }); i >= 0 {
		return guard(j.trials[i], func(t *trial) {
			t.advance(j.clock)
			t.settle()
			t.change(r)
		})
	}
	if r.State.Live() && r.State != flyball.RolloutPending && r.At >= 0 && r.At < len(r.Steps) {
		j.trials = append(j.trials, newTrial(body, j.clock))
	}
	return nil
}

// guard keeps one rollout's trouble from the others: a trial in which
// something went wrong is not judged any more, and says so. It returns the
// rollout's id if a guardrail tripped.
func guard(t *trial, f func(*trial)) (breached []string) {
	if t.Broken != "" {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			t.Broken = fmt.Sprintf("the judge failed on this rollout: %.200v", p)
		}
	}()
	was := t.breached()
	f(t)
	if !was && t.breached() {
		return []string{t.Entry.Rollout.ID}
	}
	return nil
}

func (j *Judge) applyBatch(e store.LogEntry) (breached []string) {
	rec, err := decodeRecord(e.Body)
	if err != nil {
		j.strays++
		return nil
	}
	rec.sort()
	missing := int64(0)
	if rec.trusted {
		missing = j.fleet.note(e.Environment, rec, j.clock)
		j.flows.note(e.Environment, rec.observations, j.clock)
	}
	for _, t := range j.trials {
		if t.Entry.Rollout.Environment != e.Environment {
			continue
		}
		breached = append(breached, guard(t, func(t *trial) {
			t.advance(j.clock)
			if rec.trusted {
				t.Missing = max(0, t.Missing+missing)
				t.Dropped += rec.dropped.Exposures + rec.dropped.Observations
			}
			t.take(rec)
			t.settle()
		})...)
	}
	return breached
}

// take counts what a batch holds, exposures and observations together in the
// order of their times.
func (t *trial) take(rec *record) {
	n := 0
	for i := range rec.exposures {
		x := &rec.exposures[i]
		for n < len(rec.observations) && rec.observations[n].t < x.t {
			t.observe(&rec.observations[n], rec.trusted)
			n++
		}
		// An exposure of a public token could put anybody into any arm.
		if x.rollout == t.Entry.Rollout.ID {
			if rec.trusted {
				t.expose(x)
			} else {
				t.Untrusted++
			}
		}
	}
	for ; n < len(rec.observations); n++ {
		t.observe(&rec.observations[n], rec.trusted)
	}
}

// sort puts the items of a batch into an order that does not depend on the one
// in which they were sent.
func (r *record) sort() {
	byExposure := func(a, b exposure) int {
		return cmp.Or(cmp.Compare(a.t, b.t), cmp.Compare(a.rollout, b.rollout), cmp.Compare(a.step, b.step),
			cmp.Compare(a.unit, b.unit), cmp.Compare(a.variant, b.variant), cmp.Compare(a.by, b.by))
	}
	byObservation := func(a, b observation) int {
		return cmp.Or(cmp.Compare(a.t, b.t), cmp.Compare(a.metric, b.metric), cmp.Compare(a.unit, b.unit),
			cmp.Compare(a.variant, b.variant), cmp.Compare(a.flag, b.flag), cmp.Compare(scramble(a.value), scramble(b.value)), slices.CompareFunc(a.attributes, b.attributes, attribute.compare))
	}
	if !slices.IsSortedFunc(r.exposures, byExposure) {
		slices.SortFunc(r.exposures, byExposure)
	}
	if !slices.IsSortedFunc(r.observations, byObservation) {
		slices.SortFunc(r.observations, byObservation)
	}
}

// scramble orders equal moments by something that has nothing to do with which
// value is larger: an order by value would pair small with small.
func scramble(v float64) uint64 {
	x := math.Float64bits(v)
	x ^= x >> 31
	x *= 0x9e3779b97f4a7c15
	x ^= x >> 29
	return x * 0xbf58476d1ce4e5b9
}

// Evidence returns what is known of a rollout at now; false if the judge never
// heard of it or has forgotten it.
func (j *Judge) Evidence(rollout string, now time.Time) (flyball.Evidence, bool) {
	for _, t := range j.trials {
		if t.Entry.Rollout.ID == rollout {
			return t.evidence(now), true
		}
	}
	for _, e := range slices.Backward(j.ended) {
		if e.Rollout == rollout {
			return e, true
		}
	}
	return flyball.Evidence{}, false
}

// Live returns the ids of the rollouts that are judged.
func (j *Judge) Live() []string {
	ids := make([]string, len(j.trials))
	for i, t := range j.trials {
		ids[i] = t.Entry.Rollout.ID
	}
	return ids
}

// Fleet tells how far the instances of an environment have come.
func (j *Judge) Fleet(environment string, head flyball.RulesetID, now time.Time) flyball.Fleet {
	return fleetOf(environment, j.fleet.seen(environment, now.Add(-flyball.InstanceMemory)), head)
}
