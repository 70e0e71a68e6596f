package ingest

import (
	"bytes"
	"encoding/csv"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/flyballdev/flyball"
)

// slowed returns the routes that each fault slows to three times the median, over
// at least 30 of its requests, and how many there are.
func slowed(t testing.TB) (routes map[int][]string, pairs int) {
	f, err := os.Open(data(t, "nezha/canary_truth_by_route.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := func(name string) int { return slices.Index(rows[0], name) }
	routes = make(map[int][]string)
	for _, r := range rows[1:] {
		number := func(name string) float64 {
			x, err := strconv.ParseFloat(r[column(name)], 64)
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		if number("p50_ratio") >= 3 && number("n_fault") >= 30 {
			fault := int(number("fault_id"))
			routes[fault] = append(routes[fault], r[column("route")])
			pairs++
		}
	}
	return routes, pairs
}

// trippedOn returns the values on which a guardrail tripped.
func trippedOn(g flyball.MetricEvidence) (values []string) {
	for _, s := range g.Slots {
		if s.FirstTripped != nil {
			values = append(values, s.Value)
		}
	}
	return values
}

// Each fault that slows a route is found on a route that it slows by the mean
// latency, and on each of them by the mean or the 95th percentile; random splits
// of healthy requests are not.
func TestNezhaFaultsAreFoundOnTheRoutesThatTheySlow(t *testing.T) {
	t.Parallel()
	requests, faults := data(t, "nezha/requests_2022-08-22.csv.gz"), data(t, "nezha/faults.csv")
	byRoute := func(args ...string) judgement {
		return judged(t, "nezha.routes.yaml", "nezha.metrics.yaml", bytes.NewReader(converted(t, args...)), BacktestOptions{JudgeOnly: true})
	}
	routes, pairs := slowed(t)
	if len(routes) != 11 || pairs != 24 {
		t.Fatalf("%d faults slow %d routes: the data are not what they were", len(routes), pairs)
	}
	for fault, slow := range routes {
		if testing.Short() && fault != 7 && fault != 12 {
			continue
		}
		j := byRoute("nezha", "-fault", strconv.Itoa(fault), requests, faults)
		g := j.end.Summary.Guardrails
		mean, p95 := trippedOn(g[0]), trippedOn(g[1])
		t.Logf("fault %2d slows %v: by the mean %v, by p95 %v: %s", fault, slow, mean, p95, g[0].Why)
		if j.exit != ExitBreached || !slices.ContainsFunc(slow, func(r string) bool { return slices.Contains(mean, r) }) {
			t.Errorf("fault %d is not found by the mean latency of a route that it slows", fault)
		}
		for _, r := range slow {
			if !slices.Contains(mean, r) && !slices.Contains(p95, r) {
				t.Errorf("fault %d slows %s, which is not found", fault, r)
			}
		}
	}
	tripped, splits := 0, 40
	if testing.Short() {
		splits = 5
	}
	for split := range splits {
		j := byRoute("nezha", "-aa", strconv.Itoa(split), requests)
		if j.exit == ExitBreached {
			tripped++
			t.Logf("split %d tripped: %s", split, j.end.Summary.Why)
		}
	}
	t.Logf("%d of %d clean splits tripped", tripped, splits)
	if tripped > 1 {
		t.Errorf("%d of %d clean splits tripped, want at most one", tripped, splits)
	}
}
