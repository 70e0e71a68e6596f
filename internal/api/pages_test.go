package api_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/flyballdev/flyball/internal/service"
)

// A list that is cut short says so, and where it goes on; page by page it is the
// whole list, for a token that sees some of it too.
func TestAListThatIsCutShortSaysSoAndGoesOn(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	for i := range 3 {
		for _, team := range []string{"pages", "other"} {
			key := fmt.Sprintf("%s.list.n%d", team, i)
			h.must("create_flag", boolean(key))
			h.must("enable_flag", fields{"key": key, "environment": "production", "reason": "a test"})
			h.must("start_rollout", fields{"flag": key, "environment": "production", "treatment": "on", "control": "off", "steps": []any{fields{"ppm": 1000}}, "reason": "a test"})
			h.in("propose", h.ann(), "kill_flag", fields{"key": key, "environment": "production", "reason": "a test"}).want(t, 201)
		}
	}
	limited := h.token(fields{"kind": "api", "name": "limited", "actor": "user:bob", "flags": []string{"pages.*"}})
	for who, token := range map[string]string{"everything": h.admin, "some flags": limited} {
		rollouts := paged(t, h, token, "list_rollouts", func(r reply) (ids []string, more bool, next string) {
			var list service.Rollouts
			r.into(t, &list)
			for _, x := range list.Rollouts {
				ids = append(ids, x.ID)
			}
			return ids, list.More, list.Next
		})
		changes := paged(t, h, token, "list_changes", func(r reply) (ids []string, more bool, next string) {
			var list service.Changes
			r.into(t, &list)
			for _, x := range list.Changes {
				ids = append(ids, x.ID)
			}
			return ids, list.More, list.Next
		})
		if least := map[string]int{"everything": 6, "some flags": 3}[who]; len(rollouts) < least || len(changes) < least {
			t.Errorf("who sees %s sees %d rollouts and %d changes", who, len(rollouts), len(changes))
		}
	}
	for _, row := range []string{"list_rollouts", "list_changes"} {
		if r := h.call(h.admin, row, fields{"before": "nothing"}).want(t, 422); r.read(t, "errors.0.field") != "before" {
			t.Errorf("%s: %s", row, r.body)
		}
	}
}

// paged reads a list two by two, and wants it to be the list that is read at once.
func paged(t *testing.T, h *house, token, row string, read func(reply) (ids []string, more bool, next string)) []string {
	t.Helper()
	whole, more, next := read(h.call(token, row, fields{"limit": 1000}).want(t, 200))
	if more || next != "" {
		t.Errorf("%s: the whole list goes on at %q", row, next)
	}
	var all []string
	in := fields{"limit": 2}
	for {
		ids, more, next := read(h.call(token, row, in).want(t, 200))
		all = append(all, ids...)
		if len(ids) > 2 || more != (len(all) < len(whole)) || more != (next != "") {
			t.Fatalf("%s: after %d of %d, more is %v and it goes on at %q", row, len(all), len(whole), more, next)
		}
		if !more {
			break
		}
		in["before"] = next
	}
	if !slices.Equal(all, whole) {
		t.Errorf("%s: page by page it is %v, and at once %v", row, all, whole)
	}
	return whole
}
