package service

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/flyballdev/flyball"
)

var tiers = []flyball.RiskTier{flyball.TierLow, flyball.TierMedium, flyball.TierHigh}

// eased names the flags that were edited so that later changes of them count less, or
// are approved by others: whose tier falls, that are stateful no more, or that pass
// to another team.
func (e *edit) eased() (keys []string) {
	for _, edit := range e.edits {
		var before, after flyball.Flag
		if edit.Noun != "flag" || json.Unmarshal(edit.Before, &before) != nil || json.Unmarshal(edit.After, &after) != nil {
			continue
		}
		falls := slices.Index(tiers, after.RiskTier) < slices.Index(tiers, before.RiskTier)
		if falls || before.Owner != after.Owner || before.Consistency == flyball.Stateful && after.Consistency != flyball.Stateful {
			keys = append(keys, edit.Key)
		}
	}
	return keys
}

// easedIn lists the protected environments in which programs evaluate such flags.
func (e *edit) easedIn() (names []string, err error) {
	keys := e.eased()
	if len(keys) == 0 {
		return nil, nil
	}
	all, err := e.tx.Environments()
	if err != nil {
		return nil, err
	}
	for _, env := range all {
		if !env.Protected {
			continue
		}
		used, err := e.tx.UsedSince(env.Key, e.at.Add(-usedLately), keys)
		if err != nil {
			return nil, err
		}
		if len(used) > 0 {
			names = append(names, env.Key)
		}
	}
	return names, nil
}

// weighEasing raises the risk of a plan after which changes count less: nobody
// notices it by itself, and so two changes would do what one may not.
func (e *edit) weighEasing(p *flyball.Plan) error {
	names, err := e.easedIn()
	if err != nil || len(names) == 0 {
		return err
	}
	p.Why = append(p.Why, fmt.Sprintf("later changes of %s count less in %s, or are approved by others", e.eased()[0], names[0]))
	if slices.Index(flyball.Risks, p.Risk) < slices.Index(flyball.Risks, flyball.RiskMedium) {
		p.Risk = flyball.RiskMedium
	}
	return nil
}
