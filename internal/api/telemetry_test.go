package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// batch is one that is good, sent now.
func batch(id string, more fields) fields {
	f := fields{"batch": "batch-of-" + id, "seq": 1, "sentAt": time.Now().Format(time.RFC3339Nano), "instance": fields{"id": "instance-1"}}
	for k, v := range more {
		f = f.with(k, v)
	}
	return f
}

func ago(d time.Duration) string { return time.Now().Add(-d).Format(time.RFC3339Nano) }

func observed(at string) fields {
	return fields{"t": at, "metric": "shop.errors", "unit": "user-1", "value": 1}
}

func exposed(at string) fields {
	return fields{"t": at, "flag": fast, "variant": "on", "unit": "user-1", "rollout": "r", "step": 0, "version": 1}
}

func (h *house) tell(token string, f fields, headers ...string) reply {
	h.t.Helper()
	data, err := json.Marshal(f)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.send("POST", "/sdk/v1/telemetry", token, string(data), headers...)
}

func (h *house) sdk() string {
	h.t.Helper()
	return h.token(fields{"kind": "sdk", "name": "s", "environment": "production"})
}

// logged returns how many entries the telemetry log has.
func (h *house) logged() (n int64) {
	h.t.Helper()
	err := h.db.View(h.t.Context(), func(tx *store.Tx) (err error) {
		n, err = tx.LogHead()
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

func (r reply) acknowledged(t testing.TB) (a flyball.TelemetryReply) {
	t.Helper()
	if err := json.Unmarshal(r.body, &a); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return a
}

func TestABatchCountsOnceHoweverOftenItArrives(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk, before := h.sdk(), h.logged()
	b := batch("once", fields{"observations": []fields{observed(ago(0)), observed(ago(time.Second))}, "exposures": []fields{exposed(ago(2 * time.Second))}})
	first := h.tell(sdk, b).want(t, 202).acknowledged(t)
	if first.Accepted != 3 || first.Duplicate || first.FlushAfter.Std() != 250*time.Millisecond {
		t.Errorf("%+v", first)
	}
	for range 3 {
		if again := h.tell(sdk, b).want(t, 202).acknowledged(t); again.Accepted != 0 || !again.Duplicate {
			t.Errorf("%+v", again)
		}
	}
	zip, _ := json.Marshal(b)
	if again := h.send("POST", "/sdk/v1/telemetry", sdk, string(zipped(zip)), "Content-Encoding", "gzip").want(t, 202).acknowledged(t); !again.Duplicate {
		t.Errorf("%+v", again)
	}
	if n := h.logged() - before; n != 1 {
		t.Errorf("%d entries are in the log", n)
	}
	// The same id elsewhere is another batch.
	staging := h.token(fields{"kind": "sdk", "name": "s", "environment": "staging"})
	if other := h.tell(staging, b).want(t, 202).acknowledged(t); other.Duplicate {
		t.Errorf("%+v", other)
	}
}

func TestABadItemIsToldByItsIndexAndTheOthersCount(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk, now := h.sdk(), ago(0)
	year := 365 * 24 * time.Hour
	raw := func(s string) any { return json.RawMessage(s) }
	r := h.tell(sdk, batch("mixed", fields{
		"observations": []any{
			observed(now), observed(ago(year)), observed(ago(-year)), observed(now).with("value", "many"), observed("today"),
			observed(now).with("metric", nil), observed(now).with("unit", nil), raw(`7`), raw(`{"t":"` + now + `","metric":"m","unit":"u","value":1e999}`),
			observed(now).with("metric", "nobody.made.it"), observed(now).with("unit", strings.Repeat("x", 2000)), raw(`null`), observed(now).with("colour", "green"),
			observed(now).with("value", "NaN"),
		},
		"exposures":    []any{exposed(now), exposed(now).with("step", -1), exposed(now).with("flag", "nobody.made.it"), exposed(ago(year)), exposed(now).with("rollout", ""), exposed(now).with("unit", "user-2")},
		"unknownFlags": []string{"typo.flag"}, "counts": []fields{{"flag": fast, "variant": "on", "n": 4812, "from": now, "to": now}, {"flag": fast, "n": "many"}},
		"contexts": []fields{{"t": now, "unit": "user-1", "attributes": fields{"country": "CA"}}}, "of a later version": fields{"x": 1},
	})).want(t, 200).acknowledged(t)
	got := map[string][]int{}
	for _, x := range r.Rejected {
		got[x.List] = append(got[x.List], x.Index)
		if x.Why == "" {
			t.Errorf("%s[%d] is rejected without a word", x.List, x.Index)
		}
	}
	want := map[string]string{"observations": "[1 2 3 4 5 6 7 8 10 11 13]", "exposures": "[1 2 3 4]", "counts": "[1]"}
	for list, indexes := range want {
		if fmt.Sprint(got[list]) != indexes {
			t.Errorf("of the %s it rejects %v, want %s", list, got[list], indexes)
		}
	}
	if r.Accepted != 14-11+6-4 || r.Unmatched != 2 {
		t.Errorf("it accepts %d, of which %d are unmatched", r.Accepted, r.Unmatched)
	}
	metrics := h.send("GET", "/metrics", "", "").want(t, 200)
	for _, line := range []string{`flyball_telemetry_lost_items_total{outcome="rejected"} 16`, `flyball_telemetry_lost_items_total{outcome="unmatched"} 2`} {
		if !strings.Contains(string(metrics.body), line) {
			t.Errorf("the server's metrics do not have %s", line)
		}
	}
}

// A public token learns nothing of flags that it may not see, and a server
// that lags behind another does not refuse what it has not heard of.
func TestAnExposureIsHeldAgainstTheRulesetThatItsSenderKnows(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	head, _ := h.service.Published("production")
	ahead := exposed(ago(0)).with("flag", "made.a.moment.ago").with("version", head.ID().Version+1)
	if r := h.tell(h.sdk(), batch("ahead", fields{"exposures": []fields{ahead}})).want(t, 202).acknowledged(t); r.Accepted != 1 || r.Unmatched != 0 {
		t.Errorf("%+v", r)
	}
	public := h.token(fields{"kind": "client", "name": "page", "environment": "production"})
	hidden := h.tell(public, batch("hidden", fields{"exposures": []fields{exposed(ago(0))}})).want(t, 200).acknowledged(t)
	missing := h.tell(public, batch("missing", fields{"exposures": []fields{exposed(ago(0)).with("flag", "nobody.made.it")}})).want(t, 200).acknowledged(t)
	if w := strings.ReplaceAll(hidden.Rejected[0].Why, fast, "nobody.made.it"); w != missing.Rejected[0].Why {
		t.Errorf("%q, and of a flag that is not there %q", hidden.Rejected[0].Why, missing.Rejected[0].Why)
	}
}

func TestASendersClockIsCorrected(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	const wrong = 40 * 24 * time.Hour
	r := h.tell(h.sdk(), batch("clock", fields{"sentAt": ago(wrong), "observations": []fields{observed(ago(wrong + time.Second)), observed(ago(0))}})).want(t, 200).acknowledged(t)
	if r.Accepted != 1 || len(r.Rejected) != 1 || r.Rejected[0].Index != 1 {
		t.Errorf("%+v", r)
	}
	for i, at := range []string{"0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1677-01-01T00:00:00Z"} {
		h.tell(h.sdk(), batch(fmt.Sprint("clock", i), fields{"sentAt": at, "observations": []fields{observed(at), observed(ago(0))}}))
	}
}

func TestABadEnvelopeIsRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk, before := h.sdk(), h.logged()
	for what, f := range map[string]fields{
		"batch":       batch("x", fields{"batch": "short"}),
		"seq":         batch("x", fields{"seq": -1}),
		"instance.id": batch("x", fields{"instance": fields{"id": ""}}),
		"dropped":     batch("x", fields{"dropped": fields{"exposures": -1}}),
	} {
		if got := h.tell(sdk, f).want(t, 422).fields(t); len(got) != 1 || got[0] != what {
			t.Errorf("it blames %q, want %s", got, what)
		}
	}
	if got := h.tell(sdk, fields{}).want(t, 422).fields(t); len(got) != 2 {
		t.Errorf("of an empty batch it blames %q", got)
	}
	if h.logged() != before {
		t.Error("something was kept")
	}
}

func TestCompressedTelemetryIsBounded(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk, before := h.sdk(), h.logged()
	send := func(body []byte, encoding string) reply {
		t.Helper()
		return h.send("POST", "/sdk/v1/telemetry", sdk, string(body), "Content-Encoding", encoding)
	}
	good, _ := json.Marshal(batch("zip", nil))
	whole := zipped(good)
	send(whole, "gzip").want(t, 202)
	send(whole[:len(whole)/2], "gzip").want(t, 422)
	send(whole[:12], "gzip").want(t, 422)
	send(good, "gzip").want(t, 422)
	send(whole, "").want(t, 422)
	send(whole, "br").want(t, 422)
	bad := bytes.Clone(whole)
	bad[len(bad)-5] ^= 0xff // its checksum
	send(bad, "gzip").want(t, 422)
	spaces := bytes.Repeat([]byte(" "), 5<<20)
	send(zipped(append(spaces, good...)), "gzip").want(t, 413)
	send(zipped(zipped(append(spaces, good...))), "gzip").want(t, 422) // a bomb in a bomb is no JSON
	if n := h.logged() - before; n != 1 {
		t.Errorf("%d entries are in the log", n)
	}
}

func TestTelemetryBeyondTheQueueIsToldToComeLater(t *testing.T) {
	t.Parallel()
	h := open(t, deaf)
	sdk := h.sdk()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var waiting sync.WaitGroup
	full := make(chan struct{})
	var once sync.Once
	for i := range 4096 + 20 {
		waiting.Go(func() {
			_, err := h.receiver.Accept(ctx, "production", true, flyball.TelemetryBatch{Batch: fmt.Sprintf("batch-%04d", i), Instance: flyball.InstanceInfo{ID: "i"}})
			if flyball.CodeOf(err) == flyball.Overloaded && err != nil {
				once.Do(func() { close(full) })
			} else if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	<-full
	r := h.tell(sdk, batch("late", nil)).want(t, 429)
	if r.Header.Get("Retry-After") != "2" || r.problem(t).Code != flyball.Overloaded {
		t.Errorf("it says %s, Retry-After %s", r.body, r.Header.Get("Retry-After"))
	}
	if raced { // so many commits take long then
		cancel()
		waiting.Wait()
		return
	}
	h.listen()
	waiting.Wait()
	if late := h.tell(sdk, batch("late", nil)).want(t, 202).acknowledged(t); late.Duplicate {
		t.Error("what was refused had been kept")
	}
}

func TestTelemetryBecomesEvidenceAndShowsTheFleet(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk := h.sdk()
	live := h.must("get_rollout", fields{"id": fast})
	head, _ := h.service.Published("production")
	var exposures []fields
	for i, variant := range []string{"on", "off", "off"} {
		exposures = append(exposures, exposed(ago(0)).with("rollout", live.read(t, "id")).with("unit", fmt.Sprint("user-", i)).with("variant", variant))
	}
	h.tell(sdk, batch("a", fields{"exposures": exposures, "applied": fields{"epoch": head.ID().Epoch, "version": head.ID().Version}})).want(t, 202)
	h.tell(sdk, batch("b", fields{"instance": fields{"id": "instance-2"}, "applied": fields{"epoch": 1, "version": 1}})).want(t, 202)
	h.tell(sdk, batch("c", fields{"instance": fields{"id": "instance-3"}})).want(t, 202) // evaluates over OFREP
	eventually(t, "the rollout has three units", func() bool {
		r := h.must("get_rollout", fields{"id": fast})
		return r.read(t, "evidence.units.treatment") == 1.0 && r.read(t, "evidence.units.control") == 2.0
	})
	eventually(t, "one of two instances is behind", func() bool {
		fleet := h.must("get_fleet", fields{"environment": "production"})
		return fleet.read(t, "environments.0.instances") == 2.0 && fleet.read(t, "environments.0.converged") == 1.0 && fleet.read(t, "environments.0.remote") == 1.0 && fleet.read(t, "environments.0.behind.0.id") == "instance-2"
	})
}

func TestCountsShowWhoReadsWhat(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	sdk := h.sdk()
	count := func(flag, variant string, n int64) fields {
		return fields{"flag": flag, "variant": variant, "n": n, "from": ago(time.Minute), "to": ago(0)}
	}
	b := batch("counts", fields{"counts": []fields{count(fast, "on", 40), count(fast, "off", 2), count(search, "new", -5)}, "unknownFlags": []string{"typo.flag", gone, ""}, "instance": fields{"id": "i", "service": "checkout", "version": "1.4.2"}})
	h.tell(sdk, b).want(t, 200)
	h.tell(sdk, b).want(t, 200) // a second time it is not counted
	for i := range 3 {          // no program evaluates so often
		h.tell(sdk, batch(fmt.Sprint("much", i), fields{"counts": []fields{count(banner, "on", 1<<63-1)}})).want(t, 200)
	}
	client := h.token(fields{"kind": "client", "name": "c", "environment": "production"})
	h.tell(client, batch("client", fields{"counts": []fields{count(fast, "on", 1000)}, "unknownFlags": []string{"anybodys.word"}})).want(t, 202)
	h.tell(sdk, batch("last", fields{"unknownFlags": []string{"the.last.one"}})).want(t, 202)
	eventually(t, "the last unknown flag is listed", func() bool {
		r := h.must("list_unknown_flags", fields{})
		return strings.Contains(string(r.body), "the.last.one")
	})
	var unknown []string
	r := h.must("list_unknown_flags", fields{})
	for _, u := range r.read(t, "unknown").([]any) {
		unknown = append(unknown, dig(u, "flag").(string))
	}
	if fmt.Sprint(unknown) != fmt.Sprint([]string{gone, "the.last.one", "typo.flag"}) {
		t.Errorf("unknown are %q", unknown)
	}
	if !strings.Contains(string(r.body), `"service":"checkout","version":"1.4.2"`) {
		t.Errorf("it does not tell who: %s", r.body)
	}
	limited := h.token(fields{"kind": "api", "name": "l", "flags": []string{"the.*"}})
	if n := h.call(limited, "list_unknown_flags", fields{}).want(t, 200).read(t, "unknown.#"); n != 1.0 {
		t.Errorf("a token of the.* sees %v of them", n)
	}
	h.must("list_flags", fields{})
	err := h.db.View(t.Context(), func(tx *store.Tx) error {
		all, err := tx.Usage()
		got := map[string]int64{}
		for _, u := range all {
			got[u.Flag+"="+u.Variant] = u.N
		}
		if d := cmp.Diff(map[string]int64{fast + "=on": 40, fast + "=off": 2}, got); d != "" {
			t.Errorf("the counts are (-want +got):\n%s", d)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestABrowserMaySendTelemetry(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	client := h.token(fields{"kind": "client", "name": "c", "environment": "production"})
	r := h.tell(client, batch("a", nil), "Origin", "https://shop.example").want(t, 202)
	if r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Error("a page may not read the answer")
	}
	pre := h.send("OPTIONS", "/sdk/v1/telemetry", "", "", "Origin", "https://shop.example", "Access-Control-Request-Method", "POST").want(t, 204)
	if allowed := pre.Header.Get("Access-Control-Allow-Headers"); !strings.Contains(allowed, "Authorization") || !strings.Contains(allowed, "Content-Encoding") {
		t.Errorf("a page may send %s", allowed)
	}
}
