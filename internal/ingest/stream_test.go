package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// limited is a stream that may not be above 0.9 for half a minute.
func limited(alter ...func(*flyball.PrometheusSource)) flyball.Metric {
	return streamOf(append(alter, func(s *flyball.PrometheusSource) {
		if s.Threshold == nil {
			s.Threshold = &flyball.Threshold{Value: 0.9, For: flyball.Duration(30 * time.Second)}
		}
	}))
}

// watched is a stream that may not leave what is normal for it.
func watched() flyball.Metric {
	return streamOf([]func(*flyball.PrometheusSource){func(s *flyball.PrometheusSource) { s.Baseline = &flyball.Baseline{} }})
}

func streamOf(alter []func(*flyball.PrometheusSource)) flyball.Metric {
	s := &flyball.PrometheusSource{Query: "cpu", Every: flyball.Duration(10 * time.Second)}
	for _, f := range alter {
		f(s)
	}
	return flyball.Metric{Key: "cpu", Type: flyball.MetricStream, Better: flyball.BetterLower, Of: flyball.Source{Prometheus: s}}.WithDefaults()
}

// withStream returns a stage whose plan has a stream beside other guardrails.
func withStream(t testing.TB, m flyball.Metric, others ...flyball.Metric) *stage {
	p, metrics := guarded(plan(200_000, 1_000_000), flyball.Margin{Relative: .05}, others...)
	p.Guardrails = append(p.Guardrails, flyball.Guardrail{Metric: m.Key})
	return newStage(t, p, append(metrics, m))
}

// hears plays samples, one each ten seconds, of which the last is so at a time.
func (s *stage) hears(at time.Duration, values ...float64) {
	rec := streamRecord{Rollout: "r1", Metric: "cpu"}
	for i, x := range values {
		rec.Samples = append(rec.Samples, streamSample{T: us(at - time.Duration(len(values)-1-i)*10*time.Second), X: x})
	}
	s.tell(at, rec)
}

func (s *stage) tell(at time.Duration, rec streamRecord) {
	body, err := json.Marshal(rec)
	if err != nil {
		s.t.Fatal(err)
	}
	s.apply(store.KindStream, at, body)
}

// cpu returns the evidence of the stream at a time.
func (s *stage) cpu(at time.Duration) (flyball.MetricEvidence, flyball.Evidence) {
	e, ok := s.judge.Evidence("r1", epoch.Add(at))
	i := slices.IndexFunc(e.Guardrails, func(g flyball.MetricEvidence) bool { return g.Metric == "cpu" })
	if !ok || i < 0 {
		s.t.Fatal("no evidence of the stream")
	}
	return e.Guardrails[i], e
}

// is checks what the judge says of the stream at a time.
func (s *stage) is(at time.Duration, state flyball.StreamState, v flyball.Verdict, why string, blocks ...string) {
	s.t.Helper()
	m, e := s.cpu(at)
	if m.Stream.State != state || m.Verdict != v || m.Why != why {
		s.t.Errorf("at %v: %s, %s: %q\nwant %s, %s: %q", at, m.Stream.State, m.Verdict, m.Why, state, v, why)
	}
	if !slices.Equal(e.Blocks, blocks) {
		s.t.Errorf("at %v: blocked by %q, want %q", at, e.Blocks, blocks)
	}
}

const sec = time.Second

func TestALimitIsExceededForAWhile(t *testing.T) {
	s := withStream(t, limited())
	s.is(0, flyball.StreamSilent, flyball.Unsure, "no data yet")
	s.hears(10*sec, 0.5)
	s.is(10*sec, flyball.StreamNormal, flyball.Healthy, "0.5, the limit is 0.9")
	s.hears(20*sec, 0.95)
	s.hears(40*sec, 0.95, 0.91)
	s.is(40*sec, flyball.StreamBeyond, flyball.Unsure, "0.91 is above 0.9, for 20s of 30s")
	s.hears(50*sec, 0.9) // at the limit is not beyond it
	s.hears(60*sec, 0.95)
	s.hears(90*sec, 0.95) // a gap: nobody knows what was between
	s.hears(110*sec, 0.95, 0.95)
	s.is(110*sec, flyball.StreamBeyond, flyball.Unsure, "0.95 is above 0.9, for 20s of 30s")
	if len(s.tripped) > 0 {
		t.Fatal("tripped")
	}
	s.hears(120*sec, 0.97)
	s.is(120*sec, flyball.StreamExceeded, flyball.Breached, "0.97 is above 0.9 for 30s or longer")
	if !slices.Equal(s.tripped, []string{"r1"}) {
		t.Errorf("told of %v", s.tripped)
	}
	s.hears(130*sec, 0.1)
	s.is(130*sec, flyball.StreamExceeded, flyball.Breached, "0.97 is above 0.9 for 30s or longer")
	if _, e := s.cpu(130 * sec); e.Verdict != flyball.Breached || e.Why != "cpu: 0.97 is above 0.9 for 30s or longer" {
		t.Errorf("%s: %s", e.Verdict, e.Why)
	}
}

// A limit that is exceeded when a step begins must show anew that it is, and
// then tells a time of its own, so that a step back may be followed by another.
func TestALimitIsExceededAnewAfterAStep(t *testing.T) {
	s := withStream(t, limited())
	s.step(5*sec, 1)
	s.hears(40*sec, 0.95, 0.95, 0.95, 0.95)
	m, _ := s.cpu(40 * sec)
	if m.FirstTripped == nil || !m.FirstTripped.Equal(epoch.Add(40*sec)) {
		t.Fatalf("tripped at %v", m.FirstTripped)
	}
	s.step(45*sec, 0)
	for at := 50 * sec; at < 80*sec; at += 10 * sec {
		s.hears(at, 0.95)
		if m, _ := s.cpu(at); !m.FirstTripped.Equal(epoch.Add(40 * sec)) {
			t.Fatalf("tripped at %v, of the step before", m.FirstTripped)
		}
	}
	s.hears(80*sec, 0.95)
	if m, _ := s.cpu(80 * sec); !m.FirstTripped.Equal(epoch.Add(80 * sec)) {
		t.Errorf("tripped at %v", m.FirstTripped)
	}
}

func TestALimitBelow(t *testing.T) {
	m := limited(func(s *flyball.PrometheusSource) {
		s.Direction, s.Threshold = flyball.StreamDown, &flyball.Threshold{Value: 100}
	})
	s := withStream(t, m)
	s.hears(10*sec, 101)
	s.is(10*sec, flyball.StreamNormal, flyball.Healthy, "101, the limit is 100")
	s.hears(20*sec, 99)
	s.is(20*sec, flyball.StreamExceeded, flyball.Breached, "99 is below 100 for 0s or longer")
}

func TestSilenceIsNoHealth(t *testing.T) {
	s := withStream(t, limited())
	s.is(24*sec, flyball.StreamSilent, flyball.Unsure, "no data yet")
	s.is(26*sec, flyball.StreamSilent, flyball.Unsure, "no data for 26s", "cpu: no data for 26s")
	s.hears(30*sec, 0.5)
	s.is(55*sec, flyball.StreamNormal, flyball.Healthy, "0.5, the limit is 0.9")
	s.tell(55*sec, streamRecord{Rollout: "r1", Metric: "cpu", NoData: "Prometheus: no answer within 5s"})
	s.is(55*sec, flyball.StreamNormal, flyball.Healthy, "0.5, the limit is 0.9")
	const silent = "no data for 30s (Prometheus: no answer within 5s)"
	s.is(60*sec, flyball.StreamSilent, flyball.Unsure, silent, "cpu: "+silent)
	s.hears(70*sec, 0.5)
	s.is(70*sec, flyball.StreamNormal, flyball.Healthy, "0.5, the limit is 0.9")
	const early = "the last data are from the future, by 1m0s: the clock was set back"
	s.is(10*sec, flyball.StreamSilent, flyball.Unsure, early, "cpu: "+early)
	if len(s.tripped) > 0 {
		t.Error("silence tripped")
	}
}

// hum is what a stream does while nothing is wrong.
func hum(seed uint64, n int, level float64) []float64 {
	rng := rand.New(rand.NewPCG(seed, 1))
	values := make([]float64, n)
	for i := range values {
		values[i] = level + 0.02*rng.NormFloat64()
	}
	return values
}

func TestAnAlarmHoldsAndBreaksNothing(t *testing.T) {
	s := withStream(t, watched())
	s.hears(0, hum(1, 300, 0.4)...)
	s.is(0, flyball.StreamLearning, flyball.Unsure, "learning what is normal: 300 samples of 600")
	s.hears(10*sec*400, hum(2, 400, 0.4)...)
	if m, _ := s.cpu(10 * sec * 400); m.Verdict != flyball.Healthy || m.Stream.State != flyball.StreamNormal {
		t.Fatalf("%s, %s: %s", m.Stream.State, m.Verdict, m.Why)
	}
	at := 10 * sec * 400
	for range 10 {
		at += 10 * sec
		s.hears(at, 0.6)
	}
	m, e := s.cpu(at)
	if m.Stream.State != flyball.StreamAlarm || m.Verdict != flyball.Unsure || len(e.Blocks) != 1 || !strings.HasPrefix(e.Blocks[0], "cpu: alarm: it is at 0.6, and about 0.") {
		t.Errorf("%s, %s: %q", m.Stream.State, m.Verdict, e.Blocks)
	}
	if since := m.Stream.Since; since == nil || since.Before(epoch.Add(10*sec*400)) || since.After(epoch.Add(at)) {
		t.Errorf("since %v", since)
	}
	for range 40 {
		at += 10 * sec
		s.hears(at, hum(uint64(at), 1, 0.4)...)
	}
	if m, e := s.cpu(at); m.Verdict != flyball.Healthy || len(e.Blocks) > 0 {
		t.Errorf("it is over: %s, %s: %s", m.Stream.State, m.Verdict, m.Why)
	}
	if len(s.tripped) > 0 {
		t.Error("an alarm alone tripped")
	}
}

func TestAnAlarmThatIsBorneOutBreaks(t *testing.T) {
	s := withStream(t, watched(), errorsByUnit)
	s.hears(0, hum(1, 700, 0.4)...)
	at := time.Duration(0)
	for range 10 {
		at += 10 * sec
		s.hears(at, 0.6)
	}
	if m, _ := s.cpu(at); m.Stream.State != flyball.StreamAlarm || m.Verdict != flyball.Unsure {
		t.Fatalf("%s, %s", m.Stream.State, m.Verdict)
	}
	g := s.judge.trials[0].gauges[0]
	for i := range 2000 { // only the treatment fails, until it is likely but not shown
		if g.E >= corroborates {
			break
		}
		at += 50 * time.Millisecond
		unit := s.unitIn(i%2, i/2)
		items := []any{s.met(at, unit, 0)}
		if i%2 == 0 && i%4 == 0 {
			items = append(items, saw(at, unit, "errors", 1))
		}
		s.send(at, "i1", items...)
	}
	if g.E < corroborates || g.TrippedAt != 0 {
		t.Fatalf("e=%v, tripped at %v", g.E, g.TrippedAt)
	}
	at += sec // settled, at the latest, with the next batch
	s.send(at, "i1")
	m, _ := s.cpu(at)
	if m.Verdict != flyball.Breached || !strings.Contains(m.Why, "errors bears it out: e=") {
		t.Errorf("%s: %s", m.Verdict, m.Why)
	}
	if !slices.Equal(s.tripped, []string{"r1"}) {
		t.Errorf("told of %v", s.tripped)
	}
}

// On everybody nothing is compared, and an alarm is put down to the step if it
// begins soon after it.
func TestAnAlarmAfterTheLastStep(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration // the step, until the stream rises
		want  flyball.Verdict
	}{{"soon", 30 * sec, flyball.Breached}, {"late", 10 * time.Minute, flyball.Unsure}, {"before", -200 * sec, flyball.Unsure}} {
		t.Run(tt.name, func(t *testing.T) {
			s := withStream(t, watched())
			s.hears(0, hum(1, 700, 0.4)...)
			stepped, at := 300*sec, time.Duration(0)
			for at < stepped+tt.after+100*sec {
				at += 10 * sec
				if at == stepped {
					s.step(at, 1)
				}
				x := hum(uint64(at), 1, 0.4)[0]
				if at >= stepped+tt.after {
					x = 0.6
				}
				s.hears(at, x)
			}
			for ; at <= stepped; at += 10 * sec { // it began before, and lasts
				s.hears(at, 0.6)
				if at == stepped {
					s.step(at, 1)
				}
			}
			m, e := s.cpu(at)
			if m.Stream.State != flyball.StreamAlarm || m.Verdict != tt.want {
				t.Errorf("%s, %s: %s", m.Stream.State, m.Verdict, m.Why)
			}
			if tt.want == flyball.Breached != strings.Contains(m.Why, "everybody had got the treatment") || tt.want == flyball.Unsure && len(e.Blocks) != 1 {
				t.Errorf("%s; %q", m.Why, e.Blocks)
			}
		})
	}
}

func TestAStreamWithoutNoiseIsNotWatched(t *testing.T) {
	s := withStream(t, watched())
	s.hears(0, make([]float64, 700)...)
	s.is(0, flyball.StreamLearning, flyball.Unsure, "the stream has never changed, so that nothing is known of its noise: a threshold suits it better")
}

func TestAStreamByVariantEndsWithTheControl(t *testing.T) {
	s := withStream(t, limited(func(s *flyball.PrometheusSource) { s.Query = `cpu{v="{{variant}}"}` }))
	s.hears(10*sec, 0.1)
	s.is(10*sec, flyball.StreamNormal, flyball.Healthy, "0.1, the limit is 0.9")
	s.step(20*sec, 1)
	s.hears(60*sec, 0.95, 0.95, 0.95, 0.95)
	m, e := s.cpu(300 * sec)
	if !m.Stream.Suspended || m.Verdict != flyball.Unsure || len(e.Blocks) > 0 {
		t.Errorf("%+v, %s: %q", m.Stream, m.Verdict, e.Blocks)
	}
}

// Of two judges that heard the same, one of which was restored from a
// checkpoint before each entry, both know the same to the last bit.
func TestStreamsOutliveARestartToTheLastBit(t *testing.T) {
	for _, m := range []flyball.Metric{limited(), watched()} {
		s := withStream(t, m, errorsByUnit)
		s.hears(0, hum(1, 650, 0.4)...)
		for i := range 60 {
			at := time.Duration(i+1) * 10 * sec
			x := hum(uint64(i), 1, 0.4)[0]
			if i > 20 && i < 40 {
				x = 0.97
			}
			s.hears(at, x)
			s.hears(at, x) // once more
			if i%7 == 0 {
				s.tell(at, streamRecord{Rollout: "r1", Metric: "cpu", NoData: "gone"})
			}
			if i == 30 {
				s.step(at, 1)
			}
		}
		restored := NewJudge()
		for _, e := range s.log {
			state, err := restored.Checkpoint()
			if err != nil {
				t.Fatal(err)
			}
			if restored, err = Restore(state); err != nil {
				t.Fatal(err)
			}
			restored.Apply(e)
		}
		a, errA := s.judge.Checkpoint()
		b, errB := restored.Checkpoint()
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Error(cmp.Diff(string(a), string(b)))
		}
		if m, _ := s.cpu(600 * sec); m.Stream.Samples != 710 {
			t.Errorf("%d samples", m.Stream.Samples)
		}
	}
}

func TestStreamsHaveNoPartOfAlpha(t *testing.T) {
	s := withStream(t, limited(), errorsByUnit)
	if e := s.evidence(); e.Guardrails[0].Threshold != 1/flyball.DefaultAlpha {
		t.Errorf("the other guardrail trips at %v", e.Guardrails[0].Threshold)
	}
}

func TestWhatStreamsCannotDo(t *testing.T) {
	m := limited()
	p := plan(200_000)
	p.Guardrails = []flyball.Guardrail{{Metric: "cpu", By: "route", Margin: flyball.Margin{Relative: .1}}}
	p.Success = []flyball.Success{{Metric: "cpu"}}
	err := Supported(p, []flyball.Metric{m})
	for _, field := range []string{"guardrails[0].margin", "guardrails[0].by", "success[0].metric"} {
		if err == nil || !strings.Contains(err.Error(), field+": ") {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	p.Guardrails[0], p.Success = flyball.Guardrail{Metric: "cpu"}, nil
	if err := Supported(p, []flyball.Metric{m}); err != nil {
		t.Error(err)
	}
	if _, err := Backtest(p, []flyball.Metric{m}, strings.NewReader(""), BacktestOptions{}, nil); err == nil || !strings.Contains(err.Error(), "recorded history holds no streams") {
		t.Error(err)
	}
	if err := NewPoller(nil, nil, nil).Reaches(p, []flyball.Metric{m}); err == nil || !strings.Contains(err.Error(), "--prometheus-url") {
		t.Error(err)
	}
}
