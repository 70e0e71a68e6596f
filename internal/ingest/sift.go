package ingest

import (
	"cmp"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
)

// exposedFunc tells of an exposure whether its flag is known, and whether its
// rollout is live.
type exposedFunc func(flyball.Exposure) (known, live bool)

// A told is what a sender is told of the items of its batch.
type told struct {
	rejected  []flyball.Rejected
	unmatched int // exposures that are kept and belong to no live rollout
	misread   map[item]bool
}

type item struct {
	list  string
	index int
}

func (t *told) refuse(list string, i int, err error) {
	t.rejected = append(t.rejected, flyball.Rejected{List: list, Index: i, Why: err.Error()})
}

// recordOf returns what is kept of a batch that arrived at now, and what to
// tell its sender. What was misread is empty in its place, and rejected; a nil
// exposed takes every flag for known and every rollout for live.
func recordOf(b flyball.TelemetryBatch, trusted bool, now time.Time, exposed exposedFunc, misread []flyball.Rejected) (*record, *told) {
	rec := &record{
		trusted: trusted, leaving: b.Leaving, batch: b.Batch, seq: b.Seq, dropped: b.Dropped, instance: b.Instance, applied: b.Applied,
		exposures: make([]exposure, 0, len(b.Exposures)), observations: make([]observation, 0, len(b.Observations)),
	}
	for _, e := range b.Errors[:min(len(b.Errors), 20)] {
		rec.errors = append(rec.errors, e[:min(len(e), 300)])
	}
	out := &told{rejected: slices.Clone(misread), misread: make(map[item]bool, len(misread))}
	for _, m := range misread {
		out.misread[item{m.List, m.Index}] = true
	}
	skew := time.Duration(0)
	if !b.SentAt.IsZero() {
		skew = now.Sub(b.SentAt)
	}
	out.exposures(rec, b.Exposures, skew, now, exposed)
	out.observations(rec, b.Observations, skew, now)
	for i, c := range b.Counts {
		if err := c.Validate(); err != nil && !out.misread[item{"counts", i}] {
			out.refuse("counts", i, err)
		}
	}
	for i, c := range b.Contexts {
		if err := c.Validate(); err != nil && !out.misread[item{"contexts", i}] {
			out.refuse("contexts", i, err)
		}
	}
	slices.SortStableFunc(out.rejected, func(a, b flyball.Rejected) int {
		return cmp.Or(cmp.Compare(a.List, b.List), cmp.Compare(a.Index, b.Index))
	})
	return rec, out
}

func (t *told) exposures(rec *record, all []flyball.Exposure, skew time.Duration, now time.Time, exposed exposedFunc) {
	for i, e := range all {
		if t.misread[item{"exposures", i}] {
			continue
		}
		if err := e.Validate(); err != nil {
			t.refuse("exposures", i, err)
			continue
		}
		at := e.T.Add(skew)
		if !timely(at, now) {
			t.refuse("exposures", i, errUntimely)
			continue
		}
		if exposed != nil {
			known, live := exposed(e)
			if !known {
				t.refuse("exposures", i, flyball.FieldErrorf("flag", "there is no flag %q", e.Flag))
				continue
			}
			if !live {
				t.unmatched++
			}
		}
		rec.exposures = append(rec.exposures, exposure{t: micros(at), rollout: e.Rollout, variant: e.Variant, unit: e.Unit, by: e.By, step: e.Step})
	}
}

func (t *told) observations(rec *record, all []flyball.Observation, skew time.Duration, now time.Time) {
	for i, o := range all {
		if t.misread[item{"observations", i}] {
			continue
		}
		if err := o.Validate(); err != nil {
			t.refuse("observations", i, err)
		} else if at := o.T.Add(skew); !timely(at, now) {
			t.refuse("observations", i, errUntimely)
		} else {
			rec.observations = append(rec.observations, observation{t: micros(at), metric: o.Metric, flag: o.Flag, variant: o.Variant, unit: o.Unit, value: o.Value, attributes: attributesOf(o.Attributes)})
		}
	}
}

var errUntimely = flyball.FieldErrorf("t", "lies more than %v in the past or %v in the future, by the sender's own clock", maxAge, maxFuture)

func timely(t, now time.Time) bool {
	return t.After(now.Add(-maxAge)) && t.Before(now.Add(maxFuture))
}
