package api_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/api"
	"github.com/flyballdev/flyball/internal/store"
)

// proposable says whether a row changes something, and somebody may propose it.
func proposable(o api.Operation) bool {
	return o.Changes() && !strings.HasSuffix(o.Name, "_change") && o.Name != "set_password" // which is nobody else's to read
}

// apply makes a change that was proposed.
func (h *house) apply(token, id string) reply {
	h.t.Helper()
	return h.send("POST", "/api/v1/changes/"+id+"/apply", token, "")
}

// A dry run of each row tells the plan and changes nothing; what is proposed is
// applied as what it was, after the server was started anew.
func TestEachChangeIsPlannedProposedApprovedAndApplied(t *testing.T) {
	t.Parallel()
	for _, o := range api.Operations() {
		if !proposable(o) {
			continue
		}
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			h := furnished(t)
			use := useCases(h)[o.Name]
			ann := h.ann()
			if use.token == "" {
				use.token = ann
			}
			var first, again flyball.Plan
			h.unchanged(func() {
				h.in("dryRun", use.token, o.Name, use.in).want(t, 200).into(t, &first)
				h.in("dryRun", h.admin, o.Name, use.in).into(t, &again)
			})
			if use.bumps != (state{}) && first.Action != use.action {
				t.Errorf("the plan is of %q, not of %q", first.Action, use.action)
			}
			if use.bumps == (state{}) { // everything is so already
				if first.Digest != "" || len(first.Edits) != 0 {
					t.Errorf("it would change %+v", first)
				}
				h.in("propose", use.token, o.Name, use.in).want(t, 200)
				return
			}
			if len(first.Digest) != 64 || len(first.Difference) == 0 || len(first.Edits) == 0 || first.Risk == "" || len(first.Needs.From) == 0 {
				t.Errorf("the plan lacks something: %+v", first)
			}
			if o.Name != "pass_gate" && first.Digest != again.Digest {
				t.Errorf("two people make two digests of one change:\n%s", cmp.Diff(first.Edits, again.Edits))
			}
			h.proposeAndApply(t, o, use, first.Digest)
		})
	}
}

func (h *house) proposeAndApply(t *testing.T, o api.Operation, use useCase, digest string) {
	t.Helper()
	bob := h.token(fields{"kind": "api", "name": "bob", "actor": "user:bob"})
	before := h.state()
	var r flyball.ChangeRequest
	h.in("propose", use.token, o.Name, use.in).want(t, 201).into(t, &r)
	if r.Plan.Digest != digest || r.Operation != o.Name || r.State != flyball.RequestOpen || !r.ExpiresAt.After(time.Now().Add(23*time.Hour)) {
		t.Errorf("it was proposed as %+v", r)
	}
	if secret, ok := use.in["url"].(string); ok && strings.Contains(string(h.call(h.admin, "get_change", fields{"id": r.ID}).body), secret) {
		t.Error("the request shows a secret")
	}
	if after := h.state(); after != (state{before.Production, before.Development, before.Staging, before.Audit + 1}) {
		t.Errorf("the proposal changed more than the audit log: %+v, before %+v", after, before)
	}
	h.call(h.ann(), "approve_change", fields{"id": r.ID, "reason": "mine"}).want(t, 403)
	h.call(bob, "approve_change", fields{"id": r.ID, "digest": "another", "reason": "as expected"}).want(t, 409)
	h.call(bob, "approve_change", fields{"id": r.ID, "digest": digest, "reason": "as expected"}).want(t, 200)
	applied := h.apply(use.token, r.ID)
	if want := status(o); applied.StatusCode != want {
		t.Fatalf("it is applied with %d, want %d: %s", applied.StatusCode, want, applied.body)
	}
	for path, want := range use.want {
		if name, ok := strings.CutSuffix(path, "edBy"); ok && strings.HasPrefix(name, "start") || path == "killed.by" || path == "frozen.by" || path == "archivedBy" {
			want = "user:ann" // in place of the admin
		}
		if path == "versions.development" {
			continue
		}
		if got := applied.read(t, path); got != want {
			t.Errorf("%s is %v, want %v: %s", path, got, want, applied.body)
		}
	}
	decodes(t, o, applied.body)
	entry := h.must("list_audit", fields{"limit": 1})
	if entry.read(t, "entries.0.action") != use.action || entry.read(t, "entries.0.change") != r.ID || entry.read(t, "entries.0.approvals.0.by") != "user:bob" {
		t.Errorf("the audit entry is %s", entry.body)
	}
	h.unchanged(func() {
		h.apply(use.token, r.ID).want(t, 409)
		h.call(h.admin, "reject_change", fields{"id": r.ID, "reason": "too late"}).want(t, 409)
	})
}

// into reads an answer.
func (r reply) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
}

// A manner that is misspelt, or that is none, changes nothing.
func TestAMannerThatIsNotKnownIsRefused(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	method, path, body := request(t, operation(t, "set_default"), in(search).with("default", fields{"variant": "new"}))
	id := h.proposed()
	h.unchanged(func() {
		for query, field := range map[string]string{
			"dryrun=true": "dryrun", "dry_run=true": "dry_run", "DryRun=true": "DryRun", "dryRun=yes": "dryRun", "dryRun": "dryRun", "dryRun=true&dryRun=false": "dryRun",
			"dryRun=true&propose=true": "dryRun", "propose=true&breakGlass=1": "dryRun", "reason=x": "reason", "%ff=true": "\uFFFD",
		} {
			if got := h.send(method, path+"?"+query, h.admin, body).want(t, 422).fields(t); len(got) != 1 || got[0] != field {
				t.Errorf("%s: it blames %q, want %q", query, got, field)
			}
		}
		h.send(method, path+"?dryRun=%zz", h.admin, body).want(t, 422)
		h.in("propose", h.admin, "approve_change", fields{"id": id, "reason": "x"}).want(t, 422)
		h.in("dryRun", h.admin, "evaluate", fields{"key": search, "environment": "production", "context": fields{}}).want(t, 422)
	})
	h.in("dryRun", h.admin, "set_default", in(search).with("default", fields{"variant": "new"}).with("reason", " ")).want(t, 422)
	h.send(method, path+"?dryRun=false&propose=0", h.admin, body).want(t, 200)
}

// What a body says twice, or in another case, is refused, so that nothing that
// was approved can be read as something else.
func TestABodyThatSaysThingsTwiceIsRefused(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	path := "/api/v1/environments/production/flags/" + search
	h.unchanged(func() {
		for _, tt := range []struct{ path, body, field string }{
			{path + "/default", `{"default":{"variant":"old"},"reason":"a","default":{"variant":"new"}}`, "default"},
			{path + "/default", `{"default":{"variant":"old","variant":"new"},"reason":"a"}`, "default.variant"},
			{path + "/default", `{"default":{"variant":"old"},"reason":"a","\u0064efault":{"variant":"new"}}`, "default"},
			{path + "/default", `{"default":{"variant":"old"},"reason":"a","Default":{"variant":"new"}}`, "Default"},
			{path + "/default", `{"default":{"variant":"old","Variant":"new"},"reason":"a"}`, "default.Variant"},
			{path + "/default", `{"default":{"\u212Aind":1,"variant":"new"},"reason":"a"}`, "default.\u212Aind"},
			{path + "/default", `{"default":{"variant":"old"},"reason":"a","REASON":"b"}`, "REASON"},
			{path + "/default", `{"default":{"split":{"weights":[{"variant":"old","ppm":1000000,"ppm":1}]}},"reason":"a"}`, "default.split.weights[0].ppm"},
			{path + "/default", `{"default":{"split":{"weights":[{"variant":"old","ppm":1000000,"PPM":1}]}},"reason":"a"}`, "default.split.weights[0].PPM"},
			{path, `{"enabled":true,"default":{"variant":"old"},"enabled":false,"reason":"a"}`, "enabled"},
			{path, `{"enabled":true,"default":{"variant":"old"},"version":1,"version":2,"reason":"a"}`, "version"},
			{path, `{"enabled":true,"default":{"variant":"old"},"rules":[{"id":"x","if":{"segment":"testers","segment":"y"},"serve":{"variant":"new"}}],"reason":"a"}`, "rules[0].if.segment"},
			{path, `{"enabled":true,"default":{"variant":"old"},"rules":[{"id":"x","if":{"segment":"testers","Segment":"y"},"serve":{"variant":"new"}}],"reason":"a"}`, "rules[0].if.Segment"},
			{"/api/v1/files", `{"flags":[],"reason":"a","flags":[{}]}`, "flags"},
			{"/api/v1/policy", strings.Replace(encoded(t, lenient), `"low":`, `"high":`, 1), "approvals.high"},
		} {
			for _, manner := range []string{"", "?dryRun=true", "?propose=true", "?breakGlass=true"} {
				got := h.send("PUT", tt.path+manner, h.admin, tt.body).want(t, 422).fields(t)
				if len(got) == 0 || got[0] != tt.field {
					t.Errorf("%s: it blames %q, want %q", tt.body, got, tt.field)
				}
			}
		}
	})
}

// used makes it so that programs have just evaluated flags in production.
func (h *house) used(keys ...string) {
	h.t.Helper()
	err := h.db.Update(h.t.Context(), func(tx *store.Tx) error {
		for _, key := range keys {
			if err := tx.AddUsage([]flyball.Usage{{Environment: "production", Flag: key, Variant: "old", N: 1, Last: time.Now()}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// who returns the token of a person with one role.
func (h *house) who(name, role string) string {
	return h.token(fields{"kind": "api", "name": name, "actor": "user:" + name, "grants": []fields{{"role": role}}})
}

// The whole way: refused, proposed, approved by two, applied; and the refusals
// tell what to do.
func TestAChangeThatManyNoticeNeedsTwoOtherPeople(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	h.used(search)
	ed, bob, cat := h.who("ed", "editor"), h.who("bob", "approver"), h.who("cat", "approver")
	wish := in(search).with("default", fields{"variant": "new"})
	h.unchanged(func() {
		p := h.call(ed, "set_default", wish).want(t, 403).problem(t)
		if p.Details["risk"] != "high" || dig(p.Details["needs"], "number") != 2.0 || !strings.Contains(p.Detail, "--propose") {
			t.Errorf("the refusal is %+v", p)
		}
		h.call(h.admin, "set_default", wish).want(t, 403) // nor does an admin, alone
		h.call(bob, "set_default", wish).want(t, 403)     // an approver changes nothing
	})
	id := h.in("propose", ed, "set_default", wish).want(t, 201).read(t, "id").(string)
	h.apply(ed, id).want(t, 403)
	h.call(bob, "approve_change", fields{"id": id, "reason": "ok"}).want(t, 200)
	h.call(bob, "approve_change", fields{"id": id, "reason": "ok, again"}).want(t, 200)
	if p := h.apply(ed, id).want(t, 403).problem(t); !strings.Contains(p.Detail, "has 1 of the 2 approvals") {
		t.Errorf("the refusal is %+v", p)
	}
	h.call(cat, "approve_change", fields{"id": id, "reason": "ok"}).want(t, 200)
	h.apply(bob, id).want(t, 403) // who applies must be allowed to change it
	r := h.apply(ed, id).want(t, 200)
	if r.Header.Get(api.VersionsHeader) == "" || r.read(t, "default.variant") != "new" {
		t.Errorf("it was applied as %s", r.body)
	}
	entry := h.must("list_audit", fields{"limit": 1})
	if entry.read(t, "entries.0.approvals.#") != 2.0 || entry.read(t, "entries.0.risk") != "high" || entry.read(t, "entries.0.previews.0.basis") != "structure" {
		t.Errorf("the audit entry is %s", entry.body)
	}
}

func TestABrokenGlassIsLoudAndReviewedBySomebodyElse(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	h.used(search)
	ed, bob := h.who("ed", "editor"), h.who("bob", "approver")
	service := h.token(fields{"kind": "api", "name": "ci"})
	wish := in(search).with("default", fields{"variant": "new"})
	agent := h.agent()
	h.unchanged(func() {
		for _, token := range []string{ed, service, agent} {
			h.in("breakGlass", token, "set_default", wish).want(t, 403)
		}
	})
	r := h.in("breakGlass", h.who("eve", "admin"), "set_default", wish).want(t, 200)
	review := r.Header.Get(api.ReviewHeader)
	entry := h.must("list_audit", fields{"limit": 1})
	if entry.read(t, "entries.0.breakGlass") != true || entry.read(t, "entries.0.change") != review || entry.read(t, "entries.0.action") != "flag.default" {
		t.Errorf("the audit entry is %s", entry.body)
	}
	h.in("propose", h.ann(), "set_default", in(search).with("default", fields{"variant": "other"})).want(t, 201)
	if first := h.call(ed, "list_changes", fields{}).want(t, 200); first.read(t, "changes.0.id") != review || first.read(t, "changes.0.state") != "review" || first.read(t, "changes.#") != 2.0 {
		t.Errorf("the changes are %s", first.body)
	}
	h.call(h.who("eve", "admin"), "review_change", fields{"id": review, "reason": "mine"}).want(t, 403)
	h.call(ed, "review_change", fields{"id": review, "reason": "no approver"}).want(t, 403)
	h.call(bob, "approve_change", fields{"id": review, "reason": "late"}).want(t, 409)
	h.call(bob, "review_change", fields{"id": review, "reason": "it was right"}).want(t, 200)
	h.call(bob, "review_change", fields{"id": review, "reason": "again"}).want(t, 409)
	if n := h.call(ed, "list_changes", fields{}).read(t, "changes.#"); n != 1.0 {
		t.Errorf("%v changes are open", n)
	}
	// A glass that need not be broken is not.
	r = h.in("breakGlass", h.admin, "kill_flag", in(search)).want(t, 200)
	if r.Header.Get(api.ReviewHeader) != "" {
		t.Error("a retreat is reviewed")
	}
}

// Who evaluates remotely, or by flagd, does not tell which flags: from then on each
// of them counts as used.
func TestWhatIsEvaluatedRemotelyIsUsed(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(h *house){
		"one flag":  func(h *house) { h.send("POST", ofrep+"/"+search, h.sdk(), about(user())).want(t, 200) },
		"all flags": func(h *house) { h.send("POST", ofrep, h.sdk(), about(user())).want(t, 200) },
		"flagd":     func(h *house) { h.send("GET", "/flagd/v1/flags", h.sdk(), "").want(t, 200) },
	} {
		h := furnished(t)
		wish := in(search).with("default", fields{"variant": "new"})
		if risk := h.in("dryRun", h.admin, "set_default", wish).read(t, "risk"); risk != "none" {
			t.Errorf("%s: before, the risk is %v", name, risk)
		}
		ask(h)
		eventually(t, name+" counts", func() bool {
			return h.in("dryRun", h.admin, "set_default", wish).read(t, "risk") == "high"
		})
		if risk := h.in("dryRun", h.admin, "enable_flag", in(search).with("key", fast).with("environment", "development")).read(t, "risk"); risk != "none" {
			t.Errorf("%s: elsewhere the risk is %v", name, risk)
		}
	}
}

// Whoever asks in a manner is never answered with a fault of ours, whatever the
// body holds.
func TestEveryPartOfABodyMayBeAnythingInEveryManner(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	h.used(search, fast)
	for name, use := range useCases(h) {
		o := operation(t, name)
		if !o.Changes() {
			continue
		}
		method, path, body := request(t, o, use.in)
		var good any
		if err := json.Unmarshal([]byte(body), &good); err != nil {
			t.Fatal(err)
		}
		for i, s := range strangers[:8] {
			manner := []string{"dryRun", "propose", "breakGlass"}[i%3]
			replace(good, func(any) any { return s }, func() {
				req := httptest.NewRequest(method, path+"?"+manner+"=true", strings.NewReader(encoded(t, good)))
				req.Header.Set("Authorization", "Bearer "+h.admin)
				w := httptest.NewRecorder()
				h.api.ServeHTTP(w, req)
				if w.Code >= 500 {
					t.Errorf("%s %s with %s: %s", name, manner, encoded(t, good), w.Body)
				}
			})
		}
	}
}

// What is applied was kept; what is said to it is kept too. Whoever sends anything
// else, such as a dry run in the wrong place, is told, and nothing is applied.
func TestApplyTakesAReasonAndADryRunAndNothingElse(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	ann, bob := h.ann(), h.token(fields{"kind": "api", "name": "bob", "actor": "user:bob"})
	var r flyball.ChangeRequest
	h.in("propose", ann, "create_team", fields{"key": "growth", "reason": "a test"}).want(t, 201).into(t, &r)
	var p flyball.Plan
	h.in("dryRun", ann, "create_team", fields{"key": "growth", "reason": "a test"}).want(t, 200).into(t, &p)
	h.call(bob, "approve_change", fields{"id": r.ID, "reason": "a test"}).want(t, 200)
	request := "/api/v1/changes/" + r.ID + "/apply"
	h.unchanged(func() {
		for _, tt := range []struct{ target, body, field string }{
			{request, `{"dryRun":true}`, "dryRun"}, {request, `{"reason":7}`, "reason"}, {request, `{"reason":"a","reason":"b"}`, "reason"}, {request, `[]`, ""},
			{"/api/v1/plans/" + p.Digest + "/apply", `{"reason":"late"}`, "reason"},
			{request + "?dryrun=true", "", "dryrun"}, {request + "?breakGlass=true", "", "breakGlass"}, {request + "?dryRun=maybe", "", "dryRun"},
			{request + "?dryRun=true&dryRun=false", "", "dryRun"},
		} {
			if got := h.send("POST", tt.target, ann, tt.body).want(t, 422).read(t, "errors.0.field"); tt.field != "" && got != tt.field {
				t.Errorf("%s %s: it blames %v", tt.target, tt.body, got)
			}
		}
		var again flyball.Plan
		h.send("POST", request+"?dryRun=true", ann, "").want(t, 200).into(t, &again)
		if again.Digest != p.Digest {
			t.Errorf("the dry run is of %s, not of %s", again.Digest, p.Digest)
		}
	})
	h.send("POST", request, ann, `{"reason":"both agree"}`).want(t, 201)
	if got := h.call(ann, "get_change", fields{"id": r.ID}).read(t, "appliedAs"); got != "both agree" {
		t.Errorf("whoever applied it said %v", got)
	}
	h.send("POST", request+"?dryRun=true", ann, "").want(t, 409)
}

// Whoever makes a token for somebody else does not approve by it what they
// proposed themselves, or through an agent; what others proposed, its bearer may.
func TestNobodyApprovesByATokenThatTheProposerMade(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	h.used(search)
	eve := h.who("eve", "admin")
	puppet := h.call(eve, "create_token", fields{"kind": "api", "name": "puppet", "actor": "user:bob", "reason": "a test"}).want(t, 201).read(t, "secret").(string)
	agent := h.call(eve, "create_token", fields{"kind": "agent", "name": "hers", "onBehalfOf": "user:eve", "envelope": wide, "reason": "a test"}).want(t, 201).read(t, "secret").(string)
	honest := h.who("bob", "approver")
	wish := in(search).with("default", fields{"variant": "new"})
	for who, token := range map[string]string{"herself": eve, "her agent": agent} {
		id := h.in("propose", token, "set_default", wish).want(t, 201).read(t, "id")
		h.unchanged(func() {
			r := h.call(puppet, "approve_change", fields{"id": id, "reason": "looks fine"}).want(t, 403)
			if !strings.Contains(string(r.body), "this token was made by its proposer") {
				t.Errorf("%s: %s", who, r.body)
			}
		})
		h.call(honest, "approve_change", fields{"id": id, "reason": "looks fine"}).want(t, 200)
	}
	h.call(puppet, "approve_change", fields{"id": h.proposed(), "reason": "what ann wants"}).want(t, 200)
	review := h.in("breakGlass", eve, "set_default", wish).want(t, 200).Header.Get(api.ReviewHeader)
	h.call(puppet, "review_change", fields{"id": review, "reason": "looks fine"}).want(t, 403)
}
