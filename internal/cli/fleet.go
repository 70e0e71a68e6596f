package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/pflag"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// printFleets tells of each environment's fleet, by program, and names those
// that lag.
func (p *program) printFleets(answer json.RawMessage) error {
	var fleets service.Fleets
	if err := json.Unmarshal(answer, &fleets); err != nil {
		return err
	}
	for _, f := range fleets.Environments {
		count := fmt.Sprintf("%d of %d instances at version %d", f.Converged, f.Instances, f.Head.Version)
		if f.Converged < f.Instances {
			count = p.paint(yellow, count)
		} else if f.Instances > 0 {
			count = p.paint(green, count)
		}
		if f.Remote > 0 {
			count += fmt.Sprintf(", and %d without a ruleset", f.Remote)
		}
		fmt.Fprintf(p.out, "%s  %s\n", p.paint(bold, f.Environment), count)
		if len(f.Services) > 0 {
			p.printServices(f.Services)
		}
		for _, i := range f.Behind {
			fmt.Fprintln(p.out, p.paint(yellow, "  behind: "+laggard(i)))
		}
	}
	return nil
}

func (p *program) printServices(all []flyball.ServiceFleet) {
	t := p.newTable()
	t.AppendHeader(table.Row{"SERVICE", "CONVERGED", "ERRORS", "RULESETS", "PROGRAM VERSIONS"})
	for _, s := range all {
		rulesets := counts(s.Rulesets)
		if s.Remote > 0 {
			rulesets = strings.TrimPrefix(fmt.Sprintf("%s, %d × none", rulesets, s.Remote), ", ")
		}
		t.AppendRow(table.Row{s.Service, fmt.Sprintf("%d of %d", s.Converged, s.Instances), s.Errors, rulesets, counts(s.Versions)})
	}
	t.Render()
}

// counts writes how many there are of each, the most first.
func counts(m map[string]int) string {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			return m[b] - m[a]
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, k := range keys {
		parts = append(parts, fmt.Sprintf("%d × %s", m[k], k))
	}
	return strings.Join(parts, ", ")
}

func laggard(i flyball.Instance) string {
	line := fmt.Sprintf("%s (%s %s) runs version %d, heard of %s", i.ID, i.Service, i.Version, i.Applied.Version, ago(i.LastSeen))
	if len(i.Errors) > 0 {
		line += ", and cannot read: " + strings.Join(i.Errors, "; ")
	}
	return plain(line)
}

// waiting says whether, for how much of the fleet and for how long a change is
// waited for.
type waiting struct {
	wait    bool
	share   string
	timeout time.Duration
}

func (w *waiting) flags(f *pflag.FlagSet) {
	f.BoolVar(&w.wait, "wait", false, "wait until the fleet runs what this change made")
	f.StringVar(&w.share, "wait-for", "100%", "how much of the fleet to wait for, with --wait")
	f.DurationVar(&w.timeout, "timeout", 30*time.Second, "how long to wait, with --wait")
}

// waitForFleet returns when enough instances run the versions that a change
// made. It names those that do not when the time is out.
func (p *program) waitForFleet(ctx context.Context, w waiting, made map[string]int64) error {
	if !w.wait || len(made) == 0 {
		return nil
	}
	percent, err := strconv.ParseFloat(strings.TrimSuffix(w.share, "%"), 64)
	if err != nil || percent <= 0 || percent > 100 {
		return usage{fmt.Errorf("--wait-for: %q is not a share such as 99%%", w.share)}
	}
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for env, version := range made {
		for {
			fleets, err := invoke[service.Fleets](ctx, p, "get_fleet", map[string]any{"environment": env})
			if err == nil {
				f := fleets.Environments[0]
				behind, need := lagging(f, version), int(math.Ceil(float64(f.Instances)*percent/100))
				if have := f.Converged + len(f.Behind) - len(behind); have >= need { // those behind the head may have the version
					fmt.Fprintf(p.err, "%s: %d of %d instances run version %d after %v\n", env, have, f.Instances, version, time.Since(began).Round(time.Millisecond))
					break
				} else if ctx.Err() != nil || time.Since(began) > w.timeout-150*time.Millisecond {
					return p.unconverged(env, version, have, f.Instances, behind)
				}
			} else if ctx.Err() == nil {
				return err
			}
			select {
			case <-ctx.Done():
				fmt.Fprintln(p.err, p.paint(yellow, "the time ran out before the fleet could be asked"))
				return exit(exitUnsure)
			case <-tick.C:
			}
		}
	}
	return nil
}

func (p *program) unconverged(env string, version int64, have, all int, behind []flyball.Instance) error {
	fmt.Fprintln(p.err, p.paint(yellow, fmt.Sprintf("%s: only %d of %d instances run version %d:", env, have, all, version)))
	for _, i := range behind {
		fmt.Fprintln(p.err, "  "+laggard(i))
	}
	return exit(exitUnsure)
}

// lagging returns those of a fleet's laggards that do not run a version.
func lagging(f flyball.Fleet, version int64) []flyball.Instance {
	return slices.DeleteFunc(slices.Clone(f.Behind), func(i flyball.Instance) bool {
		return len(i.Errors) == 0 && !i.Applied.Before(flyball.RulesetID{Epoch: f.Head.Epoch, Version: version})
	})
}
