package provider

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/corpus"
	"github.com/google/go-cmp/cmp"
)

// served is what a provider serves of the corpus's flags, both for its own
// callers and for those of OpenFeature.
func served(t *testing.T, p *Provider) map[string]string {
	t.Helper()
	got := map[string]string{}
	for key := range corpus.Healthy() {
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
	healthy, cases := corpus.Read(t)
	s := newServer(t, ruleset(1))
	for i, bad := range cases {
		if raceEnabled && i%4 != 0 {
			continue // nothing here is concurrent but the server
		}
		t.Run(bad.Name, func(t *testing.T) {
			dir := t.TempDir()
			p := newProvider(t, s, withDir(dir))
			p.pace.request = 20 * time.Second // long documents on a busy machine
			s.publishJSON(flyball.RulesetID{Epoch: 1, Version: 7}, healthy)
			if err := p.poll(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.publishJSON(flyball.RulesetID{Epoch: 1, Version: 8}, bad.Document)
			err := p.poll(t.Context())
			if refused := p.Version().Version == 7; refused != bad.Refused || err != nil && !lasting(err) {
				t.Errorf("refused: %v, want %v: %v", refused, bad.Refused, err)
			}
			running := served(t, p)
			if diff := cmp.Diff(bad.Served(), running); diff != "" {
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
			s.publishJSON(flyball.RulesetID{Epoch: 1, Version: 9}, strings.Replace(healthy, `"version":7`, `"version":9`, 1))
			if err := p.poll(t.Context()); err != nil {
				t.Errorf("it does not recover: %v", err)
			}
			if diff := cmp.Diff(corpus.Healthy(), served(t, p)); diff != "" {
				t.Errorf("recovered, want -, got +:\n%s", diff)
			}
		})
	}
}

// The same on a stream, while the program runs: poison never ends it, and what
// comes after is obeyed.
func TestPoisonOnAStream(t *testing.T) {
	healthy, cases := corpus.Read(t)
	s := newServer(t, ruleset(1))
	s.publishJSON(flyball.RulesetID{Epoch: 1, Version: 7}, healthy)
	p := started(t, s)
	version := int64(7)
	for i, bad := range cases {
		text := bad.Document
		if i%20 != 0 && !(bad.Refused && i%8 == 0) || len(text) > 1<<20 || strings.ContainsAny(text, "\n\r\x00") {
			continue // each costs a while; text with line breaks is no event
		}
		version += 2
		bad8 := strings.Replace(text, `"version":8`, `"version":`+strconv.FormatInt(version-1, 10), 1)
		s.publishJSON(flyball.RulesetID{Epoch: 1, Version: version - 1}, bad8)
		s.publishJSON(flyball.RulesetID{Epoch: 1, Version: version}, strings.Replace(healthy, `"version":7`, `"version":`+strconv.FormatInt(version, 10), 1))
		until(t, "recovery from "+bad.Name, func() bool { return p.Version().Version == version && p.Err() == nil })
		if diff := cmp.Diff(corpus.Healthy(), served(t, p)); diff != "" {
			t.Errorf("after %s, want -, got +:\n%s", bad.Name, diff)
		}
	}
}
