package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/flyballdev/flyball"
)

// FlagIn names a flag in an environment, and why what it serves changes.
type FlagIn struct {
	Key         string `json:"key" doc:"the flag's key"`
	Environment string `json:"environment" doc:"where" example:"production"`
	IfVersion   int64  `json:"ifVersion,omitempty" doc:"the version of this flag's configuration that you read; a newer one is a conflict"`
	Reason      string `json:"reason" doc:"why it changes"`
}

// Configured is what an environment serves for a flag after a change.
type Configured struct {
	ConfigView
	Environment    string `json:"environment"`
	RulesetVersion int64  `json:"rulesetVersion" doc:"the version in force"`
	Changed        bool   `json:"changed" doc:"false if everything was so already"`
}

// configure changes what one environment serves for one flag.
func (s *Service) configure(ctx context.Context, action string, in FlagIn, alter func(*edit, flyball.Flag, *flyball.FlagConfig) error) (Configured, error) {
	view := Configured{Environment: in.Environment}
	out, err := s.change(ctx, changeOf{
		access: Write, action: action, subject: in.Key, flag: in.Key, reason: in.Reason,
		apply: func(e *edit) (err error) {
			if err = e.configure(in, alter); err != nil {
				return err
			}
			view.FlagConfig, view.Version, err = e.config(in.Environment, in.Key)
			view.RulesetVersion = e.nextVersion(in.Environment) - 1
			return err
		},
	})
	if err != nil {
		return Configured{}, err
	}
	if version, ok := out.Versions[in.Environment]; ok {
		view.Version, view.RulesetVersion = version, version
	}
	view.Changed = out.Changed
	return view, nil
}

func (e *edit) configure(in FlagIn, alter func(*edit, flyball.Flag, *flyball.FlagConfig) error) error {
	f, err := e.flag(in.Key)
	if err != nil {
		return err
	}
	c, version, err := e.config(in.Environment, in.Key)
	if err != nil {
		return err
	}
	if in.IfVersion != 0 && in.IfVersion != version {
		return stale(fmt.Sprintf("the configuration of %s in %s", in.Key, in.Environment), in.IfVersion, version)
	}
	before := c
	c.Rules, c.Prerequisites = slices.Clone(c.Rules), slices.Clone(c.Prerequisites)
	if err := alter(e, f.Flag, &c); err != nil {
		return err
	}
	if err := keepsRollout(before, c); err != nil {
		return err
	}
	if err := c.Validate(f.Flag); err != nil {
		return err
	}
	return e.putConfig(in.Environment, c)
}

// keepsRollout refuses an edit of the serve that a live rollout stands in for.
func keepsRollout(before, after flyball.FlagConfig) error {
	o := before.Rollout
	if o == nil || after.Rollout == nil {
		return nil
	}
	was, _ := before.Serve(o.Where)
	is, ok := after.Serve(o.Where)
	if ok && sameServe(was, is) {
		return nil
	}
	return flyball.Errorf(flyball.Conflict, "a live rollout stands in for %s: end it first (flyball rollout abort %s)", o.Where, o.ID).With("rollout", o.ID)
}

func sameServe(a, b flyball.Serve) bool {
	if a.Variant != b.Variant || (a.Split == nil) != (b.Split == nil) {
		return false
	}
	return a.Split == nil || a.Split.By == b.Split.By && slices.Equal(a.Split.Weights, b.Split.Weights)
}

// KillFlag serves the safe variant to everybody, at once, until a person
// resumes the flag. It ends a live rollout. It is a retreat: it waits for
// nobody.
func (s *Service) KillFlag(ctx context.Context, in FlagIn) (Configured, error) {
	return s.configure(ctx, "flag.kill", in, func(e *edit, f flyball.Flag, c *flyball.FlagConfig) error {
		if c.Killed != nil && (c.Killed.By.Kind() != "agent" || e.principal.Kind == flyball.TokenAgent) {
			return nil
		} // a person's word is kept beside an agent's: then no agent lifts the kill
		c.Killed = &flyball.Kill{At: e.at, By: e.principal.ID, Reason: in.Reason}
		return e.endRollout(c, "the flag was killed: "+in.Reason)
	})
}

// ResumeFlag lifts a kill, and only that: no rollout comes back.
func (s *Service) ResumeFlag(ctx context.Context, in FlagIn) (Configured, error) {
	return s.configure(ctx, "flag.resume", in, func(_ *edit, _ flyball.Flag, c *flyball.FlagConfig) error {
		c.Killed = nil
		return nil
	})
}

// EnableFlag makes rules and default apply.
func (s *Service) EnableFlag(ctx context.Context, in FlagIn) (Configured, error) {
	return s.configure(ctx, "flag.enable", in, func(_ *edit, _ flyball.Flag, c *flyball.FlagConfig) error {
		c.Enabled = true
		return nil
	})
}

// DisableFlag serves the off variant to everybody. It ends a live rollout.
func (s *Service) DisableFlag(ctx context.Context, in FlagIn) (Configured, error) {
	return s.configure(ctx, "flag.disable", in, func(e *edit, _ flyball.Flag, c *flyball.FlagConfig) error {
		c.Enabled = false
		return e.endRollout(c, "the flag was disabled: "+in.Reason)
	})
}

// SetDefault says what is served when no rule matches.
type SetDefault struct {
	FlagIn
	Default flyball.Serve `json:"default" doc:"a variant or a split"`
}

// SetDefault changes what is served when no rule matches.
func (s *Service) SetDefault(ctx context.Context, in SetDefault) (Configured, error) {
	return s.configure(ctx, "flag.default", in.FlagIn, func(_ *edit, _ flyball.Flag, c *flyball.FlagConfig) error {
		c.Default = in.Default
		return nil
	})
}

// Config is the part of a configuration that people write.
type Config struct {
	Enabled       bool                   `json:"enabled" doc:"whether rules and default apply"`
	OffVariant    string                 `json:"offVariant,omitempty" doc:"served while not enabled (default: the safe variant)"`
	Prerequisites []flyball.Prerequisite `json:"prerequisites,omitempty" doc:"flags that must serve a given variant first"`
	Rules         []flyball.Rule         `json:"rules,omitempty" doc:"in order; the first that matches wins"`
	Default       flyball.Serve          `json:"default" doc:"what is served when no rule matches"`
}

func configOf(c flyball.FlagConfig) Config {
	return Config{Enabled: c.Enabled, OffVariant: c.OffVariant, Prerequisites: c.Prerequisites, Rules: c.Rules, Default: c.Default}
}

func (in Config) into(c *flyball.FlagConfig, f flyball.Flag) {
	c.Enabled, c.Prerequisites, c.Rules, c.Default = in.Enabled, in.Prerequisites, in.Rules, in.Default
	if c.OffVariant = in.OffVariant; c.OffVariant == "" {
		c.OffVariant = f.SafeVariant
	}
}

// SetConfig says all that an environment is to serve for a flag.
type SetConfig struct {
	FlagIn
	Config
}

// SetConfig replaces what an environment serves for a flag, all at once. Kills
// and rollouts are not touched, save that disabling ends a live rollout.
func (s *Service) SetConfig(ctx context.Context, in SetConfig) (Configured, error) {
	return s.configure(ctx, "flag.configure", in.FlagIn, func(e *edit, f flyball.Flag, c *flyball.FlagConfig) error {
		in.Config.into(c, f)
		if !c.Enabled {
			return e.endRollout(c, "the flag was disabled: "+in.Reason)
		}
		return nil
	})
}

// FlagAt names a flag in an environment.
type FlagAt struct {
	Key         string `json:"key" doc:"the flag's key"`
	Environment string `json:"environment" doc:"where" example:"production"`
}

// Rules are a flag's rules in an environment, in order.
type Rules struct {
	Rules   []flyball.Rule `json:"rules"`
	Version int64          `json:"version" doc:"the ruleset version that last changed the flag's configuration"`
}

// ListRules lists a flag's rules in an environment, in order.
func (s *Service) ListRules(ctx context.Context, in FlagAt) (Rules, error) {
	f, err := s.Flag(ctx, FlagKey{Key: in.Key})
	if err != nil {
		return Rules{}, err
	}
	c, ok := f.Environments[in.Environment]
	if !ok {
		return Rules{}, flyball.Errorf(flyball.NotFound, "there is no environment %q", in.Environment)
	}
	return Rules{Rules: append([]flyball.Rule{}, c.Rules...), Version: c.Version}, nil
}

// AddRule is a rule that is to be added.
type AddRule struct {
	FlagIn
	Rule   flyball.Rule `json:"rule" doc:"its id, its condition, what it serves, and its dates"`
	Before string       `json:"before,omitempty" doc:"the id of the rule that it is to stand before (default: last)"`
}

// AddRule adds a rule; the first that matches wins.
func (s *Service) AddRule(ctx context.Context, in AddRule) (Configured, error) {
	at := -1
	out, err := s.configure(ctx, "rule.add", in.FlagIn, func(_ *edit, _ flyball.Flag, c *flyball.FlagConfig) error {
		place, err := insertRule(c, in.Rule, in.Before)
		at = place
		return err
	})
	return out, asWritten(err, at)
}

// asWritten leads the fields of err's problems with the one rule that the
// caller wrote, in place of its place among all rules.
func asWritten(err error, at int) error {
	problems := flyball.Problems(err)
	if len(problems) == 0 {
		return err
	}
	errs := make([]error, len(problems))
	for i, p := range problems {
		if field, ok := strings.CutPrefix(p.Field, fmt.Sprintf("rules[%d].", at)); ok {
			p = &flyball.Error{Code: p.Code, Field: "rule." + field, Message: p.Message, Details: p.Details}
		}
		errs[i] = p
	}
	return errors.Join(errs...)
}

// insertRule adds a rule and returns its place.
func insertRule(c *flyball.FlagConfig, r flyball.Rule, before string) (at int, err error) {
	at = len(c.Rules)
	if before != "" {
		if _, at = c.Rule(before); at < 0 {
			return at, noRule("before", before, *c)
		}
	}
	c.Rules = slices.Insert(c.Rules, at, r)
	return at, nil
}

func noRule(field, id string, c flyball.FlagConfig) error {
	var ids []string
	for _, r := range c.Rules {
		ids = append(ids, r.ID)
	}
	err := flyball.Errorf(flyball.NotFound, "there is no rule %q; the rules are %q", id, ids)
	err.Field = field
	return err
}

// UpdateRule is a rule as it is to be, save for its id, which stays.
type UpdateRule struct {
	FlagIn
	ID   string       `json:"id" doc:"the rule's id"`
	Rule flyball.Rule `json:"rule" doc:"all of it; its id stays"`
}

// UpdateRule replaces a rule in its place.
func (s *Service) UpdateRule(ctx context.Context, in UpdateRule) (Configured, error) {
	var at int
	out, err := s.configure(ctx, "rule.update", in.FlagIn, func(_ *edit, _ flyball.Flag, c *flyball.FlagConfig) error {
		if _, at = c.Rule(in.ID); at < 0 {
			return noRule("id", in.ID, *c)
		}
		if in.Rule.ID != in.ID {
			return flyball.FieldErrorf("rule.id", "%q stays the rule's id, by which its resolutions are known: to have %q, add that rule and remove this one", in.ID, in.Rule.ID)
		}
		c.Rules[at] = in.Rule
		return nil
	})
	return out, asWritten(err, at)
}

// MoveRule says where a rule is to stand.
type MoveRule struct {
	FlagIn
	ID     string `json:"id" doc:"the rule's id"`
	Before string `json:"before,omitempty" doc:"the id of the rule that it is to stand before (default: last)"`
}

// MoveRule changes a rule's place in the order.
func (s *Service) MoveRule(ctx context.Context, in MoveRule) (Configured, error) {
	return s.configure(ctx, "rule.move", in.FlagIn, func(_ *edit, _ flyball.Flag, c *flyball.FlagConfig) error {
		r, at := c.Rule(in.ID)
		if at < 0 {
			return noRule("id", in.ID, *c)
		}
		c.Rules = slices.Delete(c.Rules, at, at+1)
		_, err := insertRule(c, r, in.Before)
		return err
	})
}

// RemoveRule names a rule that is to go.
type RemoveRule struct {
	FlagIn
	ID string `json:"id" doc:"the rule's id"`
}

// RemoveRule takes a rule away.
func (s *Service) RemoveRule(ctx context.Context, in RemoveRule) (Configured, error) {
	return s.configure(ctx, "rule.remove", in.FlagIn, func(_ *edit, _ flyball.Flag, c *flyball.FlagConfig) error {
		_, at := c.Rule(in.ID)
		if at < 0 {
			return noRule("id", in.ID, *c)
		}
		c.Rules = slices.Delete(c.Rules, at, at+1)
		return nil
	})
}
