package stats

import (
	"math"
	"testing"
)

// latency draws from the lognormal law of mean 178 ms.
func latency(s *stream, sigma float64) float64 {
	return s.logNormal(math.Log(178)-sigma*sigma/2, sigma)
}

// bets feeds blocks of one treatment observation, each with a control group of
// its own, ten a second, until the bet trips; 0 if it does not.
func bets(s *stream, p PairedBet, sigma, end, change, more float64) float64 {
	for at := 0.1; at <= end; at += 0.1 {
		x := latency(s, sigma)
		if at > change {
			x += more
		}
		c, n := 0.0, s.gap(0.05)
		for range int(n) {
			c += latency(s, sigma)
		}
		p.Observe(at, Block{Treatment: x, Control: c / n})
		if p.Tripped(BreakerAlpha) {
			return at
		}
	}
	return 0
}

func TestPairedBetAtTheBoundaryDoesNotTrip(t *testing.T) {
	const seed = 201
	n, length := runs(1000, 100), 300.0
	if nightly {
		length = 6 * 3600
		n = 200
	}
	for _, sigma := range []float64{0.6, 1.2} {
		tripped := 0
		for i := range n {
			if bets(seedOf(seed, i), NewPairedBet(Margin{Absolute: 100}, 0, NewSchedule(1, 0)), sigma, length, 0, 100) > 0 {
				tripped++
			}
		}
		checkFalse(t, seed, n, tripped, BreakerAlpha)
	}
}

func TestPairedBetDelay(t *testing.T) {
	const seed = 202
	n := runs(300, 100)
	for _, tt := range []struct{ more, change, most float64 }{
		{200, 0, 7.5}, {400, 0, 3.0}, {200, 300, 18.5}, {400, 300, 6.8},
	} {
		var delays []float64
		for i := range n {
			at := bets(seedOf(seed, i), NewPairedBet(Margin{Absolute: 100}, 0, NewSchedule(1, 0)), 0.6, tt.change+600, tt.change, tt.more)
			if at > tt.change {
				delays = append(delays, at-tt.change)
			}
		}
		got := mean(delays)
		t.Logf("+%.0f ms from %.0f s: %.2f s", tt.more, tt.change, got)
		if most := tt.most * (1.1 + 2/math.Sqrt(float64(n))); got > most || len(delays) < n*95/100 {
			t.Errorf("%+v: mean delay %.2f s, at most %.2f; %d of %d found (seed %d)", tt, got, most, len(delays), n, seed)
		}
	}
}

// A fall of revenue below the margin is found, one at the margin is not.
func TestPairedBetThatMustNotDrop(t *testing.T) {
	const seed = 203
	n := runs(500, 100)
	margin := Margin{Relative: 0.1, HigherIsBetter: true}
	trips := func(factor float64) int {
		tripped := 0
		for i := range n {
			s, p := seedOf(seed, i), NewPairedBet(margin, 100, NewSchedule(1, 0))
			for at := 1.0; at <= 3000 && !p.Tripped(BreakerAlpha); at++ {
				c := 0.0
				for range 5 {
					c += min(s.logNormal(3, 0.5), 100) / 5
				}
				p.Observe(at, Block{Treatment: factor * min(s.logNormal(3, 0.5), 100), Control: c})
			}
			if p.Tripped(BreakerAlpha) {
				tripped++
			}
		}
		return tripped
	}
	checkFalse(t, seed, n, trips(0.9), BreakerAlpha)
	if found := trips(0.5); found < n*95/100 {
		t.Errorf("half of the revenue lost: found in %d of %d (seed %d)", found, n, seed)
	}
}

// zipf returns how many of the requests each of some users makes.
func zipf(users int) (cumulative []float64) {
	sum := 0.0
	for u := range users {
		sum += 1 / float64(u+1)
		cumulative = append(cumulative, sum)
	}
	for u := range cumulative {
		cumulative[u] /= sum
	}
	return cumulative
}

// A few users make most requests, and each has his own latency. Blocks of
// requests tempered by the design effect, and blocks of the first request of
// each user, do not take that for a fault of the treatment.
func TestBusyUsersDoNotTripThePairedBet(t *testing.T) {
	const seed = 204
	n := runs(500, 150)
	const users, share = 2000, 0.2
	cumulative := zipf(users)
	var naive, tempered, first int
	for i := range n {
		s := seedOf(seed, i)
		treated, level := make([]bool, users), make([]float64, users)
		for u := range users {
			treated[u], level[u] = s.chance(share), latency(s, 0.6)
		}
		perRequest := NewPairedBet(Margin{Relative: 0.05}, 0, NewSchedule(1, 0))
		byDesign, firsts := perRequest, perRequest
		var all, fresh window
		var made Moments
		count := make([]float64, users)
		for request := 1; request <= 60*requestRate; request++ {
			u := search(cumulative, s.uniform())
			x, at := level[u]*s.logNormal(0, 0.3), float64(request)/requestRate
			if count[u] == 0 {
				made.N++
				fresh.add(treated[u], x)
			}
			made.Replace(count[u], count[u]+1)
			count[u]++
			all.add(treated[u], x)
			if request%10 != 0 { // windows of 50 ms
				continue
			}
			if b, ok := all.close(); ok {
				perRequest.Observe(at, b)
				b.DesignEffect = made.DesignEffect()
				byDesign.Observe(at, b)
			}
			if b, ok := fresh.close(); ok {
				firsts.Observe(at, b)
			}
		}
		for p, k := range map[*PairedBet]*int{&perRequest: &naive, &byDesign: &tempered, &firsts: &first} {
			if p.Tripped(BreakerAlpha) {
				*k++
			}
		}
	}
	t.Logf("of %d: per request %d, tempered %d, first requests %d", n, naive, tempered, first)
	checkFalse(t, seed, n, tempered, BreakerAlpha)
	checkFalse(t, seed, n, first, BreakerAlpha)
	if naive < n/20 {
		t.Errorf("requests counted one by one tripped only %d of %d: the test does not show the trap (seed %d)", naive, n, seed)
	}
}

func search(cumulative []float64, u float64) int {
	low, high := 0, len(cumulative)-1
	for low < high {
		if mid := (low + high) / 2; cumulative[mid] <= u {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// A window gathers observations until both arms have some.
type window struct{ treatment, control Moments }

func (w *window) add(treatment bool, x float64) {
	if treatment {
		w.treatment.Add(x)
	} else {
		w.control.Add(x)
	}
}

func (w *window) close() (Block, bool) {
	if w.treatment.N == 0 || w.control.N == 0 {
		return Block{}, false
	}
	b := Block{Treatment: w.treatment.Mean(), Control: w.control.Mean()}
	*w = window{}
	return b, true
}

// The better the treatment is, the further below 0 stands z, and the less may an
// error of rounding matter.
func TestABetterTreatmentNeverTrips(t *testing.T) {
	const seed = 205
	margin := Margin{Absolute: 100}
	for i := range runs(200, 30) {
		s := seedOf(seed, i)
		var treatment, control Moments
		for second := range 600 {
			for range 10 {
				treatment.Add(latency(s, 0.6))
			}
			for range 190 {
				control.Add(latency(s, 0.6))
			}
			if second < 10 {
				continue
			}
			c := margin.Contrast(treatment, control)
			if e := c.LogE(50); e > 0 {
				t.Fatalf("run %d, second %d: log E %v for a healthy treatment, %+v (seed %d)", i, second, e, c, seed)
			}
		}
	}
	for theta := -1.0; theta > -1e12; theta *= 10 {
		if e := NormalMixture(theta, 1e-6, 1); e > -1 {
			t.Errorf("θ=%v: log E %v for a treatment far better than the margin", theta, e)
		}
	}
}

// Heavy tails of few units are no evidence, if the least number of units is kept.
func TestContrastOfHeavyTailsDoesNotTrip(t *testing.T) {
	const seed = 206
	n := runs(1000, 200)
	for _, sigma := range []float64{0.5, 1, 1.5} {
		tripped := 0
		for i := range n {
			s := seedOf(seed, i)
			var treatment, control Moments
			for range 20000 {
				if s.chance(0.05) {
					treatment.Add(s.logNormal(0, sigma))
				} else {
					control.Add(s.logNormal(0, sigma))
				}
				if treatment.N < MinUnits || int(treatment.N+control.N)%20 != 0 {
					continue
				}
				if (Margin{}).Contrast(treatment, control).LogE(0.2) >= math.Log(1/BreakerAlpha) {
					tripped++
					break
				}
			}
		}
		checkFalse(t, seed, n, tripped, BreakerAlpha)
	}
}

func TestSampleRatioFindsAMismatch(t *testing.T) {
	const seed = 207
	n := runs(300, 100)
	limit := math.Log(1.0 / SampleRatioAlpha)
	flagged := func(s *stream, p float64) int {
		counts := []float64{0, 0}
		for unit := 1; unit <= 40000; unit++ {
			if s.chance(p) {
				counts[1]++
			} else {
				counts[0]++
			}
			if unit%20 == 0 && SampleRatio(counts, []float64{0.95, 0.05}, SampleRatioPrior) >= limit {
				return unit
			}
		}
		return 0
	}
	wrong, found := 0, 0
	for i := range n {
		if flagged(seedOf(seed, i), 0.05) > 0 {
			wrong++
		}
		if u := flagged(seedOf(seed, i), 0.06); u > 0 && u < 20000 {
			found++
		}
	}
	t.Logf("of %d, %d flagged as planned, %d at 6 %% in place of 5", n, wrong, found)
	if wrong > mostFalse(n, SampleRatioAlpha) || found < n*9/10 {
		t.Errorf("of %d, %d flagged as planned, %d at 6 %% in place of 5 (seed %d)", n, wrong, found, seed)
	}
}
