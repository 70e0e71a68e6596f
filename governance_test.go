package flyball_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

func TestGrants(t *testing.T) {
	payments := flyball.Grants{
		{Role: flyball.RoleEditor, Team: "payments"},
		{Role: flyball.RoleApprover, Environment: "production", Team: "payments"},
		{Role: flyball.RoleAdmin, Environment: "staging"},
	}
	for _, tt := range []struct {
		name              string
		grants            flyball.Grants
		role              flyball.Role
		environment, team string
		want              bool
	}{
		{"an editor edits what the team owns, anywhere", payments, flyball.RoleEditor, "production", "payments", true},
		{"and nothing of others", payments, flyball.RoleEditor, "production", "search", false},
		{"an approver approves where it was granted", payments, flyball.RoleApprover, "production", "payments", true},
		{"and nowhere else", payments, flyball.RoleApprover, "development", "payments", false},
		{"an admin of an environment does everything there", payments, flyball.RoleEditor, "staging", "search", true},
		{"a grant for one team is none for all", payments, flyball.RoleEditor, "production", "", false},
		{"everybody reads what any grant opens", payments, flyball.RoleViewer, "production", "payments", true},
		{"an editor is no approver", flyball.Grants{{Role: flyball.RoleEditor}}, flyball.RoleApprover, "production", "payments", false},
		{"whoever runs the installation does all", flyball.Installation, flyball.RoleApprover, "production", "payments", true},
		{"nobody does nothing", nil, flyball.RoleViewer, "production", "payments", false},
	} {
		if got := tt.grants.Allow(tt.role, tt.environment, tt.team); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if payments.Runs() || !flyball.Installation.Runs() {
		t.Error("an admin of one environment does not run the installation")
	}
}

func TestGovernanceTellsEveryProblem(t *testing.T) {
	later := flyball.Time{Time: time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)}
	bad := flyball.DefaultPolicy()
	bad.Approvals = map[flyball.Risk]flyball.Need{flyball.RiskHigh: {Direct: 9, Staged: -1}}
	bad.TTL = 0
	bad.Freezes = []flyball.Freeze{{From: flyball.Start{Time: later}, To: later, Environments: []string{"no key"}}}
	for name, tt := range map[string]struct {
		err  error
		want []string
	}{
		"policy": {bad.Validate(), []string{
			"approvals.none", "approvals.low", "approvals.medium", "approvals.high.direct", "approvals.high.staged",
			"approvalTTL", "freezes[0].to", "freezes[0].reason", "freezes[0].environments[0]",
		}},
		"envelope": {flyball.Envelope{Flags: []string{"["}, MaxPPM: -1, ChangesPerHour: -1, MaxRiskTier: "huge", Kinds: []flyball.Kind{"toy"}}.Validate(), []string{
			"flags[0]", "environments", "kinds", "maxRiskTier", "maxPpm", "changesPerHour",
		}},
		"user": {flyball.User{ID: "ann", Email: "nowhere", Grants: flyball.Grants{{Role: "king", Team: "no team"}}}.Validate(), []string{
			"id", "email", "grants[0].role", "grants[0].team",
		}},
	} {
		var got []string
		for _, p := range flyball.Problems(tt.err) {
			got = append(got, p.Field)
		}
		if len(got) != len(tt.want) {
			t.Errorf("%s: problems with %v, want %v", name, got, tt.want)
			continue
		}
		for i := range got {
			if got[i] != tt.want[i] {
				t.Errorf("%s: problems with %v, want %v", name, got, tt.want)
			}
		}
	}
	if err := flyball.DefaultPolicy().Validate(); err != nil {
		t.Error(err)
	}
}

func TestAFreezeHoldsFromItsFirstMomentUpToItsLast(t *testing.T) {
	from := time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC)
	to := from.AddDate(0, 0, 14)
	y := flyball.Policy{Freezes: []flyball.Freeze{{From: flyball.Start{Time: flyball.Time{Time: from}}, To: flyball.Time{Time: to}, Environments: []string{"production"}, Reason: "the holidays"}}}
	for _, tt := range []struct {
		environment string
		at          time.Time
		want        bool
	}{
		{"production", from.Add(-1), false}, {"production", from, true}, {"production", to.Add(-1), true}, {"production", to, false}, {"staging", from, false},
	} {
		if _, got := y.Frozen(tt.environment, tt.at); got != tt.want {
			t.Errorf("%s at %v: %v", tt.environment, tt.at, got)
		}
	}
}

// The whole of each day that it names is frozen.
func TestAFreezeOfBareDatesHasItsFirstDayAndItsLast(t *testing.T) {
	y := flyball.DefaultPolicy()
	if err := json.Unmarshal([]byte(`[{"from": "2026-12-20", "to": "2027-01-02", "reason": "the holidays"}]`), &y.Freezes); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]bool{
		"2026-12-19T23:59:59Z": false, "2026-12-20T00:00:00Z": true, "2027-01-02T23:59:59Z": true, "2027-01-03T00:00:00Z": false,
	} {
		moment, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := y.Frozen("production", moment); got != want {
			t.Errorf("frozen at %s: %v, want %v", at, got, want)
		}
	}
	for text, want := range map[string]string{
		`{"from": "2026-12-20", "to": "2026-12-20"}`:                     `"from":"2026-12-20T00:00:00Z","to":"2026-12-21T00:00:00Z"`, // one day
		`{"from": "2026-12-20T18:00:00+02:00", "to": "2027-01-02"}`:      `"from":"2026-12-20T16:00:00Z"`,
		`{"from": "2026-12-20T00:00:00Z", "to": "2027-01-02T00:00:00Z"}`: `"from":"2026-12-20T00:00:00Z","to":"2027-01-02T00:00:00Z"`, // as it is told
	} {
		var f flyball.Freeze
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatal(err)
		}
		if told, err := json.Marshal(f); err != nil || !strings.Contains(string(told), want) {
			t.Errorf("%s is told as %s, %v", text, told, err)
		}
	}
	for _, text := range []string{`{"from": "20.12.2026"}`, `{"from": 7}`} {
		if err := json.Unmarshal([]byte(text), new(flyball.Freeze)); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}
