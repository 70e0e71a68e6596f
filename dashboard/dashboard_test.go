package dashboard

import (
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// built is a build as Vite writes it, small.
var built = fstest.MapFS{
	"index.html":         {Data: []byte(`<html><head><meta property="csp-nonce" nonce="FLYBALL-NONCE"><script type="module" src="./assets/index-1a2b.js" nonce="FLYBALL-NONCE"></script></head></html>`)},
	"assets/index-1.js":  {Data: []byte(strings.Repeat("export const a = 1;\n", 50))},
	"assets/style-2.css": {Data: []byte("body { margin: 0 }")},
	"icon.svg":           {Data: []byte("<svg/>")},
	".keep":              {Data: nil},
	"notes.txt":          {Data: []byte("not for readers")},
}

func get(t *testing.T, from fs.FS, path string, header http.Header) (*http.Response, string) {
	t.Helper()
	server := httptest.NewServer(handler(from))
	t.Cleanup(server.Close)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	if header == nil {
		req.Header = http.Header{}
	}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	res, err := client.Do(req)
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

func TestThePageAndItsFilesAreServedAndNothingElse(t *testing.T) {
	for path, want := range map[string]struct{ kind, holds string }{
		"/":                   {"text/html; charset=utf-8", "<meta"},
		"/assets/index-1.js":  {"text/javascript; charset=utf-8", "export"},
		"/assets/style-2.css": {"text/css; charset=utf-8", "margin"},
		"/icon.svg":           {"image/svg+xml", "<svg"},
	} {
		res, body := get(t, built, path, nil)
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != want.kind || !strings.Contains(body, want.holds) {
			t.Errorf("%s: %s, %s, %d bytes", path, res.Status, res.Header.Get("Content-Type"), len(body))
		}
	}
	for _, path := range []string{"/index.html", "/.keep", "/notes.txt", "/embed.go", "/no-such", "/assets/", "/assets/../embed.go"} {
		if res, _ := get(t, built, path, nil); res.StatusCode != 404 {
			t.Errorf("%s: %s, want 404", path, res.Status)
		}
	}
}

func TestAProgramBuiltWithoutThePageSaysHowToBuildIt(t *testing.T) {
	res, body := get(t, fstest.MapFS{".keep": {}}, "/", nil)
	if res.StatusCode != 200 || !strings.Contains(body, "make build") {
		t.Errorf("%s: %s", res.Status, body)
	}
}

var (
	nonceIn  = regexp.MustCompile(`'nonce-([0-9a-f]{32})'`)
	nonceUse = regexp.MustCompile(`nonce="([^"]*)"`)
)

func TestThePageMayLoadNothingButItself(t *testing.T) {
	seen := map[string]bool{}
	for _, path := range []string{"/", "/", "/assets/index-1.js", "/assets/style-2.css", "/icon.svg"} {
		res, body := get(t, built, path, nil)
		policy := res.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'self'", "script-src 'self'", "style-src 'self' 'nonce-", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"} {
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
		if path != "/" {
			continue
		}
		nonce := nonceIn.FindStringSubmatch(policy)
		if nonce == nil || seen[nonce[1]] {
			t.Fatalf("the nonce of %q is none, or was used before", policy)
		}
		seen[nonce[1]] = true
		for _, used := range nonceUse.FindAllStringSubmatch(body, -1) {
			if used[1] != nonce[1] {
				t.Errorf("the page carries the nonce %q, its policy %q", used[1], nonce[1])
			}
		}
	}
}

func TestAFileIsSentOnceAndCompressed(t *testing.T) {
	const path = "/assets/index-1.js"
	first, plain := get(t, built, path, nil)
	etag := first.Header.Get("ETag")
	if again, body := get(t, built, path, http.Header{"If-None-Match": {etag}}); etag == "" || again.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("etag %s: %s, %d bytes", etag, again.Status, len(body))
	}
	if !strings.Contains(first.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("a file that is named by what it holds: %s", first.Header.Get("Cache-Control"))
	}
	res, body := get(t, built, path, http.Header{"Accept-Encoding": {"gzip"}})
	r, err := gzip.NewReader(strings.NewReader(body))
	if err != nil || res.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("%v, %v", res.Header, err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != plain || len(body) >= len(plain) {
		t.Errorf("%d bytes of %d, %v", len(body), len(plain), err)
	}
	if page, _ := get(t, built, "/", nil); page.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the page itself: %s", page.Header.Get("Cache-Control"))
	}
}

var (
	element = regexp.MustCompile(`(?s)<(\w+)([^>]*)>`)
	inline  = regexp.MustCompile(`\son\w+\s*=`)
	script  = regexp.MustCompile(`<script[^>]*>\s*[^<\s]`)
)

// What was built is looked at as it is. It is there wherever it can be: where
// Node is, make build was forgotten.
func TestThePageHoldsNoInlineScriptAndNoInlineStyle(t *testing.T) {
	folder, err := fs.Sub(dist, "dist")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Stat(folder, "index.html"); err != nil {
		if _, err := exec.LookPath("npm"); err != nil && os.Getenv("CI") == "" {
			t.Skip("Node is not here, so that the page cannot be built")
		}
		t.Fatal("the page is not built: make build")
	}
	_, page := get(t, folder, "/", nil)
	for _, m := range element.FindAllStringSubmatch(page, -1) {
		tag, attributes := m[1], m[2]
		if tag == "style" || strings.Contains(attributes, "style=") || inline.MatchString(attributes) || strings.Contains(attributes, "javascript:") || strings.Contains(attributes, "//") {
			t.Errorf("an inline style, a handler, or a file from elsewhere: %s", m[0])
		}
	}
	if script.MatchString(page) || strings.Contains(page, noncePlace) {
		t.Errorf("text within a script, or a place for a nonce that was left: %s", page)
	}
}
