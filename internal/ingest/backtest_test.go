package ingest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

// history writes a line of recorded history.
func line(at time.Duration, kind string, body string) string {
	return fmt.Sprintf(`{"t":%q,%q:%s}`+"\n", epoch.Add(at).Format(time.RFC3339Nano), kind, body)
}

// recorded makes a history of users, half of them treated, who come evenly over
// a time, ten a second, and fail at a rate that depends on their arm and on when
// they came.
func recorded(t testing.TB, lasting time.Duration, rate func(at time.Duration, treated bool) float64) string {
	rng := seeded(t)
	var b strings.Builder
	for at := time.Duration(0); at < lasting; at += 100 * time.Millisecond {
		unit, treated := fmt.Sprint("u", at.Milliseconds()), rng.IntN(2) == 0
		variant := "off"
		if treated {
			variant = "on"
		}
		b.WriteString(line(at, "exposure", fmt.Sprintf(`{"flag":"checkout","variant":%q,"unit":%q,"rollout":"old","step":7}`, variant, unit)))
		failed := 0
		if rng.Float64() < rate(at, treated) {
			failed = 1
		}
		b.WriteString(line(at, "observation", fmt.Sprintf(`{"metric":"failures","unit":%q,"value":%d}`, unit, failed)))
	}
	return b.String()
}

func failuresPlan() (flyball.RolloutPlan, []flyball.Metric) {
	failures := flyball.Metric{Key: "failures", Type: flyball.MetricRate, Better: flyball.BetterLower, Analysis: flyball.AnalysisRequest}
	return guarded(plan(50_000, 500_000, 900_000), flyball.Margin{Relative: 0.3}, failures)
}

// decisions runs a backtest, and returns what was decided and the summary.
func decisions(t testing.TB, p flyball.RolloutPlan, m []flyball.Metric, history string, o BacktestOptions) (said []string, lines []BacktestLine, end BacktestSummary, exit int) {
	t.Helper()
	exit, err := Backtest(p, m, strings.NewReader(history), o, func(line any) {
		switch l := line.(type) {
		case BacktestLine:
			said = append(said, fmt.Sprintf("%s %d", l.Decision, l.Step))
			lines = append(lines, l)
		case BacktestSummary:
			end = l
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return said, lines, end, exit
}

func TestABacktestWalksAHealthyPlanToItsEnd(t *testing.T) {
	p, m := failuresPlan()
	history := recorded(t, 45*time.Minute, func(time.Duration, bool) float64 { return 0.2 })
	said, lines, end, exit := decisions(t, p, m, history, BacktestOptions{SharePPM: 500_000})
	if got := strings.Join(said, ", "); got != "advance 1, advance 2, finish 2" || exit != ExitHealthy {
		t.Fatalf("%s, exit %d: %s", got, exit, end.Summary.Why)
	}
	if d := lines[0].T.Sub(epoch); d < 10*time.Minute || d > 11*time.Minute {
		t.Errorf("the first advance is at %v, want it at the end of the hold", d)
	}
	s := end.Summary
	if s.Decision != "finish" || s.SRM == nil || s.SRM.Mismatch || s.Guardrails[0].FirstHealthy == nil || s.Units.Control == 0 {
		t.Errorf("%+v", s)
	}
	text, err := json.Marshal(end)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{`"summary":{`, `"t":`, `"decision":"finish"`, `"crossed":0`, `"srm":{`, `"guardrails":[{"metric":"failures"`, `"n":{"control":`} {
		if !strings.Contains(string(text), field) {
			t.Errorf("the summary lacks %s: %s", field, text)
		}
	}
}

func TestABacktestAbortsSoonAfterHarmBegins(t *testing.T) {
	p, m := failuresPlan()
	harm := func(at time.Duration, treated bool) float64 {
		if treated && at > 15*time.Minute {
			return 0.6
		}
		return 0.1
	}
	said, lines, end, exit := decisions(t, p, m, recorded(t, 30*time.Minute, harm), BacktestOptions{})
	if got := strings.Join(said, ", "); got != "advance 1, abort 1" || exit != ExitBreached {
		t.Fatalf("%s, exit %d: %s", got, exit, end.Summary.Why)
	}
	last := lines[len(lines)-1]
	if d := last.T.Sub(epoch) - 15*time.Minute; d < 0 || d > 30*time.Second {
		t.Errorf("aborted %v after the harm began", d)
	}
	if g := last.Guardrails[0]; g.Verdict != flyball.Breached || g.E < g.Threshold || end.Summary.Guardrails[0].FirstTripped == nil || last.SRM != nil {
		t.Errorf("%+v", last)
	}
}

func TestABacktestHoldsWhenAnArmFallsSilent(t *testing.T) {
	p, m := failuresPlan()
	history := recorded(t, time.Minute, func(time.Duration, bool) float64 { return 0.2 })
	for at := time.Minute; at < 20*time.Minute; at += 10 * time.Second { // control alone goes on
		history += line(at, "exposure", fmt.Sprintf(`{"flag":"checkout","variant":"off","unit":"late%v"}`, at))
	}
	said, lines, _, exit := decisions(t, p, m, history, BacktestOptions{})
	if got := strings.Join(said, ", "); got != "hold 0" || exit != ExitUnsure || !strings.Contains(lines[0].Why, "silence") {
		t.Errorf("%s, exit %d", got, exit)
	}
}

// A history may have a gap of months; the policy still looks into it.
func TestABacktestCrossesALongGap(t *testing.T) {
	p, m := failuresPlan()
	history := recorded(t, time.Minute, func(time.Duration, bool) float64 { return 0.2 }) +
		line(2000*time.Hour, "exposure", `{"flag":"checkout","variant":"off","unit":"last"}`)
	said, _, _, exit := decisions(t, p, m, history, BacktestOptions{})
	if len(said) == 0 || said[0] != "hold 0" || exit != ExitUnsure {
		t.Errorf("%v, exit %d", said, exit)
	}
}

func TestCSVAndJSONSayTheSame(t *testing.T) {
	p, m := failuresPlan()
	asJSON := recorded(t, 12*time.Minute, func(_ time.Duration, treated bool) float64 { return 0.2 })
	var csv strings.Builder
	csv.WriteString("t,kind,flag,variant,unit,metric,value,country\n")
	for l := range strings.Lines(asJSON) {
		var r historyRecord
		if err := json.Unmarshal([]byte(l), &r); err != nil {
			t.Fatal(err)
		}
		if x := r.Exposure; x != nil {
			fmt.Fprintf(&csv, "%s,exposure,checkout,%s,%s,,,\"CA\"\n", r.T.Format(time.RFC3339Nano), x.Variant, x.Unit)
		} else {
			fmt.Fprintf(&csv, "%s,observation,,,%s,failures,%g,CA\n", r.T.Format(time.RFC3339Nano), r.Observation.Unit, r.Observation.Value)
		}
	}
	_, _, a, exitA := decisions(t, p, m, asJSON, BacktestOptions{JudgeOnly: true})
	_, _, b, exitB := decisions(t, p, m, csv.String(), BacktestOptions{JudgeOnly: true})
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	if string(x) != string(y) || exitA != exitB || exitA != ExitHealthy {
		t.Errorf("exits %d and %d\n%s\n%s", exitA, exitB, x, y)
	}
}

func TestBadHistoryIsToldByLineAndField(t *testing.T) {
	good := line(0, "exposure", `{"flag":"checkout","variant":"on","unit":"u"}`)
	header := "t,kind,flag,variant,unit,metric,value\n"
	at := epoch.Format(time.RFC3339)
	for _, tt := range []struct{ name, history, want string }{
		{"nothing", "", "history is empty"},
		{"no JSON", good + "{\n", "line 2"},
		{"no time", good + `{"exposure":{"flag":"checkout","variant":"on","unit":"u"}}`, "line 2: t"},
		{"neither", good + `{"t":"` + at + `"}`, "line 2"},
		{"no unit", good + line(0, "exposure", `{"flag":"checkout","variant":"on"}`), "line 2: exposure.unit"},
		{"no metric", good + "\n" + line(0, "observation", `{"unit":"u","value":1}`), "line 3: observation.metric"},
		{"a word for a value", good + line(0, "observation", `{"metric":"m","unit":"u","value":"x"}`), "line 2: observation.value"},
		{"back in time", line(time.Hour, "exposure", `{"flag":"checkout","variant":"on","unit":"u"}`) + good, "line 2: t"},
		{"too long", good + `{"t":"` + strings.Repeat("x", 2<<20), "line 2"},
		{"no header", "1,2,3\n", "line 1: t"},
		{"CSV without a kind", "t,flag,variant,unit,metric,value\n", "line 1: kind"},
		{"CSV, too few columns", header + at + ",exposure\n", "line 2"},
		{"CSV, no number", header + at + ",observation,,,u,m,x\n", "line 2: value"},
		{"CSV, NaN", header + at + ",observation,,,u,m,NaN\n", "line 2: observation.value"},
		{"CSV, no time", header + "yesterday,observation,,,u,m,1\n", "line 2: t"},
		{"CSV, another kind", header + at + ",event,,,u,m,1\n", "line 2: kind"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, m := failuresPlan()
			exit, err := Backtest(p, m, strings.NewReader(tt.history), BacktestOptions{}, func(any) {})
			if err == nil || exit != 1 || flyball.CodeOf(err) != flyball.Invalid || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("exit %d, %v; want %q", exit, err, tt.want)
			}
		})
	}
}

func TestWhatIsNotJudgedIsRefusedByField(t *testing.T) {
	p, m := failuresPlan()
	m = append(m, flyball.Metric{Key: "p99", Type: flyball.MetricQuantile, Quantile: 0.99, Better: flyball.BetterLower},
		flyball.Metric{Key: "aov", Type: flyball.MetricRatio, Numerator: "a", Denominator: "b", Better: flyball.BetterHigher})
	p.Guardrails = append(p.Guardrails, flyball.Guardrail{Metric: "p99"}, flyball.Guardrail{Metric: "failures", By: "route"},
		flyball.Guardrail{Metric: "gone"}, flyball.Guardrail{Metric: "failures", Margin: flyball.Margin{Absolute: 0.01}})
	p.Success = []flyball.Success{{Metric: "aov"}, {Metric: "none"}}
	var fields []string
	for _, e := range flyball.Problems(Supported(p, m)) {
		fields = append(fields, e.Field)
	}
	want := "guardrails[3].metric success[1].metric"
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	p, m = failuresPlan()
	if err := Supported(p, m); err != nil {
		t.Error(err)
	}
}

func FuzzHistory(f *testing.F) {
	f.Add("t,kind,flag,variant,unit,metric,value\n2026-11-21T19:00:00Z,observation,,on,,failures,1\n")
	f.Add(line(0, "exposure", `{"flag":"checkout","variant":"on","unit":"u"}`) + line(time.Second, "observation", `{"metric":"failures","unit":"u","value":1}`))
	f.Fuzz(func(t *testing.T, history string) {
		p, m := failuresPlan()
		if _, err := Backtest(p, m, strings.NewReader(history), BacktestOptions{}, func(l any) {
			if _, err := json.Marshal(l); err != nil {
				t.Fatal(err)
			}
		}); err != nil && flyball.CodeOf(err) != flyball.Invalid {
			t.Fatal(err)
		}
	})
}
