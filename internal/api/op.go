package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// An Operation is one capability of the platform: one row, of which the REST
// route, the OpenAPI entry and the command are made.
type Operation struct {
	Name    string // such as "kill_flag"
	Method  string
	Path    string // such as "/api/v1/flags/{key}"; what it names in braces is a field of In
	Summary string
	Access  service.Access
	Command string   // such as "flag kill"
	Args    []string // the fields that the command takes by position
	Maybe   string   // one more that it takes so, if it is given
	Example string   // arguments of the command
	Columns string   // of the table that the command prints, if it lists
	Still   bool     // it makes no version of a ruleset, whatever it changes
	Limit   int64    // bytes of a request's body
	Secret  bool     // its input may hold secrets
	Waits   bool     // for something to happen; the wait ends when the server is about to stop
	In, Out reflect.Type

	schema *huma.Schema // of In
	echo   *echo        // nil for a row that replaces nothing
	call   func(ctx context.Context, s *service.Service, decode func(into any) error) (any, error)
}

// Limits of request bodies.
const (
	limitBody    = 1 << 20
	limitSegment = 8<<20 + limitBody // a segment's body may have 8 MiB
	limitFiles   = 32 << 20
)

// op makes a row of a method of the service. The rest of the row is said by
// the methods below, in a chain.
func op[In, Out any](name, route, summary string, access service.Access, call func(*service.Service, context.Context, In) (Out, error)) Operation {
	method, path, _ := strings.Cut(route, " ")
	return Operation{
		Name: name, Method: method, Path: path, Summary: summary, Access: access, Limit: limitBody,
		In: reflect.TypeFor[In](), Out: reflect.TypeFor[Out](),
		schema: inputs.Schema(reflect.TypeFor[In](), false, name),
		call: func(ctx context.Context, s *service.Service, decode func(any) error) (any, error) {
			var in In
			if err := decode(&in); err != nil {
				return nil, err
			}
			return call(s, ctx, in)
		},
	}
}

func (o Operation) command(command, example string, args ...string) Operation {
	o.Command, o.Example, o.Args = command, example, args
	return o
}

func (o Operation) maybe(arg string) Operation     { o.Maybe = arg; return o }
func (o Operation) table(columns string) Operation { o.Columns = columns; return o }
func (o Operation) still() Operation               { o.Still = true; return o }
func (o Operation) upTo(limit int64) Operation     { o.Limit = limit; return o }
func (o Operation) secret() Operation              { o.Secret = true; return o }
func (o Operation) waits() Operation               { o.Waits = true; return o }

// Changes says whether the capability changes anything: what does, needs a
// reason.
func (o Operation) Changes() bool { return slices.Contains(o.Schema().Required, "reason") }

// Schema describes the whole input of the capability.
func (o Operation) Schema() *huma.Schema { return resolve(o.schema) }

// inputs holds the schemas of all inputs, and, once the OpenAPI document is
// made, of all answers.
var inputs = huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)

// A field is known by its one spelling: "enabled" beside "ENABLED" would
// otherwise be two values of one field, of which the last wins.
func init() { huma.ValidateStrictCasing = true }

func resolve(s *huma.Schema) *huma.Schema {
	for s.Ref != "" {
		s = inputs.SchemaFromRef(s.Ref)
	}
	return s
}

var pathField = regexp.MustCompile(`\{(\w+)\}`)

// PathFields names the fields of In that stand in the path, in order.
func (o Operation) PathFields() []string {
	var names []string
	for _, m := range pathField.FindAllStringSubmatch(o.Path, -1) {
		names = append(names, m[1])
	}
	return names
}

// HasBody says whether fields that are not in the path stand in a body; else
// they stand in the query.
func (o Operation) HasBody() bool { return o.Method != http.MethodGet && o.Method != http.MethodDelete }

// serve answers a request by the capability.
func (o Operation) serve(s *service.Service) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := readBody(w, r, o.Limit)
		if err != nil {
			writeProblem(w, r, err)
			return
		}
		if path := repeated(body); path != "" && o.HasBody() {
			writeProblem(w, r, flyball.FieldErrorf(path, "is given twice: of two values, each reader might take another"))
			return
		}
		body, told, err := o.cut(body)
		if err != nil {
			writeProblem(w, r, err)
			return
		}
		m, err := mannerOf(r, o)
		if err != nil {
			writeProblem(w, r, err)
			return
		}
		o.run(s, w, r, m, func(ctx context.Context, into any) error {
			fields, err := o.decode(r, body, into)
			if err != nil {
				return err
			}
			if err := notes(m, fields); err != nil {
				return err
			}
			return o.agree(ctx, s, r, told)
		})
	}
}

// run uses the capability in a manner, and answers with what comes of it.
func (o Operation) run(s *service.Service, w http.ResponseWriter, r *http.Request, m *service.Manner, decode func(ctx context.Context, into any) error) {
	ctx, versions := service.GatherVersions(service.WithManner(r.Context(), m))
	out, err := o.call(ctx, s, func(into any) error { return decode(ctx, into) })
	if out, err = answered(m, out, err); err != nil {
		writeProblem(w, r, err)
		return
	}
	tellVersions(w, versions.Made())
	if made := m.Proposed(); made != nil && made.State == flyball.RequestReview {
		w.Header().Set(ReviewHeader, made.ID)
	}
	status := o.Success()
	if m.Propose != nil && m.Proposed() != nil {
		status = http.StatusCreated
	} else if m.Plans() {
		status = http.StatusOK
	}
	writeJSON(w, r, status, out)
}

// Success is the status of an answer that is not a problem.
func (o Operation) Success() int {
	if strings.HasPrefix(o.Name, "create_") || o.Name == "start_rollout" {
		return http.StatusCreated
	}
	return http.StatusOK
}

// VersionsHeader tells which ruleset versions a change made, such as
// "development=5, production=12", so that a caller can wait for the fleet.
const VersionsHeader = "Flyball-Versions"

// ReviewHeader tells the id of the review that a change opened by breaking the
// glass.
const ReviewHeader = "Flyball-Review"

func tellVersions(w http.ResponseWriter, made map[string]int64) {
	var parts []string
	for _, env := range slices.Sorted(maps.Keys(made)) {
		parts = append(parts, fmt.Sprintf("%s=%d", env, made[env]))
	}
	if len(parts) > 0 {
		w.Header().Set(VersionsHeader, strings.Join(parts, ", "))
	}
}

// readBody reads a body of at most limit bytes. One that says
// it is longer is refused before any of it is read.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	tooLarge := flyball.Errorf(flyball.TooLarge, "the request body has more than %d bytes", limit)
	if r.ContentLength > limit {
		w.Header().Set("Connection", "close")
		return nil, tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return nil, tooLarge
	}
	if err != nil {
		return nil, brokeOff(err)
	}
	unhurried(w)
	return body, nil
}

func brokeOff(err error) error {
	return flyball.Errorf(flyball.Invalid, "the request body broke off: %v", err)
}

// unhurried lifts the deadline by which the request must have come, once it
// has: the answer may take longer, and a read that times out would end it.
func unhurried(w http.ResponseWriter) { http.NewResponseController(w).SetReadDeadline(time.Time{}) }

// decode reads the input of the capability from path, query and body, and
// tells everything that is wrong with it at once.
func (o Operation) decode(r *http.Request, body []byte, into any) (map[string]any, error) {
	fields := map[string]any{}
	if body = bytes.TrimSpace(body); !o.HasBody() {
		body = nil
	}
	if len(body) > 0 {
		if err := decodeObject(body, &fields); err != nil {
			return nil, err
		}
	}
	extra, err := o.parameters(r)
	if err != nil {
		return nil, err
	}
	for name, v := range extra {
		if given, ok := fields[name]; ok && given != v {
			return nil, flyball.FieldErrorf(name, "the body says %v and the path says %v", given, v)
		}
		fields[name] = v
	}
	if err := o.validate(fields); err != nil {
		return nil, err
	}
	merged, err := json.Marshal(extra)
	if err != nil {
		return nil, err
	}
	for _, data := range [][]byte{body, merged} {
		if len(data) == 0 {
			continue
		}
		if err := json.Unmarshal(data, into); err != nil {
			return nil, flyball.Errorf(flyball.Invalid, "%s", readable(err))
		}
	}
	return fields, nil
}

// maxNesting is how deep the JSON of a request may nest: twice what the
// deepest file that means something does.
const maxNesting = 64

// tooDeep says whether objects and lists nest too deep. It reads the bytes
// alone, so that nothing that follows has to take such a thing apart.
func tooDeep(data []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxNesting {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// decodeObject reads one JSON object and nothing after it.
func decodeObject(body []byte, fields *map[string]any) error {
	if tooDeep(body) {
		return flyball.Errorf(flyball.Invalid, "the request body nests more than %d deep", maxNesting)
	}
	var object flyball.Attributes
	if err := json.Unmarshal(body, &object); err != nil {
		return flyball.Errorf(flyball.Invalid, "the request body cannot be read as a JSON object: %s", readable(err))
	}
	if object == nil {
		return flyball.Errorf(flyball.Invalid, "the request body is not a JSON object")
	}
	*fields = object
	return nil
}

func readable(err error) string { return strings.TrimPrefix(err.Error(), "json: ") }

// parameters reads what stands in the path and in the query.
func (o Operation) parameters(r *http.Request) (map[string]any, error) {
	found := map[string]any{}
	for _, name := range o.PathFields() {
		if found[name] = r.PathValue(name); !utf8.ValidString(r.PathValue(name)) {
			return nil, flyball.FieldErrorf(name, "is not text in UTF-8")
		}
	}
	if o.HasBody() {
		return found, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, flyball.Errorf(flyball.Invalid, "the query is malformed: %v", err)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(query)) {
		_, inPath := found[name]
		switch v, err := o.convert(name, query[name]); {
		case inPath:
			errs = append(errs, flyball.FieldErrorf(name, "stands in the path already"))
		case !utf8.ValidString(name + query[name][0]):
			errs = append(errs, flyball.FieldErrorf(strings.ToValidUTF8(name, "\uFFFD"), "is not text in UTF-8"))
		case err != nil:
			errs = append(errs, err)
		default:
			found[name] = v
		}
	}
	return found, errors.Join(errs...)
}

// convert makes of a query's text what the schema says the field is.
func (o Operation) convert(name string, values []string) (any, error) {
	property := o.Schema().Properties[name]
	if property == nil {
		return values[0], nil // validation tells that it is unknown
	}
	switch text := values[0]; resolve(property).Type {
	case huma.TypeBoolean:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, flyball.FieldErrorf(name, "%q is neither true nor false", text)
		}
		return b, nil
	case huma.TypeInteger:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, flyball.FieldErrorf(name, "%q is not a whole number", text)
		}
		return n, nil
	case huma.TypeArray:
		all := make([]any, len(values))
		for i, v := range values {
			all[i] = v
		}
		return all, nil
	case huma.TypeObject, "":
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return nil, flyball.FieldErrorf(name, "%q is not JSON", text)
		}
		return v, nil
	default:
		return text, nil
	}
}

var missing = regexp.MustCompile(`^expected required property (\S+) to be present$`)

// validate tells every field that does not fit, in order: by the schema, and
// then by the types themselves, which know more of times and lengths of time.
func (o Operation) validate(fields map[string]any) error {
	var result huma.ValidateResult
	huma.Validate(inputs, o.schema, huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, fields, &result)
	var errs []*flyball.Error
	blame := func(field, message string) {
		if !slices.ContainsFunc(errs, func(e *flyball.Error) bool { return e.Field == field }) {
			errs = append(errs, flyball.FieldErrorf(field, "%s", message))
		}
	}
	for _, err := range result.Errors {
		field, message := "", err.Error()
		if d, ok := errors.AsType[*huma.ErrorDetail](err); ok {
			field, message = d.Location, d.Message
		}
		if m := missing.FindStringSubmatch(message); m != nil {
			field, message = strings.TrimPrefix(field+"."+m[1], "."), "is required"
		}
		if message == "unexpected property" {
			message = fmt.Sprintf("is not known here; known are %s", known(o.schema, field))
		}
		blame(field, message)
	}
	misfits("", fields, o.In, blame)
	slices.SortStableFunc(errs, func(a, b *flyball.Error) int { return strings.Compare(a.Field, b.Field) })
	return errors.Join(asErrors(errs)...)
}

// known names the fields that may stand where an unknown one was found.
func known(s *huma.Schema, field string) string {
	parts := strings.FieldsFunc(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
	s = resolve(s)
	for _, part := range parts[:max(0, len(parts)-1)] {
		switch next := s.Properties[part]; {
		case next != nil:
			s = resolve(next)
		case s.Items != nil:
			s = resolve(s.Items)
		default:
			if sub, ok := s.AdditionalProperties.(*huma.Schema); ok {
				s = resolve(sub)
			}
		}
	}
	names := make([]string, 0, len(s.Properties))
	for name := range s.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
