package flyball

import "time"

// A Verdict is what the judge says of a guardrail, or of a whole rollout.
type Verdict string

// The verdicts.
const (
	Healthy  Verdict = "healthy"  // shown to be within the margin of the next step
	Unsure   Verdict = "unsure"   // not enough evidence either way
	Breached Verdict = "breached" // shown to be worse than the margin
)

// Evidence is what the judge knows of a rollout at a moment.
type Evidence struct {
	Rollout    string           `json:"rollout"`
	Step       int              `json:"step"`
	Verdict    Verdict          `json:"verdict"`
	Why        string           `json:"why,omitempty"`
	Guardrails []MetricEvidence `json:"guardrails"`
	Success    []MetricEvidence `json:"success,omitempty"`
	SRM        SampleRatio      `json:"srm"`
	Units      Arms             `json:"units"` // exposed in the rollout so far, each once
	StepUnits  Arms             `json:"stepUnits"`
	Last       ArmTimes         `json:"last"`             // when each arm last sent anything
	Lag        Duration         `json:"lag"`              // between an event and its arrival, lately
	Lossy      string           `json:"lossy,omitempty"`  // why the telemetry of this step is known to be incomplete
	Crossed    int64            `json:"crossed"`          // units seen in both arms without a step to explain it
	Unjoined   int64            `json:"unjoined"`         // observations whose unit had no exposure
	Joined     int64            `json:"joined"`           // observations whose unit had one
	Blocks     []string         `json:"blocks,omitempty"` // what forbids an advance, whatever the guardrails say
	Late       int64            `json:"late"`             // observations too late to weigh; they are in totals only
	Untrusted  int64            `json:"untrusted"`        // items of public tokens; they are shown, and decide nothing
	// UnitMinutes is the exposure so far: of each unit of the treatment, for how
	// long it had it.
	UnitMinutes float64       `json:"unitMinutes"`
	Quality     []DataQuality `json:"quality,omitempty"` // what is wrong with the data
	EnoughIn    *Duration     `json:"enoughIn"`          // until every guardrail is shown healthy at the present rate; null is not known
	Winner      *Winner       `json:"winner,omitempty"`
	Course      []UnitPoint   `json:"course,omitempty" doc:"how exposure came about since the rollout began, at most 32 points"`
}

// A DataQuality is one thing that is wrong with the data of a rollout.
type DataQuality struct {
	Kind   QualityKind `json:"kind"`
	Why    string      `json:"why"`
	Blocks bool        `json:"blocks"` // whether the rollout may not advance because of it
}

// A QualityKind says what is wrong with data.
type QualityKind string

// What may be wrong.
const (
	QualitySilent      QualityKind = "silent"      // an arm has not sent anything lately
	QualityArmMissing  QualityKind = "armMissing"  // an arm has not sent anything at all
	QualityLate        QualityKind = "late"        // observations came too late to weigh
	QualityLossy       QualityKind = "lossy"       // something never came
	QualitySampleRatio QualityKind = "sampleRatio" // the arms' sizes do not fit their weights
	QualityCrossed     QualityKind = "crossed"     // units were seen in both arms
	QualityUnjoined    QualityKind = "unjoined"    // observations without the exposure of their unit
	QualityUntrusted   QualityKind = "untrusted"   // public tokens sent some of it
	QualityBroken      QualityKind = "broken"      // the judge failed on this rollout
)

// A Winner is the treatment, once a success metric is shown to be better and
// every guardrail to be within its final margin, on data that can be trusted.
type Winner struct {
	Variant string    `json:"variant"`
	Metric  string    `json:"metric"`
	Since   time.Time `json:"since"` // when the metric was shown to be better
	Early   bool      `json:"early"` // before a full week, whose days may differ
}

// A TrackPoint is what the evidence of a metric was at a moment of the step.
type TrackPoint struct {
	At       time.Time `json:"at"`
	E        float64   `json:"e"`
	AdvanceE float64   `json:"advanceE"`
}

// A UnitPoint is how many units were exposed by a moment of the rollout.
type UnitPoint struct {
	At    time.Time `json:"at"`
	Units Arms      `json:"units"`
}

// An EffectPoint is what was known of the effect on a metric at a moment of the
// rollout.
type EffectPoint struct {
	At       time.Time   `json:"at"`
	Estimate *float64    `json:"estimate"`
	Interval *[2]float64 `json:"interval"`
}

// MetricEvidence is what the judge knows of one metric.
type MetricEvidence struct {
	Metric    string      `json:"metric"`
	By        string      `json:"by,omitempty" doc:"the attribute, each value of which is judged"`
	Value     string      `json:"value,omitempty" doc:"of a slot: the attribute's value"`
	Margin    Margin      `json:"margin,omitzero"`
	Verdict   Verdict     `json:"verdict"`
	E         float64     `json:"e"`         // e-value against "within the margin"
	Threshold float64     `json:"threshold"` // E at or above it is a breach, or a win
	Estimate  *float64    `json:"estimate"`  // treatment against control: a ratio for rates, a difference for means
	Interval  *[2]float64 `json:"interval"`  // anytime-valid, at the plan's alpha
	Control   *float64    `json:"control"`   // the control's rate or mean
	Treatment *float64    `json:"treatment"`
	N         Arms        `json:"n"` // trials that entered the statistic
	// AdvanceE is the e-value against "worse than the next step's margin".
	AdvanceE         float64    `json:"advanceE"`
	AdvanceThreshold float64    `json:"advanceThreshold"`
	AdvanceMargin    float64    `json:"advanceMargin"`
	FirstTripped     *time.Time `json:"firstTripped,omitempty"`
	FirstHealthy     *time.Time `json:"firstHealthy,omitempty"`
	Why              string     `json:"why,omitempty"`
	// Stream is set for a metric that is a stream. Nothing is then compared, and
	// what belongs to a comparison is zero.
	Stream *StreamEvidence `json:"stream,omitempty"`
	// Slots are the values of the attribute By that have a test of their own, in
	// the order in which control showed them. E and Threshold are then those of
	// the slot with most evidence against it, and AdvanceE is that of all
	// observations together; once a slot has breached, the numbers are its.
	Slots []MetricEvidence `json:"slots,omitempty"`
	// Others counts observations with another value, or none: they are in the
	// numbers of the whole, and have no test of their own.
	Others *Arms `json:"others,omitempty"`
	// EnoughIn is the time until the metric is shown healthy, or better, should
	// its evidence grow as it lately did; 0 if it is shown, null if it does not
	// grow or nothing can be said.
	EnoughIn *Duration     `json:"enoughIn"`
	Track    []TrackPoint  `json:"track,omitempty"` // how the evidence of this step came about, at most 32 points
	Course   []EffectPoint `json:"course,omitempty" doc:"how the effect came about since the rollout began, at most 32 points"`
}

// StreamEvidence is what the judge knows of a stream.
type StreamEvidence struct {
	State     StreamState `json:"state"`
	Value     *float64    `json:"value"`               // the last sample; of a query by variant, treatment less control
	At        time.Time   `json:"at,omitzero"`         // when it was so
	Limit     *float64    `json:"limit,omitempty"`     // of a threshold
	Since     *time.Time  `json:"since,omitempty"`     // since when it is beyond the limit, or alarmed
	Normal    *float64    `json:"normal,omitempty"`    // of a baseline: the level that it has learnt
	Samples   int64       `json:"samples"`             // that counted so far
	Score     float64     `json:"score,omitempty"`     // of a baseline: an alarm begins at AlarmAt
	AlarmAt   float64     `json:"alarmAt,omitempty"`   // samples between two false alarms, on average
	NoData    string      `json:"noData,omitempty"`    // why the last question had no answer that counts
	Suspended bool        `json:"suspended,omitempty"` // nobody is left on control to compare with
}

// A StreamState says how a stream fares.
type StreamState string

// The states of a stream.
const (
	StreamNormal   StreamState = "normal"
	StreamLearning StreamState = "learning" // what is normal is not known yet
	StreamBeyond   StreamState = "beyond"   // beyond its limit, not for long enough
	StreamExceeded StreamState = "exceeded" // beyond it for long enough; so it stays for this rollout
	StreamAlarm    StreamState = "alarm"
	StreamSilent   StreamState = "silent" // no data that count
)

// Arms counts something in each arm.
type Arms struct {
	Control   int64 `json:"control"`
	Treatment int64 `json:"treatment"`
}

// ArmTimes tells a time of each arm; zero is never.
type ArmTimes struct {
	Control   time.Time `json:"control,omitzero"`
	Treatment time.Time `json:"treatment,omitzero"`
}

// A SampleRatio says whether units fell into the arms as their weights say.
type SampleRatio struct {
	BayesFactor float64 `json:"bayesFactor"`
	Threshold   float64 `json:"threshold"`
	Mismatch    bool    `json:"mismatch"`
}
