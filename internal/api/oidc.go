package api

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// OIDC are the settings of a provider of OpenID Connect; none without an issuer.
type OIDC struct {
	Issuer   string
	ClientID string
	Secret   string // empty for a client that has none
}

// A provider vouches for people. It is asked for its addresses when somebody
// first signs in: a provider that is down is no reason not to start.
type provider struct {
	OIDC
	client *http.Client
	turns  chan struct{} // few ask it at once

	mu    sync.Mutex
	known *oidc.Provider
}

// Bounds of what a provider is asked.
const (
	oidcTime  = 10 * time.Second
	oidcLimit = 1 << 20 // bytes of an answer
	oidcTurns = 20
	oidcWait  = 10 * time.Minute // that a person may take at the provider
)

func newProvider(o OIDC) *provider {
	return &provider{OIDC: o, client: &http.Client{Timeout: oidcTime, Transport: bounded{http.DefaultTransport}}, turns: make(chan struct{}, oidcTurns)}
}

// bounded is a transport whose answers have an end.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, oidcLimit), resp.Body}
	}
	return resp, err
}

// find returns what the provider says of itself. Its issuer is to be exactly the
// one that was set.
func (p *provider) find() (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		known, err := oidc.NewProvider(oidc.ClientContext(context.Background(), p.client), p.Issuer)
		if err != nil {
			return nil, failed(failedUnavailable, flyball.Unavailable, "the provider %s does not answer as one does; the server's log tells more", p.Issuer).With("cause", err.Error())
		}
		p.known = known
	}
	return p.known, nil
}

func (p *provider) config(known *oidc.Provider, origin string) oauth2.Config {
	return oauth2.Config{
		ClientID: p.ClientID, ClientSecret: p.Secret, Endpoint: known.Endpoint(), RedirectURL: origin + "/auth/oidc/callback",
		Scopes: []string{oidc.ScopeOpenID, "email", "profile"},
	}
}

// origin is where the browser finds us: an origin, and a path if a proxy has us
// below one.
func (in *signIn) origin(r *http.Request) string {
	switch {
	case in.public != "":
		return in.public
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host // on this machine: see possible
}

func (s *Server) oidcProvider(r *http.Request) (*oidc.Provider, error) {
	if s.signIn.oidc == nil {
		return nil, failed(failedNoProvider, flyball.NotFound, "this server knows no provider of OpenID Connect: --oidc-issuer names one")
	}
	if err := s.signIn.possible(r); err != nil {
		return nil, failed(failedInsecure, flyball.Forbidden, "%s", err)
	}
	return s.signIn.oidc.find()
}

// oidcLogin sends a browser to the provider. What must come back with it, and
// what proves that it is the same browser, stays in its cookie meanwhile. With
// stepUp the person is to prove anew who they are.
func (s *Server) oidcLogin(w http.ResponseWriter, r *http.Request) {
	known, err := s.oidcProvider(r)
	if err != nil {
		s.failSignIn(w, r, err)
		return
	}
	state, nonce, verifier := rand.Text(), rand.Text(), oauth2.GenerateVerifier()
	options := []oauth2.AuthCodeOption{oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)}
	if r.URL.Query().Get("stepUp") == "true" {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	s.signIn.setCookie(w, r, stateCookie, strings.Join([]string{state, nonce, verifier}, "."), time.Now().Add(oidcWait))
	config := s.signIn.oidc.config(known, s.signIn.origin(r))
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, config.AuthCodeURL(state, options...), http.StatusSeeOther)
}

// oidcCallback takes a browser back from the provider, and begins a session.
func (s *Server) oidcCallback(w http.ResponseWriter, r *http.Request) {
	n, err := s.vouched(r)
	s.signIn.setCookie(w, r, stateCookie, "", time.Time{})
	if err != nil {
		s.failSignIn(w, r, err)
		return
	}
	s.signIn.setCookie(w, r, sessionCookie, n.Secret, n.Expires)
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, s.signIn.origin(r)+"/", http.StatusSeeOther)
}

// vouched begins the session of whom the provider vouches for.
func (s *Server) vouched(r *http.Request) (n service.NewSession, err error) {
	known, err := s.oidcProvider(r)
	if err != nil {
		return n, err
	}
	query := r.URL.Query()
	kept := strings.Split(s.signIn.cookie(r, stateCookie), ".")
	if len(kept) != 3 || subtle.ConstantTimeCompare([]byte(kept[0]), []byte(query.Get("state"))) != 1 {
		return n, failed(failedBegun, flyball.Forbidden, "this sign-in was not begun in this browser, or too long ago: begin again at /auth/oidc/login")
	}
	if code := query.Get("error"); code != "" {
		return n, failed(failedRefused, flyball.Forbidden, "the provider answers %s: begin again at /auth/oidc/login", errorIn(code)).With("provider", errorIn(code))
	}
	if iss := query.Get("iss"); iss != "" && iss != s.signIn.oidc.Issuer { // RFC 9207
		return n, failed(failedUnbelieved, flyball.Forbidden, "the answer is another provider's")
	}
	p := s.signIn.oidc
	select {
	case p.turns <- struct{}{}:
		defer func() { <-p.turns }()
	default:
		return n, failed(failedBusy, flyball.Overloaded, "too many people sign in at once: try again in a moment").With("retryAfter", 2)
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(r.Context(), p.client), oidcTime)
	defer cancel()
	who, err := p.redeem(ctx, known, s.signIn.origin(r), query.Get("code"), kept[1], kept[2])
	if err != nil {
		return n, err
	}
	ctx = service.WithPrincipal(r.Context(), service.Principal{Request: requestOf(r).id})
	n, err = s.service.SignInAs(ctx, who, s.replaced(r))
	if e, ok := errors.AsType[*flyball.Error](err); ok && e.Code == flyball.Forbidden {
		return n, e.With("signIn", failedDisabled)
	}
	return n, err
}

// redeem exchanges the code that the browser brought for who the person is.
func (p *provider) redeem(ctx context.Context, known *oidc.Provider, origin, code, nonce, verifier string) (who service.Identity, err error) {
	config := p.config(known, origin)
	token, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return who, failed(failedRefused, flyball.Forbidden, "the provider does not take the code: it answers %s", errorIn(refused.ErrorCode)).With("provider", errorIn(refused.ErrorCode))
	}
	if err != nil {
		return who, failed(failedUnavailable, flyball.Unavailable, "the provider %s does not answer", p.Issuer).With("cause", err.Error())
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := known.Verifier(&oidc.Config{ClientID: p.ClientID}).Verify(ctx, raw)
	if err != nil {
		return who, failed(failedUnbelieved, flyball.Forbidden, "what the provider says of you cannot be believed").With("cause", err.Error())
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1 || len(id.Audience) != 1 {
		return who, failed(failedUnbelieved, flyball.Forbidden, "what the provider says of you was not meant for this sign-in")
	}
	var claims struct {
		Email    string `json:"email"`
		Verified any    `json:"email_verified"`
		Name     string `json:"name"`
		AuthTime int64  `json:"auth_time"`
	}
	if err := id.Claims(&claims); err != nil {
		return who, failed(failedUnbelieved, flyball.Forbidden, "what the provider says of you cannot be read").With("cause", err.Error())
	}
	if claims.Email != "" && claims.Verified != true {
		return who, failed(failedUnverified, flyball.Forbidden, "the provider does not say that your address is verified: verify it there first")
	}
	who = service.Identity{Issuer: id.Issuer, Subject: id.Subject, Email: claims.Email, Name: claims.Name}
	if at := time.Unix(claims.AuthTime, 0); claims.AuthTime > 0 && !at.After(time.Now().Add(time.Minute)) {
		who.ProvedAt = at
	}
	return who, nil
}
