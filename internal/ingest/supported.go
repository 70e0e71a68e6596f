package ingest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/flyballdev/flyball"
)

// Supported reports every guardrail and success metric of a plan that the
// judge cannot judge, so that a rollout is refused rather than run without the
// protection it asked for. Errors are [flyball.Invalid] and name the field.
func Supported(plan flyball.RolloutPlan, metrics []flyball.Metric) error {
	var errs []error
	metric := func(field, key string) (flyball.Metric, bool) {
		i := slices.IndexFunc(metrics, func(m flyball.Metric) bool { return m.Key == key })
		if i < 0 {
			errs = append(errs, flyball.FieldErrorf(field, "there is no metric %q", key))
			return flyball.Metric{}, false
		}
		m := metrics[i].WithDefaults()
		if m.Type == flyball.MetricRatio {
			errs = append(errs, flyball.FieldErrorf(field, "%q is of type %s, which is not judged yet: use a rate or a mean", key, m.Type))
			return m, false
		}
		return m, true
	}
	for i, g := range plan.Guardrails {
		at := fmt.Sprintf("guardrails[%d]", i)
		m, ok := metric(at+".metric", g.Metric)
		if why := unsupportedGuardrail(g, m); ok && why != "" {
			errs = append(errs, flyball.FieldErrorf(at+".margin.absolute", "%s", why))
		}
	}
	for i, s := range plan.Success {
		metric(fmt.Sprintf("success[%d].metric", i), s.Metric)
	}
	return errors.Join(errs...)
}

// unsupportedGuardrail says why a guardrail cannot be judged, "" if it can.
func unsupportedGuardrail(g flyball.Guardrail, m flyball.Metric) string {
	switch {
	case m.Type == flyball.MetricRatio:
		return fmt.Sprintf("metrics of type %s are not judged yet", m.Type)
	case m.Type == flyball.MetricRate && m.Analysis == flyball.AnalysisRequest && g.Margin.Absolute > 0:
		return "a rate by request takes a relative margin"
	case g.Margin.Absolute > 0 && g.Margin.Relative > 0 && m.Type == flyball.MetricRate:
		return "a rate takes a relative or an absolute margin, not both"
	}
	return ""
}
