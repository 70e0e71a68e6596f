// Package ingest hears telemetry, makes it durable, and judges it.
//
// A [Receiver] checks batches and appends them to the log of the database,
// many in one transaction; a batch is acknowledged when it is on disk, and
// counts once however often it arrives. A [Judge] is a state machine over that
// log: it joins observations to the units that were exposed to a rollout, and
// keeps the evidence about each of its guardrails. What it knows follows from
// the log alone, in its order, so that a judge that is restored from a
// checkpoint and reads on has bit for bit the evidence of one that never
// stopped. A [Runner] holds the lease that makes it the only judge, feeds the
// log to it and keeps its checkpoints. [Backtest] feeds the same judge with
// recorded history.
//
// Times inside are microseconds since 1970. The judge's clock is when an entry
// arrived; in a backtest, which has no arrivals, it is when an event happened.
package ingest

import "time"

// Limits of what is kept in memory. What does not fit is refused or left out,
// and is told in the evidence; nothing is forgotten silently.
const (
	// MaxUnits is how many units of one rollout the judge can tell apart. Units
	// beyond are not counted, and make the evidence lossy.
	MaxUnits = 500_000
	// MaxParts is how many units of one rollout are told apart by the value of an
	// attribute, a unit counted once for each guardrail and value.
	MaxParts = 1_000_000
	// MaxWaiting is how many observations of one rollout may wait for their
	// unit's exposure.
	MaxWaiting = 100_000
	// MaxInstances is how many instances of all environments are remembered.
	MaxInstances = 20_000

	maxStrata = 256     // steps taken and taken back, each with moments of its own
	maxWarm   = 100_000 // values kept until a cap is learnt from them
)

// What the judge's clock measures.
const (
	waitForExposure = 5 * time.Second  // of an observation whose unit is not known
	earliest        = 2 * time.Second  // before the unit's exposure, that an observation may lie
	latest          = 10 * time.Minute // late, beyond which an event only counts in totals
	seenLately      = time.Minute      // an instance that is silent for longer is not counted
	goneAfter       = time.Hour        // and after this it is forgotten
	sweepEvery      = 10 * time.Minute

	maxAge    = 24 * time.Hour  // of an event, when it arrives
	maxFuture = 5 * time.Minute // of an event, when it arrives
)
