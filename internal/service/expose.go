package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/flyballdev/flyball"
)

// Expose says to how many, or to whom, a variant is shown, and for how long.
type Expose struct {
	FlagIn
	Treatment  string              `json:"treatment,omitempty" doc:"the variant to show (default: the other one, of two)"`
	PPM        int                 `json:"ppm" minimum:"1" maximum:"1000000" doc:"the share of users, or of the cohort, in parts per million" example:"1000"`
	If         *flyball.Condition  `json:"if,omitempty" doc:"the cohort: only who meets this condition (default: everybody whom no rule matches)"`
	For        flyball.Duration    `json:"for" doc:"how long" example:"2m"`
	Then       flyball.Then        `json:"then,omitempty" enum:"off,keep" doc:"what follows: off makes it a pulse (the default); keep needs evidence that it is healthy"`
	Guardrails []flyball.Guardrail `json:"guardrails,omitempty" doc:"what must not get worse"`
	Success    []flyball.Success   `json:"success,omitempty" doc:"what should get better"`
	MaxUnits   int64               `json:"maxUnits,omitempty" minimum:"0" doc:"how many users are exposed at most"`
}

// ownRule is how the id of a rule begins that an exposure made for its cohort;
// it goes when the exposure ends, unless that is kept.
const ownRule = "exposure."

// Expose shows a variant to a share of users, or of a cohort, for a while, in
// one change: the flag is enabled, the cohort gets a rule of its own, and a
// rollout of one step begins.
func (s *Service) Expose(ctx context.Context, in Expose) (RolloutView, error) {
	if in.For <= 0 {
		return RolloutView{}, flyball.FieldErrorf("for", "say how long, such as 2m")
	}
	if in.Then == "" {
		in.Then = flyball.ThenOff
	}
	r := flyball.Rollout{ID: newID(8), State: flyball.RolloutRunning}
	err := s.fleetMayStep(ctx, flyball.RolloutPlan{Flag: in.Key, Environment: in.Environment})
	if err != nil {
		return RolloutView{}, err
	}
	_, err = s.change(ctx, changeOf{
		access: Write, action: "rollout.start", subject: in.Key, flag: in.Key, reason: in.Reason,
		apply: func(e *edit) error {
			plan, err := e.exposure(in)
			if err != nil {
				return err
			}
			r.RolloutPlan = plan
			return e.startRollout(r)
		},
	})
	if err != nil || mannerOf(ctx).Plans() {
		return RolloutView{}, err
	}
	return s.Rollout(ctx, RolloutID{ID: r.ID})
}

// exposure readies a flag for an exposure, and returns its plan.
func (e *edit) exposure(in Expose) (p flyball.RolloutPlan, err error) {
	f, err := e.flag(in.Key)
	if err != nil {
		return p, err
	}
	c, version, err := e.config(in.Environment, in.Key)
	if err != nil {
		return p, err
	}
	if in.IfVersion != 0 && in.IfVersion != version {
		return p, stale(fmt.Sprintf("the configuration of %s in %s", in.Key, in.Environment), in.IfVersion, version)
	}
	if c.Default.Split != nil {
		return p, flyball.Errorf(flyball.Conflict, "the default of %q in %s is a split, and an exposure stands in for one plain variant: set the default first", in.Key, in.Environment)
	}
	p = flyball.RolloutPlan{
		Flag: in.Key, Environment: in.Environment, Treatment: in.Treatment, Control: c.Default.Variant, Where: flyball.WhereDefault,
		Steps: []flyball.Step{{PPM: in.PPM, Hold: in.For, Lease: in.For}}, Then: in.Then,
		Guardrails: in.Guardrails, Success: in.Success, Budget: flyball.Budget{ExposedUnits: in.MaxUnits},
	}
	if p.Treatment == "" {
		for name := range f.Variants {
			if name != p.Control && len(f.Variants) == 2 {
				p.Treatment = name
			}
		}
	}
	c.Enabled, c.Rules = true, slices.Clone(c.Rules)
	if in.If != nil {
		p.Where = cohortRule(*in.If)
		if _, at := c.Rule(p.Where); at < 0 {
			c.Rules = append(c.Rules, flyball.Rule{ID: p.Where, If: *in.If, Serve: flyball.Serve{Variant: p.Control}})
		}
	}
	p = p.WithDefaults()
	if err := p.Validate(); err != nil {
		return p, err
	}
	if err := c.Validate(f.Flag); err != nil {
		return p, err
	}
	return p, e.putConfig(in.Environment, c)
}

// cohortRule is the id of the rule of a cohort: the same for the same condition.
func cohortRule(c flyball.Condition) string {
	body, err := json.Marshal(c)
	if err != nil {
		return ownRule
	}
	sum := sha256.Sum256(body)
	return ownRule + hex.EncodeToString(sum[:6])
}

// dropOwnRule takes away the rule that an exposure made for its cohort, if that
// changes nothing for anybody: it is the last, and serves what the default does.
func dropOwnRule(c *flyball.FlagConfig, where string) {
	n := len(c.Rules) - 1
	if n >= 0 && c.Rules[n].ID == where && strings.HasPrefix(where, ownRule) && sameJSON(c.Rules[n].Serve, c.Default) {
		c.Rules = slices.Clone(c.Rules[:n])
	}
}

// withOwnRule returns what follows a configuration as though the last rule, which
// an exposure made and took away when it ended, were still there: it would serve
// what the default does.
func withOwnRule(before, after flyball.FlagConfig) flyball.FlagConfig {
	n := len(before.Rules) - 1
	if n < 0 || len(after.Rules) != n || !strings.HasPrefix(before.Rules[n].ID, ownRule) {
		return after
	}
	last := before.Rules[n]
	last.Serve = after.Default
	after.Rules = append(slices.Clone(after.Rules), last)
	return after
}
