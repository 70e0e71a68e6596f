package ingest

import (
	"fmt"
	"time"

	"github.com/flyballdev/flyball"
)

// exposed counts the units that have the treatment now, as far as they were
// seen with it.
func (t *trial) exposed() (n int64) {
	for c := 0; c <= t.at() && c < len(t.treated); c++ {
		n += t.treated[c]
	}
	return n
}

// unitMinutes is the exposure until now, which may be later than the clock.
func (t *trial) unitMinutes(now time.Time) float64 {
	spent := t.Spent
	if t.Ended == 0 {
		spent += float64(t.exposed()) * float64(max(0, micros(now)-t.Clock))
	}
	return spent / float64(time.Minute.Microseconds())
}

// quiet is for how long an arm may send nothing before it is called silent: as
// long as an advance wants its data to be young.
const quiet = 10 * time.Second

// quality lists what is wrong with the data.
func (t *trial) quality(e *flyball.Evidence, now time.Time) (all []flyball.DataQuality) {
	add := func(kind flyball.QualityKind, blocks bool, format string, args ...any) {
		all = append(all, flyball.DataQuality{Kind: kind, Blocks: blocks, Why: fmt.Sprintf(format, args...)})
	}
	if t.Broken != "" {
		add(flyball.QualityBroken, true, "%s", t.Broken)
	}
	compared := t.Recorded || t.Entry.Rollout.Steps[t.at()].PPM < flyball.PPM
	if t.Ended == 0 && !t.Recorded {
		t.silences(now, compared, add)
	}
	if e.Lossy != "" {
		add(flyball.QualityLossy, compared, "%s", e.Lossy)
	}
	if e.SRM.Mismatch {
		add(flyball.QualitySampleRatio, compared, "the arms' sizes do not fit their weights: %d units of control and %d of treatment", e.Units.Control, e.Units.Treatment)
	}
	if arm := min(e.Units.Control, e.Units.Treatment); float64(e.Crossed) > maxCrossed*float64(arm) {
		add(flyball.QualityCrossed, compared, "%d units were seen in both arms", e.Crossed)
	}
	unjoined := func(without, with int64) bool { return float64(without) > maxUnjoined*float64(with+without) }
	if unjoined(e.Unjoined, e.Joined) || unjoined(t.StepUnjoined, t.StepJoined) {
		add(flyball.QualityUnjoined, compared, "%d of %d observations have no exposure of their unit", e.Unjoined, e.Joined+e.Unjoined)
	}
	if e.Late > 0 {
		add(flyball.QualityLate, false, "%d observations came more than %v late: they are in totals only", e.Late, latest)
	}
	if e.Untrusted > 0 {
		add(flyball.QualityUntrusted, false, "%d items came from public tokens: they are shown, and decide nothing", e.Untrusted)
	}
	return all
}

// maxCrossed is the share of an arm's units that may have been seen in both.
const maxCrossed = 0.01

// silences tells of arms that send nothing. A step that has just begun is not
// blamed yet.
func (t *trial) silences(now time.Time, compared bool, add func(flyball.QualityKind, bool, string, ...any)) {
	for arm, name := range [2]string{control: t.Entry.Rollout.Control, treatment: t.Entry.Rollout.Treatment} {
		if arm == control && !compared || now.Sub(fromMicros(t.Started)) < quiet {
			continue
		}
		switch since := now.Sub(fromMicros(t.Last[arm])); {
		case t.Last[arm] == 0:
			add(flyball.QualityArmMissing, true, "nothing came from %s yet", name)
		case since > quiet:
			add(flyball.QualitySilent, true, "nothing came from %s for %v", name, since.Round(time.Second))
		}
	}
}

// week is how long a winner is watched before it is called more than early: the
// days of a week differ.
const week = 7 * 24 * time.Hour

// winner names the treatment if a success metric is shown to be better, while
// every guardrail is shown to be within its final margin and nothing is wrong
// with the data.
func (t *trial) winner(e *flyball.Evidence) *flyball.Winner {
	for _, q := range e.Quality {
		if q.Blocks {
			return nil
		}
	}
	for _, g := range t.gauges {
		if !g.success && !g.shownFinally(t) {
			return nil
		}
	}
	for _, s := range e.Success {
		if s.Verdict == flyball.Healthy && s.FirstHealthy != nil {
			return &flyball.Winner{
				Variant: t.Entry.Rollout.Treatment, Metric: s.Metric, Since: *s.FirstHealthy,
				Early: t.Clock-t.Started < week.Microseconds(),
			}
		}
	}
	return nil
}

// shownFinally says whether the metric is healthy by the margin of the last
// step, which is the narrowest.
func (g *gauge) shownFinally(t *trial) bool {
	if !g.Healthy || g.TrippedAt != 0 {
		return false
	}
	last := len(t.Entry.Rollout.Steps) - 1
	switch {
	case t.Final || t.next() == last:
		return true
	case g.forms.first:
		return g.FirstShown[last].Shown(t.advanceAlpha())
	case g.forms.requests:
		return g.RequestsShown[last].Shown(t.advanceAlpha())
	}
	return false
}
