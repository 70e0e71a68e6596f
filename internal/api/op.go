package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

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
	Example string   // arguments of the command
	Columns string   // of the table that the command prints, if it lists
	Limit   int64    // bytes of a request's body
	In, Out reflect.Type

	schema *huma.Schema // of In
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

func (o Operation) table(columns string) Operation { o.Columns = columns; return o }
func (o Operation) upTo(limit int64) Operation     { o.Limit = limit; return o }

// Changes says whether the capability changes anything.
func (o Operation) Changes() bool {
	_, ok := o.Schema().Properties["reason"]
	return ok
}

// Schema describes the whole input of the capability.
func (o Operation) Schema() *huma.Schema { return resolve(o.schema) }

// inputs holds the schemas of all inputs, outputs those of all answers; an
// input refuses unknown fields, and an answer may grow.
var (
	inputs  = huma.NewMapRegistry("#/components/schemas/", namer)
	answers = huma.NewMapRegistry("#/components/schemas/", func(t reflect.Type, hint string) string { return namer(t, hint) + "Answer" })
)

func namer(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	if t.PkgPath() != "" && !strings.HasSuffix(t.PkgPath(), "/flyball") {
		return name
	}
	return name
}

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
		out, err := o.call(r.Context(), s, func(into any) error { return o.decode(r, body, into) })
		if err != nil {
			writeProblem(w, r, err)
			return
		}
		status := http.StatusOK
		if o.Method == http.MethodPost && strings.HasPrefix(o.Name, "create_") {
			status = http.StatusCreated
		}
		writeJSON(w, status, out)
	}
}

// readBody reads a body of at most limit bytes. One that says it is longer is
// refused before any of it is read.
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
		return nil, flyball.Errorf(flyball.Invalid, "the request body broke off: %v", err)
	}
	return body, nil
}

// decode reads the input of the capability from path, query and body, and
// tells everything that is wrong with it at once.
func (o Operation) decode(r *http.Request, body []byte, into any) error {
	fields := map[string]any{}
	if o.HasBody() && len(bytes.TrimSpace(body)) > 0 {
		if err := decodeObject(body, &fields); err != nil {
			return err
		}
		if err := json.Unmarshal(body, into); err != nil {
			if problems := o.validate(fields, r); problems != nil {
				return problems
			}
			return flyball.Errorf(flyball.Invalid, "%s", readable(err))
		}
	}
	extra, err := o.parameters(r)
	if err != nil {
		return err
	}
	for name, v := range extra {
		if given, ok := fields[name]; ok && given != v {
			return flyball.FieldErrorf(name, "the body says %v and the path says %v", given, v)
		}
		fields[name] = v
	}
	if err := o.validate(fields, r); err != nil {
		return err
	}
	merged, err := json.Marshal(extra)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(merged, into); err != nil {
		return flyball.Errorf(flyball.Invalid, "%s", readable(err))
	}
	return nil
}

// decodeObject reads one JSON object and nothing after it.
func decodeObject(body []byte, fields *map[string]any) error {
	var object flyball.Attributes
	if err := json.Unmarshal(body, &object); err != nil {
		return flyball.Errorf(flyball.Invalid, "the request body is not a JSON object: %s", readable(err))
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
		found[name] = r.PathValue(name)
	}
	if o.HasBody() {
		return found, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, flyball.Errorf(flyball.Invalid, "the query is malformed: %v", err)
	}
	for name, values := range query {
		v, err := o.convert(name, values)
		if err != nil {
			return nil, err
		}
		found[name] = v
	}
	return found, nil
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

// validate tells every field that does not fit the schema.
func (o Operation) validate(fields map[string]any, _ *http.Request) error {
	var result huma.ValidateResult
	huma.Validate(inputs, o.schema, huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, fields, &result)
	var errs []error
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
		errs = append(errs, flyball.FieldErrorf(field, "%s", message))
	}
	return errors.Join(errs...)
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
