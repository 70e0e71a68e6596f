package service

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// How long the token of an agent lasts: if nothing is said, and at most.
const (
	agentTokenLasts = 24 * time.Hour
	agentTokenMost  = 30 * 24 * time.Hour
)

// validateEnvelope says what is wrong with the envelope of a token that is asked
// for.
func (in CreateToken) validateEnvelope() error {
	switch {
	case in.Kind != flyball.TokenAgent && in.Envelope != nil:
		return flyball.FieldErrorf("envelope", "agent tokens alone have an envelope")
	case in.Kind != flyball.TokenAgent:
		return nil
	case in.Envelope == nil:
		return flyball.FieldErrorf("envelope", `say what the agent may do at most, such as {flags: ["payments.*"], environments: [production], maxPpm: 10000, maxMinutesPerExposure: 30, maxConcurrentRollouts: 1, maxRiskTier: medium, changesPerHour: 20}`)
	}
	var errs []error
	for _, p := range flyball.Problems(in.Envelope.Validate()) {
		errs = append(errs, flyball.FieldErrorf("envelope."+p.Field, "%s", p.Message))
	}
	if in.ExpiresAt != nil && in.ExpiresAt.After(time.Now().Add(agentTokenMost)) {
		errs = append(errs, flyball.FieldErrorf("expiresAt", "the token of an agent lasts 30 days at most, and 24 hours if nothing is said"))
	}
	return errors.Join(errs...)
}

// expiring gives an agent's token its end, if it has none.
func (in CreateToken) expiring(now time.Time) CreateToken {
	if in.Kind == flyball.TokenAgent && in.ExpiresAt == nil {
		in.ExpiresAt = &flyball.Time{Time: now.Add(agentTokenLasts)}
	}
	return in
}

// agentToken says whether the principal may make an agent's token that lasts so
// long, and that there are the environments that it names.
func (e *edit) agentToken(in CreateToken) error {
	if in.Kind != flyball.TokenAgent {
		return nil
	}
	for _, env := range in.Envelope.Environments {
		if _, err := e.tx.Environment(env); flyball.CodeOf(err) == flyball.NotFound {
			return flyball.FieldErrorf("envelope.environments", "there is no environment %q", env)
		} else if err != nil {
			return err
		}
	}
	if in.ExpiresAt.After(e.at.Add(agentTokenLasts+time.Minute)) && !e.principal.runs() {
		return flyball.Errorf(flyball.Forbidden, "only who runs the installation may give an agent a token for longer than 24 hours")
	}
	return nil
}

// settingFrozen is kept while no agent may change anything.
const settingFrozen = "agents-frozen"

// A Freezing says who made all agents read-only, when and why.
type Freezing struct {
	By     flyball.ActorID `json:"by"`
	At     flyball.Time    `json:"at"`
	Reason string          `json:"reason"`
}

// thawed says whether agents may change anything. It is asked in each change's
// own transaction, so that a freeze holds for every change that begins after it,
// on every node.
func (e *edit) thawed() error {
	f, err := freezing(e.tx)
	if err != nil || f == nil {
		return err
	}
	return flyball.Errorf(flyball.Forbidden, "all agents are read-only since %s: a person must let them go on (flyball agents unfreeze)", f.At.UTC().Format("2006-01-02 15:04:05 MST")).
		With("limit", "frozen").With("asked", e.change.action).With("allowed", "reading and dry runs").With("how", "wait, or ask a person: flyball agents unfreeze")
}

func freezing(tx *store.Tx) (*Freezing, error) {
	text, found, err := tx.Setting(settingFrozen)
	if err != nil || !found || text == "" {
		return nil, err
	}
	f := new(Freezing)
	return f, json.Unmarshal([]byte(text), f)
}

// Agents are the tokens of agents that open something, and whether they may use
// them.
type Agents struct {
	Frozen *Freezing `json:"frozen,omitempty" doc:"set while all agents are read-only"`
	Agents []Agent   `json:"agents"`
}

// An Agent is an agent's token, and what the agents of its person used.
type Agent struct {
	ID         string              `json:"id" doc:"the token's id"`
	Name       string              `json:"name"`
	Actor      flyball.ActorID     `json:"actor"`
	OnBehalfOf flyball.ActorID     `json:"onBehalfOf"`
	Envelope   *flyball.Envelope   `json:"envelope,omitempty"`
	ExpiresAt  *flyball.Time       `json:"expiresAt,omitempty"`
	Used       flyball.EnvelopeUse `json:"used" doc:"by all agents of the person: they are one party"`
}

// ListAgents lists the agents whose tokens open something.
func (s *Service) ListAgents(ctx context.Context, _ None) (Agents, error) {
	out := Agents{Agents: []Agent{}}
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		if out.Frozen, err = freezing(tx); err != nil {
			return err
		}
		tokens, err := tx.Tokens()
		if err != nil {
			return err
		}
		for _, t := range tokens {
			if k := (&knownToken{token: t}); t.Kind != flyball.TokenAgent || !k.live() {
				continue
			}
			a := Agent{ID: t.ID, Name: t.Name, Actor: t.Actor, OnBehalfOf: t.OnBehalfOf, Envelope: t.Envelope, ExpiresAt: t.ExpiresAt}
			if a.Used, err = tx.AgentUsed(t.OnBehalfOf, now()); err != nil {
				return err
			}
			out.Agents = append(out.Agents, a)
		}
		return nil
	})
	return out, err
}

// FreezeAgents says why agents are stopped, or let go on.
type FreezeAgents struct {
	Reason string `json:"reason" doc:"why"`
}

// FreezeAgents makes all agents read-only, at once and on every node.
func (s *Service) FreezeAgents(ctx context.Context, in FreezeAgents) (Agents, error) {
	return s.setFreeze(ctx, "agents.freeze", in.Reason, true)
}

// UnfreezeAgents lets agents change things again, within their envelopes.
func (s *Service) UnfreezeAgents(ctx context.Context, in FreezeAgents) (Agents, error) {
	return s.setFreeze(ctx, "agents.unfreeze", in.Reason, false)
}

func (s *Service) setFreeze(ctx context.Context, action, reason string, freeze bool) (Agents, error) {
	_, err := s.change(ctx, changeOf{
		access: Admin, action: action, subject: "agents", reason: reason,
		apply: func(e *edit) error {
			old, err := freezing(e.tx)
			if err != nil {
				return err
			}
			if changed, err := e.record("agents", "agents", "", map[string]bool{"frozen": old != nil}, map[string]bool{"frozen": freeze}); err != nil || !changed {
				return err
			}
			text := ""
			if freeze {
				body, err := json.Marshal(Freezing{By: e.principal.ID, At: flyball.Time{Time: e.at}, Reason: reason})
				if err != nil {
					return err
				}
				text = string(body)
			}
			return e.tx.PutSetting(settingFrozen, text)
		},
	})
	if err != nil {
		return Agents{}, err
	}
	return s.ListAgents(ctx, None{})
}
