package api

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/service"
)

// Answers are what OFREP answers with one ruleset to one class of tokens. Each
// answer is encoded once, however often it is given: a flag has few.
type answers struct {
	byKey  map[string]*answerable
	pieces []piece // of a bulk answer: all flags that the tokens may see, by key
	dates  []time.Time
	reads  map[string]bool // the names of the attributes that an answer may depend on
	names  []string        // the same, sorted

	wholes   wholes
	openings openings
}

// A piece is a run of flags whose answers are the same for everybody, encoded
// and with all commas, and then one whose answer is not; the last piece has
// none.
type piece struct {
	fixed []byte
	then  *answerable
}

// An answerable is a flag with its encoded answers.
type answerable struct {
	key   string
	rules *eval.Ruleset
	flag  *eval.Flag // of the rules
	plain bool       // nothing of rules and rollouts is told
	fixed *encoded   // the answer whatever the context, if there is one
	mu    sync.Mutex
	known atomic.Pointer[map[*flyball.Resolution]*encoded]
}

// An encoded answer is one that a flag can have.
type encoded struct {
	body   []byte
	length []string // as a header
	failed bool
	number uint16 // among those of its flag
}

// answersOf returns the answers of a ruleset for tokens like p's. They live as
// long as the ruleset.
func answersOf(head *service.Published, p *service.Principal) *answers {
	head.Asked()
	return head.Keep(p.Class, func() any { return newAnswers(head, p) }).(*answers)
}

func newAnswers(head *service.Published, p *service.Principal) *answers {
	a := &answers{byKey: map[string]*answerable{}, reads: map[string]bool{}}
	a.wholes.byAnswer, a.wholes.byAsked, a.openings.byID = map[string][]byte{}, map[string][]byte{}, map[string]opening{}
	run := []byte(nil)
	for _, f := range head.Doc().Flags {
		a.dates = appendDates(a.dates, f.FlagConfig)
		if !visible(p, head.Compiled, f.Key) {
			continue
		}
		flag := &answerable{key: f.Key, rules: head.Compiled, flag: head.Compiled.Find(f.Key), plain: p.Kind == flyball.TokenClient}
		if len(a.byKey) > 0 {
			run = append(run, ',')
		}
		a.byKey[f.Key] = flag
		for _, name := range flag.flag.Attributes() {
			a.reads[name] = true
		}
		if r := flag.flag.Constant(); r != nil {
			flag.fixed = flag.encode(r)
			run = append(run, flag.fixed.body...)
			continue
		}
		a.pieces, run = append(a.pieces, piece{run, flag}), nil
	}
	a.pieces = append(a.pieces, piece{append(run, "]}"...), nil})
	a.names = slices.Sorted(maps.Keys(a.reads))
	slices.SortFunc(a.dates, time.Time.Compare)
	return a
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

// answer evaluates the flag and returns the encoded answer. Outcomes are made
// with the ruleset and never change, so that each is known by its address.
func (f *answerable) answer(c *eval.Context) *encoded {
	if f.fixed != nil {
		return f.fixed
	}
	outcome, _ := f.rules.Resolve(f.flag, c, time.Now, nil)
	if known := f.known.Load(); known != nil {
		if a := (*known)[outcome]; a != nil {
			return a
		}
	}
	return f.learn(outcome)
}

func (f *answerable) learn(outcome *flyball.Resolution) *encoded {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := map[*flyball.Resolution]*encoded{}
	if known := f.known.Load(); known != nil {
		for k, v := range *known {
			next[k] = v
		}
	}
	a := next[outcome]
	if a == nil {
		a = f.encode(outcome)
		a.number = uint16(len(next))
		next[outcome] = a
		f.known.Store(&next)
	}
	return a
}

func (f *answerable) encode(r *flyball.Resolution) *encoded {
	whole := *r // outcomes are shared by rulesets, and lack the version
	whole.Version = f.rules.ID().Version
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(ofrepAnswer(f.key, &whole, f.plain)) // values were checked when the flag was made
	body := bytes.Clone(bytes.TrimSpace(b.Bytes()))
	return &encoded{body: body, length: []string{strconv.Itoa(len(body))}, failed: r.ErrorCode != ""}
}
