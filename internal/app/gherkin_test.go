package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cucumber/godog"
	"github.com/open-feature/go-sdk/openfeature"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/app"
)

// inapplicable names the scenarios of OpenFeature's suites that are not run,
// by a part of the text that begins with the scenario's name and goes on with
// its steps, and why.
var inapplicable = map[string]string{
	"Returns metadata\n":                    "a flag has no free-form metadata; what the provider tells is its own",
	"Flag metadata in evaluation details\n": "a flag has no free-form metadata; what the provider tells is its own",
	"Returns no metadata\n":                 "the provider always tells flag set and version",
	"CACHED reason\n":                       "flags are evaluated in the program: nothing is cached, and the reason is the true one",
	"DISABLED reason\na Object-flag with key \"object-disabled": "a disabled flag serves its off variant, and {\"a\": 1} is none of the flag's variants",
}

// Flags of the test data that cannot be flags here: no scenario needs them.
var unimportable = map[string]string{
	"null-default-flag":      "a flag always has something to serve by default",
	"undefined-default-flag": "a flag always has something to serve by default",
}

// targeting maps the expressions of the test data to conditions. An expression
// is written in CEL, with the variant that it selects; there are but two.
var targeting = map[string]flyball.Rule{
	"email == 'ballmer@macrosoft.com' ? 'zero' : ''": {
		ID: "ballmer", If: flyball.Condition{Attribute: "email", Op: flyball.OpIn, Values: flyball.Values{"ballmer@macrosoft.com"}},
		Serve: flyball.Serve{Variant: "zero"},
	},
	"!customer && email == 'ballmer@macrosoft.com' && age > 10 ? 'internal' : ''": {
		ID: "internal", If: flyball.Condition{All: []flyball.Condition{
			{Attribute: "customer", Op: flyball.OpIn, Values: flyball.Values{false}},
			{Attribute: "email", Op: flyball.OpIn, Values: flyball.Values{"ballmer@macrosoft.com"}},
			{Attribute: "age", Op: flyball.OpGT, Values: flyball.Values{int64(10)}},
		}},
		Serve: flyball.Serve{Variant: "internal"},
	},
}

// suites returns the folder of OpenFeature's feature files.
func suites(t *testing.T) string {
	t.Helper()
	folder := filepath.Join("..", "..", "..", "shared", "data", "openfeature_spec")
	if _, err := os.Stat(folder); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("OpenFeature's suites are missing: %v", err)
		}
		t.Skipf("OpenFeature's suites are missing: %v", err)
	}
	return folder
}

// A specFlag is a flag of the test data.
type specFlag struct {
	Disabled         bool
	Variants         map[string]json.RawMessage
	DefaultVariant   *string
	ContextEvaluator string
}

// flagType returns the type that all variants share: a number with a point is
// a number, one without is an integer.
func (f specFlag) flagType() flyball.FlagType {
	for _, v := range f.Variants {
		switch text := string(v); {
		case text == "true" || text == "false":
			return flyball.TypeBoolean
		case text[0] == '"':
			return flyball.TypeString
		case text[0] == '{':
			return flyball.TypeObject
		case strings.Contains(text, "."):
			return flyball.TypeNumber
		}
	}
	return flyball.TypeInteger
}

// other returns the variant that is not the default.
func (f specFlag) other() string {
	for _, name := range slices.Sorted(maps.Keys(f.Variants)) {
		if name != *f.DefaultVariant {
			return name
		}
	}
	return *f.DefaultVariant
}

// importFlags creates the flags of the test data through the API. A flag's
// default variant is its default; its safe and its off variant are the other
// one; its expression is a rule.
func (p person) importFlags(folder string) {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "test-flags.json"))
	if err != nil {
		p.t.Fatal(err)
	}
	var flags map[string]specFlag
	if err := json.Unmarshal(data, &flags); err != nil {
		p.t.Fatal(err)
	}
	for _, key := range slices.Sorted(maps.Keys(flags)) {
		f := flags[key]
		if why := unimportable[key]; f.DefaultVariant == nil || why != "" {
			if f.DefaultVariant != nil || why == "" {
				p.t.Errorf("%s: default %v, but %q", key, f.DefaultVariant, why)
			}
			continue
		}
		var rules []flyball.Rule
		if f.ContextEvaluator != "" {
			rule, ok := targeting[f.ContextEvaluator]
			if !ok {
				p.t.Fatalf("%s: no mapping for %s", key, f.ContextEvaluator)
			}
			rules = append(rules, rule)
		}
		p.importFlag(key, f, rules)
	}
	// The older suite needs a flag that the test data no longer has: its
	// scenario says which context is INTERNAL.
	external := "external"
	is := func(attribute string, value any) flyball.Condition {
		return flyball.Condition{Attribute: attribute, Op: flyball.OpIn, Values: flyball.Values{value}}
	}
	p.importFlag("context-aware", specFlag{
		Variants:       map[string]json.RawMessage{"internal": json.RawMessage(`"INTERNAL"`), external: json.RawMessage(`"EXTERNAL"`)},
		DefaultVariant: &external,
	}, []flyball.Rule{{
		ID: "internal", Serve: flyball.Serve{Variant: "internal"},
		If: flyball.Condition{All: []flyball.Condition{is("fn", "Sulisław"), is("ln", "Świętopełk"), is("age", int64(29)), is("customer", false)}},
	}})
}

func (p person) importFlag(key string, f specFlag, rules []flyball.Rule) {
	p.t.Helper()
	p.do("POST", "/api/v1/flags", map[string]any{
		"key": key, "kind": "ops", "owner": "default", "type": f.flagType(), "variants": f.Variants, "safeVariant": f.other(), "reason": "OpenFeature's test data",
	})
	at := "/api/v1/environments/production/flags/" + key
	p.do("PUT", at+"/default", map[string]any{"default": map[string]any{"variant": *f.DefaultVariant}, "reason": "OpenFeature's test data"})
	for _, r := range rules {
		p.do("POST", at+"/rules", map[string]any{"rule": r, "reason": "OpenFeature's test data"})
	}
	if !f.Disabled {
		p.do("POST", at+"/enable", map[string]any{"reason": "OpenFeature's test data"})
	}
}

// OpenFeature's own suites pass through the provider, with a real server.
func TestOpenFeaturesSuites(t *testing.T) {
	folder := suites(t)
	a := start(t, app.Config{Listen: "127.0.0.1:0", Data: t.TempDir()})
	ann := person{t, a.URL, a.AdminToken}
	ann.importFlags(folder)
	made := ann.do("POST", "/api/v1/tokens", map[string]any{"kind": "sdk", "name": "spec", "environment": "production", "reason": "a test"})
	left := maps.Clone(inapplicable)
	for _, suite := range []struct {
		file string
		runs int // scenarios, each example one
		not  int // inapplicable
	}{
		{"evaluation.feature", 13, 0}, {"evaluation_v2.feature", 78, 4}, {"hooks.feature", 3, 0}, {"metadata.feature", 0, 5}, {"contextMerging.feature", 29, 0},
	} {
		t.Run(suite.file, func(t *testing.T) {
			runs, not := 0, 0
			status := godog.TestSuite{
				Name: suite.file,
				ScenarioInitializer: func(sc *godog.ScenarioContext) {
					s := &scenario{t: t, server: a.URL, token: made["secret"].(string)}
					sc.Before(func(ctx context.Context, g *godog.Scenario) (context.Context, error) {
						if why := s.inapplicable(g, left); why != "" {
							not++
							t.Logf("not applicable: %s: %s", g.Name, why)
							return ctx, godog.ErrSkip
						}
						runs++
						return ctx, nil
					})
					sc.After(func(ctx context.Context, _ *godog.Scenario, err error) (context.Context, error) {
						s.end()
						return ctx, nil
					})
					s.steps(sc)
				},
				Options: &godog.Options{Format: "progress", Output: devNull(t), Paths: []string{filepath.Join(folder, suite.file)}, Strict: true, TestingT: t, NoColors: true},
			}.Run()
			t.Logf("%d scenarios ran, %d are not applicable", runs, not)
			if status != 0 || runs != suite.runs || not != suite.not {
				t.Errorf("status %d; %d scenarios ran and %d are not applicable, want %d and %d", status, runs, not, suite.runs, suite.not)
			}
		})
	}
	for text := range left {
		t.Errorf("no scenario is %q", text)
	}
}

// inapplicable says why a scenario is not run; empty if it is.
func (s *scenario) inapplicable(g *godog.Scenario, left map[string]string) string {
	text := g.Name + "\n"
	for _, step := range g.Steps {
		if strings.Contains(step.Text, "-flag with key") {
			text += step.Text + "\n"
		}
		for key := range unimportable {
			if strings.Contains(step.Text, `"`+key+`"`) {
				s.t.Errorf("%s needs %s, which is not imported", g.Name, key)
			}
		}
	}
	for part, why := range inapplicable {
		if strings.HasPrefix(text, part) {
			delete(left, part)
			return why
		}
	}
	return ""
}

func devNull(t *testing.T) *os.File {
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// same compares a value with what a step says, which is JSON, or bare text
// where a string is meant.
func same(kind, want string, got any) error {
	parsed, err := meant(kind, want)
	if err != nil {
		return err
	}
	a, _ := json.Marshal(parsed)
	b, _ := json.Marshal(got)
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil || !reflect.DeepEqual(x, y) || kind != "object" && reflect.TypeOf(parsed) != reflect.TypeOf(got) {
		return fmt.Errorf("the value is %T %v, want %T %v", got, got, parsed, parsed)
	}
	return nil
}

func equal[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("the %s is %v, want %v", what, got, want)
	}
	return nil
}

// soon waits for a state of OpenFeature's.
func soon(client *openfeature.Client, want openfeature.State) error {
	for deadline := time.Now().Add(10 * time.Second); client.State() != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("the state is %s, not %s", client.State(), want)
		}
	}
	return nil
}
