package stats

import "math"

// A RateRatio estimates how many times control's rate the treatment's is, from
// the same [Events] that [Labels] judges: Mantel and Haenszel's estimate over all
// batches, so that a rate or a share that moves does not bias it.
type RateRatio struct {
	Treatment float64 `json:"treatment"` // Σ x_T·(1−π)
	Control   float64 `json:"control"`   // Σ x_C·π
	Noise     float64 `json:"noise"`     // Σ (x_T+x_C)·π·(1−π)
	Design    float64 `json:"design"`    // the latest design effect, at least 1
}

// Observe counts a batch.
func (r *RateRatio) Observe(e Events) {
	if !e.usable() {
		return
	}
	r.Treatment += float64(e.Treatment) * (1 - e.Share)
	r.Control += float64(e.Control) * e.Share
	r.Noise += float64(e.Treatment+e.Control) * e.Share * (1 - e.Share)
	r.Design = max(e.DesignEffect, 1)
}

// Estimate returns the rate ratio, treatment over control. It is false until
// control had an event.
func (r RateRatio) Estimate() (ratio float64, ok bool) {
	if !(r.Control > 0) {
		return 0, false
	}
	return r.Treatment / r.Control, true
}

// The information about the log ratio, the inverse of its variance: where the
// interval is tightest (a standard error of a tenth), and where it begins to be
// told (a half), below which few events make the normal law a poor guide.
const (
	tightest = 100
	least    = 4
)

// Interval returns bounds of the rate ratio that hold at all times together with
// probability 1 − alpha: the normal-mixture confidence sequence of log ratio, with
// the variance of Greenland and Robins ("Estimation of a common effect parameter
// from sparse follow-up data", 1985). [asymptotic];
// false while there are too few events. The verdict does not rest on it: a
// breaker needs fewer.
func (r RateRatio) Interval(alpha float64) (Interval, bool) {
	information := r.Treatment * r.Control / (r.Noise * r.Design)
	if !(information >= least) {
		return Interval{}, false
	}
	ratio := r.Treatment / r.Control
	factor := math.Exp(Radius(information, Rho(tightest, alpha), alpha))
	return Interval{Low: ratio / factor, High: ratio * factor}, true
}
