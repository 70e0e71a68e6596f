package cli

import (
	"fmt"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
)

// isStream says whether a metric has no numbers for the table of comparisons.
func isStream(m flyball.MetricEvidence) bool { return m.Stream != nil }

// printStreams tells how each stream fares, on a line of its own.
func (p *program) printStreams(guardrails []flyball.MetricEvidence) {
	for _, m := range guardrails {
		if !isStream(m) {
			continue
		}
		s := m.Stream
		line := fmt.Sprintf("%s  %s, %s", m.Metric, p.verdict(m.Verdict), p.stream(s.State))
		if m.Why != "" {
			line += ": " + m.Why
		}
		if s.AlarmAt > 0 && s.State != flyball.StreamLearning {
			line += fmt.Sprintf("; score %.3g, an alarm begins at %.3g", s.Score, s.AlarmAt)
		}
		if !s.At.IsZero() {
			line += "; as of " + s.At.Local().Format(time.TimeOnly)
		}
		fmt.Fprintln(p.out, line)
	}
}

func (p *program) stream(s flyball.StreamState) string {
	switch s {
	case flyball.StreamNormal:
		return p.paint(green, string(s))
	case flyball.StreamExceeded, flyball.StreamAlarm:
		return p.paint(red, string(s))
	}
	return p.paint(yellow, string(s))
}

// comparisons returns the metrics that have numbers for the table.
func comparisons(e flyball.Evidence) []flyball.MetricEvidence {
	return slices.DeleteFunc(slices.Concat(e.Guardrails, e.Success), isStream)
}
