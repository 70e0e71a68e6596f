package stats

import (
	"maps"
	"math"
	"slices"
)

// CapOf returns the bound at which extreme values of both arms are cut, from the
// first values of control: their 99.9 % quantile. Keep back what arrives until
// there are [WarmUpUnits] control units, then cut all of that and whatever follows
// at the same bound. 0, which means none, of no values.
//
// What is then compared are means of min(x, cap). The report tells the uncut ones
// beside them. Quantiles and events are never cut.
func CapOf(control []float64) float64 {
	if len(control) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(control))
	return sorted[int(math.Ceil(CapQuantile*float64(len(sorted))))-1]
}

// A UnitValue is what one unit did during one step of a rollout.
type UnitValue struct {
	Unit      int
	Treatment bool
	Value     float64
}

// PoolUnits returns the mean of the steps' contrasts of units that persist: who
// was there in one step is there in the next, perhaps in the other arm, so that
// the steps are not independent and [Pool] would understate the variance by a
// third. Each step k is compared within itself, and has the weight w_k = 1/V_k that
// it would have alone. A unit's share in the result adds up over the steps,
//
//	c_u = Σ_k ±w_k·(x − x̄)/n,   V = Σ_u c_u² / (Σ_k w_k)²,
//
// with the mean and size of its arm of that step: the variance between units,
// robust to any dependence within one. [asymptotic] in the number of units.
//
// It needs every unit's values, and serves reports. A decision rests on
// fresh-coin cohorts, of which no unit is in two steps, with [Pool].
func PoolUnits(m Margin, steps ...[]UnitValue) Contrast {
	scores := map[int]float64{}
	score, weight := 0.0, 0.0
	for _, step := range steps {
		var arms [2]Moments
		for _, u := range step {
			arms[armOf(u.Treatment)].Add(u.Value)
		}
		c := m.Contrast(arms[1], arms[0])
		if !c.known() {
			continue
		}
		w := 1 / c.V
		weight += w
		score += w * c.Theta
		slope := [2]float64{-m.Ratio() * w, w}
		for _, u := range step {
			if arm := armOf(u.Treatment); math.Abs(u.Value) <= MaxValue {
				scores[u.Unit] += slope[arm] * (u.Value - arms[arm].Mean()) / arms[arm].N
			}
		}
	}
	if weight == 0 {
		return Contrast{}
	}
	sum := 0.0
	for _, u := range slices.Sorted(maps.Keys(scores)) { // in order, or the last bits would vary
		sum += scores[u] * scores[u]
	}
	return Contrast{Theta: score / weight, V: sum / (weight * weight)}
}

// armOf returns 0 for control and 1 for treatment.
func armOf(treatment bool) int {
	if treatment {
		return 1
	}
	return 0
}
