package service

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

// A retreat waits for nobody, whatever else rises by it. So what it would raise
// is judged when that is set up, though nobody notices then: by the sample alone
// each of these changes would reach nobody.
func TestWhatARetreatWouldRaiseIsJudgedWhenItIsSetUp(t *testing.T) {
	configure := func(h *shop, key string, c Config) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := h.s.SetConfig(ctx, SetConfig{FlagIn: in(key), Config: c})
			return err
		}
	}
	off := func(h *shop) func(context.Context) error { // nobody evaluates it, so that it may serve what it likes
		return h.serve(idle, flyball.Serve{Variant: "on"})
	}
	for _, tt := range []struct {
		name   string
		before func(h *shop) []func(context.Context) error
		change func(h *shop) func(context.Context) error
		risk   flyball.Risk
		needs  int
		why    string
	}{
		{name: "to wait for another flag's safe variant", before: func(h *shop) []func(context.Context) error { return []func(context.Context) error{off(h)} },
			change: func(h *shop) func(context.Context) error { return h.needs(fastOf, idle, "off") }, risk: "high", needs: 2, why: fastOf + " rises when what it needs is taken back"},
		{name: "to serve more, while that waits", before: func(h *shop) []func(context.Context) error {
			return []func(context.Context) error{off(h), configure(h, fastOf, Config{Enabled: true, OffVariant: "off", Default: flyball.Serve{Variant: "off"}, Prerequisites: []flyball.Prerequisite{{Flag: idle, Variant: "off"}}})}
		}, change: func(h *shop) func(context.Context) error { return h.serve(fastOf, split(50_000)) }, risk: "medium", needs: 1, why: "rises when"},
		{name: "to serve something else while what it needs is not there",
			change: func(h *shop) func(context.Context) error {
				return configure(h, hangs, Config{Enabled: true, OffVariant: "on", Default: flyball.Serve{Variant: "off"}, Prerequisites: []flyball.Prerequisite{{Flag: kindOf, Variant: "a"}}})
			}, risk: "high", needs: 2, why: "rises when"},
		{name: "to wait for what is there, and is no safe variant", change: func(h *shop) func(context.Context) error { return h.needs(fastOf, kindOf, "b") }, risk: "low"},
		{name: "what serves the same to everybody, in another way", change: func(h *shop) func(context.Context) error {
			return configure(h, kindOf, Config{Enabled: true, OffVariant: "safe", Default: flyball.Serve{Variant: "a"}, Rules: []flyball.Rule{
				{ID: "same", If: flyball.Condition{Attribute: "targetingKey", Op: "in", Values: []any{"user-1"}}, Serve: flyball.Serve{Variant: "a"}},
			}})
		}, risk: "none"},
		{name: "another value of the safe variant", change: func(h *shop) func(context.Context) error {
			return h.update(kindOf, func(f *flyball.Flag) { f.Variants = flyball.Variants{"safe": "unsafe", "a": "a", "b": "b"} })
		}, risk: "high", needs: 2, why: "a kill of " + kindOf},
		{name: "another safe variant", change: func(h *shop) func(context.Context) error {
			return h.update(kindOf, func(f *flyball.Flag) { f.SafeVariant = "b" })
		}, risk: "high", needs: 2, why: "a kill of " + kindOf},
		{name: "to be seen by client tokens", change: func(h *shop) func(context.Context) error {
			return h.update(kindOf, func(f *flyball.Flag) { f.ClientVisible = true })
		}, risk: "high", needs: 2, why: "by client tokens"},
		{name: "to be seen by client tokens, and be safe",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{h.serve(kindOf, flyball.Serve{Variant: "safe"})}
			},
			change: func(h *shop) func(context.Context) error {
				return h.update(kindOf, func(f *flyball.Flag) { f.ClientVisible = true })
			}, risk: "none"},
		{name: "to be seen by them no more",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{h.update(kindOf, func(f *flyball.Flag) { f.ClientVisible = true })}
			},
			change: func(h *shop) func(context.Context) error {
				return h.update(kindOf, func(f *flyball.Flag) { f.ClientVisible = false })
			}, risk: "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sample := Sample{Users: flyball.Estimate{Value: 100_000, Low: 99_000, High: 101_000}}
			for i := range 2000 {
				sample.Contexts = append(sample.Contexts, SampledContext{At: time.Now(), Context: flyball.EvaluationContext{TargetingKey: fmt.Sprint("user-", i)}})
			}
			h := newShop(t, func(context.Context, string) (Sample, error) { return sample, nil })
			if tt.before != nil {
				for _, change := range tt.before(h) {
					if err := change(WithManner(h.ctx, &Manner{BreakGlass: true})); err != nil {
						t.Fatal(err)
					}
				}
			}
			p := h.plan(tt.change(h))
			var notes []string
			for _, v := range p.Previews {
				notes = append(notes, v.Note)
			}
			if p.Risk != tt.risk || p.Needs.Number != tt.needs || p.Retreat || !strings.Contains(strings.Join(notes, "; "), tt.why) {
				t.Errorf("risk %s, needs %d, retreat %v, notes %q; want %s, %d, %q", p.Risk, p.Needs.Number, p.Retreat, notes, tt.risk, tt.needs, tt.why)
			}
			if err := tt.change(h)(h.ctx); tt.needs > 0 {
				wantCode(t, err, flyball.Forbidden, "")
			}
		})
	}
}
