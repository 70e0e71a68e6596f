package ingest

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
)

// traffic is how much is observed of each metric, in every environment and
// whether a rollout runs or not, so that a plan can be told what it comes to.
// It is an estimate: rates fade over minutes, and units are a sample.
type traffic struct {
	flows map[place]*flow // by environment and name of the observation
}

const (
	maxFlows    = 64
	flowFades   = 10 * time.Minute
	flowUnits   = 256            // that a flow's sample holds
	flowMemory  = 24 * time.Hour // of the units in it
	flowGone    = 48 * time.Hour // without observations
	flowsTold   = 30 * time.Second
	settingFlow = "traffic"
)

// A flow is what was observed of one metric.
type flow struct {
	Environment string `json:"environment"`
	Observation string `json:"observation"`
	Since       int64  `json:"since"`
	Last        int64  `json:"last"`

	N    float64 `json:"n"` // observations, of which older ones count less; and their sums
	Sum  float64 `json:"sum"`
	Sum2 float64 `json:"sum2"`
	Ones float64 `json:"ones"`

	// Of units those are kept whose hash ends in Level zeros, with the time at
	// which each was last seen: 2^Level times as many were there.
	Level uint             `json:"level"`
	Units map[uint64]int64 `json:"units,omitempty"`
}

func newTraffic() traffic { return traffic{flows: map[place]*flow{}} }

// note counts the observations of a batch.
func (t *traffic) note(environment string, all []observation, clock int64) {
	var last *flow
	for i := range all {
		o := &all[i]
		if last == nil || last.Observation != o.metric {
			if last = t.flow(environment, o.metric, clock); last == nil {
				continue
			}
		}
		last.note(o, clock)
	}
}

func (t *traffic) flow(environment, observation string, clock int64) *flow {
	p := place{environment, observation}
	f := t.flows[p]
	if f == nil {
		if len(t.flows) >= maxFlows {
			return nil
		}
		f = &flow{Environment: environment, Observation: observation, Since: clock, Last: clock, Units: map[uint64]int64{}}
		t.flows[p] = f
	}
	f.fade(clock)
	return f
}

// fade lets what was counted before weigh less.
func (f *flow) fade(clock int64) {
	if clock <= f.Last {
		return
	}
	w := math.Exp(-float64(clock-f.Last) / float64(flowFades.Microseconds()))
	f.N, f.Sum, f.Sum2, f.Ones, f.Last = f.N*w, f.Sum*w, f.Sum2*w, f.Ones*w, clock
}

func (f *flow) note(o *observation, clock int64) {
	if !(math.Abs(o.value) <= 1e15) {
		return
	}
	f.N++
	f.Sum += o.value
	f.Sum2 += o.value * o.value
	if o.value > 0 {
		f.Ones++
	}
	if o.unit == "" {
		return
	}
	h := hashOf(o.unit)
	if !f.samples(h) {
		return
	}
	f.Units[h] = clock
	for len(f.Units) > flowUnits {
		f.thin(clock)
	}
}

func (f *flow) samples(h uint64) bool { return h&(1<<f.Level-1) == 0 }

// thin makes room: first units that are long gone go, then every second one.
func (f *flow) thin(clock int64) {
	maps.DeleteFunc(f.Units, func(_ uint64, at int64) bool { return clock-at > flowMemory.Microseconds() })
	if len(f.Units) > flowUnits {
		f.Level++
		maps.DeleteFunc(f.Units, func(h uint64, _ int64) bool { return !f.samples(h) })
	}
}

// hashOf is FNV-1a, stirred: its low bits alone are not even.
func hashOf(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return scramble(math.Float64frombits(h))
}

// sweep forgets what is not observed any more.
func (t *traffic) sweep(clock int64) {
	maps.DeleteFunc(t.flows, func(_ place, f *flow) bool { return clock-f.Last > flowGone.Microseconds() })
}

// all returns the flows, in a fixed order.
func (t *traffic) all() []*flow {
	return slices.SortedFunc(maps.Values(t.flows), func(a, b *flow) int {
		return cmp.Or(cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.Observation, b.Observation))
	})
}

// told returns what is told of an environment's traffic at now.
func (t *traffic) told(environment string, now int64) (all []flyball.MetricTraffic) {
	for _, f := range t.all() {
		if f.Environment == environment {
			all = append(all, f.told(now))
		}
	}
	return all
}

func (f *flow) told(now int64) flyball.MetricTraffic {
	now = max(now, f.Last)
	over := float64(now-f.Since) / 1e6
	fades := flowFades.Seconds()
	seen := *f
	seen.fade(now)
	m := flyball.MetricTraffic{Observation: f.Observation, Over: flyball.Duration(time.Duration(now-f.Since) * time.Microsecond)}
	if over > 0 {
		m.PerSecond = seen.N / (fades * (1 - math.Exp(-over/fades)))
	}
	if seen.N > 0 {
		m.Mean, m.Ones = seen.Sum/seen.N, seen.Ones/seen.N
		m.Deviation = math.Sqrt(max(0, seen.Sum2/seen.N-m.Mean*m.Mean))
	}
	for _, in := range []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, flowMemory} {
		whole := in.Seconds() >= over
		if whole {
			in = time.Duration(over * float64(time.Second))
		}
		n := 0
		for _, at := range f.Units {
			if now-at <= in.Microseconds() {
				n++
			}
		}
		if n > 0 {
			m.Units = append(m.Units, flyball.UnitsSeen{In: flyball.Duration(in), N: float64(n) * float64(uint64(1)<<f.Level)})
		}
		if whole {
			break
		}
	}
	return m
}
