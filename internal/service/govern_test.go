package service

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/rollout"
	"github.com/flyballdev/flyball/internal/store"
)

// A shop is a service in whose production a few flags are used, and a person
// who may do everything.
type shop struct {
	t   *testing.T
	s   *Service
	db  *store.DB
	ctx context.Context
}

const (
	kindOf = "shop.checkout.kind" // of strings, serves "a" to everybody
	fastOf = "shop.checkout.fast" // boolean, serves its safe variant, "off"
	hangs  = "shop.basket.hint"   // serves "on" where kindOf serves "a"
	idle   = "shop.old.banner"    // as fastOf, and no program evaluates it
)

func newShop(t *testing.T, sample func(ctx context.Context, environment string) (Sample, error)) *shop {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "flyball.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := New(t.Context(), db, Options{Sample: sample})
	if err != nil {
		t.Fatal(err)
	}
	ann := Principal{Actor: flyball.Actor{ID: "user:ann"}, Kind: flyball.TokenAPI, Rights: []flyball.Grants{flyball.Installation}}
	h := &shop{t: t, s: s, db: db, ctx: WithPrincipal(t.Context(), ann)}
	kind := flyball.Flag{
		Key: kindOf, Kind: flyball.KindOps, Owner: "default", Type: flyball.TypeString, SafeVariant: "safe",
		Variants: flyball.Variants{"safe": "safe", "a": "a", "b": "b"},
	}
	must[FlagView](t)(s.CreateFlag(h.ctx, CreateFlag{Flag: kind, Reason: "a test"}))
	for _, key := range []string{fastOf, hangs, idle} {
		must[FlagView](t)(s.CreateFlag(h.ctx, newFlag(key)))
	}
	must[SegmentView](t)(s.CreateSegment(h.ctx, PutSegment{Segment: flyball.Segment{Key: "testers", Owner: "default", Include: []string{"u1"}}, Reason: "a test"}))
	must[MetricView](t)(s.CreateMetric(h.ctx, PutMetric{Metric: flyball.Metric{Key: "shop.errors", Type: flyball.MetricRate, Better: "lower"}, Reason: "a test"}))
	for key, c := range map[string]Config{
		kindOf: {Enabled: true, OffVariant: "safe", Default: flyball.Serve{Variant: "a"}},
		fastOf: {Enabled: true, Default: flyball.Serve{Variant: "off"}, Rules: []flyball.Rule{{ID: "testers", If: flyball.Condition{Segment: "testers"}, Serve: flyball.Serve{Variant: "on"}}}},
		idle:   {Enabled: true, Default: flyball.Serve{Variant: "off"}},
		hangs:  {Enabled: true, Default: flyball.Serve{Variant: "on"}, Prerequisites: []flyball.Prerequisite{{Flag: kindOf, Variant: "a"}}},
	} {
		must[Configured](t)(s.SetConfig(h.ctx, SetConfig{FlagIn: in(key), Config: c}))
	}
	evaluatedLately(t, db, kindOf, fastOf, hangs)
	return h
}

// plan finds out what a change would do.
func (h *shop) plan(change func(ctx context.Context) error) *flyball.Plan {
	h.t.Helper()
	m := &Manner{DryRun: true}
	err := change(WithManner(h.ctx, m))
	if m.Plan() == nil {
		h.t.Fatalf("no plan: %v", err)
	}
	return m.Plan()
}

func split(ppm int) flyball.Serve {
	return flyball.Serve{Split: &flyball.Split{Weights: []flyball.Weight{{Variant: "on", PPM: ppm}, {Variant: "off", PPM: flyball.PPM - ppm}}}}
}

func (h *shop) serve(key string, serve flyball.Serve) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := h.s.SetDefault(ctx, SetDefault{FlagIn: in(key), Default: serve})
		return err
	}
}

func (h *shop) update(key string, alter func(*flyball.Flag)) func(context.Context) error {
	return func(ctx context.Context) error {
		v := must[FlagView](h.t)(h.s.Flag(h.ctx, FlagKey{Key: key}))
		alter(&v.Flag)
		_, err := h.s.UpdateFlag(ctx, UpdateFlag{Flag: v.Flag, Reason: "a test"})
		return err
	}
}

// rule gives testers a variant.
func (h *shop) rule(key, variant string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := h.s.AddRule(ctx, AddRule{FlagIn: in(key), Rule: flyball.Rule{ID: "more", If: flyball.Condition{Segment: "testers"}, Serve: flyball.Serve{Variant: variant}}})
		return err
	}
}

// needs makes a flag serve "on" to everybody where another serves a variant.
func (h *shop) needs(key, needed, variant string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := h.s.SetConfig(ctx, SetConfig{FlagIn: in(key), Config: Config{
			Enabled: true, OffVariant: "off", Default: flyball.Serve{Variant: "on"}, Prerequisites: []flyball.Prerequisite{{Flag: needed, Variant: variant}},
		}})
		return err
	}
}

func (h *shop) start(guarded bool, ppms ...int) func(context.Context) error {
	if guarded {
		return h.guardedBy(flyball.Guardrail{Metric: "shop.errors", Margin: flyball.Margin{Relative: 0.05}}, ppms...)
	}
	return h.guardedBy(flyball.Guardrail{}, ppms...)
}

// The risk of changes, and what the default policy asks for them, by the rules
// alone: no context of a user is known.
func TestTheRiskOfAChangeAndWhatItNeeds(t *testing.T) {
	for _, tt := range []struct {
		name    string
		before  func(h *shop) []func(context.Context) error // what is done first, by breaking the glass
		change  func(h *shop) func(context.Context) error
		risk    flyball.Risk
		needs   int
		retreat bool
		why     string
	}{
		{name: "everybody gets another variant", change: func(h *shop) func(context.Context) error { return h.serve(kindOf, flyball.Serve{Variant: "b"}) }, risk: "high", needs: 2, why: "up to 100 %"},
		{name: "nobody evaluates it", change: func(h *shop) func(context.Context) error { return h.serve(idle, flyball.Serve{Variant: "on"}) }, risk: "none", why: "no program evaluates it in production"},
		{name: "half a percent", change: func(h *shop) func(context.Context) error { return h.serve(fastOf, split(5_000)) }, risk: "low", why: "up to 0.5 %"},
		{name: "one percent", change: func(h *shop) func(context.Context) error { return h.serve(fastOf, split(10_000)) }, risk: "medium", needs: 1},
		{name: "a hair below ten percent", change: func(h *shop) func(context.Context) error { return h.serve(fastOf, split(99_999)) }, risk: "medium", needs: 1},
		{name: "ten percent", change: func(h *shop) func(context.Context) error { return h.serve(fastOf, split(100_000)) }, risk: "high", needs: 2},
		{name: "a high tier raises it by one",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{h.update(fastOf, func(f *flyball.Flag) { f.RiskTier = flyball.TierHigh })}
			},
			change: func(h *shop) func(context.Context) error { return h.serve(fastOf, split(5_000)) }, risk: "medium", needs: 1, why: "high tier"},
		{name: "a low tier lowers it by one",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{h.update(fastOf, func(f *flyball.Flag) { f.RiskTier = flyball.TierLow })}
			},
			change: func(h *shop) func(context.Context) error { return h.serve(fastOf, split(50_000)) }, risk: "low", why: "low tier"},
		{name: "a low tier is never below low",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{h.update(fastOf, func(f *flyball.Flag) { f.RiskTier = flyball.TierLow })}
			},
			change: func(h *shop) func(context.Context) error { return h.serve(fastOf, split(1)) }, risk: "low"},
		{name: "a stateful flag raises it by one",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{h.update(fastOf, func(f *flyball.Flag) { f.Consistency = flyball.Stateful })}
			},
			change: func(h *shop) func(context.Context) error { return h.serve(fastOf, split(5_000)) }, risk: "medium", needs: 1, why: "stateful"},
		{name: "a dependant that changes is told", change: func(h *shop) func(context.Context) error { return h.serve(kindOf, flyball.Serve{Variant: "b"}) }, risk: "high", needs: 2, why: hangs + " depends on it"},
		{name: "the tier of a dependant that changes counts",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{
					h.update(hangs, func(f *flyball.Flag) { f.RiskTier, f.Consistency = flyball.TierHigh, flyball.Stateful }),
					h.update(idle, func(f *flyball.Flag) { f.RiskTier = flyball.TierLow }), h.needs(hangs, idle, "on"),
				}
			},
			change: func(h *shop) func(context.Context) error { return h.serve(idle, split(5_000)) }, risk: "high", needs: 2, why: "a flag is of the high tier; a flag is stateful; " + hangs},
		{name: "a description is nobody's business", change: func(h *shop) func(context.Context) error {
			return h.update(fastOf, func(f *flyball.Flag) { f.Description = "x" })
		}, risk: "none"},
		{name: "a lower tier, which makes later changes count less", change: func(h *shop) func(context.Context) error {
			return h.update(fastOf, func(f *flyball.Flag) { f.RiskTier = flyball.TierLow })
		}, risk: "medium", needs: 1, why: "later changes of " + fastOf + " count less in production"},
		{name: "a lower tier of what nobody evaluates", change: func(h *shop) func(context.Context) error {
			return h.update(idle, func(f *flyball.Flag) { f.RiskTier = flyball.TierLow })
		}, risk: "none"},
		{name: "a higher tier", change: func(h *shop) func(context.Context) error {
			return h.update(fastOf, func(f *flyball.Flag) { f.RiskTier = flyball.TierHigh })
		}, risk: "none"},
		{name: "to be stateful no more",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{h.update(fastOf, func(f *flyball.Flag) { f.Consistency = flyball.Stateful })}
			},
			change: func(h *shop) func(context.Context) error {
				return h.update(fastOf, func(f *flyball.Flag) { f.Consistency = flyball.Cosmetic })
			}, risk: "medium", needs: 1},
		{name: "a variant's value changes what everybody gets", change: func(h *shop) func(context.Context) error {
			return h.update(kindOf, func(f *flyball.Flag) { f.Variants = flyball.Variants{"safe": "safe", "a": "A", "b": "b"} })
		}, risk: "high", needs: 2},
		{name: "so does that of the safe one, killed or not",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{func(ctx context.Context) error { _, err := h.s.KillFlag(ctx, in(kindOf)); return err }}
			},
			change: func(h *shop) func(context.Context) error {
				return h.update(kindOf, func(f *flyball.Flag) { f.Variants = flyball.Variants{"safe": "unsafe", "a": "a", "b": "b"} })
			}, risk: "high", needs: 2},
		{name: "a variant that nobody gets", change: func(h *shop) func(context.Context) error {
			return h.update(kindOf, func(f *flyball.Flag) { f.Variants = flyball.Variants{"safe": "safe", "a": "a", "b": "B"} })
		}, risk: "none"},
		{name: "a segment is a change of the flags that use it", change: func(h *shop) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := h.s.UpdateSegment(ctx, PutSegment{Segment: flyball.Segment{Key: "testers", Owner: "default", Include: []string{"u1", "u2"}}, Reason: "a test"})
				return err
			}
		}, risk: "high", needs: 2},
		{name: "a segment that nothing uses", change: func(h *shop) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := h.s.CreateSegment(ctx, PutSegment{Segment: flyball.Segment{Key: "friends", Owner: "default", Include: []string{"u1", "u2"}}, Reason: "a test"})
				return err
			}
		}, risk: "none"},
		{name: "archiving what is used", change: func(h *shop) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := h.s.ArchiveFlag(ctx, ArchiveFlag{Key: fastOf, Reason: "a test"})
				return err
			}
		}, risk: "high", needs: 2},
		{name: "a guarded rollout counts by its first step", change: func(h *shop) func(context.Context) error { return h.start(true, 5_000, 1_000_000) }, risk: "low"},
		{name: "a guarded rollout of a few percent goes without", change: func(h *shop) func(context.Context) error { return h.start(true, 50_000, 1_000_000) }, risk: "medium"},
		{name: "a guarded rollout of many needs one", change: func(h *shop) func(context.Context) error { return h.start(true, 500_000) }, risk: "high", needs: 1},
		{name: "one without guardrails counts by its last", change: func(h *shop) func(context.Context) error { return h.start(false, 5_000, 1_000_000) }, risk: "high", needs: 2},
		{name: "one that advances without evidence counts by its last too", change: func(h *shop) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := h.s.StartRollout(ctx, StartRollout{RolloutPlan: flyball.RolloutPlan{
					Flag: fastOf, Environment: "production", Treatment: "on", Control: "off", Steps: []flyball.Step{{PPM: 5_000}, {PPM: 1_000_000}},
					Guardrails: []flyball.Guardrail{{Metric: "shop.errors", Margin: flyball.Margin{Relative: 0.05}}},
					OnUnsure:   flyball.OnUnsure{After: flyball.Duration(time.Minute), Then: "advance"},
				}, Reason: "a test"})
				return err
			}
		}, risk: "high", needs: 2},
		{name: "what enabling shows beside a guarded exposure is watched by nothing",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{func(ctx context.Context) error { _, err := h.s.DisableFlag(ctx, in(fastOf)); return err }}
			},
			change: func(h *shop) func(context.Context) error { return h.expose(nil, flyball.ThenOff, true) }, risk: "high", needs: 2},
		{name: "a guarded exposure alone",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{func(ctx context.Context) error {
					_, err := h.s.SetConfig(ctx, SetConfig{FlagIn: in(fastOf), Config: Config{Default: flyball.Serve{Variant: "off"}}})
					return err
				}}
			},
			change: func(h *shop) func(context.Context) error { return h.expose(nil, flyball.ThenOff, true) }, risk: "low"},
		{name: "a guarded exposure of a cohort, beside other rules", change: func(h *shop) func(context.Context) error {
			return h.expose(&flyball.Condition{Attribute: "country", Op: flyball.OpIn, Values: flyball.Values{"CA"}}, flyball.ThenOff, true)
		}, risk: "low"},
		{name: "to pass to another team, whose approvers are others",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{func(ctx context.Context) error {
					_, err := h.s.CreateTeam(ctx, PutTeam{Team: flyball.Team{Key: "search", Name: "Search"}, Reason: "a test"})
					return err
				}}
			},
			change: func(h *shop) func(context.Context) error {
				return h.update(fastOf, func(f *flyball.Flag) { f.Owner = "search" })
			}, risk: "medium", needs: 1, why: "approved by others"},
		{name: "to be seen by client tokens", change: func(h *shop) func(context.Context) error {
			return h.update(kindOf, func(f *flyball.Flag) { f.ClientVisible = true })
		}, risk: "high", needs: 2},
		{name: "a kill never waits", change: func(h *shop) func(context.Context) error {
			return func(ctx context.Context) error { _, err := h.s.KillFlag(ctx, in(kindOf)); return err }
		}, risk: "high", retreat: true},
		{name: "to disable, where that is safe, never waits", change: func(h *shop) func(context.Context) error {
			return func(ctx context.Context) error { _, err := h.s.DisableFlag(ctx, in(kindOf)); return err }
		}, risk: "high", retreat: true},
		{name: "to disable, where another variant is served then, waits",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{func(ctx context.Context) error {
					_, err := h.s.SetConfig(ctx, SetConfig{FlagIn: in(kindOf), Config: Config{Enabled: true, OffVariant: "b", Default: flyball.Serve{Variant: "a"}}})
					return err
				}}
			},
			change: func(h *shop) func(context.Context) error {
				return func(ctx context.Context) error { _, err := h.s.DisableFlag(ctx, in(kindOf)); return err }
			}, risk: "high", needs: 2},
		{name: "to lift a kill is to raise",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{func(ctx context.Context) error { _, err := h.s.KillFlag(ctx, in(kindOf)); return err }}
			},
			change: func(h *shop) func(context.Context) error {
				return func(ctx context.Context) error { _, err := h.s.ResumeFlag(ctx, in(kindOf)); return err }
			}, risk: "high", needs: 2},
		{name: "what is killed may be configured",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{func(ctx context.Context) error { _, err := h.s.KillFlag(ctx, in(kindOf)); return err }}
			},
			change: func(h *shop) func(context.Context) error { return h.serve(kindOf, flyball.Serve{Variant: "b"}) }, risk: "none", retreat: true},
		{name: "the safe variant for all never waits", change: func(h *shop) func(context.Context) error { return h.serve(kindOf, flyball.Serve{Variant: "safe"}) }, risk: "high", retreat: true},
		{name: "fewer never waits",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{h.serve(fastOf, split(500_000))}
			},
			change: func(h *shop) func(context.Context) error { return h.serve(fastOf, split(100_000)) }, risk: "high", retreat: true},
		{name: "more waits",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{h.serve(fastOf, split(500_000))}
			},
			change: func(h *shop) func(context.Context) error { return h.serve(fastOf, split(540_000)) }, risk: "medium", needs: 1, why: "up to 4 %"},
		{name: "the end of a rollout never waits",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{h.start(true, 500_000)}
			},
			change: func(h *shop) func(context.Context) error {
				return func(ctx context.Context) error {
					_, err := h.s.AbortRollout(ctx, RolloutIn{ID: fastOf, Reason: "a test"})
					return err
				}
			}, risk: "high", retreat: true},
		{name: "to pause a rollout is a retreat",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{h.start(true, 500_000)}
			},
			change: func(h *shop) func(context.Context) error {
				return func(ctx context.Context) error {
					_, err := h.s.PauseRollout(ctx, RolloutIn{ID: fastOf, Reason: "a test"})
					return err
				}
			}, risk: "none", retreat: true},
		{name: "to let it go on is none",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{h.start(true, 500_000), func(ctx context.Context) error {
					_, err := h.s.PauseRollout(ctx, RolloutIn{ID: fastOf, Reason: "a test"})
					return err
				}}
			},
			change: func(h *shop) func(context.Context) error {
				return func(ctx context.Context) error {
					_, err := h.s.ResumeRollout(ctx, RolloutIn{ID: fastOf, Reason: "a test"})
					return err
				}
			}, risk: "none"},
		{name: "to remove a rule never waits, where what follows is safe", change: func(h *shop) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := h.s.RemoveRule(ctx, RemoveRule{FlagIn: in(fastOf), ID: "testers"})
				return err
			}
		}, risk: "high", retreat: true},
		{name: "to remove a rule waits, where what follows is not safe",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{h.serve(fastOf, split(500_000))}
			},
			change: func(h *shop) func(context.Context) error {
				return func(ctx context.Context) error {
					_, err := h.s.RemoveRule(ctx, RemoveRule{FlagIn: in(fastOf), ID: "testers"})
					return err
				}
			}, risk: "high", needs: 2},
		{name: "a rule that is safe never waits", change: func(h *shop) func(context.Context) error { return h.rule(kindOf, "safe") }, risk: "high", retreat: true},
		{name: "a rule that is not safe waits", change: func(h *shop) func(context.Context) error { return h.rule(kindOf, "b") }, risk: "high", needs: 2},
		{name: "to wait for one flag more never waits", change: func(h *shop) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := h.s.SetConfig(ctx, SetConfig{FlagIn: in(kindOf), Config: Config{
					Enabled: true, OffVariant: "safe", Default: flyball.Serve{Variant: "a"}, Prerequisites: []flyball.Prerequisite{{Flag: idle, Variant: "on"}},
				}})
				return err
			}
		}, risk: "high", retreat: true},
		{name: "the end of a rollout never waits, though another flag rises by it",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{h.needs(hangs, fastOf, "off"), h.start(true, 500_000)}
			},
			change: func(h *shop) func(context.Context) error {
				return func(ctx context.Context) error {
					_, err := h.s.AbortRollout(ctx, RolloutIn{ID: fastOf, Reason: "a test"})
					return err
				}
			}, risk: "high", retreat: true},
		{name: "to disable, where that is safe, never waits, though another flag rises by it",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{h.needs(hangs, kindOf, "safe")}
			},
			change: func(h *shop) func(context.Context) error {
				return func(ctx context.Context) error { _, err := h.s.DisableFlag(ctx, in(kindOf)); return err }
			}, risk: "high", retreat: true},
		{name: "the safe variant for all never waits, though another flag rises by it",
			before: func(h *shop) []func(context.Context) error {
				return []func(context.Context) error{h.needs(hangs, kindOf, "safe")}
			},
			change: func(h *shop) func(context.Context) error { return h.serve(kindOf, flyball.Serve{Variant: "safe"}) }, risk: "high", retreat: true},
		{name: "a lower tier and a raise, both at once, count by the higher tier", change: func(h *shop) func(context.Context) error {
			return func(ctx context.Context) error {
				v := must[FlagView](h.t)(h.s.Flag(h.ctx, FlagKey{Key: fastOf}))
				v.Flag.RiskTier = flyball.TierLow
				config := configOf(v.Environments["production"].FlagConfig)
				config.Default = split(50_000)
				_, err := h.s.ApplyFiles(ctx, Apply{Files: Files{Flags: []FlagFile{{Flag: v.Flag, Environments: map[string]FileConfig{"production": {Config: config}}}}}, Reason: "a test"})
				return err
			}
		}, risk: "medium", needs: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newShop(t, nil)
			if tt.before != nil {
				for _, change := range tt.before(h) {
					if err := change(WithManner(h.ctx, &Manner{BreakGlass: true})); err != nil {
						t.Fatal(err)
					}
				}
			}
			change := tt.change(h)
			p := h.plan(change)
			if p.Risk != tt.risk || p.Needs.Number != tt.needs || p.Retreat != tt.retreat || !strings.Contains(strings.Join(p.Why, "; "), tt.why) {
				t.Errorf("risk %s, needs %d, retreat %v, why %q; want %s, %d, %v, %q", p.Risk, p.Needs.Number, p.Retreat, p.Why, tt.risk, tt.needs, tt.retreat, tt.why)
			}
			if len(p.Needs.From) == 0 {
				t.Error("anybody may approve it")
			}
			// What the plan says is what happens.
			err := change(h.ctx)
			if refused := flyball.CodeOf(err) == flyball.Forbidden; err != nil && !refused || refused != (tt.needs > 0) {
				t.Errorf("done, it fails with %v", err)
			}
		})
	}
}

// A sample of users tells what the rules alone cannot.
func TestTheShareOfASampleBoundsTheRisk(t *testing.T) {
	t.Parallel()
	sample := Sample{Users: flyball.Estimate{Value: 100_000, Low: 99_000, High: 101_000}}
	for i := range 2000 {
		country := "DE"
		if i < 4 {
			country = "FR"
		}
		sample.Contexts = append(sample.Contexts, SampledContext{At: time.Now(), Context: flyball.EvaluationContext{
			TargetingKey: "u" + string(rune('a'+i%26)) + strings.Repeat("x", i/26), Attributes: flyball.Attributes{"country": country},
		}})
	}
	h := newShop(t, func(context.Context, string) (Sample, error) { return sample, nil })
	rule := func(code string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := h.s.AddRule(ctx, AddRule{FlagIn: in(fastOf), Rule: flyball.Rule{
				ID: "land", If: flyball.Condition{Attribute: "country", Op: "in", Values: []any{code}}, Serve: flyball.Serve{Variant: "on"},
			}})
			return err
		}
	}
	for code, want := range map[string]flyball.Risk{"FR": flyball.RiskLow, "DE": flyball.RiskHigh} {
		p := h.plan(rule(code))
		if p.Risk != want || len(p.Previews) != 1 || p.Previews[0].Basis != "sample" {
			t.Errorf("%s: risk %s, want %s: %+v", code, p.Risk, want, p.Previews)
		}
	}
}

// A digest is the same for the same change, whoever makes it, whenever, and in
// whichever process; and another for any other.
func TestADigestIsOfExactlyOneChange(t *testing.T) {
	t.Parallel()
	h := newShop(t, nil)
	digest := func(change func(context.Context) error) string { return h.plan(change).Digest }
	all := map[string]string{}
	distinct := func(name string, change func(context.Context) error) {
		t.Helper()
		d := digest(change)
		if other, ok := all[d]; ok {
			t.Errorf("%s and %s have one digest", name, other)
		}
		all[d] = name
	}
	change := h.serve(kindOf, flyball.Serve{Variant: "b"})
	first := digest(change)
	distinct("b for all", change)
	distinct("safe for all", h.serve(kindOf, flyball.Serve{Variant: "safe"}))
	distinct("a kill", func(ctx context.Context) error { _, err := h.s.KillFlag(ctx, in(kindOf)); return err })
	distinct("a kill with another reason", func(ctx context.Context) error {
		f := in(kindOf)
		f.Reason = "another"
		_, err := h.s.KillFlag(ctx, f)
		return err
	})
	distinct("a rollout", h.start(true, 5_000, 10_000))
	distinct("a steeper rollout", h.start(true, 5_000, 10_001))
	distinct("a rollout without guardrails", h.start(false, 5_000, 10_000))
	distinct("an archived flag", func(ctx context.Context) error {
		_, err := h.s.ArchiveFlag(ctx, ArchiveFlag{Key: fastOf, Reason: "a test"})
		return err
	})
	big := func(n int64) func(context.Context) error {
		return func(ctx context.Context) error {
			f := newFlag("shop.limit.big")
			f.Type, f.Variants, f.SafeVariant = flyball.TypeInteger, flyball.Variants{"n": n}, "n"
			f.ExpiresAt = &flyball.Time{Time: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
			_, err := h.s.CreateFlag(ctx, f)
			return err
		}
	}
	distinct("a large number", big(9007199254740993))
	distinct("the next one", big(9007199254740992))
	for range 3 {
		if again := digest(change); again != first {
			t.Fatal("the same change has two digests")
		}
	}

	archive := func(ctx context.Context) error {
		_, err := h.s.ArchiveFlag(ctx, ArchiveFlag{Key: idle, Reason: "a test"})
		return err
	}
	before := digest(archive)
	if err := h.serve(idle, flyball.Serve{Variant: "on"})(h.ctx); err != nil {
		t.Fatal(err)
	}
	if digest(archive) == before {
		t.Error("what a flag serves is no part of the digest of its end")
	}

	other, err := New(t.Context(), h.db, Options{})
	if err != nil {
		t.Fatal(err)
	}
	bob := WithPrincipal(t.Context(), Principal{Actor: flyball.Actor{ID: "user:bob"}, Kind: flyball.TokenAPI, Rights: []flyball.Grants{flyball.Installation}})
	m := &Manner{DryRun: true}
	if _, err := other.SetDefault(WithManner(bob, m), SetDefault{FlagIn: in(kindOf), Default: flyball.Serve{Variant: "b"}}); err != nil || m.Plan().Digest != first {
		t.Errorf("another process has another digest (%v)", err)
	}
}

// Nothing is raised while production is frozen, save by breaking the glass; what
// retreats, and what nobody can notice, passes.
func TestAFreezeHoldsRaisesAndNothingElse(t *testing.T) {
	t.Parallel()
	h := newShop(t, nil)
	y := flyball.DefaultPolicy()
	y.Freezes = []flyball.Freeze{{From: flyball.Start{Time: flyball.Time{Time: time.Now().Add(-time.Hour)}}, To: flyball.Time{Time: time.Now().Add(time.Hour)}, Environments: []string{"production"}, Reason: "the holidays"}}
	must[flyball.Policy](t)(h.s.SetPolicy(h.ctx, SetPolicy{Policy: y, Reason: "a test"}))
	small := h.serve(fastOf, split(1))
	if p := h.plan(small); p.Risk != flyball.RiskLow || !strings.Contains(p.Refused, "the holidays") {
		t.Errorf("the plan is %+v", p)
	}
	wantCode(t, small(h.ctx), flyball.Forbidden, "")
	wantCode(t, small(WithManner(h.ctx, &Manner{Propose: &Proposal{Operation: "set_default", Input: json.RawMessage("{}")}})), flyball.Forbidden, "")
	for name, change := range map[string]func(context.Context) error{
		"a retreat": h.serve(kindOf, flyball.Serve{Variant: "safe"}), "what nobody evaluates": h.serve(idle, flyball.Serve{Variant: "on"}),
		"another environment": func(ctx context.Context) error {
			f := in(kindOf)
			f.Environment = "development"
			_, err := h.s.EnableFlag(ctx, f)
			return err
		},
	} {
		if err := change(h.ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := small(WithManner(h.ctx, &Manner{BreakGlass: true})); err != nil {
		t.Error(err)
	}
	if err := h.serve(fastOf, flyball.Serve{Variant: "off"})(h.ctx); err != nil {
		t.Fatal(err)
	}
	if err := h.start(true, 2, 3)(WithManner(h.ctx, &Manner{BreakGlass: true})); err != nil {
		t.Fatal(err)
	}
	if s := must[rollout.Situation](t)(h.s.Situation(t.Context(), must[RolloutView](t)(h.s.Rollout(h.ctx, RolloutID{ID: fastOf})).ID)); !strings.Contains(s.Frozen, "the holidays") {
		t.Errorf("a rollout may rise: %q", s.Frozen)
	}
}

// A policy may ask that some risk goes out by a guarded rollout only, and that
// even what nobody notices is approved.
func TestThePolicyIsObeyedToTheLetter(t *testing.T) {
	t.Parallel()
	h := newShop(t, nil)
	y := flyball.DefaultPolicy()
	y.Approvals[flyball.RiskMedium] = flyball.Need{Direct: -1}
	y.Approvals[flyball.RiskNone] = flyball.Need{Direct: 1}
	must[flyball.Policy](t)(h.s.SetPolicy(h.ctx, SetPolicy{Policy: y, Reason: "a test"}))
	if p := h.plan(h.serve(fastOf, split(50_000))); !strings.Contains(p.Refused, "rollout start") {
		t.Errorf("the plan is %+v", p)
	}
	if p := h.plan(h.start(true, 50_000)); p.Refused != "" || p.Needs.Number != 0 || !p.Staged {
		t.Errorf("the plan of a rollout is %+v", p)
	}
	if p := h.plan(h.serve(idle, flyball.Serve{Variant: "on"})); p.Needs.Number != 1 {
		t.Errorf("the plan of what nobody notices is %+v", p)
	}
	must[flyball.Environment](t)(h.s.UpdateEnvironment(h.ctx, PutEnvironment{Key: "production", Reason: "a test"}))
	if err := h.serve(kindOf, flyball.Serve{Variant: "b"})(h.ctx); err != nil {
		t.Errorf("in an environment that is not protected: %v", err)
	}
}
