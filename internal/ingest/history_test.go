package ingest

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/goccy/go-yaml"
)

const (
	root      = "../.."
	sharedDir = root + "/../shared/data"
	histories = root + "/docs/histories"
)

// data returns the path of a file of the data beside the project. Without it
// the test is skipped, but not where CI is set.
func data(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(sharedDir, name)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing: real data are required in CI", path)
		}
		t.Skipf("%s is missing", path)
	}
	return path
}

var converterDir string

// converter builds the program that makes histories of data sets.
var converter = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "history")
	if err != nil {
		return "", err
	}
	converterDir = dir
	path := filepath.Join(dir, "history")
	out, err := exec.Command("go", "build", "-o", path, histories+"/history.go").CombinedOutput()
	if err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return path, nil
})

func TestMain(m *testing.M) {
	if path := os.Getenv(judgeEnv); path != "" {
		judgeUntilKilled(path)
		return
	}
	code := m.Run()
	os.RemoveAll(converterDir)
	os.Exit(code)
}

// converted returns the history that the converter makes.
func converted(t testing.TB, args ...string) []byte {
	t.Helper()
	path, err := converter()
	if err != nil {
		t.Fatal(err)
	}
	var out, stderr bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	return out.Bytes()
}

func readYAML(t testing.TB, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(histories, name))
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(asJSON, into); err != nil {
		t.Fatal(err)
	}
}

// A judgement is what a backtest said.
type judgement struct {
	exit  int
	lines []BacktestLine
	end   BacktestSummary
}

func judged(t testing.TB, plan, metrics string, history io.Reader, o BacktestOptions) (j judgement) {
	t.Helper()
	var p flyball.RolloutPlan
	var m []flyball.Metric
	readYAML(t, plan, &p)
	readYAML(t, metrics, &m)
	exit, err := Backtest(p, m, history, o, func(line any) {
		switch l := line.(type) {
		case BacktestLine:
			j.lines = append(j.lines, l)
		case BacktestSummary:
			j.end = l
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(j.end); err != nil {
		t.Fatalf("the summary is no JSON: %v", err)
	}
	j.exit = exit
	return j
}

// The published finding is that seven-day retention fell, and nothing else is
// shown.
func TestCookieCatsLosesSevenDayRetention(t *testing.T) {
	t.Parallel()
	file := data(t, "cookie_cats/cookie_cats.csv.gz")
	history := converted(t, "cookiecats", file)
	share := BacktestOptions{JudgeOnly: true, SharePPM: 500_000}
	run := func(plan string, history []byte) judgement {
		return judged(t, plan, "cookiecats.metrics.yaml", bytes.NewReader(history), share)
	}

	j := run("cookiecats.retention7.yaml", history)
	g := j.end.Summary.Guardrails[0]
	if j.exit != ExitBreached || g.FirstTripped == nil {
		t.Fatalf("retention7: exit %d, %+v; want a breach", j.exit, g)
	}
	start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	user := g.FirstTripped.Sub(start.Add(192*time.Hour)).Hours() / 24 * 1000
	n := j.lines[0].Guardrails[0].N
	t.Logf("retention7: E %.3g of %g first at user %.0f (%d players), estimate %.4f, control %.4f", g.E, g.Threshold, user, n.Control+n.Treatment, *g.Estimate, *g.Control)
	if user < 45_000 || user > 55_000 {
		t.Errorf("retention7 tripped at user %.0f, want between 45,000 and 55,000", user)
	}
	if g.Threshold != 20 {
		t.Errorf("threshold %g, want 20", g.Threshold)
	}
	srm := j.end.Summary.SRM
	t.Logf("sample ratio: Bayes factor %.3f of %g", srm.BayesFactor, srm.Threshold)
	if srm.BayesFactor < 2 || srm.BayesFactor > 4 || srm.Mismatch || srm.Threshold != 1000 {
		t.Errorf("sample ratio %+v, want a Bayes factor about 3, and no mismatch", *srm)
	}
	if u := j.end.Summary.Units; u != (flyball.Arms{Control: 44_700, Treatment: 45_489}) {
		t.Errorf("units %+v", u)
	}

	if testing.Short() {
		return
	}
	for _, plan := range []string{"cookiecats.retention1.yaml", "cookiecats.rounds.yaml"} {
		unsure(t, plan, run(plan, history))
	}
	unsure(t, "rounds without the player of 49,854", run("cookiecats.rounds.yaml", converted(t, "cookiecats", "-without", "6390605", file)))
}

func unsure(t *testing.T, what string, j judgement) {
	t.Helper()
	g := j.end.Summary.Guardrails[0]
	t.Logf("%s: %s, E %.3g, advance E %.3g, estimate %.4f in %v, n %+v", what, g.Verdict, g.E, g.AdvanceE, *g.Estimate, g.Interval, g.N)
	if j.exit != ExitUnsure || g.Verdict != flyball.Unsure || g.FirstTripped != nil || g.FirstHealthy != nil {
		t.Errorf("%s: exit %d, %+v; want no verdict", what, j.exit, g)
	}
}

func TestUdacityFindsNothingAndCountsTheCrossed(t *testing.T) {
	t.Parallel()
	history := converted(t, "udacity", data(t, "udacity_ab/ab_data_sorted.csv.gz"))
	j := judged(t, "udacity.yaml", "udacity.metrics.yaml", bytes.NewReader(history), BacktestOptions{JudgeOnly: true, SharePPM: 500_000})
	s := j.end.Summary
	t.Logf("E %.3g, win E %.3g, srm %.3g, units %+v, crossed %d, control %.4f, treatment %.4f", s.Guardrails[0].E, s.Success[0].E,
		s.SRM.BayesFactor, s.Units, s.Crossed, *s.Guardrails[0].Control, *s.Guardrails[0].Treatment)
	if s.Crossed != 1895 {
		t.Errorf("%d crossed, want 1895", s.Crossed)
	}
	if n := s.Units.Control + s.Units.Treatment; n != 290_584 {
		t.Errorf("%d units, want 290,584", n)
	}
	if j.exit != ExitUnsure || s.Guardrails[0].FirstTripped != nil || s.Success[0].Verdict != flyball.Unsure || s.SRM.Mismatch {
		t.Errorf("exit %d, %+v, %+v, %+v; want neither harm nor win, and a clean sample ratio", j.exit, s.Guardrails[0], s.Success[0], s.SRM)
	}
}

// Every fault that multiplies errors or latency is aborted, and random splits of
// healthy requests are not.
func TestNezhaFaultsAbortAndCleanSplitsDoNot(t *testing.T) {
	t.Parallel()
	requests, faults := data(t, "nezha/requests_2022-08-22.csv.gz"), data(t, "nezha/faults.csv")
	canary := func(history []byte) judgement {
		return judged(t, "nezha.yaml", "nezha.metrics.yaml", bytes.NewReader(history), BacktestOptions{})
	}
	harmful := 0
	for fault := 1; fault <= 24; fault++ {
		if testing.Short() && fault > 2 {
			break
		}
		history, err := tryConvert("nezha", "-fault", strconv.Itoa(fault), requests, faults)
		if err != nil || !bytes.Contains(history, []byte("canary")) {
			continue
		}
		j := canary(history)
		failed, took, n := armMeans(t, history)
		bad := n >= 200 && (failed[treatment] >= 3*failed[control] || took[treatment] >= 2*took[control])
		t.Logf("fault %2d: %4d requests, failed %.3f/%.3f, %4.0f/%4.0f ms, exit %d: %.90s", fault, n, failed[treatment], failed[control], took[treatment], took[control], j.exit, j.end.Summary.Why)
		if bad {
			harmful++
			if j.exit != ExitBreached || j.end.Summary.Decision != "abort" {
				t.Errorf("fault %d is not aborted: %s, %s", fault, j.end.Summary.Decision, j.end.Summary.Why)
			}
		}
	}
	if harmful < 5 && !testing.Short() {
		t.Errorf("only %d harmful faults: the data are not what they were", harmful)
	}
	aborted := 0
	splits := 40
	if testing.Short() {
		splits = 5
	}
	for split := range splits {
		j := canary(converted(t, "nezha", "-aa", strconv.Itoa(split), requests))
		if j.exit == ExitBreached {
			aborted++
			t.Logf("split %d aborted: %s", split, j.end.Summary.Why)
		}
	}
	t.Logf("%d harmful faults; %d of %d clean splits aborted", harmful, aborted, splits)
	if aborted > 1 {
		t.Errorf("%d of %d clean splits aborted, want at most one", aborted, splits)
	}
}

func tryConvert(args ...string) ([]byte, error) {
	path, err := converter()
	if err != nil {
		return nil, err
	}
	return exec.Command(path, args...).Output()
}

// armMeans returns the mean of both metrics in each arm, and the size of the
// treatment, by reading the history itself.
func armMeans(t testing.TB, history []byte) (failed, took [2]float64, n int) {
	var counts [2]float64
	for line := range strings.Lines(string(history)) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		value, err := strconv.ParseFloat(fields[6], 64)
		if err != nil {
			continue // the header
		}
		arm := control
		if fields[3] == "canary" {
			arm = treatment
		}
		if fields[5] == "shop.errors" {
			failed[arm] += value
			counts[arm]++
		} else {
			took[arm] += value
		}
	}
	for arm := range counts {
		failed[arm], took[arm] = failed[arm]/counts[arm], took[arm]/counts[arm]
	}
	return failed, took, int(counts[treatment])
}
