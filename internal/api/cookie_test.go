package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestOverTLSTheCookieIsTheHostsAlone(t *testing.T) {
	for _, c := range []struct {
		public, host, name string
		secure, possible   bool
	}{
		{"https://flyball.example.com", "10.0.0.7:8080", "__Host-flyball-session", true, true}, // the proxy's own name for us
		{"", "localhost:8080", "flyball-session", false, true},
		{"", "[::1]:8080", "flyball-session", false, true},
		{"", "127.0.0.1", "flyball-session", false, true},
		{"", "flyball.example.com", "flyball-session", false, false},
		{"", "localhost.example.com", "flyball-session", false, false},
		{"http://localhost:9000", "flyball.example.com", "flyball-session", false, false},
	} {
		in := newSignIn(c.public, OIDC{})
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = c.host
		w := httptest.NewRecorder()
		in.setCookie(w, r, sessionCookie, "secret", time.Now().Add(time.Hour))
		got := w.Result().Cookies()[0]
		if got.Name != c.name || got.Secure != c.secure || !got.HttpOnly || got.Path != "/" || got.Domain != "" || got.SameSite != http.SameSiteLaxMode {
			t.Errorf("%+v: the cookie is %+v", c, got)
		}
		if err := in.possible(r); (err == nil) != c.possible {
			t.Errorf("%+v: %v", c, err)
		}
		r.AddCookie(&http.Cookie{Name: "flyball-session", Value: "planted"})
		if read := in.cookie(r, sessionCookie); (read != "") != (c.possible && !c.secure) {
			t.Errorf("%+v: it reads %q, which a server beside us may have set", c, read)
		}
	}
}

func TestSettingsThatWouldSendPasswordsInTheOpenAreRefused(t *testing.T) {
	for _, c := range []struct {
		public string
		oidc   OIDC
		field  string // that is blamed; none if all is well
	}{
		{"", OIDC{}, ""},
		{"https://flyball.example.com", OIDC{Issuer: "https://id.example.com/realms/one", ClientID: "x"}, ""},
		{"http://127.0.0.1:8080/", OIDC{}, ""},
		{"http://flyball.example.com", OIDC{}, "public-url"},
		{"flyball.example.com", OIDC{}, "public-url"},
		{"https://example.com/flyball", OIDC{}, ""},
		{"https://example.com/tools/flyball/", OIDC{}, ""},
		{"https://example.com/flyball?x=1", OIDC{}, "public-url"},
		{"https://example.com/flyball#/", OIDC{}, "public-url"},
		{"https://example.com/flyball/../..", OIDC{}, "public-url"},
		{"https://example.com//evil.example.net", OIDC{}, "public-url"},
		{"https://ann:secret@flyball.example.com", OIDC{}, "public-url"},
		{"", OIDC{Issuer: "http://id.example.com", ClientID: "x"}, "oidc-issuer"},
		{"", OIDC{Issuer: "https://id.example.com"}, "oidc-client-id"},
		{"", OIDC{ClientID: "x"}, "oidc-client-id"},
	} {
		err := ValidPublicURL(c.public, c.oidc)
		if (err == nil) != (c.field == "") || err != nil && !strings.HasPrefix(err.Error(), c.field+":") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
