package eval_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// frozen are the sums of files that other languages build on. A file is added,
// never changed.
var frozen = map[string]string{
	"points-1.ndjson":   "d6188615a7c26008b3507307b07a65b133e26a969d925b2f4417ca3839324212",
	"evaluation-1.json": "9cb8a15ce17dff6ab190c34c9145122893d3e47536550c3e4fb1f9f703707ef1",
	"points-2.ndjson":   "7f50eaefeddbe8b862729cb2b0e03f1ac27e3f15a7494d9086c60b9276f5a4ca",
	"evaluation-2.json": "ad10a1eaedaba03cf70384eef866e4bc7543df100779257d7c2812d24214834f",
}

func TestVectorsAreNeverEdited(t *testing.T) {
	var total int
	for _, pattern := range []string{"points-*", "evaluation-*"} {
		files, err := filepath.Glob("testdata/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			total += len(data)
			sum := sha256.Sum256(data)
			if got, want := hex.EncodeToString(sum[:]), frozen[filepath.Base(file)]; got != want {
				t.Errorf("%s: sum %s, frozen %q: put new vectors into a new file", file, got, want)
			}
		}
	}
	if total > 3<<20 {
		t.Errorf("vectors of %d bytes weigh on every clone", total)
	}
}

func TestVectorsAreAsTheirSchemasSay(t *testing.T) {
	for pattern, schema := range map[string]string{"points-*.ndjson": "points", "evaluation-*.json": "evaluation", "poison-*.ndjson": "poison"} {
		var root map[string]any
		data, err := os.ReadFile("testdata/" + schema + ".schema.json")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &root); err != nil {
			t.Fatalf("%s: %v", schema, err)
		}
		files, err := filepath.Glob("testdata/" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		for _, file := range files {
			d := json.NewDecoder(bytes.NewReader(read(t, file)))
			for line := 1; d.More(); line++ {
				var v any
				if err := d.Decode(&v); err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				for _, problem := range violations(root, root, v, "") {
					t.Errorf("%s, value %d: %s", file, line, problem)
				}
			}
		}
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// violations tells where a value is not as its schema says. It knows the part
// of JSON Schema that ours use, and fails for any other word.
func violations(root, schema map[string]any, v any, at string) (found []string) {
	tell := func(format string, args ...any) { found = append(found, at+": "+fmt.Sprintf(format, args...)) }
	object, _ := v.(map[string]any)
	number, isNumber := v.(float64)
	for word, says := range schema {
		switch word {
		case "$schema", "$defs", "title", "description":
		case "$ref":
			name := strings.TrimPrefix(says.(string), "#/$defs/")
			found = append(found, violations(root, root["$defs"].(map[string]any)[name].(map[string]any), v, at)...)
		case "type":
			if got := typeOf(v); got != says && (got != "integer" || says != "number") {
				tell("is a %s, not a %s", got, says)
			}
		case "enum":
			if !slices.Contains(says.([]any), v) {
				tell("%v is none of %v", v, says)
			}
		case "minimum":
			if isNumber && number < says.(float64) {
				tell("%v is below %v", v, says)
			}
		case "maximum":
			if isNumber && number > says.(float64) {
				tell("%v is above %v", v, says)
			}
		case "required":
			for _, name := range says.([]any) {
				if _, ok := object[name.(string)]; !ok {
					tell("lacks %v", name)
				}
			}
		case "properties":
			for name, s := range says.(map[string]any) {
				if part, ok := object[name]; ok {
					found = append(found, violations(root, s.(map[string]any), part, at+"."+name)...)
				}
			}
		case "additionalProperties":
			properties, _ := schema["properties"].(map[string]any)
			for name, part := range object {
				if _, known := properties[name]; known {
					continue
				}
				if s, ok := says.(map[string]any); ok {
					found = append(found, violations(root, s, part, at+"."+name)...)
				} else {
					tell("%s is unknown", name)
				}
			}
		case "items":
			list, _ := v.([]any)
			for i, part := range list {
				found = append(found, violations(root, says.(map[string]any), part, fmt.Sprintf("%s[%d]", at, i))...)
			}
		default:
			tell("the test does not know the schema's word %q", word)
		}
	}
	return found
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
	}
	return "number"
}
