package ingest

import (
	"fmt"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/stats"
)

// A treatment that hangs or crashes its clients also kills the telemetry that
// would tell of it: what still arrives looks healthy. So of each unit it is noted
// whether anything was heard of it soon after its exposure, and the arms are
// compared in that too. More silence in the treatment than in control blocks an
// advance; by itself it is no proof of harm, and never aborts.

// unheardAfter is when a unit of which nothing was heard counts as silent, at the
// latest: the time that a step lasts at the least.
const unheardAfter = stats.MinHold

// A silence is the comparison of the units of which nothing was heard.
type silence struct {
	stats.Missing
	Head  int      `json:"head"`  // units before it have had their time
	Since [2]int64 `json:"since"` // units that had it, since the last judging
	Quiet [2]int64 `json:"quiet"` // of them without an outcome
}

// hear notes that a unit had an outcome. Where only events are sent, such as
// errors or purchases, their absence is no silence, and they are no sign of life.
func (t *trial) hear(u *unit, o *observation) {
	if u.heard {
		return
	}
	for _, i := range t.byMetric[o.metric] {
		switch g := t.gauges[i]; {
		case g.metric.Type == flyball.MetricRate && o.value != 0 && !g.Zeros:
		case g.metric.Type == flyball.MetricMean && g.margin.HigherIsBetter:
		default:
			u.heard = true
		}
	}
}

// patience is how long after its exposure a unit may be silent.
func (t *trial) patience() time.Duration {
	wait := time.Duration(unheardAfter)
	for _, g := range t.gauges {
		if g.metric.Analysis == flyball.AnalysisUnit {
			wait = min(wait, g.metric.Window.Std())
		}
	}
	return wait
}

// listen takes in the units whose time is over. One that changed arms meanwhile
// was silent in neither.
func (t *trial) listen() {
	s := &t.Silence
	until := t.Clock - t.patience().Microseconds() - t.grace()
	for s.Head < len(t.units) && t.units[s.Head].first < until {
		u := &t.units[s.Head]
		s.Head++
		if arm := t.arm(u); !u.crossed && arm == int(u.origin) {
			s.Since[arm]++
			s.Quiet[arm] += int64(1 - flag(u.heard))
		}
	}
}

// grace is how long an outcome may be under way.
func (t *trial) grace() int64 {
	if t.Recorded {
		return 0
	}
	return (10 * time.Second).Microseconds()
}

// judgeSilence compares the arms, once there is something of both.
func (t *trial) judgeSilence() {
	if s := &t.Silence; s.Since[control] > 0 && s.Since[treatment] > 0 {
		s.Observe(t.seconds(), s.Since, s.Quiet)
		s.Since, s.Quiet = [2]int64{}, [2]int64{}
	}
}

// silent says that the treatment's units are silent more often than control's,
// "" if they are not.
func (t *trial) silent() string {
	m := &t.Silence.Missing
	if !m.Tripped(stats.SampleRatioAlpha) {
		return ""
	}
	part := func(arm int) float64 { return 100 * float64(m.Lost[arm]) / float64(max(1, m.Ended[arm])) }
	return fmt.Sprintf("of %.2g %% of the treatment's units nothing is heard, of control's of %.2g %%: it may stop its own telemetry",
		part(treatment), part(control))
}
