package ingest

import (
	"fmt"
	"math"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/stats"
)

var logSampleRatioThreshold = math.Log(1 / stats.SampleRatioAlpha)

// maxUnjoined is the share of observations without an exposure above which the
// data of the arms cannot be trusted.
const maxUnjoined = 0.20

// sampleRatio adds up the evidence of all steps that the arms do not have the
// planned shares, a unit counted once, in the step it was first seen in.
func (t *trial) sampleRatio() float64 {
	sum := 0.0
	for i, n := range t.FirstSeen {
		share := float64(t.Entry.Rollout.Steps[i].PPM) / flyball.PPM
		if t.Recorded {
			share = float64(t.Share) / flyball.PPM
		}
		if n[control]+n[treatment] > 0 && share > 0 && share < 1 {
			sum += stats.SampleRatio(n[:], []float64{1 - share, share}, stats.SampleRatioPrior)
		}
	}
	return sum
}

// evidence tells what is known of the rollout at now, which may be later than
// the trial's clock. It changes nothing.
func (t *trial) evidence(now time.Time) flyball.Evidence {
	r := &t.Entry.Rollout
	e := flyball.Evidence{
		Rollout: r.ID, Step: r.At, Verdict: flyball.Healthy,
		Units: armsOf(t.Units), StepUnits: armsOf(t.StepUnits),
		Last: flyball.ArmTimes{Control: timeOrZero(t.Last[control]), Treatment: timeOrZero(t.Last[treatment])},
		Lag:  flyball.Duration(time.Duration(max(t.Lags[0], t.Lags[1])) * time.Microsecond),
		SRM: flyball.SampleRatio{
			BayesFactor: math.Exp(min(t.sampleRatio(), 690)), Threshold: 1 / stats.SampleRatioAlpha, Mismatch: t.Mismatch,
		},
		Crossed: t.Crossed[control] + t.Crossed[treatment], Joined: t.Joined, Unjoined: t.Unjoined,
		Late: t.Late, Untrusted: t.Untrusted, UnitMinutes: t.unitMinutes(now),
	}
	for i := range t.held { // what has waited too long, though nothing came that told the trial so
		if h := &t.held[i]; h.until < micros(now) && t.waits(h) {
			e.Unjoined++
		}
	}
	for _, g := range t.gauges {
		if g.success {
			e.Success = append(e.Success, g.report(t))
		} else {
			e.Guardrails = append(e.Guardrails, g.reportAll(t))
		}
	}
	for _, s := range t.streams {
		m, block := s.report(t, now)
		e.Guardrails = append(e.Guardrails, m)
		if block != "" {
			e.Blocks = append(e.Blocks, block)
		}
	}
	e.Lossy = t.lossy()
	e.Blocks = append(e.Blocks, t.blocks(&e)...)
	t.verdict(&e)
	e.Quality = t.quality(&e, now)
	e.EnoughIn = enough(e.Guardrails)
	e.Winner = t.winner(&e)
	e.Course = pointsOf(&t.Course, unitPoint.told)
	return e
}

func armsOf(n [2]int64) flyball.Arms {
	return flyball.Arms{Control: n[control], Treatment: n[treatment]}
}

func timeOrZero(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return fromMicros(us)
}

// verdict sums up: one breached guardrail is a breach, and all must be healthy, and
// there must be some, for a healthy rollout.
func (t *trial) verdict(e *flyball.Evidence) {
	for i := range e.Guardrails {
		switch m := &e.Guardrails[i]; m.Verdict {
		case flyball.Breached:
			if e.Verdict != flyball.Breached {
				e.Verdict, e.Why = flyball.Breached, m.Metric+": "+m.Why
			}
		case flyball.Unsure:
			if e.Verdict == flyball.Healthy {
				e.Verdict, e.Why = flyball.Unsure, m.Metric+": "+m.Why
			}
		}
	}
	if t.Broken != "" && e.Verdict == flyball.Healthy {
		e.Verdict, e.Why = flyball.Unsure, t.Broken
	}
	if e.Verdict == flyball.Healthy && len(e.Guardrails) == 0 {
		e.Verdict, e.Why = flyball.Unsure, "the plan has no guardrails, so nothing shows that it is healthy"
	}
}

// lossy says why the telemetry of this step is known to be incomplete.
func (t *trial) lossy() string {
	switch {
	case t.Dropped > 0:
		return fmt.Sprintf("senders had no room for %d events of this step", t.Dropped)
	case t.Missing > 0:
		return fmt.Sprintf("%d batches of this step never arrived", t.Missing)
	case t.Full:
		return fmt.Sprintf("only the first %d units are counted", MaxUnits)
	case t.Crowded:
		return fmt.Sprintf("units and values of attributes make more than %d pairs, which are not counted", MaxParts)
	}
	return ""
}

// blocks lists what forbids an advance beside what the evidence tells in fields
// of its own (losses, sample ratio, crossed units, unjoined observations).
func (t *trial) blocks(e *flyball.Evidence) (all []string) {
	if t.Broken != "" {
		all = append(all, t.Broken)
	}
	if !t.Recorded && t.Entry.Rollout.Steps[t.at()].PPM == flyball.PPM {
		return all // nobody is compared any more
	}
	if why := t.silent(); why != "" {
		all = append(all, why)
	}
	unjoined := func(without, with int64) bool { return float64(without) > maxUnjoined*float64(with+without) }
	if unjoined(t.StepUnjoined, t.StepJoined) && !unjoined(e.Unjoined, e.Joined) {
		all = append(all, fmt.Sprintf("%d of %d observations of this step have no exposure of their unit", t.StepUnjoined, t.StepJoined+t.StepUnjoined))
	}
	return all
}

// report tells what is known of one metric.
func (g *gauge) report(t *trial) flyball.MetricEvidence {
	m := flyball.MetricEvidence{
		Metric: g.metric.Key, Margin: flyball.Margin{Relative: g.margin.Relative, Absolute: g.margin.Absolute},
		Verdict: flyball.Unsure, E: g.E, Threshold: 1 / g.alpha, AdvanceThreshold: 1 / t.advanceAlpha(),
	}
	if g.TrippedAt != 0 {
		at := fromMicros(g.TrippedAt)
		m.FirstTripped = &at
	}
	if g.HealthyAt != 0 {
		at := fromMicros(g.HealthyAt)
		m.FirstHealthy = &at
	}
	if !g.success {
		m.AdvanceE, _ = g.advance(t)
		m.AdvanceMargin = g.advanceMarginShown(t)
	}
	g.measure(t, &m)
	g.judge(t, &m)
	m.Track, m.Course = pointsOf(&g.Track, trackPoint.told), pointsOf(&g.Course, effectPoint.told)
	m.EnoughIn = g.enoughIn(&m)
	return m
}

// measure tells the effect, as far as it is known.
func (g *gauge) measure(t *trial, m *flyball.MetricEvidence) {
	switch f := &g.forms; {
	case f.tail:
		g.reportTail(t, m)
	case f.requests:
		g.reportRequests(t, m)
	case f.first && !g.Compared.Judged:
		g.reportFirst(t, m)
	default:
		g.reportContrast(t, m)
	}
}

func (g *gauge) judge(t *trial, m *flyball.MetricEvidence) {
	switch {
	case g.unable != "":
		m.Why = g.unable
	case g.TrippedAt != 0 && g.success:
		m.Verdict, m.FirstHealthy = flyball.Healthy, m.FirstTripped
		m.FirstTripped = nil
		m.Why = "better than control"
	case g.TrippedAt != 0:
		m.Verdict = flyball.Breached
		m.Why = "worse than the margin"
	case g.success:
		m.Why = "not shown to be better yet"
	case g.Healthy, t.Final && g.HealthyAt != 0:
		m.Verdict = flyball.Healthy
		m.Why = "within the margin"
	default:
		m.Why = g.unsure(t)
	}
}

// unsure says what an unsure verdict lacks; the numbers stand beside it.
func (g *gauge) unsure(t *trial) string {
	switch w := g.suspect(); {
	case w != nil:
		return fmt.Sprintf("%s=%s: there is evidence of harm, which must fall before an advance", g.by, w.value)
	case !t.Recorded && t.Entry.Rollout.Steps[t.at()].PPM == flyball.PPM:
		return "everybody has the treatment: there is no control to compare with"
	case g.Entered == [2]stats.Moments{} && g.Totals != [2]stats.Moments{}:
		return "what came was from public tokens or late: it is shown, and decides nothing"
	case g.metric.Type == flyball.MetricRatio && g.Join == byRequest && g.Compared.all(control).n == 0 && g.Entered[control].N > 0:
		return "no unit joins the observations: a ratio is one of the sums of units"
	case g.by != "" && len(g.values) == 0 && g.Entered[control].N > 0:
		return fmt.Sprintf("no observation of control tells its %q", g.by)
	case g.Entered[control].N == 0 || g.Entered[treatment].N == 0:
		return fmt.Sprintf("no observation of %q from one of the arms", g.metric.Of.Observation)
	case g.forms.tail && !g.Tail.Window.Known:
		return fmt.Sprintf("a quantile of %g takes %.0f observations of control", g.metric.Quantile, math.Ceil(g.Tail.MinControl()))
	case g.forms.requests && !g.Zeros:
		return "only events were sent: by request, trials without the event (value 0) are needed too"
	}
	return "not enough evidence yet"
}

// advanceMarginShown is the margin that an advance must show: of rates a ratio,
// of means and absolute margins a difference.
func (g *gauge) advanceMarginShown(t *trial) float64 {
	if g.forms.tail {
		return 0 // until reportTail knows better
	}
	if g.forms.first || g.forms.requests {
		return g.stepRatios(t)[t.next()]
	}
	m, _ := g.advanceMargin(t, g.Compared.controlMean())
	switch {
	case m.Absolute > 0 || g.metric.Type != flyball.MetricRate && m.Relative == 0:
		return m.Absolute
	default:
		return m.Ratio()
	}
}

func (g *gauge) reportRequests(t *trial, m *flyball.MetricEvidence) {
	c, tr := g.Entered[control], g.Entered[treatment]
	m.N = flyball.Arms{Control: int64(c.N), Treatment: int64(tr.N)}
	if c.N > 0 && tr.N > 0 {
		m.Control, m.Treatment = pointer(c.Mean()), pointer(tr.Mean())
	}
	ratio(m, g.RequestsRatio, t.Entry.Rollout.Alpha)
}

func (g *gauge) reportFirst(t *trial, m *flyball.MetricEvidence) {
	m.N = armsOf(g.AtRisk)
	if g.AtRisk[control] > 0 {
		rate := float64(g.Events[control]) / float64(g.AtRisk[control])
		m.Control = &rate
		if r, ok := g.FirstRatio.Estimate(); ok {
			m.Treatment = pointer(rate * r)
		}
	}
	ratio(m, g.FirstRatio, t.Entry.Rollout.Alpha)
}

func ratio(m *flyball.MetricEvidence, r stats.RateRatio, alpha float64) {
	if e, ok := r.Estimate(); ok {
		m.Estimate = &e
	}
	if i, ok := r.Interval(alpha); ok {
		m.Interval = &[2]float64{i.Low, i.High}
	}
}

func (g *gauge) reportContrast(t *trial, m *flyball.MetricEvidence) {
	c, tr := g.Compared.all(control), g.Compared.all(treatment)
	m.N = flyball.Arms{Control: int64(c.n), Treatment: int64(tr.n)}
	if g.forms.pairAll || g.forms.pairUnit {
		m.N = flyball.Arms{Control: int64(g.Entered[control].N), Treatment: int64(g.Entered[treatment].N)}
	}
	if c.n == 0 || tr.n == 0 {
		return
	}
	mean, theta := c.mean, tr.mean-c.mean
	if g.Compared.Judged {
		theta = g.Compared.Difference.Theta
	}
	m.Control, m.Treatment = pointer(mean), pointer(mean+theta)
	i, ok := g.Compared.Difference.Interval(g.margin.Tau(mean), t.Entry.Rollout.Alpha)
	ok = ok && g.Compared.Judged
	if g.metric.Type != flyball.MetricRate {
		m.Estimate = &theta
		if ok {
			m.Interval = &[2]float64{i.Low, i.High}
		}
		return
	}
	if mean > 0 {
		m.Estimate = pointer(1 + theta/mean)
		if ok {
			m.Interval = &[2]float64{max(0, 1+i.Low/mean), 1 + i.High/mean}
		}
	}
}

func pointer(x float64) *float64 { return &x }
