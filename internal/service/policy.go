package service

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// settingPolicy is where the policy is kept, once somebody has changed it.
const settingPolicy = "policy"

// policyOf returns the policy in force.
func policyOf(tx *store.Tx) (flyball.Policy, error) {
	text, found, err := tx.Setting(settingPolicy)
	if err != nil || !found {
		return flyball.DefaultPolicy(), err
	}
	var y flyball.Policy
	err = json.Unmarshal([]byte(text), &y)
	return y, err
}

// frozen says that a policy lets nothing be raised in an environment, and why.
func frozen(y flyball.Policy, environment string, now time.Time) string {
	f, is := y.Frozen(environment, now)
	if !is {
		return ""
	}
	return fmt.Sprintf("%s is frozen until %s: %s", environment, f.To.Format("2006-01-02 15:04 MST"), f.Reason)
}

// frozenIn is frozen, for a protected environment and the policy in force.
func frozenIn(tx *store.Tx, environment string, now time.Time) (string, error) {
	env, err := tx.Environment(environment)
	if err != nil || !env.Protected {
		return "", err
	}
	y, err := policyOf(tx)
	return frozen(y, environment, now), err
}

// Policy returns what changes need in protected environments.
func (s *Service) Policy(ctx context.Context, _ None) (out flyball.Policy, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		out, err = policyOf(tx)
		return err
	})
	return out, err
}

// SetPolicy is the policy as it is to be.
type SetPolicy struct {
	flyball.Policy
	Reason string `json:"reason" doc:"why the policy changes"`
}

// SetPolicy replaces the policy.
func (s *Service) SetPolicy(ctx context.Context, in SetPolicy) (flyball.Policy, error) {
	if err := in.Policy.Validate(); err != nil {
		return flyball.Policy{}, err
	}
	_, err := s.change(ctx, changeOf{
		access: Admin, action: "policy.update", subject: "policy", reason: in.Reason,
		apply: func(e *edit) error {
			old, err := policyOf(e.tx)
			if err != nil {
				return err
			}
			for i, g := range in.Policy.Guardrails {
				if _, err := e.tx.Metric(g.Metric); err != nil && flyball.CodeOf(err) != flyball.NotFound {
					return err
				} else if err != nil {
					return flyball.FieldErrorf(fmt.Sprintf("guardrails[%d].metric", i), "there is no metric %q: create it first", g.Metric)
				}
			}
			if changed, err := e.record("policy", "policy", "", old, in.Policy); err != nil || !changed {
				return err
			}
			body, err := json.Marshal(in.Policy)
			if err != nil {
				return err
			}
			return e.tx.PutSetting(settingPolicy, string(body))
		},
	})
	if err != nil {
		return flyball.Policy{}, err
	}
	return s.Policy(ctx, None{})
}

// guardrailInWords tells what a rollout must have to count as guarded.
func guardrailInWords(g flyball.RequiredGuardrail) string {
	switch {
	case g.Margin.Relative > 0:
		return fmt.Sprintf("%s, at most %s worse", g.Metric, percent(g.Margin.Relative))
	case g.Margin.Absolute > 0:
		return fmt.Sprintf("%s, at most %g worse", g.Metric, g.Margin.Absolute)
	}
	return g.Metric
}
