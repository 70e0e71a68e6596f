package service

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// NewToken is what is told of a token when it is made: its secret, once.
type NewToken struct {
	flyball.Token
	Secret string `json:"secret" doc:"the token itself; it is shown once and never again"`
}

// CreateToken asks for a token.
type CreateToken struct {
	Kind        flyball.TokenKind `json:"kind" enum:"sdk,client,api,agent" doc:"sdk and client tokens open one environment; api and agent tokens manage"`
	Name        string            `json:"name" minLength:"1" maxLength:"100" doc:"what or who uses it"`
	Environment string            `json:"environment,omitempty" doc:"for sdk and client tokens"`
	Flags       []string          `json:"flags,omitempty" doc:"globs of the flags that it opens; all if empty" example:"payments.*"`
	Actor       flyball.ActorID   `json:"actor,omitempty" doc:"who acts with it, such as user:ann or service:ci"`
	OnBehalfOf  flyball.ActorID   `json:"onBehalfOf,omitempty" doc:"the person behind an agent"`
	Grants      flyball.Grants    `json:"grants,omitempty" doc:"what it may do at most (api tokens; default: everything that its actor may)"`
	Envelope    *flyball.Envelope `json:"envelope,omitempty" doc:"what it may do at most (agent tokens)"`
	ExpiresAt   *flyball.Time     `json:"expiresAt,omitempty" doc:"from when on it opens nothing; never if empty, and after 24 hours for an agent's" example:"2027-02-01"`
	Reason      string            `json:"reason" doc:"why it is made"`
}

func (in CreateToken) validate() error {
	var errs []error
	add := func(field, format string, args ...any) {
		errs = append(errs, flyball.FieldErrorf(field, format, args...))
	}
	opensOne := in.Kind == flyball.TokenSDK || in.Kind == flyball.TokenClient
	if opensOne != (in.Environment != "") {
		add("environment", "sdk and client tokens name the one environment that they open, others none")
	}
	if opensOne && (in.Actor != "" || in.OnBehalfOf != "") {
		add("actor", "only api and agent tokens act")
	}
	switch kind := in.Actor.Kind(); {
	case in.Kind == flyball.TokenAgent && (kind != "agent" || in.OnBehalfOf.Kind() != "user"):
		add("actor", "an agent token acts as agent:NAME, on behalf of user:NAME")
	case in.Kind == flyball.TokenAPI && kind != "user" && kind != "service":
		add("actor", "an api token acts as user:NAME or service:NAME")
	}
	for field, id := range map[string]flyball.ActorID{"actor": in.Actor, "onBehalfOf": in.OnBehalfOf} {
		if id != "" && !id.Valid() {
			add(field, "is a kind and a name of at most 128 letters, digits and . _ @ + -, such as user:ann")
		}
	}
	if len(in.Grants) > 0 && in.Kind != flyball.TokenAPI {
		add("grants", "api tokens alone have grants: an sdk or client token opens one environment, an agent has an envelope")
	}
	if err := in.Grants.Validate(); err != nil {
		errs = append(errs, err)
	}
	if err := in.validateEnvelope(); err != nil {
		errs = append(errs, err)
	}
	if len(in.Flags) > 100 {
		add("flags", "%d globs, at most 100", len(in.Flags))
	}
	for _, g := range in.Flags {
		if _, err := path.Match(g, "x"); err != nil || strings.Contains(g, "/") || len(g) > 128 {
			add("flags", "%q is not a glob such as payments.*", g)
		}
	}
	if in.ExpiresAt != nil && !in.ExpiresAt.After(time.Now()) {
		add("expiresAt", "lies in the past")
	}
	return errors.Join(errs...)
}

// CreateToken makes a token and tells its secret, once.
func (s *Service) CreateToken(ctx context.Context, in CreateToken) (NewToken, error) {
	if kind := map[flyball.TokenKind]string{flyball.TokenAPI: "service:", flyball.TokenAgent: "agent:"}[in.Kind]; in.Actor == "" && kind != "" {
		in.Actor = flyball.ActorID(kind + strings.ReplaceAll(strings.ToLower(in.Name), " ", "-"))
	}
	if err := in.validate(); err != nil {
		return NewToken{}, err
	}
	in = in.expiring(now())
	token, secret := mint(in)
	_, err := s.change(ctx, changeOf{
		access: Admin, action: "token.create", subject: token.ID, reason: in.Reason,
		apply: func(e *edit) error {
			if err := e.agentToken(in); err != nil {
				return err
			}
			if in.Environment != "" {
				if _, err := e.tx.Environment(in.Environment); err != nil {
					return err
				}
			}
			if err := e.placesExist(in.Grants); err != nil {
				return err
			}
			token.CreatedBy = e.principal.ID
			return e.insertToken(token, hash(secret))
		},
	})
	if err != nil {
		return NewToken{}, err
	}
	return NewToken{Token: token, Secret: secret}, nil
}

func mint(in CreateToken) (flyball.Token, string) {
	t := flyball.Token{
		ID: newID(6), Kind: in.Kind, Name: in.Name, Actor: in.Actor, OnBehalfOf: in.OnBehalfOf,
		Environment: in.Environment, Flags: in.Flags, Grants: in.Grants, Envelope: in.Envelope, CreatedAt: now(), ExpiresAt: in.ExpiresAt,
	}
	return t, "fb_" + string(t.Kind) + "_" + t.ID + "_" + newID(32)
}

func hash(secret string) []byte {
	h := sha256.Sum256([]byte(secret))
	return h[:]
}

// FirstAdmin makes the first admin token of an installation and returns its
// secret; empty if it was made before.
func (s *Service) FirstAdmin(ctx context.Context) (string, error) {
	const made = "admin-token"
	token, secret := mint(CreateToken{Kind: flyball.TokenAPI, Name: "first admin", Actor: "user:admin"})
	first := false
	_, err := s.change(WithPrincipal(ctx, Principal{Actor: flyball.Actor{ID: "system:setup"}, Kind: flyball.TokenAPI}), changeOf{
		access: Admin, action: "token.create", subject: token.ID, reason: "first start",
		apply: func(e *edit) error {
			_, done, err := e.tx.Setting(made)
			if first = !done; err != nil || done {
				return err
			}
			if err := e.tx.PutSetting(made, token.ID); err != nil {
				return err
			}
			return e.insertToken(token, hash(secret))
		},
	})
	if err != nil || !first {
		return "", err
	}
	return secret, nil
}

// Tokens are the tokens of an installation, without their secrets.
type Tokens struct {
	Tokens []flyball.Token `json:"tokens"`
}

// None is the input of a capability that needs none.
type None struct{}

// ListTokens lists all tokens, without their secrets.
func (s *Service) ListTokens(ctx context.Context, _ None) (out Tokens, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		out.Tokens, err = tx.Tokens()
		return err
	})
	for i := range out.Tokens {
		s.tokens.tellUse(&out.Tokens[i])
	}
	return out, err
}

// RevokeToken names a token that is to open nothing any more.
type RevokeToken struct {
	ID     string `json:"id" doc:"the token's id; flyball token list tells it"`
	Reason string `json:"reason" doc:"why it ends"`
}

// RevokeToken ends a token at once.
func (s *Service) RevokeToken(ctx context.Context, in RevokeToken) (out flyball.Token, err error) {
	_, err = s.change(ctx, changeOf{
		access: Admin, action: "token.revoke", subject: in.ID, reason: in.Reason,
		apply: func(e *edit) error {
			out, err = e.revokeToken(in.ID)
			return err
		},
	})
	s.tokens.forget(in.ID)
	return out, err
}

// idIn returns the id that stands in a token, fb_KIND_ID_SECRET. What has
// another form is not worth asking the database, and might be no text that it
// takes.
func idIn(secret string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(secret, "fb_")
	if !ok || len(secret) > maxSecret {
		return "", false
	}
	_, rest, _ = strings.Cut(rest, "_")
	id, rest, ok = strings.Cut(rest, "_")
	if !ok || len(id) != 12 || strings.Contains(rest, "_") {
		return "", false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", false
		}
	}
	return id, true
}

// maxSecret is how many bytes a token may have; ours have half of it.
const maxSecret = 200

// Authenticate returns who sends a token; the principal is shared, and must not
// be changed. The error is Unauthenticated for every token that is not good, and
// tells no more.
func (s *Service) Authenticate(ctx context.Context, secret string) (*Principal, error) {
	id, ok := idIn(secret)
	if !ok {
		return nil, badToken()
	}
	known, err := s.tokens.find(ctx, id, s.db)
	if err != nil {
		if flyball.CodeOf(err) == flyball.NotFound {
			err = badToken()
		}
		return nil, err
	}
	var text [maxSecret]byte
	sum := sha256.Sum256(text[:copy(text[:], secret)])
	if subtle.ConstantTimeCompare(known.hash, sum[:]) != 1 || !known.live() {
		return nil, badToken()
	}
	s.tokens.use(known)
	return &known.principal, nil
}

func badToken() error {
	return flyball.Errorf(flyball.Unauthenticated, "the token is unknown, expired or revoked")
}

// sortedGlobs returns globs in a canonical order, so that equal sets share one
// encoding.
func sortedGlobs(globs []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(globs)))
}
