package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// record notes what an edit did to one noun, and reports whether it did
// anything.
func (e *edit) record(noun, key, environment string, before, after any) (bool, error) {
	encode := func(v any) (json.RawMessage, error) {
		if v == nil {
			return nil, nil
		}
		return json.Marshal(v)
	}
	b, err := encode(before)
	if err != nil {
		return false, err
	}
	a, err := encode(after)
	if err != nil {
		return false, err
	}
	if bytes.Equal(a, b) {
		return false, nil
	}
	same := func(o flyball.Edit) bool { return o.Noun == noun && o.Key == key && o.Environment == environment }
	if i := slices.IndexFunc(e.edits, same); i >= 0 { // a second edit of one noun is told as one
		e.edits[i].After = a
		return true, nil
	}
	e.edits = append(e.edits, flyball.Edit{Noun: noun, Key: key, Environment: environment, Before: b, After: a})
	return true, nil
}

// stale is the answer to someone who edits what they have not read.
func stale(what string, read, current int64) error {
	return flyball.Errorf(flyball.Conflict, "%s is at version %d, not %d: read it again and repeat your change", what, current, read).With("version", current)
}

// flag returns a flag that is not archived.
func (e *edit) flag(key string) (store.FlagRecord, error) {
	f, err := e.tx.Flag(key)
	if err == nil && f.ArchivedAt != nil {
		return f, archived(f)
	}
	return f, err
}

func archived(f store.FlagRecord) error {
	return flyball.Errorf(flyball.Conflict, "%q was archived on %s by %s (%s); a key is never used again: choose another (flyball audit list --subject %s tells its history)",
		f.Key, f.ArchivedAt.Format("2006-01-02"), f.ArchivedBy, f.ArchivedWhy, f.Key).
		With("kind", f.Kind).With("createdAt", f.CreatedAt).With("createdBy", f.CreatedBy).
		With("archivedAt", f.ArchivedAt).With("archivedBy", f.ArchivedBy).With("archivedWhy", f.ArchivedWhy).With("description", f.Description).With("owner", f.Owner)
}

// insertFlag adds a flag, and what a new flag serves, to every environment.
func (e *edit) insertFlag(f flyball.Flag) error {
	if err := errors.Join(e.ownerExists(f.Owner), e.described(f)); err != nil {
		return err
	}
	if old, err := e.tx.Flag(f.Key); err == nil {
		if old.ArchivedAt != nil {
			return archived(old)
		}
		return flyball.Errorf(flyball.Conflict, "there is a flag %q already, made on %s", f.Key, old.CreatedAt.Format("2006-01-02")).With("version", old.Revision)
	} else if flyball.CodeOf(err) != flyball.NotFound {
		return err
	}
	if err := e.touchAll(); err != nil {
		return err
	}
	if err := e.tx.InsertFlag(f, e.principal.ID, e.at); err != nil {
		return err
	}
	e.flags[f.Key] = &f
	for _, env := range slices.Sorted(maps.Keys(e.rulesets)) {
		if err := e.insertConfig(env, flyball.NewFlagConfig(f)); err != nil {
			return err
		}
	}
	_, err := e.record("flag", f.Key, "", nil, f)
	return err
}

// described says whether a new flag says what it does, if the policy asks for
// that.
func (e *edit) described(f flyball.Flag) error {
	policy, err := policyOf(e.tx)
	if err != nil || !policy.Described || says(f.Description) {
		return err
	}
	return flyball.FieldErrorf("description", "say what the flag does, for someone who meets it in code: the policy asks for it")
}

func (e *edit) ownerExists(owner string) error {
	_, err := e.tx.Team(owner)
	if flyball.CodeOf(err) == flyball.NotFound {
		return flyball.FieldErrorf("owner", "there is no team %q: create it first with \"flyball team create %s\", or name another", owner, owner)
	}
	return err
}

// updateFlag writes a flag that was read at a revision; 0 is whatever is there.
func (e *edit) updateFlag(f flyball.Flag, read int64) error {
	old, err := e.flag(f.Key)
	if err != nil {
		return err
	}
	if read != 0 && read != old.Revision {
		return stale("flag "+f.Key, read, old.Revision)
	}
	if f.Type != old.Type {
		return flyball.FieldErrorf("type", "a flag keeps its type, here %s: code that reads it rests on that", old.Type)
	}
	if f.Owner != old.Owner {
		if err := e.ownerExists(f.Owner); err != nil {
			return err
		}
	}
	if err := e.touchAll(); err != nil {
		return err
	}
	if changed, err := e.record("flag", f.Key, "", old.Flag, f); err != nil || !changed {
		return err
	}
	e.flags[f.Key] = &f
	_, err = e.tx.UpdateFlag(f, old.Revision)
	return err
}

// config returns what an environment serves for a flag, staged edits included.
func (e *edit) config(environment, flag string) (flyball.FlagConfig, int64, error) {
	r, err := e.touch(environment)
	if err != nil {
		return flyball.FlagConfig{}, 0, err
	}
	if i := slices.IndexFunc(r.configs, func(c flyball.FlagConfig) bool { return c.Flag == flag }); i >= 0 {
		return r.configs[i], r.reads[flag], nil
	}
	c, err := e.tx.FlagConfig(environment, flag)
	return c.FlagConfig, c.Version, err
}

func (e *edit) insertConfig(environment string, c flyball.FlagConfig) error {
	r, err := e.touch(environment)
	if err != nil {
		return err
	}
	r.inserted[c.Flag] = true
	r.configs = append(r.configs, c)
	_, err = e.record("config", c.Flag, environment, nil, c)
	return err
}

// putConfig stages what an environment is to serve for a flag.
func (e *edit) putConfig(environment string, c flyball.FlagConfig) error {
	old, read, err := e.config(environment, c.Flag)
	if err != nil {
		return err
	}
	if changed, err := e.record("config", c.Flag, environment, old, c); err != nil || !changed {
		return err
	}
	r := e.rulesets[environment]
	if i := slices.IndexFunc(r.configs, func(o flyball.FlagConfig) bool { return o.Flag == c.Flag }); i >= 0 {
		r.configs[i] = c
		return nil
	}
	r.configs = append(r.configs, c)
	r.reads[c.Flag] = read
	return nil
}

// putSegment writes a segment that was read at a revision; 0 is whatever is
// there, or nothing.
func (e *edit) putSegment(seg flyball.Segment, read int64) error {
	if err := e.ownerExists(seg.Owner); err != nil {
		return err
	}
	old, err := e.tx.Segment(seg.Key)
	var before any
	switch {
	case flyball.CodeOf(err) == flyball.NotFound:
	case err != nil:
		return err
	case read != 0 && read != old.Revision:
		return stale("segment "+seg.Key, read, old.Revision)
	default:
		before = old.Segment
	}
	if err := e.touchAll(); err != nil {
		return err
	}
	if changed, err := e.record("segment", seg.Key, "", before, seg); err != nil || !changed {
		return err
	}
	e.segments[seg.Key] = true
	_, err = e.tx.PutSegment(seg, old.Revision)
	return err
}

// putMetric writes a metric that was read at a revision; 0 is whatever is
// there, or nothing. A live rollout's metrics stand still: its evidence rests
// on them.
func (e *edit) putMetric(m flyball.Metric, read int64) error {
	old, err := e.tx.Metric(m.Key)
	var before any
	switch {
	case flyball.CodeOf(err) == flyball.NotFound:
	case err != nil:
		return err
	case read != 0 && read != old.Revision:
		return stale("metric "+m.Key, read, old.Revision)
	default:
		before = old.Metric
	}
	if changed, err := e.record("metric", m.Key, "", before, m); err != nil || !changed {
		return err
	}
	live, err := e.tx.Rollouts(store.RolloutFilter{Live: true})
	if err != nil {
		return err
	}
	for _, r := range live {
		if slices.Contains(metricKeys(r.RolloutPlan), m.Key) {
			return flyball.Errorf(flyball.Conflict, "metric %q judges the live rollout of %s in %s: end that first", m.Key, r.Flag, r.Environment).With("rollout", r.ID)
		}
	}
	_, err = e.tx.PutMetric(m, old.Revision)
	return err
}

// putTeam writes a team that was read at a revision; 0 is whatever is there, or
// nothing.
func (e *edit) putTeam(t flyball.Team, read int64) error {
	old, err := e.tx.Team(t.Key)
	var before any
	switch {
	case flyball.CodeOf(err) == flyball.NotFound:
	case err != nil:
		return err
	case read != 0 && read != old.Revision:
		return stale("team "+t.Key, read, old.Revision)
	default:
		before = old.Team
	}
	if changed, err := e.record("team", t.Key, "", before, t); err != nil || !changed {
		return err
	}
	if err := e.service.authorise(e.principal, changeOf{access: Admin}); err != nil { // files are for everybody
		return err
	}
	_, err = e.tx.PutTeam(t, old.Revision)
	return err
}

func (e *edit) insertToken(t flyball.Token, hash []byte) error {
	if _, err := e.record("token", t.ID, "", nil, t); err != nil {
		return err
	}
	return e.tx.InsertToken(t, hash)
}

func (e *edit) revokeToken(id string) (flyball.Token, error) {
	t, _, err := e.tx.TokenByID(id)
	if err != nil {
		return t, err
	}
	t.LastUsed = nil // passes by itself, and is no part of a change
	before := t
	if t.RevokedAt == nil {
		t.RevokedAt = &flyball.Time{Time: e.at}
	}
	if _, err := e.record("token", id, "", before, t); err != nil {
		return t, err
	}
	return t, e.tx.RevokeToken(id, e.at)
}

// putRollout writes a rollout, new or read before, and tells the judge of it
// in the same transaction, so that evidence and rollout never disagree about
// when a step began.
func (e *edit) putRollout(before *flyball.Rollout, r flyball.Rollout, seed string) error {
	var old any
	if before != nil {
		old, r.Revision = *before, before.Revision
	}
	if changed, err := e.record("rollout", r.ID, r.Environment, old, r); err != nil || !changed {
		return err
	}
	var err error
	if before == nil {
		r.Revision, err = 1, e.tx.InsertRollout(r)
	} else {
		r.Revision, err = e.tx.UpdateRollout(r)
	}
	if err != nil {
		return err
	}
	metrics, err := e.metrics(r.RolloutPlan)
	if err != nil {
		return err
	}
	body, err := json.Marshal(flyball.RolloutRecord{Rollout: r, Seed: seed, Metrics: metrics})
	if err != nil {
		return err
	}
	e.log = append(e.log, store.LogEntry{Kind: store.KindRollout, Environment: r.Environment, ID: newID(12), At: e.at, Body: body})
	return nil
}

// metrics returns the metrics that a plan names.
func (e *edit) metrics(p flyball.RolloutPlan) ([]flyball.Metric, error) {
	var found []flyball.Metric
	for _, key := range metricKeys(p) {
		m, err := e.tx.Metric(key)
		if err != nil {
			return nil, err
		}
		found = append(found, m.Metric)
	}
	return found, nil
}

func metricKeys(p flyball.RolloutPlan) []string {
	var keys []string
	for _, g := range p.Guardrails {
		if !slices.Contains(keys, g.Metric) {
			keys = append(keys, g.Metric)
		}
	}
	for _, m := range p.Success {
		if !slices.Contains(keys, m.Metric) {
			keys = append(keys, m.Metric)
		}
	}
	return keys
}
