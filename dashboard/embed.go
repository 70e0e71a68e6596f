// Package dashboard is the page that people watch the platform on. It speaks
// only the public API, with the token that its reader gives it; the server
// adds nothing to it and trusts it with nothing.
package dashboard

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"strings"
)

//go:embed page
var page embed.FS

// contentTypes of the page's files, by name; a file that is not here is not
// served.
var contentTypes = map[string]string{
	"index.html":    "text/html; charset=utf-8",
	"dashboard.js":  "text/javascript; charset=utf-8",
	"numbers.js":    "text/javascript; charset=utf-8",
	"dashboard.css": "text/css; charset=utf-8",
	"icon.svg":      "image/svg+xml",
}

// policy lets the page load nothing but its own files, speak to nobody but its
// own server, and stand in nobody else's frame. Even text that some mistake
// turned into markup could not run.
const policy = "default-src 'self'; script-src 'self'; style-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"

type file struct {
	body []byte
	etag string
	kind string
}

// Handler serves the page at / and its files beside it; all else is not found.
func Handler() http.Handler {
	files := map[string]file{}
	for name, kind := range contentTypes {
		body, err := page.ReadFile("page/" + name)
		if err != nil {
			panic("dashboard: " + name + " is not embedded") // cannot be: the names are the embedded files
		}
		sum := sha256.Sum256(body)
		files["/"+name] = file{body: body, etag: `"` + hex.EncodeToString(sum[:8]) + `"`, kind: kind}
	}
	files["/"] = files["/index.html"]
	delete(files, "/index.html")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		f.serve(w, r)
	})
}

// serve answers with the file. A browser asks each time whether it is still
// the same, so that a page never speaks to a newer server than its own.
func (f file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Content-Type", f.kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", f.etag)
	if strings.Contains(r.Header.Get("If-None-Match"), f.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Write(f.body)
}
