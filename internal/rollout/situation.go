// Package rollout decides how a rollout goes on, and carries that out.
//
// [Next] holds the whole policy. It reads a [Situation] and returns a
// [Decision]; it has no clock, no store and no log, so that the program that
// serves, a backtest of recorded history and a simulator decide alike.
// [After] says what a decision makes of a rollout, and refuses a decision that
// came too late. A [Controller] asks Next about every live rollout, again and
// again, and hands what it says to a [World].
package rollout

import (
	"time"

	"github.com/flyballdev/flyball"
)

// A Situation is all that a decision about a rollout rests on, read at one
// moment.
type Situation struct {
	Rollout  flyball.Rollout
	Evidence flyball.Evidence
	Fleet    flyball.Fleet
	// Stateful says that the flag's instances may not disagree, so that every
	// step waits until all of them run the step before.
	Stateful bool
	// Metrics holds the definitions of the plan's guardrails by key. One that is
	// missing counts as judged by unit, with the default window.
	Metrics map[string]flyball.Metric
	// Frozen says that policy lets nothing be raised here now, and why; empty if it
	// does.
	Frozen string
	// Now is set by the Controller; whoever calls Next without one sets it.
	Now time.Time
	// Leaps are the jumps of the clock, oldest first. The Controller sets them.
	Leaps []Leap
}

// A Leap is a jump of the wall clock. What it leaps over is not time that a
// step was held; and where it leaps back, old data look young.
type Leap struct {
	At time.Time     // by the clock, after the jump
	By time.Duration // negative if the clock was set back
}

// An Action is what a decision does.
type Action string

// The actions.
const (
	Wait     Action = "wait"     // change nothing
	Start    Action = "start"    // pending → running, at the first step
	Advance  Action = "advance"  // running → running, one step up
	Hold     Action = "hold"     // running → holding, the share stays
	Resume   Action = "resume"   // holding → running, the share stays
	StepBack Action = "stepBack" // one step down; → holding, a paused one stays paused
	Abort    Action = "abort"    // → aborted, everybody on control
	Stop     Action = "stop"     // → stopped, everybody on control
	Finish   Action = "finish"   // running → completed, the treatment stays
	Renew    Action = "renew"    // a later end of the lease, nothing else
)

// Retreats says whether the action only puts users back on what they had.
// A retreat never waits for approval or budget.
func (a Action) Retreats() bool { return a == StepBack || a == Abort || a == Stop }

// Exposes says whether the action exposes users to the treatment, more of them
// or for longer, and so must rest on evidence of this moment.
func (a Action) Exposes() bool {
	return a == Start || a == Advance || a == Finish || a == Renew
}

// A Decision is what Next wants done with a rollout.
type Decision struct {
	Action Action `json:"action"`
	// Step is the step in force once the decision is carried out.
	Step int `json:"step"`
	// LeaseUntil is when the lease of that step ends; nil is no lease.
	LeaseUntil *flyball.Time `json:"leaseUntil,omitempty"`
	// Why says, for people, what was decided upon or what is waited for.
	Why string `json:"why"`
	// Waits lists what an advance still lacks, in the order of the policy.
	Waits []string `json:"waits,omitempty"`
	// AbsenceOfEvidence labels an advance that the plan's onUnsure allowed: it
	// was not shown to be safe.
	AbsenceOfEvidence bool `json:"absenceOfEvidence,omitempty"`
	// Revision is the revision of the rollout that was decided upon, and At the
	// moment: After refuses a decision upon anything older.
	Revision int64     `json:"revision"`
	At       time.Time `json:"at"`
}

// What the policy is made of, beside the plan.
const (
	// MinUnits is how many units of the treatment a step needs before it may be
	// left.
	MinUnits = 100
	// Freshness is how old the youngest data of each arm may be at an advance:
	// twice the longest interval at which a program sends while a rollout runs.
	Freshness = 10 * time.Second
	// MaxAge is how long after it was made a decision that exposes users may
	// still be carried out.
	MaxAge = 10 * time.Second
	// Calm is how long a held rollout stays held at least, so that evidence that
	// comes and goes does not fill the audit log. A step that is shorter waits
	// only for as long as it lasts.
	Calm = time.Minute
	// MaxCrossed and MaxUnjoined are shares above which the data of the arms
	// cannot be trusted.
	MaxCrossed  = 0.01
	MaxUnjoined = 0.20
)
