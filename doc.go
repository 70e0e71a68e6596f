// Package flyball is the language of a feature-flag and progressive-delivery
// platform: its nouns, the words its people use for them, and the rules that
// a single noun must obey.
//
// A [Flag] selects one of its variants for an [EvaluationContext]. What an
// [Environment] serves for a flag is a [FlagConfig]; all of them, with the
// [Segment]s they use, at one version, are a [Ruleset]. A [Rollout] raises the
// share of units that get a treatment, step by step, while [Metric]s judge it.
// Every change has an [Actor] and a reason and leaves an [AuditEntry].
//
// The package holds no I/O, no goroutine and no interface, and it never reads
// a clock: everything in it is a value that can be checked, stored and sent.
// Package eval turns a ruleset into decisions; package provider brings both
// into a program through OpenFeature.
package flyball

// ProgramVersion is the version of this program and of its SDK.
const ProgramVersion = "0.1.0"
