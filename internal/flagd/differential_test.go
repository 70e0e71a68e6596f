package flagd_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/flagd"
)

const nodeFolder = "testdata/node"

// A question is what flagd is asked of one context, and what we answered for
// each flag.
type question struct {
	Flags   [][2]string    `json:"flags"` // key and type
	Context map[string]any `json:"context"`
	At      int64          `json:"at"`

	ours  []flyball.Resolution
	doubt bool // the context holds what flagd may refuse to read
}

type answer struct {
	Variant string `json:"variant"`
	Value   any    `json:"value"`
	Error   string `json:"error"`
}

// flagd's own evaluator, compiled and interpreted, gives to every exported
// flag and every context the variant and the value that ours gives, or an
// error where ours is one. Where a context holds what flagd reads differently,
// it may be an error too, and is never another value.
func TestFlagdAnswersAsWeDo(t *testing.T) {
	node(t)
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("FLYBALL_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("FLYBALL_SEED=%d", seed)
	rulesets := 30
	if os.Getenv("FLYBALL_NIGHTLY") != "" {
		rulesets = 1000
	}
	var in bytes.Buffer
	var asked [][]question
	left := map[string]string{}
	for i := range rulesets {
		d := dice{rand.New(rand.NewPCG(seed, uint64(i))), time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
		asked = append(asked, d.ask(t, &in, left, 60))
	}
	if len(left) > 0 {
		t.Errorf("left out, though flagd can express it: %v", left)
	}
	start := time.Now()
	out := bufio.NewReader(bytes.NewReader(run(t, &in)))
	took := time.Since(start)
	var c count
	for i, questions := range asked {
		var loaded struct{ Complaints []string }
		next(t, out, &loaded)
		if len(loaded.Complaints) > 0 {
			t.Fatalf("ruleset %d: flagd complains of the document: %v", i, loaded.Complaints)
		}
		for _, q := range questions {
			var answers [][2]answer // compiled, interpreted
			next(t, out, &answers)
			for n := range answers {
				c.compare(t, fmt.Sprintf("ruleset %d", i), q, n, answers[n])
			}
			if c.wrong > 5 {
				t.Fatal("and more")
			}
		}
	}
	t.Logf("%d pairs of flag and context, compiled and interpreted, in %v: %d errors on both sides, %d doubts", c.asked/2, took, c.errors/2, c.doubts/2)
	if c.asked < 2*20_000 || c.errors < 100 || c.doubts < 20 || c.doubts > c.asked/20 {
		t.Error("the questions are not what they should be")
	}
	if slices.Min(c.variants[:]) < c.asked/10 {
		t.Errorf("some variants are hardly ever served: %v", c.variants)
	}
}

// ask writes a ruleset's document and questions about it.
func (d dice) ask(t *testing.T, in io.Writer, left map[string]string, contexts int) (asked []question) {
	rs := d.ruleset(12)
	document, skipped := flagd.Export(rs)
	for _, s := range skipped {
		left[s.Flag] = s.Why
	}
	compiled, err := eval.Compile(rs)
	if err != nil {
		t.Fatal(err)
	}
	write := json.NewEncoder(in)
	write.Encode(map[string]string{"document": string(document)})
	for range contexts {
		c := d.context()
		now := d.now.Add(time.Duration(d.IntN(9)-4) * time.Second)
		q := question{Context: c, At: now.Unix(), doubt: doubtful(c)}
		ec := contextOf(t, c)
		for _, f := range rs.Flags {
			q.Flags = append(q.Flags, [2]string{f.Key, string(f.Type)})
			q.ours = append(q.ours, compiled.Evaluate(f.Key, ec, func() time.Time { return now }, nil))
		}
		write.Encode(q)
		asked = append(asked, q)
	}
	return asked
}

// contextOf reads a context as a server does, from JSON.
func contextOf(t *testing.T, c map[string]any) *flyball.EvaluationContext {
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var ec flyball.EvaluationContext
	if err := json.Unmarshal(data, &ec.Attributes); err != nil {
		t.Fatal(err)
	}
	ec.TargetingKey, _ = ec.Attributes["targetingKey"].(string)
	delete(ec.Attributes, "targetingKey")
	return &ec
}

// doubtful says whether a context holds, anywhere, a version that flagd cannot
// read, or an integer that JavaScript cannot.
func doubtful(v any) bool {
	switch v := v.(type) {
	case string:
		return slices.Contains(versions[readable:], v)
	case int64:
		return slices.Contains(large, any(v))
	case []any:
		return slices.ContainsFunc(v, doubtful)
	case map[string]any:
		for _, part := range v {
			if doubtful(part) {
				return true
			}
		}
	}
	return false
}

type count struct {
	asked, errors, doubts, wrong int
	variants                     [3]int
}

// compare judges the answers for the nth flag of a question.
func (c *count) compare(t *testing.T, where string, q question, n int, answers [2]answer) {
	ours := q.ours[n]
	for how, a := range answers {
		c.asked++
		if i := slices.Index([]string{"on", "off", "c"}, a.Variant); i >= 0 {
			c.variants[i]++
		}
		switch failed := ours.ErrorCode != ""; {
		case failed && a.Error != "":
			c.errors++
			continue
		case !failed && a.Variant == ours.Variant && same(t, ours.Value, a.Value):
			continue
		case !failed && q.doubt && strings.HasPrefix(a.Error, "GENERAL"):
			c.doubts++
			continue
		}
		c.wrong++
		said, _ := json.Marshal(q.Context)
		t.Errorf("%s, %s, %s at %d for %s:\nours  %s %v %s\nflagd %s %v %s", where, [2]string{"compiled", "interpreted"}[how],
			q.Flags[n][0], q.At, said, ours.Variant, ours.Value, ours.ErrorCode, a.Variant, a.Value, a.Error)
	}
}

// same compares values as JSON tells them.
func same(t *testing.T, ours, theirs any) bool {
	data, err := json.Marshal(ours)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	return json.Unmarshal(data, &v) == nil && reflect.DeepEqual(v, theirs)
}

func next(t *testing.T, out *bufio.Reader, into any) {
	t.Helper()
	line, err := out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("an answer is missing: %v", err)
	}
	if err := json.Unmarshal(line, into); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
}

// node skips the test, loudly, where flagd's evaluator cannot run. In CI it
// must.
func node(t *testing.T) {
	t.Helper()
	missing := ""
	if _, err := exec.LookPath("node"); err != nil {
		missing = "node is not installed"
	} else if _, err := os.Stat(nodeFolder + "/node_modules/@openfeature/flagd-core"); err != nil {
		missing = "flagd-core is not installed: run npm ci in internal/flagd/" + nodeFolder
	}
	switch {
	case missing == "":
	case os.Getenv("CI") != "":
		t.Fatal(missing)
	default:
		t.Skip("SKIPPED, equality with flagd is not shown: ", missing)
	}
}

// run answers questions in one Node process.
func run(t *testing.T, in io.Reader) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", "evaluate.mjs")
	cmd.Dir, cmd.Stdin = nodeFolder, in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, stderr.Bytes())
	}
	return out
}
