package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/flyballdev/flyball/bench/target"
)

// A ready is an answer that is ready before anyone asks.
type ready struct {
	Status int    `json:"status"`
	Tag    string `json:"tag,omitempty"`
	Body   []byte `json:"body,omitempty"`
}

// startFloor starts this program anew as the floor, which serves the answers
// that flyball gave, each at a path of its own.
func startFloor(dir string, questions []*question) (*target.Server, error) {
	answers := map[string]ready{}
	for i, q := range questions {
		r := ready{Status: http.StatusOK, Body: q.answer}
		if q.unchanged {
			r = ready{Status: http.StatusNotModified, Tag: q.tags[0]}
		}
		answers[fmt.Sprint("/", i)] = r
	}
	data, err := json.Marshal(answers)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "answers.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return target.Floor(target.Options{Core: serverCore, Env: []string{"GOMAXPROCS=1"}}, self, "-floor", path)
}

// serveFloor is the floor: no routes, no tokens, no metrics, no reading of
// what is sent.
func serveFloor(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	answers := map[string]ready{}
	if err := json.Unmarshal(data, &answers); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "listening on http://%s\n", listener.Addr())
	return http.Serve(listener, floor(answers))
}

func floor(answers map[string]ready) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := answers[r.URL.Path]
		h := w.Header()
		if a.Tag != "" {
			h.Set("ETag", a.Tag)
			w.WriteHeader(a.Status)
			return
		}
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(len(a.Body)))
		w.Write(a.Body)
	})
}
