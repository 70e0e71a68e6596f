package api

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/service"
)

// Answers are what OFREP answers with one ruleset to one class of tokens. Each
// answer is encoded once, however often it is given: a flag has few.
type answers struct {
	flags []*answerable // that the tokens may see, by key
	byKey map[string]*answerable
	dates []time.Time // at which an answer may change by itself, in order
}

// An answerable is a flag with its encoded answers.
type answerable struct {
	key   string
	fixed []byte // the answer whatever the context, if there is one
	known atomic.Pointer[map[outcome][]byte]
}

// An outcome is what tells the answers of one flag and one ruleset apart.
type outcome struct {
	variant, rule, rollout string
	step                   int
	reason                 flyball.Reason
	code                   flyball.ErrorCode
}

// answersOf returns the answers of a ruleset for tokens like p's. They live as
// long as the ruleset.
func answersOf(head *service.Published, p service.Principal) *answers {
	class := string(p.Kind) + " " + strings.Join(p.Flags, " ")
	return head.Keep(class, func() any {
		a := &answers{byKey: map[string]*answerable{}}
		for _, f := range head.Doc().Flags {
			a.dates = appendDates(a.dates, f.FlagConfig)
			if !visible(p, head.Compiled, f.Key) {
				continue
			}
			flag := &answerable{key: f.Key}
			if r, ok := head.Compiled.Constant(f.Key); ok {
				flag.fixed = encodeAnswer(f.Key, r, p)
			}
			a.flags = append(a.flags, flag)
			a.byKey[f.Key] = flag
		}
		slices.SortFunc(a.dates, time.Time.Compare)
		return a
	}).(*answers)
}

// appendDates adds the dates of a configuration: those of its rules, and the
// end of its rollout's lease.
func appendDates(dates []time.Time, c flyball.FlagConfig) []time.Time {
	add := func(t *flyball.Time) {
		if t != nil {
			dates = append(dates, t.Time)
		}
	}
	for _, r := range c.Rules {
		add(r.NotBefore)
		add(r.NotAfter)
	}
	if c.Rollout != nil {
		add(c.Rollout.NotAfter)
	}
	return dates
}

// era counts the dates that have passed: within one era, an answer depends on
// the context alone.
func (a *answers) era(now time.Time) int {
	n, _ := slices.BinarySearchFunc(a.dates, now, func(d, now time.Time) int {
		if d.After(now) {
			return 1
		}
		return -1
	})
	return n
}

// answer evaluates the flag and returns the encoded answer.
func (f *answerable) answer(rs *eval.Ruleset, ec *flyball.EvaluationContext, p service.Principal) (body []byte, failed bool) {
	if f.fixed != nil {
		return f.fixed, false
	}
	r := rs.Evaluate(f.key, ec, time.Now, nil)
	o := outcome{r.Variant, r.Rule, r.Rollout, r.Step, r.Reason, r.ErrorCode}
	known := f.known.Load()
	if known != nil {
		if body, ok := (*known)[o]; ok {
			return body, o.code != ""
		}
	}
	body = encodeAnswer(f.key, r, p)
	next := map[outcome][]byte{o: body}
	if known != nil {
		for k, v := range *known {
			next[k] = v
		}
	}
	f.known.CompareAndSwap(known, &next) // if another was quicker, this one is kept the next time
	return body, o.code != ""
}

func encodeAnswer(key string, r flyball.Resolution, p service.Principal) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(ofrepAnswer(key, r, p)) // values were checked when the flag was made
	return bytes.TrimSpace(b.Bytes())
}
