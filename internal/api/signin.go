package api

import (
	"context"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// signIn is how people sign in by a browser. What they get is a cookie, which
// opens what they may do under /api/v1 and nothing else; a request that changes
// something by it must come from our own pages, and be of JSON.
type signIn struct {
	public  string // where browsers find the server, without the last slash; empty is where it listens
	secure  bool   // that is by TLS
	foreign *http.CrossOriginProtection
	oidc    *provider // nil if there is none
}

// The cookies. Over TLS their names begin with __Host-, so that no other server
// of the same domain can set them.
const (
	sessionCookie = "flyball-session"
	stateCookie   = "flyball-sign-in" // between us and a provider of OpenID Connect
)

func newSignIn(public string, o OIDC) signIn {
	in := signIn{public: strings.TrimSuffix(public, "/"), secure: strings.HasPrefix(public, "https://"), foreign: http.NewCrossOriginProtection()}
	if in.public != "" {
		u, err := url.Parse(in.public)
		if err == nil {
			err = in.foreign.AddTrustedOrigin(u.Scheme + "://" + u.Host)
		}
		if err != nil {
			panic(err) // ValidPublicURL was to be asked before
		}
	}
	if o.Issuer != "" {
		in.oidc = newProvider(o)
	}
	return in
}

// ValidPublicURL says what is wrong with the settings by which people sign in.
func ValidPublicURL(public string, o OIDC) error {
	if err := safeOrigin("public-url", public); err != nil {
		return err
	}
	if u, _ := url.Parse(public); public != "" && (strings.ContainsAny(public, "?#") || strings.TrimSuffix(u.Path, "/") != strings.TrimSuffix(path.Clean("/"+u.Path), "/")) {
		return flyball.FieldErrorf("public-url", "%q is more than an address and a plain path; give it such as https://flyball.example.com, or https://example.com/flyball", public)
	}
	if err := safeOrigin("oidc-issuer", o.Issuer); err != nil {
		return err
	}
	if (o.Issuer == "") != (o.ClientID == "") || o.Issuer == "" && o.Secret != "" {
		return flyball.FieldErrorf("oidc-client-id", "an issuer and a client id go together")
	}
	return nil
}

// safeOrigin wants a URL by TLS, or on this machine.
func safeOrigin(field, text string) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return nil
	case err != nil || u.Host == "" || u.User != nil:
		return flyball.FieldErrorf(field, "%q is not a URL such as https://flyball.example.com", text)
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Host):
		return nil
	}
	return flyball.FieldErrorf(field, "%q is not by https, and not on this machine: passwords would be read on the way", text)
}

// loopback says whether a host, with or without a port, is this machine.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// byTLS says whether a browser speaks to us by TLS, be it through a proxy.
func (in *signIn) byTLS(r *http.Request) bool { return in.secure || r.TLS != nil }

// possible says whether anybody can sign in over this connection at all.
func (in *signIn) possible(r *http.Request) error {
	if in.byTLS(r) || loopback(r.Host) {
		return nil
	}
	return flyball.Errorf(flyball.Forbidden, "sign in by https, or on this machine: behind a proxy, start the server with --public-url https://…")
}

func (in *signIn) cookieName(r *http.Request, name string) string {
	if in.byTLS(r) {
		return "__Host-" + name
	}
	return name
}

// cookie returns what a cookie of ours holds.
func (in *signIn) cookie(r *http.Request, name string) string {
	if in.possible(r) != nil {
		return ""
	}
	c, err := r.Cookie(in.cookieName(r, name))
	if err != nil {
		return ""
	}
	return c.Value
}

// setCookie lets the browser keep something, or, if it is empty, forget it.
func (in *signIn) setCookie(w http.ResponseWriter, r *http.Request, name, value string, until time.Time) {
	c := &http.Cookie{
		Name: in.cookieName(r, name), Value: value, Path: "/", HttpOnly: true, Secure: in.byTLS(r), SameSite: http.SameSiteLaxMode,
		MaxAge: int(time.Until(until).Seconds()),
	}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// ours says whether a request that changes something comes from our own pages.
func (in *signIn) ours(r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	if err := in.foreign.Check(r); err != nil {
		return flyball.Errorf(flyball.Forbidden, "this request comes from another site's page; a program sends a token in place of a cookie")
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return flyball.FieldErrorf("Content-Type", "is to be application/json")
	}
	return nil
}

// bySession says whose session a request comes with.
func (s *Server) bySession(r *http.Request, cookie string) (*service.Principal, error) {
	if err := s.signIn.ours(r); err != nil {
		return nil, err
	}
	return s.service.AuthenticateSession(r.Context(), cookie)
}

// signInDoors registers the doors by which people come in and go.
func (s *Server) signInDoors(mux *http.ServeMux) {
	s.route(mux, "GET /auth/session", policy{public: true}, s.session)
	for path, h := range map[string]func(ctx context.Context, r *http.Request, in map[string]string) (service.NewSession, error){
		"POST /auth/login": func(ctx context.Context, r *http.Request, in map[string]string) (service.NewSession, error) {
			return s.service.SignIn(ctx, in["name"], in["password"], address(r), s.replaced(r))
		},
		"POST /auth/setup": func(ctx context.Context, r *http.Request, in map[string]string) (service.NewSession, error) {
			return s.service.SetUp(ctx, service.SetUp{Token: in["token"], Name: in["name"], Password: in["password"], Address: address(r)})
		},
		"POST /auth/stepup": func(ctx context.Context, r *http.Request, in map[string]string) (service.NewSession, error) {
			p, err := s.bySession(r, s.signIn.cookie(r, sessionCookie))
			if err != nil {
				return service.NewSession{}, err
			}
			return s.service.StepUp(service.WithPrincipal(ctx, *p), in["password"], address(r))
		},
	} {
		_, route, _ := strings.Cut(path, "/auth/")
		s.route(mux, path, policy{public: true}, s.comeIn(signInFields[route], h))
	}
	s.route(mux, "POST /auth/logout", policy{public: true}, s.logout)
	s.route(mux, "GET /auth/oidc/login", policy{public: true}, s.oidcLogin)
	s.route(mux, "GET /auth/oidc/callback", policy{public: true}, s.oidcCallback)
}

// signInFields are what the bodies of the doors hold; each is text.
var signInFields = map[string][]string{
	"login": {"name", "password"}, "setup": {"name", "password", "token"}, "stepup": {"password"},
}

// comeIn answers a request that begins a session.
func (s *Server) comeIn(fields []string, begin func(context.Context, *http.Request, map[string]string) (service.NewSession, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		in, err := s.form(w, r, fields)
		if err != nil {
			writeProblem(w, r, err)
			return
		}
		ctx := service.WithPrincipal(r.Context(), service.Principal{Request: requestOf(r).id}) // nobody yet
		n, err := begin(ctx, r, in)
		if err != nil {
			writeProblem(w, r, err)
			return
		}
		s.signIn.setCookie(w, r, sessionCookie, n.Secret, n.Expires)
		p, err := s.service.AuthenticateSession(r.Context(), n.Secret)
		if err != nil {
			writeProblem(w, r, err)
			return
		}
		s.tellSession(w, r, p)
	}
}

// limitForm is how many bytes the body of a sign-in may have.
const limitForm = 4 << 10

// form reads a body of a few texts.
func (s *Server) form(w http.ResponseWriter, r *http.Request, known []string) (map[string]string, error) {
	if err := s.signIn.possible(r); err != nil {
		return nil, err
	}
	if err := s.signIn.ours(r); err != nil {
		return nil, err
	}
	body, err := readBody(w, r, limitForm)
	if err != nil {
		return nil, err
	}
	if err := once(body); err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := decodeObject(body, &fields); err != nil {
		return nil, err
	}
	in := map[string]string{}
	for name, v := range fields {
		text, ok := v.(string)
		if !slices.Contains(known, name) {
			return nil, flyball.FieldErrorf(strings.ToValidUTF8(name, "\uFFFD"), "is not known here; known are %s", strings.Join(known, ", "))
		}
		if !ok {
			return nil, flyball.FieldErrorf(name, "is to be text")
		}
		in[name] = text
	}
	if in["password"] == "" {
		return nil, flyball.FieldErrorf("password", "is required")
	}
	return in, nil
}

// replaced is the session that a browser had until now.
func (s *Server) replaced(r *http.Request) string {
	p, err := s.service.AuthenticateSession(r.Context(), s.signIn.cookie(r, sessionCookie))
	if err != nil {
		return ""
	}
	return p.Token
}

// address is where a request comes from. What a proxy says of that is not
// believed: anybody can say it.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// A Session tells who somebody is, and what they may do.
type Session struct {
	SignedIn  bool             `json:"signedIn"`
	User      flyball.ActorID  `json:"user,omitempty"`
	Rights    []flyball.Grants `json:"rights,omitempty" doc:"sets of grants, each of which must allow what is done"`
	Browser   bool             `json:"browser,omitempty" doc:"by a session, and not by a token"`
	SteppedUp *flyball.Time    `json:"steppedUp,omitempty" doc:"when they last proved who they are"`
	Accounts  bool             `json:"accounts" doc:"whether anybody has an account"`
	OIDC      bool             `json:"oidc" doc:"whether people can sign in at a provider: /auth/oidc/login"`
	Passwords bool             `json:"passwords" doc:"whether people can sign in by password over this connection"`
}

// session tells who sends a request, be it nobody.
func (s *Server) session(w http.ResponseWriter, r *http.Request) {
	p, err := s.authenticate(&door{sessions: true}, r)
	if err != nil && flyball.CodeOf(err) != flyball.Unauthenticated {
		writeProblem(w, r, err)
		return
	}
	s.tellSession(w, r, p)
}

func (s *Server) tellSession(w http.ResponseWriter, r *http.Request, p *service.Principal) {
	out := Session{OIDC: s.signIn.oidc != nil, Passwords: s.signIn.possible(r) == nil}
	var err error
	if out.Accounts, err = s.service.HasAccounts(r.Context()); err != nil {
		writeProblem(w, r, err)
		return
	}
	if p != nil {
		out.SignedIn, out.User, out.Rights, out.Browser = true, p.ID, p.Rights, p.Session
		if !p.SteppedUp.IsZero() {
			out.SteppedUp = &flyball.Time{Time: p.SteppedUp}
		}
	}
	writeJSON(w, r, http.StatusOK, out)
}

// logout ends a session, on the server too.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	if err := s.signIn.ours(r); err != nil {
		writeProblem(w, r, err)
		return
	}
	p, err := s.service.AuthenticateSession(r.Context(), s.signIn.cookie(r, sessionCookie))
	if err == nil {
		err = s.service.SignOut(service.WithPrincipal(r.Context(), *p))
	}
	if err != nil && flyball.CodeOf(err) != flyball.Unauthenticated {
		writeProblem(w, r, err)
		return
	}
	s.signIn.setCookie(w, r, sessionCookie, "", time.Time{})
	s.tellSession(w, r, nil)
}

// errorIn reads a code that somebody else wrote, if it looks like one.
func errorIn(text string) string {
	if len(text) > 40 || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "an error"
	}
	return text
}
