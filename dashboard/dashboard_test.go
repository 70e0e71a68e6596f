package dashboard

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, path string, header http.Header) (*http.Response, string) {
	t.Helper()
	server := httptest.NewServer(Handler())
	t.Cleanup(server.Close)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestThePageAndItsFilesAreServed(t *testing.T) {
	for path, want := range map[string]struct{ kind, holds string }{
		"/":              {"text/html; charset=utf-8", "<title>Flyball</title>"},
		"/dashboard.js":  {"text/javascript; charset=utf-8", "sessionStorage"},
		"/numbers.js":    {"text/javascript; charset=utf-8", "export"},
		"/dashboard.css": {"text/css; charset=utf-8", "prefers-color-scheme: dark"},
		"/icon.svg":      {"image/svg+xml", "<svg"},
	} {
		res, body := get(t, path, nil)
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != want.kind || !strings.Contains(body, want.holds) {
			t.Errorf("%s: %s, %s, %d bytes", path, res.Status, res.Header.Get("Content-Type"), len(body))
		}
	}
	for _, path := range []string{"/page/index.html", "/index.html", "/embed.go", "/no-such", "/../embed.go"} {
		if res, _ := get(t, path, nil); res.StatusCode != 404 {
			t.Errorf("%s: %s, want 404", path, res.Status)
		}
	}
}

func TestEveryEmbeddedFileIsServed(t *testing.T) {
	err := fs.WalkDir(page, "page", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && contentTypes[d.Name()] == "" {
			t.Errorf("%s is embedded and not served", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestThePageMayLoadNothingButItself(t *testing.T) {
	for _, path := range []string{"/", "/dashboard.js", "/dashboard.css", "/icon.svg"} {
		res, _ := get(t, path, nil)
		policy := res.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'self'", "script-src 'self'", "style-src 'self'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: the policy %q lacks %s", path, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") {
			t.Errorf("%s: the policy %q allows what is unsafe", path, policy)
		}
		if res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", path, res.Header)
		}
	}
}

var (
	element   = regexp.MustCompile(`(?s)<(\w+)([^>]*)>`)
	handler   = regexp.MustCompile(`\son\w+\s*=`)
	afterOpen = regexp.MustCompile(`<script[^>]*>[^<]`)
)

func TestTheIndexHoldsNoInlineScriptAndNoInlineStyle(t *testing.T) {
	_, index := get(t, "/", nil)
	scripts := 0
	for _, m := range element.FindAllStringSubmatch(index, -1) {
		tag, attributes := m[1], m[2]
		switch {
		case tag == "script":
			scripts++
			if !strings.Contains(attributes, `src="/`) {
				t.Errorf("an inline script: %s", m[0])
			}
		case tag == "style" || strings.Contains(attributes, "style="):
			t.Errorf("an inline style: %s", m[0])
		}
		if handler.MatchString(attributes) || strings.Contains(attributes, "javascript:") || strings.Contains(attributes, "//") {
			t.Errorf("a handler, or a file from elsewhere: %s", m[0])
		}
	}
	if scripts != 1 || afterOpen.MatchString(index) {
		t.Errorf("%d scripts, or text within one", scripts)
	}
}

// What people write, such as a reason, is only ever shown as text.
func TestTheScriptMakesNoMarkupOfText(t *testing.T) {
	for _, path := range []string{"/dashboard.js", "/numbers.js"} {
		_, script := get(t, path, nil)
		for _, door := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser", "createContextualFragment", "setHTMLUnsafe", "srcdoc", "localStorage"} {
			if strings.Contains(script, door) {
				t.Errorf("%s uses %s", path, door)
			}
		}
	}
}

var idUsed = regexp.MustCompile(`byId\("([^"]+)"\)`)

func TestTheScriptFindsWhatItLooksForInTheIndex(t *testing.T) {
	_, index := get(t, "/", nil)
	_, script := get(t, "/dashboard.js", nil)
	used := idUsed.FindAllStringSubmatch(script, -1)
	if len(used) < 10 {
		t.Fatalf("found only %d uses of ids", len(used))
	}
	for _, m := range used {
		if strings.Count(index, `id="`+m[1]+`"`) != 1 {
			t.Errorf("the index does not have exactly one %q", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`(?:for|aria-labelledby|aria-describedby)="([^"]+)"`).FindAllStringSubmatch(index, -1) {
		if strings.Count(index, `id="`+m[1]+`"`) != 1 {
			t.Errorf("%s names nothing", m[0])
		}
	}
}

func TestAnUnchangedFileIsNotSentAgain(t *testing.T) {
	first, _ := get(t, "/", nil)
	etag := first.Header.Get("ETag")
	again, body := get(t, "/", http.Header{"If-None-Match": {etag}})
	if etag == "" || again.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("etag %s: %s, %d bytes", etag, again.Status, len(body))
	}
	if other, body := get(t, "/dashboard.js", http.Header{"If-None-Match": {etag}}); other.StatusCode != 200 || body == "" {
		t.Errorf("another file's etag: %s", other.Status)
	}
}

// The numbers that people decide by are tested where they are made, if there
// is something to run them.
func TestNumbersReadAsPeopleExpect(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: testdata/numbers.test.mjs is not run")
	}
	if out, err := exec.Command(node, "--test", "testdata/numbers.test.mjs").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
