package flyball

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxFlags is how many flags one environment serves.
const MaxFlags = 10_000

// An Environment is a place where code runs, with its own configuration of
// every flag. In a protected one, changes wait for approval by their risk.
type Environment struct {
	Key       string `json:"key" example:"production"`
	Protected bool   `json:"protected" doc:"whether approvals apply"`
	Version   int64  `json:"version,omitempty" doc:"the version of the ruleset in force; rises by one with each change"`
	Revision  int64  `json:"revision,omitempty" doc:"how often the environment itself was written; the version is of what it serves"`
	// SampleAttributes are the only attributes of contexts that leave programs.
	SampleAttributes []string `json:"sampleAttributes,omitempty" doc:"attributes of contexts that programs tell, so that the effect of changes can be previewed; no other leaves them" example:"[\"country\",\"plan\"]"`
}

// MaxSampleAttributes is how many attributes of contexts an environment samples.
const MaxSampleAttributes = 32

// Validate reports every problem of the environment at once.
func (e Environment) Validate() error {
	p := newProblems()
	p.key("key", e.Key)
	if n := len(e.SampleAttributes); n > MaxSampleAttributes {
		p.add("sampleAttributes", "%d attributes, at most %d", n, MaxSampleAttributes)
	}
	for i, name := range e.SampleAttributes {
		at := fmt.Sprintf("sampleAttributes[%d]", i)
		switch {
		case name == "" || len(name) > MaxSampledName || strings.ContainsAny(name, ".\x00"):
			p.add(at, "is the name of an attribute, 1 to %d bytes without a dot; of a nested one name the outermost", MaxSampledName)
		case name == AttributeTargetingKey:
			p.add(at, "units are sampled anyway, and never shown")
		case slices.Contains(e.SampleAttributes[:i], name):
			p.add(at, "%s occurs twice", quote(name))
		}
	}
	return p.err()
}

// MaxSampledName is how many bytes the name of a sampled attribute has at most.
const MaxSampledName = 128

// A Team owns flags.
type Team struct {
	Key     string `json:"key" example:"payments-team"`
	Name    string `json:"name,omitempty" doc:"what people call it"`
	Contact string `json:"contact,omitempty" doc:"where to reach the team"`
}

// Validate reports every problem of the team at once.
func (t Team) Validate() error {
	p := newProblems()
	p.key("key", t.Key)
	p.text("name", t.Name)
	p.text("contact", t.Contact)
	return p.err()
}

// A Ruleset is all that one environment serves, at one version: what servers
// publish and evaluators compile. An evaluator accepts (epoch, version) only
// if it is larger than the one it has; the epoch is the generation of the
// database, raised by a restore or a failover.
type Ruleset struct {
	Environment string        `json:"environment"`
	Epoch       int64         `json:"epoch"`
	Version     int64         `json:"version"`
	Flags       []RulesetFlag `json:"flags"`    // by key
	Segments    []Segment     `json:"segments"` // by key
}

// A RulesetFlag is a flag and its configuration, as an evaluator needs them.
type RulesetFlag struct {
	Key           string   `json:"key"`
	Type          FlagType `json:"type"`
	Variants      Variants `json:"variants"`
	SafeVariant   string   `json:"safeVariant"`
	ClientVisible bool     `json:"clientVisible,omitempty"`
	FlagConfig
}

// NewRulesetFlag joins a flag and its configuration.
func NewRulesetFlag(f Flag, c FlagConfig) RulesetFlag {
	return RulesetFlag{
		Key: f.Key, Type: f.Type, Variants: f.Variants, SafeVariant: f.SafeVariant,
		ClientVisible: f.ClientVisible, FlagConfig: c,
	}
}

// Validate reports every problem of the flag's definition at once, save for
// references to others, which [Ruleset.Validate] checks.
func (f RulesetFlag) Validate() error {
	p := newProblems()
	f.validate(p)
	return p.err()
}

func (f RulesetFlag) validate(p problems) {
	p.key("key", f.Key)
	flag := Flag{Key: f.Key, Type: f.Type, Variants: f.Variants, SafeVariant: f.SafeVariant}
	flag.validateVariants(p)
	f.FlagConfig.validate(p, flag)
}

// Validate reports every problem of the ruleset at once, those of its flags
// led by flags["key"], and every reference to a flag, a variant or a segment
// that is not there, and every cycle of prerequisites.
func (rs Ruleset) Validate() error {
	p := newProblems()
	if len(rs.Flags) > MaxFlags {
		p.add("flags", "%d flags, at most %d", len(rs.Flags), MaxFlags)
		return p.err()
	}
	flags, segments := make(map[string]*RulesetFlag, len(rs.Flags)), make(map[string]*Segment, len(rs.Segments))
	segmentKeys, flagKeys := make([]string, 0, len(rs.Segments)), make([]string, 0, len(rs.Flags))
	for i := range rs.Segments {
		s := &rs.Segments[i]
		if segments[s.Key] != nil {
			p.add(fmt.Sprintf("segments[%d].key", i), "%s occurs twice", quote(s.Key))
		}
		segments[s.Key] = s
		segmentKeys = append(segmentKeys, s.Key)
		for _, e := range Problems(s.Validate()) {
			p.at("segments[%q]", s.Key).add(e.Field, "%s", e.Message)
		}
	}
	for i := range rs.Flags {
		f := &rs.Flags[i]
		if flags[f.Key] != nil {
			p.add(fmt.Sprintf("flags[%d].key", i), "%s occurs twice", quote(f.Key))
		}
		flags[f.Key] = f
		flagKeys = append(flagKeys, f.Key)
		f.validate(p.at("flags[%q]", f.Key))
	}
	rs.references(p, flags, segments)
	cycles(p, "segments[%q].if", segmentKeys, func(key string) []string { return segments[key].uses() })
	cycles(p, "flags[%q].prerequisites", flagKeys, func(key string) (needs []string) {
		for _, q := range flags[key].Prerequisites {
			if q.Flag != flags[key].Flag { // told already
				needs = append(needs, q.Flag)
			}
		}
		return needs
	})
	return p.err()
}

// references adds a problem for each name of something that is not there.
func (rs Ruleset) references(p problems, flags map[string]*RulesetFlag, segments map[string]*Segment) {
	for _, s := range rs.Segments {
		for _, other := range s.uses() {
			if segments[other] == nil {
				p.at("segments[%q]", s.Key).add("if", "there is no segment %s", quote(other))
			}
		}
	}
	for _, f := range rs.Flags {
		f.references(p.at("flags[%q]", f.Key), flags, segments)
	}
}

func (f RulesetFlag) references(p problems, flags map[string]*RulesetFlag, segments map[string]*Segment) {
	for i, q := range f.Prerequisites {
		at := fmt.Sprintf("prerequisites[%d]", i)
		other := flags[q.Flag]
		if other == nil {
			p.add(at+".flag", "there is no flag %s", quote(q.Flag))
		} else if _, ok := other.Variants[q.Variant]; !ok {
			p.add(at+".variant", "%s is not one of the variants of %s", quote(q.Variant), quote(q.Flag))
		}
	}
	for i, r := range f.Rules {
		for _, s := range r.If.Segments(nil) {
			if segments[s] == nil {
				p.add(fmt.Sprintf("rules[%d].if", i), "there is no segment %s", quote(s))
			}
		}
	}
}

// cycles adds a problem for each noun that, through others, needs itself.
// needs lists what each key needs; what does not exist is told elsewhere.
func cycles(p problems, field string, keys []string, needs func(key string) []string) {
	const known, visiting, done = 1, 2, 3
	state := make(map[string]int, len(keys))
	for _, key := range keys {
		state[key] = known
	}
	var visit func(key string, path []string)
	visit = func(key string, path []string) {
		switch state[key] {
		case known:
		case visiting:
			cycle := append(path[slices.Index(path, key):], key)
			p.add(fmt.Sprintf(field, path[len(path)-1]), "a cycle: %s", strings.Join(cycle, " needs "))
			return
		default:
			return
		}
		state[key] = visiting
		for _, next := range needs(key) {
			visit(next, append(path, key))
		}
		state[key] = done
	}
	for _, key := range keys {
		visit(key, nil)
	}
}

// About returns those of err's problems that concern one flag of a ruleset,
// their fields relative to it, and all others unchanged, so that a person who
// edits one flag reads the fields that they wrote.
func About(flag string, err error) error {
	var errs []error
	for _, e := range Problems(err) {
		if field, ok := strings.CutPrefix(e.Field, fmt.Sprintf("flags[%q].", flag)); ok {
			e = &Error{Code: e.Code, Field: field, Message: e.Message, Details: e.Details}
		}
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}
