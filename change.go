package flyball

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// An ActorID names who acts: "user:ann", "agent:release-bot", "service:ci" or
// "system:rollout-controller".
type ActorID string

// ControllerID is the actor of every change that the rollout controller makes.
const ControllerID ActorID = "system:rollout-controller"

// Kind returns what stands before the colon: user, agent, service or system;
// nothing if there is no name behind one.
func (a ActorID) Kind() string {
	kind, name, _ := strings.Cut(string(a), ":")
	if name == "" {
		return ""
	}
	return kind
}

// Valid says whether a has the form of an actor: an actor stands in each audit
// entry, and in an index over them. (As a regular expression, this would take 3
// MB.)
func (a ActorID) Valid() bool {
	kind, name, _ := strings.Cut(string(a), ":")
	n := utf8.RuneCountInString(name)
	return kind != "" && strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz") == "" && n >= 1 && n <= 128 &&
		utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !strings.ContainsRune("._@+-", r)
	})
}

// An Actor is who acts, through which token, and for whom.
type Actor struct {
	ID         ActorID `json:"id"`
	OnBehalfOf ActorID `json:"onBehalfOf,omitempty"` // the person behind an agent
	Token      string  `json:"token,omitempty"`      // the id of the token used
}

// An AuditEntry is the lasting record of one change. Every version of an
// environment's ruleset has exactly one entry, and the reverse; entries about
// teams, metrics, tokens and webhooks have no environment and no version. Seq rises by
// one, without gaps, over the whole installation.
type AuditEntry struct {
	Seq         int64           `json:"seq"`
	At          time.Time       `json:"at"`
	Actor       Actor           `json:"actor"`
	Action      string          `json:"action" example:"flag.kill"`
	Subject     string          `json:"subject" doc:"what was changed" example:"payments.checkout.new-flow"`
	Environment string          `json:"environment,omitempty"`
	Version     int64           `json:"version,omitempty"`
	Reason      string          `json:"reason"`
	Request     string          `json:"request,omitempty" doc:"the id shared by all entries of one request"`
	Edits       []Edit          `json:"edits" doc:"what was changed, before and after"`
	Evidence    json.RawMessage `json:"evidence,omitempty" doc:"what an automatic decision rested on"`
	BeforeHash  string          `json:"beforeHash,omitempty" doc:"SHA-256 of the ruleset before"`
	AfterHash   string          `json:"afterHash,omitempty" doc:"SHA-256 of the ruleset after"`
	Risk        Risk            `json:"risk,omitempty" doc:"how much it could hurt, as far as was known"`
	Previews    []Preview       `json:"previews,omitempty" doc:"who got something else by it, as far as was known"`
	Change      string          `json:"change,omitempty" doc:"the id of the request that was approved"`
	Approvals   []Approval      `json:"approvals,omitempty" doc:"that were used"`
	BreakGlass  bool            `json:"breakGlass,omitempty" doc:"whether it was made although others ought to have approved"`
	// Prev and Hash chain the log: nothing of it can be edited, taken out or
	// put elsewhere without a trace. They stay the last fields.
	Prev string `json:"prev,omitempty" doc:"the hash of the entry before"`
	Hash string `json:"hash,omitempty" doc:"SHA-256 of this entry's JSON, as it was written, without this field"`
}

// An Edit is one noun before and after a change; Before is absent when the
// noun was created, After when it was taken away.
type Edit struct {
	Noun        string          `json:"noun" example:"config" doc:"flag, config, segment, metric, rollout, environment, team, user, token, webhook or delivery"`
	Key         string          `json:"key"`
	Environment string          `json:"environment,omitempty"`
	Before      json.RawMessage `json:"before,omitempty"`
	After       json.RawMessage `json:"after,omitempty"`
}

// A TokenKind says which doors a token opens.
type TokenKind string

// The kinds of tokens.
const (
	TokenSDK    TokenKind = "sdk"    // rulesets, telemetry and evaluation of one environment
	TokenClient TokenKind = "client" // evaluation of client-visible flags of one environment; public by nature
	TokenAPI    TokenKind = "api"    // management, for a person or a service
	TokenAgent  TokenKind = "agent"  // management, for an agent
)

// A Token is what the platform keeps of a token: never its secret.
type Token struct {
	ID          string    `json:"id"`
	Kind        TokenKind `json:"kind" enum:"sdk,client,api,agent"`
	Name        string    `json:"name" doc:"what or who uses it"`
	Actor       ActorID   `json:"actor,omitempty" doc:"who acts with it (api and agent tokens)"`
	OnBehalfOf  ActorID   `json:"onBehalfOf,omitempty" doc:"the person behind an agent"`
	CreatedBy   ActorID   `json:"createdBy,omitempty" doc:"who made it, and answers for what is done with it"`
	Grants      Grants    `json:"grants,omitempty" doc:"what it may do at most (api tokens)"`
	Envelope    *Envelope `json:"envelope,omitempty" doc:"what it may do at most (agent tokens)"`
	Environment string    `json:"environment,omitempty" doc:"the environment it opens (sdk and client tokens)"`
	Flags       []string  `json:"flags,omitempty" doc:"globs of the flags it opens; all if empty" example:"payments.*"`
	CreatedAt   time.Time `json:"createdAt"`
	ExpiresAt   *Time     `json:"expiresAt,omitempty"`
	RevokedAt   *Time     `json:"revokedAt,omitempty"`
	LastUsed    *Time     `json:"lastUsed,omitempty" doc:"when it last opened something, to the minute"`
}
