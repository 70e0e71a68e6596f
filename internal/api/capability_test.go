package api_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball/internal/api"
)

func TestEachCapabilityDoesWhatItSaysAndIsAudited(t *testing.T) {
	t.Parallel()
	for _, o := range api.Operations() {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			h := furnished(t)
			use, ok := useCases(h)[o.Name]
			if !ok {
				t.Fatal("it has no use case")
			}
			token := use.token
			if token == "" {
				token = h.admin
			}
			before := h.state()
			r := h.call(token, o.Name, use.in, "X-Request-Id", "req-of-a-test")
			if want := status(o); r.StatusCode != want {
				t.Fatalf("%d, want %d: %s", r.StatusCode, want, r.body)
			}
			if r.Header.Get("X-Request-Id") != "req-of-a-test" {
				t.Errorf("the request goes by %q", r.Header.Get("X-Request-Id"))
			}
			for path, want := range use.want {
				if got := r.read(t, path); got != want {
					t.Errorf("%s is %v, want %v: %s", path, got, want, r.body)
				}
			}
			decodes(t, o, r.body)
			after := h.state()
			rose := state{after.Production - before.Production, after.Development - before.Development, after.Staging - before.Staging, after.Audit - before.Audit}
			if rose != use.bumps {
				t.Errorf("versions and audit log rose by %+v, want %+v", rose, use.bumps)
			}
			if versions := use.bumps.Production + use.bumps.Development + use.bumps.Staging; o.Changes() && o.Still != (versions == 0) {
				t.Errorf("it is still: %v, and makes %d versions", o.Still, versions)
			}
			if use.bumps.Audit > 0 {
				entry := h.must("list_audit", fields{"limit": 1})
				if got := entry.read(t, "entries.0.action"); got != use.action {
					t.Errorf("the audit log calls it %v, want %s", got, use.action)
				}
				if entry.read(t, "entries.0.reason") != use.in["reason"] || entry.read(t, "entries.0.request") != "req-of-a-test" {
					t.Errorf("the audit entry is %s", entry.body)
				}
			}
		})
	}
}

func status(o api.Operation) int {
	if strings.HasPrefix(o.Name, "create_") || o.Name == "start_rollout" {
		return 201
	}
	return 200
}

// decodes checks that an answer holds what its type says and nothing more.
func decodes(t *testing.T, o api.Operation, body []byte) {
	t.Helper()
	into := reflect.New(o.Out)
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into.Interface()); err != nil {
		t.Fatalf("the answer is not a %v: %v: %s", o.Out, err, body)
	}
	again, err := json.Marshal(into.Interface())
	if err != nil {
		t.Fatal(err)
	}
	var sent, kept any
	json.Unmarshal(body, &sent)
	json.Unmarshal(again, &kept)
	if d := cmp.Diff(sent, kept); d != "" {
		t.Errorf("the answer is not what a %v holds (-sent +kept):\n%s", o.Out, d)
	}
}

func TestARefusedRequestNamesEveryFieldThatIsWrongAndChangesNothing(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	uses := useCases(h)
	for _, o := range api.Operations() {
		use := uses[o.Name]
		token := use.token
		if token == "" {
			token = h.admin
		}
		refuse := func(what string, f fields, blames ...string) {
			t.Helper()
			h.unchanged(func() {
				t.Helper()
				r := h.call(token, o.Name, f)
				if r.StatusCode != 422 {
					t.Errorf("%s, %s: %d: %.500s", o.Name, what, r.StatusCode, r.body)
					return
				}
				if got := r.fields(t); !slices.Equal(got, blames) {
					t.Errorf("%s, %s: it blames %q, want %q: %.500s", o.Name, what, got, blames, r.body)
				}
			})
		}
		refuse("an unknown field", use.in.with("colour", "green"), "colour")
		if !o.HasBody() {
			continue
		}
		refuse("a known field in another case", use.in.with("Colour", 1).with("IfVersion", 1), "Colour", "IfVersion")
		if !o.Changes() {
			continue
		}
		refuse("no reason", use.in.with("reason", nil), "reason")
		refuse("an empty reason", use.in.with("reason", ""), "reason")
		refuse("a blank reason", use.in.with("reason", " \n\t"), "reason")
		refuse("a reason of the wrong type", use.in.with("reason", 7), "reason")
		refuse("a reason that is too long", use.in.with("reason", strings.Repeat("x", 2001)), "reason")
		refuse("a reason with a zero byte", use.in.with("reason", "a\x00b"), "reason")
		if o.Schema().Properties["ifVersion"] != nil {
			refuse("a version that is none", use.in.with("ifVersion", "latest"), "ifVersion")
			refuse("a version with a fraction", use.in.with("ifVersion", 1.5), "ifVersion")
			refuse("a version out of range", use.in.with("ifVersion", 1e300), "ifVersion")
		}
	}
}

func TestAnUnknownFieldIsToldWithTheKnownOnes(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	r := h.call(h.admin, "add_rule", in(search).with("rule", fields{"id": "x", "when": 1, "if": fields{"segmnt": "testers"}, "serve": fields{"variant": "new"}}))
	r.want(t, 422)
	p := r.problem(t)
	got := map[string]string{}
	for _, e := range p.Errors {
		got[e.Field] = e.Message
	}
	if m := got["rule.when"]; !strings.Contains(m, "description, id, if, notAfter, notBefore, serve") {
		t.Errorf("rule.when: %q", m)
	}
	if m := got["rule.if.segmnt"]; !strings.Contains(m, "segment") {
		t.Errorf("rule.if.segmnt: %q", m)
	}
}

func TestAStaleVersionIsAConflictThatTellsTheOneInForce(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	tested := 0
	for name, use := range useCases(h) {
		if operation(t, name).Schema().Properties["ifVersion"] == nil {
			continue
		}
		tested++
		if use.version == "" {
			if !strings.HasPrefix(name, "create_") { // what is new has no version that anybody read
				t.Errorf("%s: its use case tells no version", name)
			}
			continue
		}
		read := map[string]string{"segment": "get_segment", "metric": "get_metric", "webhook": "get_webhook", "user": "get_user", "team": "get_team"}[strings.TrimPrefix(name, "update_")]
		if read == "" {
			read = "get_flag"
		}
		named := fields{"key": use.in["key"]}
		if read == "get_user" {
			named = fields{"id": use.in["id"]}
		}
		current := h.must(read, named).read(t, use.version).(float64)
		h.unchanged(func() {
			r := h.call(h.admin, name, use.in.with("ifVersion", current+1000)).want(t, 409)
			if got := r.problem(t).Details["version"]; got != current {
				t.Errorf("%s: the conflict tells version %v, want %v", name, got, current)
			}
		})
		// The right version is no conflict; a missing reason still is wrong.
		h.call(h.admin, name, use.in.with("ifVersion", current).with("reason", nil)).want(t, 422)
	}
	if tested < 12 {
		t.Errorf("only %d capabilities take a version", tested)
	}
}

// The version of an environment is of what it serves; its own is its revision.
func TestNobodyOverwritesAnEnvironmentThatTheyHaveNotRead(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	read := h.must("get_environment", fields{"key": "production"}).read(t, "revision").(float64)
	update := fields{"key": "production", "protected": true, "sampleAttributes": []string{"country", "plan"}, "ifRevision": read, "reason": "a test"}
	h.must("set_default", in(search).with("default", fields{"variant": "new"})) // makes another version, and the same environment
	if next := h.must("update_environment", update).read(t, "revision"); next != read+1 {
		t.Errorf("after a change it is at revision %v, and was at %v", next, read)
	}
	h.unchanged(func() {
		r := h.call(h.admin, "update_environment", update.with("protected", false)).want(t, 409)
		if got := r.problem(t).Details["revision"]; got != read+1 {
			t.Errorf("the conflict tells revision %v, want %v", got, read+1)
		}
	})
	h.must("update_environment", update.with("ifRevision", nil).with("protected", false)) // who names none has not asked
	audit := h.must("list_audit", fields{"subject": "production", "limit": 1})
	if strings.Contains(string(audit.body), "revision") {
		t.Errorf("how often something was changed is no part of a change: %s", audit.body)
	}
}

func TestTheVersionThatWasReadIsGoodForOneChange(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	read := h.must("get_flag", fields{"key": search}).read(t, "environments/production/version").(float64)
	h.must("set_default", in(search).with("default", fields{"variant": "new"}).with("ifVersion", read))
	r := h.call(h.admin, "set_default", in(search).with("default", fields{"variant": "old"}).with("ifVersion", read)).want(t, 409)
	if got := r.problem(t).Details["version"]; got != float64(h.state().Production) {
		t.Errorf("the conflict tells version %v, and %d is in force", got, h.state().Production)
	}
}

func TestAnArchivedKeyIsToldWithItsHistory(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	for name, f := range map[string]fields{
		"create_flag":  boolean(gone),
		"update_flag":  boolean(gone),
		"archive_flag": {"key": gone, "reason": "again"},
		"enable_flag":  in(gone),
		"kill_flag":    in(gone),
		"apply":        {"flags": []fields{boolean(gone).with("reason", nil)}, "reason": "a test"},
	} {
		h.unchanged(func() {
			p := h.call(h.admin, name, f).want(t, 409).problem(t)
			if p.Details["archivedWhy"] != "the old path is gone" || p.Details["archivedBy"] != "user:admin" || p.Details["archivedAt"] == nil || p.Details["owner"] != "default" {
				t.Errorf("%s: the conflict tells %v", name, p.Details)
			}
		})
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	for name, use := range useCases(h) {
		for _, field := range operation(t, name).PathFields() {
			if strings.HasPrefix(name, "create_") {
				continue
			}
			for _, nobody := range []string{"nobody-made-it", "../../etc/passwd", "a b", "%", "ü", strings.Repeat("x", 3000)} {
				token := use.token
				if token == "" {
					token = h.admin
				}
				h.unchanged(func() {
					r := h.call(token, name, use.in.with(field, nobody))
					if r.StatusCode != 404 && r.StatusCode != 422 {
						t.Errorf("%s, %s is %.20q: %d: %.300s", name, field, nobody, r.StatusCode, r.body)
					}
					if nobody == "nobody-made-it" && r.StatusCode != 404 {
						t.Errorf("%s, %s is %q: %d: %s", name, field, nobody, r.StatusCode, r.body)
					}
				})
			}
		}
	}
}
