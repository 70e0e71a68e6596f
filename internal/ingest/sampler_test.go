package ingest

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/pgtest"
	"github.com/flyballdev/flyball/internal/store"
)

const sealKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// onBoth runs a test on a database of each kind that has an environment.
func onBoth(t *testing.T, attributes []string, test func(t *testing.T, db *store.DB)) {
	open := func(t *testing.T, url string) {
		db, err := store.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		update(t, db, func(tx *store.Tx) error {
			return tx.InsertEnvironment(flyball.Environment{Key: "production", SampleAttributes: attributes})
		})
		test(t, db)
	}
	t.Run("sqlite", func(t *testing.T) { open(t, t.TempDir()+"/test.db") })
	t.Run("postgres", func(t *testing.T) { open(t, pgtest.URL(t)) })
}

func update(t *testing.T, db *store.DB, f func(*store.Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func newSampler(t *testing.T, db *store.DB) *Sampler {
	t.Helper()
	seal, err := store.NewSeal(sealKey, "")
	if err != nil {
		t.Fatal(err)
	}
	s := NewSampler(db, seal)
	if err := s.listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// hear makes a sampler hear of units, from one to the other, at a time, and
// write what it heard.
func hear(t *testing.T, s *Sampler, from, to, level int, at, now time.Time) {
	t.Helper()
	for i := from; i < to; i += 1000 {
		h := sampled{environment: "production", level: level}
		for j := i; j < min(to, i+1000); j++ {
			unit := fmt.Sprint("user-", j)
			if uint64(eval.Point(flyball.ContextRing, unit))<<level < flyball.PPM {
				h.contexts = append(h.contexts, flyball.SampledContext{T: at, Unit: unit, Attributes: flyball.Attributes{"country": []string{"CA", "DE"}[j%2], "email": "secret"}})
			}
		}
		if err := s.add(h, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.write(t.Context(), now); err != nil {
		t.Fatal(err)
	}
}

func drawNow(t *testing.T, s *Sampler, now time.Time) *Sample {
	t.Helper()
	sample, err := s.draw(t.Context(), "production", now)
	if err != nil {
		t.Fatal(err)
	}
	return sample
}

// within says whether a number is near to what it should be, relative to that.
func within(got, want, off float64) bool { return math.Abs(got-want) <= off*want }

// What two servers heard of, in part of the same units, is one sample with each
// unit once, and a third that starts later has it.
func TestServersShareOneSample(t *testing.T) {
	onBoth(t, []string{"country"}, func(t *testing.T, db *store.DB) {
		now := time.Now()
		one, two := newSampler(t, db), newSampler(t, db)
		hear(t, one, 0, 6000, 0, now.Add(-time.Minute), now)
		hear(t, two, 4000, 10_000, 0, now.Add(-time.Minute), now)
		hear(t, one, 0, 10_000, 0, now.Add(-time.Minute), now) // again
		sample := drawNow(t, newSampler(t, db), now)
		if n := len(sample.Contexts); n != sampleSize {
			t.Errorf("%d contexts, want %d", n, sampleSize)
		}
		if u := sample.Users; !within(u.Value, 10_000, 0.02) || u.Low > 10_000 || u.High < 10_000 {
			t.Errorf("%+v users, of 10,000", u)
		}
		units, sum := map[string]bool{}, 0.0
		for _, c := range sample.Contexts {
			units[c.Context.TargetingKey] = true
			sum += c.Weight
		}
		if len(units) != len(sample.Contexts) || !within(sum, 10_000, 0.06) {
			t.Errorf("%d units, which stand for %.0f of 10,000", len(units), sum)
		}
	})
}

// A sample that is not full holds everybody, at the latest context.
func TestAUnitHasOneContextTheLatest(t *testing.T) {
	onBoth(t, []string{"country"}, func(t *testing.T, db *store.DB) {
		now := time.Now().Truncate(time.Microsecond)
		s := newSampler(t, db)
		hear(t, s, 0, 50, 0, now.Add(-48*time.Hour), now)
		h := sampled{environment: "production", contexts: []flyball.SampledContext{
			{T: now.Add(-time.Minute), Unit: "user-7", Attributes: flyball.Attributes{"country": "FR"}},
			{T: now.Add(-72 * time.Hour), Unit: "user-8", Attributes: flyball.Attributes{"country": "FR"}}, // late, and older
		}}
		if err := s.add(h, now); err != nil {
			t.Fatal(err)
		}
		if err := s.write(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		sample := drawNow(t, s, now)
		if len(sample.Contexts) != 50 || sample.Users.Value != 50 {
			t.Errorf("%d contexts, %+v users", len(sample.Contexts), sample.Users)
		}
		for _, c := range sample.Contexts {
			want := map[string]string{"user-7": "FR", "user-8": "CA"}[c.Context.TargetingKey]
			if got := c.Context.Attributes["country"]; want != "" && got != want || c.Weight != 1 {
				t.Errorf("%s has %v and weight %g", c.Context.TargetingKey, c.Context.Attributes, c.Weight)
			}
		}
		if later := drawNow(t, s, now.Add(6*24*time.Hour)); len(later.Contexts) != 1 {
			t.Errorf("%d contexts are left after six days, want that of user-7", len(later.Contexts))
		}
	})
}

// Recent contexts are likelier to be kept, and the weights make up for it: half
// of the units were seen five days ago, half now.
func TestRecentContextsCountMoreAndWeightsMakeUpForIt(t *testing.T) {
	db, now := openStore(t), time.Now()
	update(t, db, func(tx *store.Tx) error { return tx.InsertEnvironment(flyball.Environment{Key: "production"}) })
	s := newSampler(t, db)
	hear(t, s, 0, 10_000, 0, now.Add(-5*24*time.Hour), now)
	hear(t, s, 10_000, 20_000, 0, now, now)
	old, sum, oldSum := 0, 0.0, 0.0
	sample := drawNow(t, s, now)
	for _, c := range sample.Contexts {
		sum += c.Weight
		if now.Sub(c.At) > time.Hour {
			old++
			oldSum += c.Weight
		}
	}
	if share := float64(old) / float64(len(sample.Contexts)); !within(share, 0.27, 0.15) { // 2^(-5/3.5) to 1
		t.Errorf("%g of the sample are old", share)
	}
	if !within(oldSum/sum, 0.5, 0.1) || !within(sum, 20_000, 0.06) {
		t.Errorf("the sample stands for %.0f of 20,000 units, and old ones are %g of them", sum, oldSum/sum)
	}
}

// When senders leave units out, how many there are is known still, and those of
// whom only some senders tell do not count twice.
func TestUnitsThatAreLeftOutAreCounted(t *testing.T) {
	db, now := openStore(t), time.Now()
	update(t, db, func(tx *store.Tx) error { return tx.InsertEnvironment(flyball.Environment{Key: "production"}) })
	s := newSampler(t, db)
	hear(t, s, 0, 40_000, 3, now, now)      // one in eight
	hear(t, s, 40_000, 45_000, 0, now, now) // all
	sample := drawNow(t, s, now)
	if u := sample.Users; !within(u.Value, 45_000, 0.05) || u.Low > 45_000 || u.High < 45_000 {
		t.Errorf("%+v users, of 45,000", u)
	}
	all, sum := 0.0, 0.0
	for _, c := range sample.Contexts {
		var n int
		if _, err := fmt.Sscanf(c.Context.TargetingKey, "user-%d", &n); err != nil {
			t.Fatal(err)
		}
		sum += c.Weight
		if n >= 40_000 {
			all += c.Weight
		}
	}
	if !within(all/sum, 5.0/45, 0.25) {
		t.Errorf("those who are told of in full are %g of the sample, want %g", all/sum, 5.0/45)
	}
}

// What is not listed is not kept, whoever sends it; what is no longer listed is
// forgotten; and whoever has the database learns of no unit.
func TestOnlyListedAttributesAreKeptAndNoUnitIsReadable(t *testing.T) {
	onBoth(t, []string{"country"}, func(t *testing.T, db *store.DB) {
		now := time.Now()
		s := newSampler(t, db)
		hear(t, s, 0, 100, 0, now, now)
		for _, c := range drawNow(t, s, now).Contexts {
			if len(c.Context.Attributes) != 1 || c.Context.Attributes["country"] == nil {
				t.Fatalf("%v is kept", c.Context.Attributes)
			}
		}
		rows := rowsOf(t, db)
		if len(rows) != 100 {
			t.Errorf("%d rows", len(rows))
		}
		for _, r := range rows {
			if bytes.Contains(r.Body, []byte("user-")) || bytes.Contains(r.Body, []byte("country")) {
				t.Errorf("a row can be read: %q", r.Body)
			}
		}
		foreign, err := store.NewSeal("QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=", "")
		if err != nil {
			t.Fatal(err)
		}
		if n := len(drawNow(t, NewSampler(db, foreign), now).Contexts); n != 0 {
			t.Errorf("with another key %d contexts can be read", n)
		}
		update(t, db, func(tx *store.Tx) error {
			return tx.UpdateEnvironment(flyball.Environment{Key: "production", Revision: 1})
		})
		if err := s.add(sampled{environment: "production", contexts: []flyball.SampledContext{{T: now, Unit: "new", Attributes: flyball.Attributes{"country": "CA"}}}}, now); err != nil {
			t.Fatal(err) // it has not heard of the change yet
		}
		if err := s.write(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		sample := drawNow(t, s, now)
		if i := slices.IndexFunc(sample.Contexts, func(c Drawn) bool { return c.Context.TargetingKey == "new" }); i < 0 {
			t.Error("the new unit is missing")
		}
		for _, c := range sample.Contexts {
			if len(c.Context.Attributes) > 0 {
				t.Fatalf("%s has %v", c.Context.TargetingKey, c.Context.Attributes)
			}
		}
	})
}

func rowsOf(t *testing.T, db *store.DB) (rows []store.SealedContext) {
	t.Helper()
	err := db.View(t.Context(), func(tx *store.Tx) (err error) { rows, err = tx.SampledContexts("production"); return err })
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// Public tokens are anybody's word; exposures count as units, and an unknown
// environment, or absurd contexts, do no harm.
func TestWhatASamplerDoesNotBelieve(t *testing.T) {
	db, now := openStore(t), time.Now()
	update(t, db, func(tx *store.Tx) error {
		return tx.InsertEnvironment(flyball.Environment{Key: "production", SampleAttributes: []string{"a"}})
	})
	s := newSampler(t, db)
	s.Hear("production", false, flyball.TelemetryBatch{Contexts: []flyball.SampledContext{{Unit: "public"}}})
	if len(s.heard) != 0 {
		t.Error("it hears public tokens")
	}
	s.Hear("production", true, flyball.TelemetryBatch{
		SentAt: now,
		Contexts: []flyball.SampledContext{
			{Unit: ""}, {Unit: string(make([]byte, flyball.MaxContextUnit+1))}, {Unit: "old", T: now.Add(-2 * sampleMemory)},
			{Unit: "big", T: now, Attributes: flyball.Attributes{"a": string(bytes.Repeat([]byte("x"), flyball.MaxContextBytes))}},
			{Unit: "future", T: now.Add(24 * time.Hour)},
		},
		Exposures: []flyball.Exposure{{T: now, Flag: "f.a.b", Variant: "on", Unit: "exposed", Rollout: "r1"}},
	})
	s.Hear("nowhere", true, flyball.TelemetryBatch{Contexts: []flyball.SampledContext{{Unit: "lost"}}})
	for len(s.heard) > 0 {
		if err := s.add(<-s.heard, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.write(t.Context(), now); flyball.CodeOf(err) != flyball.NotFound {
		t.Errorf("a sample of nowhere: %v", err)
	}
	if err := s.write(t.Context(), now); err != nil {
		t.Errorf("it is not given up: %v", err)
	}
	sample := drawNow(t, s, now)
	if len(sample.Contexts) != 1 || sample.Contexts[0].Context.TargetingKey != "future" || sample.Contexts[0].At.After(now) || sample.Users.Value != 3 {
		t.Errorf("%+v", sample)
	}
}
