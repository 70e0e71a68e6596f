package api_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
	"github.com/flyballdev/flyball/internal/store"
)

// ownPage is what a browser sends beside a cookie from a page of ours.
var ownPage = []string{"Content-Type", "application/json", "Sec-Fetch-Site", "same-origin"}

func (h *house) post(path string, body fields, headers ...string) reply {
	h.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.send("POST", path, "", string(data), append(slices.Clone(ownPage), headers...)...)
}

// cookie returns the session that an answer set.
func (r reply) cookie(t testing.TB) *http.Cookie {
	t.Helper()
	for _, c := range r.Cookies() {
		if strings.HasSuffix(c.Name, "flyball-session") {
			return c
		}
	}
	t.Fatalf("no session was set: %d %s", r.StatusCode, r.body)
	return nil
}

func sent(c *http.Cookie) []string { return []string{"Cookie", c.Name + "=" + c.Value} }

const password = "correct horse battery"

// account makes an account with a password, by a link, and returns its session.
func (h *house) account(name string, grants ...fields) *http.Cookie {
	h.t.Helper()
	h.must("create_user", fields{"id": name, "grants": append([]fields{}, grants...), "reason": "a test"})
	link := h.must("set_password", fields{"id": name, "link": true, "reason": "a test"}).read(h.t, "path").(string)
	_, token, _ := strings.Cut(link, "token=")
	return h.post("/auth/setup", fields{"token": token, "password": password}).want(h.t, 200).cookie(h.t)
}

func TestTheFirstPersonSetsUpAndRunsTheInstallation(t *testing.T) {
	t.Parallel()
	h := open(t)
	if r := h.send("GET", "/auth/session", "", ""); r.read(t, "accounts") != false || r.read(t, "signedIn") != false || r.read(t, "oidc") != false {
		t.Errorf("before: %s", r.body)
	}
	link, err := h.service.FirstSetUp(t.Context())
	if err != nil || link == "" {
		t.Fatal(link, err)
	}
	if again, err := h.service.FirstSetUp(t.Context()); err != nil || again != "" {
		t.Fatalf("a second link was made: %q %v", again, err)
	}
	h.post("/auth/setup", fields{"token": link, "name": "ann", "password": "too short"}).want(t, 422)
	h.post("/auth/setup", fields{"token": link, "name": "a b", "password": password}).want(t, 422)
	h.post("/auth/setup", fields{"token": strings.Repeat("0", 64), "name": "ann", "password": password}).want(t, 403)
	r := h.post("/auth/setup", fields{"token": link, "name": "ann", "password": password}).want(t, 200)
	if r.read(t, "user") != "user:ann" || r.read(t, "rights.0.0.role") != "admin" || r.read(t, "accounts") != true {
		t.Errorf("she is %s", r.body)
	}
	c := r.cookie(t)
	if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.MaxAge < 86_000 || c.MaxAge > 86_400 {
		t.Errorf("the cookie is %+v", c)
	}
	h.post("/auth/setup", fields{"token": link, "name": "eve", "password": password}).want(t, 403) // it was used
	h.call("", "create_team", fields{"key": "growth", "reason": "a test"}, append(sent(c), ownPage...)...).want(t, 201)
	entry := h.must("list_audit", fields{"limit": 1})
	if entry.read(t, "entries.0.actor.id") != "user:ann" {
		t.Errorf("the audit log says %s", entry.body)
	}
	h.nowhere(t, password, link, c.Value)
}

// nowhere says that secrets stand neither in the database nor in the audit log.
func (h *house) nowhere(t *testing.T, secrets ...string) {
	t.Helper()
	log := string(h.must("list_audit", fields{"limit": 1000}).body)
	err := h.db.View(t.Context(), func(tx *store.Tx) error {
		users, err := tx.Users()
		for _, u := range users {
			log += fmt.Sprintf("%+v", u)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets {
		if strings.Contains(log, s) {
			t.Errorf("the secret %.6s… stands in the open", s)
		}
	}
}

func TestASetUpLinkIsUsedOnceHoweverManyComeAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t)
	link, err := h.service.FirstSetUp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var in atomic.Int32
	for i := range 8 {
		all.Go(func() {
			if h.post("/auth/setup", fields{"token": link, "name": fmt.Sprint("ann", i), "password": password}).StatusCode == 200 {
				in.Add(1)
			}
		})
	}
	all.Wait()
	if in.Load() != 1 {
		t.Errorf("%d people run the installation", in.Load())
	}
}

func TestASetUpLinkIsOverAfterADay(t *testing.T) {
	t.Parallel()
	h := open(t)
	link, err := h.service.FirstSetUp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = h.db.Update(t.Context(), func(tx *store.Tx) error { return tx.ForgetOldLinks(time.Now().Add(24*time.Hour + time.Minute)) })
	if err != nil {
		t.Fatal(err)
	}
	h.post("/auth/setup", fields{"token": link, "name": "ann", "password": password}).want(t, 403)
}

func TestWhoSignsInGetsAnotherSessionEachTimeAndSignsOutForGood(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	first := h.account("ann", fields{"role": "editor"})
	in := h.post("/auth/login", fields{"name": "ann", "password": password}, sent(first)...).want(t, 200)
	second := in.cookie(t)
	if second.Value == first.Value {
		t.Error("the session is the same after signing in")
	}
	if got := h.send("GET", "/auth/session", "", "", sent(first)...).read(t, "signedIn"); got != false {
		t.Error("the session before still opens doors")
	}
	if r := h.send("GET", "/auth/session", "", "", sent(second)...); r.read(t, "user") != "user:ann" || r.read(t, "browser") != true {
		t.Errorf("she is %s", r.body)
	}
	stepped := h.post("/auth/stepup", fields{"password": password}, sent(second)...).want(t, 200).cookie(t)
	h.send("GET", "/api/v1/flags", "", "", sent(second)...).want(t, 401) // another one since
	h.send("GET", "/api/v1/flags", "", "", sent(stepped)...).want(t, 200)
	out := h.post("/auth/logout", fields{}, sent(stepped)...).want(t, 200)
	if c := out.cookie(t); c.Value != "" || c.MaxAge >= 0 {
		t.Errorf("the browser keeps %+v", c)
	}
	h.send("GET", "/api/v1/flags", "", "", sent(stepped)...).want(t, 401)
}

func TestNobodyIsToldWhetherTheNameOrThePasswordIsWrong(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	h.account("ann")
	h.must("create_user", fields{"id": "off", "reason": "a test"})
	var said []string
	for _, f := range []fields{{"name": "ann", "password": "wrong"}, {"name": "nobody", "password": password}, {"name": "off", "password": password}, {"name": "a\x01b", "password": password}, {"name": "", "password": strings.Repeat("x", 3000)}} {
		r := h.post("/auth/login", f).want(t, 401)
		said = append(said, r.problem(t).Detail)
		if len(r.Cookies()) > 0 {
			t.Errorf("%v set a cookie", f)
		}
	}
	if slices.Sort(said); said[0] != said[len(said)-1] {
		t.Errorf("they are told %q", said)
	}
}

func TestTriesAreBoundedByNameAndByAddress(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	statuses := map[int]int{}
	for range 8 {
		r := h.post("/auth/login", fields{"name": "ann", "password": "wrong"})
		statuses[r.StatusCode]++
	}
	if statuses[401] > 5 || statuses[401] < 3 || statuses[401]+statuses[429] != 8 {
		t.Errorf("eight tries under one name: %v", statuses)
	}
	for i := range 40 {
		statuses[h.post("/auth/login", fields{"name": fmt.Sprint("u", i), "password": "wrong"}).StatusCode]++
	}
	if statuses[401] > 20 {
		t.Errorf("from one address %d tries were heard", statuses[401])
	}
}

func TestACookieChangesNothingFromAnotherSitesPage(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	c := sent(h.account("ann", fields{"role": "admin"}))
	method, path, body := request(t, operation(t, "kill_flag"), in(search))
	h.unchanged(func() {
		for what, headers := range map[string][]string{
			"another site's":   {"Content-Type", "application/json", "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
			"a sister's":       {"Content-Type", "application/json", "Sec-Fetch-Site", "same-site", "Origin", "https://blog.example.com"},
			"an old browser's": {"Content-Type", "application/json", "Origin", "https://evil.example"},
			"a sandbox's":      {"Content-Type", "application/json", "Origin", "null"},
		} {
			if r := h.send(method, path, "", body, append(c[:2:2], headers...)...); r.StatusCode != 403 {
				t.Errorf("%s: %d", what, r.StatusCode)
			}
			for _, door := range []string{"login", "logout", "setup", "stepup"} {
				if r := h.send("POST", "/auth/"+door, "", "{}", append(c[:2:2], headers...)...); r.StatusCode != 403 {
					t.Errorf("%s, %s: %d", door, what, r.StatusCode)
				}
			}
		}
		for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx"} {
			h.send(method, path, "", body, append(c[:2:2], "Content-Type", kind, "Sec-Fetch-Site", "same-origin")...).want(t, 422)
		}
		h.send("GET", path, "", "", c...).want(t, 405) // nothing changes by following a link
		for _, header := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
			h.send("GET", path+"?_method=POST", "", "", append(c[:2:2], header, "POST")...).want(t, 405)
		}
		h.send(method, path, "", body, append(c[:2:2], "Authorization", "Basic YTpi", "Content-Type", "application/json", "Sec-Fetch-Site", "cross-site")...).want(t, 403)
		h.send(method, path, "", body, append([]string{"Cookie", "flyball-session=" + h.admin}, ownPage...)...).want(t, 401)
		h.send(method, path, "", body, append([]string{"Cookie", "__Host-" + c[1]}, ownPage...)...).want(t, 401)
	})
	h.send(method, path, "", body, append(c[:2:2], ownPage...)...).want(t, 200)
	if r := h.send("POST", path, h.admin, body, "Origin", "https://evil.example"); r.StatusCode == 403 {
		t.Error("a token was refused for where it comes from: no page has it by itself")
	}
}

func TestNobodySignsInOverAnOpenNetwork(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	h.account("ann")
	req, err := http.NewRequestWithContext(t.Context(), "POST", h.url+"/auth/login", strings.NewReader(`{"name":"ann","password":"`+password+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "flyball.example.com"
	req.Header.Set("Content-Type", "application/json")
	resp, err := h.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 403 || len(resp.Cookies()) > 0 {
		t.Errorf("it answers %d and sets %v", resp.StatusCode, resp.Cookies())
	}
}

func TestASessionAdministersOnlyShortlyAfterAPassword(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	h.known("ada", fields{"role": "admin"})
	stale := h.session("ada", time.Now().Add(-6*time.Minute))
	h.unchanged(func() {
		r := h.call("", "create_team", fields{"key": "growth", "reason": "a test"}, stale...).want(t, 403)
		if r.problem(t).Details["stepUp"] != true {
			t.Errorf("it says %s", r.body)
		}
	})
	h.call("", "kill_flag", in(search), stale...).want(t, 200) // what users get is another matter
	h.call("", "create_team", fields{"key": "growth", "reason": "a test"}, h.session("ada", time.Now().Add(-4*time.Minute))...).want(t, 201)
}

func TestWhoIsDisabledIsOutAtOnce(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	c := sent(h.account("ann", fields{"role": "editor"}))
	token := h.token(fields{"kind": "api", "name": "t", "actor": "user:ann"})
	agent := h.token(fields{"kind": "agent", "name": "t", "actor": "agent:bot", "onBehalfOf": "user:ann", "envelope": wide})
	h.send("GET", "/api/v1/flags", token, "").want(t, 200)
	h.send("GET", "/api/v1/flags", agent, "").want(t, 200)
	waits := make(chan reply, 1)
	go func() { waits <- h.call(token, "await_rollout", fields{"id": fast, "for": "end", "timeout": "60s"}) }()
	eventually(t, "somebody waits", func() bool { return h.api.Waiting() == 1 })
	h.must("disable_user", fields{"id": "ann", "reason": "she leaves"})
	h.send("GET", "/api/v1/flags", token, "").want(t, 401)
	h.send("GET", "/api/v1/flags", agent, "").want(t, 401)
	h.send("GET", "/api/v1/flags", "", "", c...).want(t, 401)
	h.post("/auth/login", fields{"name": "ann", "password": password}).want(t, 401)
	select {
	case <-waits:
	case <-time.After(30 * time.Second): // five, on a machine that has time
		t.Error("what she waited for goes on")
	}
	h.must("update_user", fields{"id": "ann", "grants": []fields{{"role": "viewer"}}, "reason": "she is back"})
	h.send("GET", "/api/v1/flags", token, "").want(t, 200)
	h.call(token, "kill_flag", in(search)).want(t, 403)
}

func TestAnotherNodeHonoursADisabledAccountWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	h.known("ann", fields{"role": "editor"})
	token := h.token(fields{"kind": "api", "name": "t", "actor": "user:ann"})
	other, err := service.New(t.Context(), h.db, service.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Authenticate(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	h.must("disable_user", fields{"id": "ann", "reason": "a test"})
	begun := time.Now()
	eventually(t, "the other node refuses her token", func() bool {
		_, err := other.Authenticate(t.Context(), token)
		return flyball.CodeOf(err) == flyball.Unauthenticated
	})
	if took := time.Since(begun); took > 4*time.Second { // two, on a machine that has time
		t.Errorf("it took %v", took)
	}
}

func TestPeopleChooseTheirOwnPasswordsOnly(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	c := append(sent(h.account("ann", fields{"role": "admin"})), ownPage...)
	const better = "a better horse battery"
	own := fields{"id": "ann", "current": password, "password": better, "reason": "it was seen"}
	h.unchanged(func() {
		h.call("", "set_password", own.with("current", "wrong"), c...).want(t, 422)
		h.call("", "set_password", own.with("password", "short"), c...).want(t, 422)
		h.call("", "set_password", own.with("id", "kim"), c...).want(t, 403)
		h.call(h.admin, "set_password", own).want(t, 403)
		h.call("", "set_password", fields{"id": "ann", "reason": "a test"}, c...).want(t, 422)
		method, path, body := request(t, operation(t, "set_password"), own)
		h.send(method, path+"?propose=true", "", body, c...).want(t, 403)
	})
	h.plansNoPassword(own, c)
	h.call("", "set_password", own, c...).want(t, 200)
	h.send("GET", "/api/v1/flags", "", "", c...).want(t, 401) // sessions end with the password
	h.post("/auth/login", fields{"name": "ann", "password": better}).want(t, 200)
	h.nowhere(t, password, better)
}

// plansNoPassword plans another password for ann, and wants neither in what is kept
// of the plan.
func (h *house) plansNoPassword(own fields, session []string) {
	h.t.Helper()
	token := h.call("", "create_token", fields{"kind": "api", "name": "hers", "actor": "user:ann", "reason": "a test"}, session...).want(h.t, 201)
	method, path, body := request(h.t, operation(h.t, "set_password"), own)
	digest := h.send(method, path+"?dryRun=true", token.read(h.t, "secret").(string), body).want(h.t, 200).read(h.t, "digest").(string)
	err := h.db.View(h.t.Context(), func(tx *store.Tx) error {
		kept, err := tx.PlannedChange(token.read(h.t, "id").(string), digest)
		if strings.Contains(string(kept.Input), "horse") {
			h.t.Errorf("a plan keeps %s", kept.Input)
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestNobodyShutsThemselvesOut(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	h.known("ada", fields{"role": "admin"})
	token := h.token(fields{"kind": "api", "name": "t", "actor": "user:ada"})
	h.unchanged(func() {
		h.call(token, "disable_user", fields{"id": "ada", "reason": "a test"}).want(t, 409)
		h.call(token, "update_user", fields{"id": "ada", "grants": []fields{{"role": "viewer"}}, "reason": "a test"}).want(t, 409)
		r := h.call(token, "update_user", fields{"id": "kim", "grants": []fields{{"role": "editor", "team": "nobodys", "environment": "nowhere"}, {"role": "boss"}}, "reason": "a test"}).want(t, 422)
		if got := r.fields(t); !slices.Equal(got, []string{"grants[1].role"}) {
			t.Errorf("it blames %q", got)
		}
		r = h.call(token, "create_token", fields{"kind": "api", "name": "x", "grants": []fields{{"role": "editor", "team": "nobodys", "environment": "nowhere"}}, "reason": "a test"}).want(t, 422)
		if got := r.fields(t); !slices.Equal(got, []string{"grants[0].environment", "grants[0].team"}) {
			t.Errorf("it blames %q", got)
		}
	})
}

func TestTokensTellWhenTheyWereLastUsed(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	used, unused := h.sdk(), h.token(fields{"kind": "api", "name": "unused"})
	h.send("GET", "/sdk/v1/ruleset", used, "").want(t, 200)
	for _, when := range []string{"at once", "once that is written down"} {
		var all service.Tokens
		if err := json.Unmarshal(h.must("list_tokens", fields{}).body, &all); err != nil {
			t.Fatal(err)
		}
		for _, token := range all.Tokens {
			switch {
			case strings.Contains(used, token.ID) && (token.LastUsed == nil || time.Since(token.LastUsed.Time) > time.Minute):
				t.Errorf("the one that was used, %s: %+v", when, token)
			case strings.Contains(unused, token.ID) && (token.LastUsed != nil || token.CreatedBy != "user:admin"):
				t.Errorf("the one that was not used, %s: %+v", when, token)
			}
		}
		if err := h.service.NoteUses(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestASessionThatNobodyUsedIsOver(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	h.known("ann")
	for what, s := range map[string]struct {
		created, seen time.Duration
		status        int
	}{
		"unused for eight hours": {9 * time.Hour, 8*time.Hour + time.Minute, 401}, "a day old": {24*time.Hour + time.Minute, 0, 401}, "in use": {23 * time.Hour, 7 * time.Hour, 200},
	} {
		id := fmt.Sprintf("s%012x", len(what))
		secret := id + "_" + strings.Repeat("a", 64)
		err := h.db.Update(t.Context(), func(tx *store.Tx) error {
			sum := sha256.Sum256([]byte(secret))
			return tx.InsertSession(store.Session{ID: id, User: "user:ann", Created: time.Now().Add(-s.created), Seen: time.Now().Add(-s.seen)}, sum[:])
		})
		if err != nil {
			t.Fatal(err)
		}
		if r := h.send("GET", "/api/v1/flags", "", "", "Cookie", "flyball-session="+secret); r.StatusCode != s.status {
			t.Errorf("%s: %d", what, r.StatusCode)
		}
		if r := h.send("GET", "/api/v1/flags", "", "", "Cookie", "flyball-session="+secret[:len(secret)-1]+"b"); r.StatusCode != 401 {
			t.Errorf("%s, with another secret: %d", what, r.StatusCode)
		}
		h.send("GET", "/api/v1/flags", secret, "").want(t, 401) // a session is no token
	}
	if err := h.service.NoteUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = h.db.View(t.Context(), func(tx *store.Tx) error {
		for what, kept := range map[string]bool{"unused for eight hours": false, "a day old": false, "in use": true} {
			if _, _, err := tx.SessionByID(fmt.Sprintf("s%012x", len(what))); (err == nil) != kept {
				t.Errorf("%s: %v", what, err)
			}
		}
		return nil
	})
}
