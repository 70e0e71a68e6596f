package flyball

import (
	"fmt"
	"time"
)

// PPM is one whole, in the parts per million that all weights are given in.
const PPM = 1_000_000

// HashVersion is the way in which a seed and a unit become a point on the ring
// (see package eval). It is stored with each flag, so that a later way never
// moves anybody.
const HashVersion = 2

// A FlagConfig is what one environment serves for a flag.
type FlagConfig struct {
	Flag          string         `json:"flag" doc:"the flag's key"`
	Enabled       bool           `json:"enabled" doc:"whether rules and default apply; if not, the off variant is served"`
	OffVariant    string         `json:"offVariant" doc:"served while not enabled, and when a prerequisite does not hold"`
	Seed          string         `json:"seed,omitempty" doc:"decides who is in the first percent; set once at creation"`
	HashVersion   int            `json:"hashVersion,omitempty" doc:"how seed and unit become a bucket; immutable"`
	Prerequisites []Prerequisite `json:"prerequisites,omitempty" doc:"flags that must serve a given variant first"`
	Rules         []Rule         `json:"rules,omitempty" doc:"in order; the first that matches wins"`
	Default       Serve          `json:"default" doc:"what is served when no rule matches"`
	Killed        *Kill          `json:"killed,omitempty" doc:"set while the safe variant is served to everybody"`
	Rollout       *Overlay       `json:"rollout,omitempty" doc:"the live rollout's share, if there is one"`
}

// A Prerequisite holds if Flag, evaluated for the same context, serves Variant.
type Prerequisite struct {
	Flag    string `json:"flag"`
	Variant string `json:"variant"`
}

// A Rule serves something to the contexts that match its condition, within its
// dates. Outside [NotBefore, NotAfter) the rule does not exist.
type Rule struct {
	ID          string    `json:"id" doc:"stable name, told in each resolution"`
	Description string    `json:"description,omitempty"`
	If          Condition `json:"if" doc:"a condition: all, any, not, segment, or a test of an attribute"`
	Serve       Serve     `json:"serve" doc:"a variant, or a split of variants"`
	NotBefore   *Time     `json:"notBefore,omitempty"`
	NotAfter    *Time     `json:"notAfter,omitempty"`
}

// A Serve is either one variant or a split of several.
type Serve struct {
	Variant string `json:"variant,omitempty" doc:"the variant served to everyone here"`
	Split   *Split `json:"split,omitempty" doc:"variants by weight"`
}

// A Split divides units by the attribute By. Its weights sum to exactly [PPM].
// The variant that is to grow stands first: its growth moves no unit out of it.
type Split struct {
	By      string   `json:"by,omitempty" doc:"the attribute whose value is the unit (default targetingKey)"`
	Weights []Weight `json:"weights"`
}

// A Weight is a variant's share of a split, in parts per million.
type Weight struct {
	Variant string `json:"variant"`
	PPM     int    `json:"ppm" minimum:"0" maximum:"1000000"`
}

// A Kill says when, by whom and why a flag was killed.
type Kill struct {
	At     time.Time `json:"at"`
	By     ActorID   `json:"by"`
	Reason string    `json:"reason"`
}

// An Overlay is the part of a live rollout that evaluators need: it stands in
// for the default, or for the serve of one rule. From NotAfter on it serves
// the control to everybody, with no help from any server.
type Overlay struct {
	ID        string `json:"id"`
	Step      int    `json:"step" doc:"counted from 0"`
	Where     string `json:"where" doc:"\"default\", or a rule's id"`
	Unit      string `json:"unit" doc:"the attribute whose value is the unit"`
	Treatment string `json:"treatment"`
	Control   string `json:"control"`
	PPM       int    `json:"ppm"`
	NotAfter  *Time  `json:"notAfter,omitempty"`
}

// WhereDefault is the place of a rollout that stands in for the default.
const WhereDefault = "default"

// AttributeTargetingKey and AttributeTargetingKind name the parts of a context
// that rules can test like any attribute.
const (
	AttributeTargetingKey  = "targetingKey"
	AttributeTargetingKind = "targetingKind"
)

// NewFlagConfig returns what a new flag serves: its safe variant, disabled.
func NewFlagConfig(f Flag) FlagConfig {
	return FlagConfig{
		Flag: f.Key, OffVariant: f.SafeVariant, Seed: f.Key, HashVersion: HashVersion,
		Default: Serve{Variant: f.SafeVariant},
	}
}

// Rule returns the rule with an id, and its index; -1 if there is none.
func (c FlagConfig) Rule(id string) (Rule, int) {
	for i, r := range c.Rules {
		if r.ID == id {
			return r, i
		}
	}
	return Rule{}, -1
}

// Validate reports every problem of the configuration at once, given the flag
// it is for. References to other flags and to segments are checked by
// [Ruleset.Validate], which knows them.
func (c FlagConfig) Validate(f Flag) error {
	p := newProblems()
	c.validate(p, f)
	return p.err()
}

func (c FlagConfig) validate(p problems, f Flag) {
	p.variant("offVariant", c.OffVariant, f)
	if c.Seed == "" || len(c.Seed) > 256 {
		p.add("seed", "a seed has 1 to 256 bytes")
	}
	if c.HashVersion != HashVersion {
		p.add("hashVersion", "%d is not known; this version knows %d", c.HashVersion, HashVersion)
	}
	for i, q := range c.Prerequisites {
		if q.Flag == c.Flag {
			p.add(fmt.Sprintf("prerequisites[%d].flag", i), "a flag cannot be its own prerequisite")
		}
	}
	if len(c.Prerequisites) > 20 {
		p.add("prerequisites", "%d prerequisites, at most 20", len(c.Prerequisites))
	}
	if len(c.Rules) > MaxRules {
		p.add("rules", "%d rules, at most %d", len(c.Rules), MaxRules)
	}
	seen := make(map[string]bool, len(c.Rules))
	for i, r := range c.Rules {
		r.validate(p.at("rules[%d]", i), f)
		if seen[r.ID] {
			p.add(fmt.Sprintf("rules[%d].id", i), "%s is the id of an earlier rule", quote(r.ID))
		}
		seen[r.ID] = true
	}
	c.Default.validate(p.at("default"), f)
	if c.Rollout != nil {
		c.Rollout.validate(p.at("rollout"), c, f)
	}
}

func (r Rule) validate(p problems, f Flag) {
	p.name("id", r.ID)
	if r.ID == WhereDefault {
		p.add("id", "%q is kept for the default", r.ID)
	}
	p.text("description", r.Description)
	r.If.validate(p.at("if"))
	r.Serve.validate(p.at("serve"), f)
	if r.NotBefore != nil && r.NotAfter != nil && !r.NotBefore.Before(r.NotAfter.Time) {
		p.add("notAfter", "must lie after notBefore")
	}
}

func (s Serve) validate(p problems, f Flag) {
	switch {
	case s.Variant != "" && s.Split != nil:
		p.add("", "serve either a variant or a split, not both")
	case s.Split != nil:
		s.Split.validate(p.at("split"), f)
	case s.Variant == "":
		p.add("", "name a variant, or give a split")
	default:
		p.variant("variant", s.Variant, f)
	}
}

func (s Split) validate(p problems, f Flag) {
	if s.By != "" {
		p.attribute("by", s.By)
	}
	if n := len(s.Weights); n == 0 || n > MaxVariants {
		p.add("weights", "%d weights; a split has 1 to %d", n, MaxVariants)
	}
	sum, sane, seen := 0, true, map[string]bool{}
	for i, w := range s.Weights {
		p.variant(fmt.Sprintf("weights[%d].variant", i), w.Variant, f)
		if seen[w.Variant] {
			p.add(fmt.Sprintf("weights[%d].variant", i), "%s has a weight already", quote(w.Variant))
		}
		seen[w.Variant] = true
		if w.PPM < 0 || w.PPM > PPM {
			p.add(fmt.Sprintf("weights[%d].ppm", i), "%d is not between 0 and %d", w.PPM, PPM)
			sane = false
			continue
		}
		sum += w.PPM
	}
	if sane && sum != PPM {
		p.add("weights", "weights sum to %d ppm; they must sum to exactly %d (off by %+d)", sum, PPM, sum-PPM)
	}
}

func (o Overlay) validate(p problems, c FlagConfig, f Flag) {
	p.variant("treatment", o.Treatment, f)
	p.variant("control", o.Control, f)
	if o.Unit != "" {
		p.attribute("unit", o.Unit)
	}
	if o.PPM < 0 || o.PPM > PPM {
		p.add("ppm", "%d is not between 0 and %d", o.PPM, PPM)
	}
	if _, at := c.Rule(o.Where); o.Where != WhereDefault && at < 0 {
		p.add("where", "%s is neither \"default\" nor a rule's id", quote(o.Where))
	}
}

// Serve returns what stands at a place of the configuration, which is
// [WhereDefault] or a rule's id.
func (c FlagConfig) Serve(where string) (Serve, bool) {
	if where == WhereDefault {
		return c.Default, true
	}
	r, at := c.Rule(where)
	return r.Serve, at >= 0
}

func (p problems) variant(field, name string, f Flag) {
	if _, ok := f.Variants[name]; !ok {
		p.add(field, "%s is not one of the variants of %s", quote(name), quote(f.Key))
	}
}
