package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/flyballdev/flyball/internal/service"
)

// Each row says all that surfaces need of it.
func TestEveryRowIsComplete(t *testing.T) {
	names, routes, commands := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, o := range Operations() {
		if o.Summary == "" || !strings.HasSuffix(o.Summary, ".") {
			t.Errorf("%s: the summary is a sentence", o.Name)
		}
		if o.Access == "" {
			t.Errorf("%s: no policy", o.Name)
		}
		if names[o.Name] || routes[o.Method+" "+o.Path] || o.Command != "" && commands[o.Command] {
			t.Errorf("%s: its name, route or command stands twice", o.Name)
		}
		names[o.Name], routes[o.Method+" "+o.Path], commands[o.Command] = true, true, true
		if o.Changes() != (o.Access == service.Write || o.Access == service.Approve || o.Access == service.Admin && o.HasBody()) {
			t.Errorf("%s: what changes something has a reason, and what reads has none", o.Name)
		}
		if o.Command != "" && o.Example == "" && len(o.Args) > 0 {
			t.Errorf("%s: the command has no example", o.Name)
		}
		for _, f := range append(o.PathFields(), o.Args...) {
			if o.Schema().Properties[f] == nil {
				t.Errorf("%s: %s is not a field of %v", o.Name, f, o.In)
			}
		}
		if o.Command == "" {
			continue
		}
		for name, f := range o.Schema().Properties {
			if f.Description == "" && resolve(f).Description == "" && !slices.Contains(o.Args, name) && name != "reason" {
				t.Errorf("%s: the flag of %s says nothing of it", o.Name, name)
			}
		}
		if o.Changes() && !strings.Contains(o.Example, "--reason") && o.Command != "" {
			t.Errorf("%s: the example gives no reason", o.Name)
		}
	}
}

func TestOpenAPIIsADocumentOfAllRows(t *testing.T) {
	body, err := openAPI()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("openapi is %q", doc.OpenAPI)
	}
	for _, o := range Operations() {
		if doc.Paths[o.Path][strings.ToLower(o.Method)] == nil {
			t.Errorf("%s %s is missing", o.Method, o.Path)
		}
	}
}

func TestARouteWithoutAPolicyStopsTheProgramBeforeItServes(t *testing.T) {
	defer func() {
		if v, _ := recover().(string); !strings.Contains(v, "GET /open") {
			t.Errorf("it says %q", v)
		}
	}()
	new(Server).route(http.NewServeMux(), "GET /open", policy{}, func(http.ResponseWriter, *http.Request) {})
	t.Error("it would serve")
}

// Every reference in the document leads somewhere.
func TestOpenAPIRefersToNothingThatIsMissing(t *testing.T) {
	body, err := openAPI()
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	schemas, refs := doc["components"].(map[string]any)["schemas"].(map[string]any), 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				refs++
				if schemas[strings.TrimPrefix(ref, "#/components/schemas/")] == nil {
					t.Errorf("there is no %s", ref)
				}
			}
			for _, part := range v {
				walk(part)
			}
		case []any:
			for _, part := range v {
				walk(part)
			}
		}
	}
	walk(doc)
	if refs < len(operations) {
		t.Errorf("there are only %d references", refs)
	}
}
