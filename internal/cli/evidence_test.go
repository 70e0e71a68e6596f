package cli

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/flyballdev/flyball"
)

func TestChartsSayWhatNumbersSay(t *testing.T) {
	for _, c := range []struct {
		e, limit float64
		filled   int
	}{{0, 100, 0}, {1, 100, 0}, {10, 100, chartWidth / 2}, {100, 100, chartWidth}, {1e300, 100, chartWidth}, {math.Inf(1), 100, chartWidth}, {math.NaN(), 100, 0}, {5, 0, 0}, {5, 1, 0}} {
		if got := strings.Count(gaugeOf(c.e, c.limit), "█"); got != c.filled {
			t.Errorf("e=%v of %v fills %d, want %d", c.e, c.limit, got, c.filled)
		}
	}
	if got := spark([]float64{0, 1, 10, 99, 100, 1e9}, 100); got != "▁▁▅███" {
		t.Errorf("it draws %s", got)
	}
	m := flyball.MetricEvidence{Estimate: new(1.0), Interval: &[2]float64{0.8, 1.2}, AdvanceMargin: 1.4}
	line := whiskers(m)
	order := []string{"0.8", "├", "●", "┤", "┊", "1.4", "margin"}
	for _, what := range order {
		i := strings.Index(line, what)
		if i < 0 {
			t.Fatalf("no %s in %q", what, line)
		}
		line = line[i+len(what):]
	}
	for name, odd := range map[string]flyball.MetricEvidence{
		"no interval": {Estimate: new(1.0)}, "no estimate": {Interval: &[2]float64{0, 1}},
		"a point":   {Estimate: new(1.0), Interval: &[2]float64{1, 1}},
		"no bound":  {Estimate: new(1.0), Interval: &[2]float64{math.Inf(-1), math.Inf(1)}},
		"no number": {Estimate: new(math.NaN()), Interval: &[2]float64{math.NaN(), math.NaN()}},
	} {
		if line := whiskers(odd); line != "" {
			t.Errorf("%s: %q", name, line)
		}
	}
}

// Where nobody reads along there are neither charts nor colours, and everything
// that is known all the same.
func TestEvidenceIsPlainInAFile(t *testing.T) {
	var out bytes.Buffer
	p := &program{out: &out}
	body := `{"flag":"shop.fast","environment":"production","control":"off","treatment":"on","state":"running","ppm":10000,
		"rollout":"r1","step":0,"verdict":"unsure","why":"errors: not enough","units":{"control":9,"treatment":1},
		"guardrails":[{"metric":"errors","verdict":"unsure","e":3,"threshold":100,"advanceE":2,"advanceThreshold":20,"advanceMargin":1.05,
			"estimate":1.1,"interval":[0.9,1.3],"n":{"control":9,"treatment":1},"enoughIn":"3m","track":[{"at":"2026-11-21T19:00:00Z","e":1,"advanceE":1}]}],
		"quality":[{"kind":"silent","why":"nothing came from off for 12s","blocks":true}],
		"winner":{"variant":"on","metric":"sales","since":"2026-11-21T19:00:00Z","early":true}}`
	if err := p.printRolloutEvidence([]byte(body)); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{"off → on in production", "step 0 at 1 %", "3 / 100", "2 / 20", "0.9 … 1.3", "9+1", "3m", "data, silent: nothing came from off for 12s; no advance", "winner: on, better by sales", "early"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.ContainsAny(text, "\x1b█▁├") {
		t.Errorf("it is drawn and coloured:\n%s", text)
	}
}
