package stats

import (
	"math"
	"testing"
)

func TestRatioOracle(t *testing.T) {
	var o struct {
		Cases []struct {
			R, VarR, N       float64
			SumM, SsM        float64
			SumD, SsD, SumMD float64
			M                float64 `json:"sum_m"`
			MM               float64 `json:"ss_m"`
			D                float64 `json:"sum_d"`
			DD               float64 `json:"ss_d"`
			MD               float64 `json:"sp"`
		}
	}
	oracle(t, "ratio_delta_method", &o)
	var arms []Pairs
	for _, c := range o.Cases {
		p := Pairs{N: c.N, X: c.M, XX: c.MM, Y: c.D, YY: c.DD, Cross: c.MD}
		got := p.Ratio()
		near(t, "R", got.Value, c.R)
		near(t, "V", got.V, c.VarR)
		arms = append(arms, p)
	}
	c := Margin{Relative: 0.05, Absolute: 0.001}.RatioContrast(arms[1], arms[0])
	near(t, "θ", c.Theta, o.Cases[1].R-1.05*o.Cases[0].R-0.001)
	near(t, "V", c.V, o.Cases[1].VarR+1.05*1.05*o.Cases[0].VarR)
}

func TestCupedOracle(t *testing.T) {
	var o struct {
		Theta    float64
		Control  float64 `json:"adj_mean_c"`
		Treated  float64 `json:"adj_mean_t"`
		FromPeer float64 `json:"theta_gbstats"`
	}
	oracle(t, "cuped", &o)
	control := Pairs{N: 1000, X: 10000, XX: 150000, Y: 9800, YY: 145000, Cross: 140000}
	treatment := Pairs{N: 1100, X: 11800, XX: 180000, Y: 10900, YY: 163000, Cross: 160500}
	theta := Slope(treatment, control)
	near(t, "θ", theta, o.Theta)
	near(t, "control", control.Adjusted(theta).Value, o.Control)
	near(t, "treatment", treatment.Adjusted(theta).Value, o.Treated)
	c := Margin{}.AdjustedContrast(treatment, control, theta)
	near(t, "difference", c.Theta, o.Treated-o.Control)
	var peers struct {
		Cases []struct {
			Data, Difference string
			SE, Expected     float64
		}
	}
	oracle(t, "gbstats", &peers)
	compared := false
	for _, p := range peers.Cases {
		if p.Data == "CUPED pa/pb (see cuped)" && p.Difference == "absolute" {
			near(t, "standard error", math.Sqrt(c.V), p.SE)
			compared = true
		}
	}
	if !compared {
		t.Error("no standard error to compare with")
	}
}

// The variances that are told are those of the estimates: of ratios whose events
// come in clusters, and of means of which the past foretells most, with a
// relative margin too.
func TestVariancesAreTrue(t *testing.T) {
	const seed = 411
	n := runs(2000, 600)
	var ratio, adjusted, plain Moments
	ratioV, adjustedV := 0.0, 0.0
	for i := range n {
		s := seedOf(seed, i)
		var arms, before [2]Pairs
		for range 2000 {
			arm := armOf(s.chance(0.3))
			visits, level := s.gap(0.2), s.logNormal(0, 0.5)
			arms[arm].Add(visits*level*0.1, visits)
			past := s.logNormal(2, 0.4)
			before[arm].Add(0.9*past+s.normal(), past)
		}
		r := Margin{Relative: 0.1}.RatioContrast(arms[1], arms[0])
		a := Margin{Relative: 0.1}.AdjustedContrast(before[1], before[0], 0.9)
		ratio.Add(r.Theta)
		ratioV += r.V / float64(n)
		adjusted.Add(a.Theta)
		adjustedV += a.V / float64(n)
		plain.Add(Margin{Relative: 0.1}.Contrast(before[1].x(), before[0].x()).Theta)
	}
	t.Logf("ratio %.3g told %.3g; adjusted %.3g told %.3g, without adjustment %.3g",
		ratio.Variance(), ratioV, adjusted.Variance(), adjustedV, plain.Variance())
	tolerance := 5 * math.Sqrt(2/float64(n))
	for what, got := range map[string]float64{"ratio": ratio.Variance() / ratioV, "adjusted": adjusted.Variance() / adjustedV} {
		if math.Abs(got-1) > tolerance {
			t.Errorf("%s: the variance is %.3f times what is told (seed %d)", what, got, seed)
		}
	}
	if bias := math.Abs(adjusted.Mean() - plain.Mean()); bias > 5*math.Sqrt(plain.Variance()/float64(n)) {
		t.Errorf("adjusted by %v (seed %d)", bias, seed)
	}
	if adjusted.Variance() > 0.5*plain.Variance() {
		t.Errorf("the past explains most, yet the variance only fell from %v to %v (seed %d)", plain.Variance(), adjusted.Variance(), seed)
	}
}

// What a unit's replaced values add up to is what they are at the end.
func TestPairsReplace(t *testing.T) {
	var grown, final Pairs
	for i := range 10 {
		x, y := float64(i), float64(i*i)
		grown.Add(0, 1)
		grown.Replace(0, 1, x, y/2)
		grown.Replace(x, y/2, 2*x, y)
		final.Add(2*x, y)
	}
	if grown != final {
		t.Errorf("got %+v, want %+v", grown, final)
	}
	before := final
	final.Add(math.NaN(), 1)
	final.Replace(1, 2, math.Inf(1), 0)
	if final != before || (Pairs{}).Ratio() != (Estimate{}) || Slope() != 0 {
		t.Error("what is no number was counted, or nothing is something")
	}
}

// Ten extreme orders decide nothing once both arms are cut at control's cap.
func TestCapOf(t *testing.T) {
	var values []float64
	for i := range 1000 {
		values = append(values, float64(999-i))
	}
	if got := CapOf(values); got != 998 {
		t.Errorf("cap %v, want 998, the 999th of 1000", got)
	}
	if CapOf(nil) != 0 || CapOf([]float64{7}) != 7 {
		t.Error("the cap of nothing, or of one value")
	}
	const seed = 412
	n := runs(1000, 200)
	trips := func(cut bool) (tripped int) {
		for i := range n {
			s := seedOf(seed, i)
			var arms [2]Moments
			bound, first := math.Inf(1), []float64{}
			for unit := range 6000 {
				x := s.logNormal(0, 1)
				if s.chance(0.0005) {
					x *= 1000
				}
				arm := armOf(s.chance(0.1))
				if first != nil && arm == 0 {
					if first = append(first, x); len(first) == WarmUpUnits {
						if cut {
							bound = CapOf(first)
						}
						first = nil
					}
				}
				arms[arm].Add(min(x, bound))
				if unit%50 == 0 && first == nil && arms[1].N >= MinUnits {
					if (Margin{}).Contrast(arms[1], arms[0]).LogE(0.1) >= math.Log(1/BreakerAlpha) {
						tripped++
						break
					}
				}
			}
		}
		return tripped
	}
	checkFalse(t, seed, n, trips(true), BreakerAlpha)
}

// Users who stay over four steps of a ramp: z of the pooled contrast must have
// variance 1. Taking the steps for independent, it has 1.4.
func TestPersistentUnitsOverSteps(t *testing.T) {
	const seed = 413
	n, users := runs(1200, 300), runs(20000, 5000)
	shares := []float64{0.01, 0.05, 0.2, 0.5}
	var independent, cohorts, robust Moments
	for i := range n {
		s := seedOf(seed, i)
		level, bucket := make([]float64, users), make([]float64, users)
		for u := range users {
			level[u], bucket[u] = 0.9*s.normal(), s.uniform()
		}
		var steps [][]UnitValue
		var all, fresh []Contrast
		before := 0.0
		for _, share := range shares {
			var step []UnitValue
			var arms, coin [2]Moments
			for u := range users {
				if !s.chance(0.7) {
					continue
				}
				x, treated := level[u]+0.44*s.normal(), bucket[u] < share
				step = append(step, UnitValue{u, treated, x})
				arms[armOf(treated)].Add(x)
				if bucket[u] >= before {
					coin[armOf(treated)].Add(x)
				}
			}
			steps = append(steps, step)
			all = append(all, Margin{}.Contrast(arms[1], arms[0]))
			fresh = append(fresh, Margin{}.Contrast(coin[1], coin[0]))
			before = share
		}
		z := func(c Contrast) float64 { return c.Theta / math.Sqrt(c.V) }
		independent.Add(z(Pool(all...)))
		cohorts.Add(z(Pool(fresh...)))
		robust.Add(z(PoolUnits(Margin{}, steps...)))
	}
	t.Logf("variance of z: taken as independent %.2f, fresh-coin cohorts %.2f, by unit %.2f",
		independent.Variance(), cohorts.Variance(), robust.Variance())
	slack := 4*math.Sqrt(2/float64(n)) - 4*math.Sqrt(2/1200.0) // beside the few runs of a quick test
	for what, v := range map[string]float64{"cohorts": cohorts.Variance(), "by unit": robust.Variance()} {
		if v < 0.85-slack || v > 1.12+slack {
			t.Errorf("%s: z has variance %.3f (seed %d)", what, v, seed)
		}
	}
	if !raceDetector && independent.Variance() < 1.15 {
		t.Errorf("steps taken as independent have variance %.2f: the test does not show the trap (seed %d)", independent.Variance(), seed)
	}
	if PoolUnits(Margin{}) != (Contrast{}) {
		t.Error("an estimate of nothing")
	}
}
