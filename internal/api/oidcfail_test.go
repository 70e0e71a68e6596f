package api_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball/internal/api"
)

// page asks for an address as a browser does when it goes there.
func (b *browser) page(address string) *http.Response {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), "GET", address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	resp, _ := b.read(b.Do(req))
	return resp
}

// begin begins a sign-in at a liar, and returns the address that leads back.
func (b *browser) begin(l *liar, base string) string {
	b.t.Helper()
	b.stop = l.URL
	to, err := url.Parse(b.page(base + "/auth/oidc/login").Header.Get("Location"))
	if err != nil || !strings.HasPrefix(to.String(), l.URL) {
		b.t.Fatalf("it leads to %s, %v", to, err)
	}
	l.nonce, b.stop = to.Query().Get("nonce"), base
	return to.Query().Get("redirect_uri") + "?code=x&state=" + to.Query().Get("state")
}

func TestAFailedSignInLeadsBackToThePageThatSaysWhatToDo(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	h := open(t, withOIDC(api.OIDC{Issuer: l.URL, ClientID: "flyball"}))
	good := newBrowser(t)
	if to := good.page(good.begin(l, h.url)).Header.Get("Location"); to != h.url+"/" {
		t.Fatalf("a sign-in that succeeds leads to %s", to)
	}
	const markup = "<script>alert(1)</script>"
	for _, tt := range []struct {
		name, more, failed, provider string
		lie                          func()
	}{
		{"another state", "&state=x", "begun", "", nil},
		{"a refusal", "&error=access_denied&error_description=" + url.QueryEscape(markup), "refused", "access_denied", nil},
		{"a refusal with markup", "&error=" + url.QueryEscape(markup), "refused", "an error", nil},
		{"a refusal without end", "&error=" + strings.Repeat("a", 4000), "refused", "an error", nil},
		{"another issuer", "&iss=x", "unbelieved", "", nil},
		{"a token for another", "", "unbelieved", "", func() { l.claims = map[string]any{"aud": "another"} }},
		{"a token that is over", "", "unbelieved", "", func() { l.claims = map[string]any{"exp": time.Now().Add(-time.Minute).Unix()} }},
		{"an address that is not verified", "", "unverified", "", func() { l.claims = map[string]any{"email_verified": false} }},
		{"somebody who is disabled", "", "disabled", "", func() { h.must("disable_user", fields{"id": "ann@example.com", "reason": "a test"}) }},
	} {
		b := newBrowser(t)
		back := b.begin(l, h.url)
		if tt.failed == "begun" {
			back = strings.Split(back, "&state=")[0]
		}
		if tt.lie != nil {
			tt.lie()
		}
		resp := b.page(back + tt.more)
		base, hash, _ := strings.Cut(resp.Header.Get("Location"), "#")
		path, query, _ := strings.Cut(hash, "?")
		told, err := url.ParseQuery(query)
		if resp.StatusCode != 303 || base != h.url+"/" || path != "/sign-in" || err != nil || len(hash) > 200 || strings.Contains(hash, "script") {
			t.Errorf("%s: %d, to %s", tt.name, resp.StatusCode, resp.Header.Get("Location"))
		}
		if told.Get("failed") != tt.failed || told.Get("provider") != tt.provider || told.Get("request") == "" {
			t.Errorf("%s: the page is told %v", tt.name, told)
		}
		if r := b.session(h); r.read(t, "signedIn") != false {
			t.Errorf("%s: %s", tt.name, r.body)
		}
		l.claims = nil
	}
	h.send("GET", "/auth/oidc/callback?state=x", "", "", "Accept", "application/json").want(t, 403)
	h.send("GET", "/auth/oidc/callback?state=x", "", "").want(t, 403)
}

func TestABrowserThatCannotGoToTheProviderIsTold(t *testing.T) {
	t.Parallel()
	away := newLiar(t)
	away.Close()
	for why, o := range map[string]api.OIDC{"noProvider": {}, "unavailable": {Issuer: away.URL, ClientID: "flyball"}} {
		h := open(t, withOIDC(o))
		b := newBrowser(t)
		b.stop = h.url
		if to := b.page(h.url + "/auth/oidc/login").Header.Get("Location"); !strings.HasPrefix(to, h.url+"/#/sign-in?failed="+why+"&") {
			t.Errorf("%s: it leads to %q", why, to)
		}
	}
}

// Behind a proxy that has the server below a path, browsers come back there.
func TestASignInReturnsBehindASubPath(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	var inside *url.URL
	proxy := httptest.NewUnstartedServer(http.StripPrefix("/tools/flyball", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(inside) }}))
	t.Cleanup(proxy.Close)
	origin := "http://" + proxy.Listener.Addr().String()
	base := origin + "/tools/flyball"
	h := open(t, withOIDC(api.OIDC{Issuer: l.URL, ClientID: "flyball"}), at(base+"/"))
	var err error
	if inside, err = url.Parse(h.url); err != nil {
		t.Fatal(err)
	}
	proxy.Start()
	b := newBrowser(t)
	back := b.begin(l, base)
	if !strings.HasPrefix(back, base+"/auth/oidc/callback?") {
		t.Fatalf("the provider is to send browsers to %s", back)
	}
	if to := b.page(back).Header.Get("Location"); to != base+"/" {
		t.Errorf("a sign-in leads to %s", to)
	}
	if _, body := b.read(b.Get(base + "/auth/session")); !strings.Contains(body, `"signedIn":true`) {
		t.Errorf("after it: %s", body)
	}
	if to := b.page(back).Header.Get("Location"); !strings.HasPrefix(to, base+"/#/sign-in?failed=begun&") { // a second time
		t.Errorf("a sign-in that fails leads to %s", to)
	}
	for from, want := range map[string]int{"https://evil.example.com": 403, origin: 200} { // an origin has no path
		req, err := http.NewRequestWithContext(t.Context(), "POST", base+"/auth/logout", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Origin", from)
		if resp, body := b.read(b.Do(req)); resp.StatusCode != want {
			t.Errorf("from a page of %s: %d %s", from, resp.StatusCode, body)
		}
	}
}
