package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball/internal/api"
)

// Whatever a body holds, the answer is never a fault of ours.
func FuzzRequests(f *testing.F) {
	h := furnished(f)
	all := doors(h)
	sdk := h.sdk()
	for i, d := range all {
		for _, body := range []string{
			d.body, strings.Replace(d.body, `" "`, `"a test"`, 1), "", "null", "[]", `{"reason":"a test"}`, `{"reason":null,"key":null}`, "{\"reason\":\"\\u0000\"}",
			strings.ReplaceAll(d.body, `"`, `'`), strings.ReplaceAll(d.body, ":", ":["), strings.Replace(d.body, `{`, `{"":{},`, 1),
			strings.ReplaceAll(strings.ReplaceAll(d.body, "100000", "-9e18"), "500000", "1e300"), strings.ReplaceAll(d.body, "true", "null"),
			strings.ReplaceAll(d.body, `["`, `[[["`), strings.ReplaceAll(d.body, `"production"`, `"\ud800"`),
		} {
			f.Add(uint8(i), "", []byte(body))
		}
		for _, manner := range []string{"dryRun=true", "propose=true", "breakGlass=true", "dryRun=1&propose=1", "dryrun=true"} {
			f.Add(uint8(i), manner, []byte(strings.Replace(d.body, `" "`, `"a test"`, 1)))
		}
		f.Add(uint8(i), "reason=&limit=1e9&after=-1&archived=2&key=x&%00=%ff&;", []byte("x"))
		f.Add(uint8(i), "limit=\x00&environment=%00", []byte{})
	}
	f.Fuzz(func(t *testing.T, row uint8, query string, body []byte) {
		d := all[int(row)%len(all)]
		if d.name == "stream" {
			return
		}
		path, _, _ := strings.Cut(d.path, "?")
		req := httptest.NewRequest(d.method, path, strings.NewReader(string(body)))
		req.URL.RawQuery = query
		if d.name == "await_rollout" || d.path == "/api/v1/events" { // they go on for as long as they are told, or until the request ends
			ctx, cancel := context.WithTimeout(req.Context(), 10*time.Millisecond)
			defer cancel()
			req = req.WithContext(ctx)
		}
		token := h.admin
		if strings.HasPrefix(path, "/sdk/") || strings.HasPrefix(path, "/ofrep/") {
			token = sdk
		}
		req.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.api.ServeHTTP(w, req)
		resp := w.Result()
		resp.Request = req
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		judge := house{t: t}
		judge.sane(reply{resp, data})
		if resp.StatusCode >= 500 {
			t.Errorf("%s %s?%s %q: %s", d.method, path, query, body, data)
		}
		h.complaints.tell(t)
	})
}

// However a request was refused, the next one of the same connection is read
// as it was sent.
func TestARefusalLeavesNothingBehindOnItsConnection(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	for _, o := range api.Operations() {
		if !o.HasBody() {
			continue
		}
		h.send(o.Method, strings.NewReplacer("{", "", "}", "").Replace(o.Path), "garbage", `{"reason":"`+strings.Repeat("x", 1000)+`"}`).want(t, 401)
		h.call(h.admin, "get_flag", fields{"key": fast}).want(t, 200)
	}
}

func TestARequestGoesByItsIdEverywhere(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	for i, id := range []string{"0192f3c4-1111-7aaa-8bbb-000000000001", "a", strings.Repeat("x", 64), "Trace_1.2-3"} {
		name := []string{"disable_flag", "enable_flag"}[i%2]
		if got := h.call(h.admin, name, in(search), "X-Request-Id", id).want(t, 200).Header.Get("X-Request-Id"); got != id {
			t.Errorf("%q goes by %q", id, got)
		}
		if got := h.must("list_audit", fields{"limit": 1}).read(t, "entries.0.request"); got != id {
			t.Errorf("the audit log knows %q as %q", id, got)
		}
	}
	seen := map[string]bool{}
	for _, id := range []string{"", " ", "a b", strings.Repeat("x", 65), "<script>", "ü", "a/b"} {
		got := h.call(h.admin, "kill_flag", in("nobody.made.it"), "X-Request-Id", id).want(t, 404).Header.Get("X-Request-Id")
		if len(got) != 16 || seen[got] {
			t.Errorf("%q goes by %q", id, got)
		}
		seen[got] = true
	}
}

func TestOneOfManyWhoReadTheSameVersionWins(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	read := h.must("get_flag", fields{"key": search}).read(t, "environments/production/version")
	before := h.state()
	const people = 8
	statuses := make(chan int, people)
	for i := range people {
		go func() {
			variant := []string{"old", "new", "other"}[i%3]
			method, path, body := request(t, operation(t, "set_default"), in(search).with("ifVersion", read).with("default", fields{"variant": variant}))
			resp := h.begin(method, path, h.admin, body)
			resp.Body.Close()
			statuses <- resp.StatusCode
		}()
	}
	count := map[int]int{}
	for range people {
		count[<-statuses]++
	}
	if count[200] != 1 || count[409] != people-1 {
		t.Errorf("the answers are %v", count)
	}
	if after := h.state(); after.Production != before.Production+1 || after.Audit != before.Audit+1 {
		t.Errorf("after %+v it is %+v", before, after)
	}
}

// Changes that come at once are all kept, each with a version of its own.
func TestChangesThatComeAtOnceAreAllKept(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	before := h.state()
	const people = 12
	done := make(chan int, people)
	for i := range people {
		go func() {
			method, path, body := request(t, operation(t, "create_flag"), boolean(fmt.Sprint("shop.many.n", i)))
			resp := h.begin(method, path, h.admin, body)
			resp.Body.Close()
			done <- resp.StatusCode
		}()
	}
	for range people {
		if status := <-done; status != 201 {
			t.Errorf("%d", status)
		}
	}
	after := h.state()
	if after.Production != before.Production+people || after.Audit != before.Audit+3*people {
		t.Errorf("after %+v it is %+v", before, after)
	}
	if n := h.send("GET", "/sdk/v1/ruleset", h.sdk(), "").read(t, "flags.#"); n != 4.0+people {
		t.Errorf("%v flags are served", n)
	}
}
