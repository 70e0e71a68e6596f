// Command judge measures how soon rules stop a bad rollout, and how often they stop
// a good one: our breaker, the rules of others written down again, and a
// clairvoyant, who knows beforehand how often control fails and how often the
// treatment will. The detection gap is how many times the clairvoyant's time a rule
// takes.
//
//	go -C bench run ./judge [-runs 600] [-healthy 200] [-effects 1.5,2,5,20] [-only flyball] [-results FOLDER]
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/flyballdev/flyball/bench/record"
)

type config struct {
	runs, healthy int
	hours         float64
	seed          uint64
	share         float64
	effects       []float64
	only          string
}

func main() {
	var c config
	flag.IntVar(&c.runs, "runs", 600, "how often each fault is repeated")
	flag.IntVar(&c.healthy, "healthy", 200, "how many healthy rollouts are watched; 0 for none")
	flag.Float64Var(&c.hours, "hours", 24, "how long each healthy rollout is")
	flag.Uint64Var(&c.seed, "seed", 1, "of the first run; each other has the next")
	flag.Float64Var(&c.share, "share", 0.05, "part of the requests that the treatment gets")
	effects := flag.String("effects", "1.5,2,5,20", "how many per cent of the treatment's requests fail; 1 % of control's do")
	flag.StringVar(&c.only, "only", "", "watch with this rule alone")
	folder := flag.String("results", "results", "where the results are written")
	flag.Parse()
	for e := range strings.SplitSeq(*effects, ",") {
		p, err := strconv.ParseFloat(e, 64)
		if err == nil && !(p > 0 && p < 100) {
			err = fmt.Errorf("-effects: %v is no percentage between 0 and 100", p)
		}
		record.Fail(err)
		c.effects = append(c.effects, p/100)
	}
	if !(c.share > 0 && c.share < 1) || c.runs < 1 {
		record.Fail(fmt.Errorf("-share must be between 0 and 1, and -runs at least 1"))
	}
	record.Do("judge", *folder, func(context.Context) (figures, error) { return bench(c), nil }, show)
}

// A delay is how long a rule took to stop runs that had broken.
type delay struct {
	Rule   string  `json:"rule"`
	Mean   float64 `json:"meanSeconds"`
	Error  float64 `json:"standardError"`
	Median float64 `json:"medianSeconds"`
	P90    float64 `json:"p90Seconds"`
	Early  float64 `json:"early" doc:"part of the runs that it stopped before they broke"`
	Found  float64 `json:"found" doc:"part of the others that it stopped"`
	Gap    float64 `json:"gap" doc:"mean over the clairvoyant's"`
}

// A fault is a way in which the service breaks.
type fault struct {
	service
	Bound  float64 `json:"boundSeconds,omitempty" doc:"log(1/α) over the divergence: no rule that knows control's rate is faster on average, save by luck of the last step"`
	Delays []delay `json:"delays"`
}

// A calm is what a rule did to healthy rollouts.
type calm struct {
	Rule    string  `json:"rule"`
	Stopped float64 `json:"stopped" doc:"part of the rollouts that it stopped; -1 of a rule that is watched further after an alarm"`
	PerDay  float64 `json:"perDay" doc:"alarms in a day"`
}

// figures are what a run finds out.
type figures struct {
	Seed    uint64            `json:"seed"`
	Runs    int               `json:"runs"`
	Healthy int               `json:"healthyRuns"`
	Hours   float64           `json:"healthyHours"`
	Margin  float64           `json:"margin"`
	Alpha   float64           `json:"alpha"`
	Faults  []fault           `json:"faults"`
	Calm    map[string][]calm `json:"calm" doc:"by the treatment's failures: as control's, and at the margin"`
}

const seer = "clairvoyant"

func bench(c config) figures {
	f := figures{Seed: c.seed, Runs: c.runs, Healthy: c.healthy, Hours: c.hours, Margin: margin, Alpha: alpha, Calm: map[string][]calm{}}
	rules := slices.DeleteFunc(contestants(), func(r contestant) bool { return c.only != "" && r.Name != c.only })
	for _, change := range []float64{0, 1800} {
		for _, broken := range c.effects {
			s := service{Rate: 200, Share: c.share, Healthy: 0.01, Broken: broken, Change: change, End: change + 6*3600}
			f.Faults = append(f.Faults, s.measure(c, rules))
		}
	}
	for _, rate := range []float64{0.01, 0.01 * (1 + margin)} {
		if c.healthy > 0 {
			f.Calm[fmt.Sprintf("%.2f %%", 100*rate)] = healthy(c, rules, rate)
		}
	}
	return f
}

// measure lets all rules watch the same runs.
func (s service) measure(c config, rules []contestant) fault {
	start := 1.0
	if s.Change > 0 {
		start = 0.5
	}
	all := append([]contestant{{Name: seer, begin: clairvoyant(start)}}, rules...)
	stops := s.repeat(c.seed, c.runs, func() (w []watcher) {
		for _, r := range all {
			w = append(w, r.begin(s))
		}
		return w
	})
	f := fault{service: s}
	if s.Change == 0 {
		f.Bound = math.Log(1/alpha) / divergence(s.Broken, (1+margin)*s.Healthy) / (s.Rate * s.Share)
	}
	for i, r := range all {
		var of []float64
		for _, run := range stops {
			of = append(of, run[i]-s.Change)
		}
		d := summary(of)
		d.Rule = r.Name
		f.Delays = append(f.Delays, d)
	}
	for i := range f.Delays {
		f.Delays[i].Gap = f.Delays[i].Mean / f.Delays[0].Mean
	}
	return f
}

// summary tells of delays from the change, of which those not above 0 were too
// early and those that are infinite never came.
func summary(of []float64) (d delay) {
	n := float64(len(of))
	of = slices.DeleteFunc(of, func(x float64) bool { return x <= 0 })
	d.Early = 1 - float64(len(of))/n
	late := float64(len(of))
	of = slices.DeleteFunc(of, func(x float64) bool { return math.IsInf(x, 1) })
	if len(of) == 0 {
		return d
	}
	slices.Sort(of)
	k := float64(len(of))
	d.Found, d.Median, d.P90 = k/late, of[len(of)/2], of[len(of)*9/10]
	sum, squares := 0.0, 0.0
	for _, x := range of {
		sum += x
		squares += x * x
	}
	d.Mean = sum / k
	d.Error = math.Sqrt(max(0, squares/k-d.Mean*d.Mean) / k)
	return d
}

// healthy lets all rules watch rollouts whose treatment fails at a rate that is
// within the margin. Rules without memory go on after an alarm, and all are counted.
func healthy(c config, rules []contestant, rate float64) (all []calm) {
	s := service{Rate: 200, Share: c.share, Healthy: 0.01, Broken: rate, End: c.hours * 3600}
	alarms := make([]atomic.Int64, len(rules))
	stops := s.repeat(c.seed, c.healthy, func() (w []watcher) {
		for i, r := range rules {
			one := r.begin(s)
			if look := one.second; r.forgets {
				one.second = func(at float64, sofar *tally) bool {
					if look(at, sofar) {
						alarms[i].Add(1)
					}
					return false
				}
			}
			w = append(w, one)
		}
		return w
	})
	days := float64(c.healthy) * c.hours / 24
	for i, r := range rules {
		stopped := 0.0
		for _, run := range stops {
			if !math.IsInf(run[i], 1) {
				stopped++
			}
		}
		of := calm{Rule: r.Name, Stopped: stopped / float64(c.healthy), PerDay: stopped / days}
		if r.forgets {
			of.PerDay = float64(alarms[i].Load()) / days
			of.Stopped = -1
		}
		all = append(all, of)
	}
	return all
}
