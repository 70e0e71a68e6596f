package api

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flyballdev/flyball"
)

// openAPI is the OpenAPI 3.1 document of all rows, encoded once. Making it adds
// the answers to the schemas by which requests are checked, so it must be done
// before the first one.
var openAPI = sync.OnceValues(func() ([]byte, error) { return json.MarshalIndent(document(), "", "  ") })

// OpenAPI returns the document that a running server has at
// /api/v1/openapi.json.
func OpenAPI() ([]byte, error) { return openAPI() }

func document() *huma.OpenAPI {
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "Flyball", Version: Version,
			Description: "Feature flags and progressive delivery. Errors are problem details (RFC 9457) with a code and, where fields are wrong, all of them.",
		},
		Servers: []*huma.Server{{URL: "/"}},
		Components: &huma.Components{
			Schemas:         inputs,
			SecuritySchemes: map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer", Description: "A token such as fb_api_…"}},
		},
		Security: []map[string][]string{{"token": {}}},
	}
	for _, o := range operations {
		doc.AddOperation(o.entry())
	}
	for _, e := range applyEntries() {
		doc.AddOperation(e)
	}
	return doc
}

// entry is the row's part of the OpenAPI document.
func (o Operation) entry() *huma.Operation {
	e := &huma.Operation{
		OperationID: o.Name, Method: o.Method, Path: o.Path, Summary: o.Summary,
		Tags:      []string{strings.Split(strings.TrimPrefix(o.Path, "/api/v1/"), "/")[0]},
		Responses: map[string]*huma.Response{},
	}
	if o.Command != "" {
		e.Description = "On the command line: `flyball " + strings.TrimSpace(o.Command+" "+o.Example) + "`"
	}
	schema, inPath := o.Schema(), o.PathFields()
	for _, name := range inPath {
		e.Parameters = append(e.Parameters, &huma.Param{Name: name, In: "path", Required: true, Schema: schema.Properties[name]})
	}
	if o.HasBody() {
		e.RequestBody = o.requestBody(schema, inPath)
	} else {
		for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
			if !slices.Contains(inPath, name) {
				e.Parameters = append(e.Parameters, &huma.Param{Name: name, In: "query", Required: slices.Contains(schema.Required, name), Schema: schema.Properties[name]})
			}
		}
	}
	e.Parameters = append(e.Parameters, o.manners()...)
	e.Responses[strconv.Itoa(o.Success())] = jsonResponse("Done", "application/json", answer(o.Out))
	addProblems(e)
	return e
}

func addProblems(e *huma.Operation) {
	problem := jsonResponse("What went wrong", "application/problem+json", answer(reflect.TypeFor[Problem]()))
	for _, s := range []int{401, 403, 404, 409, 413, 422} {
		e.Responses[strconv.Itoa(s)] = problem
	}
}

// requestBody describes the fields that do not stand in the path.
func (o Operation) requestBody(schema *huma.Schema, inPath []string) *huma.RequestBody {
	body := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false, Properties: map[string]*huma.Schema{}}
	for name, s := range schema.Properties {
		if !slices.Contains(inPath, name) {
			body.Properties[name] = s
		}
	}
	for _, name := range schema.Required {
		if !slices.Contains(inPath, name) {
			body.Required = append(body.Required, name)
		}
	}
	return &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: body}}}
}

func jsonResponse(description, contentType string, schema *huma.Schema) *huma.Response {
	return &huma.Response{Description: description, Content: map[string]*huma.MediaType{contentType: {Schema: schema}}}
}

// answer describes an answer's type. It shares the registry of the inputs,
// where a type means the same.
func answer(t reflect.Type) *huma.Schema { return inputs.Schema(t, true, "") }

// Version is the version of this program.
const Version = flyball.ProgramVersion
