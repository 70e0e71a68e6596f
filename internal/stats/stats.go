// Package stats judges whether a treatment harms, is harmless, or helps, while
// the data still arrive.
//
// Everything here stays honest under continuous looking. A test keeps an
// e-process: a number E that, as long as its null hypothesis is true, has
// expectation at most 1 at every moment, so that the chance that it ever
// reaches 1/α is at most α (Ville 1939; Ramdas, Grünwald, Vovk and Shafer,
// "Game-theoretic statistics and safe anytime-valid inference", 2023). Looking
// after each event costs nothing, and "never a false trip in the whole rollout"
// is the unit in which α is told.
//
// For each guardrail the judge holds
//
//   - a breaker, null "not worse than the margin": [Labels] for events such as
//     errors, [Exceedance] for quantiles, [PairedBet] for means of metrics that are
//     never negative, and [Contrast] (asymptotic) for unit-level means, ratios
//     ([Pairs]) and whatever remains;
//   - evidence for an advance, null "worse than the step's margin":
//     [NonInferiority] for events, a negated [Contrast] for means;
//   - what a report shows: [RateRatio] or [Contrast], each with an interval that
//     holds at all times together.
//
// [ShareCheck] tells whether the arms have the sizes that were asked for, and
// [Missing] whether one of them loses its telemetry. [Strata] compares units whose
// events come late with those of the same age. [Contest] chooses among variants.
// [Watch], [Monitor] and [HardLimit] are for what has no end, or no control group.
// [TimeToTrip] and its like say beforehand how long it will all take.
//
// What a test promises is [exact] where a theorem gives it for finite samples, under
// the assumptions told, and [asymptotic] where it rests on the central limit theorem.
//
// The types are plain values: a copy is a snapshot, and encoding/json restores
// one bit for bit, so that a process that was restarted continues with exactly
// the E it would have had. No state ever holds an infinity or NaN, which JSON
// could not carry: what is not a number, or larger than [MaxValue], is left out.
// Nothing here reads a clock: times are seconds since the rollout began, given by
// the caller. Nothing is safe for concurrent use.
package stats

import "time"

// What is used where a plan says nothing else.
const (
	BreakerAlpha     = 0.01  // chance that a healthy rollout is ever tripped, all guardrails together
	AdvanceAlpha     = 0.05  // chance of a wrong non-inferiority, for each guardrail
	SampleRatioAlpha = 0.001 // chance that a sound assignment is ever flagged
	SampleRatioPrior = 1000  // weight of the planned shares, in units; see SampleRatio

	HarmBudget       = 0.05 // excess of the metric over all traffic that a step may risk; see Margin.StepRatio
	FreshInformation = 0.25 // least part of non-inferiority's information that the present step must bring

	MinUnits       = 100   // units in each arm before a Contrast is judged, and before an advance
	MinEvents      = 50    // events in both arms together before a Contrast may judge a rate
	MinEventsInArm = 10    // and in each arm
	WarmUpUnits    = 1000  // control units after which τ and the cap are frozen
	CapQuantile    = 0.999 // of control, the cap learnt at WarmUpUnits, for both arms
	MinTail        = 5     // control observations beyond a quantile before it is judged

	Breakdowns = 8 // values of a `by` attribute that get a test of their own, each at its share of alpha

	// MaxValue is the largest size of a value or count that is taken.
	MaxValue = 1e100

	JudgingWindow = 50 * time.Millisecond
	MinHorizon    = 24 * time.Hour // over which a breaker spreads its uniform mass, at the least
	MinHold       = 5 * time.Minute
)
