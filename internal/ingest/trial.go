package ingest

import (
	"fmt"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/stats"
)

// The arms of a rollout, as indices.
const (
	control   = 0
	treatment = 1
)

// A trial is a rollout before the judge: who was exposed to it, and what that
// did. Its clock moves only with what it is told.
type trial struct {
	trialState

	gauges   []*gauge         // the guardrails that compare, then the success metrics
	judged   []*gauge         // these, and after them those of single values
	streams  []*stream        // the guardrails that do not
	byMetric map[string][]int // gauges by the name of the observation they judge

	units   []unit // in the order of their first exposures
	slots   []slot // what each gauge knows of each unit: len(gauges) of them a unit
	parts   []part // and what those of single values know of the units that had one
	partOf  map[uint64]int32
	index   map[string]int32
	aliases []alias // units that share another's place, since they move as one
	entries []int32 // units exposed under the step in force, in order

	treated []int64 // units that were seen in treatment, by cohort

	held     []held // observations that wait for an exposure, in order
	heldBase int    // how many came before held[0]
	heldLive int
	heldBy   map[string][]int
}

// A trialState is that part of a trial which is saved as JSON.
type trialState struct {
	Entry    flyball.RolloutRecord `json:"entry"`
	Recorded bool                  `json:"recorded,omitempty"` // arms are as recorded; no step moves a cohort
	Final    bool                  `json:"final,omitempty"`    // healthy means within the guardrail's own margin
	Share    int                   `json:"share,omitempty"`    // intended share of a recorded treatment, in ppm

	Started int64 `json:"started"`
	Clock   int64 `json:"clock"`
	Settled int64 `json:"settled"` // when evidence was last drawn
	Ended   int64 `json:"ended,omitempty"`
	Stratum int   `json:"stratum"` // steps taken and taken back so far

	Last      [2]int64     `json:"last"`
	Units     [2]int64     `json:"units"` // each once, in treatment if they were ever seen in it
	StepUnits [2]int64     `json:"stepUnits"`
	Crossed   [2]int64     `json:"crossed"`
	FirstSeen [][2]float64 `json:"firstSeen"` // units by the step and the arm they were first seen in
	Mismatch  bool         `json:"mismatch,omitempty"`
	Silence   silence      `json:"silence"`

	Joined       int64 `json:"joined"`
	Unjoined     int64 `json:"unjoined"`
	StepJoined   int64 `json:"stepJoined"`
	StepUnjoined int64 `json:"stepUnjoined"`
	Late         int64 `json:"late,omitempty"`
	Untrusted    int64 `json:"untrusted,omitempty"`

	Spent float64 `json:"spent"` // exposure of units to the treatment, in unit-microseconds

	Missing int64  `json:"missing,omitempty"` // batches of this step that never came
	Dropped int64  `json:"dropped,omitempty"` // events that senders had no room for, in this step
	Full    bool   `json:"full,omitempty"`    // units were not counted for want of room
	Crowded bool   `json:"crowded,omitempty"` // nor were units by an attribute's value
	Broken  string `json:"broken,omitempty"`  // why nothing more is judged

	LagSince int64    `json:"lagSince"`
	Lags     [2]int64 `json:"lags"` // the longest of this half minute, and of the one before

	Course track[unitPoint] `json:"course,omitzero"` // of the units since the rollout began

	Gauges  []*gaugeState  `json:"gauges"`
	Streams []*streamState `json:"streams,omitempty"`
}

// newTrial begins to judge a rollout at the judge's time clock.
func newTrial(e flyball.RolloutRecord, clock int64) *trial {
	e.Rollout.RolloutPlan = e.Rollout.RolloutPlan.WithDefaults()
	t := &trial{trialState: trialState{Entry: e, Started: clock, Clock: clock, LagSince: clock}}
	if at := e.Rollout.StartedAt; !at.IsZero() {
		t.Started = min(clock, micros(at))
	}
	t.FirstSeen = make([][2]float64, len(e.Rollout.Steps))
	t.prepare()
	return t
}

// prepare makes what follows from the plan, with fresh states for the gauges
// if there are none yet.
func (t *trial) prepare() {
	t.treated = make([]int64, len(t.Entry.Rollout.Steps)+1)
	t.index, t.heldBy, t.byMetric = make(map[string]int32), make(map[string][]int), make(map[string][]int)
	t.partOf = make(map[uint64]int32)
	fresh := len(t.Gauges) == 0
	add := func(key string, margin flyball.Margin, success bool, alpha float64) {
		m, ok := t.metric(key)
		g := newGauge(m, margin, success, alpha)
		if !ok {
			g.unable = fmt.Sprintf("the metric %q is not defined", key)
		}
		if fresh {
			g.begin(t)
			t.Gauges = append(t.Gauges, g.gaugeState)
		} else {
			g.gaugeState = t.Gauges[len(t.gauges)]
		}
		g.id = len(t.gauges)
		g.choose(t)
		for _, name := range names(m) {
			t.byMetric[name] = append(t.byMetric[name], len(t.gauges))
		}
		t.gauges = append(t.gauges, g)
	}
	plan := t.Entry.Rollout.RolloutPlan
	for _, g := range plan.Guardrails {
		if m, _ := t.metric(g.Metric); m.Type == flyball.MetricStream {
			t.addStream(m)
			continue
		}
		add(g.Metric, g.Margin, false, plan.Alpha/t.compared())
		t.gauges[len(t.gauges)-1].by = g.By
	}
	for _, s := range plan.Success {
		add(s.Metric, flyball.Margin{}, true, plan.Alpha/float64(len(plan.Success)))
	}
	if t.Silence.Ratio == 0 {
		t.Silence.Missing = stats.NewMissing(t.schedule())
	}
	t.judged = slices.Clone(t.gauges)
	for _, g := range t.gauges {
		for _, s := range g.Values {
			g.reopen(t, s)
		}
	}
}

func (t *trial) metric(key string) (flyball.Metric, bool) {
	i := slices.IndexFunc(t.Entry.Metrics, func(m flyball.Metric) bool { return m.Key == key })
	if i < 0 {
		return flyball.Metric{Key: key, Type: flyball.MetricRate, Better: flyball.BetterLower}.WithDefaults(), false
	}
	return t.Entry.Metrics[i].WithDefaults(), true
}

// schedule returns how breakers of this rollout spread their mass.
func (t *trial) schedule() stats.Schedule {
	steps, horizon := t.Entry.Rollout.Steps, time.Duration(0)
	for _, s := range steps {
		horizon += s.Hold.Std()
	}
	if t.Final {
		return stats.NewSchedule(1, horizon)
	}
	return stats.NewSchedule(len(steps), horizon)
}

// at is the step that decides the arms.
func (t *trial) at() int {
	if t.Recorded {
		return 0
	}
	return t.Entry.Rollout.At
}

// arm returns the arm that a unit of the cohort is in now.
func (t *trial) arm(u *unit) int {
	if int(u.cohort) <= t.at() {
		return treatment
	}
	return control
}

// variantArm returns the arm of a variant; ok is false if it is neither's.
func (t *trial) variantArm(variant string) (arm int, ok bool) {
	switch variant {
	case t.Entry.Rollout.Treatment:
		return treatment, true
	case t.Entry.Rollout.Control:
		return control, true
	}
	return 0, false
}

// seconds is the time of the e-processes.
func (t *trial) seconds() float64 { return float64(max(0, t.Clock-t.Started)) / 1e6 }

// advance moves the clock: observations stop waiting, windows of units end.
func (t *trial) advance(clock int64) {
	if clock <= t.Clock {
		return
	}
	if t.Ended == 0 {
		t.Spent += float64(t.exposed()) * float64(clock-t.Clock)
	}
	t.Clock = clock
	t.giveUp()
	for _, g := range t.judged {
		g.leave(t)
		g.mature(t)
	}
	t.listen()
}

// settle is called after each batch. It closes the judging windows that are
// due, and no more often than those it draws what takes more time.
func (t *trial) settle() {
	for _, g := range t.judged {
		if g.unable == "" {
			g.closeWindows(t, false)
		}
	}
	if t.Clock-t.Settled < stats.JudgingWindow.Microseconds() {
		return
	}
	t.Settled = t.Clock
	for _, g := range slices.Backward(t.judged) { // those of single values before what sums them up
		g.settle(t)
	}
	t.watch()
	t.judgeSilence()
	if logBF := t.sampleRatio(); logBF >= logSampleRatioThreshold {
		t.Mismatch = true
	}
	t.note()
}

// change takes over what a rollout has become. A step moves whole cohorts.
func (t *trial) change(r flyball.Rollout) {
	before := t.at()
	r.RolloutPlan = t.Entry.Rollout.RolloutPlan
	was := t.Entry.Rollout
	t.Entry.Rollout = r
	if !r.State.Live() && t.Ended == 0 {
		t.Ended = t.Clock
	}
	if r.At == was.At && r.SteppedAt.Equal(was.SteppedAt) || r.At < 0 || r.At >= len(r.Steps) {
		return
	}
	t.step(before)
}

// step begins a new step; before is the one that decided the arms until now.
func (t *trial) step(before int) {
	for _, g := range t.judged {
		g.step(t, before)
	}
	for _, s := range t.streams {
		s.step()
	}
	t.Silence.Since, t.Silence.Quiet = [2]int64{}, [2]int64{}
	t.Silence.Step(t.seconds())
	t.StepJoined, t.StepUnjoined, t.Missing, t.Dropped = 0, 0, 0, 0
	if t.Recorded {
		return // whoever was exposed stays as they were
	}
	t.StepUnits = [2]int64{}
	t.Stratum++
	t.entries = t.entries[:0]
}

// lingers says how long after its end a rollout is still judged: a pulse is
// judged when the outcomes of those it reached are in.
func (t *trial) lingers() int64 {
	if t.Entry.Rollout.Then != flyball.ThenOff {
		return 0
	}
	longest := time.Duration(0)
	for _, g := range t.gauges {
		longest = max(longest, g.metric.Window.Std())
	}
	return min(longest, 24*time.Hour).Microseconds() + (10 * time.Second).Microseconds()
}

func (t *trial) over(clock int64) bool { return t.Ended != 0 && clock >= t.Ended+t.lingers() }

// breached says whether a guardrail has tripped.
func (t *trial) breached() bool {
	return slices.ContainsFunc(t.gauges, func(g *gauge) bool { return !g.success && g.TrippedAt != 0 }) ||
		slices.ContainsFunc(t.streams, func(s *stream) bool { return s.TrippedAt != 0 })
}

func (t *trial) noteLag(lag int64) {
	if t.Clock-t.LagSince > (30 * time.Second).Microseconds() {
		t.LagSince, t.Lags = t.Clock, [2]int64{0, t.Lags[0]}
	}
	t.Lags[0] = max(t.Lags[0], lag)
}
