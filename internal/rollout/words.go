package rollout

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
)

// says words what is known of a guardrail, such as
// "errors: 3.9 % against 4.1 %, e=1.3 of 20 needed".
func (s Situation) says(g flyball.MetricEvidence) string {
	var parts []string
	if g.Treatment != nil && g.Control != nil {
		m := s.Metrics[g.Metric]
		parts = append(parts, quantity(*g.Treatment, m)+" against "+quantity(*g.Control, m))
	}
	switch {
	case g.Stream != nil: // its reason has the numbers
	case g.Verdict == flyball.Breached:
		parts = append(parts, fmt.Sprintf("e=%s of %s", number(g.E), number(g.Threshold)))
	case g.AdvanceThreshold > 0:
		parts = append(parts, fmt.Sprintf("e=%s of %s needed", number(g.AdvanceE), number(g.AdvanceThreshold)))
	}
	if g.Why != "" {
		parts = append(parts, g.Why)
	}
	if len(parts) == 0 {
		parts = append(parts, string(g.Verdict))
	}
	return g.Metric + ": " + strings.Join(parts, ", ")
}

// quantity words a value of a metric in the metric's own terms.
func quantity(v float64, m flyball.Metric) string {
	switch {
	case m.Type == flyball.MetricRate:
		return percent(v)
	case m.Unit != "":
		return number(v) + " " + m.Unit
	}
	return number(v)
}

func number(f float64) string {
	if a := math.Abs(f); a >= 100 && a < 1e9 {
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'g', 3, 64)
}

func percent(f float64) string { return number(100*f) + " %" }

// share words parts per million exactly.
func share(ppm int) string { return strconv.FormatFloat(float64(ppm)/1e4, 'f', -1, 64) + " %" }

// span words a length of time, without needless digits.
func span(d time.Duration) string {
	if d >= time.Second || d == 0 {
		return flyball.Duration(d.Truncate(time.Second)).String()
	}
	return d.Truncate(time.Millisecond).String()
}

// grounds says what an advance rests on.
func (s Situation) grounds() string {
	r, held := s.Rollout, span(s.gone(s.Rollout.SteppedAt))
	switch n := len(r.Guardrails); {
	case !s.hasControl():
		return fmt.Sprintf("on everybody for %s, and no monitor objects", held)
	case n == 0:
		return fmt.Sprintf("held for %s with fresh data of %d units; the plan has no guardrails", held, s.Evidence.StepUnits.Treatment)
	case n == 1:
		return fmt.Sprintf("held for %s, %s is healthy", held, r.Guardrails[0].Metric)
	default:
		return fmt.Sprintf("held for %s, all %d guardrails are healthy", held, n)
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// clip keeps a reason within what an audit entry holds.
func clip(s string) string {
	const most = flyball.MaxTextLen
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len("…")], "") + "…"
}
