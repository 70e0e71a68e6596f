package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// faulty is a server of one handler, and what it logs.
func faulty(handler http.HandlerFunc) (*Server, *bytes.Buffer) {
	var log bytes.Buffer
	return &Server{log: slog.New(slog.NewTextHandler(&log, nil)), handler: handler}, &log
}

// What went wrong on our side is told in the log, and to nobody else.
func TestAFaultOfOursStaysInTheLog(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"a panic":  func(http.ResponseWriter, *http.Request) { panic("the secret") },
		"an error": func(w http.ResponseWriter, r *http.Request) { writeProblem(w, r, errors.New("the secret")) },
		"an answer that is no answer": func(w http.ResponseWriter, r *http.Request) {
			writeJSON(w, r, 200, map[string]any{"the secret": math.Inf(1)})
		},
	} {
		s, log := faulty(handler)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "/x", nil))
		var p Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != 500 || p.Status != 500 || p.Request == "" || p.Code != "internal" {
			t.Errorf("%s: %d: %s", name, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), "secret") || !strings.Contains(log.String(), p.Request) {
			t.Errorf("%s: it tells %s and logs %s", name, w.Body, log)
		}
	}
}

func TestAHandlerMayCutItsConnection(t *testing.T) {
	s, log := faulty(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	defer func() {
		if v := recover(); v != http.ErrAbortHandler || log.Len() > 0 {
			t.Errorf("it panics with %v and logs %s", v, log)
		}
	}()
	s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/x", nil))
}
