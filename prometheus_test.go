package flyball_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
)

func stream(alter func(*flyball.PrometheusSource)) flyball.Metric {
	s := &flyball.PrometheusSource{Query: `max(cpu{service="checkout"})`, Threshold: &flyball.Threshold{Value: 0.9, For: flyball.Duration(30 * time.Second)}}
	alter(s)
	return flyball.Metric{Key: "checkout.cpu", Type: flyball.MetricStream, Better: flyball.BetterLower, Of: flyball.Source{Prometheus: s}}
}

func TestAStreamIsFilledInWithItsDefaults(t *testing.T) {
	given := stream(func(s *flyball.PrometheusSource) { s.Threshold, s.Baseline = nil, &flyball.Baseline{} })
	got := given.WithDefaults()
	want := stream(func(s *flyball.PrometheusSource) {
		s.Threshold, s.Baseline = nil, &flyball.Baseline{FalseAlarm: flyball.Duration(720 * time.Hour)}
		s.Every, s.Direction = flyball.Duration(15*time.Second), flyball.StreamUp
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if given.Of.Prometheus.Every != 0 || given.Of.Prometheus.Baseline.FalseAlarm != 0 {
		t.Error("the metric that was given changed")
	}
	given.Better = flyball.BetterHigher
	if got := given.WithDefaults().Of.Prometheus.Direction; got != flyball.StreamDown {
		t.Errorf("of a metric that should be high, %s is harmful", got)
	}
}

func TestAStreamTellsEveryProblem(t *testing.T) {
	const outside = `of.prometheus.query: {{flag}}, {{environment}} and {{variant}} are bound only as whole label values: flag="{{flag}}"`
	query := func(q string) func(*flyball.PrometheusSource) {
		return func(s *flyball.PrometheusSource) { s.Query = q }
	}
	for _, tt := range []struct {
		name  string
		alter func(*flyball.PrometheusSource)
		want  []string
	}{
		{"a limit", func(*flyball.PrometheusSource) {}, nil},
		{"an empty one", func(s *flyball.PrometheusSource) { *s = flyball.PrometheusSource{Every: -1} }, []string{
			"of.prometheus.query: needs PromQL of 1 to 2048 bytes", "of.prometheus.every: must be whole seconds, from 1s to 5m",
			"of.prometheus: give either a threshold or a baseline",
		}},
		{"two judges", func(s *flyball.PrometheusSource) { s.Baseline = &flyball.Baseline{} }, []string{"of.prometheus: give either a threshold or a baseline"}},
		{"half seconds", func(s *flyball.PrometheusSource) { s.Every = flyball.Duration(1500 * time.Millisecond) }, []string{"of.prometheus.every: must be whole seconds, from 1s to 5m"}},
		{"no limit", func(s *flyball.PrometheusSource) {
			s.Threshold.Value, s.Threshold.For = math.Inf(1), flyball.Duration(2*time.Hour)
		}, []string{
			"of.prometheus.threshold.value: must be a finite number", "of.prometheus.threshold.for: must lie between 0 and 1h",
		}},
		{"a limit on both sides", func(s *flyball.PrometheusSource) { s.Direction = flyball.StreamBoth }, []string{"of.prometheus.direction: a threshold lies on one side: say up or down"}},
		{"the good side", func(s *flyball.PrometheusSource) { s.Direction = flyball.StreamDown }, []string{"of.prometheus.direction: down is the way that better: lower calls good"}},
		{"false alarms all the time", func(s *flyball.PrometheusSource) {
			s.Threshold, s.Baseline = nil, &flyball.Baseline{FalseAlarm: flyball.Duration(time.Hour)}
		}, []string{"of.prometheus.baseline.falseAlarm: must lie between 1000 samples, here 4h10m, and ten years (87600h)"}},
		{"a baseline by variant", func(s *flyball.PrometheusSource) {
			s.Query, s.Threshold, s.Baseline = `cpu{v="{{variant}}"}`, nil, &flyball.Baseline{}
		}, []string{"of.prometheus.baseline: a query that names the variant takes a threshold: before the rollout there is no treatment to learn from"}},

		{"all that can be bound", query(`a{flag="{{flag}}", v = "{{variant}}", e!="{{environment}}"} # "{{flag}}" in words`), nil},
		{"other strings and comments", query("a{x='\"', y=`\\`, z=\"\\\"\"} # it's a comment\n + b{flag=\"{{flag}}\"}"), nil},
		{"bound as a part", query(`a{flag="x{{flag}}"}`), []string{outside}},
		{"bound as a pattern", query(`a{flag=~"{{flag}}"}`), []string{outside}},
		{"bound outside a string", query(`a{flag={{flag}}}`), []string{outside}},
		{"bound in single quotes", query(`a{flag='{{flag}}'}`), []string{outside}},
		{"bound in a string in a string", query(`a{x='="{{flag}}"'}`), []string{outside}},
		{"bound as an argument", query(`label_replace(a, "x", "{{variant}}", "y", "z")`), []string{outside}},
		{"bound after a comment", query("a # = \n \"{{flag}}\""), []string{outside}},
		{"something else", query(`a{user="{{user}}"}`), []string{outside}},
		{"a string without an end", query(`a{x="\"}`), []string{"of.prometheus.query: a string in it has no end"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			told(t, stream(tt.alter).WithDefaults().Validate(), tt.want...)
		})
	}
	m := stream(func(*flyball.PrometheusSource) {}).WithDefaults()
	m.Window, m.Of.Observation = minutes(5), "cpu"
	told(t, m.Validate(), "type: a stream has no observation, quantile, numerator, denominator, analysis, cap or window: the query says it all")
	told(t, flyball.Metric{Key: "checkout.cpu", Type: flyball.MetricStream, Better: flyball.BetterLower}.WithDefaults().Validate(),
		"of.prometheus: a stream comes from Prometheus: give its query and a threshold or a baseline")
	m.Type = flyball.MetricMean
	m.Of.Observation = ""
	told(t, m.WithDefaults().Validate(), "of.prometheus: what Prometheus tells is of type stream")
}

// Whatever a value is, it stays the value of a label.
func TestValuesAreBoundAsLabelValues(t *testing.T) {
	s := flyball.PrometheusSource{Query: `a{flag="{{flag}}",v="{{variant}}",e!="{{environment}}"}`}
	got := s.Bind(`x"} or b{`, `it's \ {{flag}}`, "a\nb`")
	if want := `a{flag="x\"} or b{",v="a\nb` + "`" + `",e!="it's \\ {{flag}}"}`; got != want {
		t.Errorf("bound as\n%s, want\n%s", got, want)
	}
	if !s.ByVariant() {
		t.Error("the query names the variant")
	}
}
