package service

import (
	"math"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/store"
)

// asksAfter is how long what somebody changed without an approval counts towards
// the next change of the same flag: a hundred small steps are a large one.
const asksAfter = 24 * time.Hour

// unaskedBefore is the share of an environment's users that got something else of what
// the change alters by changes that nobody else approved lately.
func (e *edit) unaskedBefore(v flyball.Preview) (share float64, err error) {
	if e.passes() {
		return 0, nil
	}
	sums, err := e.tx.Unasked(v.Environment, e.at.Add(-asksAfter))
	for _, f := range v.Flags {
		if f.Share.Value+f.Latent+f.Named > 0 {
			share = max(share, float64(sums[f.Flag])/flyball.PPM)
		}
	}
	return min(1, share), err
}

// passes says that the change is a rollout that counts by itself: it begins at its
// control, and either ends there or goes only as far as its guardrails show it to
// be healthy. What is kept without a look, of one cohort after another, adds up.
func (e *edit) passes() bool {
	plan := e.started()
	return plan != nil && (plan.Then == flyball.ThenOff || e.guarded(plan)) && !e.besides(plan)
}

// noteUnasked keeps what the change gave users that nobody else approved, and
// begins anew with flags that somebody has looked at, or that are safe for all.
func (e *edit) noteUnasked() error {
	for _, env := range e.altered() {
		after := e.rulesets[env].after
		if err := e.forgetSafe(env, after.compiled); err != nil {
			return err
		}
		if e.planned == nil || e.principal.automatic() || e.passes() || e.planned.Retreat {
			continue
		}
		at := slices.IndexFunc(e.planned.Previews, func(v flyball.Preview) bool { return v.Environment == env })
		if at < 0 {
			continue
		}
		if err := e.noteUnaskedIn(e.planned.Previews[at], after.id.Version); err != nil {
			return err
		}
	}
	return nil
}

// forgetSafe begins anew with flags that were edited and are gone, or serve their
// safe variant to everybody.
func (e *edit) forgetSafe(environment string, after *eval.Ruleset) error {
	sums, err := e.tx.Unasked(environment, time.Time{})
	if err != nil || len(sums) == 0 {
		return err
	}
	for _, key := range e.editedFlags() {
		if _, noted := sums[key]; !noted {
			continue
		}
		if f := after.Flag(key); f != nil {
			if variant, one := only(f); !one || variant != f.SafeVariant {
				continue
			}
		}
		if err := e.tx.ForgetUnasked(environment, key); err != nil {
			return err
		}
	}
	return nil
}

func (e *edit) noteUnaskedIn(v flyball.Preview, version int64) error {
	asked := e.glass || e.request != nil && len(e.request.Approvals) > 0
	var all []store.Unasked
	last := 1.0
	if plan := e.started(); plan != nil {
		last = float64(plan.Steps[len(plan.Steps)-1].PPM) / float64(plan.Steps[0].PPM)
	}
	for _, f := range v.Flags {
		share := min(1, max(f.Share.Value, f.Named)*last) + f.Latent
		if share == 0 {
			continue
		}
		if asked {
			if err := e.tx.ForgetUnasked(v.Environment, f.Flag); err != nil {
				return err
			}
			continue
		}
		all = append(all, store.Unasked{Flag: f.Flag, PPM: int64(math.Ceil(share * flyball.PPM))})
	}
	if len(all) == 0 {
		return nil
	}
	return e.tx.AddUnasked(v.Environment, version, e.at, e.at.Add(-asksAfter), all)
}
