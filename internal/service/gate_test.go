package service

import (
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

// A gate of a rollout is opened by those who approve changes there, each once.
func TestAGateWantsApproversAndNobodyElse(t *testing.T) {
	t.Parallel()
	h := newShop(t, nil)
	plan := flyball.RolloutPlan{
		Flag: fastOf, Environment: "production", Treatment: "on", Control: "off", Steps: []flyball.Step{{PPM: 1, Gates: []flyball.Gate{{Approval: 2}}}, {PPM: 2}},
	}
	must[RolloutView](t)(h.s.StartRollout(h.ctx, StartRollout{RolloutPlan: plan, Reason: "a test"}))
	pass := func(who flyball.ActorID, grants ...flyball.Grant) (RolloutView, error) {
		p := Principal{Actor: flyball.Actor{ID: who}, Kind: flyball.TokenAPI, Rights: []flyball.Grants{grants}}
		return h.s.PassGate(WithPrincipal(t.Context(), p), PassGate{RolloutIn: RolloutIn{ID: fastOf, Reason: "looks well"}})
	}
	approver := flyball.Grant{Role: flyball.RoleApprover, Environment: "production", Team: "default"}
	for who, grant := range map[flyball.ActorID]flyball.Grant{
		"user:ann": approver, "service:ci": approver, "user:viewer": {Role: flyball.RoleViewer}, "user:editor": {Role: flyball.RoleEditor},
		"user:elsewhere": {Role: flyball.RoleApprover, Environment: "development"}, "user:other": {Role: flyball.RoleApprover, Team: "payments"},
	} {
		if _, err := pass(who, grant); flyball.CodeOf(err) != flyball.Forbidden {
			t.Errorf("%s with %+v: %v", who, grant, err)
		}
	}
	unlocked := Principal{Actor: flyball.Actor{ID: "user:dan"}, Kind: flyball.TokenAPI, Rights: []flyball.Grants{{approver}}, Session: true, SteppedUp: now().Add(-time.Hour)}
	if _, err := h.s.PassGate(WithPrincipal(t.Context(), unlocked), PassGate{RolloutIn: RolloutIn{ID: fastOf, Reason: "looks well"}}); flyball.CodeOf(err) != flyball.Forbidden {
		t.Errorf("a screen that was left open: %v", err)
	}
	for _, who := range []flyball.ActorID{"user:bob", "user:bob", "user:cat"} {
		must[RolloutView](t)(pass(who, approver))
	}
	r := must[RolloutView](t)(h.s.Rollout(h.ctx, RolloutID{ID: fastOf}))
	if len(r.Passed) != 2 {
		t.Errorf("it was passed by %+v", r.Passed)
	}
}

// Who stands behind an agent opens no gate of what it started.
func TestAGateIsNotOpenedByAnAgentsPerson(t *testing.T) {
	t.Parallel()
	h := newShop(t, nil)
	plan := pulse(fastOf, 1, time.Minute)
	plan.Steps = []flyball.Step{{PPM: 1, Hold: plan.Steps[0].Hold, Gates: []flyball.Gate{{Approval: 1}}}, {PPM: 2, Hold: plan.Steps[0].Hold}}
	must[RolloutView](t)(h.s.StartRollout(asAgent(t, "bot", narrow()), plan))
	open := PassGate{RolloutIn: RolloutIn{ID: fastOf, Reason: "looks well"}}
	if _, err := h.s.PassGate(h.ctx, open); flyball.CodeOf(err) != flyball.Forbidden || !strings.Contains(err.Error(), "whoever stands behind them") {
		t.Errorf("its person: %v", err)
	}
	bob := Principal{Actor: flyball.Actor{ID: "user:bob"}, Kind: flyball.TokenAPI, Rights: []flyball.Grants{flyball.Installation}}
	must[RolloutView](t)(h.s.PassGate(WithPrincipal(t.Context(), bob), open))
}
