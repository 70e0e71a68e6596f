package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// Files is a configuration as people keep it in a repository: one file a flag,
// a segment, a metric. Kills and rollouts are not in it.
type Files struct {
	Teams    []flyball.Team    `json:"teams,omitempty"`
	Segments []flyball.Segment `json:"segments,omitempty"`
	Metrics  []flyball.Metric  `json:"metrics,omitempty"`
	Flags    []FlagFile        `json:"flags,omitempty"`
}

// A FlagFile is a flag and what environments serve for it.
type FlagFile struct {
	flyball.Flag
	Environments map[string]FileConfig `json:"environments,omitempty" doc:"by environment; one that is not named is left alone"`
}

// A FileConfig is what an environment serves for a flag.
type FileConfig struct {
	Config
	Seed string `json:"seed,omitempty" doc:"for a flag that is new there; immutable afterwards"`
}

// Apply is a set of files that is to become true.
type Apply struct {
	Files
	Reason string `json:"reason" doc:"why"`
}

// Applied tells what applying files changed.
type Applied struct {
	Outcome
	Edits []flyball.Edit `json:"edits" doc:"each noun before and after"`
}

// ApplyFiles creates and updates what the files name, all of it or nothing.
// What they do not name is left alone.
func (s *Service) ApplyFiles(ctx context.Context, in Apply) (Applied, error) {
	files, err := in.Files.normal()
	if err != nil {
		return Applied{}, err
	}
	p, err := principalOf(ctx)
	if err != nil {
		return Applied{}, err
	}
	out, err := s.change(ctx, changeOf{
		access: Write, action: "apply", subject: "files", reason: in.Reason,
		apply: func(e *edit) error { return e.applyFiles(files, p) },
	})
	if out.Edits == nil {
		out.Edits = []flyball.Edit{}
	}
	return Applied{Outcome: out, Edits: out.Edits}, err
}

// normal fills in defaults and reports every problem of the files at once.
func (f Files) normal() (Files, error) {
	var errs []error
	check := func(noun, key string, err error) {
		for _, p := range flyball.Problems(err) {
			errs = append(errs, &flyball.Error{Code: p.Code, Field: fmt.Sprintf("%s[%q].%s", noun, key, p.Field), Message: p.Message})
		}
	}
	out := Files{Teams: f.Teams, Segments: f.Segments}
	for _, t := range f.Teams {
		check("teams", t.Key, t.Validate())
	}
	for _, s := range f.Segments {
		check("segments", s.Key, s.Validate())
	}
	for _, m := range f.Metrics {
		m = m.WithDefaults()
		check("metrics", m.Key, m.Validate())
		out.Metrics = append(out.Metrics, m)
	}
	for _, flag := range f.Flags {
		flag.Flag = flag.WithDefaults()
		check("flags", flag.Key, flag.Validate())
		out.Flags = append(out.Flags, flag)
	}
	return out, errors.Join(errs...)
}

func (e *edit) applyFiles(files Files, p Principal) error {
	for _, t := range files.Teams {
		if err := e.putTeam(t, 0); err != nil {
			return err
		}
	}
	for _, seg := range files.Segments {
		if err := e.putSegment(seg, 0); err != nil {
			return within("segments", seg.Key, err)
		}
	}
	for _, m := range files.Metrics {
		if err := e.putMetric(m, 0); err != nil {
			return within("metrics", m.Key, err)
		}
	}
	for _, f := range files.Flags {
		if err := p.may(f.Key); err != nil {
			return err
		}
		if err := e.applyFlag(f); err != nil {
			return within("flags", f.Key, err)
		}
	}
	return nil
}

// within leads the fields of err's problems with the noun that they belong to.
func within(noun, key string, err error) error {
	problems := flyball.Problems(err)
	if len(problems) == 0 {
		return err
	}
	var errs []error
	for _, p := range problems {
		at := fmt.Sprintf("%s[%q]", noun, key)
		if p.Field != "" {
			at += "." + p.Field
		}
		errs = append(errs, &flyball.Error{Code: p.Code, Field: at, Message: p.Message, Details: p.Details})
	}
	return errors.Join(errs...)
}

func (e *edit) applyFlag(f FlagFile) error {
	old, err := e.tx.Flag(f.Key)
	switch {
	case flyball.CodeOf(err) == flyball.NotFound:
		err = e.insertFlag(f.Flag)
	case err == nil && old.ArchivedAt != nil:
		err = archived(old)
	case err == nil:
		err = e.updateFlag(f.Flag, 0)
	}
	if err != nil {
		return err
	}
	for _, env := range slices.Sorted(maps.Keys(f.Environments)) {
		if err := e.applyConfig(env, f, f.Environments[env]); err != nil {
			return within("environments", env, err)
		}
	}
	return nil
}

func (e *edit) applyConfig(env string, f FlagFile, file FileConfig) error {
	c, _, err := e.config(env, f.Key)
	if err != nil {
		return err
	}
	before := c
	file.into(&c, f.Flag)
	if file.Seed != "" && file.Seed != c.Seed {
		if !e.rulesets[env].inserted[f.Key] {
			return flyball.FieldErrorf("seed", "a seed is set once, at creation; here it is %q", c.Seed)
		}
		c.Seed = file.Seed
	}
	if !c.Enabled {
		if err := e.endRollout(&c, "the flag was disabled: "+e.change.reason); err != nil {
			return err
		}
	}
	if err := keepsRollout(before, c); err != nil {
		return err
	}
	if err := c.Validate(f.Flag); err != nil {
		return err
	}
	return e.putConfig(env, c)
}

// ExportFiles returns the whole configuration as files; applying them changes
// nothing.
func (s *Service) ExportFiles(ctx context.Context, _ None) (Files, error) {
	var out Files
	p, err := principalOf(ctx)
	if err != nil {
		return out, err
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		teams, err := tx.Teams()
		if err != nil {
			return err
		}
		for _, r := range teams {
			out.Teams = append(out.Teams, r.Team)
		}
		segments, err := tx.Segments()
		if err != nil {
			return err
		}
		for _, r := range segments {
			out.Segments = append(out.Segments, r.Segment)
		}
		metrics, err := tx.Metrics()
		if err != nil {
			return err
		}
		for _, r := range metrics {
			out.Metrics = append(out.Metrics, r.Metric)
		}
		flags, err := tx.Flags()
		if err != nil {
			return err
		}
		var views []FlagView
		for _, f := range flags {
			if p.may(f.Key) == nil {
				views = append(views, viewFlag(f))
			}
		}
		if err := s.addConfigs(tx, views); err != nil {
			return err
		}
		for _, v := range views {
			out.Flags = append(out.Flags, exportFlag(v))
		}
		return nil
	})
	slices.SortFunc(out.Flags, func(a, b FlagFile) int { return strings.Compare(a.Key, b.Key) })
	return out, err
}

func exportFlag(v FlagView) FlagFile {
	f := FlagFile{Flag: v.Flag, Environments: map[string]FileConfig{}}
	for env, c := range v.Environments {
		file := FileConfig{Config: configOf(c.FlagConfig)}
		if c.Seed != v.Key { // the usual one goes without saying
			file.Seed = c.Seed
		}
		f.Environments[env] = file
	}
	return f
}
