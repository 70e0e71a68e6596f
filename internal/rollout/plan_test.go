package rollout

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
)

var update = flag.Bool("update", false, "write what Next decides into testdata")

// TestStories plays every story in testdata: a plan, then evidence in and the
// decision out, line by line, each decision being carried out. A story opens
// with its rule as a sentence.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	titles := make(map[string]bool)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var written []string
		for _, story := range split(string(text)) {
			title, _, _ := strings.Cut(story, "\n")
			title, ok := strings.CutPrefix(title, "# ")
			if !ok || !strings.HasSuffix(title, ".") {
				t.Fatalf("%s: a story opens with a sentence, not with %q", file, title)
			}
			if titles[title] {
				t.Errorf("%s: two stories are called %q", file, title)
			}
			titles[title] = true
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+title, func(t *testing.T) {
				got := play(t, story)
				written = append(written, got)
				if diff := cmp.Diff(story, got); diff != "" && !*update {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		}
		if *update {
			if err := os.WriteFile(file, []byte(strings.Join(written, "\n\n")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// split cuts a file into stories, which are parted by empty lines.
func split(text string) []string {
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n\n")
}

var midnight = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// A player carries out a story.
type player struct {
	s     Situation
	delay time.Duration // between a decision and its commit
}

// play returns the story with its answers written anew.
func play(t *testing.T, story string) string {
	t.Helper()
	p := player{s: Situation{
		Rollout: flyball.Rollout{
			ID: "r1", State: flyball.RolloutPending, StartedAt: midnight,
			RolloutPlan: flyball.RolloutPlan{Flag: "checkout", Environment: "production", Treatment: "on", Control: "off"},
		},
		Metrics: make(map[string]flyball.Metric),
		Now:     midnight,
	}}
	var out []string
	for line := range strings.SplitSeq(story, "\n") {
		if strings.HasPrefix(line, " ") {
			continue // an old answer
		}
		out = append(out, line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		answer, err := p.do(words(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if answer != "" {
			out = append(out, "    "+answer)
		}
	}
	return strings.Join(out, "\n")
}

// words splits a line at spaces; a value in quotes may hold some.
func words(line string) (words []string) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		end := strings.IndexAny(line, ` "`)
		word := line
		if end >= 0 {
			word = line[:end]
			if line[end] == '"' {
				quoted, err := strconv.QuotedPrefix(line[end:])
				if err != nil {
					panic(fmt.Sprintf("an open quote: %s", line))
				}
				value, _ := strconv.Unquote(quoted)
				words, line = append(words, word+value), line[end+len(quoted):]
				continue
			}
		}
		words, line = append(words, word), line[len(word):]
	}
	return words
}

func (p *player) do(words []string) (answer string, err error) {
	r := &p.s.Rollout
	switch words[0] {
	case "plan":
		return "", each(words[1:], p.plan)
	case "steps":
		return "", each(words[1:], func(key, _ string) error { return p.step(key) })
	case "guardrail": // KEY TYPE ANALYSIS [WINDOW [UNIT]], or KEY stream QUERY
		m := flyball.Metric{Key: words[1], Type: flyball.MetricType(words[2]), Analysis: flyball.Analysis(words[3])}
		if m.Type == flyball.MetricStream {
			m.Analysis, m.Of.Prometheus = "", &flyball.PrometheusSource{Query: words[3]}
		}
		if len(words) > 4 {
			m.Window = duration(words[4])
		}
		if len(words) > 5 {
			m.Unit = words[5]
		}
		p.s.Metrics[m.Key] = m
		r.Guardrails = append(r.Guardrails, flyball.Guardrail{Metric: m.Key, Margin: flyball.Margin{Relative: .05}})
	case "slow":
		p.delay = duration(words[1]).Std()
	case "stateful":
		p.s.Stateful = true
	case "fleet": // CONVERGED INSTANCES VERSION [REMOTE]
		p.s.Fleet = flyball.Fleet{Converged: atoi(words[1]), Instances: atoi(words[2]), Head: flyball.RulesetID{Epoch: 1, Version: int64(atoi(words[3]))}}
		if len(words) > 4 {
			p.s.Fleet.Remote = atoi(words[4])
		}
		if p.s.Fleet.Converged < p.s.Fleet.Instances {
			p.s.Fleet.Behind = []flyball.Instance{{InstanceInfo: flyball.InstanceInfo{ID: "i-7"}, Applied: &flyball.RulesetID{Epoch: 1, Version: p.s.Fleet.Head.Version - 1}}}
		}
	case "leap": // AT BY, which may be negative
		by, err := time.ParseDuration(words[2])
		if err != nil {
			return "", err
		}
		p.s.Leaps = append(p.s.Leaps, Leap{At: midnight.Add(duration(words[1]).Std()), By: by})
	case "forget": // the end of the lease
		r.LeaseUntil = nil
	case "pause", "resume", "kill":
		r.State = map[string]flyball.RolloutState{"pause": flyball.RolloutPaused, "resume": flyball.RolloutRunning, "kill": flyball.RolloutStopped}[words[0]]
		r.Revision++
		r.Since = p.s.Now
	case "pass": // GATE WHO
		r.Passed = append(r.Passed, flyball.GatePass{Step: r.At, Gate: atoi(words[1]), By: flyball.ActorID(words[2]), At: p.s.Now})
		r.Revision++
	case "at":
		return p.at(words[1:])
	default:
		return "", fmt.Errorf("there is no command %q", words[0])
	}
	return "", nil
}

func each(words []string, f func(key, value string) error) error {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

func (p *player) plan(key, value string) error {
	r := &p.s.Rollout
	after, then, _ := strings.Cut(value, ":")
	switch key {
	case "then":
		r.Then = flyball.Then(value)
	case "onBreach":
		r.OnBreach = flyball.OnBreach(value)
	case "unsure":
		r.OnUnsure = flyball.OnUnsure{After: duration(after), Then: then}
	case "silence":
		r.OnSilence = flyball.OnSilence{After: duration(after), Then: then}
	case "units":
		r.Budget.ExposedUnits = int64(atoi(value))
	case "minutes":
		r.Budget.UnitMinutes = int64(atoi(value))
	default:
		return fmt.Errorf("a plan has no %q", key)
	}
	return nil
}

// step reads SHARE/HOLD, and then /lease:D, /approval:N or /agent:NAME,D,THEN.
func (p *player) step(text string) error {
	parts := strings.Split(text, "/")
	percent, err := strconv.ParseFloat(strings.TrimSuffix(parts[0], "%"), 64)
	if err != nil {
		return err
	}
	s := flyball.Step{PPM: int(math.Round(percent * 1e4)), Hold: duration(parts[1])}
	for _, part := range parts[2:] {
		key, value, _ := strings.Cut(part, ":")
		fields := strings.Split(value, ",")
		var g flyball.Gate
		switch key {
		case "lease":
			s.Lease = duration(value)
			continue
		case "approval":
			g.Approval = atoi(fields[0])
		case "agent":
			g.Agent = fields[0]
		default:
			return fmt.Errorf("a step has no %q", key)
		}
		if len(fields) == 3 {
			g.Timeout, g.OnTimeout = duration(fields[1]), fields[2]
		}
		s.Gates = append(s.Gates, g)
	}
	p.s.Rollout.Steps = append(p.s.Rollout.Steps, s)
	return nil
}

// at sets the clock, makes evidence, asks Next and carries its decision out.
func (p *player) at(words []string) (string, error) {
	p.s.Now = midnight.Add(duration(words[0]).Std())
	verdict := flyball.Healthy
	words = words[1:]
	if len(words) > 0 && !strings.Contains(words[0], "=") {
		verdict, words = flyball.Verdict(words[0]), words[1:]
	}
	p.s.Evidence, p.s.Frozen = evidence(p.s, verdict), ""
	if err := each(words, p.but); err != nil {
		return "", err
	}
	was := p.s.Rollout
	d := Next(p.s)
	r, err := After(was, d, p.s.Now.Add(p.delay))
	if err != nil {
		return "", err
	}
	if d.Action == Start || d.Action == Advance || d.Action == StepBack {
		r.SteppedIn = max(was.SteppedIn, p.s.Fleet.Head.Version) + 1
	}
	p.s.Rollout = r
	answer := fmt.Sprintf("%s %s: %s", d.Action, share(r.Steps[r.At].PPM), d.Why)
	if d.AbsenceOfEvidence {
		answer += " [absence of evidence]"
	}
	if l := r.LeaseUntil; l != nil && (was.LeaseUntil == nil || !l.Equal(was.LeaseUntil.Time)) {
		answer += fmt.Sprintf(" (leased until %v)", flyball.Duration(l.Sub(midnight)))
	}
	if r.State != was.State {
		answer += fmt.Sprintf(" → %s", r.State)
	}
	return answer, nil
}

// evidence is what a judge would know of a step at full traffic, with the
// verdict on every guardrail.
func evidence(s Situation, v flyball.Verdict) flyball.Evidence {
	r := s.Rollout
	e := flyball.Evidence{
		Rollout: r.ID, Step: r.At, Verdict: v,
		Units: flyball.Arms{Control: 90_000, Treatment: 10_000}, StepUnits: flyball.Arms{Control: 9_000, Treatment: 1_000},
		Last:   flyball.ArmTimes{Control: s.Now.Add(-time.Second), Treatment: s.Now.Add(-time.Second)},
		SRM:    flyball.SampleRatio{BayesFactor: .2, Threshold: 1000},
		Joined: 100_000, Lag: flyball.Duration(time.Second),
	}
	for _, g := range r.Guardrails {
		m := flyball.MetricEvidence{
			Metric: g.Metric, Verdict: v, E: .5, Threshold: 100, AdvanceE: 1.3, AdvanceThreshold: 20, AdvanceMargin: 1.25,
			Control: ptr(.041), Treatment: ptr(.039), Estimate: ptr(.95), Interval: &[2]float64{.7, 1.3},
			N: flyball.Arms{Control: 9_000, Treatment: 1_000},
		}
		switch v {
		case flyball.Healthy:
			m.AdvanceE = 27
		case flyball.Breached:
			m.E, m.AdvanceE, m.Treatment, m.FirstTripped = 153, .01, ptr(.093), ptr(s.Now)
		}
		if of := s.Metrics[g.Metric].Of.Prometheus; of != nil {
			m = flyball.MetricEvidence{Metric: g.Metric, Verdict: v, FirstTripped: m.FirstTripped, Why: "0.97 of 0.9", Stream: &flyball.StreamEvidence{
				Suspended: of.ByVariant() && s.Rollout.Steps[s.Rollout.At].PPM == flyball.PPM,
			}}
		}
		e.Guardrails = append(e.Guardrails, m)
	}
	return e
}

// but changes one thing of the evidence.
func (p *player) but(key, value string) (err error) {
	e := &p.s.Evidence
	n := func() int64 { return int64(atoi(value)) }
	last := func(value string) time.Time {
		if value == "never" {
			return time.Time{}
		}
		age, err := time.ParseDuration(value)
		if err != nil {
			panic(err)
		}
		return p.s.Now.Add(-age)
	}
	switch key {
	case "frozen":
		p.s.Frozen = value
	case "treatment":
		e.Last.Treatment = last(value)
	case "control":
		e.Last.Control = last(value)
	case "both":
		e.Last = flyball.ArmTimes{Control: last(value), Treatment: last(value)}
	case "units":
		e.StepUnits.Treatment = n()
	case "total":
		e.Units.Treatment = n()
	case "minutes":
		p.s.Evidence.UnitMinutes = float64(n())
	case "srm":
		e.SRM.BayesFactor, e.SRM.Mismatch = float64(n()), true
	case "lossy":
		e.Lossy = value
	case "crossed":
		e.Crossed = n()
	case "unjoined":
		e.Unjoined = n()
	case "block":
		e.Blocks = append(e.Blocks, value)
	case "why":
		e.Why = value
	case "step":
		e.Step = int(n()) - 1
	case "rollout":
		e.Rollout = value
	case "lag":
		e.Lag = duration(value)
	case "e", "advanceE", "estimate", "interval", "bayes":
		f, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return err
		}
		g := flyball.MetricEvidence{}
		if len(e.Guardrails) > 0 {
			g = e.Guardrails[0]
		}
		switch key {
		case "e":
			g.E = f
		case "advanceE":
			g.AdvanceE = f
		case "estimate":
			g.Estimate = &f
		case "interval":
			g.Interval = &[2]float64{.7, f}
		case "bayes":
			e.SRM.BayesFactor = f
		}
		if len(e.Guardrails) > 0 {
			e.Guardrails[0] = g
		}
	case "tripped": // by the clock of the story; "untold" leaves it out
		for i := range e.Guardrails {
			e.Guardrails[i].FirstTripped = nil
			if value != "untold" {
				e.Guardrails[i].FirstTripped = ptr(midnight.Add(duration(value).Std()))
			}
		}
	case "without":
		for i, g := range e.Guardrails {
			if g.Metric == value {
				e.Guardrails = append(e.Guardrails[:i:i], e.Guardrails[i+1:]...)
				break
			}
		}
	default:
		for i, g := range e.Guardrails {
			if g.Metric == key {
				e.Guardrails[i].Verdict = flyball.Verdict(value)
				e.Guardrails[i].AdvanceE = map[string]float64{"healthy": 27, "unsure": 1.3, "breached": .01}[value]
				return nil
			}
		}
		return fmt.Errorf("evidence has no %q", key)
	}
	return nil
}

func ptr[T any](v T) *T { return &v }

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func duration(s string) (d flyball.Duration) {
	if err := d.UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return d
}
