package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/flyballdev/flyball"
)

// printForecast tells what a plan would come to.
func (p *program) printForecast(answer json.RawMessage) error {
	var f flyball.RolloutForecast
	if err := json.Unmarshal(answer, &f); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "%s  %s → %s in %s  takes about %s; nothing is started\n", p.paint(bold, f.Flag), f.Control, f.Treatment, f.Environment, about(f.Takes))
	t := p.newTable()
	t.AppendHeader(table.Row{"STEP", "SHARE", "AT LEAST", "TAKES", "WAITS FOR", "EXPOSES", "SMALLEST HARM FOUND"})
	for i, s := range f.Ladder {
		t.AppendRow(table.Row{i, share(s.PPM), s.AtLeast, about(s.Takes), s.WaitsFor, units(s.Exposes), found(f, s)})
	}
	t.Render()
	p.printAssumed(f.Traffic)
	for _, n := range f.Notes {
		fmt.Fprintln(p.out, p.paint(yellow, "note: "+n))
	}
	return nil
}

// printAssumed tells what of the traffic the forecast rests on.
func (p *program) printAssumed(all []flyball.AssumedTraffic) {
	if len(all) == 0 {
		return
	}
	t := p.newTable()
	t.AppendHeader(table.Row{"METRIC", "JUDGED A SECOND", "NOW", "DEVIATION", "UNITS A DAY", "TRAFFIC"})
	for _, a := range all {
		t.AppendRow(table.Row{a.Metric, number(a.Trials), number(a.Baseline), number(a.Deviation), units(a.UnitsPerDay), a.From})
	}
	t.Render()
}

// found words, for each guardrail, the least harm that a step finds with a
// chance of 80 %, and how long it takes to show that there is none.
func found(f flyball.RolloutForecast, s flyball.StepForecast) string {
	var parts []string
	for _, g := range s.Guardrails {
		harm := "none"
		if g.Why != "" {
			harm = "not known"
		}
		if g.Detectable != nil {
			harm = fmt.Sprintf("+%.3g", *g.Detectable)
			if ratioOf(f, g) {
				harm = fmt.Sprintf("×%.3g", *g.Detectable)
			}
		}
		parts = append(parts, fmt.Sprintf("%s %s, shown healthy in %s", g.Metric, harm, about(g.ShownIn)))
	}
	return strings.Join(parts, "; ")
}

// ratioOf says whether a guardrail's harm is a ratio: that of a rate, of which
// nobody gives a deviation.
func ratioOf(f flyball.RolloutForecast, g flyball.GuardrailForecast) bool {
	for _, a := range f.Traffic {
		if a.Metric == g.Metric {
			return a.Deviation == nil
		}
	}
	return true
}

func about(d *flyball.Duration) string {
	if d == nil {
		return "–"
	}
	return d.String()
}

func units(n *float64) string {
	if n == nil {
		return "–"
	}
	return fmt.Sprintf("%.0f", *n)
}
