package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A load is what wrk tells of a server under it.
type load struct {
	PerSecond float64 `json:"perSecond"`
	P50       float64 `json:"p50Ms"`
	P99       float64 `json:"p99Ms"`
	CPU       float64 `json:"cpuMicros" doc:"user and system time of the server for each request, over all rounds"`

	requests int // that were answered
}

func (l load) String() string { return fmt.Sprintf("%.0f (%.2f/%.1f)", l.PerSecond, l.P50, l.P99) }

// wrk asks a question again and again, as fast as the server answers.
func wrk(ctx context.Context, dir string, q *question, url string, connections int, long time.Duration) (load, error) {
	script := filepath.Join(dir, "wrk.lua")
	if err := os.WriteFile(script, []byte(q.script()), 0o600); err != nil {
		return load{}, err
	}
	out, err := exec.CommandContext(ctx, "taskset", "-c", strconv.Itoa(clientCore-1), "wrk", "-t1", "-c", strconv.Itoa(connections),
		"-d", fmt.Sprintf("%.0fs", long.Seconds()), "--latency", "-s", script, url).CombinedOutput()
	if err != nil {
		return load{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	l, err := parse(string(out))
	if err != nil {
		return load{}, fmt.Errorf("%s at %s: %w", q.name, url, err)
	}
	return l, nil
}

// script is the question in wrk's language. Requests are made once, so that
// making them costs the client nothing.
func (q *question) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "local all, at = {}, 0\nfunction init(args)\n")
	for user := range users {
		tag := ""
		if user < len(q.tags) {
			tag = fmt.Sprintf(`["If-None-Match"] = %q`, q.tags[user])
		}
		fmt.Fprintf(&b, "  all[%d] = wrk.format(\"POST\", %q, {[\"Authorization\"] = %q, [\"Content-Type\"] = \"application/json\", %s}, %q)\n",
			user, q.path, "Bearer "+q.token, tag, contextOf(user))
	}
	fmt.Fprintf(&b, "end\nfunction request()\n  at = (at + 1) %% %d\n  return all[at]\nend\n", users)
	return b.String()
}

var (
	answered  = regexp.MustCompile(`(?m)^\s+(\d+) requests in `)
	perSecond = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	quantile  = regexp.MustCompile(`(?m)^\s+(50|99)%\s+([\d.]+)(us|ms|s)\s*$`)
	trouble   = regexp.MustCompile(`(?m)^.*(Non-2xx or 3xx responses|Socket errors).*$`)
)

// parse reads what wrk prints. Answers that are refusals make a measurement
// worthless.
func parse(out string) (l load, err error) {
	if bad := trouble.FindString(out); bad != "" {
		return l, fmt.Errorf("wrk met trouble: %s", strings.TrimSpace(bad))
	}
	m := perSecond.FindStringSubmatch(out)
	if m == nil {
		return l, fmt.Errorf("wrk tells no rate: %s", out)
	}
	if l.PerSecond, err = strconv.ParseFloat(m[1], 64); err != nil {
		return l, err
	}
	if m = answered.FindStringSubmatch(out); m == nil {
		return l, fmt.Errorf("wrk does not tell how often it was answered: %s", out)
	}
	if l.requests, err = strconv.Atoi(m[1]); err != nil {
		return l, err
	}
	for _, m := range quantile.FindAllStringSubmatch(out, -1) {
		value, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return l, err
		}
		value *= map[string]float64{"us": 1e-3, "ms": 1, "s": 1e3}[m[3]]
		if m[1] == "50" {
			l.P50 = value
		} else {
			l.P99 = value
		}
	}
	if l.P50 == 0 || l.P99 == 0 {
		return l, fmt.Errorf("wrk tells no quantiles: %s", out)
	}
	return l, nil
}
