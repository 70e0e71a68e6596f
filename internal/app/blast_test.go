package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/flyballdev/flyball/internal/app"
	"github.com/flyballdev/flyball/provider"
)

// eventually asks again and again until an answer is as it should be.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(60 * time.Second); !holds(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never: %s", what)
		}
	}
}

// A program's contexts, with the one attribute that is listed, become the preview
// of a change: by that attribute, and still after the server starts again. What
// is not listed reaches nobody.
func TestAProgramsContextsBecomeAPreview(t *testing.T) {
	onBoth(t, func(t *testing.T, c app.Config) {
		t.Parallel() // it waits for the pace of telemetry
		a := start(t, c)
		ann := person{t, a.URL, a.AdminToken}
		sdk := ann.stage()
		ann.do("PUT", "/api/v1/environments/production", map[string]any{"key": "production", "protected": true, "sampleAttributes": []string{"country"}, "reason": "a test"})
		p, client := program(t, provider.Options{Server: a.URL, Token: sdk, Service: "shop"})
		rule := func(ann person, query string) (int, map[string]any) {
			return ann.try("POST", "/api/v1/environments/production/flags/"+key+"/rules"+query, map[string]any{
				"rule": map[string]any{"id": "canada", "if": map[string]any{"attribute": "country", "op": "in", "values": []string{"CA"}}, "serve": map[string]any{"variant": "on"}}, "reason": "a test",
			})
		}
		preview := func(ann person) map[string]any {
			status, plan := rule(ann, "?dryRun=true&previewBy=country")
			if previews, ok := plan["previews"].([]any); status == http.StatusOK && ok && len(previews) == 1 {
				return previews[0].(map[string]any)
			}
			t.Fatalf("%d %v", status, plan)
			return nil
		}
		n := 0
		eventually(t, "the preview rests on contexts", func() bool {
			for range 20 {
				ec := openfeature.NewEvaluationContext(fmt.Sprint("person-", n), map[string]any{"country": []string{"CA", "DE"}[n%2], "email": "private@example.com"})
				if _, err := client.BooleanValue(t.Context(), key, false, ec); err != nil {
					t.Fatal(err)
				}
				n++
			}
			v := preview(ann)
			return v["basis"] == "sample" && v["sample"].(float64) >= 40
		})
		p.Shutdown()
		v := preview(ann)
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		by := v["flags"].([]any)[0].(map[string]any)["by"].(map[string]any)
		if _, ok := by["CA"]; len(by) != 1 || !ok {
			t.Errorf("by country: %v", by)
		}
		if s := string(text); strings.Contains(s, "private") || strings.Contains(s, "person-") || !strings.Contains(s, `"country":"CA"`) {
			t.Errorf("the preview tells %s", s)
		}
		if status, refusal := rule(ann, ""); status != http.StatusForbidden {
			t.Errorf("a change for half of the users: %d %v", status, refusal)
		}
		if status, refusal := rule(ann, "?previewBy=country"); status != http.StatusUnprocessableEntity || !strings.Contains(fmt.Sprint(refusal), "previewBy") {
			t.Errorf("previewBy alone: %d %v", status, refusal)
		}
		stop(t, a)
		again := start(t, c)
		if after := preview(person{t, again.URL, ann.token}); after["sample"].(float64) < v["sample"].(float64) || after["users"].(map[string]any)["value"].(float64) < 40 {
			t.Errorf("after a restart: %v, before: %v", after, v)
		}
		narrow := person{t, again.URL, ann.token}
		narrow.do("PUT", "/api/v1/environments/production", map[string]any{"key": "production", "protected": true, "sampleAttributes": []string{}, "reason": "a test"})
		eventually(t, "the sample is forgotten", func() bool { return preview(narrow)["sample"].(float64) == 0 })
	})
}

// What only remote evaluation serves is in use too, and so not free to change.
func TestWhatIsEvaluatedRemotelyIsInUse(t *testing.T) {
	a := start(t, app.Config{Listen: "127.0.0.1:0", Data: t.TempDir()})
	ann := person{t, a.URL, a.AdminToken}
	sdk := ann.stage()
	risk := func() any {
		return ann.do("PUT", "/api/v1/environments/production/flags/"+key+"/default?dryRun=true", map[string]any{"default": map[string]any{"variant": "on"}, "reason": "a test"})["risk"]
	}
	if got := risk(); got != "none" {
		t.Errorf("nobody evaluates it, and the risk is %v", got)
	}
	person{t, a.URL, sdk}.do("POST", "/ofrep/v1/evaluate/flags/"+key, map[string]any{"context": map[string]any{"targetingKey": "user-1"}})
	eventually(t, "the flag is in use", func() bool { return risk() == "high" })
}
