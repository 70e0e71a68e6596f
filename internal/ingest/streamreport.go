package ingest

import (
	"fmt"
	"math"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/stats"
)

// freshness is how old the last sample may be: two intervals, and the time that
// an answer may take.
func (s *stream) freshness() time.Duration { return 2*s.source.Every.Std() + 5*time.Second }

// report tells what is known of a stream at now, and what it blocks.
func (s *stream) report(t *trial, now time.Time) (m flyball.MetricEvidence, block string) {
	e := s.describe(t)
	m = flyball.MetricEvidence{Metric: s.metric.Key, Verdict: flyball.Unsure, Stream: e}
	heard := s.Last
	if heard == 0 {
		heard = t.Started
	}
	silent := now.Sub(fromMicros(heard))
	switch {
	case s.TrippedAt != 0:
		at := fromMicros(s.TrippedAt)
		m.Verdict, m.FirstTripped, m.Why = flyball.Breached, &at, s.Why
	case e.Suspended:
		m.Why = "everybody has the treatment: there is no control to compare with"
	case silent.Abs() > s.freshness():
		e.State = flyball.StreamSilent
		m.Why = fmt.Sprintf("no data for %v", silent.Truncate(time.Second))
		if silent < 0 {
			m.Why = fmt.Sprintf("the last data are from the future, by %v: the clock was set back", -silent.Truncate(time.Second))
		}
		if s.NoData != "" {
			m.Why += " (" + s.NoData + ")"
		}
		block = m.Why
	case s.Samples == 0:
		m.Why = "no data yet"
		if s.NoData != "" {
			m.Why += " (" + s.NoData + ")"
		}
	case e.State == flyball.StreamNormal:
		m.Verdict, m.Why = flyball.Healthy, s.wellness()
	default:
		m.Why = s.trouble(e.State)
		if e.State == flyball.StreamAlarm {
			block = m.Why
		}
	}
	if block != "" {
		block = s.metric.Key + ": " + block
	}
	return m, block
}

// describe tells the numbers of a stream and how it fares.
func (s *stream) describe(t *trial) *flyball.StreamEvidence {
	e := &flyball.StreamEvidence{State: flyball.StreamNormal, Samples: s.Samples, NoData: s.NoData, Suspended: s.suspended(t)}
	since := func(us int64) *time.Time { at := fromMicros(us); return &at }
	if s.Samples == 0 {
		e.State = flyball.StreamSilent
	} else {
		e.Value, e.At = pointer(s.Value), fromMicros(s.Last)
	}
	switch {
	case s.Limit != nil:
		e.Limit = pointer(s.Limit.Value)
		if s.Limit.Beyond {
			e.State, e.Since = flyball.StreamBeyond, since(int64(math.Round(s.Limit.Since*1e6)))
		}
		if s.TrippedAt != 0 {
			e.State = flyball.StreamExceeded
		}
	case s.Monitor != nil:
		e.AlarmAt = s.Monitor.Rise.ARL
		e.Score, _ = s.score()
		switch {
		case s.AlarmAt != 0:
			e.State, e.Since = flyball.StreamAlarm, since(s.AlarmAt)
		case s.Samples > 0 && (s.Monitor.N < stats.MonitorWarmUp || s.Monitor.Abs == 0):
			e.State = flyball.StreamLearning
		}
		if s.Monitor.N > 0 {
			e.Normal = pointer(s.Monitor.Level)
		}
	}
	return e
}

func (s *stream) wellness() string {
	if s.Limit != nil {
		return fmt.Sprintf("%s, the limit is %s", figure(s.Value), figure(s.Limit.Value))
	}
	return fmt.Sprintf("%s, about %s is normal", figure(s.Value), figure(s.Monitor.Level))
}

func (s *stream) trouble(state flyball.StreamState) string {
	switch {
	case state == flyball.StreamBeyond:
		return fmt.Sprintf("%s is %s %s, for %v of %v", figure(s.Value), s.side(), figure(s.Limit.Value),
			time.Duration((s.Limit.Last-s.Limit.Since)*1e9).Round(time.Second), s.source.Threshold.For)
	case state == flyball.StreamAlarm:
		return s.alarmed()
	case s.Monitor != nil && s.Monitor.N < stats.MonitorWarmUp:
		return fmt.Sprintf("learning what is normal: %d samples of %d", s.Samples, stats.MonitorWarmUp)
	case s.Monitor != nil:
		return "the stream has never changed, so that nothing is known of its noise: a threshold suits it better"
	}
	return "neither a threshold nor a baseline"
}

func (s *stream) alarmed() string {
	return fmt.Sprintf("alarm: it is at %s, and about %s is normal", figure(s.Value), figure(s.Monitor.Level))
}

func (s *stream) side() string {
	if s.Limit.Below {
		return "below"
	}
	return "above"
}

func figure(x float64) string { return fmt.Sprintf("%.4g", x) }
