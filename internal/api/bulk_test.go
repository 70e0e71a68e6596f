package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// flagsOf reads a bulk answer, by key.
func flagsOf(t *testing.T, r reply) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, f := range r.want(t, 200).read(t, "flags").([]any) {
		all[dig(f, "key").(string)] = f
	}
	return all
}

// Whatever is put together of what, or kept from the last time: in bulk, each
// flag is told as it is told alone.
func TestABulkAnswerIsWhatEachFlagAnswersAlone(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	h.must("configure_flag", in(banner).with("enabled", true).with("default", fields{"variant": "off"}).
		with("prerequisites", []fields{{"flag": search, "variant": "other"}}).
		with("rules", []fields{
			rule("deep", fields{"attribute": "plan.name", "op": "in", "values": []string{"pro"}}, fields{"variant": "on"}),
			rule("old", fields{"attribute": "age", "op": "gte", "values": []any{18}}, fields{"variant": "on"}),
		}))
	tokens := map[string]string{
		"sdk": h.sdk(), "client": h.token(fields{"kind": "client", "name": "c", "environment": "production"}),
		"limited": h.token(fields{"kind": "sdk", "name": "s", "environment": "production", "flags": []string{"site.*", "shop.killed.*"}}),
	}
	var contexts []string
	for _, unit := range []string{`"targetingKey":"tester-1"`, `"targetingKey":"user-1"`, `"targetingKey":"user-2"`, `"x":1`} {
		for _, more := range []string{`"country":"CA"`, `"country":"FR"`, `"country":"CA","age":42`, `"age":17.5,"country":"CA"`, `"country":["CA"],"plan":{"name":"pro"}`, `"country":null,"age":"18"`} {
			contexts = append(contexts, `{"context":{`+unit+`,`+more+`}}`, `{"context":{`+more+`,"noise":"n",`+unit+`}}`)
		}
	}
	kinds := map[string]bool{}
	for round := range 2 { // the second is answered from what was kept
		for kind, token := range tokens {
			for _, body := range contexts {
				all := flagsOf(t, h.send("POST", ofrep, token, body))
				for key, got := range all {
					var alone any
					if err := json.Unmarshal(h.send("POST", ofrep+"/"+key, token, body).body, &alone); err != nil {
						t.Fatal(err)
					}
					if d := cmp.Diff(alone, got); d != "" {
						t.Errorf("%s, round %d, %s: %s is told alone and in bulk (-,+):\n%s", kind, round, body, key, d)
					}
					kinds[fmt.Sprint(key, dig(got, "variant"), dig(got, "metadata"), dig(got, "errorCode"))] = true
				}
			}
		}
	}
	if len(kinds) < 12 {
		t.Errorf("only %d answers were seen: %v", len(kinds), kinds)
	}
}

// What was kept is not given beyond a date at which the answer changes.
func TestABulkAnswerChangesWhenADatePasses(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	until := time.Now().Add(2 * time.Second)
	h.must("configure_flag", in(banner).with("enabled", true).with("default", fields{"variant": "off"}).
		with("rules", []fields{rule("sale", country("CA"), fields{"variant": "on"}).with("notAfter", until.Format(time.RFC3339Nano))}))
	sdk, body := h.sdk(), about(user("country", "CA"))
	first := h.send("POST", ofrep, sdk, body)
	tag := first.Header.Get("ETag")
	if got := dig(flagsOf(t, first)[banner], "value"); got != true && time.Now().Before(until) {
		t.Fatalf("before the date it serves %v", got)
	}
	eventually(t, "the date has passed", func() bool {
		r := h.send("POST", ofrep, sdk, body, "If-None-Match", tag)
		return r.StatusCode == http.StatusOK && dig(flagsOf(t, r)[banner], "value") == false && r.Header.Get("ETag") != tag
	})
	if time.Now().Before(until) {
		t.Error("the answer changed too early")
	}
}

// Tokens that see the same share what is kept, and not their tickets.
func TestEachTokenGetsItsOwnTicket(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	ticket := func(token string) string {
		t.Helper()
		return h.send("POST", ofrep, token, about(user())).want(t, 200).read(t, "eventStreams.0.endpoint.requestUri").(string)
	}
	r := h.must("create_token", fields{"kind": "sdk", "name": "s", "environment": "production", "reason": "a test"})
	one, other := r.read(t, "secret").(string), h.sdk()
	its := ticket(one)
	if its == ticket(other) || its != ticket(one) {
		t.Errorf("tickets are %q, %q and %q", its, ticket(other), ticket(one))
	}
	h.must("revoke_token", fields{"id": r.read(t, "id"), "reason": "a test"})
	h.send("POST", ofrep, one, "").want(t, 401)
	h.send("GET", its, "", "").want(t, 401)
	resp := h.begin("GET", ticket(other), "", "")
	defer resp.Body.Close()
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("the other's ticket opens %s", resp.Status)
	}
}
