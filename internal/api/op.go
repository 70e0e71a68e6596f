package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
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
		if err := once(body); err != nil && o.HasBody() {
			writeProblem(w, r, err)
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
