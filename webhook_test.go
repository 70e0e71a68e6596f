package flyball_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/flyballdev/flyball"
)

func TestAWebhookTellsEveryProblemAtOnce(t *testing.T) {
	fields := func(w flyball.Webhook, to flyball.WebhookTarget) (all []string) {
		for _, p := range flyball.Problems(w.Validate(to)) {
			if p.Code != flyball.Invalid {
				t.Errorf("%v has code %s", p, p.Code)
			}
			all = append(all, p.Field)
		}
		return all
	}
	good := flyball.Webhook{Key: "payments-alerts", Kind: flyball.WebhookGeneric, Environments: []string{"production"}, Flags: []string{"payments.*"}, Actions: []string{"rollout.*", "flag.kill"}}
	url := "https://example.com/hooks"
	long := strings.Repeat("s", 16)
	slack := good
	slack.Kind = flyball.WebhookSlack
	for _, tt := range []struct {
		what string
		w    flyball.Webhook
		to   flyball.WebhookTarget
		want []string
	}{
		{"good", good, flyball.WebhookTarget{URL: url, Secret: long}, nil},
		{"without a secret", good, flyball.WebhookTarget{URL: "http://10.0.0.1:8080/hooks"}, nil},
		{"Slack", slack, flyball.WebhookTarget{URL: "https://hooks.slack.com/services/T000/B000/XXX"}, nil},
		{"nothing", flyball.Webhook{}, flyball.WebhookTarget{}, []string{"key", "kind", "url"}},
		{"all of it", flyball.Webhook{
			Key: "No Key", Kind: "pager", Description: strings.Repeat("x", 2001), Environments: []string{"production", "A B"},
			Flags: []string{"shop.[", "a/b", ""}, Actions: make([]string, 101),
		}, flyball.WebhookTarget{URL: "ftp://example.com", Secret: "short"}, []string{"key", "description", "kind", "environments[1]", "flags[0]", "flags[1]", "flags[2]", "actions", "url", "secret"}},
		{"Slack in clear", slack, flyball.WebhookTarget{URL: "http://hooks.slack.com/services", Secret: long}, []string{"url", "secret"}},
		{"a file", good, flyball.WebhookTarget{URL: "file:///etc/passwd"}, []string{"url"}},
		{"a password", good, flyball.WebhookTarget{URL: "https://ann:secret@example.com"}, []string{"url"}},
		{"no scheme", good, flyball.WebhookTarget{URL: "example.com/hooks"}, []string{"url"}},
		{"no host", good, flyball.WebhookTarget{URL: "https://:443/"}, []string{"url"}},
		{"no URL at all", good, flyball.WebhookTarget{URL: "://"}, []string{"url"}},
		{"a long URL", good, flyball.WebhookTarget{URL: url + strings.Repeat("x", 2000)}, []string{"url"}},
		{"a secret with a line", good, flyball.WebhookTarget{URL: url, Secret: long + "\n"}, []string{"secret"}},
	} {
		if got := fields(tt.w, tt.to); !slices.Equal(got, tt.want) {
			t.Errorf("%s: it blames %q, want %q", tt.what, got, tt.want)
		}
	}
	if err := good.Validate(flyball.WebhookTarget{URL: "https://ann:hush@example.com", Secret: "tiny-secret"}); strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "tiny-secret") {
		t.Errorf("the problem tells the secret: %v", err)
	}
}

func TestAHostIsToldWithoutThePath(t *testing.T) {
	for url, want := range map[string]string{"https://hooks.slack.com/services/T/B/X?y=z": "hooks.slack.com", "http://[::1]:80/a": "[::1]:80", "://": ""} {
		if got := (flyball.WebhookTarget{URL: url}).Host(); got != want {
			t.Errorf("%s is told as %q, want %q", url, got, want)
		}
	}
}

func TestWhichEntriesAWebhookWants(t *testing.T) {
	const checkout = "payments.checkout"
	off := false
	kill := flyball.AuditEntry{Action: "flag.kill", Subject: checkout, Environment: "production", Version: 4, Edits: []flyball.Edit{{Noun: "config", Key: checkout, Environment: "production"}}}
	pause := flyball.AuditEntry{Action: "rollout.pause", Subject: checkout, Environment: "production", Edits: []flyball.Edit{{Noun: "rollout", Key: "4f1c", Environment: "production"}}}
	renew := flyball.AuditEntry{Action: "rollout.renew", Subject: checkout, Environment: "production", Version: 5, Edits: pause.Edits}
	segment := flyball.AuditEntry{Action: "segment.update", Subject: "testers", Environment: "production", Version: 6, Edits: []flyball.Edit{{Noun: "segment", Key: "testers"}}}
	files := flyball.AuditEntry{Action: "apply", Subject: "files", Environment: "staging", Version: 7, Edits: []flyball.Edit{{Noun: "team", Key: "t"}, {Noun: "flag", Key: "search.new"}, {Noun: "flag", Key: checkout}}}
	token := flyball.AuditEntry{Action: "token.create", Subject: "0123", Edits: []flyball.Edit{{Noun: "token", Key: "0123"}}}
	proposal := flyball.AuditEntry{Action: "change.propose", Subject: checkout, Environment: "production", Edits: []flyball.Edit{{Noun: "change", Key: "0f3a", Environment: "production"}}}
	glass := flyball.AuditEntry{Action: "flag.enable", Subject: checkout, Environment: "production", Version: 8, Edits: kill.Edits, BreakGlass: true}
	all := []flyball.AuditEntry{kill, pause, renew, segment, files, token, proposal, glass}
	for _, tt := range []struct {
		what string
		w    flyball.Webhook
		want string
	}{
		{"nothing said", flyball.Webhook{}, "flag.kill rollout.pause segment.update apply change.propose flag.enable"},
		{"disabled", flyball.Webhook{Enabled: &off}, ""},
		{"an environment", flyball.Webhook{Environments: []string{"staging", "development"}}, "apply"},
		{"flags", flyball.Webhook{Flags: []string{"search.*", "payments.*"}}, "flag.kill rollout.pause apply change.propose flag.enable"},
		{"another's flags", flyball.Webhook{Flags: []string{"shop.*"}}, ""},
		{"a flag among others", flyball.Webhook{Flags: []string{"search.new"}}, "apply"},
		{"actions", flyball.Webhook{Actions: []string{"rollout.*", "flag.kill"}}, "flag.kill rollout.pause rollout.renew flag.enable"},
		{"every action", flyball.Webhook{Actions: []string{"*"}}, "flag.kill rollout.pause rollout.renew segment.update apply token.create change.propose flag.enable"},
		{"all three", flyball.Webhook{Environments: []string{"production"}, Flags: []string{"payments.*"}, Actions: []string{"flag.*"}}, "flag.kill flag.enable"},
	} {
		var got []string
		for _, e := range all {
			if tt.w.Wants(e) {
				got = append(got, e.Action)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: it wants %q, want %q", tt.what, got, tt.want)
		}
	}
}
