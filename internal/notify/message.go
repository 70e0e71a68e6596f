package notify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/rollout"
	"github.com/flyballdev/flyball/internal/store"
)

// A message tells people of an audit entry: what happened, the numbers, who
// did it and why, and what to do.
type message struct {
	entry flyball.AuditEntry
	title string
	lines []string
}

// text is the whole message.
func (m message) text() string { return m.title + "\n" + strings.Join(m.lines, "\n") }

// titles say what happened, for the actions whose names do not say it to
// everybody.
var titles = map[string]string{
	"flag.create": "flag created", "flag.update": "flag changed", "flag.archive": "flag archived", "flag.kill": "KILLED", "flag.resume": "kill lifted",
	"flag.enable": "enabled", "flag.disable": "disabled", "flag.default": "serves another default", "flag.configure": "reconfigured",
	"rule.add": "rule added", "rule.update": "rule changed", "rule.move": "rule moved", "rule.remove": "rule removed",
	"segment.create": "segment created", "segment.update": "segment changed", "apply": "files applied",
	"rollout.start": "rollout started", "rollout.advance": "rollout advanced", "rollout.hold": "rollout HELD", "rollout.resume": "rollout goes on",
	"rollout.stepBack": "rollout STEPPED BACK", "rollout.abort": "rollout ABORTED", "rollout.stop": "rollout STOPPED", "rollout.finish": "rollout completed",
	"rollout.pause": "rollout paused", "rollout.pass": "gate of the rollout passed", "rollout.renew": "lease of the rollout renewed",
	"webhook.test": "a test message", "policy.update": "policy changed",
	"change.propose": "change PROPOSED", "change.approve": "change approved", "change.reject": "change rejected", "change.review": "broken glass reviewed",
}

// messageOf words an entry. metric looks a metric up, for its unit.
func messageOf(e flyball.AuditEntry, metric func(key string) (store.MetricRecord, error)) (message, error) {
	what := titles[e.Action]
	if what == "" {
		what = e.Action
	}
	m := message{entry: e, title: e.Subject + ": " + what}
	if e.Environment != "" {
		m.title = e.Subject + " in " + e.Environment + ": " + what
	}
	if e.BreakGlass {
		m.title += " by BREAKING THE GLASS"
	}
	r, before, about := rolloutOf(e)
	if about {
		d := decisionOf(e)
		m.add(exposure(r, before, d.Evidence))
		for _, g := range byVerdict(d.Evidence.Guardrails) {
			def, err := metric(g.Metric)
			if err != nil && flyball.CodeOf(err) != flyball.NotFound {
				return m, err
			}
			m.add(numbers(g, def.Metric))
		}
		m.add(doubts(d))
	} else {
		m.add(changed(e))
	}
	m.add(who(e))
	if e.BreakGlass {
		m.add("Others ought to have approved this. One of them looks at it: flyball change review " + e.Change + " --reason '…'")
	}
	m.add(whatToDo(e, r, about))
	for i, line := range m.lines {
		m.lines[i] = clean(line, 1000)
	}
	m.title = clean(m.title, 300)
	return m, nil
}

func (m *message) add(line string) {
	if line != "" {
		m.lines = append(m.lines, line)
	}
}

// rolloutOf returns the rollout that an entry is about, after and before.
func rolloutOf(e flyball.AuditEntry) (after, before flyball.Rollout, ok bool) {
	for _, edit := range e.Edits {
		if edit.Noun == "rollout" && json.Unmarshal(edit.After, &after) == nil && after.At >= 0 && after.At < len(after.Steps) {
			if json.Unmarshal(edit.Before, &before) != nil || before.At < 0 || before.At >= len(before.Steps) {
				before = flyball.Rollout{}
			}
			return after, before, true
		}
	}
	return flyball.Rollout{}, flyball.Rollout{}, false
}

// A decision is what the audit log keeps of what the controller decided.
type decision struct {
	Decision rollout.Decision `json:"decision"`
	Evidence flyball.Evidence `json:"evidence"`
}

// decisionOf reads an entry's evidence. What cannot be read, such as that of
// another release, is left out: a message without numbers is better than none.
func decisionOf(e flyball.AuditEntry) (d decision) {
	if json.Unmarshal(e.Evidence, &d) != nil {
		return decision{}
	}
	return d
}

// exposure tells who gets what, and how many had the treatment.
func exposure(r, before flyball.Rollout, e flyball.Evidence) string {
	var b strings.Builder
	step, units := r.Steps[r.At], "all units"
	if r.Where != flyball.WhereDefault {
		units = "the units of the rule " + r.Where
	}
	switch {
	case r.State == flyball.RolloutCompleted && r.Then != flyball.ThenOff:
		fmt.Fprintf(&b, "%s of %s keep %q", share(step.PPM), units, r.Treatment)
	case !r.State.Live():
		fmt.Fprintf(&b, "Everybody is on the control, %q", r.Control)
		if before.State.Live() {
			fmt.Fprintf(&b, "; %s of %s had %q, at step %d of %d", share(before.Steps[before.At].PPM), units, r.Treatment, before.At+1, len(before.Steps))
		}
	default:
		fmt.Fprintf(&b, "%s of %s get %q, the others %q: step %d of %d, %s", share(step.PPM), units, r.Treatment, r.Control, r.At+1, len(r.Steps), r.State)
		if before.State.Live() && before.At != r.At {
			fmt.Fprintf(&b, "; before it were %s", share(before.Steps[before.At].PPM))
		}
	}
	if e.Units != (flyball.Arms{}) {
		fmt.Fprintf(&b, ". Exposed so far: %d units to the treatment, %d to the control", e.Units.Treatment, e.Units.Control)
	}
	return b.String() + "."
}

// byVerdict puts what is breached first.
func byVerdict(all []flyball.MetricEvidence) []flyball.MetricEvidence {
	rank := map[flyball.Verdict]int{flyball.Breached: 0, flyball.Unsure: 1, flyball.Healthy: 2}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b flyball.MetricEvidence) int { return rank[a.Verdict] - rank[b.Verdict] })
	return all
}

// numbers tells what is known of a guardrail.
func numbers(g flyball.MetricEvidence, m flyball.Metric) string {
	parts := []string{fmt.Sprintf("%s is %s", g.Metric, g.Verdict)}
	if g.Treatment != nil && g.Control != nil {
		parts = append(parts, fmt.Sprintf("%s with the treatment, %s with the control", quantity(*g.Treatment, m), quantity(*g.Control, m)))
	}
	if g.Estimate != nil {
		parts = append(parts, "estimate "+estimate(*g.Estimate, m)+interval(g.Interval, m))
	}
	if g.Verdict == flyball.Breached || g.AdvanceThreshold == 0 {
		parts = append(parts, fmt.Sprintf("e-value %s of %s that prove harm", number(g.E), number(g.Threshold)))
	} else {
		parts = append(parts, fmt.Sprintf("e-value %s of %s that an advance needs", number(g.AdvanceE), number(g.AdvanceThreshold)))
	}
	if n := g.N.Control + g.N.Treatment; n > 0 {
		parts = append(parts, fmt.Sprintf("from %d observations", n))
	}
	if g.Why != "" {
		parts = append(parts, g.Why)
	}
	return strings.Join(parts, "; ")
}

// doubts tells why the data cannot be trusted, and what is waited for.
func doubts(d decision) string {
	parts := slices.Concat(d.Decision.Waits, d.Evidence.Blocks)
	if d.Evidence.SRM.Mismatch {
		parts = append(parts, fmt.Sprintf("units did not fall into the arms as their weights say (Bayes factor %s)", number(d.Evidence.SRM.BayesFactor)))
	}
	if d.Evidence.Lossy != "" {
		parts = append(parts, d.Evidence.Lossy)
	}
	if d.Decision.AbsenceOfEvidence {
		parts = append(parts, "it was not shown to be safe: the plan lets it go on without")
	}
	if len(parts) == 0 {
		return ""
	}
	slices.Sort(parts)
	return "Note: " + strings.Join(slices.Compact(parts), "; ")
}

// changed names what an entry changed.
func changed(e flyball.AuditEntry) string {
	var names []string
	for _, edit := range e.Edits {
		verb := "changed"
		switch {
		case len(edit.Before) == 0:
			verb = "made"
		case len(edit.After) == 0:
			verb = "taken away"
		}
		names = append(names, edit.Noun+" "+edit.Key+" "+verb)
	}
	if more := len(names) - 5; more > 0 {
		names = append(names[:5], fmt.Sprintf("and %d more", more))
	}
	if e.Version > 0 {
		names = append(names, fmt.Sprintf("ruleset version %d", e.Version))
	}
	return strings.Join(names, ", ")
}

func who(e flyball.AuditEntry) string {
	by := string(e.Actor.ID)
	if e.Actor.OnBehalfOf != "" {
		by += " for " + string(e.Actor.OnBehalfOf)
	}
	return "By " + by + ": " + e.Reason
}

// whatToDo says what can be done about it, as commands.
func whatToDo(e flyball.AuditEntry, r flyball.Rollout, about bool) string {
	subject := argument(e.Subject)
	at := subject + " -e " + e.Environment
	switch e.Action {
	case "flag.kill":
		return "Everybody gets the safe variant. Once it is mended: flyball flag resume " + at + " --reason '…'"
	case "flag.archive":
		return "Programs that still evaluate it get their own default: flyball flag unknown lists them."
	case "flag.create":
		return "It is dark until somebody enables it: flyball flag enable " + at + " --reason '…'"
	case "change.propose":
		return "Look at it: flyball change show " + requested(e) + "; then flyball change approve " + requested(e) + " --reason '…', or reject it"
	case "change.approve":
		return "Once enough have approved it: flyball change apply " + requested(e)
	case "webhook.test":
		return "Nothing to do: this webhook works."
	}
	if !about {
		if e.Environment == "" || e.Action == "apply" || strings.HasPrefix(e.Action, "segment.") {
			return "See what exactly: flyball audit list --subject " + subject
		}
		return "See what exactly: flyball audit list --subject " + subject + "; take it from everybody: flyball flag kill " + at + " --reason '…'"
	}
	return nextOf(r)
}

// requested is the id of the request for approval that an entry is about.
func requested(e flyball.AuditEntry) string {
	for _, edit := range e.Edits {
		if edit.Noun == "change" {
			return argument(edit.Key)
		}
	}
	return "ID"
}

// argument writes what was changed so that a shell takes it for one word,
// whoever named it.
func argument(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// nextOf says what can be done about a rollout as it stands.
func nextOf(r flyball.Rollout) string {
	look := "Look: flyball rollout status " + r.ID
	abort := "take it back: flyball rollout abort " + r.ID + " --reason '…'"
	switch r.State {
	case flyball.RolloutAborted, flyball.RolloutStopped:
		return fmt.Sprintf("%s. Once it is mended, restart: flyball rollout start %s -e %s --treatment %s --control %s --steps … --reason '…'", look, r.Flag, r.Environment, r.Treatment, r.Control)
	case flyball.RolloutCompleted:
		return "When no other variant is needed any more, take the flag out of the code: flyball flag archive " + r.Flag + " --reason '…'"
	case flyball.RolloutHolding, flyball.RolloutPaused:
		return look + "; go on: flyball rollout resume " + r.ID + " --reason '…'; " + abort
	}
	return look + "; " + abort
}

// quantity words a value of a metric in the metric's own terms.
func quantity(v float64, m flyball.Metric) string {
	switch {
	case m.Type == flyball.MetricRate:
		return number(100*v) + " %"
	case m.Unit != "":
		return number(v) + " " + m.Unit
	}
	return number(v)
}

// estimate words what the treatment does to a metric: a ratio for a rate, a
// difference for a mean.
func estimate(v float64, m flyball.Metric) string {
	switch m.Type {
	case flyball.MetricRate:
		return "× " + number(v)
	case flyball.MetricMean:
		return strings.TrimSpace(signed(v) + " " + m.Unit)
	}
	return number(v)
}

func interval(of *[2]float64, m flyball.Metric) string {
	if of == nil {
		return ""
	}
	return " (" + estimate(of[0], m) + " to " + estimate(of[1], m) + ")"
}

func signed(v float64) string {
	if v > 0 {
		return "+" + number(v)
	}
	return number(v)
}

func number(f float64) string {
	if f >= 100 && f < 1e9 || f <= -100 && f > -1e9 {
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'g', 3, 64)
}

// share words parts per million exactly.
func share(ppm int) string { return strconv.FormatFloat(float64(ppm)/1e4, 'f', -1, 64) + " %" }

// clean makes people's text harmless to terminals, logs and readers: control
// characters, line breaks and marks that turn the direction of writing become
// spaces, and what is too long is cut.
func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}
