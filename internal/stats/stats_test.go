package stats

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

// However the clock jumps and the steps fall, a breaker that sees nothing has
// given out at most 1, and its E is what it has given out.
func TestMassNeverExceedsOne(t *testing.T) {
	const seed = 301
	for i := range 300 {
		s := seedOf(seed, i)
		schedule := NewSchedule(1+i%3, time.Duration(s.uniform()*100)*time.Hour)
		if i%5 == 0 {
			schedule = Schedule{Start: s.uniform() * 1.2, Step: s.uniform(), Rate: s.uniform() / 100, Horizon: 1000 * s.uniform()}
		}
		b := NewBreaker(1+i%6, schedule)
		idle := Alternatives{1, 1, 1, 1, 1, 1}
		at := 0.0
		for range 200 {
			at += s.exponential() * 1e4 * (s.uniform() - 0.1)
			if s.chance(0.1) {
				b.Step(at)
			} else {
				b.Multiply(at, &idle)
			}
			if b.Spent > 1 || b.E() > 1+1e-12 || math.Abs(b.E()-b.Spent) > 1e-12 {
				t.Fatalf("run %d: spent %v, E %v with no data (seed %d): %+v", i, b.Spent, b.E(), seed, b)
			}
		}
	}
}

func TestScheduleGivesOutWhatItPlans(t *testing.T) {
	const day = 86400
	idle := Alternatives{1, 1, 1, 1, 1, 1}
	b := NewBreaker(6, NewSchedule(3, time.Hour)) // .5 at the start, .1 and .05 at steps, .3 over a day
	for _, tt := range []struct {
		at, spent float64
		step      bool
	}{
		{0, 0.5, false},
		{day / 3, 0.7, true},
		{day / 3, 0.7, false},
		{day / 4, 0.7, false}, // time does not run backwards
		{2 * day / 3, 0.85, true},
		{day, 0.95, false},
		{2 * day, 0.975, false}, // then half of what the step starts left
		{3 * day, 0.9875, false},
		{3 * day, 1, true}, // a third later step has .025, but only .0125 is left
		{math.Inf(1), 1, false},
	} {
		if tt.step {
			b.Step(tt.at)
		} else {
			b.Multiply(tt.at, &idle)
		}
		if math.Abs(b.Spent-tt.spent) > 1e-12 {
			t.Errorf("at %v s: spent %v, want %v", tt.at, b.Spent, tt.spent)
		}
	}
	one := NewBreaker(6, NewSchedule(1, 0))
	one.Multiply(10*day, &idle)
	if one.Spent != 1 {
		t.Errorf("one step: spent %v after its horizon, want 1", one.Spent)
	}
}

// states are one of each type that is written to a checkpoint.
type states struct {
	Labels   Labels
	Trials   Labels
	AtRisk   RiskSet
	Bet      PairedBet
	Within   NonInferiority
	Ratio    RateRatio
	Moments  Moments
	Contrast Contrast
}

func newStates() states {
	return states{
		Labels: NewLabels(Margin{Relative: 0.05}, NewSchedule(3, 0)),
		Trials: NewLabels(Margin{Relative: 0.05}, NewSchedule(3, 0)),
		AtRisk: RiskSet{Treatment: 50, Control: 950},
		Bet:    NewPairedBet(Margin{Relative: 0.05, HigherIsBetter: true}, 50, NewSchedule(3, 0)),
		Within: NewNonInferiority(1.25),
	}
}

func (st *states) observe(s *stream, at float64) {
	st.AtRisk.Expose(int64(s.source.Uint64()%3), int64(s.source.Uint64()%30))
	e := st.AtRisk.Event(s.chance(0.2))
	if s.chance(0.5) {
		e.Treatment, e.Control, e.DesignEffect = e.Treatment*2, e.Control+1, 1+at/1000
	}
	if s.chance(0.01) {
		st.Labels.Step(at)
		st.Bet.Step(at)
		st.Within.Step()
	}
	st.Labels.Observe(at, e)
	st.Trials.Limit = 100
	st.Trials.Observe(at, Events{Share: 0.1, Treatment: int64(armOf(s.chance(0.1))), Control: int64(armOf(s.chance(0.5))), TreatmentTrials: 2, ControlTrials: 18})
	st.Within.Observe(e)
	st.Ratio.Observe(e)
	x := s.logNormal(2, 0.5)
	st.Bet.Observe(at, Block{Treatment: x, Control: s.logNormal(2, 0.5), DesignEffect: 1 + at/2000})
	st.Moments.Add(x)
	st.Moments.Replace(x, x+1)
	st.Contrast = Margin{}.Contrast(st.Moments, Moments{N: 10, Sum: 100, SumSq: 1100})
}

// A process that was restarted from its checkpoint has the E of one that was not,
// to the last bit.
func TestARestartIsBitEqual(t *testing.T) {
	const seed = 302
	whole, restarted := newStates(), newStates()
	a, b := newStream(seed), newStream(seed)
	for i := range 1000 {
		at := float64(i) * 0.37
		whole.observe(a, at)
		restarted.observe(b, at)
		data, err := json.Marshal(restarted)
		if err != nil {
			t.Fatal(err)
		}
		restarted = states{}
		if err := json.Unmarshal(data, &restarted); err != nil {
			t.Fatal(err)
		}
		if restarted != whole {
			t.Fatalf("after %d observations (seed %d):\nrestarted %+v\nwhole     %+v", i+1, seed, restarted, whole)
		}
	}
	if whole.Labels.Peak <= 1 || whole.Bet.Peak == whole.Bet.Spent {
		t.Errorf("the run does not exercise the breakers: %+v", whole)
	}
}

// Nothing that comes in can make a state that JSON cannot carry, or trip.
func TestAbsurdInputLeavesTheStateSound(t *testing.T) {
	absurd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 0, 0.5, 1, 2, 1e-320, 1e99, 1e300, math.MaxFloat64}
	st := newStates()
	check := func(what any) {
		t.Helper()
		if _, err := json.Marshal(st); err != nil {
			t.Fatalf("after %+v: %v\n%+v", what, err, st)
		}
		for _, x := range []float64{st.Labels.LogE(), st.Trials.LogE(), st.Bet.LogE(), st.Within.LogE(), st.Labels.P()} {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				t.Fatalf("after %+v: log E %v", what, x)
			}
		}
	}
	for _, a := range absurd {
		for _, b := range absurd {
			for _, c := range absurd {
				e := Events{Share: a, Treatment: int64(b), Control: int64(c), DesignEffect: a}
				st.Labels.Observe(c, e)
				st.Trials.Observe(c, Events{Share: a, Treatment: int64(b), Control: int64(c), TreatmentTrials: int64(c), ControlTrials: int64(a)})
				st.Trials.Observe(c, Events{Share: a, TreatmentTrials: int64(b), ControlTrials: int64(c)})
				st.Within.Observe(e)
				st.Ratio.Observe(e)
				st.Bet.Observe(a, Block{Treatment: b, Control: c, DesignEffect: a})
				st.Bet.Observe(a, Block{Treatment: b, Control: c})
				st.Labels.Step(a)
				st.Moments.Add(a)
				st.Moments.Replace(b, c)
				st.Contrast = Pool(Contrast{a, b}, Contrast{b, c})
				check(e)
				if x := NormalMixture(a, b, c); math.IsNaN(x) || math.IsInf(x, 0) {
					t.Errorf("NormalMixture(%v, %v, %v) = %v", a, b, c, x)
				}
				if i, ok := (Contrast{a, b}).Interval(c, 0.05); ok && !(i.Low <= i.High) {
					t.Errorf("Contrast{%v, %v}.Interval(%v) = %v", a, b, c, i)
				}
				SampleRatio([]float64{a, b}, []float64{c}, 1000)
			}
		}
	}
}

// Only one arm could have had it: that says nothing.
func TestABatchWithOneArmIsSkipped(t *testing.T) {
	l := NewLabels(Margin{Relative: 0.05}, NewSchedule(1, 0))
	before := l
	for _, share := range []float64{0, 1} {
		l.Observe(1, Events{Share: share, Treatment: 5, Control: 5})
	}
	l.Observe(1, Events{Share: 0.5})
	if l != before {
		t.Errorf("got %+v, want %+v", l, before)
	}
}

func TestTrippedStaysTripped(t *testing.T) {
	l := NewLabels(Margin{Relative: 0.05}, NewSchedule(1, 0))
	l.Observe(1, Events{Share: 0.05, Treatment: 20})
	l.Observe(2, Events{Share: 0.05, Control: 10000})
	if !l.Tripped(0.01) || l.P() > 0.01 || l.LogE() > 0 {
		t.Errorf("tripped %v, p %v, log E %v; want a trip, and no evidence of now", l.Tripped(0.01), l.P(), l.LogE())
	}
}

// How events are cut into batches does not matter, nor which way their product
// is taken.
func TestBatchesMultiply(t *testing.T) {
	for _, n := range []int64{1, 3, few/2 - 1, few / 2, few/2 + 1, 100} {
		one, whole := NewLabels(Margin{Relative: 0.1}, FromStart()), NewLabels(Margin{Relative: 0.1}, FromStart())
		for range n {
			one.Observe(0, Events{Share: 0.3, Treatment: 1})
			one.Observe(0, Events{Share: 0.3, Control: 1})
		}
		whole.Observe(0, Events{Share: 0.3, Treatment: n, Control: n})
		near(t, "log E", whole.LogE(), one.LogE())
	}
}

// When the design effect grows, what was counted too fully is taken back, but
// evidence for health is not turned into less of it.
func TestTemperingOnlyShrinks(t *testing.T) {
	l := NewLabels(Margin{}, FromStart())
	l.Observe(1, Events{Share: 0.05, Treatment: 6})
	full := l.LogE()
	l.Observe(2, Events{Share: 0.05, Control: 1, DesignEffect: 3})
	fresh := NewLabels(Margin{}, FromStart())
	fresh.Observe(1, Events{Share: 0.05, Treatment: 6, Control: 1, DesignEffect: 3})
	if l.LogE() > fresh.LogE()+1e-9 || l.LogE() > full/2 {
		t.Errorf("log E %v, at most %v, that of the same events tempered at once", l.LogE(), fresh.LogE())
	}
	healthy := NewLabels(Margin{}, FromStart())
	healthy.Observe(1, Events{Share: 0.05, Control: 100})
	before := healthy.M
	healthy.temper(4)
	if healthy.M != before {
		t.Errorf("tempering raised %v to %v", before, healthy.M)
	}
}

// Nothing of the steps before may vouch for the load of this one.
func TestEvidenceMustBeFresh(t *testing.T) {
	n := NewNonInferiority(2)
	n.Observe(Events{Share: 0.5, Treatment: 300, Control: 300})
	if !n.Shown(AdvanceAlpha) {
		t.Fatal("600 events of equal arms do not exclude a ratio of 2")
	}
	n.Step()
	n.Observe(Events{Share: 0.5, Treatment: 50, Control: 50})
	if n.Shown(AdvanceAlpha) {
		t.Error("shown with a seventh of the information from the present step")
	}
	n.Observe(Events{Share: 0.5, Treatment: 60, Control: 60})
	if !n.Shown(AdvanceAlpha) {
		t.Error("not shown with more than a quarter from the present step")
	}

	old, little, enough := Contrast{-1, 0.01}, Contrast{-1, 0.1}, Contrast{-1, 0.02}
	if Within([]Contrast{old, little}, 1, AdvanceAlpha) || !Within([]Contrast{old, enough}, 1, AdvanceAlpha) {
		t.Error("means: want a quarter of the information from the last step, and no more")
	}
	if Within([]Contrast{old, {}}, 1, AdvanceAlpha) || Within(nil, 1, AdvanceAlpha) || Within([]Contrast{{0.5, 0.01}}, 1, AdvanceAlpha) {
		t.Error("shown by nothing, or by what is beyond the margin")
	}
}

func TestMargins(t *testing.T) {
	lower, higher := Margin{Relative: 0.05}, Margin{Relative: 0.05, HigherIsBetter: true}
	for _, tt := range []struct {
		what      string
		got, want float64
	}{
		{"ratio", lower.Ratio(), 1.05},
		{"ratio, higher is better", higher.Ratio(), 0.95},
		{"into 5 %", lower.StepRatio(0.05), 2},
		{"into 20 %", lower.StepRatio(0.2), 1.25},
		{"into 50 %", lower.StepRatio(0.5), 1.10},
		{"into 100 %", lower.StepRatio(1), 1.05},
		{"into 100 %, a wider margin", Margin{Relative: 0.2}.StepRatio(1), 1.2},
		{"into 100 %, no margin", Margin{}.StepRatio(1), 1.05},
		{"into 5 %, higher is better", higher.StepRatio(0.05), 0.5},
		{"mean into 20 %", Margin{Absolute: 10}.AtStep(0.2, 100).Absolute, 25},
		{"mean into 100 %", Margin{Absolute: 10}.AtStep(1, 100).Absolute, 10},
		{"relative mean into 100 %", Margin{Relative: 0.2}.AtStep(1, 100).Absolute, 20},
		{"τ of a wide margin", Margin{Absolute: 100}.Tau(178), 50},
		{"τ of none", Margin{}.Tau(178), 8.9},
	} {
		near(t, tt.what, tt.got, tt.want)
	}
}

// A drop beyond the margin is above 0 where higher is better.
func TestContrastWhereHigherIsBetter(t *testing.T) {
	var treatment, control Moments
	for i := range 100 {
		treatment.Add(8 + float64(i%2))
		control.Add(10 + float64(i%2))
	}
	c := Margin{Relative: 0.1, HigherIsBetter: true}.Contrast(treatment, control)
	near(t, "θ", c.Theta, 0.9*10.5-8.5)
	if c.LogE(0.5) < math.Log(100) || c.Negate().LogE(0.5) > 0 {
		t.Errorf("log E %v and %v against: a drop of a fifth is beyond a tenth", c.LogE(0.5), c.Negate().LogE(0.5))
	}
}

// A unit's sum that grows is one unit with another value, not another unit.
func TestReplaceKeepsTheVarianceBetweenUnits(t *testing.T) {
	var grown, final, merged Moments
	for i := range 10 {
		x := float64(i * i)
		grown.Add(0)
		for part := range 4 {
			grown.Replace(x*float64(part)/4, x*float64(part+1)/4)
		}
		final.Add(x)
	}
	merged.Merge(final)
	near(t, "mean", grown.Mean(), 28.5)
	near(t, "variance", grown.Variance(), final.Variance())
	near(t, "design effect", Moments{N: 3, Sum: 6, SumSq: 14}.DesignEffect(), 14.0/6)
	if merged != final || (Moments{}).DesignEffect() != 1 {
		t.Error("merging with nothing, or nothing, is not neutral")
	}
}

// Both runs on every event of every metric.
func TestUpdatesDoNotAllocate(t *testing.T) {
	l, p := NewLabels(Margin{Relative: 0.05}, NewSchedule(1, 0)), NewPairedBet(Margin{Absolute: 100}, 0, NewSchedule(1, 0))
	n, r := NewNonInferiority(1.25), RateRatio{}
	at := 0.0
	if got := testing.AllocsPerRun(100, func() {
		at += 0.05
		e := Events{Share: 0.05, Treatment: 1, Control: 2}
		l.Observe(at, e)
		l.Observe(at, Events{Share: 0.05, Control: 1})
		n.Observe(e)
		r.Observe(e)
		p.Observe(at, Block{Treatment: 200, Control: 180})
	}); got != 0 {
		t.Errorf("an update allocates %v times; it runs on every event of every metric", got)
	}
}

func BenchmarkBreaker(b *testing.B) {
	l := NewBreaker(6, NewSchedule(1, 0))
	treatment, control := Alternatives{1.19, 1.38, 1.73, 2.7, 5.9, 11}, Alternatives{0.99, 0.98, 0.963, 0.907, 0.744, 0.44}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		ratios := &control
		if i%19 == 0 {
			ratios = &treatment
		}
		l.Multiply(float64(i)*0.005, ratios)
	}
}

func BenchmarkLabelsEvent(b *testing.B) {
	l := NewLabels(Margin{Relative: 0.05}, NewSchedule(1, 0))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e := Events{Share: 0.05, Control: 1}
		if i%19 == 0 {
			e = Events{Share: 0.05, Treatment: 1}
		}
		l.Observe(float64(i)*0.005, e)
	}
}

func BenchmarkLabelsBatch(b *testing.B) {
	l := NewLabels(Margin{Relative: 0.05}, NewSchedule(1, 0))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.Observe(float64(i)*0.05, Events{Share: 0.05, Treatment: int64(i % 19 / 18), Control: 2})
	}
}

func BenchmarkLabelsTrials(b *testing.B) {
	l := NewLabels(Margin{Relative: 0.05}, NewSchedule(1, 0))
	l.Base = Baseline{X: 10, N: 1000}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.Observe(float64(i)*0.05, Events{Share: 0.05, Treatment: int64(i % 19 / 18), TreatmentTrials: 5, ControlTrials: 95})
	}
}

func BenchmarkPairedBet(b *testing.B) {
	p := NewPairedBet(Margin{Absolute: 100}, 0, NewSchedule(1, 0))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.Observe(float64(i)*0.05, Block{Treatment: 150 + float64(i%7)*10, Control: 180})
	}
}

func BenchmarkNonInferiority(b *testing.B) {
	n := NewNonInferiority(1.25)
	b.ReportAllocs()
	for b.Loop() {
		n.Observe(Events{Share: 0.05, Treatment: 1, Control: 19})
	}
}

func BenchmarkNormalMixture(b *testing.B) {
	for i := 0; b.Loop(); i++ {
		NormalMixture(float64(i%100)-90, 4, 50)
	}
}
