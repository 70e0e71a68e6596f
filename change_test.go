package flyball_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
)

// An actor without a name, or without a kind, is of no kind: no rule that asks
// for a person takes it for one.
func TestTheKindOfAnActor(t *testing.T) {
	for id, want := range map[flyball.ActorID]string{
		"user:ann": "user", "agent:release-bot": "agent", "service:ci": "service", flyball.ControllerID: "system", "user:ann:x": "user",
		"user:": "", "user": "", "": "", ":ann": "",
	} {
		if got := id.Kind(); got != want {
			t.Errorf("%q: got %q, want %q", id, got, want)
		}
	}
}

// written checks what v is written as, and that it is read as v again.
func written[T any](t *testing.T, v T, want string) {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(body)); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	var again T
	if err := json.Unmarshal(body, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v, again); diff != "" {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
}

func TestAnAuditEntryIsWrittenAsItIsKept(t *testing.T) {
	written(t, flyball.AuditEntry{
		Seq: 7, At: at(19).Time, Actor: flyball.Actor{ID: "agent:release-bot", OnBehalfOf: "user:ann", Token: "0f3a"}, Action: "flag.kill",
		Subject: "payments.checkout.new-flow", Environment: "production", Version: 12, Reason: "error rate doubled", Request: "r1",
		Edits:      []flyball.Edit{{Noun: "config", Key: "payments.checkout.new-flow", Environment: "production", Before: json.RawMessage(`{"n":9007199254740993}`), After: json.RawMessage(`{}`)}},
		BeforeHash: "aa", AfterHash: "bb",
	}, `{"seq":7,"at":"2026-11-21T19:00:00Z","actor":{"id":"agent:release-bot","onBehalfOf":"user:ann","token":"0f3a"},"action":"flag.kill",`+
		`"subject":"payments.checkout.new-flow","environment":"production","version":12,"reason":"error rate doubled","request":"r1",`+
		`"edits":[{"noun":"config","key":"payments.checkout.new-flow","environment":"production","before":{"n":9007199254740993},"after":{}}],"beforeHash":"aa","afterHash":"bb"}`)
	written(t, flyball.AuditEntry{Seq: 8, At: at(19).Time, Actor: flyball.Actor{ID: "user:ann"}, Action: "team.create", Subject: "payments-team", Reason: "new"},
		`{"seq":8,"at":"2026-11-21T19:00:00Z","actor":{"id":"user:ann"},"action":"team.create","subject":"payments-team","reason":"new","edits":null}`)
}

func TestATokenIsWrittenWithoutItsSecret(t *testing.T) {
	written(t, flyball.Token{ID: "0f3a", Kind: flyball.TokenSDK, Name: "checkout", Environment: "production", Flags: []string{"payments.*"}, CreatedAt: at(19).Time, ExpiresAt: at(20)},
		`{"id":"0f3a","kind":"sdk","name":"checkout","environment":"production","flags":["payments.*"],"createdAt":"2026-11-21T19:00:00Z","expiresAt":"2026-11-21T20:00:00Z"}`)
	written(t, flyball.Token{ID: "77", Kind: flyball.TokenAgent, Name: "bot", Actor: "agent:bot", OnBehalfOf: "user:ann", CreatedAt: at(19).Time, RevokedAt: at(21)},
		`{"id":"77","kind":"agent","name":"bot","actor":"agent:bot","onBehalfOf":"user:ann","createdAt":"2026-11-21T19:00:00Z","revokedAt":"2026-11-21T21:00:00Z"}`)
}

func TestAReferenceIsWrittenAsAPlace(t *testing.T) {
	written(t, flyball.Reference{Flag: "payments.checkout.new-flow", File: "pay/pay.go", Line: 12}, `{"flag":"payments.checkout.new-flow","file":"pay/pay.go","line":12}`)
}
