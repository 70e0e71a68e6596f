package notify

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/rollout"
	"github.com/flyballdev/flyball/internal/store"
)

// metrics are those that the tests' rollouts have.
func metrics(key string) (store.MetricRecord, error) {
	switch key {
	case "checkout.errors":
		return store.MetricRecord{Metric: flyball.Metric{Key: key, Type: flyball.MetricRate}}, nil
	case "checkout.latency":
		return store.MetricRecord{Metric: flyball.Metric{Key: key, Type: flyball.MetricMean, Unit: "ms"}}, nil
	}
	return store.MetricRecord{}, flyball.Errorf(flyball.NotFound, "there is no metric %q", key)
}

const flag = "payments.checkout"

func encoded(t testing.TB, v any) json.RawMessage {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func aRollout(state flyball.RolloutState, at int) flyball.Rollout {
	return flyball.Rollout{
		ID: "4f1c", State: state, At: at,
		RolloutPlan: flyball.RolloutPlan{
			Flag: flag, Environment: "production", Treatment: "on", Control: "off",
			Steps: []flyball.Step{{PPM: 10_000}, {PPM: 50_000}, {PPM: 1_000_000}},
		}.WithDefaults(),
	}
}

// moved is the entry of a rollout that moved.
func moved(t testing.TB, action string, before, after flyball.Rollout, of *decision) flyball.AuditEntry {
	e := flyball.AuditEntry{
		Seq: 9, Actor: flyball.Actor{ID: flyball.ControllerID}, Action: action, Subject: flag, Environment: "production", Version: 12, Reason: "because",
		Edits: []flyball.Edit{{Noun: "config", Key: flag, Environment: "production"}, {Noun: "rollout", Key: "4f1c", Environment: "production", Before: encoded(t, before), After: encoded(t, after)}},
	}
	if of != nil {
		e.Evidence = encoded(t, of)
	}
	return e
}

func worse() *decision {
	return &decision{
		Decision: rollout.Decision{Action: rollout.Abort, Waits: []string{"the hold of 30m0s"}},
		Evidence: flyball.Evidence{
			Rollout: "4f1c", Verdict: flyball.Breached, Units: flyball.Arms{Control: 22_890, Treatment: 1_203},
			Guardrails: []flyball.MetricEvidence{
				{Metric: "checkout.latency", Verdict: flyball.Healthy, E: 0.02, Threshold: 200, Treatment: new(231.4), Control: new(230.1), Estimate: new(1.3), Interval: &[2]float64{-4, 6.5}, AdvanceE: 44, AdvanceThreshold: 20, N: flyball.Arms{Control: 5000, Treatment: 250}},
				{Metric: "checkout.errors", Verdict: flyball.Breached, E: 153.2, Threshold: 100, Treatment: new(0.061), Control: new(0.0401), Estimate: new(1.52), Interval: &[2]float64{1.21, 1.94}, AdvanceThreshold: 20, N: flyball.Arms{Control: 22_000, Treatment: 1100}},
				{Metric: "checkout.gone", Verdict: flyball.Unsure, E: 1, Threshold: 100, Why: "no observations yet"},
			},
		},
	}
}

func TestAMessageTellsTheNumbersAndWhatToDo(t *testing.T) {
	running, aborted := aRollout(flyball.RolloutRunning, 1), aRollout(flyball.RolloutAborted, 1)
	kill := aKill("error rate doubled")
	for _, tt := range []struct {
		what string
		e    flyball.AuditEntry
		want string
	}{
		{"a kill", kill, `payments.checkout.new-flow in production: KILLED
config payments.checkout.new-flow changed, ruleset version 7
By agent:release-bot for user:ann: error rate doubled
Everybody gets the safe variant. Once it is mended: flyball flag resume payments.checkout.new-flow -e production --reason '…'`},
		{"an abort", moved(t, "rollout.abort", running, aborted, worse()), `payments.checkout in production: rollout ABORTED
Everybody is on the control, "off"; 5 % of all units had "on", at step 2 of 3. Exposed so far: 1203 units to the treatment, 22890 to the control.
checkout.errors is breached; 6.1 % with the treatment, 4.01 % with the control; estimate × 1.52 (× 1.21 to × 1.94); e-value 153 of 100 that prove harm; from 23100 observations
checkout.gone is unsure; e-value 1 of 100 that prove harm; no observations yet
checkout.latency is healthy; 231 ms with the treatment, 230 ms with the control; estimate +1.3 ms (-4 ms to +6.5 ms); e-value 44 of 20 that an advance needs; from 5250 observations
Note: the hold of 30m0s
By system:rollout-controller: because
Look: flyball rollout status 4f1c. Once it is mended, restart: flyball rollout start payments.checkout -e production --treatment on --control off --steps … --reason '…'`},
		{"a person's abort", moved(t, "rollout.abort", running, aborted, nil), `payments.checkout in production: rollout ABORTED
Everybody is on the control, "off"; 5 % of all units had "on", at step 2 of 3.
By system:rollout-controller: because
Look: flyball rollout status 4f1c. Once it is mended, restart: flyball rollout start payments.checkout -e production --treatment on --control off --steps … --reason '…'`},
		{"an advance", moved(t, "rollout.advance", aRollout(flyball.RolloutRunning, 0), running, &decision{Decision: rollout.Decision{AbsenceOfEvidence: true}}), `payments.checkout in production: rollout advanced
5 % of all units get "on", the others "off": step 2 of 3, running; before it were 1 %.
Note: it was not shown to be safe: the plan lets it go on without
By system:rollout-controller: because
Look: flyball rollout status 4f1c; take it back: flyball rollout abort 4f1c --reason '…'`},
		{"a hold", moved(t, "rollout.hold", running, aRollout(flyball.RolloutHolding, 1), &decision{Evidence: flyball.Evidence{SRM: flyball.SampleRatio{Mismatch: true, BayesFactor: 5000}, Lossy: "3 batches were dropped"}}), `payments.checkout in production: rollout HELD
5 % of all units get "on", the others "off": step 2 of 3, holding.
Note: 3 batches were dropped; units did not fall into the arms as their weights say (Bayes factor 5000)
By system:rollout-controller: because
Look: flyball rollout status 4f1c; go on: flyball rollout resume 4f1c --reason '…'; take it back: flyball rollout abort 4f1c --reason '…'`},
		{"an end", moved(t, "rollout.finish", aRollout(flyball.RolloutRunning, 2), aRollout(flyball.RolloutCompleted, 2), nil), `payments.checkout in production: rollout completed
100 % of all units keep "on".
By system:rollout-controller: because
When no other variant is needed any more, take the flag out of the code: flyball flag archive payments.checkout --reason '…'`},
		{"a pass", moved(t, "rollout.pass", running, running, nil), `payments.checkout in production: gate of the rollout passed
5 % of all units get "on", the others "off": step 2 of 3, running.
By system:rollout-controller: because
Look: flyball rollout status 4f1c; take it back: flyball rollout abort 4f1c --reason '…'`},
		{"files", flyball.AuditEntry{Action: "apply", Subject: "files", Environment: "production", Version: 3, Actor: flyball.Actor{ID: "service:ci"}, Reason: "main@4f1c", Edits: []flyball.Edit{
			{Noun: "flag", Key: "a", After: json.RawMessage("{}")}, {Noun: "flag", Key: "b", Before: json.RawMessage("{}")}, {Noun: "flag", Key: "c"}, {Noun: "flag", Key: "d"}, {Noun: "flag", Key: "e"}, {Noun: "flag", Key: "f"}}},
			`files in production: files applied
flag a made, flag b taken away, flag c made, flag d made, flag e made, and 1 more, ruleset version 3
By service:ci: main@4f1c
See what exactly: flyball audit list --subject files`},
		{"a proposal", flyball.AuditEntry{Action: "change.propose", Subject: "payments.checkout", Environment: "production", Actor: flyball.Actor{ID: "agent:bot", OnBehalfOf: "user:ann"}, Reason: "five percent", Edits: []flyball.Edit{
			{Noun: "change", Key: "0f3a9c12d4e5", Environment: "production", After: json.RawMessage("{}")}}},
			`payments.checkout in production: change PROPOSED
change 0f3a9c12d4e5 made
By agent:bot for user:ann: five percent
Look at it: flyball change show 0f3a9c12d4e5; then flyball change approve 0f3a9c12d4e5 --reason '…', or reject it`},
		{"a broken glass", flyball.AuditEntry{Action: "flag.enable", Subject: "payments.checkout", Environment: "production", Version: 8, Actor: flyball.Actor{ID: "user:ann"}, Reason: "the old path is down", BreakGlass: true, Change: "0f3a9c12d4e5", Edits: []flyball.Edit{
			{Noun: "config", Key: "payments.checkout", Environment: "production", Before: json.RawMessage("{}"), After: json.RawMessage("{}")}}},
			`payments.checkout in production: enabled by BREAKING THE GLASS
config payments.checkout changed, ruleset version 8
By user:ann: the old path is down
Others ought to have approved this. One of them looks at it: flyball change review 0f3a9c12d4e5 --reason '…'
See what exactly: flyball audit list --subject payments.checkout; take it from everybody: flyball flag kill payments.checkout -e production --reason '…'`},
		{"a subject of somebody's making", flyball.AuditEntry{Action: "fleet.forget", Subject: "x'; rm -rf ~ #", Actor: flyball.Actor{ID: "user:ann"}, Reason: "gone"}, `x'; rm -rf ~ #: fleet.forget
By user:ann: gone
See what exactly: flyball audit list --subject 'x'\''; rm -rf ~ #'`},
		{"what nobody foresaw", flyball.AuditEntry{Action: "moon.full", Subject: "moon", Actor: flyball.Actor{ID: "user:ann"}, Reason: "time"}, `moon: moon.full
By user:ann: time
See what exactly: flyball audit list --subject moon`},
	} {
		m, err := messageOf(tt.e, metrics)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(strings.Split(tt.want, "\n"), strings.Split(m.text(), "\n")); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, d)
		}
	}
}

// What cannot be read is left out, and never keeps the rest from being told.
func TestAMessageIsMadeOfWhateverTheLogHolds(t *testing.T) {
	strange := moved(t, "rollout.hold", aRollout(flyball.RolloutRunning, 1), aRollout("strange", 2), nil)
	strange.Evidence = json.RawMessage(`{"evidence":{"guardrails":"many"}}`)
	outside := moved(t, "rollout.hold", flyball.Rollout{}, aRollout(flyball.RolloutRunning, 7), nil)
	broken := moved(t, "rollout.hold", aRollout(flyball.RolloutRunning, -1), aRollout(flyball.RolloutRunning, 1), nil)
	broken.Edits[0].Before = json.RawMessage(`[`)
	for _, e := range []flyball.AuditEntry{{}, strange, outside, broken} {
		if m, err := messageOf(e, metrics); err != nil || m.title == "" {
			t.Errorf("%v: %v", e, err)
		}
	}
}

const hostile = "<!channel> & <https://evil.example|click>\n*production*: KILLED by user:ann\x1b[2J\u202Egnp.exe\u2028\x00\xff"

// payload decodes what a message is told as.
func payload(t *testing.T, kind flyball.WebhookKind, e flyball.AuditEntry) (body []byte, v map[string]any) {
	t.Helper()
	m, err := messageOf(e, metrics)
	if err != nil {
		t.Fatal(err)
	}
	req, err := request(t.Context(), kind, flyball.WebhookTarget{URL: "https://hooks.slack.com/services/T/B/X"}, "7", m, time.Unix(1763751600, 0))
	if err != nil {
		t.Fatal(err)
	}
	if req.Header.Get("X-Flyball-Signature") != "" {
		t.Error("signed without a secret")
	}
	body = make([]byte, req.ContentLength)
	if _, err := req.Body.Read(body); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	return body, v
}

func TestSlackIsToldTextThatCannotPretend(t *testing.T) {
	e := aKill(hostile)
	e.Subject += "<!here>"
	_, got := payload(t, flyball.WebhookSlack, e)
	blocks := got["blocks"].([]any)
	if blocks[0].(map[string]any)["type"] != "header" || len(blocks) != 4 || got["mrkdwn"] != false {
		t.Errorf("it is told as %v", got)
	}
	texts := []string{got["text"].(string)}
	for _, b := range blocks {
		text := b.(map[string]any)["text"].(map[string]any)
		if text["type"] != "plain_text" {
			t.Errorf("people's text is read as %v", text["type"])
		}
		texts = append(texts, text["text"].(string))
	}
	for _, text := range texts {
		if strings.ContainsAny(text, "<>\x1b\u202e\u2028\x00") || strings.Count(text, "&") != strings.Count(text, "&lt;")+strings.Count(text, "&gt;")+strings.Count(text, "&amp;") {
			t.Errorf("it is told %q", text)
		}
	}
	if want := "By agent:release-bot for user:ann: &lt;!channel&gt; &amp; &lt;https://evil.example|click&gt; *production*: KILLED by user:ann [2J gnp.exe   "; texts[3] != want {
		t.Errorf("got  %q\nwant %q", texts[3], want)
	}
	if lines := strings.Count(texts[0], "\n"); lines != 3 {
		t.Errorf("a reason makes lines: %q", texts[0])
	}
}

func TestSlackIsToldNoMoreThanItTakes(t *testing.T) {
	e := aKill(strings.Repeat("<", 2000))
	e.Subject = strings.Repeat("&", 400)
	_, got := payload(t, flyball.WebhookSlack, e)
	for i, b := range got["blocks"].([]any) {
		text, most := b.(map[string]any)["text"].(map[string]any)["text"].(string), maxSection
		if i == 0 {
			most = maxHeader
		}
		if n := len([]rune(text)); n > most {
			t.Errorf("block %d has %d characters, and Slack takes %d", i, n, most)
		}
		if at := strings.LastIndexByte(text, '&'); at >= 0 && !strings.Contains(text[at:], ";") {
			t.Errorf("block %d is cut within an escape: …%s", i, text[max(0, len(text)-20):])
		}
	}
}

func TestALongEntryIsToldWithoutItsParticulars(t *testing.T) {
	e := aKill("much")
	e.Edits[0].After = encoded(t, strings.Repeat("x", maxEdits))
	body, got := payload(t, flyball.WebhookGeneric, e)
	edit := got["edits"].([]any)[0].(map[string]any)
	if len(body) > 4096 || got["cut"] != true || edit["after"] != nil || edit["before"] != nil || edit["key"] != e.Edits[0].Key {
		t.Errorf("%d bytes: %.500s", len(body), body)
	}
	if e.Edits[0].After == nil {
		t.Error("the entry itself was cut")
	}
	if body, got := payload(t, flyball.WebhookGeneric, aKill("little")); got["cut"] != nil || !strings.Contains(string(body), `"after":{"flag":"y"}`) {
		t.Errorf("a short one is told as %s", body)
	}
}
