package api

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/flyballdev/flyball"
)

// A signInFailure says in a word why nobody was signed in through a provider,
// for a page that has words of its own for each: what others wrote is never text
// of ours.
type signInFailure string

const (
	failedAny         signInFailure = "any"         // for none of the reasons below
	failedNoProvider  signInFailure = "noProvider"  // the server knows none
	failedInsecure    signInFailure = "insecure"    // what is typed could be read on the way
	failedBegun       signInFailure = "begun"       // not in this browser, or too long ago
	failedRefused     signInFailure = "refused"     // the provider said no, and by which code
	failedUnbelieved  signInFailure = "unbelieved"  // what it says was not for us, or not from it
	failedUnverified  signInFailure = "unverified"  // the address was never verified there
	failedDisabled    signInFailure = "disabled"    // an administrator shut the person out
	failedUnavailable signInFailure = "unavailable" // the provider does not answer
	failedBusy        signInFailure = "busy"        // too many at once
)

// failed makes an error of a sign-in that did not come about.
func failed(why signInFailure, code flyball.Code, format string, args ...any) *flyball.Error {
	return flyball.Errorf(code, format, args...).With("signIn", why)
}

// failSignIn answers a browser that comes from the provider, or cannot go there,
// by the page on which people sign in, which says what to do. Why stands behind
// the #, where no server logs it, and only in words from our list; a provider's
// code only if it looks like one. Programs get a problem.
func (s *Server) failSignIn(w http.ResponseWriter, r *http.Request, err error) {
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		writeProblem(w, r, err)
		return
	}
	p := problemFor(r, err)
	told := url.Values{"failed": {string(failedAny)}, "request": {p.Request}}
	if why, ok := p.Details["signIn"].(signInFailure); ok {
		told.Set("failed", string(why))
	}
	if code, ok := p.Details["provider"].(string); ok {
		told.Set("provider", code)
	}
	if cause, ok := p.Details["cause"]; ok {
		requestOf(r).log.WarnContext(r.Context(), "sign-in at the provider failed", "request", p.Request, "why", p.Detail, "cause", cause)
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, s.signIn.origin(r)+"/#/sign-in?"+told.Encode(), http.StatusSeeOther)
}
