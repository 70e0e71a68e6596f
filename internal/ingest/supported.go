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
	need := func(field, key string) {
		if !slices.ContainsFunc(metrics, func(m flyball.Metric) bool { return m.Key == key }) {
			errs = append(errs, flyball.FieldErrorf(field, "there is no metric %q", key))
		}
	}
	stream := func(key string) bool {
		return slices.ContainsFunc(metrics, func(m flyball.Metric) bool { return m.Key == key && m.Type == flyball.MetricStream })
	}
	for i, g := range plan.Guardrails {
		at := fmt.Sprintf("guardrails[%d]", i)
		if stream(g.Metric) {
			errs = append(errs, streamErrors(at, g)...)
			continue
		}
		need(at+".metric", g.Metric)
	}
	for i, s := range plan.Success {
		at := fmt.Sprintf("success[%d].metric", i)
		if need(at, s.Metric); stream(s.Metric) {
			errs = append(errs, flyball.FieldErrorf(at, "%q is a stream, which has no control to be better than: use a metric of observations", s.Metric))
		}
	}
	return errors.Join(errs...)
}
