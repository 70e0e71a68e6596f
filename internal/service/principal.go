package service

import (
	"context"
	"path"
	"time"

	"github.com/flyballdev/flyball"
)

// A Principal is who makes a request, as its token proves.
type Principal struct {
	flyball.Actor
	Kind        flyball.TokenKind
	Environment string   // sdk and client tokens: the one that they open
	Flags       []string // globs of the flags that it may touch; all if empty
	// Rights are sets of grants, each of which must allow what is done: those of
	// the token, and those of the person who acts with it or behind it.
	Rights []flyball.Grants
	// Envelope bounds an agent, whatever its person may; an agent without one may
	// change nothing.
	Envelope *flyball.Envelope
	Class    string // of an sdk or client token: those of one class see the same of an environment
	Request  string // the id of the request
	// Session says that a person signed in by a browser, and SteppedUp when they
	// last proved who they are.
	Session   bool
	SteppedUp time.Time
}

// An Access is what a capability needs of whoever uses it. Every row of the
// surfaces names one; there is no default.
type Access string

// The accesses.
const (
	Read    Access = "read"    // see flags, rollouts, evidence and the audit log
	Write   Access = "write"   // change what users get
	Approve Access = "approve" // consent to what others propose; for people
	Admin   Access = "admin"   // environments, teams, tokens and policy
	SDK     Access = "sdk"     // rulesets and telemetry of one environment
	OFREP   Access = "ofrep"   // evaluation in one environment
)

type principalKey struct{}

// WithPrincipal returns ctx with the principal on whose behalf it runs.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

func principalOf(ctx context.Context) (Principal, error) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	if !ok {
		return Principal{}, flyball.Errorf(flyball.Unauthenticated, "no token: send one as \"Authorization: Bearer fb_…\"")
	}
	return p, nil
}

// controller is the principal of the rollout controller.
var controller = Principal{Actor: flyball.Actor{ID: flyball.ControllerID}, Kind: flyball.TokenAPI}

// AsController returns ctx with the rollout controller as its principal.
func AsController(ctx context.Context) context.Context { return WithPrincipal(ctx, controller) }

// Allow says whether a principal has an access at all. What it opens is narrowed
// further: to flags by may, and, once a change is staged, by roles, envelopes and
// policy.
func Allow(p *Principal, access Access) error {
	switch access {
	case SDK:
		if p.Kind == flyball.TokenSDK {
			return nil
		}
	case OFREP:
		if p.Kind == flyball.TokenSDK || p.Kind == flyball.TokenClient {
			return nil
		}
	case Read, Write:
		if p.Kind == flyball.TokenAPI || p.Kind == flyball.TokenAgent {
			return nil
		}
	case Approve:
		if p.Kind == flyball.TokenAPI && p.ID.Kind() == "user" {
			return nil
		}
	case Admin:
		if p.Kind == flyball.TokenAPI && len(p.Flags) == 0 && (p.runs() || p.automatic()) {
			return nil
		}
	}
	return flyball.Errorf(flyball.Forbidden, "this token, of kind %s, does not open this door; it takes %s", p.Kind, kindsFor(access))
}

func kindsFor(access Access) string {
	switch access {
	case SDK:
		return "an sdk token of the environment"
	case OFREP:
		return "an sdk or client token of the environment"
	case Approve:
		return "an api token of a person"
	case Admin:
		return "an api token, not limited to some flags, of somebody who runs the installation"
	}
	return "an api or agent token"
}

// may says whether p may touch a flag. An empty flag is every flag.
func (p Principal) may(flag string) error {
	if len(p.Flags) == 0 || flag != "" && matchAny(p.Flags, flag) {
		return nil
	}
	return flyball.Errorf(flyball.Forbidden, "this token is limited to flags %v", p.Flags)
}

func matchAny(globs []string, key string) bool {
	for _, g := range globs {
		if ok, _ := path.Match(g, key); ok {
			return true
		}
	}
	return false
}

// PrincipalOf returns the principal of ctx; the zero one, which may do
// nothing, if there is none.
func PrincipalOf(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}

// Opens says whether the principal's token opens a flag.
func (p Principal) Opens(flag string) bool { return p.may(flag) == nil }
