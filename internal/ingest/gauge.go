package ingest

import (
	"strings"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/stats"
)

// A gauge judges one metric of a rollout: a guardrail, or a success metric.
//
// What it runs depends on the metric and on how observations find their arm
// (statistics: see package stats for each form's null and source):
//
//	rate by unit      first events of units (safe logrank); as soon as there are
//	                  events enough, or alone where the margin is zero or
//	                  absolute or higher is better, a contrast of unit outcomes
//	rate by request   first events of units, and all requests tempered by their
//	                  design effect; all requests alone where no unit joins them
//	quantile by unit  first exceedances of units
//	quantile by       first exceedances, and all exceedances tempered by their
//	request           design effect; all alone where no unit joins them
//	ratio             a contrast of the sums of units
//	mean by unit      a contrast of unit values, and a paired bet on each unit's
//	                  first observation of a step
//	mean by request   paired bets, on first observations and on all, tempered;
//	                  on all alone where no unit joins them
//
// Two forms that may both trip have half of the guardrail's alpha each.
type gauge struct {
	*gaugeState
	metric  flyball.Metric
	margin  stats.Margin
	success bool
	alpha   float64
	id      int      // its place among the gauges of its trial
	by      string   // an attribute, each value of which has a gauge of its own
	values  []*gauge // in the order of their first appearance in control
	value   string   // of such a gauge
	unable  string   // why it is not judged
	forms   forms
}

// forms are the tests that a gauge runs.
type forms struct {
	first      bool   // labels of units' first events
	requests   bool   // labels of all trials, by judging window
	pairUnit   bool   // paired bet on first observations
	pairAll    bool   // paired bet on all observations
	tail       bool   // labels of all observations beyond a quantile, by judging window
	tailBreaks bool   // whether those are a breaker; else they only show health
	contrast   intake // what the contrast takes in
	breaks     bool   // whether the contrast is a breaker too
	ratio      bool   // whether it compares two sums of each unit
}

// An intake says when a value enters a contrast.
type intake uint8

const (
	none    intake = iota
	mature         // a unit's outcome, when its window has ended
	running        // a unit's mean, as it goes
	each           // each observation
)

// How observations of a metric find their arm; the first one decides it for
// the whole rollout, since alpha is split before evidence is looked at.
const (
	unknownJoin = 0
	byUnit      = 1
	byRequest   = 2 // no unit joins them, or the unit is the request itself
)

// A gaugeState is what a gauge keeps. It is saved as JSON, to the last bit.
type gaugeState struct {
	Join int `json:"join"`

	First      stats.Labels           `json:"first,omitzero"`
	FirstShown []stats.NonInferiority `json:"firstShown,omitempty"`
	FirstRatio stats.RateRatio        `json:"firstRatio,omitzero"`
	Risk       stats.RiskSet          `json:"risk,omitzero"`
	RiskBy     []int64                `json:"riskBy,omitempty"` // units at risk by cohort
	RiskHead   int                    `json:"riskHead"`         // units before it have no window left
	Events     [2]int64               `json:"events"`           // first events
	AtRisk     [2]int64               `json:"atRisk"`           // units that ever were at risk

	Requests      stats.Labels           `json:"requests,omitzero"`
	RequestsShown []stats.NonInferiority `json:"requestsShown,omitempty"`
	RequestsRatio stats.RateRatio        `json:"requestsRatio,omitzero"`
	Window        window                 `json:"window,omitzero"`
	Zeros         bool                   `json:"zeros,omitempty"` // a trial without the event was seen

	Tail stats.Exceedance `json:"tail,omitzero"`

	PairUnit stats.PairedBet `json:"pairUnit,omitzero"`
	PairAll  stats.PairedBet `json:"pairAll,omitzero"`
	UnitPair block           `json:"unitPair,omitzero"`
	AllPair  block           `json:"allPair,omitzero"`

	Repeats stats.Moments    `json:"repeats,omitzero"` // events (of means: observations) of each unit
	Design  float64          `json:"design,omitempty"` // their design effect, as of the last window
	Entered [2]stats.Moments `json:"entered"`          // observations that entered a statistic
	Totals  [2]stats.Moments `json:"totals"`           // and all that were joined

	Compared   comparison `json:"compared,omitzero"`
	MatureHead int        `json:"matureHead"` // entries before it are mature

	Values []valueState `json:"values,omitempty"` // of the attribute that it is judged by
	Others [2]int64     `json:"others"`           // observations with another value, or none

	E         float64 `json:"e"`
	TrippedAt int64   `json:"trippedAt,omitempty"`
	HealthyAt int64   `json:"healthyAt,omitempty"`
	Healthy   bool    `json:"healthy,omitempty"`

	Track  track[trackPoint]  `json:"track,omitzero"`  // of the evidence of this step
	Course track[effectPoint] `json:"course,omitzero"` // of the effect since the rollout began
}

func newGauge(m flyball.Metric, margin flyball.Margin, success bool, alpha float64) *gauge {
	return &gauge{metric: m, success: success, alpha: alpha, margin: stats.Margin{
		Relative: margin.Relative, Absolute: margin.Absolute, HigherIsBetter: m.Better == flyball.BetterHigher,
	}}
}

// begin makes the state that a gauge starts with.
func (g *gauge) begin(t *trial) {
	plan, schedule := t.Entry.Rollout.RolloutPlan, t.schedule()
	g.gaugeState = &gaugeState{RiskBy: make([]int64, len(plan.Steps)+1)}
	g.First, g.Requests = stats.NewLabels(g.margin, schedule), stats.NewLabels(g.margin, schedule)
	g.PairUnit = stats.NewPairedBet(g.margin, g.metric.Cap, schedule)
	g.PairAll = stats.NewPairedBet(g.margin, g.metric.Cap, schedule)
	for _, r := range g.stepRatios(t) {
		g.FirstShown = append(g.FirstShown, stats.NewNonInferiority(r))
		g.RequestsShown = append(g.RequestsShown, stats.NewNonInferiority(r))
	}
	g.beginTail(t, schedule)
	g.Compared.begin(g.ratios())
	if requestUnit(plan.Unit) {
		g.Join = byRequest
	}
	if g.success { // a win is looked for from the first moment
		g.E = 1
	} else {
		g.E = schedule.Start
	}
}

// requestUnit says whether the unit that a plan names is a single request, so
// that what one unit does is independent of what another does.
func requestUnit(attribute string) bool {
	switch strings.ToLower(strings.NewReplacer(".", "", "_", "", "-", "").Replace(attribute)) {
	case "request", "requestid", "trace", "traceid", "span", "spanid":
		return true
	}
	return false
}

// choose decides the forms. Until the first observation came they are those of
// joined units.
func (g *gauge) choose(t *trial) {
	m, units, requests := g.metric, g.Join != byRequest, g.metric.Analysis == flyball.AnalysisRequest
	f := forms{contrast: mature}
	switch {
	case !units && m.Type != flyball.MetricRatio:
		f.contrast = each
	case requests:
		f.contrast = running
	}
	f.ratio = g.ratios()
	switch {
	case m.Type == flyball.MetricQuantile:
		f = forms{tail: true, first: units && !g.success, tailBreaks: requests || !units}
	case g.success, m.Type == flyball.MetricRatio:
		f.breaks = true
	case m.Type == flyball.MetricRate && g.margin.Absolute > 0:
		f.breaks = true
	case m.Type == flyball.MetricRate && !units:
		f = forms{requests: true}
	case m.Type == flyball.MetricRate && requests:
		f = forms{first: true, requests: true}
	case m.Type == flyball.MetricRate && (g.margin.HigherIsBetter || g.margin.Relative == 0):
		f.breaks = true
	case m.Type == flyball.MetricRate:
		f.first, f.breaks = true, true
	case g.margin.HigherIsBetter && (m.Cap == 0 || !requests && units):
		f.breaks = true
	case !units:
		f.pairAll = true
	case requests:
		f.pairUnit, f.pairAll = true, true
	default:
		f.pairUnit, f.breaks = true, true
	}
	g.forms = f
	limit := min(1/g.alpha, stats.MaxValue)
	if (f.first || f.requests) && (f.first && f.requests || f.breaks || f.tailBreaks) {
		limit *= 2 // half of alpha for each
	}
	g.First.Limit, g.Requests.Limit = limit, limit
	if f.tail {
		g.Tail.Limit = limit
	}
}

// stepRatios returns the rate ratios that must be excluded before each step of
// the plan is entered.
func (g *gauge) stepRatios(t *trial) []float64 {
	if t.Final {
		r := g.margin.Ratio()
		if g.margin.HigherIsBetter { // "at least as good" must be looked for upwards
			r = min(r, 1-1e-9)
		}
		return []float64{r}
	}
	all := make([]float64, len(t.Entry.Rollout.Steps))
	for i, s := range t.Entry.Rollout.Steps {
		all[i] = g.margin.StepRatio(float64(s.PPM) / flyball.PPM)
	}
	return all
}

// next is the index of the step ratio that an advance must show.
func (t *trial) next() int {
	if t.Final {
		return 0
	}
	return min(t.Entry.Rollout.At+1, len(t.Entry.Rollout.Steps)-1)
}
