package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/flyballdev/flyball/internal/corpus"
)

// What nobody should publish comes to the door as a change of a flag, of what
// an environment serves for it, of a segment, and as a whole. It is refused
// with a problem, or it is sound; either way no other flag is harmed, and the
// ruleset in force is one that compiles.
func TestPoisonAtTheDoor(t *testing.T) {
	t.Parallel()
	h := open(t)
	healthy, cases := corpus.Read(t)
	var doc struct{ Flags, Segments []map[string]json.RawMessage }
	if err := json.Unmarshal([]byte(healthy), &doc); err != nil {
		t.Fatal(err)
	}
	for _, s := range doc.Segments {
		h.must("create_segment", pick(s, "key", "include", "exclude", "if").with("owner", "default").with("reason", "a test"))
	}
	for _, f := range doc.Flags {
		h.must("create_flag", pick(f, "key", "type", "variants", "safeVariant").with("kind", "ops").with("owner", "default").with("reason", "a test"))
	}
	for _, f := range doc.Flags {
		h.must("configure_flag", configuration(f))
	}
	served := func() map[string]string {
		got := map[string]string{}
		for key := range corpus.Healthy() {
			r := h.must("evaluate", in(key).with("context", fields{"targetingKey": "user-1"}).with("reason", nil))
			got[key] = r.read(t, "variant").(string)
		}
		return got
	}
	stricter := map[string]bool{ // a person says what they mean, and nothing that is not known
		"null for enabled": true, "no enabled": true, "a rule's field of a later version": true,
	}
	accepted := 0
	for i, c := range cases {
		if raced && i%4 != 0 || len(c.Document) > 4<<20 {
			continue // the limit of a body is tested elsewhere
		}
		if h.send("PUT", "/api/v1/files", h.admin, c.Document).StatusCode/100 == 2 {
			t.Errorf("%s: a ruleset is no set of files", c.Name)
		}
		var flag, segment map[string]json.RawMessage
		if json.Unmarshal([]byte(c.Flag), &flag) != nil || flag == nil {
			continue
		}
		configure, path, body := request(t, operation(t, "configure_flag"), configuration(flag).with("key", "team.bad"))
		took := h.send(configure, path, h.admin, body).StatusCode == 200
		if c.Strict && string(flag["key"]) == `"team.bad"` && took == stricter[c.Name] {
			t.Errorf("%s: accepted: %v", c.Name, took)
		}
		define := pick(flag, "type", "variants", "safeVariant").with("key", "team.bad").with("kind", "ops").with("owner", "default").with("reason", "a test")
		h.call(h.admin, "update_flag", define)
		if json.Unmarshal([]byte(c.Segment), &segment) == nil && segment != nil {
			h.call(h.admin, "update_segment", pick(segment, "include", "exclude", "if").with("key", "beta").with("owner", "default").with("reason", "a test"))
		}
		for key, variant := range served() {
			if bad := strings.HasPrefix(key, "team.bad") || key == "team.child" || key == "team.member"; !bad && variant != "on" {
				t.Errorf("%s: %s serves %q", c.Name, key, variant)
			}
		}
		if took {
			accepted++
		}
		for _, f := range doc.Flags {
			if string(f["key"]) == `"team.bad"` {
				h.must("update_flag", pick(f, "key", "type", "variants", "safeVariant").with("kind", "ops").with("owner", "default").with("reason", "a test"))
				h.must("configure_flag", configuration(f))
			}
		}
		h.must("update_segment", pick(doc.Segments[0], "key", "include", "exclude", "if").with("owner", "default").with("reason", "a test"))
	}
	for key, variant := range served() {
		if variant != "on" {
			t.Errorf("in the end %s serves %q", key, variant)
		}
	}
	if accepted == 0 {
		t.Error("nothing was accepted: the test asks in a way that never could be")
	}
	t.Logf("%d of %d were sound", accepted, len(cases))
}

// pick returns those fields of an object that it has.
func pick(from map[string]json.RawMessage, names ...string) fields {
	f := fields{}
	for _, name := range names {
		if v, ok := from[name]; ok {
			f[name] = v
		}
	}
	if key, ok := from["key"]; ok && f["key"] != nil {
		f["key"] = strings.Trim(string(key), `"`) // it may stand in a path
	}
	return f
}

// configuration is what production serves for a flag, as a change.
func configuration(flag map[string]json.RawMessage) fields {
	f := pick(flag, "key", "enabled", "offVariant", "prerequisites", "rules", "default")
	return f.with("environment", "production").with("reason", "a test")
}
