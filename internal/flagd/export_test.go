package flagd_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/flagd"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// flag returns a flag that serves off, and is on for Canadians.
func flag(key string, changes ...func(*flyball.RulesetFlag)) flyball.RulesetFlag {
	f := flyball.RulesetFlag{
		Key: key, Type: flyball.TypeBoolean, Variants: flyball.Variants{"on": true, "off": false}, SafeVariant: "off",
		FlagConfig: flyball.FlagConfig{
			Flag: key, Enabled: true, OffVariant: "off", Seed: key, HashVersion: flyball.HashVersion,
			Rules:   []flyball.Rule{{ID: "canada", If: is("country", flyball.OpIn, "CA"), Serve: flyball.Serve{Variant: "on"}}},
			Default: flyball.Serve{Variant: "off"},
		},
	}
	for _, change := range changes {
		change(&f)
	}
	return f
}

func is(attribute string, op flyball.Op, values ...any) flyball.Condition {
	return flyball.Condition{Attribute: attribute, Op: op, Values: values}
}

func where(c flyball.Condition) func(*flyball.RulesetFlag) {
	return func(f *flyball.RulesetFlag) { f.Rules[0].If = c }
}

func needs(key string) func(*flyball.RulesetFlag) {
	return func(f *flyball.RulesetFlag) {
		f.Prerequisites = append(f.Prerequisites, flyball.Prerequisite{Flag: key, Variant: "on"})
	}
}

func split(by string) flyball.Serve {
	return flyball.Serve{Split: &flyball.Split{By: by, Weights: []flyball.Weight{{Variant: "on", PPM: 100_000}, {Variant: "off", PPM: 900_000}}}}
}

func ruleset(flags ...flyball.RulesetFlag) flyball.Ruleset {
	return flyball.Ruleset{Environment: "production", Epoch: 1, Version: 7, Flags: flags}
}

// document reads an exported document.
type document struct {
	Metadata map[string]any `json:"metadata"`
	Flags    map[string]struct {
		State          string          `json:"state"`
		Variants       map[string]any  `json:"variants"`
		DefaultVariant string          `json:"defaultVariant"`
		Targeting      json.RawMessage `json:"targeting"`
	} `json:"flags"`
	Evaluators map[string]json.RawMessage `json:"$evaluators"`
}

func export(t *testing.T, rs flyball.Ruleset) (document, []flagd.Skipped) {
	t.Helper()
	data, skipped := flagd.Export(rs)
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	if len(d.Flags)+len(skipped) != len(rs.Flags) {
		t.Errorf("%d flags and %d left out of %d", len(d.Flags), len(skipped), len(rs.Flags))
	}
	return d, skipped
}

func TestADocumentIsReadable(t *testing.T) {
	data, skipped := flagd.Export(ruleset(flag("team.flag", func(f *flyball.RulesetFlag) { f.Default = split("") })))
	const want = `{"metadata":{"flagSetId":"production","version":"7","epoch":"1"},` +
		`"flags":{"team.flag":{"state":"ENABLED","variants":{"off":false,"on":true},"defaultVariant":"off","targeting":{"if":[` +
		`{"some":[{"merge":[{"var":"country"}]},{"===":[{"var":""},"CA"]}]},"on",` +
		`{"if":[{"!!":[{"var":"targetingKey"}]},{"fractional":[{"cat":["team.flag:",{"var":"targetingKey"}]},["on",100000],["off",900000]]},"!TARGETING_KEY_MISSING"]}]}}}}`
	if diff := cmp.Diff(want, string(data)); diff != "" || len(skipped) > 0 {
		t.Errorf("want -, got +:\n%s\n%v", diff, skipped)
	}
}

// To flagd a disabled flag has no value, and ours always has one.
func TestWhatHasOneOutcomeHasNoTargeting(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*flyball.RulesetFlag)
		want   string
	}{
		{"killed", func(f *flyball.RulesetFlag) { f.Killed, f.SafeVariant = &flyball.Kill{Reason: "errors"}, "on" }, "on"},
		{"disabled", func(f *flyball.RulesetFlag) { f.Enabled, f.OffVariant = false, "on" }, "on"},
		{"killed, whatever its rules", func(f *flyball.RulesetFlag) {
			f.Killed, f.Rules[0].If = &flyball.Kill{Reason: "errors"}, is("a", flyball.OpMatches, ".")
		}, "off"},
		{"static", func(f *flyball.RulesetFlag) { f.Rules = nil }, "off"},
		{"a prerequisite that never holds", needs("team.never"), "off"},
		{"no rule can match", where(is("targetingKey", flyball.OpLT, int64(5))), "off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, skipped := export(t, ruleset(flag("team.flag", tt.change), flag("team.never", func(f *flyball.RulesetFlag) { f.Rules = nil })))
			f := d.Flags["team.flag"]
			if f.State != "ENABLED" || f.DefaultVariant != tt.want || f.Targeting != nil || len(skipped) > 0 {
				t.Errorf("%+v, %v", f, skipped)
			}
		})
	}
}

func TestWhatFlagdCannotExpressIsLeftOutAndTold(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*flyball.RulesetFlag)
		why    string
	}{
		{"a regular expression", where(is("email", flyball.OpMatches, "^a")), "rule canada: attribute email: flagd has nothing like matches"},
		{"a network", where(is("ip", flyball.OpCIDR, "10.0.0.0/8")), "nothing like cidr"},
		{"a date", where(is("joined", flyball.OpBefore, "2026-01-01T00:00:00Z")), "compare epoch seconds with lt or gt"},
		{"a date in seconds: the context may hold text", where(is("joined", flyball.OpAfter, int64(5))), "cannot read a date"},
		{"within a condition", where(flyball.Condition{Not: &flyball.Condition{Any: []flyball.Condition{is("email", flyball.OpMatches, "^a")}}}), "nothing like matches"},
		{"within a segment", where(flyball.Condition{Segment: "matching"}), "segment matching: attribute email"},
		{"a segment within a segment", where(flyball.Condition{Segment: "outer"}), "segment outer: segment matching"},
		{"a name with a dot", where(is(`["a.b"]`, flyball.OpExists, true)), "name with a dot"},
		{"a name with a backslash", where(is(`a\b`, flyball.OpExists, true)), "backslash"},
		{"a place in a list", where(is("groups.0", flyball.OpExists, true)), "a place in a list"},
		{"the length of a list", where(is("groups.length", flyball.OpExists, true)), `to flagd "length" means something else`},
		{"a prototype", where(is("device.__proto__", flyball.OpExists, true)), "means something else"},
		{"flagd's own attributes", where(is("$flagd.timestamp", flyball.OpGT, int64(5))), "means something else"},
		{"below the targeting key", where(is("targetingKey.a", flyball.OpExists, true)), "means something else"},
		{"a large integer", where(is("id", flyball.OpIn, int64(1<<53))), "9007199254740992 is an integer beyond 2^53"},
		{"a large number in a version", where(is("v", flyball.OpSemverEq, "1.2.9007199254740993")), "more than 15 digits"},
		{"a large number in a pre-release", where(is("v", flyball.OpSemverEq, "1.2.3-9007199254740993")), "more than 15 digits"},
		{"a fraction of a second", func(f *flyball.RulesetFlag) { f.Rules[0].NotAfter = &flyball.Time{Time: noon.Add(1)} }, "fractions of a second"},
		{"a large integer as value", func(f *flyball.RulesetFlag) {
			f.Type, f.Variants = flyball.TypeInteger, flyball.Variants{"on": int64(1 << 60), "off": int64(0)}
		}, "variant on holds an integer beyond 2^53"},
		{"a large integer within a value", func(f *flyball.RulesetFlag) {
			f.Type, f.Variants = flyball.TypeObject, flyball.Variants{"on": map[string]any{"a": []any{int64(-1 << 60)}}, "off": map[string]any{}}
		}, "variant on holds an integer beyond 2^53"},
		{"a list as value", func(f *flyball.RulesetFlag) {
			f.Type, f.Variants = flyball.TypeObject, flyball.Variants{"on": []any{"a"}, "off": map[string]any{}}
		}, "variant on is a list"},
		{"a value that flagd would replace", func(f *flyball.RulesetFlag) {
			f.Type, f.Variants = flyball.TypeObject, flyball.Variants{"on": map[string]any{"$ref": "segment:matching"}, "off": map[string]any{}}
		}, "reads like a reference"},
		{"a seed beyond ASCII", func(f *flyball.RulesetFlag) { f.Seed, f.Default = "é", split("") }, "default: its seed is not ASCII"},
		{"a split by what cannot be read", func(f *flyball.RulesetFlag) { f.Default = split(`["a.b"]`) }, "name with a dot"},
		{"a rollout by what cannot be read", func(f *flyball.RulesetFlag) {
			f.Rollout = &flyball.Overlay{Where: "canada", Unit: `["a.b"]`, Treatment: "on", Control: "off"}
		}, "rule canada: attribute"},
		{"a prerequisite that is left out", needs("team.matching"), "prerequisite team.matching: rule canada: attribute email"},
		{"a prerequisite that is not there", needs("team.gone"), "flag team.gone is not there"},
		{"a segment that is not there", where(flyball.Condition{Segment: "gone"}), "segment gone is not there"},
		{"a cycle", needs("team.flag"), "needs itself"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			matching := is("email", flyball.OpMatches, "^a")
			rs := ruleset(flag("team.flag", tt.change), flag("team.good"), flag("team.matching", where(matching)))
			rs.Segments = []flyball.Segment{
				{Key: "matching", If: &matching}, {Key: "outer", If: &flyball.Condition{Segment: "matching"}},
			}
			d, skipped := export(t, rs)
			if len(skipped) != 2 || skipped[0].Flag != "team.flag" || !strings.Contains(skipped[0].Why, tt.why) {
				t.Errorf("left out: %v, want team.flag: … %s …", skipped, tt.why)
			}
			if d.Metadata["skipped"] != 2. || !strings.Contains(d.Metadata["skippedFlags"].(string), "team.flag: ") {
				t.Errorf("the metadata tell %v", d.Metadata)
			}
		})
	}
}

func TestALeaseEndsWithTheWholeSecondBeforeIt(t *testing.T) {
	d, _ := export(t, ruleset(flag("team.flag", func(f *flyball.RulesetFlag) {
		f.Rules, f.Rollout = nil, &flyball.Overlay{
			Where: flyball.WhereDefault, Treatment: "on", Control: "off", PPM: 100, NotAfter: &flyball.Time{Time: noon.Add(999 * time.Millisecond)},
		}
	})))
	want := fmt.Sprintf(`{"if":[{">=":[{"var":"$flagd.timestamp"},%d]},"off",`, noon.Unix())
	if got := string(d.Flags["team.flag"].Targeting); !strings.HasPrefix(got, want) {
		t.Errorf("%s\nwant %s…", got, want)
	}
}

// Programs write a shared segment into each flag as text, so it must not hold
// what such a replacement understands.
func TestALargeSegmentIsShared(t *testing.T) {
	rs := ruleset(flag("team.a", where(flyball.Condition{Segment: "large"})), flag("team.b", where(flyball.Condition{Segment: "large"})),
		flag("team.c", where(flyball.Condition{Segment: "dollar"})), flag("team.d", where(flyball.Condition{Segment: "small"})))
	for _, key := range []string{"large", "dollar", "small"} {
		rs.Segments = append(rs.Segments, flyball.Segment{Key: key, Include: []string{"user-1"}})
	}
	for i := range 100 {
		rs.Segments[0].Include = append(rs.Segments[0].Include, fmt.Sprint("user-", i))
	}
	rs.Segments[1].Include = append([]string{"US$&"}, rs.Segments[0].Include...)
	d, _ := export(t, rs)
	if len(d.Evaluators) != 1 || d.Evaluators["segment:large"] == nil {
		t.Errorf("shared are %v", d.Evaluators)
	}
	for key, want := range map[string]string{"team.a": `{"$ref":"segment:large"}`, "team.b": `{"$ref":"segment:large"}`, "team.c": `"US$&"`, "team.d": `"user-1"`} {
		if got := string(d.Flags[key].Targeting); !strings.Contains(got, want) {
			t.Errorf("%s: %s\nwant … %s …", key, got, want)
		}
	}
}

func TestADocumentHasABound(t *testing.T) {
	keys := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf("user-%020d", i))
		}
		return all
	}
	rs := ruleset(flag("team.huge", where(flyball.Condition{Segment: "huge"})), flag("team.needs", needs("team.huge")))
	rs.Segments = []flyball.Segment{{Key: "huge", Include: keys(20_000)}}
	for i := range 30 {
		segment := fmt.Sprintf("large-%02d", i)
		rs.Segments = append(rs.Segments, flyball.Segment{Key: segment, Include: keys(6_000)})
		rs.Flags = append(rs.Flags, flag(fmt.Sprintf("team.large-%02d", i), where(flyball.Condition{Segment: segment})))
	}
	data, skipped := flagd.Export(rs)
	if len(data) > 4<<20-100 || len(data) < 3<<20 {
		t.Errorf("%d bytes", len(data))
	}
	why := map[string]string{}
	for _, s := range skipped {
		why[s.Flag] = s.Why
	}
	for key, want := range map[string]string{"team.huge": "at most 256", "team.needs": "prerequisite team.huge", "team.large-00": "", "team.large-29": "more than 4 MiB"} {
		if got := why[key]; !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}

// Twenty prerequisites with twenty each, and so on, would be a document
// without end.
func TestPrerequisitesMultiplyOnlyToABound(t *testing.T) {
	flags := []flyball.RulesetFlag{flag("team.f0")}
	for i := range 12 {
		var twice []func(*flyball.RulesetFlag)
		for range 10 {
			twice = append(twice, needs(fmt.Sprintf("team.f%d", i)))
		}
		flags = append(flags, flag(fmt.Sprintf("team.f%d", i+1), twice...))
	}
	_, skipped := export(t, ruleset(flags...))
	if len(skipped) == 0 || !strings.Contains(skipped[0].Why, "KiB") {
		t.Errorf("%v", skipped)
	}
}

func TestMetadataTellOfFewFlagsLeftOut(t *testing.T) {
	rs := ruleset()
	for i := range 500 {
		rs.Flags = append(rs.Flags, flag(fmt.Sprintf("team.flag-%03d", i), where(is("email", flyball.OpMatches, "^a"))))
	}
	d, skipped := export(t, rs)
	told := d.Metadata["skippedFlags"].(string)
	if len(skipped) != 500 || d.Metadata["skipped"] != 500. || len(told) > 1000 || !strings.HasSuffix(told, " more") {
		t.Errorf("%d left out; told: %s", len(skipped), told)
	}
}
