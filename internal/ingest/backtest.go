package ingest

import (
	"errors"
	"io"
	"math"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/rollout"
)

// BacktestOptions say how history is judged.
type BacktestOptions struct {
	// JudgeOnly ignores steps and holds and reads everything: it tells when, if
	// ever, each guardrail tripped or was shown to be within its own margin, at
	// the plan's alpha.
	JudgeOnly bool
	// SharePPM is the intended share of the treatment; 0 if it is not known, and
	// the sample ratio is then not judged.
	SharePPM int
}

// A BacktestLine is a decision, or the end, of a backtest.
type BacktestLine struct {
	T          time.Time                `json:"t"`
	Decision   string                   `json:"decision"` // abort, advance, hold, finish, stop or stepBack
	Step       int                      `json:"step"`     // in force from then on, counted from 0
	Why        string                   `json:"why"`
	Guardrails []flyball.MetricEvidence `json:"guardrails"`
	Success    []flyball.MetricEvidence `json:"success,omitempty"`
	SRM        *flyball.SampleRatio     `json:"srm,omitempty"`
}

// A BacktestSummary is the last line of a backtest.
type BacktestSummary struct {
	Summary struct {
		BacktestLine
		Verdict  flyball.Verdict `json:"verdict"`
		Records  int             `json:"records"`
		Units    flyball.Arms    `json:"units"`
		Crossed  int64           `json:"crossed"`
		Joined   int64           `json:"joined"`
		Unjoined int64           `json:"unjoined"`
	} `json:"summary"`
}

// Exit codes of a backtest.
const (
	ExitHealthy  = 0 // finished, or all guardrails were shown to be healthy
	ExitBreached = 4 // a guardrail tripped
	ExitUnsure   = 5 // neither
)

// Backtest judges recorded history with the judge and the policy that are used
// live, on the events' own time. It calls emit with a [BacktestLine] for each
// decision and a [BacktestSummary] at the end, and returns the exit code of the
// command line. Errors are [flyball.Invalid] and name the field of the plan, or
// the line and the field of the history.
//
// The records decide the arms: recorded steps are ignored, and an advance
// changes only the step that is told. When the history ends, the windows that
// are open end without further outcomes.
func Backtest(plan flyball.RolloutPlan, metrics []flyball.Metric, r io.Reader, o BacktestOptions, emit func(line any)) (exit int, err error) {
	if o.JudgeOnly && len(plan.Steps) == 0 {
		plan.Steps = []flyball.Step{{PPM: flyball.PPM / 2}}
	}
	plan = plan.WithDefaults()
	if err := errors.Join(plan.Validate(), Supported(plan, metrics), refuseStreams(plan, metrics, "recorded history holds no streams: leave them out")); err != nil {
		return 1, err
	}
	if o.SharePPM < 0 || o.SharePPM >= flyball.PPM {
		return 1, flyball.FieldErrorf("share", "must lie between 1 and %d ppm", flyball.PPM-1)
	}
	b := &backtest{plan: plan, metrics: metrics, options: o, emit: emit, byKey: make(map[string]flyball.Metric)}
	for _, m := range metrics {
		b.byKey[m.Key] = m
	}
	h := newHistory(r)
	for !b.done {
		rec, err := h.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 1, err
		}
		if err := b.take(h, rec); err != nil {
			return 1, err
		}
	}
	return b.finish()
}

type backtest struct {
	plan    flyball.RolloutPlan
	metrics []flyball.Metric
	byKey   map[string]flyball.Metric
	options BacktestOptions
	emit    func(any)

	trial   *trial
	records int
	tick    int64 // when the policy looks next
	last    string
	why     string
	tripped int // guardrails that were told of
	done    bool
}

func (b *backtest) take(h *history, rec historyRecord) error {
	at := micros(rec.T)
	if b.trial == nil {
		b.begin(rec.T)
	}
	if at < b.trial.Clock-latest.Microseconds() {
		return h.fault("t", "lies %v before a line above it: history is read in the order of time", time.Duration(b.trial.Clock-at)*time.Microsecond)
	}
	b.records++
	b.until(at)
	if b.done {
		return nil
	}
	t := b.trial
	t.advance(at)
	if x := rec.Exposure; x != nil {
		if b.plan.Flag == "" || x.Flag == b.plan.Flag || x.Flag == "recorded" {
			t.expose(&exposure{t: at, variant: x.Variant, unit: x.Unit, by: x.By})
		}
	} else {
		x := rec.Observation
		t.observe(&observation{t: at, metric: x.Metric, flag: x.Flag, variant: x.Variant, unit: x.Unit, value: x.Value, attributes: attributesOf(x.Attributes)}, true)
	}
	t.settle()
	b.look(false)
	return nil
}

// begin starts the rollout with the first record.
func (b *backtest) begin(at time.Time) {
	r := flyball.Rollout{ID: "backtest", RolloutPlan: b.plan, State: flyball.RolloutRunning, StartedAt: at, SteppedAt: at, Since: at}
	if lease := b.plan.Steps[0].Lease; lease > 0 {
		r.LeaseUntil = &flyball.Time{Time: at.Add(lease.Std())}
	}
	b.trial = recordedTrial(flyball.RolloutRecord{Rollout: r, Metrics: b.metrics}, micros(at), b.options)
	b.tick = micros(at) + time.Second.Microseconds()
}

// recordedTrial returns a trial whose arms are as recorded.
func recordedTrial(e flyball.RolloutRecord, clock int64, o BacktestOptions) *trial {
	t := &trial{trialState: trialState{
		Entry: e, Recorded: true, Final: o.JudgeOnly, Share: o.SharePPM, Started: clock, Clock: clock, LagSince: clock,
	}}
	t.FirstSeen = make([][2]float64, len(e.Rollout.Steps))
	t.prepare()
	return t
}

// until lets time go by up to a moment: the policy looks once a second, as it
// does live, and through long gaps, in which only time passes, a hundred times.
func (b *backtest) until(at int64) {
	every := max(time.Second.Microseconds(), (at-b.tick)/100)
	for b.tick <= at && !b.done {
		if !b.options.JudgeOnly || every > time.Second.Microseconds() {
			b.trial.advance(b.tick)
			b.trial.settle()
			b.look(true)
		}
		b.tick += every
	}
}

// look asks the policy what to do: when it is due, and at once after a breach.
func (b *backtest) look(due bool) {
	tripped := 0
	for _, g := range b.trial.gauges {
		if !g.success && g.TrippedAt != 0 {
			tripped++
		}
	}
	fresh := tripped > b.tripped
	b.tripped = tripped
	if b.options.JudgeOnly {
		if fresh {
			now := fromMicros(b.trial.Clock)
			b.tell("abort", 0, b.trial.evidence(now).Why, now)
		}
		return
	}
	if due || fresh {
		b.decide(fromMicros(b.trial.Clock))
	}
}

func (b *backtest) decide(now time.Time) {
	s := rollout.Situation{Rollout: b.trial.Entry.Rollout, Evidence: b.trial.evidence(now), Metrics: b.byKey, Now: now}
	d := rollout.Next(s)
	if d.Action == rollout.Wait {
		return
	}
	r, err := rollout.After(s.Rollout, d, now)
	if err != nil {
		return // the policy contradicts itself; it looks again a second later
	}
	if d.Action != rollout.Renew && d.Action != rollout.Resume {
		b.tell(string(d.Action), d.Step, d.Why, now)
	}
	b.trial.change(r)
	b.done = !r.State.Live()
}

func (b *backtest) line(decision string, step int, why string, now time.Time, e flyball.Evidence) BacktestLine {
	l := BacktestLine{T: now, Decision: decision, Step: step, Why: why, Guardrails: e.Guardrails, Success: e.Success}
	if l.Guardrails == nil {
		l.Guardrails = []flyball.MetricEvidence{}
	}
	if b.options.SharePPM > 0 {
		l.SRM = &e.SRM
	}
	return l
}

func (b *backtest) tell(decision string, step int, why string, now time.Time) {
	b.last, b.why = decision, why
	b.emit(b.line(decision, step, why, now, b.trial.evidence(now)))
}

// finish lets the open windows end, and sums up.
func (b *backtest) finish() (exit int, err error) {
	if b.trial == nil {
		return 1, flyball.Errorf(flyball.Invalid, "the history is empty")
	}
	t := b.trial
	for !b.done {
		next, ok := t.nextWindow()
		if !ok {
			break
		}
		t.advance(next)
		t.settle()
		b.look(false)
	}
	t.Settled = math.MinInt64 / 2 // whatever the window: there is no later
	t.settle()
	b.look(false)
	return b.sumUp(), nil
}

func (b *backtest) sumUp() (exit int) {
	now := fromMicros(b.trial.Clock)
	e := b.trial.evidence(now)
	exit = b.exit(e)
	if b.options.JudgeOnly {
		b.last, b.why = map[int]string{ExitHealthy: "finish", ExitBreached: "abort", ExitUnsure: "hold"}[exit], e.Why
	} else if b.last == "" {
		b.last, b.why = "hold", e.Why
	}
	var s BacktestSummary
	s.Summary.BacktestLine = b.line(b.last, b.trial.Entry.Rollout.At, b.why, now, e)
	s.Summary.Verdict, s.Summary.Records, s.Summary.Units = e.Verdict, b.records, e.Units
	s.Summary.Crossed, s.Summary.Joined, s.Summary.Unjoined = e.Crossed, e.Joined, e.Unjoined
	b.emit(s)
	return exit
}

func (b *backtest) exit(e flyball.Evidence) int {
	healthy := func(m flyball.MetricEvidence) bool { return m.Verdict == flyball.Healthy }
	all := e.Guardrails
	if len(all) == 0 {
		all = e.Success
	}
	switch {
	case b.tripped > 0:
		return ExitBreached
	case b.trial.Entry.Rollout.State == flyball.RolloutCompleted, !slices.ContainsFunc(all, func(m flyball.MetricEvidence) bool { return !healthy(m) }):
		return ExitHealthy
	}
	return ExitUnsure
}

// nextWindow returns when the next open window of a unit ends.
func (t *trial) nextWindow() (at int64, ok bool) {
	at = math.MaxInt64
	for _, g := range t.judged {
		if g.forms.contrast == mature && g.MatureHead < len(t.entries) {
			end := t.units[t.entries[g.MatureHead]].entry + g.windowOf() + g.grace(t) + 1
			at, ok = min(at, max(end, t.Clock+1)), true
		}
	}
	return at, ok
}
