package main

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/flyballdev/flyball/bench/record"
)

// show prints what was found out.
func show(out io.Writer, run *record.Run, f figures) {
	fmt.Fprintf(out, "%s\n\n200 requests a second, 1 %% of control's fail, margin +%.0f %%, α = %.0f %%; %d runs each, from seed %d.\nMean seconds until the rule stops the rollout (× is the detection gap).\n",
		run, 100*f.Margin, 100*f.Alpha, f.Runs, f.Seed)
	titles := map[float64]string{0: "Bad from the first request", 1800: "Healthy for 30 minutes, then bad"}
	for _, change := range []float64{0, 1800} {
		var of []fault
		for _, x := range f.Faults {
			if x.Change == change {
				of = append(of, x)
			}
		}
		if len(of) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n%s\n\n", titles[change])
		table(of).Print(out)
	}
	for _, rate := range slices.Sorted(maps.Keys(f.Calm)) {
		fmt.Fprintf(out, "\nHealthy: %s of the treatment's requests fail, %d rollouts of %.0f hours\n\n", rate, f.Healthy, f.Hours)
		t := record.Table{{"rule", "rollouts stopped", "alarms a day"}}
		for _, c := range f.Calm[rate] {
			stopped := fmt.Sprintf("%.2f %%", 100*c.Stopped)
			if c.Stopped < 0 {
				stopped = "–"
			}
			t = append(t, []string{c.Rule, stopped, fmt.Sprintf("%.3g", c.PerDay)})
		}
		t.Print(out)
	}
}

func table(of []fault) record.Table {
	head := []string{"rule"}
	for _, x := range of {
		head = append(head, fmt.Sprintf("%.4g %%", 100*x.Broken))
	}
	t := record.Table{head}
	if of[0].Bound > 0 {
		row := []string{"log(1/α) / divergence"}
		for _, x := range of {
			row = append(row, fmt.Sprintf("%.3g", x.Bound))
		}
		t = append(t, row)
	}
	for i, d := range of[0].Delays {
		row := []string{d.Rule}
		for _, x := range of {
			row = append(row, cell(x.Delays[i]))
		}
		t = append(t, row)
	}
	return t
}

// cell tells a delay, its gap, and how many runs were stopped too early or never.
func cell(d delay) string {
	if d.Found == 0 {
		return fmt.Sprintf("– (%.0f %% early)", 100*d.Early)
	}
	s := fmt.Sprintf("%.4g ×%.2f", d.Mean, d.Gap)
	if d.Early >= 0.02 {
		s += fmt.Sprintf(" (%.0f %% early)", 100*d.Early)
	}
	if d.Found < 0.995 {
		s += fmt.Sprintf(" (%.0f %% found)", 100*d.Found)
	}
	return s
}
