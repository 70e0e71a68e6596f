package provider

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/google/go-cmp/cmp"
	"github.com/open-feature/go-sdk/openfeature"
	"github.com/open-feature/go-sdk/openfeature/isolated"
)

// typed returns flags of every type.
func typed() flyball.Ruleset {
	flag := func(key string, t flyball.FlagType, value any) flyball.RulesetFlag {
		f := newFlag(key)
		f.Type, f.Variants, f.SafeVariant, f.OffVariant = t, flyball.Variants{"on": value}, "on", "on"
		return f
	}
	split := flag("team.split", flyball.TypeString, "x")
	split.Default = flyball.Serve{Split: &flyball.Split{Weights: []flyball.Weight{{Variant: "on", PPM: flyball.PPM}}}}
	ruled := newFlag("team.ruled")
	ruled.Default.Variant = "off"
	ruled.Rules = []flyball.Rule{{ID: "canada", If: flyball.Condition{Attribute: "country", Op: flyball.OpIn, Values: flyball.Values{"CA"}}, Serve: flyball.Serve{Variant: "on"}}}
	return ruleset(3, newFlag("team.bool"), ruled, split, ramp("team.ramp", flyball.PPM, 2),
		flag("team.string", flyball.TypeString, "hello"),
		flag("team.int", flyball.TypeInteger, int64(42)),
		flag("team.large", flyball.TypeInteger, int64(1<<53+1)),
		flag("team.whole", flyball.TypeNumber, 3.0), flag("team.fraction", flyball.TypeNumber, 3.5),
		flag("team.huge", flyball.TypeNumber, 1e300),
		flag("team.object", flyball.TypeObject, map[string]any{"list": []any{int64(1), "two"}, "deep": map[string]any{"x": true}}),
		flag("team.list", flyball.TypeObject, []any{int64(1)}))
}

// registered returns a client of the real OpenFeature API, with its own
// instance of it.
func registered(t *testing.T, p *Provider) (*openfeature.EvaluationAPI, *openfeature.Client) {
	t.Helper()
	api := isolated.NewAPI()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = api.Shutdown(ctx)
	})
	if err := api.SetProviderAndWait(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return api, api.NewClient()
}

func TestValuesThroughOpenFeature(t *testing.T) {
	p := newProvider(t, newServer(t, typed()))
	_, client := registered(t, p)
	ctx := t.Context()
	ec := openfeature.NewEvaluationContext("user-1", map[string]any{"country": "CA"})
	nobody := openfeature.NewTargetlessEvaluationContext(nil)
	type result struct {
		Value            any
		Reason, Variant  string
		Code             openfeature.ErrorCode
		Rule, Rollout    any
		Version, FlagSet any
		Step             any
	}
	told := func(v any, d openfeature.EvaluationDetails, _ error) result {
		m := d.FlagMetadata
		return result{v, string(d.Reason), d.Variant, d.ErrorCode, m["rule"], m["rollout"], m["version"], m["flagSetId"], m["step"]}
	}
	boolean := func(flag string, ec openfeature.EvaluationContext) result {
		d, err := client.BooleanValueDetails(ctx, flag, false, ec)
		return told(d.Value, d.EvaluationDetails, err)
	}
	integer := func(flag string) result {
		d, err := client.IntValueDetails(ctx, flag, -1, ec)
		return told(d.Value, d.EvaluationDetails, err)
	}
	float := func(flag string) result {
		d, err := client.FloatValueDetails(ctx, flag, -1, ec)
		return told(d.Value, d.EvaluationDetails, err)
	}
	text := func(flag string, ec openfeature.EvaluationContext) result {
		d, err := client.StringValueDetails(ctx, flag, "mine", ec)
		return told(d.Value, d.EvaluationDetails, err)
	}
	object := func(flag string) result {
		d, err := client.ObjectValueDetails(ctx, flag, nil, ec)
		return told(d.Value, d.EvaluationDetails, err)
	}
	ok := func(v any) result {
		return result{Value: v, Reason: "STATIC", Variant: "on", Version: int64(3), FlagSet: "production"}
	}
	bad := func(v any, code openfeature.ErrorCode) result {
		return result{Value: v, Reason: "ERROR", Code: code, Version: int64(3), FlagSet: "production"}
	}
	for _, tt := range []struct {
		name      string
		got, want result
	}{
		{"a boolean", boolean("team.bool", ec), ok(true)},
		{"a string", text("team.string", ec), ok("hello")},
		{"an integer", integer("team.int"), ok(int64(42))},
		{"a large integer keeps every digit", integer("team.large"), ok(int64(1<<53 + 1))},
		{"a number without fraction as an integer", integer("team.whole"), ok(int64(3))},
		{"a number with a fraction is no integer", integer("team.fraction"), bad(int64(-1), openfeature.TypeMismatchCode)},
		{"a huge number is no integer", integer("team.huge"), bad(int64(-1), openfeature.TypeMismatchCode)},
		{"a number", float("team.fraction"), ok(3.5)},
		{"an integer as a number", float("team.int"), ok(42.0)},
		{"an integer that no double holds is no number", float("team.large"), bad(-1.0, openfeature.TypeMismatchCode)},
		{"an object", object("team.object"), ok(map[string]any{"list": []any{int64(1), "two"}, "deep": map[string]any{"x": true}})},
		{"a list", object("team.list"), ok([]any{int64(1)})},
		{"a boolean is no object", object("team.bool"), bad(nil, openfeature.TypeMismatchCode)},
		{"a boolean is no string", text("team.bool", ec), bad("mine", openfeature.TypeMismatchCode)},
		{"a string is no boolean", boolean("team.string", ec), bad(false, openfeature.TypeMismatchCode)},
		{"an unknown flag", boolean("team.typo", ec), bad(false, openfeature.FlagNotFoundCode)},
		{"a split without a key", text("team.split", nobody), bad("mine", openfeature.TargetingKeyMissingCode)},
		{"a split", text("team.split", ec), result{Value: "x", Reason: "SPLIT", Variant: "on", Version: int64(3), FlagSet: "production"}},
		{"a rule", boolean("team.ruled", ec), result{Value: true, Reason: "TARGETING_MATCH", Variant: "on", Rule: "canada", Version: int64(3), FlagSet: "production"}},
		{"no rule", boolean("team.ruled", nobody), result{Value: false, Reason: "DEFAULT", Variant: "off", Version: int64(3), FlagSet: "production"}},
		{"a rollout", boolean("team.ramp", ec), result{Value: true, Reason: "SPLIT", Variant: "on", Rollout: "ro-team.ramp", Step: int64(2), Version: int64(3), FlagSet: "production"}},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", tt.name, diff)
		}
	}
	// The caller may do with an object what it likes.
	mine, err := client.ObjectValue(ctx, "team.object", nil, ec)
	if err != nil {
		t.Fatal(err)
	}
	mine.(map[string]any)["deep"].(map[string]any)["x"] = "spoilt"
	if r := p.Evaluate("team.object", nil); r.Value.(map[string]any)["deep"].(map[string]any)["x"] != true {
		t.Errorf("a caller changed the ruleset: %v", r.Value)
	}
}

// A value of another type than was asked for leaves the caller's default in
// force: the unit met no variant.
func TestAMismatchExposesNobody(t *testing.T) {
	s := newServer(t, typed())
	p := newProvider(t, s)
	api, client := registered(t, p)
	ec := openfeature.NewEvaluationContext("user-1", nil)
	if v, err := client.StringValue(t.Context(), "team.ramp", "mine", ec); v != "mine" || err == nil {
		t.Errorf("%q, %v", v, err)
	}
	if v, err := client.BooleanValue(t.Context(), "team.ramp", false, openfeature.NewEvaluationContext("user-2", nil)); !v || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if err := api.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	exposures, _, counts, _ := all(s.received())
	if len(exposures) != 1 || exposures[0].Unit != "user-2" || counts["team.ramp=on"] != 1 {
		t.Errorf("exposures %+v, counts %v", exposures, counts)
	}
}

func TestTrackingThroughOpenFeature(t *testing.T) {
	s := newServer(t, typed())
	p := newProvider(t, s)
	api, client := registered(t, p)
	details := openfeature.NewTrackingEventDetails(182.4).Add("route", "checkout").Add("retries", 2).Add("list", []int{1}).Add("inf", math.Inf(1))
	for i := range 12 {
		details = details.Add(fmt.Sprintf("zz%02d", i), true)
	}
	client.Track(t.Context(), "checkout.latency", openfeature.NewEvaluationContext("user-1", nil), details)
	client.Track(t.Context(), "checkout.latency", openfeature.NewTargetlessEvaluationContext(nil), openfeature.NewTrackingEventDetails(1))
	client.Track(t.Context(), "checkout.latency", openfeature.NewEvaluationContext("user-1", nil), openfeature.NewTrackingEventDetails(math.NaN()))
	if err := api.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	_, got, _, _ := all(s.received())
	want := []flyball.Observation{{Metric: "checkout.latency", Unit: "user-1", Value: 182.4, Attributes: flyball.Attributes{
		"route": "checkout", "retries": int64(2), "zz00": true, "zz01": true, "zz02": true, "zz03": true, "zz04": true, "zz05": true}}}
	if len(got) > 0 {
		want[0].T = got[0].T
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// heard records the events that OpenFeature hands to handlers.
func heard(api *openfeature.EvaluationAPI, types ...openfeature.EventType) <-chan string {
	ch := make(chan string, 100)
	for _, t := range types {
		f := func(d openfeature.EventDetails) {
			ch <- strings.TrimSpace(string(t) + " " + strings.Join(d.FlagChanges, " "))
		}
		api.AddHandler(t, &f)
	}
	return ch
}

func next(t *testing.T, ch <-chan string, want string) {
	t.Helper()
	select {
	case got := <-ch:
		if got != want {
			t.Errorf("event %q, want %q", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no event %q within 10 s", want)
	}
}

func TestEventsThroughOpenFeature(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.a"), newFlag("team.b")))
	p := newProvider(t, s)
	api, client := registered(t, p)
	ch := heard(api, openfeature.ProviderReady, openfeature.ProviderStale, openfeature.ProviderError, openfeature.ProviderConfigChange)
	next(t, ch, "PROVIDER_READY") // told at registration
	off := newFlag("team.b")
	off.Enabled = false
	s.publish(ruleset(2, newFlag("team.a"), off, newFlag("team.c")))
	next(t, ch, "PROVIDER_CONFIGURATION_CHANGED team.b team.c")
	s.set(func() { s.down = http.StatusBadGateway })
	s.cut()
	next(t, ch, "PROVIDER_STALE")
	if got := client.State(); got != openfeature.StaleState {
		t.Errorf("state %s", got)
	}
	s.set(func() { s.down = http.StatusUnauthorized })
	next(t, ch, "PROVIDER_ERROR")
	if v, err := client.BooleanValue(t.Context(), "team.a", false, openfeature.EvaluationContext{}); !v || err != nil {
		t.Errorf("while the token is refused: %v, %v", v, err)
	}
	s.set(func() { s.down = 0 })
	next(t, ch, "PROVIDER_READY")
	if first, second := p.EventChannel(), p.EventChannel(); first != second {
		t.Errorf("the event channel is another each time")
	}
}

// With a saved ruleset a program is ready though the server is dead, and says
// that it is stale.
func TestReadyAndStaleWithADeadServer(t *testing.T) {
	o := Options{Server: "http://127.0.0.1:1", Token: "fb_sdk_good", DataDir: t.TempDir()}
	save(t, o, ruleset(5, newFlag("team.a")))
	p := newProvider(t, newServer(t, ruleset(1)), nowhere, withDir(o.DataDir))
	api, client := registered(t, p)
	if v, err := client.BooleanValue(t.Context(), "team.a", false, openfeature.EvaluationContext{}); !v || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	next(t, heard(api, openfeature.ProviderStale), "PROVIDER_STALE")
}

func TestInitIsBounded(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(*Options)
		down int
		want openfeature.State
	}{
		"a dead server":    {nowhere, 0, openfeature.ErrorState},
		"a failing server": {func(*Options) {}, 500, openfeature.ErrorState},
		"a refused token":  {func(o *Options) { o.Token = "fb_sdk_bad" }, 0, openfeature.FatalState},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, ruleset(1, newFlag("team.a")))
			s.down = tt.down
			p := newProvider(t, s, tt.edit)
			p.pace.init = 100 * time.Millisecond
			api := isolated.NewAPI()
			defer func() { _ = api.Shutdown(t.Context()) }()
			began := time.Now()
			err := api.SetProviderAndWait(t.Context(), p)
			client := api.NewClient()
			if err == nil || time.Since(began) > 2*time.Second || client.State() != tt.want {
				t.Errorf("%v after %v, state %s", err, time.Since(began), client.State())
			}
			if strings.Contains(fmt.Sprint(err), "fb_sdk") {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
	// A provider whose server comes up late is ready then.
	s := newServer(t, ruleset(1, newFlag("team.a")))
	s.down = 500
	p := newProvider(t, s)
	p.pace.init = 50 * time.Millisecond
	api := isolated.NewAPI()
	defer func() { _ = api.Shutdown(t.Context()) }()
	if err := api.SetProviderAndWait(t.Context(), p); err == nil {
		t.Fatal("ready without a ruleset")
	}
	ch := heard(api, openfeature.ProviderReady)
	s.set(func() { s.down = 0 })
	next(t, ch, "PROVIDER_READY")
}

func TestInitEndsWithItsContext(t *testing.T) {
	s := newServer(t, ruleset(1))
	s.down = 500
	p := newProvider(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Start(ctx); err != context.Canceled {
		t.Errorf("start: %v", err)
	}
}

// Nobody needs to listen to events.
func TestEventsNeverBlock(t *testing.T) {
	s := newServer(t, ruleset(1, newFlag("team.a")))
	p := started(t, s)
	for v := int64(2); v < 300; v++ {
		f := newFlag("team.a")
		f.Enabled = v%2 == 0
		s.publish(ruleset(v, f))
	}
	until(t, "version 299", func() bool { return p.Version().Version == 299 })
	if n := len(p.events); n != cap(p.events) {
		t.Errorf("%d events wait", n)
	}
}

// A program that uses the provider takes on OpenFeature and nothing else.
func TestTheProviderBringsNoOtherModule(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}|{{.ImportPath}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	var modules []string
	for line := range strings.Lines(string(out)) {
		module, path, _ := strings.Cut(strings.TrimSpace(line), "|")
		if module != "" && !slices.Contains(modules, module) {
			modules = append(modules, module)
		}
		if path == "database/sql" || path == "net/http/pprof" || strings.Contains(path, "flyball/internal") {
			t.Errorf("the provider brings %s", path)
		}
	}
	slices.Sort(modules)
	want := []string{"github.com/flyballdev/flyball", "github.com/open-feature/go-sdk"}
	if diff := cmp.Diff(want, modules); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}
