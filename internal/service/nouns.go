package service

import (
	"context"
	"slices"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// SegmentView is a segment and its version.
type SegmentView struct {
	flyball.Segment
	Version int64 `json:"version" doc:"rises with each change"`
}

// PutSegment is a segment as it is to be.
type PutSegment struct {
	flyball.Segment
	IfVersion int64  `json:"ifVersion,omitempty" doc:"the version that you read; a newer one is a conflict"`
	Reason    string `json:"reason" doc:"why it is made or changed"`
}

// CreateSegment makes a segment.
func (s *Service) CreateSegment(ctx context.Context, in PutSegment) (SegmentView, error) {
	return s.putSegment(ctx, "segment.create", in, true)
}

// UpdateSegment replaces a segment. It is a change of every flag that uses it.
func (s *Service) UpdateSegment(ctx context.Context, in PutSegment) (SegmentView, error) {
	return s.putSegment(ctx, "segment.update", in, false)
}

func (s *Service) putSegment(ctx context.Context, action string, in PutSegment, create bool) (SegmentView, error) {
	if err := in.Segment.Validate(); err != nil {
		return SegmentView{}, err
	}
	_, err := s.change(ctx, changeOf{
		access: Write, action: action, subject: in.Segment.Key, reason: in.Reason,
		apply: func(e *edit) error {
			old, err := e.tx.Segment(in.Segment.Key)
			if err := expect("segment "+in.Segment.Key, create, old.Revision, err); err != nil {
				return err
			}
			return e.putSegment(in.Segment, in.IfVersion)
		},
	})
	if err != nil {
		return SegmentView{}, err
	}
	return s.Segment(ctx, KeyOf{Key: in.Segment.Key})
}

// expect says what is wrong if something that is to be created is there
// already, or something that is to be updated is not.
func expect(what string, create bool, revision int64, err error) error {
	missing := flyball.CodeOf(err) == flyball.NotFound
	switch {
	case err != nil && !missing:
		return err
	case create && !missing:
		return flyball.Errorf(flyball.Conflict, "there is a %s already", what).With("version", revision)
	case !create && missing:
		return err
	}
	return nil
}

// KeyOf names something by its key.
type KeyOf struct {
	Key string `json:"key"`
}

// Segment returns a segment.
func (s *Service) Segment(ctx context.Context, in KeyOf) (out SegmentView, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		r, err := tx.Segment(in.Key)
		out = SegmentView{Segment: r.Segment, Version: r.Revision}
		return err
	})
	return out, err
}

// Segments is a list of segments, by key.
type Segments struct {
	Segments []SegmentView `json:"segments"`
}

// ListSegments lists all segments.
func (s *Service) ListSegments(ctx context.Context, _ None) (Segments, error) {
	out := Segments{Segments: []SegmentView{}}
	err := s.db.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Segments()
		for _, r := range all {
			out.Segments = append(out.Segments, SegmentView{Segment: r.Segment, Version: r.Revision})
		}
		return err
	})
	return out, err
}

// MetricView is a metric and its version.
type MetricView struct {
	flyball.Metric
	Version int64 `json:"version" doc:"rises with each change"`
}

// PutMetric is a metric as it is to be.
type PutMetric struct {
	flyball.Metric
	IfVersion int64  `json:"ifVersion,omitempty" doc:"the version that you read; a newer one is a conflict"`
	Reason    string `json:"reason" doc:"why it is made or changed"`
}

// CreateMetric makes a metric.
func (s *Service) CreateMetric(ctx context.Context, in PutMetric) (MetricView, error) {
	return s.putMetric(ctx, "metric.create", in, true)
}

// UpdateMetric replaces a metric, unless it judges a live rollout.
func (s *Service) UpdateMetric(ctx context.Context, in PutMetric) (MetricView, error) {
	return s.putMetric(ctx, "metric.update", in, false)
}

func (s *Service) putMetric(ctx context.Context, action string, in PutMetric, create bool) (MetricView, error) {
	m := in.Metric.WithDefaults()
	if err := m.Validate(); err != nil {
		return MetricView{}, err
	}
	_, err := s.change(ctx, changeOf{
		access: Write, action: action, subject: m.Key, reason: in.Reason,
		apply: func(e *edit) error {
			old, err := e.tx.Metric(m.Key)
			if err := expect("metric "+m.Key, create, old.Revision, err); err != nil {
				return err
			}
			return e.putMetric(m, in.IfVersion)
		},
	})
	if err != nil {
		return MetricView{}, err
	}
	return s.Metric(ctx, KeyOf{Key: m.Key})
}

// Metric returns a metric.
func (s *Service) Metric(ctx context.Context, in KeyOf) (out MetricView, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		r, err := tx.Metric(in.Key)
		out = MetricView{Metric: r.Metric, Version: r.Revision}
		return err
	})
	return out, err
}

// Metrics is a list of metrics, by key.
type Metrics struct {
	Metrics []MetricView `json:"metrics"`
}

// ListMetrics lists all metrics.
func (s *Service) ListMetrics(ctx context.Context, _ None) (Metrics, error) {
	out := Metrics{Metrics: []MetricView{}}
	err := s.db.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Metrics()
		for _, r := range all {
			out.Metrics = append(out.Metrics, MetricView{Metric: r.Metric, Version: r.Revision})
		}
		return err
	})
	return out, err
}

// TeamView is a team and its version.
type TeamView struct {
	flyball.Team
	Version int64 `json:"version" doc:"rises with each change"`
}

// PutTeam is a team as it is to be.
type PutTeam struct {
	flyball.Team
	IfVersion int64  `json:"ifVersion,omitempty" doc:"the version that you read; a newer one is a conflict"`
	Reason    string `json:"reason" doc:"why it is made or changed"`
}

// CreateTeam makes a team.
func (s *Service) CreateTeam(ctx context.Context, in PutTeam) (TeamView, error) {
	return s.putTeam(ctx, "team.create", in, true)
}

// UpdateTeam replaces a team.
func (s *Service) UpdateTeam(ctx context.Context, in PutTeam) (TeamView, error) {
	return s.putTeam(ctx, "team.update", in, false)
}

func (s *Service) putTeam(ctx context.Context, action string, in PutTeam, create bool) (TeamView, error) {
	if err := in.Team.Validate(); err != nil {
		return TeamView{}, err
	}
	_, err := s.change(ctx, changeOf{
		access: Admin, action: action, subject: in.Team.Key, reason: in.Reason,
		apply: func(e *edit) error {
			old, err := e.tx.Team(in.Team.Key)
			if err := expect("team "+in.Team.Key, create, old.Revision, err); err != nil {
				return err
			}
			return e.putTeam(in.Team, in.IfVersion)
		},
	})
	if err != nil {
		return TeamView{}, err
	}
	return s.Team(ctx, KeyOf{Key: in.Team.Key})
}

// Team returns a team.
func (s *Service) Team(ctx context.Context, in KeyOf) (out TeamView, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		r, err := tx.Team(in.Key)
		out = TeamView{Team: r.Team, Version: r.Revision}
		return err
	})
	return out, err
}

// Teams is a list of teams, by key.
type Teams struct {
	Teams []TeamView `json:"teams"`
}

// ListTeams lists all teams.
func (s *Service) ListTeams(ctx context.Context, _ None) (Teams, error) {
	out := Teams{Teams: []TeamView{}}
	err := s.db.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Teams()
		for _, r := range all {
			out.Teams = append(out.Teams, TeamView{Team: r.Team, Version: r.Revision})
		}
		return err
	})
	return out, err
}

// PutEnvironment is an environment as it is to be.
type PutEnvironment struct {
	Key       string `json:"key" example:"staging"`
	Protected bool   `json:"protected,omitempty" doc:"whether approvals apply"`
	// SampleAttributes, if it is nil, stays as it is.
	SampleAttributes []string `json:"sampleAttributes,omitempty" nullable:"false" doc:"attributes of contexts that programs tell, so that the effect of changes can be previewed; if it is left out it stays, an empty list is none" example:"[\"country\",\"plan\"]"`
	IfRevision       int64    `json:"ifRevision,omitempty" doc:"the revision that you read; a newer one is a conflict"`
	Reason           string   `json:"reason" doc:"why it is made or changed"`
}

// CreateEnvironment makes an environment, in which every flag serves its safe
// variant, disabled.
func (s *Service) CreateEnvironment(ctx context.Context, in PutEnvironment) (flyball.Environment, error) {
	env := flyball.Environment{Key: in.Key, Protected: in.Protected, SampleAttributes: in.SampleAttributes}
	if err := env.Validate(); err != nil {
		return env, err
	}
	_, err := s.change(ctx, changeOf{
		access: Admin, action: "environment.create", subject: in.Key, reason: in.Reason,
		apply: func(e *edit) error {
			_, err := e.tx.Environment(env.Key)
			if err := expect("environment "+env.Key, true, 0, err); err != nil {
				return err
			}
			if _, err := e.record("environment", env.Key, "", nil, env); err != nil {
				return err
			}
			if err := e.tx.InsertEnvironment(env); err != nil {
				return err
			}
			flags, err := e.tx.Flags()
			if err != nil {
				return err
			}
			for _, f := range flags {
				if err := e.insertConfig(env.Key, flyball.NewFlagConfig(f.Flag)); err != nil {
					return err
				}
			}
			return nil
		},
	})
	if err != nil {
		return env, err
	}
	if err := s.Refresh(ctx); err != nil {
		return env, err
	}
	return s.Environment(ctx, KeyOf{Key: in.Key})
}

// UpdateEnvironment says whether an environment is protected, and which
// attributes of contexts are sampled there. What was sampled of an attribute that
// is no longer listed is forgotten at once, with the whole sample.
func (s *Service) UpdateEnvironment(ctx context.Context, in PutEnvironment) (flyball.Environment, error) {
	_, err := s.change(ctx, changeOf{
		access: Admin, action: "environment.update", subject: in.Key, reason: in.Reason,
		apply: func(e *edit) error {
			old, err := e.tx.Environment(in.Key)
			if err != nil {
				return err
			}
			if in.IfRevision != 0 && in.IfRevision != old.Revision {
				return flyball.Errorf(flyball.Conflict, "environment %s is at revision %d, not %d: read it again and repeat your change", in.Key, old.Revision, in.IfRevision).With("revision", old.Revision)
			}
			before := old
			before.Revision = 0 // counts the changes, and is no part of one
			env := before
			env.Protected = in.Protected
			if in.SampleAttributes != nil {
				env.SampleAttributes = append([]string(nil), in.SampleAttributes...)
			}
			if err := env.Validate(); err != nil {
				return err
			}
			if changed, err := e.record("environment", env.Key, "", before, env); err != nil || !changed {
				return err
			}
			for _, name := range old.SampleAttributes {
				if !slices.Contains(env.SampleAttributes, name) {
					if err := e.tx.ForgetSample(env.Key); err != nil {
						return err
					}
					break
				}
			}
			env.Revision = old.Revision
			return e.tx.UpdateEnvironment(env)
		},
	})
	if err != nil {
		return flyball.Environment{}, err
	}
	return s.Environment(ctx, KeyOf{Key: in.Key})
}

// Environment returns an environment.
func (s *Service) Environment(ctx context.Context, in KeyOf) (out flyball.Environment, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		out, err = tx.Environment(in.Key)
		return err
	})
	return out, err
}

// Environments is a list of environments, by key.
type Environments struct {
	Environments []flyball.Environment `json:"environments"`
}

// ListEnvironments lists all environments.
func (s *Service) ListEnvironments(ctx context.Context, _ None) (out Environments, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		out.Environments, err = tx.Environments()
		return err
	})
	return out, err
}
