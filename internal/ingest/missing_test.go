package ingest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// Clients of which nothing is heard block an advance where the treatment has more
// of them, and abort nothing.
func TestATreatmentThatKillsItsTelemetryBlocks(t *testing.T) {
	rng := seeded(t)
	p, m := guarded(plan(200_000, 500_000), flyball.Margin{Relative: 0.05}, errorsByUnit, latencyByRequest)
	for _, tt := range []struct {
		name   string
		silent [2]float64
		metric string
		blocks bool
	}{
		{"as often in both arms", [2]float64{0.1, 0.1}, "latency", false},
		{"more often in the treatment", [2]float64{0.1, 0.3}, "latency", true},
		{"more often in control", [2]float64{0.3, 0.1}, "latency", false},
		{"where only errors are sent", [2]float64{0.5, 0.9}, "errors", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var all []happening
			for user := range 3000 {
				unit := fmt.Sprint(tt.name, user)
				at := time.Duration(rng.Float64() * float64(19*time.Minute))
				all = append(all, happening{at: us(at), exposure: &exposure{t: us(at), rollout: "r1", unit: unit}})
				step := min(1, int(at/(10*time.Minute)))
				arm := control
				if int(eval.Point("seed", unit)) < p.Steps[step].PPM {
					arm = treatment
				}
				if rng.Float64() >= tt.silent[arm] {
					o := saw(at+time.Second, unit, tt.metric, 1)
					all = append(all, happening{at: us(at + time.Second), observation: &o})
				}
			}
			late := saw(30*time.Minute, fmt.Sprint(tt.name, 0), "latency", 1)
			all = append(all, happening{at: us(30 * time.Minute), observation: &late})
			e := play(p, m, all, []time.Duration{10 * time.Minute}).evidence(epoch.Add(30 * time.Minute))
			blocked := slices.ContainsFunc(e.Blocks, func(why string) bool { return strings.Contains(why, "nothing is heard") })
			if blocked != tt.blocks || tt.blocks && e.Verdict == flyball.Breached {
				t.Errorf("blocks %v, verdict %s; want blocked %v, and no breach", e.Blocks, e.Verdict, tt.blocks)
			}
		})
	}
}
