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
	for i, g := range plan.Guardrails {
		need(fmt.Sprintf("guardrails[%d].metric", i), g.Metric)
	}
	for i, s := range plan.Success {
		need(fmt.Sprintf("success[%d].metric", i), s.Metric)
	}
	return errors.Join(errs...)
}
