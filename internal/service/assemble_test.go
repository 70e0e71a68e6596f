package service

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/store"
)

// A tinkerer makes random changes, of which many are refused.
type tinkerer struct {
	*rand.Rand
	made int
}

func (r *tinkerer) flag() string    { return fmt.Sprintf("shop.flag.n%d", r.IntN(8)) }
func (r *tinkerer) segment() string { return fmt.Sprintf("segment-%d", r.IntN(4)) }
func (r *tinkerer) serve() flyball.Serve {
	return flyball.Serve{Variant: []string{"on", "off", "off"}[r.IntN(3)]}
}

func (r *tinkerer) config() Config {
	c := Config{Enabled: r.IntN(4) > 0, Default: r.serve()}
	if r.IntN(2) == 0 {
		c.Rules = []flyball.Rule{{ID: "r", If: flyball.Condition{Segment: r.segment()}, Serve: r.serve()}}
	}
	if r.IntN(3) == 0 {
		c.Prerequisites = []flyball.Prerequisite{{Flag: r.flag(), Variant: "on"}}
	}
	return c
}

func (r *tinkerer) change(ctx context.Context, s *Service) (err error) {
	at := FlagIn{Key: r.flag(), Environment: []string{"production", "development"}[r.IntN(2)], Reason: "a test"}
	switch r.IntN(9) {
	case 0:
		_, err = s.CreateFlag(ctx, newFlag(at.Key))
	case 1:
		seg := PutSegment{Segment: flyball.Segment{Key: r.segment(), Owner: "default", Include: []string{fmt.Sprint("user-", r.IntN(9))}}, Reason: "a test"}
		if r.IntN(2) == 0 {
			seg.If = &flyball.Condition{Segment: r.segment()}
		}
		if _, err = s.CreateSegment(ctx, seg); err != nil {
			_, err = s.UpdateSegment(ctx, seg)
		}
	case 2:
		_, err = s.KillFlag(ctx, at)
	case 3:
		_, err = s.ResumeFlag(ctx, at)
	case 4:
		f := UpdateFlag{Flag: newFlag(at.Key).Flag, Reason: "a test"}
		f.ClientVisible, f.Description = r.IntN(2) == 0, fmt.Sprint("text ", r.IntN(3))
		if r.IntN(2) == 0 {
			f.Variants = flyball.Variants{"on": true, "off": false, "dim": false}
		}
		_, err = s.UpdateFlag(ctx, f)
	case 5:
		if r.IntN(8) == 0 {
			_, err = s.ArchiveFlag(ctx, ArchiveFlag{Key: at.Key, Reason: "a test"})
		}
	default:
		_, err = s.SetConfig(ctx, SetConfig{FlagIn: at, Config: r.config()})
	}
	if err == nil {
		r.made++
	}
	return err
}

// What is published, built of what came before, is what the database says and
// what compiling all of it gives; whoever made the change, and whatever the
// process had in memory.
func TestWhatIsPublishedIsWhatTheDatabaseSays(t *testing.T) {
	s, ctx := house(t)
	other := must[*Service](t)(New(ctx, s.db, Options{}))
	r, followed := &tinkerer{Rand: rand.New(rand.NewPCG(1, 2))}, 0
	for i := range 400 {
		by := s
		if r.IntN(10) == 0 {
			by = other // which has not heard of the changes since its last
		}
		if i == 200 {
			if err := s.db.Update(ctx, func(tx *store.Tx) error { _, err := tx.RaiseEpoch(); return err }); err != nil {
				t.Fatal(err)
			}
		}
		err := r.change(ctx, by)
		if code := flyball.CodeOf(err); err != nil && code != flyball.Invalid && code != flyball.Conflict && code != flyball.NotFound {
			t.Fatalf("change %d: %v", i, err)
		}
		for _, env := range []string{"production", "development"} {
			check(t, ctx, by, env)
		}
		if r.IntN(5) == 0 {
			followed += follow(t, ctx, other)
		}
		if t.Failed() {
			t.Fatalf("after change %d", i)
		}
	}
	if r.made < 100 || followed < 50 {
		t.Errorf("only %d changes were made, and %d flags were taken over by the one who follows", r.made, followed)
	}
}

// follow has a process hear of what others did, and returns how many flags of
// rulesets that changed it did not compile.
func follow(t *testing.T, ctx context.Context, s *Service) (shared int) {
	t.Helper()
	for _, env := range []string{"production", "development"} {
		before := must[*Published](t)(s.Published(env))
		if err := s.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
		check(t, ctx, s, env)
		after := must[*Published](t)(s.Published(env))
		if after == before {
			continue
		}
		for _, f := range after.Doc().Flags {
			if after.Compiled.Find(f.Key) == before.Compiled.Find(f.Key) {
				shared++
			}
		}
	}
	return shared
}

// check compares what a process publishes with the database, if that is not
// ahead of it.
func check(t *testing.T, ctx context.Context, s *Service, env string) {
	t.Helper()
	head := must[*Published](t)(s.Published(env))
	var doc flyball.Ruleset
	if err := s.db.View(ctx, func(tx *store.Tx) (err error) { doc, err = load(tx, env); return err }); err != nil {
		t.Fatal(err)
	}
	if id := (flyball.RulesetID{Epoch: doc.Epoch, Version: doc.Version}); head.ID() != id {
		if id.Before(head.ID()) {
			t.Errorf("%s has %v in force, the database %v", env, head.ID(), id)
		}
		return
	}
	whole := must[*encoded](t)(encode(doc))
	compiled := must[*eval.Ruleset](t)(eval.Compile(doc))
	if !bytes.Equal(whole.json(), must[*View](t)(head.View(nil)).JSON()) || whole.digest != head.Digest() {
		t.Errorf("%s serves another ruleset than the database has (-database +served):\n%s", env, cmp.Diff(string(whole.json()), string(head.json())))
	}
	if d := cmp.Diff(compiled.Document(), head.Doc()); d != "" {
		t.Errorf("%s evaluates another ruleset than the database has (-database +evaluated):\n%s", env, d)
	}
	for _, f := range doc.Flags {
		for _, unit := range []string{"user-1", "user-2"} {
			ec := &flyball.EvaluationContext{TargetingKey: unit}
			if d := cmp.Diff(compiled.Evaluate(f.Key, ec, nil, nil), head.Compiled.Evaluate(f.Key, ec, nil, nil)); d != "" {
				t.Errorf("%s for %s (-database +evaluated):\n%s", f.Key, unit, d)
			}
		}
	}
}
