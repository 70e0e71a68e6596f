package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// oracle reads one key of the numeric oracles, which peers' own programs computed.
func oracle(t *testing.T, key string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "oracles", "statistics.json"))
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("CI") != "true" {
		t.Skip("SKIPPED: no oracles")
	}
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(keys[key], into); err != nil {
		t.Fatal(err)
	}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-6*math.Abs(want)) {
		t.Errorf("%s: got %.15g, want %.15g", what, got, want)
	}
}

// sample returns an arm from its sums, with the unbiased variance.
func sample(n, sum, squares float64) arm { return arm{n, sum / n, (squares - sum*sum/n) / (n - 1)} }

func TestPeersFormulas(t *testing.T) {
	var o struct {
		Cases []struct {
			Data, Test, Difference string
			Alpha, Expected, SE    float64
			Tuning                 float64 `json:"N*"`
			CI                     [2]*float64
			P                      any
		}
	}
	oracle(t, "gbstats", &o)
	arms := map[string][2]arm{
		"prop 950/95000 vs 75/5000":                              {proportion(95000, 950), proportion(5000, 75)},
		"mean n=9500 sum=1e6 ss=1.3e8 vs n=500 sum=6e4 ss=8.5e6": {sample(9500, 1e6, 1.3e8), sample(500, 6e4, 8.5e6)},
	}
	seen := 0
	for _, c := range o.Cases {
		of, ok := arms[c.Data]
		if !ok {
			continue // ratios and CUPED: their moments are tested where ours are
		}
		seen++
		relative := c.Difference == "relative"
		d, se := difference(of[0], of[1], relative)
		near(t, c.Data, d, c.Expected)
		near(t, "standard error", se, c.SE)
		n := of[0].n + of[1].n
		switch c.Test {
		case "TwoSidedTTest":
			_, width, p := welch(of[0], of[1], relative, c.Alpha)
			near(t, "low", d-width, *c.CI[0])
			near(t, "high", d+width, *c.CI[1])
			near(t, "p", p, c.P.(float64))
		case "SequentialTwoSidedTTest":
			width := asymptoticWidth(se, n, c.Alpha, c.Tuning, false)
			near(t, "low", d-width, *c.CI[0])
			near(t, "high", d+width, *c.CI[1])
			near(t, "p", asymptoticP(d, se, n, c.Alpha, c.Tuning), c.P.(float64))
		default:
			near(t, "low, one-sided", d-asymptoticWidth(se, n, c.Alpha, c.Tuning, true), *c.CI[0])
		}
	}
	if seen != 24 {
		t.Errorf("%d cases, want 24", seen)
	}
}

func TestWidthsAndRatios(t *testing.T) {
	var widths struct {
		Cases []struct {
			SE, N, Alpha float64
			Tuning       float64 `json:"N*"`
			OneSided     bool    `json:"one_sided"`
			HalfWidth    float64
		}
	}
	oracle(t, "asympcs_halfwidth", &widths)
	for _, c := range widths.Cases {
		near(t, "half width", asymptoticWidth(c.SE, c.N, c.Alpha, c.Tuning, c.OneSided), c.HalfWidth)
	}
	var ratios struct {
		Cases []struct{ D, V, Tau, LogLambda, P float64 }
	}
	oracle(t, "msprt_two_sided", &ratios)
	for _, c := range ratios.Cases {
		got := sequentialRatio(c.D, c.V, c.Tau)
		near(t, "log Λ", got, c.LogLambda)
		near(t, "p", math.Min(1, math.Exp(-got)), c.P)
	}
	var shares struct {
		Cases []struct {
			N, W []float64
			P    float64
		}
	}
	oracle(t, "srm_chi2_gbstats", &shares)
	for _, c := range shares.Cases {
		near(t, "χ²", chiSquareP(c.N, c.W), c.P)
	}
	var bounds struct {
		P0, R0, Pi, Alpha float64
		Cases             []struct {
			P1      float64
			KL      float64
			N       float64 `json:"n_treat"`
			Seconds float64 `json:"seconds_at_10_treat_per_s"`
			Label   float64 `json:"label_kl_per_treat_obs"`
		}
	}
	oracle(t, "kl_lower_bound", &bounds)
	for _, c := range bounds.Cases {
		kl := divergence(c.P1, bounds.R0*bounds.P0)
		near(t, "divergence", kl, c.KL)
		near(t, "trials", math.Log(1/bounds.Alpha)/kl, c.N)
		near(t, "seconds", math.Log(1/bounds.Alpha)/kl/10, c.Seconds)
		theta := func(r float64) float64 { return bounds.Pi * r / (bounds.Pi*r + 1 - bounds.Pi) }
		failures := bounds.P0 * (bounds.Pi*c.P1/bounds.P0 + 1 - bounds.Pi)
		near(t, "of labels", divergence(theta(c.P1/bounds.P0), theta(bounds.R0))*failures/bounds.Pi, c.Label)
	}
}

// What Hodges and Lehmann would say of arms that can be looked through.
func TestShift(t *testing.T) {
	a, b := []float64{1, 2, 3, 4, 10}, []float64{3, 4, 5, 6, 12}
	estimate, low := shift(a, b, 0.98)
	if math.Abs(estimate-2) > 1e-6 || low < -7 || low > 1 {
		t.Errorf("estimate %v, low %v; want 2 and less", estimate, low)
	}
	for k, want := range []float64{-7, -6, -5, -4, -1} {
		if got := nthDifference(a, b, float64(k+1)); math.Abs(got-want) > 1e-6 {
			t.Errorf("difference %d: %v, want %v", k+1, got, want)
		}
	}
}

// A short run has everyone in it, keeps the order that is known, and repeats itself.
func TestBenchmark(t *testing.T) {
	c := config{runs: 60, healthy: 4, hours: 0.5, seed: 1, share: 0.05, effects: []float64{0.2}}
	f, again := bench(c), bench(c)
	one, _ := json.Marshal(f)
	two, _ := json.Marshal(again)
	if string(one) != string(two) {
		t.Error("the same seed gives other figures")
	}
	for _, x := range f.Faults {
		by := map[string]delay{}
		for _, d := range x.Delays {
			by[d.Rule] = d
		}
		ours := by["flyball"]
		if len(by) != len(contestants())+1 || ours.Found != 1 || ours.Early > 0.1 {
			t.Errorf("change at %v: %d rules, ours %+v", x.Change, len(by), ours)
		}
		if !(ours.Mean > by[seer].Mean && ours.Mean < by["GrowthBook's formula, 1 s"].Mean) {
			t.Errorf("change at %v: clairvoyant %v, ours %v, another %v s", x.Change, by[seer].Mean, ours.Mean, by["GrowthBook's formula, 1 s"].Mean)
		}
		if gap := map[float64]float64{0: 1.65, 1800: 1.35}[x.Change]; ours.Gap > gap*1.15 { // few runs
			t.Errorf("change at %v: detection gap %.2f, at most %v", x.Change, ours.Gap, gap)
		}
	}
	for rate, all := range f.Calm {
		for _, of := range all {
			if of.Rule == "flyball" && of.Stopped > 0.5 {
				t.Errorf("%s: %+v of healthy rollouts", rate, of)
			}
		}
	}
}
