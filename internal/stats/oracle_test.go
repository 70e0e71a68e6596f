package stats

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// oracle reads one key of the numeric oracles, which were computed elsewhere: by
// other programs in another language.
func oracle(t *testing.T, key string, into any) {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "oracles", "statistics.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("CI") != "true" {
		t.Skipf("SKIPPED: no oracles at %s", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(keys[key], into); err != nil {
		t.Fatalf("oracle %s: %v", key, err)
	}
}

// inOracles is the breaker that the oracles were computed with: another grid,
// evenly weighed.
func inOracles(m Margin, s Schedule) Labels {
	return Labels{Breaker: NewBreaker(6, s), Ratio: m.Ratio(), Grid: Alternatives{1.2, 1.4, 1.8, 3, 8, 25}}
}

// halves is their schedule: half of the mass at the start, half over a day.
var halves = Schedule{Start: 0.5, Rate: 0.5 / 86400, Horizon: 86400}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-6*math.Abs(want)) {
		t.Errorf("%s: got %.15g, want %.15g", what, got, want)
	}
}

// nearLog compares logarithms, of which an absolute error is the relative error
// of what they are of; those near 0 carry no relative precision themselves.
func nearLog(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-6*max(math.Abs(want), 1e-3)) {
		t.Errorf("%s: got %.15g, want %.15g", what, got, want)
	}
}

func TestSplitmix64(t *testing.T) {
	var o struct {
		Seed  uint64
		First []float64 `json:"first_u"`
	}
	oracle(t, "splitmix64_check", &o)
	s := newStream(o.Seed)
	for i, want := range o.First {
		if got := s.uniform(); got != want {
			t.Errorf("number %d: got %v, want %v", i, got, want)
		}
	}
}

func TestLabelIncrements(t *testing.T) {
	var o struct {
		Cases []struct {
			Pi, R0, G float64
			T         float64 `json:"inc_treatment"`
			C         float64 `json:"inc_control"`
		}
	}
	oracle(t, "label_increments", &o)
	for _, c := range o.Cases {
		one := func(e Events) float64 {
			e.Share = c.Pi
			l := Labels{Breaker: NewBreaker(1, FromStart()), Ratio: c.R0, Grid: Alternatives{c.G, 1, 1, 1, 1, 1}}
			l.Observe(0, e)
			batch := l
			batch.Breaker = NewBreaker(1, FromStart())
			batch.Observe(0, Events{Share: c.Pi, Treatment: 3 * e.Treatment, Control: 3 * e.Control, DesignEffect: 3})
			near(t, "three alike events of one unit", batch.LogE(), l.LogE())
			return l.LogE()
		}
		near(t, "treatment", one(Events{Treatment: 1}), c.T)
		near(t, "control", one(Events{Control: 1}), c.C)
	}
}

func TestLabelSequence(t *testing.T) {
	var o struct {
		R0    float64
		Cases []struct {
			Pi     any
			Labels []int
			LogE   []float64
		}
	}
	oracle(t, "label_eprocess_sequence", &o)
	for _, c := range o.Cases {
		l := inOracles(Margin{Relative: o.R0 - 1}, FromStart())
		for i, label := range c.Labels {
			pi, constant := c.Pi.(float64)
			if !constant { // "ramp: 5 events at .01, 5 at .05, 5 at .2, 5 at .5"
				pi = []float64{0.01, 0.05, 0.2, 0.5}[i/5]
			}
			l.Observe(float64(i), Events{Share: pi, Treatment: int64(label), Control: int64(1 - label)})
			nearLog(t, "log E", l.LogE(), c.LogE[i])
		}
	}
}

func TestBreakerSequence(t *testing.T) {
	var o struct {
		R0    float64
		Cases []struct {
			Events [][4]float64 `json:"events_t_xT_xC_pi"`
			LogE   []float64
		}
	}
	oracle(t, "breaker_eprocess", &o)
	for _, c := range o.Cases {
		l := inOracles(Margin{Relative: o.R0 - 1}, halves)
		for i, e := range c.Events {
			l.Observe(e[0], Events{Treatment: int64(e[1]), Control: int64(e[2]), Share: e[3]})
			nearLog(t, "log E", l.LogE(), c.LogE[i])
		}
	}
}

func TestFirstEventLogrank(t *testing.T) {
	var o struct {
		Start struct{ NT, NC int64 }
		Rows  []struct {
			Op   string
			Arg  json.RawMessage
			NT   int64 `json:"nT_after"`
			NC   int64 `json:"nC_after"`
			LogE float64
		}
	}
	oracle(t, "first_event_logrank", &o)
	atRisk := RiskSet{Treatment: o.Start.NT, Control: o.Start.NC}
	l := inOracles(Margin{}, FromStart())
	for i, row := range o.Rows {
		var n int64
		var arms [2]int64
		switch row.Op {
		case "event":
			unmarshal(t, row.Arg, &n)
			l.Observe(float64(i), atRisk.Event(n == 1))
		case "ramp":
			unmarshal(t, row.Arg, &n)
			atRisk.Ramp(n)
		case "expose":
			unmarshal(t, row.Arg, &arms)
			atRisk.Expose(arms[0], arms[1])
		default:
			t.Fatalf("row %d: unknown op %q", i, row.Op)
		}
		if want := (RiskSet{row.NT, row.NC}); atRisk != want {
			t.Errorf("row %d: at risk %+v, want %+v", i, atRisk, want)
		}
		nearLog(t, row.Op, l.LogE(), row.LogE)
	}
}

func unmarshal(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func TestPairedBetSequence(t *testing.T) {
	var o struct {
		Cases []struct {
			Delta, D float64
			Blocks   [][4]float64 `json:"blocks_t_xT_xC_chat"`
			LogE     []float64
		}
	}
	oracle(t, "paired_betting", &o)
	for _, c := range o.Cases {
		p := NewPairedBet(Margin{Absolute: c.Delta, Relative: c.D}, 0, halves)
		p.Blocks = 1
		for i, b := range c.Blocks {
			p.Control = b[3]
			p.Observe(b[0], Block{Treatment: b[1], Control: b[2]})
			nearLog(t, "log E", p.LogE(), c.LogE[i])
		}
	}
}

func TestNormalMixtureOracle(t *testing.T) {
	var o struct {
		Cases []struct {
			Theta        float64 `json:"theta_hat"`
			V, Tau, LogE float64
		}
	}
	oracle(t, "one_sided_normal_mixture", &o)
	for _, c := range o.Cases {
		near(t, "log E", NormalMixture(c.Theta, c.V, c.Tau), c.LogE)
	}
	var logPhis struct {
		Cases []struct{ Z, Value float64 }
	}
	oracle(t, "log_ndtr", &logPhis)
	for _, c := range logPhis.Cases {
		near(t, "log Φ", logPhi(c.Z), c.Value)
	}
	var peer struct{ Values map[string]float64 }
	oracle(t, "confseq", &peer)
	near(t, "one-sided ρ", Rho(100, 2*0.05), peer.Values["one_sided_best_rho(v=100,alpha=0.05)"])
	near(t, "two-sided ρ", Rho(100, 0.05), peer.Values["two_sided_best_rho(v=100,alpha=0.05)"])
	tau := 1 / math.Sqrt(Rho(100, 2*0.05))
	near(t, "log mixture at s=30", NormalMixture(0.3, 0.01, tau),
		peer.Values["normal_log_mixture(s=30,v=100,v_opt=100,alpha_opt=0.05,one_sided)"])
	near(t, "bound", 100*Radius(100, Rho(100, 0.05), 0.05),
		peer.Values["normal_mixture_bound(v=100,alpha=0.05,v_opt=100,alpha_opt=0.05,two_sided)"])
}

func TestRadiusOracle(t *testing.T) {
	var o struct {
		Cases []struct {
			I           float64 `json:"I"`
			Iopt        float64 `json:"I_opt"`
			Alpha       float64
			Rho, Radius float64
		}
	}
	oracle(t, "normal_mixture_cs", &o)
	for _, c := range o.Cases {
		near(t, "ρ", Rho(c.Iopt, c.Alpha), c.Rho)
		near(t, "radius", Radius(c.I, c.Rho, c.Alpha), c.Radius)
		got, ok := Contrast{Theta: 7, V: 1 / c.I}.Interval(1/math.Sqrt(c.Rho), c.Alpha)
		if !ok {
			t.Error("no interval")
		}
		near(t, "low", got.Low, 7-c.Radius)
		near(t, "high", got.High, 7+c.Radius)
	}
}

func TestContrastOracle(t *testing.T) {
	var o struct {
		Cases []struct {
			NT, SumT, SumSqT, NC, SumC, SumSqC float64
			D                                  float64 `json:"delta_rel"`
			Theta                              float64 `json:"theta_hat"`
			V                                  float64
		}
	}
	oracle(t, "relative_margin_contrast", &o)
	for _, c := range o.Cases {
		treatment, control := Moments{c.NT, c.SumT, c.SumSqT}, Moments{c.NC, c.SumC, c.SumSqC}
		got := Margin{Relative: c.D}.Contrast(treatment, control)
		near(t, "θ", got.Theta, c.Theta)
		near(t, "V", got.V, c.V)
		near(t, "θ beyond an absolute margin", Margin{Relative: c.D, Absolute: 2}.Contrast(treatment, control).Theta, c.Theta-2)
	}
}

func TestPoolOracle(t *testing.T) {
	var o struct {
		Strata [][2]float64
		Theta  float64 `json:"theta_pooled"`
		V      float64 `json:"V_pooled"`
		LogE   float64 `json:"logE_tau1"`
	}
	oracle(t, "stratified_pool", &o)
	var strata []Contrast
	for _, s := range o.Strata {
		strata = append(strata, Contrast{s[0], s[1]})
	}
	got := Pool(append(strata, Contrast{})...)
	near(t, "θ", got.Theta, o.Theta)
	near(t, "V", got.V, o.V)
	near(t, "log E", got.LogE(1), o.LogE)
}

func TestSampleRatioOracle(t *testing.T) {
	var o struct {
		Cases []struct {
			N, Theta []float64
			K, LogBF float64
		}
	}
	oracle(t, "srm_bayes_factor", &o)
	for _, c := range o.Cases {
		// After one unit of the larger arm the factor is 1 up to rounding of the
		// gamma functions, in the oracle as here.
		if math.Abs(c.LogBF) < 1e-9 {
			if got := SampleRatio(c.N, c.Theta, c.K); math.Abs(got) > 1e-9 {
				t.Errorf("%v: got %v, want about 0", c.N, got)
			}
			continue
		}
		near(t, "log BF", SampleRatio(c.N, c.Theta, c.K), c.LogBF)
	}
}

func TestBenjaminiHochbergOracle(t *testing.T) {
	var o struct {
		Cases []struct {
			E        []float64
			Alpha    float64
			Rejected []int `json:"rejected_idx"`
		}
	}
	oracle(t, "e_bh", &o)
	for _, c := range o.Cases {
		want := make([]bool, len(c.E))
		for _, i := range c.Rejected {
			want[i] = true
		}
		got := BenjaminiHochberg(c.E, c.Alpha)
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%v: rejected %v, want %v", c.E, got, want)
				break
			}
		}
	}
}

func TestMostFalseOracle(t *testing.T) {
	var o struct {
		Cases []struct {
			N     int `json:"N"`
			Alpha float64
			Max   int `json:"max_false_alarms"`
		}
	}
	oracle(t, "sim_acceptance", &o)
	for _, c := range o.Cases {
		if got := mostFalse(c.N, c.Alpha); got != c.Max {
			t.Errorf("N=%d α=%v: got %d, want %d", c.N, c.Alpha, got, c.Max)
		}
	}
}

// Whole request streams, of which each arm, each error and the very request that
// trips are known.
func TestStreamsTripAtTheExactRequest(t *testing.T) {
	var o struct {
		Cases []struct {
			Seed    uint64
			P1      float64
			Change  float64    `json:"change_sec"`
			Start   *int       `json:"stop_request_from_start"`
			Breaker *int       `json:"stop_request_breaker"`
			Seen    int        `json:"n_seen"`
			Errors  [2]float64 `json:"errors_CT"`
			Counts  [2]int     `json:"counts_CT"`
		}
	}
	oracle(t, "deterministic_streams", &o)
	for _, c := range o.Cases {
		s := newStream(c.Seed)
		fromStart := inOracles(Margin{Relative: 0.05}, FromStart())
		breaker := inOracles(Margin{Relative: 0.05}, halves)
		var errorsOf [2]float64
		var counts [2]int
		stops := map[*Labels]int{}
		for i := 1; i <= c.Seen; i++ {
			at, arm, p := float64(i)/200, 0, 0.01
			if s.chance(0.05) {
				arm = 1
				if at > c.Change {
					p = c.P1
				}
			}
			counts[arm]++
			if !s.chance(p) {
				continue
			}
			errorsOf[arm]++
			for _, l := range []*Labels{&fromStart, &breaker} {
				l.Observe(at, Events{Share: 0.05, Treatment: int64(arm), Control: int64(1 - arm)})
				if l.Tripped(0.01) && stops[l] == 0 {
					stops[l] = i
				}
			}
		}
		if counts != c.Counts || errorsOf != c.Errors {
			t.Errorf("seed %d p %v: counts %v errors %v, want %v and %v", c.Seed, c.P1, counts, errorsOf, c.Counts, c.Errors)
		}
		checkStop(t, "from start", c.Seed, stops[&fromStart], c.Start)
		checkStop(t, "breaker", c.Seed, stops[&breaker], c.Breaker)
	}
}

func checkStop(t *testing.T, what string, seed uint64, got int, want *int) {
	t.Helper()
	if want == nil {
		want = new(int)
	}
	if got != *want {
		t.Errorf("%s, seed %d: tripped at request %d, want %d (0 is never)", what, seed, got, *want)
	}
}
