// Package dashboard is the page that people watch and steer the platform on.
// It speaks only the public API, as its reader; the server adds nothing to it
// and trusts it with nothing. What is served here is built by Vite of src.
package dashboard

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed all:dist
var dist embed.FS

// contentTypes of the page's files, by the ends of their names; a file of
// another kind is not served.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
}

// policyOf lets the page load nothing but its own files, speak to nobody but
// its own server, and stand in nobody else's frame. Even text that some mistake
// turned into markup could not run. Its components write style elements, which
// carry the nonce of the answer.
func policyOf(nonce string) string {
	return "default-src 'self'; script-src 'self'; style-src 'self' 'nonce-" + nonce + "'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
}

// noncePlace is where the build wants the nonce of each answer.
const noncePlace = "FLYBALL-NONCE"

// notBuilt is shown by a program that was built without its dashboard.
const notBuilt = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Flyball</title><meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body><h1>Flyball runs, without its dashboard</h1>
<p>This program was built by the Go tools alone. To build it with its dashboard, which needs Node 20 or later: <code>make build</code></p>
<p>All else is here: <a href="api/v1/openapi.json">the API</a>, and on the command line <code>flyball --help</code>.</p>
</body></html>
`

type file struct {
	body []byte
	gzip func() []byte
	etag string
	kind string
	// named by what it holds, so that it never changes
	lasting bool
}

// Handler serves the page at / and its files beside it; all else is not found.
// It finds out by itself whether the page was built.
func Handler() http.Handler {
	built, err := fs.Sub(dist, "dist")
	if err != nil {
		panic("dashboard: " + err.Error()) // cannot be: the folder is embedded
	}
	return handler(built)
}

func handler(built fs.FS) http.Handler {
	files, index := read(built)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := files[r.URL.Path]
		switch isPage := r.URL.Path == "/"; {
		case r.URL.Path == "/auth/session" && r.Method == http.MethodGet:
			w.WriteHeader(http.StatusNoContent) // a server that has accounts answers itself
		case !ok && !isPage:
			http.NotFound(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		case isPage:
			servePage(w, index)
		default:
			f.serve(w, r)
		}
	})
}

// read returns the files of a build by their paths, and its page apart.
func read(built fs.FS) (files map[string]file, index []byte) {
	files, index = map[string]file{}, []byte(notBuilt)
	err := fs.WalkDir(built, ".", func(name string, d fs.DirEntry, err error) error {
		kind := contentTypes[path.Ext(name)]
		if err != nil || d.IsDir() || kind == "" {
			return err
		}
		body, err := fs.ReadFile(built, name)
		if err != nil {
			return err
		}
		if name == "index.html" {
			index = body
			return nil
		}
		sum := sha256.Sum256(body)
		files["/"+name] = file{
			body: body, gzip: sync.OnceValue(func() []byte { return zip(body) }), etag: `"` + hex.EncodeToString(sum[:8]) + `"`,
			kind: kind, lasting: strings.HasPrefix(name, "assets/"),
		}
		return nil
	})
	if err != nil {
		panic("dashboard: " + err.Error()) // cannot be: the files are in memory
	}
	return files, index
}

func zip(body []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // a level that there is
	w.Write(body)
	w.Close()
	return b.Bytes()
}

// head writes what every answer says.
func head(h http.Header, nonce, kind string) {
	h.Set("Content-Security-Policy", policyOf(nonce))
	h.Set("Content-Type", kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}

// servePage answers with the page under a nonce of its own. It is never kept:
// a page never speaks to a newer server than its own.
func servePage(w http.ResponseWriter, index []byte) {
	var b [16]byte
	rand.Read(b[:])
	nonce := hex.EncodeToString(b[:])
	head(w.Header(), nonce, contentTypes[".html"])
	w.Header().Set("Cache-Control", "no-store")
	w.Write(bytes.ReplaceAll(index, []byte(noncePlace), []byte(nonce)))
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	head(h, "none", f.kind)
	h.Set("Cache-Control", "no-cache")
	if f.lasting {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("ETag", f.etag)
	h.Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("If-None-Match"), f.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		w.Write(f.gzip())
		return
	}
	w.Write(f.body)
}
