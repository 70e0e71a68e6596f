package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/flyballdev/flyball/internal/api"
)

// members is a JSON object that can have one name twice, unlike a map.
type members []struct {
	name  string
	value any
}

func (m members) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, v := range m {
		b.WriteByte("{,"[min(i, 1)])
		name, err := json.Marshal(v.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(v.value)
		if err != nil {
			return nil, err
		}
		b.Write(append(append(name, ':'), value...))
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// doubled calls f with v once for each object in it and each name of that, which
// has another beside it, with the value that other gives.
func doubled(v any, other func(name string) string, f func(whole any, path string)) {
	doubledAt(v, "", other, f)
}

func doubledAt(v any, path string, other func(string) string, f func(any, string)) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			var m members
			for _, k := range slices.Sorted(maps.Keys(v)) {
				m = append(m, struct {
					name  string
					value any
				}{k, v[k]})
			}
			m = append(m, struct {
				name  string
				value any
			}{other(name), v[name]})
			f(m, path+"."+name)
		}
		for name, part := range v {
			doubledAt(part, path+"."+name, other, func(whole any, at string) {
				v[name] = whole
				f(v, at)
				v[name] = part
			})
		}
	case []any:
		for i, part := range v {
			doubledAt(part, fmt.Sprintf("%s[%d]", path, i), other, func(whole any, at string) {
				v[i] = whole
				f(v, at)
				v[i] = part
			})
		}
	}
}

// bodies are the rightful bodies of all rows that take one.
func bodies(h *house) map[string]struct{ method, path, body, token string } {
	all := map[string]struct{ method, path, body, token string }{}
	for name, use := range useCases(h) {
		if o := operation(h.t, name); o.HasBody() {
			method, path, body := request(h.t, o, use.in)
			token := use.token
			if token == "" {
				token = h.admin
			}
			all[name] = struct{ method, path, body, token string }{method, path, body, token}
		}
	}
	return all
}

// No row takes a body in which a name stands twice, however it is written: what
// one reader takes from it another would not.
func TestNoRowTakesANameTwice(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	tried := 0
	for row, b := range bodies(h) {
		var good any
		if err := json.Unmarshal([]byte(b.body), &good); err != nil {
			t.Fatal(err)
		}
		if whole, ok := good.(map[string]any); ok && strings.HasPrefix(row, "update_") {
			whole["version"] = 1 // as one sends who changes what was shown
		}
		doubled(good, func(name string) string { return name }, func(whole any, path string) {
			text := encoded(t, whole)
			for _, body := range []string{text, escapeLast(text, path)} {
				tried++
				h.unchanged(func() {
					if r := h.send(b.method, b.path, b.token, body); r.StatusCode != 422 || !strings.Contains(string(r.body), "is given twice") {
						t.Errorf("%s with %s twice: %d %s: %.300s", row, path, r.StatusCode, r.body, body)
					}
				})
			}
		})
	}
	if tried < 200 {
		t.Errorf("only %d bodies were tried", tried)
	}
}

// escapeLast writes the last of a name's places another way that means the same.
func escapeLast(text, path string) string {
	name := path[strings.LastIndexAny(path, ".")+1:]
	at := strings.LastIndex(text, `"`+name+`":`)
	if at < 0 || name == "" {
		return text
	}
	return text[:at] + fmt.Sprintf(`"\u%04x%s":`, name[0], name[1:]) + text[at+len(name)+3:]
}

// A name in another case is no name that is known; where names are people's own,
// such as those of variants and attributes, it is another name, and both count.
func TestNoRowTakesANameInAnotherCase(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	own := func(path string) bool {
		for _, part := range []string{".variants.", ".context.", ".labels.", ".attributes."} {
			if strings.Contains(path, part) {
				return true
			}
		}
		return false
	}
	tried := 0
	for row, b := range bodies(h) {
		var good any
		if err := json.Unmarshal([]byte(b.body), &good); err != nil {
			t.Fatal(err)
		}
		for _, other := range []func(string) string{strings.ToUpper, func(name string) string { return strings.ToUpper(name[:1]) + name[1:] }} {
			doubled(good, other, func(whole any, path string) {
				if own(path) {
					return
				}
				tried++
				h.unchanged(func() {
					if r := h.send(b.method, b.path, b.token, encoded(t, whole)); r.StatusCode/100 != 4 {
						t.Errorf("%s with %s in another case: %d: %.300s", row, path, r.StatusCode, encoded(t, whole))
					}
				})
			})
		}
	}
	if tried < 200 {
		t.Errorf("only %d bodies were tried", tried)
	}
	r := h.must("create_flag", boolean("shop.two.cases").with("variants", fields{"on": true, "off": false, "ON": false}))
	if r.read(t, "variants.on") != true || r.read(t, "variants.ON") != false {
		t.Errorf("two variants are mixed up: %s", r.body)
	}
}

// scripts are what a page would run if it took a text for markup, or a sheet for
// a formula.
var scripts = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `<svg/onload=alert(1)>`, `javascript:alert(1)`, `</script><script>alert(1)//`,
	`{{constructor.constructor('alert(1)')()}}`, `${alert(1)}`, `'-alert(1)-'`, `<iframe srcdoc="<script>alert(1)</script>">`, `<a href=javascript:alert(1)>x</a>`,
	`&lt;script&gt;alert(1)&lt;/script&gt;`, "<scr\u0000ipt>alert(1)</scr\u0000ipt>", "\u2028alert(1)\u2029", `=HYPERLINK("http://evil.example","x")`, `@SUM(1+1)*cmd|' /C calc'!A0`,
	"\x1b]0;title\x07", "\u202egnp.exe", `<math><mi xlink:href="data:x,<script>alert(1)</script>">`, `<!--<img src="--><img src=x onerror=alert(1)//">`, `+ADw-script+AD4-alert(1)+ADw-/script+AD4-`,
}

// Each text of each body may be a script. Whatever is taken is answered, now and
// by every row that reads, as JSON that no browser takes for anything else.
func TestAScriptIsATextWhereverItIsRead(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	taken := 0
	inert := func(r reply) {
		t.Helper()
		kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
		switch {
		case r.Header.Get("X-Content-Type-Options") != "nosniff":
			t.Errorf("%s %s may be sniffed", r.Request.Method, r.Request.URL.Path)
		case len(r.body) > 0 && kind != "application/json" && kind != "application/problem+json" && kind != "application/x-ndjson":
			t.Errorf("%s %s: %d of type %q", r.Request.Method, r.Request.URL.Path, r.StatusCode, kind)
		case r.StatusCode >= 500:
			t.Errorf("%s %s: %d: %s", r.Request.Method, r.Request.URL.Path, r.StatusCode, r.body)
		}
	}
	for _, script := range scripts {
		for _, b := range bodies(h) {
			var good any
			if err := json.Unmarshal([]byte(b.body), &good); err != nil {
				t.Fatal(err)
			}
			texts(good, script, func() {
				r := h.send(b.method, b.path, b.token, encoded(t, good))
				if inert(r); r.StatusCode/100 == 2 {
					taken++
				}
			})
		}
	}
	if taken < 100 {
		t.Errorf("only %d texts were taken", taken)
	}
	for name, use := range useCases(h) {
		if o := operation(t, name); !o.HasBody() && !o.Waits {
			inert(h.call(h.admin, name, use.in))
		}
	}
	inert(h.send("GET", "/api/v1/audit/export", h.admin, ""))
	for _, path := range []string{"/api/v1/<script>", "/api/v1/flags/%3Cscript%3Ealert(1)%3Cscript%3E", "/ofrep/v1/evaluate/flags/%3Cscript%3E", "/api/v1/audit/export?%3Cscript%3E=1"} {
		method := "GET"
		if strings.HasPrefix(path, "/ofrep") {
			method = "POST"
		}
		inert(h.send(method, path, h.admin, ""))
	}
}

// texts puts a script in the place of each text of v that people write freely,
// one at a time.
func texts(v any, script string, f func()) {
	replaceText := func(name string) bool {
		return slices.Contains([]string{"description", "name", "reason", "contact", "unit", "email", "why", "value", "message", "tags", "include"}, name)
	}
	switch v := v.(type) {
	case map[string]any:
		for k, part := range v {
			if _, text := part.(string); text && replaceText(k) {
				v[k] = script
				f()
				v[k] = part
			}
			texts(part, script, f)
		}
		if _, ok := v["description"]; !ok {
			v["description"] = script
			f()
			delete(v, "description")
		}
	case []any:
		for i, part := range v {
			if _, text := part.(string); text {
				v[i] = script
				f()
				v[i] = part
			}
			texts(part, script, f)
		}
	}
}

// A body of a gigabyte is refused by what it says of itself, one that nests
// deep, or that is compressed a thousandfold, by what it is; each by every row.
func TestEveryRowRefusesBombs(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	bomb := string(zipped(bytes.Repeat([]byte(`{"reason":"a test"}     `), 500_000)))
	if len(bomb)*300 > 12_000_000 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	deep := map[string]string{
		"lists": `{"reason":"a test","rules":` + strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000) + "}",
		"names": strings.Repeat(`{"reason":`, 100_000) + "1" + strings.Repeat("}", 100_000),
	}
	for _, o := range api.Operations() {
		if !o.HasBody() {
			continue
		}
		_, path, _ := request(t, o, fields{"key": search, "environment": "production", "id": "x"})
		resp, err := h.raw(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 1073741824\r\n\r\n{", o.Method, path, h.admin))
		if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
			t.Errorf("%s, a gigabyte: %v, %v", o.Name, resp, err)
		}
		h.unchanged(func() {
			for what, body := range deep {
				if r := h.send(o.Method, path, h.admin, body); r.StatusCode != 422 && r.StatusCode != 413 {
					t.Errorf("%s, deep %s: %d: %.200s", o.Name, what, r.StatusCode, r.body)
				}
			}
			if r := h.send(o.Method, path, h.admin, bomb, "Content-Encoding", "gzip"); r.StatusCode != 422 && r.StatusCode != 413 {
				t.Errorf("%s, compressed: %d: %.200s", o.Name, r.StatusCode, r.body)
			}
		})
	}
	if resp, err := h.raw("GET /api/v1/flags HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + strings.Repeat("x", 1<<20) + "\r\n\r\n"); err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of a megabyte: %s", resp.Status)
	}
	h.send("GET", "/healthz", "", "").want(t, 200)
}
