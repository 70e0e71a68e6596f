package flyball_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
)

func TestAMetricIsFilledInWithItsDefaults(t *testing.T) {
	got := flyball.Metric{Key: "checkout.errors", Type: flyball.MetricRate, Better: flyball.BetterLower}.WithDefaults()
	want := flyball.Metric{
		Key: "checkout.errors", Type: flyball.MetricRate, Better: flyball.BetterLower, Of: flyball.Source{Observation: "checkout.errors"},
		Analysis: flyball.AnalysisUnit, Window: minutes(30),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	told(t, got.Validate())
}

func TestAMetricTellsEveryProblem(t *testing.T) {
	const noName = "name an observation, in 1 to 128 bytes"
	for _, tt := range []struct {
		name  string
		alter func(*flyball.Metric)
		want  []string
	}{
		{"a mean", func(*flyball.Metric) {}, nil},
		{"an empty one tells all of them at once", func(m *flyball.Metric) { *m = flyball.Metric{} }, []string{
			`key: "" is not a key: 3 to 128 of a-z, 0-9, '.', '_' and '-', with a letter or digit at both ends`,
			`better: "" is not one of [lower higher]`, `analysis: "" is not one of [unit request]`, `type: "" is not one of [rate mean quantile ratio stream]`,
		}},
		{"a mean of nothing", func(m *flyball.Metric) { m.Of.Observation = "" }, []string{"of.observation: " + noName}},
		{"a rate of a very long name", func(m *flyball.Metric) { m.Type, m.Of.Observation = flyball.MetricRate, strings.Repeat("x", 129) }, []string{"of.observation: " + noName}},
		{"a quantile", func(m *flyball.Metric) { m.Type, m.Quantile = flyball.MetricQuantile, 0.99 }, nil},
		{"a quantile of which", func(m *flyball.Metric) { m.Type = flyball.MetricQuantile }, []string{"quantile: must lie between 0 and 1"}},
		{"the hundredth percentile", func(m *flyball.Metric) { m.Type, m.Quantile = flyball.MetricQuantile, 1 }, []string{"quantile: must lie between 0 and 1"}},
		{"no number", func(m *flyball.Metric) { m.Type, m.Quantile, m.Cap = flyball.MetricQuantile, math.NaN(), math.NaN() }, []string{
			"cap: must be a positive number", "quantile: must lie between 0 and 1",
		}},
		{"a ratio", func(m *flyball.Metric) {
			m.Type, m.Of, m.Numerator, m.Denominator = flyball.MetricRatio, flyball.Source{}, "revenue", "orders"
		}, nil},
		{"a ratio of nothing", func(m *flyball.Metric) { m.Type = flyball.MetricRatio }, []string{"numerator: " + noName, "denominator: " + noName}},
		{"a negative cap", func(m *flyball.Metric) { m.Cap = -1 }, []string{"cap: must be a positive number"}},
		{"a window of a hundred days", func(m *flyball.Metric) { m.Window = minutes(100 * 24 * 60) }, []string{"window: at most 90 days (2160h)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := flyball.Metric{Key: "checkout.latency", Type: flyball.MetricMean, Better: flyball.BetterLower, Unit: "ms", Cap: 30_000}.WithDefaults()
			tt.alter(&m)
			told(t, m.Validate(), tt.want...)
		})
	}
}

func TestAnExposureSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name  string
		alter func(*flyball.Exposure)
		want  []string
	}{
		{"a sound one", func(*flyball.Exposure) {}, nil},
		{"no time", func(e *flyball.Exposure) { e.T = time.Time{} }, []string{"t: needs a time"}},
		{"no flag", func(e *flyball.Exposure) { e.Flag = "" }, []string{"flag: needs 1 to 128 bytes"}},
		{"no variant", func(e *flyball.Exposure) { e.Variant = "" }, []string{"variant: needs 1 to 128 bytes"}},
		{"no unit", func(e *flyball.Exposure) { e.Unit = "" }, []string{"unit: needs 1 to 1024 bytes"}},
		{"a long bucketing value", func(e *flyball.Exposure) { e.By = strings.Repeat("x", 1025) }, []string{"unit: needs 1 to 1024 bytes"}},
		{"no rollout", func(e *flyball.Exposure) { e.Rollout = "" }, []string{"rollout: an exposure names the rollout that served"}},
		{"a step before the first", func(e *flyball.Exposure) { e.Step = -1 }, []string{"step: must lie between 0 and 49"}},
		{"a step after the last", func(e *flyball.Exposure) { e.Step = 50 }, []string{"step: must lie between 0 and 49"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := flyball.Exposure{T: at(19).Time, Flag: "payments.checkout.new-flow", Variant: "on", Unit: "user-1", Rollout: "r1", Step: 2, Version: 9}
			tt.alter(&e)
			told(t, e.Validate(), tt.want...)
		})
	}
}

func TestAnObservationSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name  string
		alter func(*flyball.Observation)
		want  []string
	}{
		{"a sound one", func(*flyball.Observation) {}, nil},
		{"of an arm, where no unit joins it", func(o *flyball.Observation) { o.Unit, o.Variant = "", "on" }, nil},
		{"no time", func(o *flyball.Observation) { o.T = time.Time{} }, []string{"t: needs a time"}},
		{"no metric", func(o *flyball.Observation) { o.Metric = "" }, []string{"metric: needs 1 to 128 bytes"}},
		{"of nobody", func(o *flyball.Observation) { o.Unit = "" }, []string{"unit: name the unit, or the variant where no unit joins"}},
		{"of a very long unit", func(o *flyball.Observation) { o.Unit = strings.Repeat("x", 1025) }, []string{"unit: too long"}},
		{"no number", func(o *flyball.Observation) { o.Value = math.NaN() }, []string{"value: must be a finite number"}},
		{"an infinite value", func(o *flyball.Observation) { o.Value = math.Inf(-1) }, []string{"value: must be a finite number"}},
		{"too many attributes", func(o *flyball.Observation) {
			o.Attributes = flyball.Attributes{"1": 1, "2": 1, "3": 1, "4": 1, "5": 1, "6": 1, "7": 1, "8": 1, "9": 1}
		}, []string{"attributes: 9 attributes, at most 8"}},
		{"a long attribute", func(o *flyball.Observation) { o.Attributes = flyball.Attributes{"route": strings.Repeat("x", 257)} }, []string{
			"attributes.route: too long: 64 bytes for a name, 256 for a value",
		}},
		{"a long name is not repeated whole", func(o *flyball.Observation) { o.Attributes = flyball.Attributes{strings.Repeat("n", 1000): 1} }, []string{
			"attributes." + strings.Repeat("n", 64) + ": too long: 64 bytes for a name, 256 for a value",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := flyball.Observation{T: at(19).Time, Metric: "checkout.latency", Unit: "user-1", Value: 182.4, Attributes: flyball.Attributes{"route": "checkout"}}
			tt.alter(&o)
			told(t, o.Validate(), tt.want...)
		})
	}
}
