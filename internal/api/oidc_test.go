package api_test

import (
	"bufio"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball/internal/api"
)

// oidcHouse is a house whose people sign in at a provider that runs beside it.
// tell tells the provider something.
func oidcHouse(t *testing.T) (h *house, tell func(line string)) {
	t.Helper()
	const folder = "testdata/oidc"
	missing := ""
	if _, err := exec.LookPath("node"); err != nil {
		missing = "node is not installed"
	} else if _, err := os.Stat(folder + "/node_modules/oidc-provider"); err != nil {
		missing = "oidc-provider is not installed: run npm ci in internal/api/" + folder
	}
	if missing != "" && os.Getenv("CI") != "" {
		t.Fatal(missing)
	} else if missing != "" {
		t.Skip(missing)
	}
	cmd := exec.Command("node", "provider.mjs")
	cmd.Dir = folder
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the provider does not start")
	}
	h = open(t, withOIDC(api.OIDC{Issuer: lines.Text(), ClientID: "flyball", Secret: "the secret of a test"}))
	tell = func(line string) {
		t.Helper()
		fmt.Fprintln(in, line)
		if !lines.Scan() {
			t.Fatal("the provider does not answer")
		}
	}
	tell(h.url + "/auth/oidc/callback")
	return h, tell
}

// A browser follows redirects and keeps cookies; it stops where it is told to.
type browser struct {
	*http.Client
	t    *testing.T
	stop string // the beginning of an address that it does not follow
}

func newBrowser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t}
	b.Client = &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if b.stop != "" && strings.HasPrefix(r.URL.String(), b.stop) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	t.Cleanup(b.CloseIdleConnections)
	return b
}

func (b *browser) read(resp *http.Response, err error) (*http.Response, string) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(body)
}

var action = regexp.MustCompile(`action="([^"]+)"[\s\S]*?name="prompt" value="(\w+)"`)

// signIn goes to an address, fills in the provider's forms in somebody's name,
// and returns where that ends, with the forms that it met.
func (b *browser) signIn(address, name string) (resp *http.Response, body string, forms []string) {
	b.t.Helper()
	resp, body = b.read(b.Get(address))
	for range 4 {
		form := action.FindStringSubmatch(body)
		if form == nil {
			break
		}
		forms = append(forms, form[2])
		resp, body = b.read(b.PostForm(html.UnescapeString(form[1]), url.Values{"prompt": {form[2]}, "login": {name}, "password": {"any"}}))
	}
	return resp, body, forms
}

func (b *browser) session(h *house) reply {
	b.t.Helper()
	resp, body := b.read(b.Get(h.url + "/auth/session"))
	return reply{resp, []byte(body)}
}

func TestPeopleSignInAtAProvider(t *testing.T) {
	t.Parallel()
	h, tell := oidcHouse(t)
	login := h.url + "/auth/oidc/login"
	who := func(name string) string {
		t.Helper()
		b := newBrowser(t)
		resp, body, _ := b.signIn(login, name)
		if resp.Request.URL.Path != "/" {
			t.Fatalf("%s ends at %s: %s", name, resp.Request.URL, body)
		}
		r := b.session(h)
		if r.read(t, "signedIn") != true || r.read(t, "oidc") != true || r.read(t, "rights.0") != nil && len(r.read(t, "rights.0").([]any)) != 0 {
			t.Fatalf("%s: %s", name, r.body)
		}
		return r.read(t, "user").(string)
	}
	if got := who("ann"); got != "user:ann@example.com" {
		t.Errorf("ann is %s", got)
	}
	tell("ann ann@new.example.com")
	if got := who("ann"); got != "user:ann@example.com" { // with another address, yet the same person
		t.Errorf("ann, under another address, is %s", got)
	}
	imposter := who("imposter") // with the same address, yet another person
	if !strings.HasPrefix(imposter, "user:oidc-") || who("imposter") != imposter {
		t.Errorf("who has ann's address is %s", imposter)
	}
	if got := who("nameless"); !strings.HasPrefix(got, "user:oidc-") || got == imposter {
		t.Errorf("who has no address is %s", got)
	}
	resp, body, _ := newBrowser(t).signIn(login, "unverified")
	if resp.StatusCode != 403 || !strings.Contains(body, "verified") {
		t.Errorf("with an unverified address: %d %s", resp.StatusCode, body)
	}
	h.must("disable_user", fields{"id": "ann@example.com", "reason": "a test"})
	if resp, body, _ := newBrowser(t).signIn(login, "ann"); resp.StatusCode != 403 || !strings.Contains(body, "disabled") {
		t.Errorf("when disabled: %d %s", resp.StatusCode, body)
	}
	if n := h.must("list_users", fields{}).read(t, "users.#"); n != 3.0 {
		t.Errorf("there are %v accounts", n)
	}
}

func TestASignInIsGoodForTheBrowserThatBeganItOnce(t *testing.T) {
	t.Parallel()
	h, _ := oidcHouse(t)
	login := h.url + "/auth/oidc/login"
	begun := func() (*browser, string) {
		t.Helper()
		b := newBrowser(t)
		b.stop = h.url + "/auth/oidc/callback"
		resp, body, _ := b.signIn(login, "ann")
		back := resp.Header.Get("Location")
		if !strings.HasPrefix(back, b.stop) {
			t.Fatalf("it ends at %s: %s", resp.Request.URL, body)
		}
		b.stop = h.url + "/"
		return b, back
	}
	status := func(b *browser, address string) int {
		t.Helper()
		resp, _ := b.read(b.Get(address))
		return resp.StatusCode
	}
	tamper := func(b *browser, part int) {
		at, _ := url.Parse(h.url)
		for _, c := range b.Jar.Cookies(at) {
			if c.Name == "flyball-sign-in" {
				parts := strings.Split(c.Value, ".")
				parts[part] = strings.Repeat("x", len(parts[part]))
				b.Jar.SetCookies(at, []*http.Cookie{{Name: c.Name, Value: strings.Join(parts, "."), Path: "/"}})
			}
		}
	}
	b, back := begun()
	if got := status(newBrowser(t), back); got != 403 {
		t.Errorf("in another browser: %d", got)
	}
	if got := status(b, strings.Replace(back, "state=", "state=x", 1)); got != 403 {
		t.Errorf("with another state: %d", got)
	}
	for part, name := range []string{"state", "nonce", "verifier"} {
		b, back := begun()
		tamper(b, part)
		if got := status(b, back); got != 403 {
			t.Errorf("with another %s: %d", name, got)
		}
		if r := b.session(h); r.read(t, "signedIn") != false {
			t.Errorf("with another %s: %s", name, r.body)
		}
	}
	b, back = begun()
	if got := status(b, strings.Replace(back, "iss=", "iss=x", 1)); got != 403 {
		t.Errorf("of another issuer: %d", got)
	}
	b, back = begun()
	if got := status(b, back); got != 303 {
		t.Errorf("as it is: %d", got)
	}
	if got := status(b, back); got != 403 {
		t.Errorf("a second time: %d", got)
	}
}

func TestAProviderProvesAnewWhoSomebodyIs(t *testing.T) {
	t.Parallel()
	h, _ := oidcHouse(t)
	b := newBrowser(t)
	b.signIn(h.url+"/auth/oidc/login", "ann")
	h.must("update_user", h.must("get_user", fields{"id": "user:ann@example.com"}).object(t).with("grants", []fields{{"role": "admin"}}).with("reason", "a test").with("version", nil).with("createdAt", nil).with("lastSeen", nil))
	create := func(team string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "POST", h.url+"/api/v1/teams", strings.NewReader(`{"key":"`+team+`","reason":"a test"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, _ := b.read(b.Do(req))
		return resp.StatusCode
	}
	if got := create("one"); got != 401 { // her grants are others: she signs in anew
		t.Errorf("with the session of before: %d", got)
	}
	if _, _, forms := b.signIn(h.url+"/auth/oidc/login", "ann"); len(forms) != 0 { // the provider knows her yet
		t.Errorf("the provider asks for %q", forms)
	}
	if r := b.session(h); r.read(t, "steppedUp") != nil {
		t.Errorf("who did not prove anything has %s", r.body)
	}
	if got := create("one"); got != 403 {
		t.Errorf("without a proof: %d", got)
	}
	if _, _, forms := b.signIn(h.url+"/auth/oidc/login?stepUp=true", "ann"); len(forms) == 0 || forms[0] != "login" {
		t.Errorf("the provider asks for %q", forms)
	}
	if r := b.session(h); r.read(t, "steppedUp") == nil {
		t.Errorf("after a proof: %s", r.body)
	}
	if got := create("one"); got != 201 {
		t.Errorf("after a proof: %d", got)
	}
}

// A liar is a provider whose tokens are not what they ought to be.
type liar struct {
	*httptest.Server
	key    *rsa.PrivateKey
	nonce  string
	header string
	claims map[string]any // in place of the right ones
	signer *rsa.PrivateKey
}

func newLiar(t *testing.T) *liar {
	l := &liar{header: `{"alg":"RS256","kid":"1"}`}
	var err error
	if l.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	l.signer = l.key
	mux := http.NewServeMux()
	answer := func(path string, make func(r *http.Request) any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(make(r))
		})
	}
	answer("/.well-known/openid-configuration", func(*http.Request) any {
		return map[string]any{"issuer": l.URL, "authorization_endpoint": l.URL + "/auth", "token_endpoint": l.URL + "/token", "jwks_uri": l.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"}}
	})
	answer("/keys", func(*http.Request) any {
		return map[string]any{"keys": []any{map[string]any{"kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig", "n": b64(l.key.N.Bytes()), "e": b64(big.NewInt(int64(l.key.E)).Bytes())}}}
	})
	answer("/token", func(*http.Request) any {
		return map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": l.token()}
	})
	l.Server = httptest.NewServer(mux)
	t.Cleanup(l.Close)
	return l
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (l *liar) token() string {
	claims := map[string]any{
		"iss": l.URL, "aud": "flyball", "sub": "1", "nonce": l.nonce, "exp": time.Now().Add(time.Minute).Unix(), "iat": time.Now().Unix(),
		"email": "ann@example.com", "email_verified": true,
	}
	for k, v := range l.claims {
		claims[k] = v
	}
	body, _ := json.Marshal(claims)
	text := b64([]byte(l.header)) + "." + b64(body)
	if strings.Contains(l.header, "none") {
		return text + "."
	}
	sum := sha256.Sum256([]byte(text))
	signature, _ := rsa.SignPKCS1v15(rand.Reader, l.signer, crypto.SHA256, sum[:])
	return text + "." + b64(signature)
}

func TestWhatAProviderSaysIsBelievedOnlyIfItIsMeantForUs(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	h := open(t, withOIDC(api.OIDC{Issuer: l.URL, ClientID: "flyball"}))
	another, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	try := func() int {
		t.Helper()
		b := newBrowser(t)
		b.stop = l.URL
		resp, _ := b.read(b.Get(h.url + "/auth/oidc/login"))
		to, err := url.Parse(resp.Header.Get("Location"))
		if err != nil || to.Query().Get("code_challenge_method") != "S256" || to.Query().Get("nonce") == "" {
			t.Fatalf("it goes to %s", to)
		}
		if l.nonce == "" {
			l.nonce = to.Query().Get("nonce")
			defer func() { l.nonce = "" }()
		}
		b.stop = h.url
		resp, _ = b.read(b.Get(h.url + "/auth/oidc/callback?code=x&state=" + to.Query().Get("state")))
		return resp.StatusCode
	}
	if got := try(); got != 303 {
		t.Fatalf("a right token: %d", got)
	}
	for what, lie := range map[string]func(){
		"for another":      func() { l.claims = map[string]any{"aud": "another"} },
		"for two":          func() { l.claims = map[string]any{"aud": []string{"flyball", "another"}} },
		"of another":       func() { l.claims = map[string]any{"iss": l.URL + "/"} },
		"over":             func() { l.claims = map[string]any{"exp": time.Now().Add(-time.Minute).Unix()} },
		"of another nonce": func() { l.nonce = "another" },
		"without a nonce":  func() { l.claims = map[string]any{"nonce": nil} },
		"by another key":   func() { l.signer = another },
		"unsigned":         func() { l.header = `{"alg":"none"}` },
		"text for true":    func() { l.claims = map[string]any{"email_verified": "true"} },
		"of no words":      func() { l.claims = map[string]any{"email": 7} },
	} {
		header, signer := l.header, l.signer
		lie()
		if got := try(); got != 403 {
			t.Errorf("a token %s: %d", what, got)
		}
		l.header, l.signer, l.claims, l.nonce = header, signer, nil, ""
	}
	if n := h.must("list_users", fields{}).read(t, "users.#"); n != 1.0 {
		t.Errorf("there are %v accounts", n)
	}
}

func TestAProviderThatIsAnotherThanWasSetIsNotAsked(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	h := open(t, withOIDC(api.OIDC{Issuer: l.URL + "/", ClientID: "flyball"}))
	h.send("GET", "/auth/oidc/login", "", "").want(t, 503)
}
