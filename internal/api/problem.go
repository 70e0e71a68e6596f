package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/flyballdev/flyball"
)

// statuses is the only place that knows which HTTP status a code has.
var statuses = map[flyball.Code]int{
	flyball.Invalid:         http.StatusUnprocessableEntity,
	flyball.NotFound:        http.StatusNotFound,
	flyball.WrongMethod:     http.StatusMethodNotAllowed,
	flyball.Conflict:        http.StatusConflict,
	flyball.Unauthenticated: http.StatusUnauthorized,
	flyball.Forbidden:       http.StatusForbidden,
	flyball.TooLarge:        http.StatusRequestEntityTooLarge,
	flyball.Overloaded:      http.StatusTooManyRequests,
	flyball.Unavailable:     http.StatusServiceUnavailable,
	flyball.Internal:        http.StatusInternalServerError,
}

// A Problem tells what went wrong, as RFC 9457 has it.
type Problem struct {
	Type    string         `json:"type"`
	Title   string         `json:"title"`
	Status  int            `json:"status"`
	Detail  string         `json:"detail"`
	Code    flyball.Code   `json:"code" doc:"what kind of problem it is, for programs"`
	Errors  []FieldProblem `json:"errors,omitempty" doc:"every field that is wrong"`
	Details map[string]any `json:"details,omitempty" doc:"what is needed to act, such as the current version"`
	Request string         `json:"request,omitempty" doc:"the id of the request, for the server's log"`
}

// A FieldProblem tells what is wrong with one field.
type FieldProblem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// problemOf makes a problem of an error. What is no [flyball.Error] is a fault
// of ours; its text stays in the server's log.
func problemOf(err error) Problem {
	all := flyball.Problems(err)
	if len(all) == 0 {
		return Problem{Type: "about:blank", Title: "Internal Server Error", Status: 500, Code: flyball.Internal,
			Detail: "something went wrong on our side; the server's log tells what, by the request's id"}
	}
	p := Problem{Type: "about:blank", Code: all[0].Code, Detail: all[0].Error(), Details: all[0].Details}
	for _, e := range all {
		if e.Field != "" {
			p.Errors = append(p.Errors, FieldProblem{Field: e.Field, Message: e.Message})
		}
	}
	if len(all) > 1 {
		p.Detail = strconv.Itoa(len(all)) + " problems: " + errors.Join(asErrors(all)...).Error()
	}
	p.Status = statuses[p.Code]
	p.Title = http.StatusText(p.Status)
	return p
}

func asErrors(all []*flyball.Error) []error {
	errs := make([]error, len(all))
	for i, e := range all {
		errs[i] = e
	}
	return errs
}

// problemFor makes the problem of a request. A fault of ours is logged.
func problemFor(r *http.Request, err error) Problem {
	p := problemOf(err)
	of := requestOf(r)
	p.Request = of.id
	if p.Status == http.StatusInternalServerError && r.Context().Err() != nil {
		p = problemOf(flyball.Errorf(flyball.Unavailable, "the request ended before its answer was ready")) // nobody reads it
	}
	if p.Status == http.StatusInternalServerError {
		of.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "request", p.Request, "error", err)
	}
	return p
}

// writeProblem answers a request with what went wrong.
func writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := problemFor(r, err)
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter(err))
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="flyball"`)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}

func retryAfter(err error) string {
	for _, e := range flyball.Problems(err) {
		if s, ok := e.Details["retryAfter"].(int); ok {
			return strconv.Itoa(s)
		}
	}
	return "1"
}

// writeJSON answers a request. What cannot be encoded is found out before the
// answer begins.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		writeProblem(w, r, fmt.Errorf("encode the answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(body.Bytes())
}

// Error makes a problem an error for those who call the API.
func (p *Problem) Error() string { return p.Detail }
