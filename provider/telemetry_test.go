package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/google/go-cmp/cmp"
)

// all joins what every acknowledged batch holds.
func all(batches []flyball.TelemetryBatch) (exposures []flyball.Exposure, observations []flyball.Observation, counts map[string]int64, unknown map[string]bool) {
	counts, unknown = map[string]int64{}, map[string]bool{}
	for _, b := range batches {
		exposures = append(exposures, b.Exposures...)
		observations = append(observations, b.Observations...)
		for _, c := range b.Counts {
			counts[c.Flag+"="+c.Variant] += c.N
		}
		for _, k := range b.UnknownFlags {
			unknown[k] = true
		}
	}
	return exposures, observations, counts, unknown
}

// inOrder fails if batches do not rise by one, or repeat.
func inOrder(t *testing.T, batches []flyball.TelemetryBatch) {
	t.Helper()
	for i, b := range batches {
		if b.Seq != int64(i+1) {
			t.Errorf("batch %d has the number %d", i+1, b.Seq)
		}
	}
}

func closed(t *testing.T, p *Provider) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// Units that met a rollout are told once each, control as treatment; all
// else is only counted.
func TestExposuresAreToldOnce(t *testing.T) {
	s := newServer(t, ruleset(7, ramp("team.ramp", 500_000, 1), newFlag("team.plain")))
	p := started(t, s)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				ec := user(fmt.Sprint("user-", i))
				p.Evaluate("team.ramp", ec)
				p.Evaluate("team.plain", ec)
				p.Evaluate("team.typo", ec)
			}
		})
	}
	wg.Wait()
	p.Evaluate("team.ramp", nil) // nobody: counted, not exposed
	closed(t, p)
	inOrder(t, s.received())
	exposures, _, counts, unknown := all(s.received())
	arms, units := map[string]int64{}, map[string]int{}
	for _, e := range exposures {
		arms[e.Variant]++
		units[e.Unit]++
		want := flyball.Exposure{T: e.T, Flag: "team.ramp", Variant: p.Evaluate("team.ramp", user(e.Unit)).Variant, Unit: e.Unit, Rollout: "ro-team.ramp", Step: 1, Version: 7}
		if diff := cmp.Diff(want, e); diff != "" || e.Validate() != nil {
			t.Errorf("want -, got +:\n%s", diff)
		}
	}
	if len(exposures) != 200 || len(units) != 200 || arms["on"] == 0 || arms["off"] == 0 {
		t.Errorf("%d exposures of %d units, %v", len(exposures), len(units), arms)
	}
	want := map[string]int64{"team.plain=on": 800, "team.ramp=on": 4 * arms["on"], "team.ramp=off": 4*arms["off"] + 1}
	if diff := cmp.Diff(want, counts); diff != "" || !unknown["team.typo"] || len(unknown) != 1 {
		t.Errorf("unknown %v, counts want -, got +:\n%s", unknown, diff)
	}
}

// The same unit is told again at the next step, and by its tenant where that
// is the unit.
func TestEachStepIsAnotherExposure(t *testing.T) {
	s := newServer(t, ruleset(1, ramp("team.ramp", flyball.PPM, 0)))
	p := started(t, s)
	p.variant("team.ramp")
	p.variant("team.ramp")
	next := ramp("team.ramp", flyball.PPM, 1)
	next.Rollout.Unit = "account"
	s.publish(ruleset(2, next))
	until(t, "version 2", func() bool { return p.Version().Version == 2 })
	ec := user("user-1")
	ec.Attributes = flyball.Attributes{"account": int64(42)}
	p.Evaluate("team.ramp", ec)
	p.Evaluate("team.ramp", ec)
	p.Evaluate("team.ramp", &flyball.EvaluationContext{Attributes: ec.Attributes}) // the tenant is all that names it
	closed(t, p)
	exposures, _, _, _ := all(s.received())
	var got []string
	for _, e := range exposures {
		got = append(got, fmt.Sprintf("%s by %q at %d", e.Unit, e.By, e.Step))
	}
	if diff := cmp.Diff([]string{`user-1 by "" at 0`, `user-1 by "42" at 1`, `42 by "42" at 1`}, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// A batch is sent until it is acknowledged, the same items under the same
// number, before the next one; nothing is counted twice and nothing is lost.
func TestABatchIsSentUntilItIsAcknowledged(t *testing.T) {
	s := newServer(t, ruleset(1, ramp("team.ramp", 500_000, 0)))
	first := map[string]string{} // the items of each batch at its first attempt
	s.answer = func(n int, b flyball.TelemetryBatch, w http.ResponseWriter) bool {
		items, _ := json.Marshal([]any{b.Seq, b.Exposures, b.Observations, b.Counts})
		s.mu.Lock()
		defer s.mu.Unlock()
		if before, again := first[b.Batch]; again && before != string(items) {
			t.Errorf("batch %d was sent again with other items", b.Seq)
		}
		first[b.Batch] = string(items)
		if time.Since(b.SentAt) > 5*time.Second || time.Since(b.SentAt) < 0 {
			t.Errorf("batch %d says it was sent %v ago", b.Seq, time.Since(b.SentAt))
		}
		switch n % 5 {
		case 1:
			w.WriteHeader(http.StatusInternalServerError)
		case 2:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		case 3: // it arrived, but the answer is lost
			s.accept(b)
			panic(http.ErrAbortHandler)
		default:
			return false
		}
		return true
	}
	p := started(t, s)
	const units = 500
	for i := range units {
		unit := fmt.Sprint("user-", i)
		p.Evaluate("team.ramp", user(unit))
		if err := p.Observe(flyball.Observation{Metric: "checkout.errors", Unit: unit, Value: 1}); err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 {
			until(t, "some of it arrived", func() bool { e, _, _, _ := all(s.received()); return len(e) > i/2 })
		}
	}
	until(t, "all of it arrived", func() bool { _, o, _, _ := all(s.received()); return len(o) == units })
	s.set(func() { s.answer = nil })
	closed(t, p)
	inOrder(t, s.received())
	exposed := map[string]bool{}
	observed := 0
	for _, b := range s.received() {
		for _, e := range b.Exposures {
			if exposed[e.Unit] {
				t.Errorf("%s was exposed twice", e.Unit)
			}
			exposed[e.Unit] = true
		}
		for _, o := range b.Observations {
			observed++
			if !exposed[o.Unit] {
				t.Errorf("%s was observed before it was exposed", o.Unit)
			}
		}
		if b.Dropped != (flyball.Dropped{}) {
			t.Errorf("batch %d dropped %+v", b.Seq, b.Dropped)
		}
	}
	if len(exposed) != units || observed != units {
		t.Errorf("%d exposures and %d observations of %d units", len(exposed), observed, units)
	}
}

// While a batch fails, nothing else is sent and no attempt comes early.
func TestNothingIsSentEarlyBecauseItFailed(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.a")))
	var mu sync.Mutex
	var attempts []time.Time
	s.answer = func(_ int, b flyball.TelemetryBatch, w http.ResponseWriter) bool {
		mu.Lock()
		defer mu.Unlock()
		attempts = append(attempts, time.Now())
		if b.Seq != 1 {
			t.Errorf("batch %d is sent while the first one fails", b.Seq)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	p := newProvider(t, s)
	p.pace.retry, p.pace.retryMax = 50*time.Millisecond, 60*time.Millisecond
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 * batchItems {
		_ = p.Observe(flyball.Observation{Metric: "m.m", Unit: "user-1", Value: 1})
	}
	until(t, "six attempts", func() bool { mu.Lock(); defer mu.Unlock(); return len(attempts) >= 6 })
	mu.Lock()
	defer mu.Unlock()
	for i := range attempts[1:] {
		if d := attempts[i+1].Sub(attempts[i]); d < 45*time.Millisecond {
			t.Errorf("attempt %d came %v after the one before", i+2, d)
		}
	}
	s.set(func() { s.answer = nil })
}

// A batch that no server will take is lost and said to be; later ones go on.
func TestARefusedBatchIsCountedAsDropped(t *testing.T) {
	s := newServer(t, ruleset(1, ramp("team.ramp", flyball.PPM, 0)))
	refusing := true
	var lost flyball.Dropped
	s.answer = func(_ int, b flyball.TelemetryBatch, w http.ResponseWriter) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if refusing && len(b.Observations) > 0 {
			refusing = false
			lost = flyball.Dropped{Exposures: int64(len(b.Exposures)), Observations: int64(len(b.Observations))}
			w.WriteHeader(http.StatusUnprocessableEntity)
			return true
		}
		return false
	}
	p := started(t, s)
	p.variant("team.ramp")
	_ = p.Observe(flyball.Observation{Metric: "m.m", Unit: "user-1", Value: 1})
	until(t, "the loss is told", func() bool {
		for _, b := range s.received() {
			if b.Dropped != (flyball.Dropped{}) {
				s.mu.Lock()
				defer s.mu.Unlock()
				return b.Dropped == lost
			}
		}
		return false
	})
	p.variant("team.ramp") // is told again, since it never arrived
	until(t, "the exposure", func() bool { e, _, _, _ := all(s.received()); return len(e) == 1 })
}

// A batch that is too large arrives in parts, without a gap in the numbers.
func TestABatchThatIsTooLargeIsSplit(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.a")))
	s.answer = func(_ int, b flyball.TelemetryBatch, w http.ResponseWriter) bool {
		if len(b.Observations) <= 7 {
			return false
		}
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return true
	}
	p := started(t, s)
	for i := range 100 {
		_ = p.Observe(flyball.Observation{Metric: "m.m", Unit: "user-1", Value: float64(i)})
	}
	p.variant("team.a")
	closed(t, p)
	inOrder(t, s.received())
	_, observations, counts, _ := all(s.received())
	for i, o := range observations {
		if o.Value != float64(i) {
			t.Fatalf("observation %d has the value %v", i, o.Value)
		}
	}
	if len(observations) != 100 || counts["team.a=on"] != 1 {
		t.Errorf("%d observations, %v", len(observations), counts)
	}
}

// What there is no room for is dropped and counted, exactly.
func TestQueuesAreBounded(t *testing.T) {
	s := newServer(t, ruleset(1, ramp("team.ramp", flyball.PPM, 0)))
	p := newProvider(t, s)
	p.load()
	r := p.record
	for i := range maxQueued + 1000 {
		if i%2 == 0 {
			r.observe(flyball.Observation{T: time.Now(), Metric: "m.m", Unit: "u", Value: 1})
		} else {
			r.expose("team.ramp", fmt.Sprint("user-", i), &flyball.Resolution{Variant: "on", Rollout: "ro"})
		}
	}
	for i := range 20_000 {
		r.count(fmt.Sprint("flag-", i), "on")
		r.unknownFlag(fmt.Sprint("flag-", i))
	}
	if want := (flyball.Dropped{Exposures: 500, Observations: 500}); r.dropped != want || len(r.queue) != maxQueued {
		t.Errorf("dropped %+v, want %+v; %d wait", r.dropped, want, len(r.queue))
	}
	for i := range 80_000 {
		r.expose("team.ramp", fmt.Sprint("user-", i), &flyball.Resolution{Variant: "on", Rollout: "ro"})
	}
	n := 0
	for i := range r.seen {
		n += len(r.seen[i].newer) + len(r.seen[i].older)
	}
	if b := r.collect(); len(b.counts) > maxPairs || len(b.unknown) > maxUnknown || n > 2*seenPerHalf*seenShards {
		t.Errorf("%d counts, %d unknown flags, %d remembered exposures", len(b.counts), len(b.unknown), n)
	}
}

// A change is reported at once by an otherwise empty batch, so that the server
// knows how far the fleet has come.
func TestTheAppliedVersionIsReportedAtOnce(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.a")))
	s.after = flyball.Duration(time.Minute)
	p := newProvider(t, s)
	p.pace.flush, p.pace.idle = time.Minute, time.Minute
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for v := int64(1); v < 5; v++ {
		s.publish(ruleset(v, newFlag("team.a")))
		until(t, fmt.Sprint("version ", v), func() bool {
			got := s.received()
			return len(got) > 0 && got[len(got)-1].Applied.Version == v
		})
	}
	got := s.received()[0]
	want := flyball.TelemetryBatch{Batch: got.Batch, Seq: 1, SentAt: got.SentAt, Applied: &flyball.RulesetID{Epoch: 1, Version: 1},
		Instance: flyball.InstanceInfo{ID: got.Instance.ID, Service: "checkout", Version: "1.4.2", SDK: SDKVersion}}
	if diff := cmp.Diff(want, got); diff != "" || len(got.Instance.ID) != 36 {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// While a rollout runs, telemetry is what it is judged by; the server's word
// on how often to send it counts from then on.
func TestTelemetryHurriesWhileARolloutIsLive(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.ramp")))
	s.after = flyball.Duration(time.Minute)
	p := newProvider(t, s)
	p.pace.flush, p.pace.flushLive = time.Minute, 30*time.Millisecond
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "the first batch", func() bool { return len(s.received()) == 1 })
	s.set(func() { s.after = flyball.Duration(20 * time.Millisecond) })
	s.publish(ruleset(2, ramp("team.ramp", flyball.PPM, 0)))
	until(t, "version 2", func() bool { return p.Version().Version == 2 })
	for n := range 5 {
		p.Evaluate("team.ramp", user(fmt.Sprint("user-", n)))
		until(t, "its exposure", func() bool { e, _, _, _ := all(s.received()); return len(e) == n+1 })
	}
}

func TestCloseSendsWhatIsLeft(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.a")))
	p := newProvider(t, s)
	p.pace.flush, p.pace.applied = time.Minute, time.Minute
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	const n = 3*batchItems + 17
	for range n {
		_ = p.Observe(flyball.Observation{Metric: "m.m", Unit: "user-1", Value: 1})
	}
	closed(t, p)
	inOrder(t, s.received())
	if _, o, _, _ := all(s.received()); len(o) != n {
		t.Errorf("%d of %d observations arrived", len(o), n)
	}
	closed(t, p) // twice is once
	if p.variant("team.a") != "on" {
		t.Errorf("evaluation ended with the provider")
	}
}

// Close keeps its time even if the server does not answer, and says what was
// lost.
func TestCloseKeepsItsTime(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.a")))
	release := make(chan struct{})
	s.answer = func(int, flyball.TelemetryBatch, http.ResponseWriter) bool { <-release; return false }
	defer close(release)
	p := started(t, s)
	_ = p.Observe(flyball.Observation{Metric: "m.m", Unit: "user-1", Value: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := p.Close(ctx); flyball.CodeOf(err) != flyball.Unavailable {
		t.Errorf("close: %v", err)
	}
	if d := time.Since(began); d > 900*time.Millisecond {
		t.Errorf("close took %v of 50 ms", d)
	}
}

// A provider that starts again goes on counting its batches.
func TestAProviderStartsAgain(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.a")))
	p := newProvider(t, s)
	for range 3 {
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.variant("team.a")
		closed(t, p)
	}
	inOrder(t, s.received())
	if _, _, counts, _ := all(s.received()); counts["team.a=on"] != 3 {
		t.Errorf("%v", counts)
	}
}

func TestObserveNamesWhatIsWrong(t *testing.T) {
	p := newProvider(t, newServer(t, ruleset(1)))
	if err := p.Observe(flyball.Observation{Unit: "u", Value: 1}); flyball.CodeOf(err) != flyball.Invalid {
		t.Errorf("no metric: %v", err)
	}
	if err := p.Observe(flyball.Observation{Metric: "m.m", Value: 1}); flyball.CodeOf(err) != flyball.Invalid {
		t.Errorf("no unit: %v", err)
	}
}

// Compression stays below what servers are willing to inflate.
func TestBatchesAreNotCompressedTooFar(t *testing.T) {
	for name, observation := range map[string]flyball.Observation{
		"one like the other": {Metric: "checkout.latency", Unit: "user-1", Value: 1, Attributes: flyball.Attributes{"route": "/checkout/very/long/route"}},
	} {
		b := flyball.TelemetryBatch{Batch: newID()}
		for range batchItems {
			b.Observations = append(b.Observations, observation)
		}
		plain, _ := json.Marshal(b)
		body, encoding, err := encode(b)
		if err != nil || encoding != "gzip" || len(plain) > flyball.MaxBatchInflation*len(body) || len(body) > flyball.MaxBatchBytes {
			t.Errorf("%s: %d bytes to %d by %q, %v", name, len(plain), len(body), encoding, err)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	for _, bench := range []struct {
		name string
		flag flyball.RulesetFlag
	}{{"plain", newFlag("team.flag")}, {"rollout", ramp("team.flag", 500_000, 0)}} {
		b.Run(bench.name, func(b *testing.B) {
			p, err := New(Options{Server: "http://127.0.0.1:1", Token: "t"})
			if err != nil {
				b.Fatal(err)
			}
			if err := p.apply(ruleset(1, bench.flag)); err != nil {
				b.Fatal(err)
			}
			ec := user("user-1")
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					p.Evaluate("team.flag", ec)
				}
			})
		})
	}
}

func TestEvaluateDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := newServer(t, ruleset(1, newFlag("team.a"), ramp("team.ramp", 500_000, 0)))
	p := newProvider(t, s)
	if err := p.apply(ruleset(1, newFlag("team.a"), ramp("team.ramp", 500_000, 0))); err != nil {
		t.Fatal(err)
	}
	ec := user("user-1")
	for _, key := range []string{"team.a", "team.ramp"} {
		for range 10_000 { // every shard has met the flag
			p.Evaluate(key, ec)
		}
		if n := testing.AllocsPerRun(1000, func() { p.Evaluate(key, ec) }); n > 0 {
			t.Errorf("%s: Evaluate allocates %v times", key, n)
		}
	}
}
