package eval_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

var writeGolden = flag.Bool("golden.write", false, "write golden vectors that do not exist yet; existing files are never touched")

// points are vectors of one seed (see testdata/README.md).
type points struct {
	Seed   string   `json:"seed"`
	Prefix string   `json:"prefix,omitempty"`
	From   int      `json:"from,omitempty"`
	Units  []string `json:"units,omitempty"`
	Points []uint32 `json:"points"`
}

func (p points) unit(i int) string {
	if p.Units != nil {
		return p.Units[i]
	}
	return fmt.Sprint(p.Prefix, p.From+i)
}

// evaluations are vectors of one ruleset (see testdata/README.md).
type evaluations struct {
	Ruleset  flyball.Ruleset                      `json:"ruleset"`
	Contexts map[string]flyball.EvaluationContext `json:"contexts"`
	Cases    []evaluationCase                     `json:"cases"`
}

type evaluationCase struct {
	Flag      string          `json:"flag"`
	Context   string          `json:"context"`
	Now       time.Time       `json:"now"`
	Want      json.RawMessage `json:"want"`
	Exposures []string        `json:"exposures,omitempty"`
}

func TestBucketingIsFrozenForEver(t *testing.T) {
	writeOnce(t, "testdata/points-1.ndjson", goldenPoints)
	writeOnce(t, "testdata/points-2.ndjson", goldenPoints2)
	files, err := filepath.Glob("testdata/points-*.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			var p points
			if err := json.Unmarshal(line, &p); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for i, want := range p.Points {
				n++
				if got := eval.Point(p.Seed, p.unit(i)); got != want {
					t.Fatalf("%s: Point(%q, %q) = %d, and must be %d for ever: this change would move people between variants", file, p.Seed, p.unit(i), got, want)
				}
			}
		}
	}
	if n < 111_000 {
		t.Errorf("%d points, want at least 111,000: were files removed?", n)
	}
}

func TestEvaluationIsFrozenForEver(t *testing.T) {
	writeOnce(t, "testdata/evaluation-1.json", goldenEvaluations)
	writeOnce(t, "testdata/evaluation-2.json", goldenEvaluations2)
	files, err := filepath.Glob("testdata/evaluation-*.json")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var g evaluations
		if err := json.Unmarshal(data, &g); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		rs := compile(t, g.Ruleset)
		for _, c := range g.Cases {
			n++
			c.check(t, file, g, rs)
		}
	}
	if n < 6_000 {
		t.Errorf("%d cases, want at least 6,000: were files removed?", n)
	}
}

// check fails if either form of context, or the reference, is resolved
// otherwise than was frozen.
func (c evaluationCase) check(t *testing.T, file string, g evaluations, rs *eval.Ruleset) {
	t.Helper()
	ec, now := g.Contexts[c.Context], func() time.Time { return c.Now }
	got, exposures := c.evaluate(t, rs, g.Contexts)
	e := reference{doc: g.Ruleset, now: c.Now}
	for _, now := range []struct {
		who, resolution string
		exposures       []string
	}{
		{"now", got, exposures}, {"the reference", marshal(t, e.evaluate(c.Flag, &ec)), e.exposed},
		{"now with a context", marshal(t, rs.EvaluateContext(c.Flag, eval.ContextOf(&ec), now, nil)), exposures},
	} {
		if now.resolution != string(c.Want) || !slices.Equal(now.exposures, c.Exposures) {
			t.Errorf("%s: %s for %s at %v, frozen: %s %q\n%s: %s %q", file, c.Flag, c.Context, c.Now, c.Want, c.Exposures, now.who, now.resolution, now.exposures)
		}
	}
}

func (c evaluationCase) evaluate(t *testing.T, rs *eval.Ruleset, contexts map[string]flyball.EvaluationContext) (resolution string, exposures []string) {
	ec := contexts[c.Context]
	r := rs.Evaluate(c.Flag, &ec, func() time.Time { return c.Now }, func(flag string, r flyball.Resolution) {
		exposures = append(exposures, flag+" "+r.Variant)
	})
	return marshal(t, r), exposures
}

func marshal(t *testing.T, r flyball.Resolution) string {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// writeOnce makes a file of vectors if it is asked to and there is none.
func writeOnce(t *testing.T, file string, make func(t *testing.T) []byte) {
	if !*writeGolden {
		return
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		t.Logf("%s exists and stays as it is: name a new file for new vectors", file)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make(t)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func goldenPoints(t *testing.T) []byte {
	var all []points
	seeds := []string{
		"a", "ab", "abc", "abcd", "payments.checkout.new-flow", "growth.home.hero-2027", "seed:with:colons", " ", "ключ", "🎈",
		"0123456789012345678901234567890123456789012345678901234567890123456789",
	}
	for i, seed := range seeds {
		p := points{Seed: seed, Prefix: []string{"user-", "", "acct_", "00000000-0000-7000-8000-", "ü"}[i%5], From: i * 1000}
		for i := range 1000 {
			p.Points = append(p.Points, eval.Point(seed, p.unit(i)))
		}
		all = append(all, p)
	}
	odd := points{Seed: "odd", Units: []string{
		"", " ", "a", "ab", "abc", "abcd", "abcde", ":", "a:b", "true", "false", "-1", "9223372036854775807", "-9223372036854775808",
		"Ünïcödé", "日本語", "🎈🎈", "e\u0301", "\u00e9", "\u0000", "line\nbreak", "ann@example.com",
	}}
	for _, u := range odd.Units {
		odd.Points = append(odd.Points, eval.Point(odd.Seed, u))
	}
	var b bytes.Buffer
	for _, p := range append(all, odd) {
		line, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	return b.Bytes()
}

func goldenEvaluations(t *testing.T) []byte {
	g := evaluations{Ruleset: goldenRuleset(), Contexts: map[string]flyball.EvaluationContext{
		"nobody": {},
		"low":    {TargetingKey: low, Attributes: flyball.Attributes{"country": "CA", "plan": "pro", "age": int64(42), "tags": []any{"x", "beta"}}},
		"high":   {TargetingKey: high, Attributes: flyball.Attributes{"country": "US", "plan": "free", "age": 17.5, "beta": false}},
		"tenant": {TargetingKey: "user-3", Attributes: flyball.Attributes{"account": map[string]any{"id": int64(9007199254740993), "name": "acme"}, "device": map[string]any{"os": "ios", "version": "v2.3.1-rc.1"}}},
		"ann":    {TargetingKey: "ann", Attributes: flyball.Attributes{"email": "ann@example.com", "ip": "10.1.2.3", "version": "1.10.0", "born": "1990-05-04T03:02:01Z", "beta": true, "dotted.name": "yes"}},
		"eve":    {TargetingKey: "eve", Attributes: flyball.Attributes{"email": "eve@evil.org", "ip": "::ffff:192.168.0.1", "version": "1.9.9", "born": int64(1_900_000_000), "plan": "pro", "nothing": nil}},
		"odd":    {TargetingKey: "Ünïcödé 🎈", Attributes: flyball.Attributes{"country": []any{"CA"}, "plan": int64(1), "age": "42", "ip": "10.1.2", "version": "latest", "email": true, "targetingKind": "device"}},
	}}
	rs := compile(t, g.Ruleset)
	names := []string{"nobody", "low", "high", "tenant", "ann", "eve", "odd"}
	for _, key := range append(rs.Keys(), "team.unknown") {
		times := []time.Time{noon}
		if f := rs.Flag(key); f != nil && (f.Rollout != nil && f.Rollout.NotAfter != nil || len(f.Rules) > 0 && (f.Rules[0].NotAfter != nil || f.Rules[0].NotBefore != nil)) {
			times = []time.Time{noon.Add(-time.Microsecond), noon, noon.Add(time.Hour)}
		}
		for _, now := range times {
			for _, name := range names {
				c := evaluationCase{Flag: key, Context: name, Now: now}
				want, exposures := c.evaluate(t, rs, g.Contexts)
				c.Want, c.Exposures = json.RawMessage(want), exposures
				g.Cases = append(g.Cases, c)
			}
		}
	}
	data, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	// One case a line: a reader finds it, and a diff would show it.
	data = bytes.ReplaceAll(data, []byte(`{"flag":"team`), []byte("\n"+`{"flag":"team`))
	return append(data, '\n')
}

// goldenRuleset has a flag for each thing that an evaluator can get wrong.
func goldenRuleset() flyball.Ruleset {
	doc := story()
	add := func(key string, changes ...change) {
		f := story(changes...).Flags[0]
		f.Key, f.Flag = key, key // the seed stays: all are on one ring
		doc.Flags = append(doc.Flags, f)
	}
	pro := is("plan", flyball.OpIn, "pro")
	doc.Segments = []flyball.Segment{
		{Key: "insiders", Owner: "team", Include: []string{"ann", "eve"}, Exclude: []string{"eve"}, If: &pro},
		{Key: "outsiders", Owner: "team", If: &flyball.Condition{Not: &flyball.Condition{Segment: "insiders"}}},
	}
	when := func(c flyball.Condition) change {
		return func(f *flyball.RulesetFlag) {
			f.Rules = append(f.Rules, flyball.Rule{ID: fmt.Sprint("rule-", len(f.Rules)), If: c, Serve: on})
		}
	}
	for i, c := range []flyball.Condition{
		is("country", flyball.OpIn, "CA", "MX"), is("tags", flyball.OpIn, "beta"), is("age", flyball.OpIn, int64(42), 17.5), is("beta", flyball.OpIn, true),
		is("account.id", flyball.OpIn, int64(9007199254740993)), is("account.id", flyball.OpIn, int64(9007199254740992)),
		is("email", flyball.OpStartsWith, "ann"), is("email", flyball.OpEndsWith, "@example.com"), is("email", flyball.OpContains, "evil"), is("email", flyball.OpMatches, `^[a-z]+@example\.(com|org)$`),
		is("age", flyball.OpLT, int64(18)), is("age", flyball.OpLTE, 17.5), is("age", flyball.OpGT, 17.5), is("age", flyball.OpGTE, int64(42)),
		is("born", flyball.OpBefore, "2000-01-01T00:00:00Z"), is("born", flyball.OpAfter, "2000-01-01T00:00:00Z"),
		is("version", flyball.OpSemverEq, "1.10"), is("version", flyball.OpSemverLT, "1.10.0"), is("version", flyball.OpSemverLTE, "1.10.0"),
		is("version", flyball.OpSemverGT, "1.9.9"), is("version", flyball.OpSemverGTE, "1.9.9"), is("device.version", flyball.OpSemverLT, "2.3.1"),
		is("ip", flyball.OpCIDR, "10.0.0.0/8"), is("ip", flyball.OpCIDR, "192.168.0.1"), is("nothing", flyball.OpExists, true), is("beta", flyball.OpExists, false),
		is(`["dotted.name"]`, flyball.OpIn, "yes"), is("targetingKey", flyball.OpIn, "ann"), is("targetingKind", flyball.OpIn, "device"),
		{Segment: "insiders"}, {Segment: "outsiders"},
		{All: []flyball.Condition{{Any: []flyball.Condition{pro, {Not: &flyball.Condition{Segment: "insiders"}}}}, is("targetingKey", flyball.OpExists, true)}},
	} {
		add(fmt.Sprintf("team.test-%02d", i), when(c))
	}
	by := func(attribute string) change {
		return byDefault(flyball.Serve{Split: &flyball.Split{By: attribute, Weights: []flyball.Weight{{Variant: "on", PPM: 333_333}, {Variant: "off", PPM: 333_333}, {Variant: "dim", PPM: 333_334}}}})
	}
	add("team.thirds", by(""))
	add("team.thirds-by-account", by("account.id"))
	add("team.thirds-by-beta", by("beta"))
	add("team.dated", canada(on), dated(at(noon), at(noon.Add(time.Hour))))
	add("team.rollout", rolledOut(50_000))
	add("team.rollout-leased", rolledOut(500_000, leased(noon)))
	add("team.rollout-on-rule", canada(off), rolledOut(50_000, onRule))
	add("team.rollout-by-account", rolledOut(900_000, byAccount))
	add("team.rollout-needs-rollout", needs("team.ramp", "on"), rolledOut(50_000))
	add("team.needs-both", needs("team.on", "on"), needs("team.thirds", "on"), canada(split("on", 1, "off", 999_999)))
	return doc
}
