package service

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// maxCatchUp is how many versions are caught up with one by one.
const maxCatchUp = 100

// catchUp leads a ruleset on to a version that another node has made, by what
// the audit log says of it and of those between. It returns nil where that does
// not lead to the very ruleset whose digest stands there; then all of it is to be
// loaded.
func catchUp(tx *store.Tx, head *Published, to flyball.RulesetID) *encoded {
	if head == nil || head.ID().Epoch != to.Epoch || to.Version-head.ID().Version > maxCatchUp {
		return nil
	}
	entries, err := tx.Versions(head.environment, head.ID().Version)
	if err != nil || len(entries) == 0 || entries[len(entries)-1].Version != to.Version {
		return nil
	}
	e := &edit{tx: tx, flags: map[string]*flyball.Flag{}, segments: map[string]bool{}}
	r := &rulesetEdit{version: to.Version - 1, before: head.encoded}
	for _, entry := range entries {
		for _, made := range entry.Edits {
			if err := e.repeat(r, made); err != nil {
				return nil
			}
		}
	}
	if err := e.assemble(head.environment, r); err != nil || r.after.digest != entries[len(entries)-1].AfterHash {
		return nil
	}
	if r.after.compiled, err = r.compile(); err != nil {
		return nil
	}
	return r.after
}

// repeat stages an edit that was made elsewhere.
func (e *edit) repeat(r *rulesetEdit, made flyball.Edit) error {
	switch made.Noun {
	case "segment":
		e.segments[made.Key] = true
	case "flag":
		if len(made.After) == 0 {
			e.flags[made.Key] = nil
			return nil
		}
		var f flyball.Flag
		e.flags[made.Key] = &f
		return json.Unmarshal(made.After, &f)
	case "config":
		var c flyball.FlagConfig
		if made.Environment != r.before.environment {
			return fmt.Errorf("an edit of %q in the history of %q", made.Environment, r.before.environment)
		}
		if err := json.Unmarshal(made.After, &c); err != nil {
			return err
		}
		r.configs = slices.DeleteFunc(r.configs, func(o flyball.FlagConfig) bool { return o.Flag == c.Flag })
		r.configs = append(r.configs, c)
	}
	return nil
}
