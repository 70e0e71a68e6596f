package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/flyballdev/flyball/internal/api"
)

// object returns a part of an answer, as it came.
func (r reply) object(t testing.TB, path ...string) fields {
	t.Helper()
	var v any = map[string]any{}
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatal(err)
	}
	for _, part := range path {
		v = v.(map[string]any)[part]
	}
	return fields(v.(map[string]any))
}

func (h *house) put(path string, body fields) reply {
	h.t.Helper()
	data, err := json.Marshal(body.with("reason", "as it was"))
	if err != nil {
		h.t.Fatal(err)
	}
	return h.send("PUT", "/api/v1/"+path, h.admin, string(data))
}

func TestWhatIsReadCanBeWrittenBackAndChangesNothing(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	h.tell(h.sdk(), batch("counts", fields{"counts": []fields{{"flag": fast, "variant": "on", "n": 40, "from": ago(0), "to": ago(0)}}})).want(t, 202)
	eventually(t, "the flag was evaluated", func() bool {
		return strings.Contains(string(h.must("get_flag", fields{"key": fast}).body), "evaluations")
	})
	rule := h.must("list_rules", fields{"key": search, "environment": "production"}).read(t, "rules.0")
	written := map[string]bool{}
	for _, it := range []struct {
		path string
		body fields
	}{
		{"flags/" + fast, h.must("get_flag", fields{"key": fast}).object(t)}, // with a live rollout
		{"flags/" + killed, h.must("get_flag", fields{"key": killed}).object(t)},
		{"environments/production/flags/" + fast, h.must("get_flag", fields{"key": fast}).object(t, "environments", "production")},
		{"environments/production/flags/" + killed, h.must("get_flag", fields{"key": killed}).object(t, "environments", "production")},
		{"environments/production/flags/" + search, h.must("get_flag", fields{"key": search}).object(t, "environments", "production").with("killed", json.RawMessage("null"))},
		{"environments/production/flags/" + search + "/rules/staff", fields{"rule": rule}},
		{"segments/testers", h.must("get_segment", fields{"key": "testers"}).object(t)},
		{"users/user:kim", h.must("get_user", fields{"id": "kim"}).object(t)},
		{"users/kim", h.must("get_user", fields{"id": "kim"}).object(t)}, // who is user:kim
		{"teams/payments", h.must("get_team", fields{"key": "payments"}).object(t)},
		{"environments/production", h.must("get_environment", fields{"key": "production"}).object(t)},
		{"environments/staging", h.must("get_environment", fields{"key": "staging"}).object(t)},
		{"webhooks/ops", h.must("get_webhook", fields{"key": "ops"}).object(t)},
		{"policy", h.must("get_policy", fields{}).object(t)},
		{"files", h.must("export", fields{}).object(t)},
		{"metrics/shop.sales", h.must("get_metric", fields{"key": "shop.sales"}).object(t)},
		{"metrics/shop.errors", h.must("get_metric", fields{"key": "shop.errors"}).object(t)}, // of a live rollout
	} {
		written[it.path[:strings.IndexByte(it.path+"/", '/')]] = true
		before := h.state()
		if r := h.put(it.path, it.body); r.StatusCode != http.StatusOK || h.state() != before {
			t.Errorf("%s: %d, and from %+v to %+v: %s", it.path, r.StatusCode, before, h.state(), r.body)
		}
	}
	for _, o := range api.Operations() {
		if noun := strings.Split(o.Path, "/")[3]; o.Method == http.MethodPut && !written[noun] {
			t.Errorf("%s: nothing of %s is written back here", o.Name, noun)
		}
	}
}

func TestWhatIsOnlyToldCannotBeSet(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	flag := h.must("get_flag", fields{"key": search}).object(t)
	config := h.must("get_flag", fields{"key": search}).object(t, "environments", "production")
	other := h.must("get_flag", fields{"key": fast}).object(t, "environments", "production")
	const at = "environments/production/flags/"
	before := h.state()
	for _, tt := range []struct {
		path, field, why string
		body             fields
	}{
		{at + search, "seed", "is set once, at creation, and here it is " + search, config.with("seed", "mine")},
		{at + search, "hashVersion", "is set once", config.with("hashVersion", 3)},
		{at + search, "killed", "flyball flag kill", config.with("killed", fields{"reason": "x"})},
		{at + killed, "killed", "flyball flag resume", h.must("get_flag", fields{"key": killed}).object(t, "environments", "production").with("killed", json.RawMessage("null"))},
		{at + search, "flag", "this is about " + search, config.with("flag", fast)},
		{at + search, "rollout", "rollouts have their own commands", config.with("rollout", other["rollout"])},
		{at + search, "colour", "is not known here", config.with("colour", "green")},
		{"flags/" + search, "createdBy", "is told and not set, and here it is", flag.with("createdBy", "user:eve")},
		{"flags/" + search, "archivedAt", "is told and not set", flag.with("archivedAt", ago(0))},
		{"webhooks/ops", "host", "is told and not set", h.must("get_webhook", fields{"key": "ops"}).object(t).with("host", "example.com")},
		{"users/kim", "id", "the body says user:ann and the path says kim", h.must("get_user", fields{"id": "kim"}).object(t).with("id", "user:ann")},
		{"flags/" + search, "environments", "flyball flag configure", flag.with("environments", fields{"production": other})},
	} {
		var answer struct {
			Errors []struct{ Field, Message string }
		}
		r := h.put(tt.path, tt.body).want(t, 422)
		if err := json.Unmarshal(r.body, &answer); err != nil {
			t.Fatal(err)
		}
		if len(answer.Errors) != 1 || answer.Errors[0].Field != tt.field || !strings.Contains(answer.Errors[0].Message, tt.why) {
			t.Errorf("%s: %s", tt.field, r.body)
		}
	}
	h.put("flags/"+search, flag.with("version", 7)).want(t, 409)
	h.put("flags/shop.not.there", flag.with("key", "shop.not.there")).want(t, 404)
	h.put("environments/nowhere/flags/"+search, config).want(t, 404)
	if after := h.state(); after != before {
		t.Errorf("from %+v to %+v", before, after)
	}
}
