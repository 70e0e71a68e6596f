// Package corpus reads the corpus of rulesets that nobody should publish, for
// the tests of all who meet rulesets: the evaluator, providers and the door
// through which they are changed. The corpus is data, in eval/testdata, whose
// README.md says what its fields mean.
package corpus

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// A Case is a document of the corpus, with what it should lead to where the
// healthy document is in force.
type Case struct {
	Name     string
	Document string
	Refused  bool // it cannot be used as a whole
	Strict   bool // nothing in it is wrong

	Flag    string // what stands for the bad flag, if the document is healthy else
	Segment string // likewise for the segment

	differs map[string]string
}

// Read returns the healthy document and the corpus.
func Read(t testing.TB) (healthy string, cases []Case) {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	data, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../../eval/testdata/poison-1.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	var head struct{ Healthy, Frame, Segment string }
	if err := json.Unmarshal(lines[0], &head); err != nil {
		t.Fatal(err)
	}
	for _, line := range lines[1:] {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		c := Case{Name: r.Name, Refused: r.Refused, Strict: r.Strict, differs: r.Want}
		switch {
		case r.Flag != nil:
			c.Flag, c.Segment = r.repeated(*r.Flag), head.Segment
			if r.Segment != nil {
				c.Segment = r.repeated(*r.Segment)
			}
			c.Document = strings.NewReplacer("@flag@", c.Flag, "@segment@", c.Segment).Replace(head.Frame)
		case r.Text != nil:
			c.Document = r.repeated(*r.Text)
		default:
			raw, err := base64.StdEncoding.DecodeString(r.Base64)
			if err != nil {
				t.Fatalf("%s: %v", r.Name, err)
			}
			c.Document = r.repeated(string(raw))
		}
		cases = append(cases, c)
	}
	return head.Healthy, cases
}

// A record is a line of the corpus.
type record struct {
	Name    string  `json:"name"`
	Text    *string `json:"text"`
	Base64  string  `json:"base64"`
	Flag    *string `json:"flag"`
	Segment *string `json:"segment"`
	Repeat  []struct {
		Token string `json:"token"`
		Text  string `json:"text"`
		Times int    `json:"times"`
		Join  string `json:"join"`
	} `json:"repeat"`
	Refused bool              `json:"refused"`
	Strict  bool              `json:"strict"`
	Want    map[string]string `json:"want"`
}

// repeated puts in what a line is too short to hold.
func (r record) repeated(text string) string {
	for _, p := range r.Repeat {
		parts := make([]string, p.Times)
		for i := range parts {
			parts[i] = strings.ReplaceAll(p.Text, "#", strconv.Itoa(i))
		}
		text = strings.ReplaceAll(text, p.Token, strings.Join(parts, p.Join))
	}
	return text
}

// Healthy is what each flag of the healthy document serves to user-1.
func Healthy() map[string]string {
	return map[string]string{"team.fine": "on", "team.other": "on", "team.bad": "on", "team.child": "on", "team.member": "on"}
}

// Served is what each flag serves to user-1 once the document came: the
// variant, or an error code.
func (c Case) Served() map[string]string {
	served := Healthy()
	if !c.Refused {
		served["team.fine"] = "off"
	}
	maps.Copy(served, c.differs)
	return served
}
