package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const ofrep = "/ofrep/v1/evaluate/flags"

func about(attributes fields) string {
	data, _ := json.Marshal(fields{"context": attributes})
	return string(data)
}

func user(more ...any) fields {
	f := fields{"targetingKey": "user-1"}
	for i := 0; i < len(more); i += 2 {
		f = f.with(more[i].(string), more[i+1])
	}
	return f
}

// typed makes a flag that serves one value.
func (h *house) typed(key, kind string, value any, visible bool) {
	h.t.Helper()
	h.must("create_flag", fields{
		"key": key, "kind": "ops", "owner": "default", "type": kind, "variants": fields{"it": value}, "safeVariant": "it",
		"clientVisible": visible, "reason": "a test",
	})
	h.must("enable_flag", in(key))
}

func TestOFREPServesValuesOfAllTypesAsTheyAre(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk := h.sdk()
	for key, c := range map[string]struct{ kind, value string }{
		"types.false": {"boolean", `false`}, "types.true": {"boolean", `true`}, "types.empty": {"string", `""`},
		"types.text": {"string", `"<b>ü & \"q\""`}, "types.zero": {"integer", `0`}, "types.large": {"integer", `9007199254740993`},
		"types.least": {"integer", `-9223372036854775808`}, "types.number": {"number", `0.1`}, "types.whole": {"number", `3`},
		"types.object": {"object", `{"a":{"b":[1,2.5,null,"x",9007199254740993]}}`}, "types.list": {"object", `[]`},
	} {
		h.typed(key, c.kind, json.RawMessage(c.value), false)
		r := h.send("POST", ofrep+"/"+key, sdk, about(user())).want(t, 200)
		var got struct {
			Key, Variant, Reason string
			Value                json.RawMessage
			Metadata             map[string]any
		}
		if err := json.Unmarshal(r.body, &got); err != nil {
			t.Fatal(err)
		}
		if string(got.Value) != c.value || got.Key != key || got.Variant != "it" || got.Reason != "STATIC" || got.Metadata["version"] != float64(h.state().Production) {
			t.Errorf("%s, want the value %s: %s", key, c.value, r.body)
		}
		if ct := r.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/json") {
			t.Errorf("it is of type %s", ct)
		}
	}
}

func TestOFREPTellsWhy(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk := h.sdk()
	h.must("add_rule", in(banner).with("rule", rule("nobody", country("XX"), fields{"variant": "on"})))
	h.must("enable_flag", in(banner))
	live := h.must("get_rollout", fields{"id": fast}).read(t, "id")
	for what, c := range map[string]struct {
		key  string
		in   fields
		want map[string]any
	}{
		"a rule":        {search, fields{"targetingKey": "tester-1"}, map[string]any{"reason": "TARGETING_MATCH", "variant": "new", "value": "new", "metadata.rule": "staff"}},
		"another rule":  {search, user("country", "CA"), map[string]any{"reason": "TARGETING_MATCH", "variant": "other", "metadata.rule": "canada"}},
		"a split":       {search, user("country", "FR"), map[string]any{"reason": "SPLIT", "metadata.rule": nil}},
		"a default":     {banner, user(), map[string]any{"reason": "DEFAULT", "variant": "off", "value": false}},
		"a kill":        {killed, user(), map[string]any{"reason": "DISABLED", "variant": "off", "value": false}},
		"a rollout":     {fast, user(), map[string]any{"reason": "SPLIT", "metadata.rollout": live, "metadata.step": 0.0}},
		"of no unit":    {fast, fields{}, map[string]any{"reason": "DEFAULT", "variant": "off", "value": false}},
		"an empty unit": {fast, fields{"targetingKey": ""}, map[string]any{"reason": "DEFAULT", "variant": "off"}},
	} {
		r := h.send("POST", ofrep+"/"+c.key, sdk, about(c.in)).want(t, 200)
		for path, want := range c.want {
			if got := r.read(t, path); got != want {
				t.Errorf("%s: %s is %v, want %v: %s", what, path, got, want, r.body)
			}
		}
	}
	h.must("disable_flag", in(search))
	if r := h.send("POST", ofrep+"/"+search, sdk, about(user())).want(t, 200); r.read(t, "reason") != "DISABLED" || r.read(t, "value") != "old" {
		t.Errorf("disabled: %s", r.body)
	}
}

func TestOFREPTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk := h.sdk()
	for what, c := range map[string]struct {
		path, body string
		status     int
		code       string
	}{
		"no such flag":           {"/nobody.made.it", about(user()), 404, "FLAG_NOT_FOUND"},
		"an archived flag":       {"/" + gone, about(user()), 404, "FLAG_NOT_FOUND"},
		"no key":                 {"/", about(user()), 404, "FLAG_NOT_FOUND"},
		"an encoded slash":       {"/a%2Fb", about(user()), 404, "FLAG_NOT_FOUND"},
		"an encoded slash, more": {"/" + search + "%2F", about(user()), 404, "FLAG_NOT_FOUND"},
		"a plain slash":          {"/a/b/c", about(user()), 404, "FLAG_NOT_FOUND"},
		"dots":                   {"/%2e%2e%2f%2e%2e", about(user()), 404, "FLAG_NOT_FOUND"},
		"a zero byte":            {"/a%00b", about(user()), 404, "FLAG_NOT_FOUND"},
		"no text":                {"/%ff%fe", about(user()), 404, "FLAG_NOT_FOUND"},
		"an escape of an escape": {"/shop%252Esearch%252Enew", about(user()), 404, "FLAG_NOT_FOUND"},
		"no unit":                {"/" + search, about(fields{}), 400, "TARGETING_KEY_MISSING"},
		"no body":                {"/" + search, "", 400, "TARGETING_KEY_MISSING"},
		"no context":             {"/" + search, "{}", 400, "TARGETING_KEY_MISSING"},
		"a context of null":      {"/" + search, `{"context":null}`, 400, "TARGETING_KEY_MISSING"},
		"a unit that is none":    {"/" + search, about(fields{"targetingKey": nil}), 400, "TARGETING_KEY_MISSING"},
		"a unit of numbers":      {"/" + search, about(fields{"targetingKey": 7}), 400, "INVALID_CONTEXT"},
		"a context of text":      {"/" + search, `{"context":"x"}`, 400, "INVALID_CONTEXT"},
		"a list":                 {"/" + search, `[]`, 400, "INVALID_CONTEXT"},
		"half a body":            {"/" + search, `{"context":{`, 400, "INVALID_CONTEXT"},
		"half a body, in bulk":   {"", `{"context":{`, 400, "INVALID_CONTEXT"},
		"a list, in bulk":        {"", `{"context":[]}`, 400, "INVALID_CONTEXT"},
	} {
		r := h.send("POST", ofrep+c.path, sdk, c.body)
		if r.StatusCode != c.status || r.read(t, "errorCode") != c.code || r.read(t, "errorDetails") == nil {
			t.Errorf("%s: %d, want %d %s: %s", what, r.StatusCode, c.status, c.code, r.body)
		}
		if key := r.read(t, "key"); c.path != "" && key == nil && c.path != "/" || r.read(t, "value") != nil || r.read(t, "reason") != nil {
			t.Errorf("%s: %s", what, r.body)
		}
	}
	// What needs no unit asks for none, and a newer field is no fault.
	h.send("POST", ofrep+"/"+banner, sdk, "").want(t, 200)
	h.send("POST", ofrep+"/"+banner, sdk, `{"context":{},"of a later version":1}`).want(t, 200)
	h.send("POST", ofrep+"/"+banner, sdk, about(user("x", strings.Repeat("x", 70_000)))).want(t, 413)
	h.send("POST", ofrep+"/"+banner, "", about(user()), "X-API-Key", sdk).want(t, 200)
}

func TestOFREPAnswersInBulk(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk := h.sdk()
	r := h.send("POST", ofrep, sdk, "").want(t, 200)
	got := map[string]any{}
	for _, f := range r.read(t, "flags").([]any) {
		if code := dig(f, "errorCode"); code != nil {
			got[dig(f, "key").(string)] = code
		} else {
			got[dig(f, "key").(string)] = dig(f, "value")
		}
	}
	want := map[string]any{fast: false, search: "TARGETING_KEY_MISSING", banner: false, killed: false}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("in bulk it serves (-want +got):\n%s", d)
	}
	if r.read(t, "metadata.version") != float64(h.state().Production) {
		t.Errorf("its metadata is %v", r.read(t, "metadata"))
	}
	limited := h.token(fields{"kind": "sdk", "name": "s", "environment": "production", "flags": []string{"site.*"}})
	if r := h.send("POST", ofrep, limited, about(user())).want(t, 200); r.read(t, "flags.#") != 1.0 || r.read(t, "flags.0.key") != banner {
		t.Errorf("a token of site.* is served %s", r.body)
	}
}

func TestOFREPTagsFollowTheRulesetAndTheContext(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk := h.sdk()
	ask := func(in fields, headers ...string) reply {
		t.Helper()
		return h.send("POST", ofrep, sdk, about(in), headers...)
	}
	tag := ask(user("plan", "pro")).want(t, 200).Header.Get("ETag")
	if !strings.HasPrefix(tag, `"`) || !strings.HasSuffix(tag, `"`) || len(tag) < 10 {
		t.Fatalf("the tag is %s", tag)
	}
	for header, status := range map[string]int{
		tag: 304, "W/" + tag: 304, `"x",` + tag: 304, `W/"x" , ` + tag + ` , "y"`: 304, "*": 304, `"x"`: 200, "": 200,
	} {
		r := ask(user("plan", "pro"), "If-None-Match", header).want(t, status)
		if r.Header.Get("ETag") != tag || status == 304 && len(r.body) > 0 {
			t.Errorf("If-None-Match: %s: tag %s with %d bytes", header, r.Header.Get("ETag"), len(r.body))
		}
	}
	// The order of the attributes is none, and no attribute is without effect.
	same := h.send("POST", ofrep, sdk, `{ "context" : {"plan":"pro" , "targetingKey":"user-1"} }`)
	if same.Header.Get("ETag") != tag {
		t.Error("the same context has another tag")
	}
	seen := map[string]string{tag: "the first"}
	for what, in := range map[string]fields{"another plan": user("plan", "free"), "another unit": {"targetingKey": "user-2", "plan": "pro"}, "no plan": user(), "a nested plan": user("plan", fields{"x": 1})} {
		r := ask(in, "If-None-Match", tag).want(t, 200)
		if before, ok := seen[r.Header.Get("ETag")]; ok {
			t.Errorf("%s has the tag of %s", what, before)
		}
		seen[r.Header.Get("ETag")] = what
	}
	h.must("disable_flag", in(search))
	if r := ask(user("plan", "pro"), "If-None-Match", tag).want(t, 200); seen[r.Header.Get("ETag")] != "" {
		t.Error("another ruleset has the same tag")
	}
}

func TestPagesOfAllOriginsMayEvaluate(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	client := h.token(fields{"kind": "client", "name": "c", "environment": "production"})
	for _, path := range []string{ofrep, ofrep + "/" + banner, ofrep + "/a%2Fb"} {
		pre := h.send("OPTIONS", path, "", "", "Origin", "https://shop.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type,authorization").want(t, 204)
		for header, want := range map[string][]string{
			"Access-Control-Allow-Origin": {"*"}, "Access-Control-Allow-Methods": {"POST", "GET", "OPTIONS"}, "Access-Control-Max-Age": {"86400"}, "Vary": {"Origin"},
			"Access-Control-Allow-Headers": {"Content-Type", "Authorization", "X-API-Key", "If-None-Match", "traceparent", "baggage"},
		} {
			for _, part := range want {
				if !strings.Contains(pre.Header.Get(header), part) {
					t.Errorf("%s: %s is %q, and lacks %s", path, header, pre.Header.Get(header), part)
				}
			}
		}
	}
	for what, r := range map[string]reply{
		"an answer": h.send("POST", ofrep, client, "", "Origin", "https://shop.example").want(t, 200),
		"a refusal": h.send("POST", ofrep, "", "", "Origin", "https://shop.example").want(t, 401),
		"a flag":    h.send("POST", ofrep+"/"+banner, client, "").want(t, 200),
		"no flag":   h.send("POST", ofrep+"/nobody", client, "").want(t, 404),
		"no fault":  h.send("POST", ofrep, client, "{").want(t, 400),
	} {
		if r.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(r.Header.Get("Access-Control-Expose-Headers"), "ETag") || !strings.Contains(r.Header.Get("Access-Control-Expose-Headers"), "Retry-After") {
			t.Errorf("%s: a page may not read it: %v", what, r.Header)
		}
	}
	if r := h.send("GET", "/api/v1/flags", h.admin, "", "Origin", "https://evil.example").want(t, 200); r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("pages of all origins may manage")
	}
}

// A client token is public by nature: what it opens must tell nothing but the
// values of the flags that clients may see.
func TestAClientTokenTellsNotAByteOfWhatIsHidden(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	h.must("configure_flag", in(banner).with("enabled", true).with("default", fields{"variant": "on"}).
		with("prerequisites", []fields{{"flag": search, "variant": "new"}}).
		with("rules", []fields{rule("secret-rule", fields{"segment": "testers"}, fields{"variant": "on"})}))
	h.must("create_flag", boolean("site.header.live").with("clientVisible", true))
	h.must("enable_flag", in("site.header.live"))
	live := h.must("start_rollout", plan("site.header.live")).read(t, "id").(string)
	client := h.token(fields{"kind": "client", "name": "c", "environment": "production"})
	hidden := []string{fast, search, killed, gone, "secret-rule", "staff", "canada", "testers", "tester-1", "other", live, "shop.", "staging", "development", "default-team"}
	bodies := []string{"", about(user()), about(fields{"targetingKey": "tester-1"}), about(user("country", "CA")), "{", about(fields{"targetingKey": 7})}
	paths := []string{ofrep, ofrep + "/" + banner, ofrep + "/site.header.live", ofrep + "/nobody"}
	for _, path := range paths {
		for _, body := range bodies {
			r := h.send("POST", path, client, body)
			all := string(r.body)
			for name, values := range r.Header {
				all += name + strings.Join(values, " ")
			}
			for _, secret := range hidden {
				if strings.Contains(all, secret) {
					t.Errorf("%s, %s: it tells of %s: %s", path, body, secret, all)
				}
			}
		}
	}
	if r := h.send("POST", ofrep, client, about(user())).want(t, 200); r.read(t, "flags.#") != 2.0 {
		t.Errorf("in bulk: %s", r.body)
	}
	// A flag that is hidden and one that is not there are told alike.
	var told []string
	for _, key := range []string{search, "nobody.made.it"} {
		r := h.send("POST", ofrep+"/"+key, client, about(user())).want(t, 404)
		told = append(told, strings.ReplaceAll(string(r.body), key, "KEY"))
	}
	if told[0] != told[1] {
		t.Errorf("hidden: %s, missing: %s", told[0], told[1])
	}
	for _, path := range []string{"/sdk/v1/ruleset", "/sdk/v1/stream", "/api/v1/flags", "/api/v1/audit"} {
		r := h.send("GET", path, client, "").want(t, 403)
		for _, secret := range hidden {
			if strings.Contains(string(r.body), secret) {
				t.Errorf("%s tells of %s: %s", path, secret, r.body)
			}
		}
	}
}
