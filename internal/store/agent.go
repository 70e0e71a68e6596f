package store

import (
	"fmt"
	"time"

	"github.com/flyballdev/flyball"
)

// An AgentUse is what one change of an agent takes of its envelope.
type AgentUse struct {
	ID          string
	Person      flyball.ActorID // behind the agent: two agents of one person are one party
	Token       string
	At          time.Time
	Rollout     string // that it started; empty if none
	UnitMinutes int64
}

// keptAgentUse is how long it is known what agents used: the longest time that a
// limit looks back on, and more.
const keptAgentUse = 48 * time.Hour

// InsertAgentUse notes what an agent used. Writers take turns, so what
// [Tx.AgentUsed] told in the same transaction still holds.
func (tx *Tx) InsertAgentUse(u AgentUse) error {
	_, err := tx.exec(`INSERT INTO agent_usage (id, person, token, at, rollout, unit_minutes) VALUES ($1, $2, $3, $4, $5, $6)`,
		u.ID, string(u.Person), u.Token, micros(u.At), u.Rollout, u.UnitMinutes)
	if err == nil {
		_, err = tx.exec(`DELETE FROM agent_usage WHERE at < $1 AND NOT EXISTS (SELECT 1 FROM rollout r WHERE r.id = agent_usage.rollout AND r.live)`,
			micros(u.At.Add(-keptAgentUse)))
	}
	if err != nil {
		return fmt.Errorf("note what an agent used: %w", err)
	}
	return nil
}

// AgentUsed tells what the agents of a person used: raises in the last hour,
// units times minutes in the last day, and rollouts that are live.
func (tx *Tx) AgentUsed(person flyball.ActorID, now time.Time) (u flyball.EnvelopeUse, err error) {
	_, err = tx.one(`SELECT
		(SELECT COUNT(*) FROM agent_usage WHERE person = $1 AND at > $2),
		(SELECT CAST(COALESCE(SUM(unit_minutes), 0) AS BIGINT) FROM agent_usage WHERE person = $1 AND at > $3),
		(SELECT COUNT(*) FROM agent_usage a JOIN rollout r ON r.id = a.rollout WHERE a.person = $1 AND r.live)`,
		[]any{string(person), micros(now.Add(-time.Hour)), micros(now.Add(-24 * time.Hour))},
		&u.ChangesInHour, &u.UnitMinutesInDay, &u.LiveRollouts)
	if err != nil {
		return u, fmt.Errorf("read what the agents of %s used: %w", person, err)
	}
	return u, nil
}

// A PlannedChange is a capability and its input, as somebody planned it.
type PlannedChange struct {
	Token     string // that planned it
	Digest    string // of what it would change
	At        time.Time
	Operation string
	Input     []byte
}

// PutPlannedChange keeps a plan, and the latest so many of its token that are
// not older than a time.
func (tx *Tx) PutPlannedChange(p PlannedChange, keep int, since time.Time) error {
	_, err := tx.exec(`INSERT INTO planned_change (token, digest, at, operation, input) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (token, digest) DO UPDATE SET at = excluded.at, operation = excluded.operation, input = excluded.input`,
		p.Token, p.Digest, micros(p.At), p.Operation, string(p.Input))
	if err == nil {
		_, err = tx.exec(`DELETE FROM planned_change WHERE at < $1 OR token = $2 AND digest NOT IN
			(SELECT digest FROM planned_change WHERE token = $2 ORDER BY at DESC, digest LIMIT $3)`, micros(since), p.Token, keep)
	}
	if err != nil {
		return fmt.Errorf("keep a plan: %w", err)
	}
	return nil
}

// PlannedChange returns what a token planned.
func (tx *Tx) PlannedChange(token, digest string) (p PlannedChange, err error) {
	var at int64
	p.Token, p.Digest = token, digest
	found, err := tx.one(`SELECT at, operation, input FROM planned_change WHERE token = $1 AND digest = $2`, []any{token, digest}, &at, &p.Operation, &p.Input)
	switch {
	case err != nil:
		return p, fmt.Errorf("read the plan %q: %w", digest, err)
	case !found:
		return p, notFound("plan", digest)
	}
	p.At = fromMicros(at)
	return p, nil
}
