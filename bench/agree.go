package main

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/bench/workload"
)

// agreement tells what was compared before anything was measured.
type agreement struct {
	Pairs  int                `json:"pairs" doc:"of a flag and a user, each answered alike by everyone"`
	Units  int                `json:"units" doc:"by which splits were compared"`
	Shares map[string]float64 `json:"shares" doc:"of the split of 10 %: hashes differ, so that only shares can agree"`
}

// agree makes sure that all contestants answer alike, the first being right:
// whoever answers otherwise measures something else. Of splits by a hash of
// their own only the share is compared.
func agree(all []contestant, users, units int) (agreement, error) {
	a := agreement{Units: units, Shares: map[string]float64{}}
	for _, w := range workload.All {
		keys := w.Keys
		if len(keys) > 20 {
			keys = keys[:20]
		}
		for _, user := range workload.Users(users) {
			right, _ := all[0].on(w, user)
			for _, c := range all[1:] {
				e, ok := c.on(w, user)
				if !ok || c.own && w.Kind == workload.KindTenth {
					continue
				}
				for _, key := range keys {
					if err := c.answersLike(right, e, key); err != nil {
						return a, fmt.Errorf("%s, flag %s, user %s %v: %w", w.Name, key, user.TargetingKey, user.Attributes, err)
					}
				}
			}
			a.Pairs += len(keys)
		}
	}
	for _, c := range all {
		share, ok := c.share(units)
		if !ok {
			continue
		}
		a.Shares[c.Name] = share
		const p = float64(workload.TenthPPM) / flyball.PPM
		if d := math.Abs(share - p); d > 4.5*math.Sqrt(p*(1-p)/float64(units)) {
			return a, fmt.Errorf("%s serves on to %.4f of %d units, not to a tenth", c.Name, share, units)
		}
	}
	return a, nil
}

// answersLike compares one answer, and all of a whole resolution.
func (c contestant) answersLike(right, e evaluator, key string) error {
	if c.whole {
		if got, want := e.full(key), right.full(key); !reflect.DeepEqual(got, want) {
			return fmt.Errorf("%s says %+v, the floor %+v", c.Name, got, want)
		}
	}
	got, err := json.Marshal(e.answer(key))
	if err != nil {
		return err
	}
	want, err := json.Marshal(right.answer(key))
	if err != nil {
		return err
	}
	if string(got) != string(want) {
		return fmt.Errorf("%s says %s, the floor %s", c.Name, got, want)
	}
	return nil
}

// share is the share of units to whom the split serves on.
func (c contestant) share(units int) (share float64, ok bool) {
	w := workload.Workload{Name: "W3", Kind: workload.KindTenth, Keys: []string{workload.Tenth}}
	on := 0
	for n := range units {
		user := &flyball.EvaluationContext{TargetingKey: fmt.Sprintf("unit-%d", n), Attributes: workload.Ann.Attributes}
		e, ok := c.on(w, user)
		if !ok {
			return 0, false
		}
		if e.answer(workload.Tenth) == true {
			on++
		}
	}
	return float64(on) / float64(units), true
}
