package ingest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/stats"
	"github.com/flyballdev/flyball/internal/store"
)

// A streamRecord is an entry of the log of kind [store.KindStream]: the new
// samples of a stream of a rollout in the order of time, or why there is none.
// Samples come through the log, so that the judge needs nothing else to repeat
// what it concluded.
type streamRecord struct {
	Rollout string         `json:"rollout"`
	Metric  string         `json:"metric"`
	Samples []streamSample `json:"samples,omitempty"`
	NoData  string         `json:"noData,omitempty"`
}

type streamSample struct {
	T int64   `json:"t"` // microseconds since 1970
	X float64 `json:"x"`
}

// corroborates is the e-value of a compared guardrail from which on it bears
// out the alarm of a stream.
const corroborates = 20

// seesWithin is how many samples a monitor takes to see a shift of two standard
// deviations.
const seesWithin = 25

// A stream is a guardrail of which Prometheus tells one value at a time. There
// is no control beside it, so that its alarm alone only holds a rollout:
// whatever makes a service worse, the treatment need not have done it. It
// breaks the guardrail if a compared guardrail bears it out, or if everybody
// has just got the treatment. A threshold is a plain rule that breaks it.
type stream struct {
	*streamState
	metric flyball.Metric
	source flyball.PrometheusSource
}

// A streamState is what is kept of a stream. It is saved as JSON, to the last
// bit.
type streamState struct {
	Samples int64            `json:"samples"`
	Last    int64            `json:"last,omitempty"` // when the last sample was so
	Value   float64          `json:"value"`
	NoData  string           `json:"noData,omitempty"`
	Limit   *stats.HardLimit `json:"limit,omitempty"`
	Monitor *stats.Monitor   `json:"monitor,omitempty"`
	AlarmAt int64            `json:"alarmAt,omitempty"` // when the alarm that is open began
	Peak    float64          `json:"peak,omitempty"`    // the highest score since then
	Calm    int              `json:"calm,omitempty"`    // samples since the peak

	Broken    bool   `json:"broken,omitempty"`    // what breaks the guardrail holds now
	TrippedAt int64  `json:"trippedAt,omitempty"` // when it last began to
	Why       string `json:"why,omitempty"`
}

// addStream makes a guardrail a stream, with a fresh state if it has none yet.
func (t *trial) addStream(m flyball.Metric) {
	src := flyball.PrometheusSource{}
	if m.Of.Prometheus != nil {
		src = *m.Of.Prometheus
	}
	if len(t.streams) == len(t.Streams) {
		t.Streams = append(t.Streams, newStreamState(src))
	}
	t.streams = append(t.streams, &stream{streamState: t.Streams[len(t.streams)], metric: m, source: src})
}

func newStreamState(src flyball.PrometheusSource) *streamState {
	s := &streamState{}
	switch {
	case src.Threshold != nil:
		s.Limit = &stats.HardLimit{
			Value: src.Threshold.Value, Below: src.Direction == flyball.StreamDown,
			Seconds: src.Threshold.For.Std().Seconds(), MaxGap: 2 * src.Every.Std().Seconds(),
		}
	case src.Baseline != nil:
		between := src.Baseline.FalseAlarm.Std().Seconds() / src.Every.Std().Seconds()
		if src.Direction == flyball.StreamBoth {
			between *= 2 // shared by the two directions
		}
		m := stats.NewMonitor(between)
		s.Monitor = &m
	}
	return s
}

// compared is how many guardrails share the plan's alpha: all but the streams.
func (t *trial) compared() float64 {
	n := 0
	for _, g := range t.Entry.Rollout.Guardrails {
		if m, _ := t.metric(g.Metric); m.Type != flyball.MetricStream {
			n++
		}
	}
	return float64(n)
}

func (t *trial) everybody() bool { return t.Entry.Rollout.Steps[t.at()].PPM == flyball.PPM }

func (j *Judge) applyStream(e store.LogEntry) (breached []string) {
	var rec streamRecord
	if err := json.Unmarshal(e.Body, &rec); err != nil {
		j.strays++
		return nil
	}
	for _, t := range j.trials {
		if t.Entry.Rollout.ID == rec.Rollout && t.Entry.Rollout.Environment == e.Environment {
			breached = append(breached, guard(t, func(t *trial) {
				t.advance(j.clock)
				for _, s := range t.streams {
					if s.metric.Key == rec.Metric {
						s.take(t, rec)
					}
				}
				t.settle()
				t.watch()
			})...)
		}
	}
	return breached
}

// take counts samples, each once.
func (s *stream) take(t *trial, rec streamRecord) {
	s.NoData = rec.NoData
	for _, x := range rec.Samples {
		if x.T <= s.Last || !(math.Abs(x.X) <= stats.MaxValue) {
			continue
		}
		s.Last, s.Value = x.T, x.X
		s.Samples++
		switch {
		case s.suspended(t):
		case s.Limit != nil:
			s.Limit.Observe(float64(x.T)/1e6, x.X)
			s.breaks(t, s.exceeded(), fmt.Sprintf("%s is %s %s for %v or longer", figure(x.X), s.side(), figure(s.Limit.Value), s.source.Threshold.For))
		case s.Monitor != nil:
			s.Monitor.Observe(x.X)
			s.alarm(x.T)
		}
	}
}

// exceeded says whether the limit has been exceeded for as long as it takes.
func (s *stream) exceeded() bool {
	return s.Limit.Beyond && s.Limit.Last-s.Limit.Since >= s.Limit.Seconds
}

// suspended says whether nobody is left on control, of which the stream's query
// needs a value.
func (s *stream) suspended(t *trial) bool { return s.source.ByVariant() && t.everybody() }

// alarm opens an alarm, and closes it when the end of the shift is as likely as
// its begin had to be: the score has fallen from its peak by as much as it had
// to rise, and has for as long as the monitor takes to see a small shift. (How
// long it takes to fall to nothing depends on how long the shift lasted.)
func (s *stream) alarm(at int64) {
	if w := s.harmless(); w != nil && w.Alarmed {
		w.Restart() // so that it is learnt
	}
	score, open := s.score()
	switch {
	case !open:
		return
	case s.AlarmAt == 0:
		s.AlarmAt, s.Peak, s.Calm = at, score, 0
	case score > s.Peak:
		s.Peak, s.Calm = score, 0
	default:
		s.Calm++
	}
	if s.Calm >= seesWithin && score <= s.Peak/s.Monitor.Rise.ARL {
		s.quieten()
	}
}

// quieten closes the alarm, if there is one; what is normal stays learnt.
func (s *stream) quieten() {
	s.Monitor.Restart()
	s.AlarmAt, s.Peak, s.Calm = 0, 0, 0
}

// score returns how far the harmful directions are on the way to an alarm, and
// whether one of them is there.
func (s *stream) score() (score float64, alarmed bool) {
	for _, w := range s.watches() {
		score, alarmed = max(score, w.Statistic()), alarmed || w.Alarmed
	}
	return score, alarmed
}

// watches returns the watches of the directions that are harmful.
func (s *stream) watches() []*stats.Watch {
	switch s.source.Direction {
	case flyball.StreamUp:
		return []*stats.Watch{&s.Monitor.Rise}
	case flyball.StreamDown:
		return []*stats.Watch{&s.Monitor.Fall}
	}
	return []*stats.Watch{&s.Monitor.Rise, &s.Monitor.Fall}
}

// harmless returns the watch of the direction that is not harmful, if one is not.
func (s *stream) harmless() *stats.Watch {
	switch s.source.Direction {
	case flyball.StreamUp:
		return &s.Monitor.Fall
	case flyball.StreamDown:
		return &s.Monitor.Rise
	}
	return nil
}

// watch looks whether the alarms that are open break their guardrails.
func (t *trial) watch() {
	for _, s := range t.streams {
		if s.Monitor != nil {
			why := s.attributed(t)
			s.breaks(t, why != "", s.alarmed()+", and "+why)
		}
	}
}

// attributed says why an open alarm is the treatment's doing, "" if nothing
// says so.
func (s *stream) attributed(t *trial) string {
	if s.AlarmAt == 0 {
		return ""
	}
	if t.everybody() {
		stepped := micros(t.Entry.Rollout.SteppedAt)
		if after := s.AlarmAt - stepped; after >= 0 && after <= s.attributable().Microseconds() {
			return fmt.Sprintf("everybody had got the treatment %v before", (time.Duration(after) * time.Microsecond).Round(time.Second))
		}
		return ""
	}
	for _, g := range t.gauges {
		e := g.E
		if g.by != "" { // it is the highest of as many
			e /= stats.Breakdowns
		}
		if !g.success && e >= corroborates {
			return fmt.Sprintf("%s bears it out: e=%s", g.metric.Key, figure(e))
		}
	}
	return ""
}

// attributable is how long after a step an alarm that begins is put down to it:
// as long as the monitor takes to see a small shift.
func (s *stream) attributable() time.Duration {
	return max(5*time.Minute, seesWithin*s.source.Every.Std())
}

// breaks notes whether what breaks the guardrail holds now. What once broke it
// stays; that it broke anew tells a step back that was not enough.
func (s *stream) breaks(t *trial, now bool, why string) {
	if now && !s.Broken {
		s.TrippedAt, s.Why = t.Clock, why
	}
	s.Broken = now
}

// step begins a step. What was exceeded before it, or alarmed and broke the
// guardrail, must show anew that it is.
func (s *stream) step() {
	if s.Limit != nil {
		s.Limit.Beyond = false
	} else if s.Monitor != nil && s.Broken {
		s.quieten()
	}
	s.Broken = false
}

// streamErrors says what keeps a guardrail on a stream from being judged.
func streamErrors(at string, g flyball.Guardrail) (errs []error) {
	if g.Margin != (flyball.Margin{}) {
		errs = append(errs, flyball.FieldErrorf(at+".margin", "%q is a stream, which is not compared with a control: its metric holds the limit, so leave the margin out", g.Metric))
	}
	if g.By != "" {
		errs = append(errs, flyball.FieldErrorf(at+".by", "%q is a stream, which has no attributes: leave it out", g.Metric))
	}
	return errs
}

// streamsOf returns the keys of those guardrails of a plan that are streams.
func streamsOf(plan flyball.RolloutPlan, metrics []flyball.Metric) (keys []string) {
	for _, m := range metrics {
		if m.Type == flyball.MetricStream && slices.ContainsFunc(plan.Guardrails, func(g flyball.Guardrail) bool { return g.Metric == m.Key }) {
			keys = append(keys, m.Key)
		}
	}
	return keys
}

func refuseStreams(plan flyball.RolloutPlan, metrics []flyball.Metric, why string) error {
	if keys := streamsOf(plan, metrics); len(keys) > 0 {
		return flyball.FieldErrorf("guardrails", "%s: %s", strings.Join(keys, ", "), why)
	}
	return nil
}
