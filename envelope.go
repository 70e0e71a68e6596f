package flyball

import (
	"fmt"
	"path"
)

// An Envelope bounds what an agent may do, whatever its person may. A limit of
// 0 allows none of it; a limit that is left out of the JSON is 0.
type Envelope struct {
	Flags                 []string `json:"flags" doc:"globs of the flags that it may change" example:"payments.*"`
	Environments          []string `json:"environments" doc:"where" example:"production"`
	Kinds                 []Kind   `json:"kinds,omitempty" doc:"kinds of flags (default: release and experiment)"`
	MaxPPM                int      `json:"maxPpm" doc:"the largest share of users it may expose, in parts per million" example:"10000"`
	MaxUnits              int64    `json:"maxUnits,omitempty" doc:"users that one rollout of it may expose (0: no bound)"`
	MaxMinutesPerExposure int      `json:"maxMinutesPerExposure,omitempty" doc:"how long an exposure of it lasts at most, unless evidence renews it (0: no bound)"`
	MaxUnitMinutesPerDay  int64    `json:"maxUnitMinutesPerDay,omitempty" doc:"users times minutes that it may plan for in a day (0: no bound)"`
	MaxConcurrentRollouts int      `json:"maxConcurrentRollouts" doc:"live rollouts that it may have started" example:"2"`
	MaxRiskTier           RiskTier `json:"maxRiskTier" enum:"low,medium,high" doc:"the highest tier of a flag that it may raise"`
	ChangesPerHour        int      `json:"changesPerHour" doc:"raises that it may make in an hour; lowering is free" example:"20"`
}

// A Beyond says how a change goes beyond what an agent may do.
type Beyond struct {
	Limit   string `json:"limit" doc:"which limit" example:"maxPpm"`
	Asked   any    `json:"asked" doc:"what the change comes to"`
	Allowed any    `json:"allowed" doc:"the largest that is allowed"`
	Why     string `json:"why" doc:"the same in words"`
	How     string `json:"how" doc:"how it can be done all the same"`
}

// An EnvelopeUse is what the agents of one person have used of their envelopes.
type EnvelopeUse struct {
	ChangesInHour    int   `json:"changesInHour" doc:"raises in the last hour"`
	UnitMinutesInDay int64 `json:"unitMinutesInDay" doc:"users times minutes, planned in the last day"`
	LiveRollouts     int   `json:"liveRollouts"`
}

// Validate reports every problem of the envelope at once.
func (e Envelope) Validate() error {
	p := newProblems()
	e.validate(p)
	return p.err()
}

func (e Envelope) validate(p problems) {
	if len(e.Flags) == 0 || len(e.Flags) > 100 {
		p.add("flags", "name the flags that the agent may change, in 1 to 100 globs such as payments.*")
	}
	for i, g := range e.Flags {
		if _, err := path.Match(g, "x"); err != nil || len(g) > 128 {
			p.add(fmt.Sprintf("flags[%d]", i), "%q is not a glob such as payments.*", g)
		}
	}
	if len(e.Environments) == 0 {
		p.add("environments", "name the environments in which the agent may change them")
	}
	for i, k := range e.Environments {
		p.key(fmt.Sprintf("environments[%d]", i), k)
	}
	for _, k := range e.Kinds {
		oneOf(p, "kinds", k, KindRelease, KindOps, KindExperiment, KindPermission)
	}
	oneOf(p, "maxRiskTier", e.MaxRiskTier, TierLow, TierMedium, TierHigh)
	if e.MaxPPM < 0 || e.MaxPPM > PPM {
		p.add("maxPpm", "is 0 to 1000000 parts per million")
	}
	for name, n := range map[string]int64{
		"maxUnits": e.MaxUnits, "maxMinutesPerExposure": int64(e.MaxMinutesPerExposure), "maxUnitMinutesPerDay": e.MaxUnitMinutesPerDay,
		"maxConcurrentRollouts": int64(e.MaxConcurrentRollouts), "changesPerHour": int64(e.ChangesPerHour),
	} {
		if n < 0 {
			p.add(name, "is not below 0")
		}
	}
}
