package flyball

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// A PrometheusSource makes a stream of values by asking Prometheus the same
// query again and again. A stream has no units: it says how a service fares,
// such as its use of memory or the share of its requests that fail.
//
// What judges a stream is either a threshold, a plain rule without statistics,
// or a baseline, which learns what is normal and alarms when that changes. A
// query that names the variant is asked once for each arm, and the stream is
// the treatment's value less the control's at the same moment; it takes a
// threshold only, since before the rollout there was no treatment of which one
// could have learnt what is normal.
type PrometheusSource struct {
	Query     string          `json:"query" doc:"PromQL with one number as its answer; may bind {{flag}}, {{environment}} and {{variant}} as whole label values, such as flag=\"{{flag}}\"" example:"sum(rate(http_requests_total{code=~\"5..\"}[1m])) / sum(rate(http_requests_total[1m]))"`
	Every     Duration        `json:"every,omitempty" doc:"how often it is asked; not more often than it is scraped (default 15s)" example:"15s"`
	Direction StreamDirection `json:"direction,omitempty" enum:"up,down,both" doc:"which change is harmful; both only with a baseline (default: what better says)"`
	Threshold *Threshold      `json:"threshold,omitempty" doc:"a limit that breaks the guardrail when it is exceeded"`
	Baseline  *Baseline       `json:"baseline,omitempty" doc:"alarms when the stream leaves what is normal; an alarm holds the rollout"`
}

// A StreamDirection says which change of a stream is harmful.
type StreamDirection string

// The directions of a stream.
const (
	StreamUp   StreamDirection = "up"
	StreamDown StreamDirection = "down"
	StreamBoth StreamDirection = "both"
)

// A Threshold is a limit that a stream may not exceed for a while, such as 90
// percent of a processor for half a minute.
type Threshold struct {
	Value float64  `json:"value" doc:"the limit; a stream that goes up is beyond it when it is above" example:"0.9"`
	For   Duration `json:"for,omitempty" doc:"how long every sample must be beyond it; the first one breaks it if absent" example:"30s"`
}

// A Baseline watches a stream for a change from what is normal for it.
type Baseline struct {
	FalseAlarm Duration `json:"falseAlarm,omitempty" doc:"how long it is between two false alarms on average, if the stream is as the model says (default 720h)" example:"720h"`
}

// Limits and defaults of streams.
const (
	DefaultStreamEvery = Duration(15 * time.Second)
	DefaultFalseAlarm  = Duration(30 * 24 * time.Hour)
	MinStreamEvery     = Duration(time.Second)
	MaxStreamEvery     = Duration(5 * time.Minute)
	// MinFalseAlarm is the fewest samples between two false alarms.
	MinFalseAlarm = 1000
	MaxQueryLen   = 2048
)

// withDefaults returns s with its optional fields filled in.
func (s PrometheusSource) withDefaults(b Better) *PrometheusSource {
	fill(&s.Every, DefaultStreamEvery)
	fill(&s.Direction, StreamUp)
	if b == BetterHigher && s.Direction == StreamUp {
		s.Direction = StreamDown
	}
	if s.Baseline != nil {
		base := *s.Baseline
		fill(&base.FalseAlarm, DefaultFalseAlarm)
		s.Baseline = &base
	}
	return &s
}

// ByVariant says whether the query names the variant.
func (s PrometheusSource) ByVariant() bool { return strings.Contains(s.Query, `"{{variant}}"`) }

// Bind returns the query for a flag in an environment; variant is not read if
// the query does not name it. Values are bound as quoted strings, so that none
// can be more than the value of a label.
func (s PrometheusSource) Bind(flag, environment, variant string) string {
	return strings.NewReplacer(
		`"{{flag}}"`, strconv.Quote(flag),
		`"{{environment}}"`, strconv.Quote(environment),
		`"{{variant}}"`, strconv.Quote(variant),
	).Replace(s.Query)
}

func (p problems) prometheus(s *PrometheusSource, better Better) {
	switch {
	case s == nil:
		p.add("", "a stream comes from Prometheus: give its query and a threshold or a baseline")
		return
	case s.Query == "" || len(s.Query) > MaxQueryLen:
		p.add("query", "needs PromQL of 1 to %d bytes", MaxQueryLen)
	default:
		if why := templateFault(s.Query); why != "" {
			p.add("query", "%s", why)
		}
	}
	if s.Every < MinStreamEvery || s.Every > MaxStreamEvery || s.Every.Std()%time.Second != 0 {
		p.add("every", "must be whole seconds, from %v to %v", MinStreamEvery, MaxStreamEvery)
	}
	oneOf(p, "direction", s.Direction, StreamUp, StreamDown, StreamBoth)
	if better == BetterLower && s.Direction == StreamDown || better == BetterHigher && s.Direction == StreamUp {
		p.add("direction", "%s is the way that better: %s calls good", s.Direction, better)
	}
	if (s.Threshold == nil) == (s.Baseline == nil) {
		p.add("", "give either a threshold or a baseline")
		return
	}
	if t := s.Threshold; t != nil {
		p.threshold(*t, s.Direction)
		return
	}
	if s.ByVariant() {
		p.add("baseline", "a query that names the variant takes a threshold: before the rollout there is no treatment to learn from")
	}
	if least := MinFalseAlarm * s.Every; s.Baseline.FalseAlarm < least || s.Baseline.FalseAlarm.Std() > 10*365*24*time.Hour {
		p.add("baseline.falseAlarm", "must lie between %d samples, here %v, and ten years (87600h)", MinFalseAlarm, least)
	}
}

func (p problems) threshold(t Threshold, d StreamDirection) {
	if !finite(t.Value) {
		p.add("threshold.value", "must be a finite number")
	}
	if t.For < 0 || t.For > Duration(time.Hour) {
		p.add("threshold.for", "must lie between 0 and 1h")
	}
	if d == StreamBoth {
		p.add("direction", "a threshold lies on one side: say up or down")
	}
}

// templateFault says why a query is no template, "" if it is one. What is bound
// must be the whole of a double-quoted value that a label is compared with by =
// or !=: anywhere else a value could change what the query means.
func templateFault(query string) string {
	const outside = `{{flag}}, {{environment}} and {{variant}} are bound only as whole label values: flag="{{flag}}"`
	before := "" // the query up to here, without trailing space
	for rest := query; rest != ""; {
		at := strings.IndexAny(rest, "\"'`#")
		if at < 0 {
			at = len(rest)
		}
		if strings.Contains(rest[:at], "{{") {
			return outside
		}
		before = strings.TrimRight(before+rest[:at], " \t\r\n")
		rest = rest[at:]
		if rest == "" {
			return ""
		}
		if rest[0] == '#' {
			_, rest, _ = strings.Cut(rest, "\n")
			continue
		}
		text, after, closed := stringToken(rest)
		switch {
		case !closed:
			return "a string in it has no end"
		case !strings.Contains(text, "{{"):
		case !slices.Contains([]string{`"{{flag}}"`, `"{{environment}}"`, `"{{variant}}"`}, text) || !strings.HasSuffix(before, "="):
			return outside
		}
		before, rest = before+text, after
	}
	return ""
}

// stringToken splits a string of PromQL, its quotes included, from what follows.
func stringToken(s string) (text, rest string, closed bool) {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && s[0] != '`':
			i++
		case s[i] == s[0]:
			return s[:i+1], s[i+1:], true
		}
	}
	return s, "", false
}
