package cli

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// printRolloutEvidence tells what the judge knows of a rollout, with charts
// where people read it.
func (p *program) printRolloutEvidence(answer json.RawMessage) error {
	var e service.RolloutEvidence
	if err := json.Unmarshal(answer, &e); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "%s  %s → %s in %s  (%s)\n", p.paint(bold, e.Flag), e.Control, e.Treatment, e.Environment, e.Rollout)
	fmt.Fprintf(p.out, "%s  step %d at %s\n", p.cell("state", string(e.State)), e.Step, share(e.PPM))
	p.printEvidence(e.Evidence, p.terminal())
	return nil
}

// printEvidence tells what the judge knows: a row for each metric, and charts
// beneath if they are wanted.
func (p *program) printEvidence(e flyball.Evidence, charts bool) {
	fmt.Fprintf(p.out, "%s  %s\n", p.verdict(e.Verdict), e.Why)
	t := p.newTable()
	t.AppendHeader(table.Row{"METRIC", "VERDICT", "CONTROL", "TREATMENT", "ESTIMATE", "INTERVAL", "E / LIMIT", "ADVANCE E / LIMIT", "N", "ENOUGH IN"})
	row := func(name string, m flyball.MetricEvidence) {
		t.AppendRow(table.Row{
			name, p.verdict(m.Verdict), number(m.Control), number(m.Treatment), number(m.Estimate), interval(m.Interval),
			fmt.Sprintf("%.3g / %.4g", m.E, m.Threshold), needed(m), fmt.Sprintf("%d+%d", m.N.Control, m.N.Treatment), in(m.EnoughIn),
		})
	}
	for _, m := range comparisons(e) {
		row(m.Metric, m)
		for _, slot := range m.Slots {
			row("  "+m.By+" "+slot.Value, slot)
		}
	}
	if t.Length() > 0 {
		t.Render()
	}
	if charts {
		for _, m := range comparisons(e) {
			p.printCharts(m)
		}
	}
	p.printStreams(e.Guardrails)
	ratio := fmt.Sprintf("units %d control, %d treatment, %.0f unit-minutes; sample ratio: Bayes factor %.3g of %.4g", e.Units.Control, e.Units.Treatment, e.UnitMinutes, e.SRM.BayesFactor, e.SRM.Threshold)
	fmt.Fprintln(p.out, ratio)
	if w := e.Winner; w != nil {
		line := fmt.Sprintf("winner: %s, better by %s since %s", w.Variant, w.Metric, w.Since.Local().Format(time.DateTime))
		if w.Early {
			line += "; early, since no whole week has passed"
		}
		fmt.Fprintln(p.out, p.paint(green, line))
	}
	p.printQuality(e)
}

// printQuality tells what is wrong with the data.
func (p *program) printQuality(e flyball.Evidence) {
	for _, q := range e.Quality {
		line := fmt.Sprintf("data, %s: %s", q.Kind, q.Why)
		if q.Blocks {
			line = p.paint(red, line+"; no advance until it is over")
		} else {
			line = p.paint(yellow, line)
		}
		fmt.Fprintln(p.out, line)
	}
	for _, b := range e.Blocks {
		fmt.Fprintln(p.out, p.paint(yellow, "no advance: "+b))
	}
}

func interval(i *[2]float64) string {
	if i == nil {
		return ""
	}
	return fmt.Sprintf("%s … %s", number(&i[0]), number(&i[1]))
}

func needed(m flyball.MetricEvidence) string {
	if m.AdvanceThreshold == 0 {
		return ""
	}
	return fmt.Sprintf("%.3g / %.4g", m.AdvanceE, m.AdvanceThreshold)
}

// in words a time until something; nil is not known.
func in(d *flyball.Duration) string {
	switch {
	case d == nil:
		return "–"
	case *d == 0:
		return "now"
	}
	return d.String()
}

// printCharts draws how close the evidence of a metric is to its limits, how it
// came there, and where the estimate lies.
func (p *program) printCharts(m flyball.MetricEvidence) {
	var harm, safe []float64
	for _, t := range m.Track {
		harm, safe = append(harm, t.E), append(safe, t.AdvanceE)
	}
	fmt.Fprintf(p.out, "\n%s\n", p.paint(bold, m.Metric))
	fmt.Fprintf(p.out, "  e against its limit   %s  %s\n", gaugeOf(m.E, m.Threshold), spark(harm, m.Threshold))
	if m.AdvanceThreshold > 0 {
		fmt.Fprintf(p.out, "  e for an advance      %s  %s\n", gaugeOf(m.AdvanceE, m.AdvanceThreshold), spark(safe, m.AdvanceThreshold))
	}
	if line := whiskers(m); line != "" {
		fmt.Fprintf(p.out, "  estimate, interval    %s\n", line)
	}
}

const chartWidth = 30

// gaugeOf draws an e-value as a bar, on a logarithmic scale from 1 to its limit.
func gaugeOf(e, limit float64) string {
	filled := int(math.Round(chartWidth * toward(e, limit)))
	return strings.Repeat("█", filled) + strings.Repeat("·", chartWidth-filled) + "│"
}

// toward says how far an e-value has come from 1 to its limit, between 0 and 1.
func toward(e, limit float64) float64 {
	if !(e > 1) || !(limit > 1) {
		return 0
	}
	return min(1, math.Log(e)/math.Log(limit))
}

// spark draws e-values over time, against their limit.
func spark(all []float64, limit float64) string {
	var b strings.Builder
	for _, e := range all {
		b.WriteRune([]rune("▁▂▃▄▅▆▇█")[min(7, int(8*toward(e, limit)))])
	}
	return b.String()
}

// whiskers draws an interval, its estimate and, where it is on the same scale,
// the margin that an advance must show.
func whiskers(m flyball.MetricEvidence) string {
	if m.Interval == nil || m.Estimate == nil {
		return ""
	}
	lo, hi := m.Interval[0], m.Interval[1]
	low, high, margin := lo, hi, m.AdvanceMargin
	if margin != 0 {
		low, high = min(low, margin), max(high, margin)
	}
	if !(high > low) || math.IsInf(high-low, 0) {
		return ""
	}
	at := func(v float64) int { return min(chartWidth-1, max(0, int((v-low)/(high-low)*(chartWidth-1)+.5))) }
	line := []rune(strings.Repeat(" ", chartWidth))
	for i := at(lo); i <= at(hi); i++ {
		line[i] = '─'
	}
	line[at(lo)], line[at(hi)] = '├', '┤'
	legend := ""
	if margin != 0 {
		line[at(margin)] = '┊'
		legend = fmt.Sprintf("  (┊ margin %.4g)", margin)
	}
	line[at(*m.Estimate)] = '●'
	return fmt.Sprintf("%s %s %s%s", number(&low), string(line), number(&high), legend)
}
