package flyball

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// A Webhook is a receiver that is told what changes. Where it is and what
// signs its messages stand apart, in its [WebhookTarget].
type Webhook struct {
	Key          string      `json:"key" example:"payments-alerts"`
	Description  string      `json:"description,omitempty" doc:"what it is for"`
	Kind         WebhookKind `json:"kind" enum:"slack,generic" doc:"slack posts text blocks to a Slack incoming webhook; generic posts the audit entry as JSON, signed"`
	Environments []string    `json:"environments,omitempty" doc:"only what happens in these; all if empty" example:"production"`
	Flags        []string    `json:"flags,omitempty" doc:"globs of the flags that it is told of; all if empty" example:"payments.*"`
	Actions      []string    `json:"actions,omitempty" doc:"globs of the actions that it is told of; all that concerns what users get if empty" example:"rollout.*"`
	Enabled      *bool       `json:"enabled,omitempty" doc:"whether it is told anything (default true)"`
}

// A WebhookKind says in what form a webhook is told.
type WebhookKind string

// The kinds of webhooks.
const (
	WebhookSlack   WebhookKind = "slack"   // text blocks, as Slack's incoming webhooks take them
	WebhookGeneric WebhookKind = "generic" // the audit entry as JSON with a message, signed
)

// A WebhookTarget is where a webhook is and the key that signs what it is
// told. Whoever knows a Slack webhook's URL can write to its channel, so the
// URL is as secret as the key: both can be written, and neither is ever told.
type WebhookTarget struct {
	URL    string `json:"url,omitempty" doc:"where it listens; write only, and left out of an update it stays" example:"https://example.com/hooks/flyball"`
	Secret string `json:"secret,omitempty" doc:"the key that signs messages of the generic kind; write only, and left out of an update it stays"`
}

// Limits of webhooks.
const (
	MaxWebhooks      = 100
	maxWebhookGlobs  = 100
	minWebhookSecret = 16
	maxWebhookSecret = 256
	maxWebhookURL    = 2000
)

// Validate reports every problem of the webhook and its target at once.
func (w Webhook) Validate(to WebhookTarget) error {
	p := newProblems()
	p.key("key", w.Key)
	p.text("description", w.Description)
	oneOf(p, "kind", w.Kind, WebhookSlack, WebhookGeneric)
	for i, e := range w.Environments {
		p.key(fmt.Sprintf("environments[%d]", i), e)
	}
	p.globs("environments", w.Environments)
	p.globs("flags", w.Flags)
	p.globs("actions", w.Actions)
	to.validate(p, w.Kind)
	return p.err()
}

func (to WebhookTarget) validate(p problems, kind WebhookKind) {
	u, err := url.Parse(to.URL)
	switch {
	case to.URL == "" || err != nil || u.Hostname() == "" || len(to.URL) > maxWebhookURL:
		p.add("url", "is not a URL such as https://example.com/hooks/flyball, of at most %d bytes", maxWebhookURL)
	case u.Scheme != "http" && u.Scheme != "https":
		p.add("url", "must begin with http:// or https://")
	case u.User != nil:
		p.add("url", "must hold no user name and no password; the signature proves who is calling")
	case kind == WebhookSlack && u.Scheme != "https":
		p.add("url", "a Slack webhook begins with https://")
	}
	switch n := len(to.Secret); {
	case n == 0:
	case kind == WebhookSlack:
		p.add("secret", "Slack checks no signature: leave it out")
	case n < minWebhookSecret || n > maxWebhookSecret || strings.ContainsFunc(to.Secret, func(r rune) bool { return r < ' ' || r == 0x7f }):
		p.add("secret", "has %d to %d bytes, without control characters", minWebhookSecret, maxWebhookSecret)
	}
}

// Host returns where the webhook is as far as people may see it: the host
// without the path, which may be a secret.
func (to WebhookTarget) Host() string {
	u, err := url.Parse(to.URL)
	if err != nil {
		return ""
	}
	return u.Host
}

// globs checks patterns of keys.
func (p problems) globs(field string, globs []string) {
	if len(globs) > maxWebhookGlobs {
		p.add(field, "%d of them, at most %d", len(globs), maxWebhookGlobs)
		return
	}
	for i, g := range globs {
		if _, err := path.Match(g, "x"); err != nil || g == "" || len(g) > 128 || strings.Contains(g, "/") {
			p.add(fmt.Sprintf("%s[%d]", field, i), "%s is not a glob such as payments.*", quote(g))
		}
	}
}

// On says whether the webhook is told anything.
func (w Webhook) On() bool { return w.Enabled == nil || *w.Enabled }

// Wants says whether the webhook is to be told of an audit entry. Without
// actions of its own it is told what concerns users: every new ruleset, every
// change that waits for approval, and every move of a rollout, save for the
// renewal of a lease, which changes nothing for anybody. Of a glass that was
// broken it is told whatever its actions are.
func (w Webhook) Wants(e AuditEntry) bool {
	switch {
	case !w.On(), len(w.Environments) > 0 && !slices.Contains(w.Environments, e.Environment):
		return false
	case e.BreakGlass:
	case len(w.Actions) > 0 && !matches(w.Actions, e.Action):
		return false
	case len(w.Actions) == 0 && (e.Version == 0 && !strings.HasPrefix(e.Action, "rollout.") && e.Action != "change.propose" || e.Action == "rollout.renew"):
		return false
	}
	return len(w.Flags) == 0 || slices.ContainsFunc(e.flags(), func(flag string) bool { return matches(w.Flags, flag) })
}

// flags are the flags that an entry is about.
func (e AuditEntry) flags() []string {
	var keys []string
	for _, edit := range e.Edits {
		switch edit.Noun {
		case "flag", "config":
			keys = append(keys, edit.Key)
		case "rollout", "change":
			keys = append(keys, e.Subject)
		}
	}
	return keys
}

func matches(globs []string, s string) bool {
	return slices.ContainsFunc(globs, func(g string) bool { ok, _ := path.Match(g, s); return ok })
}

// A DeliveryState says how far a delivery has come.
type DeliveryState string

// The states of deliveries.
const (
	DeliveryPending   DeliveryState = "pending"   // to be told, or told again
	DeliveryDelivered DeliveryState = "delivered" // the receiver took it
	DeliveryDead      DeliveryState = "dead"      // given up
)

// A Delivery is one audit entry on its way to one webhook.
type Delivery struct {
	Webhook  string        `json:"webhook"`
	Seq      int64         `json:"seq" doc:"the audit entry's number, and the message's id"`
	State    DeliveryState `json:"state" enum:"pending,delivered,dead"`
	Attempts int           `json:"attempts"`
	Due      *Time         `json:"due,omitempty" doc:"when it is tried next"`
	Status   int           `json:"status,omitempty" doc:"the HTTP status of the last answer"`
	Error    string        `json:"error,omitempty" doc:"why the last attempt failed"`
	Queued   time.Time     `json:"queued" doc:"when it was found to be the webhook's"`
	At       time.Time     `json:"at" doc:"when anything of it changed last"`
}
