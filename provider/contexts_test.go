package provider

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// wishing makes a server ask for contexts with some attributes.
func wishing(s *server, attributes ...string) {
	s.set(func() { s.wish = &flyball.SampleWish{Attributes: append([]string{}, attributes...)} })
}

// contextsOf joins the contexts of all batches, by unit.
func contextsOf(t *testing.T, batches []flyball.TelemetryBatch) map[string]flyball.SampledContext {
	t.Helper()
	all := map[string]flyball.SampledContext{}
	for _, b := range batches {
		if len(b.Contexts) > contextsSent {
			t.Errorf("a batch has %d contexts", len(b.Contexts))
		}
		for _, c := range b.Contexts {
			if _, twice := all[c.Unit]; twice {
				t.Errorf("%s is told of twice", c.Unit)
			}
			all[c.Unit] = c
		}
	}
	return all
}

// asked waits until the provider knows what the server wants.
func asked(t *testing.T, p *Provider) {
	until(t, "the provider knows what is sampled", func() bool { return p.sample.current.Load() != nil })
}

// Whatever is evaluated, and by whichever door, no byte of an attribute that the
// server did not list is in any request; nor anything at all of contexts while
// the server asks for none.
func TestPrivateAttributesNeverLeaveTheProgram(t *testing.T) {
	for _, c := range []struct {
		name   string
		wish   []string // nil asks for nothing
		leaves []string
	}{
		{"a server that asks for nothing", nil, nil},
		{"an empty list", []string{}, []string{"unit-"}},
		{"one attribute", []string{"country"}, []string{"unit-", "open-CA"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, ruleset(1, newFlag("team.plain")))
			if c.wish != nil {
				wishing(s, c.wish...)
			}
			wire := &listener{next: http.DefaultTransport}
			p := started(t, s, func(o *Options) { o.Transport = wire })
			if c.wish != nil {
				asked(t, p)
			} else {
				until(t, "an answer", func() bool { return len(s.received()) > 0 })
			}
			private := map[string]any{"email": "secret-a@example.com", "country": "open-CA", "nested": map[string]any{"ssn": "secret-123"}, "vip": "secret-true"}
			client := p.Client()
			bound := client.BoolFlag("team.plain", false)
			for i := range 8 {
				unit := fmt.Sprint("unit-", i)
				ec := &flyball.EvaluationContext{TargetingKey: unit, Attributes: private}
				switch i % 4 {
				case 0:
					p.Evaluate("team.plain", ec)
				case 1:
					flat := openfeature.FlattenedContext{"targetingKey": unit}
					for k, v := range private {
						flat[k] = v
					}
					p.BooleanEvaluation(t.Context(), "team.plain", false, flat)
				case 2:
					client.Bool(t.Context(), "team.plain", false, eval.ContextOf(ec))
				case 3:
					bound.Value(eval.ContextOf(ec))
				}
			}
			closed(t, p)
			text := wire.text()
			if strings.Contains(text, "secret") || strings.Contains(text, "email") {
				t.Errorf("a private attribute left the program: %s", text)
			}
			for _, want := range []string{"unit-", "open-CA"} {
				leaves := false
				for _, l := range c.leaves {
					leaves = leaves || l == want
				}
				if strings.Contains(text, want) != leaves {
					t.Errorf("%q left the program: %t, want %t", want, !leaves, leaves)
				}
			}
			if n := len(contextsOf(t, s.received())); c.wish != nil && n != 8 {
				t.Errorf("%d contexts are told, want 8", n)
			}
		})
	}
}

// A listener keeps all that is sent through it.
type listener struct {
	next http.RoundTripper
	mu   sync.Mutex
	sent strings.Builder
}

func (l *listener) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		plain := io.Reader(strings.NewReader(string(body)))
		if r.Header.Get("Content-Encoding") == "gzip" {
			if plain, err = gzip.NewReader(plain); err != nil {
				return nil, err
			}
		}
		l.mu.Lock()
		if _, err := io.Copy(&l.sent, plain); err != nil {
			l.mu.Unlock()
			return nil, err
		}
		l.mu.Unlock()
		r.Body = io.NopCloser(strings.NewReader(string(body)))
	}
	return l.next.RoundTrip(r)
}

func (l *listener) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent.String()
}

// When the list changes, what was gathered by the old one is not sent.
func TestANarrowerListHoldsForWhatWaitsAlready(t *testing.T) {
	s := newContextSampler()
	s.ask(&flyball.SampleWish{Attributes: []string{"country", "plan"}})
	c := eval.NewContext("user-1").String("country", "CA").String("plan", "gold")
	s.meet(c)
	s.ask(&flyball.SampleWish{Attributes: []string{"plan"}})
	if some, _ := s.take(); len(some) != 0 {
		t.Errorf("%v is sent", some)
	}
	s.meet(c)
	s.meet(c)
	some, _ := s.take()
	if text, err := json.Marshal(some); err != nil || len(some) != 1 || !strings.Contains(string(text), `"attributes":{"plan":"gold"}`) {
		t.Errorf("%s, %v", text, err)
	}
	s.ask(nil)
	s.meet(eval.NewContext("user-2"))
	if some, _ := s.take(); len(some) != 0 {
		t.Errorf("%v is sent, and nobody asked", some)
	}
}

// With far more units than are told of, those that are told are the ones that
// every program tells of, and the level says how many there are.
func TestTooManyUnitsAreThinnedAlikeEverywhere(t *testing.T) {
	const units = 50_000
	s := newContextSampler()
	s.ask(&flyball.SampleWish{})
	told := map[string]bool{}
	send := func() (n, level int) {
		some, level := s.take()
		for _, c := range some {
			told[c.Unit] = true
		}
		return len(some), level
	}
	for i := range units {
		s.meetMap(user(fmt.Sprint("user-", i)))
		if i%50 == 0 {
			send()
		}
	}
	left, level := send()
	for left > 0 {
		left, level = send()
	}
	n := 0
	for i := range units {
		unit := fmt.Sprint("user-", i)
		if chosen(uint64(eval.Point(flyball.ContextRing, unit)), int32(level)) {
			n++
			if !told[unit] {
				t.Fatalf("%s is not told at level %d", unit, level)
			}
		}
	}
	if estimate := n << level; level < 4 || estimate < units*9/10 || estimate > units*11/10 {
		t.Errorf("%d units at level %d stand for %d, of %d", n, level, estimate, units)
	}
}

// An attribute that cannot be encoded, or that panics, costs its context and
// nothing else.
func TestAnAttributeThatCannotBeToldHarmsNobody(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.plain")))
	wishing(s, "odd")
	p := started(t, s)
	asked(t, p)
	for i, odd := range []any{make(chan int), panics{}, strings.Repeat("x", flyball.MaxContextBytes), "fine"} {
		r := p.Evaluate("team.plain", &flyball.EvaluationContext{TargetingKey: fmt.Sprint("unit-", i), Attributes: flyball.Attributes{"odd": odd}})
		if r.Variant != "on" {
			t.Errorf("%T: %+v", odd, r)
		}
	}
	closed(t, p)
	if got := contextsOf(t, s.received()); len(got) != 1 || got["unit-3"].Attributes["odd"] != "fine" {
		t.Errorf("told: %v", got)
	}
}

type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("I do not want to be told") }

// The same unit is told again in the next hour, and after a batch was lost.
func TestAUnitIsToldOnceAnHour(t *testing.T) {
	s := newContextSampler()
	s.ask(&flyball.SampleWish{})
	count := func() int { some, _ := s.take(); return len(some) }
	s.meetMap(user("user-1"))
	s.meetMap(user("user-1"))
	if n := count(); n != 1 {
		t.Errorf("told %d times", n)
	}
	s.restart()
	s.meetMap(user("user-1"))
	if n := count(); n != 1 {
		t.Errorf("after a loss told %d times", n)
	}
	s.current.Load().began = time.Now().Add(-contextWindow - time.Second)
	count()
	s.meetMap(user("user-1"))
	if n := count(); n != 1 {
		t.Errorf("an hour later told %d times", n)
	}
}

// What a hot loop pays while contexts are asked for.
func BenchmarkBoolFlagSampled(b *testing.B) {
	p, c := benchmarked(b)
	p.sample.ask(&flyball.SampleWish{Attributes: []string{"country"}})
	f := p.Client().BoolFlag("team.flag-0500", false)
	for b.Loop() {
		sink = f.Value(c)
	}
}
