package stats

import (
	"testing"
	"time"
)

// BenchmarkUpdate tells what an event costs a breaker: the best of many short
// runs, since what neighbours take of a processor is not ours. The aim is 20 ns.
func BenchmarkUpdate(b *testing.B) {
	const events = 1000
	l := NewLabels(Margin{Relative: 0.05}, NewSchedule(1, 0))
	best, n := time.Hour, 0
	for b.Loop() {
		began := time.Now()
		for range events {
			e := Events{Share: 0.05, Control: 1}
			if n%19 == 0 {
				e = Events{Share: 0.05, Treatment: 1}
			}
			l.Observe(float64(n)*0.005, e)
			n++
		}
		best = min(best, time.Since(began))
	}
	b.ReportMetric(float64(best.Nanoseconds())/events, "best-ns/event")
}
