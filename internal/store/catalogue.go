package store

import (
	"encoding/json"
	"fmt"

	"github.com/flyballdev/flyball"
)

// A SegmentRecord is a segment and how often it was changed.
type SegmentRecord struct {
	flyball.Segment
	Revision int64 `json:"revision"`
}

// A MetricRecord is a metric and how often it was changed.
type MetricRecord struct {
	flyball.Metric
	Revision int64 `json:"revision"`
}

// A TeamRecord is a team and how often it was changed.
type TeamRecord struct {
	flyball.Team
	Revision int64 `json:"revision"`
}

func scanTeam(scan func(...any) error) (t TeamRecord, err error) {
	var body []byte
	if err := scan(&body, &t.Revision); err != nil {
		return t, err
	}
	return t, json.Unmarshal(body, &t.Team)
}

func scanSegment(scan func(...any) error) (s SegmentRecord, err error) {
	var body []byte
	if err := scan(&body, &s.Revision); err != nil {
		return s, err
	}
	return s, json.Unmarshal(body, &s.Segment)
}

func scanMetric(scan func(...any) error) (m MetricRecord, err error) {
	var body []byte
	if err := scan(&body, &m.Revision); err != nil {
		return m, err
	}
	return m, json.Unmarshal(body, &m.Metric)
}

// Segments returns all segments, by key.
func (tx *Tx) Segments() ([]SegmentRecord, error) {
	all, err := list(tx, scanSegment, `SELECT body, revision FROM segment ORDER BY key`)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	return all, nil
}

// Segment returns one segment.
func (tx *Tx) Segment(key string) (SegmentRecord, error) {
	found, err := list(tx, scanSegment, `SELECT body, revision FROM segment WHERE key = $1`, key)
	switch {
	case err != nil:
		return SegmentRecord{}, fmt.Errorf("read segment %q: %w", key, err)
	case len(found) == 0:
		return SegmentRecord{}, notFound("segment", key)
	}
	return found[0], nil
}

// PutSegment changes a segment that is still at a revision, or adds one that
// must not exist if that is 0, and returns the next revision.
func (tx *Tx) PutSegment(s flyball.Segment, ifRevision int64) (int64, error) {
	return tx.putRevision("segment", s.Key, s, ifRevision)
}

// Metrics returns all metrics, by key.
func (tx *Tx) Metrics() ([]MetricRecord, error) {
	all, err := list(tx, scanMetric, `SELECT body, revision FROM metric ORDER BY key`)
	if err != nil {
		return nil, fmt.Errorf("list metrics: %w", err)
	}
	return all, nil
}

// Metric returns one metric.
func (tx *Tx) Metric(key string) (MetricRecord, error) {
	found, err := list(tx, scanMetric, `SELECT body, revision FROM metric WHERE key = $1`, key)
	switch {
	case err != nil:
		return MetricRecord{}, fmt.Errorf("read metric %q: %w", key, err)
	case len(found) == 0:
		return MetricRecord{}, notFound("metric", key)
	}
	return found[0], nil
}

// PutMetric changes a metric that is still at a revision, or adds one that
// must not exist if that is 0, and returns the next revision.
func (tx *Tx) PutMetric(m flyball.Metric, ifRevision int64) (int64, error) {
	return tx.putRevision("metric", m.Key, m, ifRevision)
}

// Teams returns all teams, by key.
func (tx *Tx) Teams() ([]TeamRecord, error) {
	all, err := list(tx, scanTeam, `SELECT body, revision FROM team ORDER BY key`)
	if err != nil {
		return nil, fmt.Errorf("list teams: %w", err)
	}
	return all, nil
}

// Team returns one team.
func (tx *Tx) Team(key string) (TeamRecord, error) {
	found, err := list(tx, scanTeam, `SELECT body, revision FROM team WHERE key = $1`, key)
	switch {
	case err != nil:
		return TeamRecord{}, fmt.Errorf("read team %q: %w", key, err)
	case len(found) == 0:
		return TeamRecord{}, notFound("team", key)
	}
	return found[0], nil
}

// PutTeam changes a team that is still at a revision, or adds one that must not
// exist if that is 0, and returns the next revision.
func (tx *Tx) PutTeam(t flyball.Team, ifRevision int64) (int64, error) {
	return tx.putRevision("team", t.Key, t, ifRevision)
}

// putRevision is [Tx.PutSegment], [Tx.PutMetric] and [Tx.PutTeam]; noun is the table too.
func (tx *Tx) putRevision(noun, key string, v any, ifRevision int64) (revision int64, err error) {
	body, err := encode(v)
	if err != nil {
		return 0, fmt.Errorf("put %s %q: %w", noun, key, err)
	}
	query, args := `UPDATE `+noun+` SET body = $1, revision = revision + 1 WHERE key = $2 AND revision = $3 RETURNING revision`, []any{body, key, ifRevision}
	if ifRevision == 0 {
		query, args = `INSERT INTO `+noun+` (body, key, revision) VALUES ($1, $2, 1) ON CONFLICT DO NOTHING RETURNING revision`, []any{body, key}
	}
	found, err := tx.one(query, args, &revision)
	if err != nil {
		return 0, fmt.Errorf("put %s %q: %w", noun, key, err)
	}
	if found {
		return revision, nil
	}
	exists, err := tx.one(`SELECT revision FROM `+noun+` WHERE key = $1`, []any{key}, &revision)
	switch {
	case err != nil:
		return 0, fmt.Errorf("put %s %q: %w", noun, key, err)
	case !exists:
		return 0, notFound(noun, key)
	case ifRevision == 0:
		return 0, flyball.Errorf(flyball.Conflict, "%s %q exists already", noun, key).With("version", revision)
	}
	return 0, stale(noun, key, ifRevision, revision)
}
