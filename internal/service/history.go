package service

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/store"
)

// rulesetAt makes anew, from the audit log alone, what an environment served
// after an entry, and returns the entry that made it. It is the very ruleset
// whose digest stands there, or an error.
func rulesetAt(tx *store.Tx, environment string, seq int64) (*eval.Ruleset, *flyball.AuditEntry, error) {
	made, err := tx.VersionUpTo(environment, seq)
	if err != nil {
		return nil, nil, err
	}
	if made == nil {
		return nil, nil, flyball.Errorf(flyball.NotFound, "nothing was served in %q then", environment)
	}
	doc, err := documentAt(tx, environment, seq)
	if err != nil {
		return nil, nil, err
	}
	doc.Version = made.Version
	whole, err := encode(doc)
	if err != nil {
		return nil, nil, err
	}
	if whole.digest != made.AfterHash {
		return nil, nil, flyball.Errorf(flyball.Conflict, "the audit log does not lead to version %d of %q, whose digest it holds: see \"flyball audit verify\"", made.Version, environment)
	}
	compiled, err := eval.Compile(doc)
	return compiled, made, err
}

// documentAt gathers the last edits, up to an entry, of all that is served.
func documentAt(tx *store.Tx, environment string, seq int64) (doc flyball.Ruleset, err error) {
	doc = flyball.Ruleset{Environment: environment, Flags: []flyball.RulesetFlag{}}
	if doc.Epoch, err = tx.Epoch(); err != nil {
		return doc, err
	}
	flags := map[string]flyball.Flag{}
	err = tx.EachLastEdit("flag", "", seq, func(e flyball.Edit) error {
		if len(e.After) == 0 { // archived
			return nil
		}
		var f flyball.Flag
		err := json.Unmarshal(e.After, &f)
		flags[f.Key] = f
		return err
	})
	if err != nil {
		return doc, err
	}
	err = tx.EachLastEdit("config", environment, seq, func(e flyball.Edit) error {
		f, ok := flags[e.Key]
		if !ok || len(e.After) == 0 {
			return nil
		}
		var c flyball.FlagConfig
		err := json.Unmarshal(e.After, &c)
		doc.Flags = append(doc.Flags, flyball.NewRulesetFlag(f, c))
		return err
	})
	if err != nil {
		return doc, err
	}
	var all []flyball.Segment
	err = tx.EachLastEdit("segment", "", seq, func(e flyball.Edit) error {
		var s flyball.Segment
		err := json.Unmarshal(e.After, &s)
		all = append(all, s)
		return err
	})
	slices.SortFunc(doc.Flags, func(a, b flyball.RulesetFlag) int { return cmp.Compare(a.Key, b.Key) })
	slices.SortFunc(all, func(a, b flyball.Segment) int { return cmp.Compare(a.Key, b.Key) })
	doc.Segments = usedSegments(doc.Flags, all)
	return doc, err
}

// flagAt returns a flag with what each environment served for it at a time, by
// the audit log.
func flagAt(tx *store.Tx, key string, at time.Time) (out FlagView, err error) {
	seq, err := tx.AuditAt(at)
	if err != nil {
		return out, err
	}
	edited, err := tx.Edited("flag", "", key, seq)
	if err != nil {
		return out, err
	}
	if edited == nil {
		return out, flyball.Errorf(flyball.NotFound, "there was no flag %q at %s", key, at.UTC().Format(time.RFC3339))
	}
	record := store.FlagRecord{}
	body, archived := editOf(edited, "flag", "", key)
	if err := json.Unmarshal(body, &record.Flag); err != nil {
		return out, err
	}
	made, err := tx.Made("flag", "", key)
	if err != nil {
		return out, err
	}
	record.CreatedAt, record.CreatedBy = made.At, made.Actor.ID
	if record.Revision, err = tx.Edits("flag", "", key, seq); err != nil {
		return out, err
	}
	if archived {
		record.ArchivedAt, record.ArchivedBy, record.ArchivedWhy = &edited.At, edited.Actor.ID, edited.Reason
	}
	out = viewFlag(record)
	out.Environments, err = configsAt(tx, key, seq)
	return out, err
}

// editOf returns a noun as an entry left it; one that it took away, as it was
// before.
func editOf(entry *flyball.AuditEntry, noun, environment, key string) (body json.RawMessage, gone bool) {
	for _, e := range entry.Edits {
		if e.Noun != noun || e.Environment != environment || e.Key != key {
			continue
		}
		if len(e.After) == 0 {
			return e.Before, true
		}
		return e.After, false
	}
	return nil, true
}

func configsAt(tx *store.Tx, key string, seq int64) (map[string]ConfigView, error) {
	all := map[string]ConfigView{}
	environments, err := tx.Environments()
	if err != nil {
		return nil, err
	}
	for _, env := range environments {
		entry, err := tx.Edited("config", env.Key, key, seq)
		if err != nil {
			return nil, err
		}
		if entry == nil {
			continue
		}
		c := ConfigView{Version: entry.Version}
		body, _ := editOf(entry, "config", env.Key, key)
		if err := json.Unmarshal(body, &c.FlagConfig); err != nil {
			return nil, err
		}
		all[env.Key] = c
	}
	return all, nil
}

// ExplainFlag asks what a flag served to a unit at a time, and why.
type ExplainFlag struct {
	Key         string             `json:"key" doc:"the flag's key"`
	Environment string             `json:"environment" doc:"where" example:"production"`
	Unit        string             `json:"unit,omitempty" doc:"the targeting key, as a rule a user" example:"user-1"`
	Context     flyball.Attributes `json:"context,omitempty" doc:"further attributes" example:"{\"country\":\"CA\"}"`
	At          *flyball.Time      `json:"at,omitempty" doc:"when (default: now)" example:"2026-11-21T19:00:00Z"`
}

// An Explanation tells what a flag served, and everything that it came of.
type Explanation struct {
	Flag        string       `json:"flag"`
	Environment string       `json:"environment"`
	At          flyball.Time `json:"at"`
	flyball.Resolution
	Digest        string                `json:"digest" doc:"SHA-256 of the ruleset, as the audit log has it"`
	Killed        *flyball.Kill         `json:"killed,omitempty" doc:"set if the flag was killed"`
	Enabled       bool                  `json:"enabled" doc:"whether rules and default applied"`
	Bucket        *Bucket               `json:"bucket,omitempty" doc:"where the unit fell, if a split or a rollout decided"`
	Overlay       *flyball.Overlay      `json:"overlay,omitempty" doc:"the rollout in force, with its step and its share"`
	Prerequisites []PrerequisiteOutcome `json:"prerequisites,omitempty"`
	Changed       Cause                 `json:"changed" doc:"what last changed the flag, or what is served for it"`
}

// A Bucket is where a unit falls on a flag's ring of one million points.
type Bucket struct {
	Unit  string `json:"unit"`
	Seed  string `json:"seed"`
	Point int    `json:"point"`
}

// A PrerequisiteOutcome is what a prerequisite wanted, and what was served.
type PrerequisiteOutcome struct {
	Flag   string `json:"flag"`
	Wants  string `json:"wants"`
	Serves string `json:"serves"`
	Holds  bool   `json:"holds"`
}

// A Cause is the change that something came of.
type Cause struct {
	Seq     int64         `json:"seq" doc:"the entry of the audit log"`
	At      time.Time     `json:"at"`
	Actor   flyball.Actor `json:"actor"`
	Action  string        `json:"action"`
	Reason  string        `json:"reason"`
	Version int64         `json:"version,omitempty" doc:"the ruleset version that it made"`
}

// ExplainFlag tells what a flag served to a unit at a time, and why: it makes
// the ruleset of that time anew from the audit log, and evaluates it as of then.
func (s *Service) ExplainFlag(ctx context.Context, in ExplainFlag) (out Explanation, err error) {
	p, err := principalOf(ctx)
	if err != nil {
		return out, err
	}
	if err := p.may(in.Key); err != nil {
		return out, err
	}
	ec, err := ContextOf(in.Context)
	if err != nil {
		return out, err
	}
	if in.Unit != "" {
		ec.TargetingKey = in.Unit
	}
	out = Explanation{Flag: in.Key, Environment: in.Environment, At: flyball.Time{Time: now()}}
	if in.At != nil {
		out.At = *in.At
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		if _, err := tx.Environment(in.Environment); err != nil {
			return err
		}
		seq, err := tx.AuditAt(out.At.Time)
		if err != nil {
			return err
		}
		rules, made, err := rulesetAt(tx, in.Environment, seq)
		if err != nil {
			return err
		}
		f := rules.Flag(in.Key)
		if f == nil {
			return flyball.Errorf(flyball.NotFound, "there was no flag %q in %s at %s", in.Key, in.Environment, out.At.UTC().Format(time.RFC3339))
		}
		out.Digest = made.AfterHash
		out.explain(rules, f, ec)
		out.Changed, err = causeOf(tx, in.Key, in.Environment, seq)
		return err
	})
	return out, err
}

// explain evaluates a flag, and tells what decided.
func (out *Explanation) explain(rules *eval.Ruleset, f *flyball.RulesetFlag, ec flyball.EvaluationContext) {
	clock := func() time.Time { return out.At.Time }
	out.Resolution = rules.Evaluate(f.Key, &ec, clock, nil)
	out.Killed, out.Enabled, out.Overlay = f.Killed, f.Enabled, f.Rollout
	out.Prerequisites = nil
	for _, q := range f.Prerequisites {
		serves := rules.Evaluate(q.Flag, &ec, clock, nil).Variant
		out.Prerequisites = append(out.Prerequisites, PrerequisiteOutcome{q.Flag, q.Variant, serves, serves == q.Variant})
	}
	if out.Reason != flyball.ReasonSplit {
		return
	}
	by := ""
	if out.Rollout != "" && f.Rollout != nil {
		by = f.Rollout.Unit
	} else if serve, _ := f.Serve(cmp.Or(out.Rule, flyball.WhereDefault)); serve.Split != nil {
		by = serve.Split.By
	}
	if unit, ok := eval.Unit(&ec, by); ok {
		out.Bucket = &Bucket{Unit: unit, Seed: f.Seed, Point: int(eval.Point(f.Seed, unit))}
	}
}

// causeOf returns the latest change, up to an entry, of a flag or of what is
// served for it.
func causeOf(tx *store.Tx, key, environment string, seq int64) (Cause, error) {
	flag, err := tx.Edited("flag", "", key, seq)
	if err != nil {
		return Cause{}, err
	}
	e, err := tx.Edited("config", environment, key, seq)
	if err != nil {
		return Cause{}, err
	}
	if e == nil || flag != nil && flag.Seq > e.Seq {
		e = flag
	}
	if e == nil {
		return Cause{}, nil
	}
	return Cause{Seq: e.Seq, At: e.At, Actor: e.Actor, Action: e.Action, Reason: e.Reason, Version: e.Version}, nil
}

// RevertFlag names a version that a flag's configuration is to go back to.
type RevertFlag struct {
	FlagIn
	To int64 `json:"to" minimum:"1" doc:"the ruleset version of the environment whose rules, default and state are to come back"`
}

// RevertFlag makes what people wrote of a flag's configuration what it was at a
// version of the environment's ruleset. It is a change like any other: kills
// and rollouts are not undone by it, and what the flag itself is stays.
func (s *Service) RevertFlag(ctx context.Context, in RevertFlag) (Configured, error) {
	return s.configure(ctx, "flag.revert", in.FlagIn, func(e *edit, f flyball.Flag, c *flyball.FlagConfig) error {
		then, err := e.configAt(in)
		if err != nil {
			return err
		}
		configOf(then).into(c, f)
		if !c.Enabled {
			return e.endRollout(c, "the flag was disabled: "+in.Reason)
		}
		return nil
	})
}

func (e *edit) configAt(in RevertFlag) (c flyball.FlagConfig, err error) {
	made, err := e.tx.VersionEntry(in.Environment, in.To)
	if err != nil {
		return c, err
	}
	if made == nil {
		none := flyball.Errorf(flyball.NotFound, "the ruleset of %q never had version %d; \"flyball audit list -e %s --subject %s\" tells those it had", in.Environment, in.To, in.Environment, in.Key)
		none.Field = "to"
		return c, none
	}
	edited, err := e.tx.Edited("config", in.Environment, in.Key, made.Seq)
	if err != nil {
		return c, err
	}
	if edited == nil {
		none := flyball.Errorf(flyball.NotFound, "there was no flag %q in %q at version %d", in.Key, in.Environment, in.To)
		none.Field = "to"
		return c, none
	}
	body, _ := editOf(edited, "config", in.Environment, in.Key)
	return c, json.Unmarshal(body, &c)
}
