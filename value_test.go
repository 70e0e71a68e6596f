package flyball_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
)

func TestNumbersKeepEveryDigit(t *testing.T) {
	const text = `{"a":9007199254740993,"b":9223372036854775807,"c":-9223372036854775808,"d":1.5,"e":1e3,"f":-0.0,"g":[9007199254740993,{"h":9007199254740993}],"i":"9","j":null,"k":true}`
	want := map[string]any{
		"a": int64(9007199254740993), "b": int64(math.MaxInt64), "c": int64(math.MinInt64), "d": 1.5, "e": 1000.0, "f": math.Copysign(0, -1),
		"g": []any{int64(9007199254740993), map[string]any{"h": int64(9007199254740993)}}, "i": "9", "j": nil, "k": true,
	}
	var variants flyball.Variants
	var attributes flyball.Attributes
	for _, into := range []any{&variants, &attributes} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(flyball.Variants(want), variants); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(flyball.Attributes(want), attributes); diff != "" {
		t.Error(diff)
	}
	again, err := json.Marshal(variants)
	if err != nil || !strings.Contains(string(again), `"a":9007199254740993,"b":9223372036854775807`) {
		t.Errorf("written again: %s, %v", again, err)
	}
	var values flyball.Values
	if err := json.Unmarshal([]byte(`[9007199254740993, 2.5, "x", false]`), &values); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(flyball.Values{int64(9007199254740993), 2.5, "x", false}, values); diff != "" {
		t.Error(diff)
	}
}

func TestAnIntegerTooLargeIsNoInteger(t *testing.T) {
	f := releaseFlag()
	if err := json.Unmarshal([]byte(`{"type":"integer","safeVariant":"small","variants":{"small":1,"large":9223372036854775808}}`), &f); err != nil {
		t.Fatal(err)
	}
	told(t, f.Validate(), "variants.large: not of the flag's type integer")
}

func TestWhatIsNoMapAndNoListIsRefused(t *testing.T) {
	for _, tt := range []struct {
		text string
		into any
	}{
		{`"x"`, new(flyball.Variants)}, {`[1]`, new(flyball.Variants)}, {`{"a":1e999}`, new(flyball.Variants)},
		{`{"a":1}`, new(flyball.Values)}, {`[1e999]`, new(flyball.Values)}, {`7`, new(flyball.Attributes)}, {`{"a":[1e999]}`, new(flyball.Attributes)},
	} {
		if err := json.Unmarshal([]byte(tt.text), tt.into); err == nil {
			t.Errorf("%s is read as %T %v", tt.text, tt.into, tt.into)
		}
	}
	v := flyball.Variants{"old": true}
	if err := json.Unmarshal([]byte(`null`), &v); err != nil || v != nil {
		t.Errorf("null: %v, %v", v, err)
	}
}

func TestTimesAsPeopleWriteThem(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"2027-02-01", "2027-02-02T00:00:00Z"}, // the end of that day
		{"2026-12-31", "2027-01-01T00:00:00Z"},
		{"2028-02-28", "2028-02-29T00:00:00Z"},
		{"2026-11-21T19:00:00Z", "2026-11-21T19:00:00Z"},
		{"2026-11-21T19:00:00.123456+02:00", "2026-11-21T17:00:00.123456Z"},
		{"9998-12-31", "9999-01-01T00:00:00Z"},
	} {
		var got flyball.Time
		if err := json.Unmarshal([]byte(`"`+tt.text+`"`), &got); err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		written, err := json.Marshal(got)
		if err != nil || string(written) != `"`+tt.want+`"` {
			t.Errorf("%s: got %s, %v, want %s", tt.text, written, err, tt.want)
		}
		var again flyball.Time
		if err := json.Unmarshal(written, &again); err != nil || !again.Equal(got.Time) {
			t.Errorf("%s: written as %s and read again as %v, %v", tt.text, written, again, err)
		}
	}
}

// A time that could be written and not be read again would lock up whatever
// holds it.
func TestTimesThatAreNone(t *testing.T) {
	for _, text := range []string{`"soon"`, `"2027-02-30"`, `"2026-11-21T19:00:00"`, `"2026-11-21 19:00:00Z"`, `"9999-12-31"`, `"9999-12-31T23:59:59-01:00"`, `1763751600`, `""`, `true`} {
		at := flyball.Time{Time: time.Unix(1, 0)}
		if err := json.Unmarshal([]byte(text), &at); err == nil {
			t.Errorf("%s is read as %v", text, at)
		} else if strings.Contains(err.Error(), "parsing time") {
			t.Errorf("%s: %v", text, err)
		}
	}
	at := flyball.Time{Time: time.Unix(1, 0)}
	if err := json.Unmarshal([]byte(`null`), &at); err != nil || !at.Equal(time.Unix(1, 0)) {
		t.Errorf("null: %v, %v", at, err)
	}
}

func TestDurations(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Duration
		back string
	}{
		{"90s", 90 * time.Second, "1m30s"}, {"10m", 10 * time.Minute, "10m"}, {"24h", 24 * time.Hour, "24h"}, {"1h30m", 90 * time.Minute, "1h30m"},
		{"1h0m5s", time.Hour + 5*time.Second, "1h0m5s"}, {"0s", 0, "0s"}, {"250ms", 250 * time.Millisecond, "250ms"}, {"60m", time.Hour, "1h"},
	} {
		var d flyball.Duration
		if err := json.Unmarshal([]byte(`"`+tt.text+`"`), &d); err != nil || d.Std() != tt.want || d.String() != tt.back {
			t.Errorf("%s: got %v (%v), %v", tt.text, d, d.Std(), err)
		}
		var again flyball.Duration
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Errorf("%s: written as %s and read again as %v, %v", tt.text, d, again, err)
		}
	}
	for _, text := range []string{`"-1s"`, `"10"`, `"1d"`, `""`, `"9999999999h"`, `10`} {
		var d flyball.Duration
		if err := json.Unmarshal([]byte(text), &d); err == nil {
			t.Errorf("%s is read as %v", text, d)
		}
	}
}

func TestInstants(t *testing.T) {
	at := time.Date(2026, 11, 21, 19, 0, 0, 500_000_000, time.UTC)
	for _, v := range []any{at, at.In(time.FixedZone("", 7200)), "2026-11-21T19:00:00.5Z", "2026-11-21T21:00:00.5+02:00", 1795287600.5} {
		if got, ok := flyball.Instant(v); !ok || got != at.UnixMicro() {
			t.Errorf("%v: got %d, %v, want %d", v, got, ok, at.UnixMicro())
		}
	}
	for _, v := range []any{"2026-11-21", "now", 1e12, -1e12, math.NaN(), math.Inf(1), true, nil, []any{1}} {
		if got, ok := flyball.Instant(v); ok {
			t.Errorf("%v is read as the instant %d", v, got)
		}
	}
}
