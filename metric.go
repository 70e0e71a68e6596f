package flyball

import (
	"fmt"
	"time"
)

// A MetricType says how observations become a number.
type MetricType string

// The types of metrics.
const (
	MetricRate     MetricType = "rate"     // share of trials with value 1
	MetricMean     MetricType = "mean"     // mean of values
	MetricQuantile MetricType = "quantile" // a quantile of values
	MetricRatio    MetricType = "ratio"    // sum of one observation over sum of another
	MetricStream   MetricType = "stream"   // one value at a time, of a whole service
)

// An Analysis says what counts as one independent trial.
type Analysis string

// By unit, each unit counts once; by request, each observation does.
const (
	AnalysisUnit    Analysis = "unit"
	AnalysisRequest Analysis = "request"
)

// A Better says which way a metric should move.
type Better string

// The directions.
const (
	BetterLower  Better = "lower"
	BetterHigher Better = "higher"
)

// A Metric turns observations into something that a rollout can be judged by.
type Metric struct {
	Key         string     `json:"key" example:"checkout.latency"`
	Description string     `json:"description,omitempty" doc:"what it measures"`
	Type        MetricType `json:"type" enum:"rate,mean,quantile,ratio,stream" doc:"what is made of the values"`
	Of          Source     `json:"of,omitempty" doc:"where values come from (default: observations named as the metric)"`
	Quantile    float64    `json:"quantile,omitempty" doc:"between 0 and 1, for type quantile" example:"0.99"`
	Numerator   string     `json:"numerator,omitempty" doc:"an observation's name, for type ratio"`
	Denominator string     `json:"denominator,omitempty" doc:"an observation's name, for type ratio"`
	Unit        string     `json:"unit,omitempty" doc:"of its values" example:"ms"`
	Analysis    Analysis   `json:"analysis,omitempty" enum:"unit,request" doc:"what counts as one trial (default unit)"`
	Better      Better     `json:"better" enum:"lower,higher" doc:"which way the metric should move"`
	Cap         float64    `json:"cap,omitempty" doc:"larger values count as this, in both arms (default: learnt from control)"`
	Window      Duration   `json:"window,omitempty" doc:"for unit analysis: how long after first exposure an outcome counts (default 30m)" example:"30m"`
}

// A Source says where a metric's values come from.
type Source struct {
	Observation string            `json:"observation,omitempty" doc:"the name of an observation"`
	Prometheus  *PrometheusSource `json:"prometheus,omitempty" doc:"what to ask Prometheus, for type stream"`
}

// DefaultWindow is how long after its first exposure a unit's outcome counts.
const DefaultWindow = Duration(30 * time.Minute)

// WithDefaults returns m with its optional fields filled in.
func (m Metric) WithDefaults() Metric {
	if m.Type == MetricStream {
		if m.Of.Prometheus != nil {
			m.Of.Prometheus = m.Of.Prometheus.withDefaults(m.Better)
		}
		return m
	}
	if m.Of.Observation == "" && m.Type != MetricRatio {
		m.Of.Observation = m.Key
	}
	if m.Analysis == "" {
		m.Analysis = AnalysisUnit
	}
	if m.Window == 0 {
		m.Window = DefaultWindow
	}
	return m
}

// Validate reports every problem of the metric at once.
func (m Metric) Validate() error {
	p := newProblems()
	p.key("key", m.Key)
	p.text("description", m.Description)
	oneOf(p, "better", m.Better, BetterLower, BetterHigher)
	if m.Type == MetricStream {
		p.stream(m)
		return p.err()
	}
	if m.Of.Prometheus != nil {
		p.add("of.prometheus", "what Prometheus tells is of type %s", MetricStream)
	}
	oneOf(p, "analysis", m.Analysis, AnalysisUnit, AnalysisRequest)
	if !finite(m.Cap) || m.Cap < 0 {
		p.add("cap", "must be a positive number")
	}
	if m.Window.Std() > 90*24*time.Hour {
		p.add("window", "at most 90 days (2160h)")
	}
	switch m.Type {
	case MetricRate, MetricMean:
		p.observation("of.observation", m.Of.Observation)
	case MetricQuantile:
		p.observation("of.observation", m.Of.Observation)
		if !finite(m.Quantile) || m.Quantile <= 0 || m.Quantile >= 1 {
			p.add("quantile", "must lie between 0 and 1")
		}
	case MetricRatio:
		p.observation("numerator", m.Numerator)
		p.observation("denominator", m.Denominator)
	default:
		oneOf(p, "type", m.Type, MetricRate, MetricMean, MetricQuantile, MetricRatio, MetricStream)
	}
	return p.err()
}

// stream refuses what only observations of units have.
func (p problems) stream(m Metric) {
	if m.Of.Observation != "" || m.Quantile != 0 || m.Numerator != "" || m.Denominator != "" || m.Analysis != "" || m.Cap != 0 || m.Window != 0 {
		p.add("type", "a %s has no observation, quantile, numerator, denominator, analysis, cap or window: the query says it all", MetricStream)
	}
	p.at("of.prometheus").prometheus(m.Of.Prometheus, m.Better)
}

func (p problems) observation(field, name string) {
	if name == "" || len(name) > 128 {
		p.add(field, "name an observation, in 1 to 128 bytes")
	}
}

func finite(f float64) bool { return f-f == 0 }

// An Exposure says that a unit met a rollout at a step, and which variant it
// got. Control is exposed exactly as treatment is.
type Exposure struct {
	T       time.Time `json:"t"`
	Flag    string    `json:"flag"`
	Variant string    `json:"variant"`
	Unit    string    `json:"unit"`         // the targeting key
	By      string    `json:"by,omitempty"` // the bucketing value, where it is another
	Rollout string    `json:"rollout"`
	Step    int       `json:"step"`
	Version int64     `json:"version"`
}

// An Observation is one measured value. It joins a rollout through its unit's
// exposure; Variant is set only where no unit can join it.
type Observation struct {
	T          time.Time  `json:"t"`
	Metric     string     `json:"metric"`
	Unit       string     `json:"unit,omitempty"`
	Flag       string     `json:"flag,omitempty"`
	Variant    string     `json:"variant,omitempty"`
	Value      float64    `json:"value"`
	Attributes Attributes `json:"attributes,omitempty"`
}

// MaxAttributes is how many attributes an observation may carry.
const MaxAttributes = 8

// Validate says what is wrong with an exposure; it is told to the sender and
// the rest of the batch counts.
func (e Exposure) Validate() error {
	switch {
	case e.T.IsZero():
		return FieldErrorf("t", "needs a time")
	case e.Flag == "" || len(e.Flag) > 128:
		return FieldErrorf("flag", "needs 1 to 128 bytes")
	case e.Variant == "" || len(e.Variant) > 128:
		return FieldErrorf("variant", "needs 1 to 128 bytes")
	case e.Unit == "" || len(e.Unit) > 1024 || len(e.By) > 1024:
		return FieldErrorf("unit", "needs 1 to 1024 bytes")
	case e.Rollout == "" || len(e.Rollout) > 64:
		return FieldErrorf("rollout", "an exposure names the rollout that served")
	case e.Step < 0 || e.Step >= MaxSteps:
		return FieldErrorf("step", "must lie between 0 and %d", MaxSteps-1)
	}
	return nil
}

// Validate says what is wrong with an observation; it is told to the sender
// and the rest of the batch counts.
func (o Observation) Validate() error {
	switch {
	case o.T.IsZero():
		return FieldErrorf("t", "needs a time")
	case o.Metric == "" || len(o.Metric) > 128:
		return FieldErrorf("metric", "needs 1 to 128 bytes")
	case o.Unit == "" && o.Variant == "":
		return FieldErrorf("unit", "name the unit, or the variant where no unit joins")
	case len(o.Unit) > 1024 || len(o.Variant) > 128 || len(o.Flag) > 128:
		return FieldErrorf("unit", "too long")
	case !finite(o.Value):
		return FieldErrorf("value", "must be a finite number")
	case len(o.Attributes) > MaxAttributes:
		return FieldErrorf("attributes", "%d attributes, at most %d", len(o.Attributes), MaxAttributes)
	}
	for k, v := range o.Attributes {
		if s, ok := v.(string); len(k) > 64 || ok && len(s) > 256 {
			return FieldErrorf(fmt.Sprintf("attributes.%.64s", k), "too long: 64 bytes for a name, 256 for a value")
		}
	}
	return nil
}
