package flyball

import (
	"fmt"
	"slices"
	"time"
)

// A RolloutPlan says how the share of a treatment is to rise, and what may
// stop it.
type RolloutPlan struct {
	Flag        string      `json:"flag"`
	Environment string      `json:"environment" doc:"where" example:"production"`
	Treatment   string      `json:"treatment" doc:"the variant whose share rises"`
	Control     string      `json:"control" doc:"the variant that it replaces"`
	Where       string      `json:"where,omitempty" doc:"\"default\", or the id of the rule whose serve is replaced (default \"default\")"`
	Unit        string      `json:"unit,omitempty" doc:"the attribute whose value moves as one (default targetingKey)"`
	Steps       []Step      `json:"steps" doc:"strictly rising shares"`
	Then        Then        `json:"then,omitempty" enum:"keep,off" doc:"what follows the last step; off makes the rollout a pulse (default keep)"`
	Guardrails  []Guardrail `json:"guardrails,omitempty" doc:"what must not get worse"`
	Success     []Success   `json:"success,omitempty" doc:"what should get better"`
	Alpha       float64     `json:"alpha,omitempty" doc:"chance of ever tripping a healthy rollout, all guardrails together (default 0.01)"`
	OnBreach    OnBreach    `json:"onBreach,omitempty" enum:"abort,stepBack,hold" doc:"what a breached guardrail does (default abort)"`
	OnUnsure    OnUnsure    `json:"onUnsure,omitzero" doc:"what too little evidence leads to (default {after: 4h, then: hold})"`
	OnSilence   OnSilence   `json:"onSilence,omitzero" doc:"what missing data lead to (default {after: 10m, then: hold})"`
	Budget      Budget      `json:"budget,omitzero" doc:"optional ceilings"`
}

// A Step is one share of the treatment and how long it is held at least.
type Step struct {
	PPM   int      `json:"ppm" minimum:"1" maximum:"1000000" doc:"the treatment's share, in parts per million"`
	Hold  Duration `json:"hold,omitempty" doc:"how long the step lasts at least (default 5m)" example:"30m"`
	Lease Duration `json:"lease,omitempty" doc:"after which evaluators serve control by themselves, unless renewed" example:"2h"`
	Gates []Gate   `json:"gates,omitempty" doc:"what must agree before the step is left"`
}

// A Gate waits for an agent's word or for people's approval.
type Gate struct {
	Agent     string   `json:"agent,omitempty"`
	Approval  int      `json:"approval,omitempty" doc:"how many people must approve"`
	Timeout   Duration `json:"timeout,omitempty"`
	OnTimeout string   `json:"onTimeout,omitempty" enum:"hold,abort"`
}

// A Guardrail is a metric that the treatment may not worsen by more than a
// margin.
type Guardrail struct {
	Metric string `json:"metric"`
	Margin Margin `json:"margin,omitzero" doc:"how much worse than control is tolerated"`
	By     string `json:"by,omitempty" doc:"an attribute; none of its values may be harmed"`
}

// A Margin is relative to the control, or absolute in the metric's unit.
type Margin struct {
	Relative float64 `json:"relative,omitempty" minimum:"0" example:"0.05"`
	Absolute float64 `json:"absolute,omitempty" minimum:"0"`
}

// A Success metric should get better; which way that is, the metric says.
type Success struct {
	Metric string `json:"metric"`
}

// Then is what follows the last step.
type Then string

// After the last step the treatment is kept, or taken back: a pulse.
const (
	ThenKeep Then = "keep"
	ThenOff  Then = "off"
)

// OnBreach is what a breached guardrail does.
type OnBreach string

// What a breach does.
const (
	BreachAbort    OnBreach = "abort"
	BreachStepBack OnBreach = "stepBack"
	BreachHold     OnBreach = "hold"
)

// OnUnsure is what too little evidence leads to after a time.
type OnUnsure struct {
	After Duration `json:"after,omitempty" doc:"default 4h"`
	Then  string   `json:"then,omitempty" enum:"hold,advance" doc:"default hold; advance is audited as absence of evidence"`
}

// OnSilence is what missing data lead to after a time.
type OnSilence struct {
	After Duration `json:"after,omitempty" doc:"default 10m"`
	Then  string   `json:"then,omitempty" enum:"hold,abort" doc:"default hold; no data is never health"`
}

// A Budget is a ceiling on exposure; zero is none.
type Budget struct {
	ExposedUnits int64 `json:"exposedUnits,omitempty"`
	UnitMinutes  int64 `json:"unitMinutes,omitempty"`
}

// Limits and defaults of rollouts.
const (
	MaxSteps       = 50
	MaxGuardrails  = 20
	DefaultAlpha   = 0.01
	DefaultHold    = Duration(5 * time.Minute)
	DefaultUnsure  = Duration(4 * time.Hour)
	DefaultSilence = Duration(10 * time.Minute)
	// MinLease leaves room for one renewal, at half-life, to reach evaluators.
	MinLease = Duration(10 * time.Second)
)

// WithDefaults returns p with its optional fields filled in.
func (p RolloutPlan) WithDefaults() RolloutPlan {
	fill(&p.Where, WhereDefault)
	fill(&p.Unit, AttributeTargetingKey)
	fill(&p.Then, ThenKeep)
	fill(&p.Alpha, DefaultAlpha)
	fill(&p.OnBreach, BreachAbort)
	fill(&p.OnUnsure.After, DefaultUnsure)
	fill(&p.OnUnsure.Then, "hold")
	fill(&p.OnSilence.After, DefaultSilence)
	fill(&p.OnSilence.Then, "hold")
	p.Steps = slices.Clone(p.Steps)
	for i := range p.Steps {
		fill(&p.Steps[i].Hold, DefaultHold)
		if p.Then == ThenOff {
			p.Steps[i].Lease = p.Steps[i].Hold
		}
	}
	return p
}

func fill[T comparable](v *T, with T) {
	var zero T
	if *v == zero {
		*v = with
	}
}

// Validate reports every problem of the plan at once, save for those that need
// the flag, its configuration or the metrics.
func (p RolloutPlan) Validate() error {
	q := newProblems()
	if p.Treatment == "" || p.Treatment == p.Control {
		q.add("treatment", "name a variant other than the control")
	}
	if p.Control == "" {
		q.add("control", "name the variant that is served now")
	}
	q.attribute("unit", p.Unit)
	oneOf(q, "then", p.Then, ThenKeep, ThenOff)
	oneOf(q, "onBreach", p.OnBreach, BreachAbort, BreachStepBack, BreachHold)
	oneOf(q, "onUnsure.then", p.OnUnsure.Then, "hold", "advance")
	oneOf(q, "onSilence.then", p.OnSilence.Then, "hold", "abort")
	if !finite(p.Alpha) || p.Alpha <= 0 || p.Alpha > 0.5 {
		q.add("alpha", "must lie above 0 and not above 0.5")
	}
	if p.Budget.ExposedUnits < 0 || p.Budget.UnitMinutes < 0 {
		q.add("budget", "must not be negative")
	}
	p.validateSteps(q)
	p.validateMetrics(q)
	return q.err()
}

func (p RolloutPlan) validateSteps(q problems) {
	if n := len(p.Steps); n == 0 || n > MaxSteps {
		q.add("steps", "%d steps; a rollout has 1 to %d", n, MaxSteps)
	}
	before := 0
	for i, s := range p.Steps {
		at := q.at("steps[%d]", i)
		if s.PPM < 1 || s.PPM > PPM {
			at.add("ppm", "%d is not between 1 and %d", s.PPM, PPM)
		} else if s.PPM <= before {
			at.add("ppm", "%d does not rise above the step before, %d", s.PPM, before)
		}
		before = s.PPM
		if s.Hold.Std() > 90*24*time.Hour {
			at.add("hold", "at most 90 days (2160h)")
		}
		if s.Lease != 0 && s.Lease < MinLease && p.Then != ThenOff {
			at.add("lease", "at least %v, so that it can be renewed in time", MinLease)
		}
		for j, g := range s.Gates {
			if (g.Agent == "") == (g.Approval == 0) || g.Approval < 0 || g.Approval > 5 {
				at.add(fmt.Sprintf("gates[%d]", j), "name an agent, or a number of approvals from 1 to 5")
			}
			if g.OnTimeout != "" {
				oneOf(at, fmt.Sprintf("gates[%d].onTimeout", j), g.OnTimeout, "hold", "abort")
			}
		}
	}
}

func (p problems) margin(field string, m Margin) {
	if !finite(m.Relative) || m.Relative < 0 || m.Relative > 10 {
		p.add(field+".relative", "must lie between 0 and 10; 0.05 tolerates five percent")
	}
	if !finite(m.Absolute) || m.Absolute < 0 {
		p.add(field+".absolute", "must not be negative")
	}
}

func (p RolloutPlan) validateMetrics(q problems) {
	if len(p.Guardrails) > MaxGuardrails {
		q.add("guardrails", "%d guardrails, at most %d", len(p.Guardrails), MaxGuardrails)
	}
	for i, g := range p.Guardrails {
		at := q.at("guardrails[%d]", i)
		at.key("metric", g.Metric)
		at.margin("margin", g.Margin)
		if slices.ContainsFunc(p.Guardrails[:i], func(o Guardrail) bool { return o.Metric == g.Metric && o.By == g.By }) {
			at.add("metric", "%s has a guardrail already", quote(g.Metric))
		}
	}
	if len(p.Success) > MaxGuardrails {
		q.add("success", "%d success metrics, at most %d", len(p.Success), MaxGuardrails)
	}
	for i, s := range p.Success {
		q.at("success[%d]", i).key("metric", s.Metric)
	}
}

// A RolloutState says where a rollout is in its life.
type RolloutState string

// The states. Completed, aborted and stopped are final.
const (
	RolloutPending   RolloutState = "pending"
	RolloutRunning   RolloutState = "running"
	RolloutPaused    RolloutState = "paused"  // a person said so
	RolloutHolding   RolloutState = "holding" // the controller waits
	RolloutCompleted RolloutState = "completed"
	RolloutAborted   RolloutState = "aborted"
	RolloutStopped   RolloutState = "stopped"
)

// Live says whether the rollout still serves.
func (s RolloutState) Live() bool {
	return s == RolloutPending || s == RolloutRunning || s == RolloutPaused || s == RolloutHolding
}

// A Rollout is a plan in motion.
type Rollout struct {
	ID string `json:"id"`
	RolloutPlan
	State     RolloutState `json:"state"`
	At        int          `json:"at" doc:"the step in force, counted from 0"`
	Why       string       `json:"why,omitempty" doc:"why it is in this state"`
	Since     time.Time    `json:"since,omitzero" doc:"when it came into this state"`
	StartedBy ActorID      `json:"startedBy"`
	StartedAt time.Time    `json:"startedAt"`
	SteppedAt time.Time    `json:"steppedAt" doc:"when the step in force began"`
	SteppedIn int64        `json:"steppedIn" doc:"the ruleset version that began the step"`
	// SteppedBack tells a breach that the step back has answered from one that
	// an advance only just outran.
	SteppedBack bool       `json:"steppedBack,omitempty" doc:"whether the step in force was reached by stepping back"`
	Unproven    bool       `json:"unproven,omitempty" doc:"whether the step in force was reached for want of evidence, as the plan's onUnsure allows"`
	EndedAt     *Time      `json:"endedAt,omitempty"`
	LeaseUntil  *Time      `json:"leaseUntil,omitempty" doc:"from then on evaluators serve control by themselves"`
	Passed      []GatePass `json:"passed,omitempty" doc:"the gates that have been passed"`
	Revision    int64      `json:"revision" doc:"rises with each change of the rollout"`
}

// A GatePass says who opened a gate of a step.
type GatePass struct {
	Step int       `json:"step"`
	Gate int       `json:"gate"`
	By   ActorID   `json:"by"`
	At   time.Time `json:"at"`
}

// Overlay returns what evaluators need of the rollout.
func (r Rollout) Overlay() *Overlay {
	return &Overlay{
		ID: r.ID, Step: r.At, Where: r.Where, Unit: r.Unit, Treatment: r.Treatment, Control: r.Control,
		PPM: r.Steps[r.At].PPM, NotAfter: r.LeaseUntil,
	}
}

// A RolloutRecord is what the judge is told of a rollout with each change of
// it, in the one order in which telemetry arrives too.
type RolloutRecord struct {
	Rollout Rollout  `json:"rollout"`
	Seed    string   `json:"seed"` // of the flag in the environment
	Metrics []Metric `json:"metrics"`
}
