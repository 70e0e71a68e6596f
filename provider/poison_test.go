package provider

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/google/go-cmp/cmp"
)

// A poisoned is a document of the corpus in ../eval/testdata, whose README.md
// says what its fields mean.
type poisoned struct {
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
	Want    map[string]string `json:"want"`
}

type corpus struct {
	Healthy, Frame, Segment string
	documents               []poisoned
}

func readCorpus(t *testing.T) (c corpus) {
	data, err := os.ReadFile("../eval/testdata/poison-1.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	if err := json.Unmarshal(lines[0], &c); err != nil {
		t.Fatal(err)
	}
	for _, line := range lines[1:] {
		var p poisoned
		if err := json.Unmarshal(line, &p); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		c.documents = append(c.documents, p)
	}
	return c
}

func (c corpus) text(t *testing.T, p poisoned) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(p.Base64)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	switch {
	case p.Text != nil:
		text = *p.Text
	case p.Flag != nil:
		segment := c.Segment
		if p.Segment != nil {
			segment = *p.Segment
		}
		text = strings.NewReplacer("@flag@", *p.Flag, "@segment@", segment).Replace(c.Frame)
	}
	for _, r := range p.Repeat {
		parts := make([]string, r.Times)
		for i := range parts {
			parts[i] = strings.ReplaceAll(r.Text, "#", strconv.Itoa(i))
		}
		text = strings.ReplaceAll(text, r.Token, strings.Join(parts, r.Join))
	}
	return text
}

func (p poisoned) served() map[string]string {
	served := map[string]string{"team.fine": "off", "team.other": "on", "team.bad": "on", "team.child": "on", "team.member": "on"}
	if p.Refused {
		served["team.fine"] = "on"
	}
	maps.Copy(served, p.Want)
	return served
}

var allHealthy = poisoned{Refused: true}.served()

// served is what a provider serves of the corpus's flags, both for its own
// callers and for those of OpenFeature.
func served(t *testing.T, p *Provider) map[string]string {
	t.Helper()
	got := map[string]string{}
	for key := range allHealthy {
		r := p.Evaluate(key, user("user-1"))
		got[key] = r.Variant + string(r.ErrorCode)
		d := p.Client().BoolDetail(t.Context(), key, false, eval.NewContext("user-1"))
		told := d.Resolution.Variant + string(d.Resolution.ErrorCode)
		if told != got[key] && d.Resolution.ErrorCode != flyball.ErrorTypeMismatch {
			t.Errorf("%s: %s, and %s to the direct client", key, got[key], told)
		}
	}
	return got
}

// Whatever a server sends, a running program keeps every flag but the bad one,
// and a program that starts from what was saved then is no worse off.
func TestPoisonFromTheServer(t *testing.T) {
	c := readCorpus(t)
	s := newServer(t, ruleset(1))
	for i, bad := range c.documents {
		if raceEnabled && i%4 != 0 {
			continue // nothing here is concurrent but the server
		}
		t.Run(bad.Name, func(t *testing.T) {
			dir := t.TempDir()
			p := newProvider(t, s, withDir(dir))
			p.pace.request = 20 * time.Second // long documents on a busy machine
			s.publishJSON(flyball.RulesetID{Epoch: 1, Version: 7}, c.Healthy)
			if err := p.poll(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.publishJSON(flyball.RulesetID{Epoch: 1, Version: 8}, c.text(t, bad))
			err := p.poll(t.Context())
			if refused := p.Version().Version == 7; refused != bad.Refused || err != nil && !lasting(err) {
				t.Errorf("refused: %v, want %v: %v", refused, bad.Refused, err)
			}
			running := served(t, p)
			if diff := cmp.Diff(bad.served(), running); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}

			if !bad.Refused { // the healthy ruleset is forgotten: this one is all there is
				p.save(promoted, p.Ruleset())
				q := newProvider(t, s, withDir(dir))
				q.load()
				if diff := cmp.Diff(running, served(t, q)); diff != "" {
					t.Errorf("a program that starts again serves otherwise; this -, that +:\n%s", diff)
				}
			}
			s.publishJSON(flyball.RulesetID{Epoch: 1, Version: 9}, strings.Replace(c.Healthy, `"version":7`, `"version":9`, 1))
			if err := p.poll(t.Context()); err != nil {
				t.Errorf("it does not recover: %v", err)
			}
			if diff := cmp.Diff(allHealthy, served(t, p)); diff != "" {
				t.Errorf("recovered, want -, got +:\n%s", diff)
			}
		})
	}
}

// The same on a stream, while the program runs: poison never ends it, and what
// comes after is obeyed.
func TestPoisonOnAStream(t *testing.T) {
	c := readCorpus(t)
	s := newServer(t, ruleset(1))
	s.publishJSON(flyball.RulesetID{Epoch: 1, Version: 7}, c.Healthy)
	p := started(t, s)
	version := int64(7)
	for i, bad := range c.documents {
		text := c.text(t, bad)
		if i%20 != 0 && !(bad.Refused && i%8 == 0) || len(text) > 1<<20 || strings.ContainsAny(text, "\n\r\x00") {
			continue // each costs a while; text with line breaks is no event
		}
		version += 2
		bad8 := strings.Replace(text, `"version":8`, `"version":`+strconv.FormatInt(version-1, 10), 1)
		s.publishJSON(flyball.RulesetID{Epoch: 1, Version: version - 1}, bad8)
		s.publishJSON(flyball.RulesetID{Epoch: 1, Version: version}, strings.Replace(c.Healthy, `"version":7`, `"version":`+strconv.FormatInt(version, 10), 1))
		until(t, "recovery from "+bad.Name, func() bool { return p.Version().Version == version && p.Err() == nil })
		if diff := cmp.Diff(allHealthy, served(t, p)); diff != "" {
			t.Errorf("after %s, want -, got +:\n%s", bad.Name, diff)
		}
	}
}
