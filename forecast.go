package flyball

// PlanTraffic is what somebody knows of the traffic of a flag, in place of what
// the server has seen.
type PlanTraffic struct {
	UnitsPerDay       float64            `json:"unitsPerDay,omitempty" minimum:"0" doc:"distinct units that reach the flag in a day"`
	RequestsPerSecond float64            `json:"requestsPerSecond,omitempty" minimum:"0" doc:"observations of each metric in a second"`
	Baseline          map[string]float64 `json:"baseline,omitempty" doc:"what each metric is now, by its key: a rate, or a mean"`
	Deviation         map[string]float64 `json:"deviation,omitempty" doc:"the standard deviation of each metric that is a mean, by its key"`
}

// Validate reports every problem of what is said of the traffic.
func (t PlanTraffic) Validate() error {
	p := newProblems()
	sound := func(field string, v float64) {
		if !finite(v) || v < 0 || v > 1e12 {
			p.add(field, "must lie between 0 and 1e12")
		}
	}
	sound("traffic.unitsPerDay", t.UnitsPerDay)
	sound("traffic.requestsPerSecond", t.RequestsPerSecond)
	for _, m := range []struct {
		field string
		all   map[string]float64
	}{{"traffic.baseline", t.Baseline}, {"traffic.deviation", t.Deviation}} {
		if len(m.all) > 2*MaxGuardrails {
			p.add(m.field, "%d metrics, at most %d", len(m.all), 2*MaxGuardrails)
			continue
		}
		for key, v := range m.all {
			if !finite(v) || v < 0 || v > 1e12 {
				p.add(m.field+"."+key, "must lie between 0 and 1e12")
			}
		}
	}
	return p.err()
}

// MetricTraffic is how much was lately observed of a metric in an environment.
type MetricTraffic struct {
	Observation string      `json:"observation"` // its name
	PerSecond   float64     `json:"perSecond"`
	Mean        float64     `json:"mean"`
	Ones        float64     `json:"ones"` // the share of values above 0
	Deviation   float64     `json:"deviation"`
	Over        Duration    `json:"over"` // for how long it has been seen
	Units       []UnitsSeen `json:"units,omitempty"`
}

// UnitsSeen says how many distinct units were seen in the last while.
type UnitsSeen struct {
	In Duration `json:"in"`
	N  float64  `json:"n"`
}

// A RolloutForecast is what a plan comes to at the present traffic, should the
// treatment do as control does.
type RolloutForecast struct {
	RolloutPlan
	Traffic []AssumedTraffic `json:"traffic" doc:"what was assumed of each metric"`
	Ladder  []StepForecast   `json:"ladder"`
	Takes   *Duration        `json:"takes" doc:"how long all steps take; null is not known"`
	Notes   []string         `json:"notes,omitempty" doc:"what is not known, and what to look at before it is started"`
}

// AssumedTraffic is what a forecast rests on, for one metric.
type AssumedTraffic struct {
	Metric      string   `json:"metric"`
	Trials      *float64 `json:"trialsPerSecond" doc:"what is judged: units, or requests; null is not known"`
	Baseline    *float64 `json:"baseline" doc:"its rate or mean now; null is not known"`
	Deviation   *float64 `json:"deviation,omitempty" doc:"of a mean"`
	UnitsPerDay *float64 `json:"unitsPerDay" doc:"null is not known"`
	From        string   `json:"from" enum:"observed,given,unknown"`
}

// A StepForecast is what one step comes to.
type StepForecast struct {
	PPM        int                 `json:"ppm"`
	AtLeast    Duration            `json:"atLeast" doc:"its hold, or the longest window in which an outcome counts"`
	Takes      *Duration           `json:"takes" doc:"how long it is expected to take; null is not known"`
	WaitsFor   string              `json:"waitsFor" doc:"what takes that long: hold, units, a metric's key, or unsure"`
	Exposes    *float64            `json:"exposes" doc:"distinct units with the treatment by its end, all steps together, about; null is not known"`
	Guardrails []GuardrailForecast `json:"guardrails,omitempty"`
}

// A GuardrailForecast is what a guardrail can and cannot do in a step.
type GuardrailForecast struct {
	Metric string `json:"metric"`
	// AdvanceMargin is what must be excluded before the next step: of rates a
	// ratio, of means a difference.
	AdvanceMargin float64   `json:"advanceMargin"`
	ShownIn       *Duration `json:"shownIn" doc:"until it is shown to be within the next step's margin; null is not known"`
	// Detectable is the least harm that is found within the step with a chance of
	// 80 %: of rates a ratio to control, of means a difference.
	Detectable *float64 `json:"detectable" doc:"null is none, or not known"`
	Why        string   `json:"why,omitempty" doc:"why something is not known"`
}
