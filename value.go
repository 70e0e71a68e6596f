package flyball

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Variants maps the name of each variant to its value. Whole JSON numbers are
// int64 and all others float64, so that a large integer keeps every digit.
type Variants map[string]any

// UnmarshalJSON reads variants without losing digits of large integers.
func (v *Variants) UnmarshalJSON(data []byte) error {
	var m map[string]any
	if err := decodeExact(data, &m); err != nil {
		return err
	}
	*v = m
	return nil
}

// Values are the alternatives of a condition's test: strings, booleans, int64
// or float64.
type Values []any

// UnmarshalJSON reads values without losing digits of large integers.
func (v *Values) UnmarshalJSON(data []byte) error {
	var s []any
	if err := decodeExact(data, &s); err != nil {
		return err
	}
	*v = s
	return nil
}

// Attributes describe who or what a flag is evaluated for. Values are strings,
// booleans, numbers, times, lists and maps of them.
type Attributes map[string]any

// UnmarshalJSON reads attributes without losing digits of large integers.
func (a *Attributes) UnmarshalJSON(data []byte) error {
	var m map[string]any
	decode := decodeExact[map[string]any]
	if !hasNumbers(data) { // each observation may have attributes, and most are text
		decode = func(data []byte, into *map[string]any) error { return json.Unmarshal(data, into) }
	}
	if err := decode(data, &m); err != nil {
		return err
	}
	*a = m
	return nil
}

// hasNumbers says whether there is a digit outside of strings.
func hasNumbers(data []byte) bool {
	inside := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			inside = !inside
		case inside && c == '\\':
			i++
		case !inside && c >= '0' && c <= '9':
			return true
		}
	}
	return false
}

// decodeExact decodes JSON into *into, with whole numbers as int64 and others
// as float64 in place of one lossy type for both.
func decodeExact[T any](data []byte, into *T) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var raw any
	if err := d.Decode(&raw); err != nil {
		return err
	}
	if raw == nil {
		var zero T
		*into = zero
		return nil
	}
	exact, err := exactNumbers(raw)
	if err != nil {
		return err
	}
	v, ok := exact.(T)
	if !ok {
		return fmt.Errorf("expected %s, found %s", inJSON(*into), inJSON(exact))
	}
	*into = v
	return nil
}

// inJSON names what v is, as those know it who write JSON.
func inJSON(v any) string {
	switch v.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case string:
		return "a text"
	case bool:
		return "true or false"
	case nil:
		return "null"
	}
	return "a number"
}

func exactNumbers(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		return exactNumber(v)
	case []any:
		for i := range v {
			n, err := exactNumbers(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = n
		}
	case map[string]any:
		for k := range v {
			n, err := exactNumbers(v[k])
			if err != nil {
				return nil, err
			}
			v[k] = n
		}
	}
	return v, nil
}

func exactNumber(n json.Number) (any, error) {
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		return i, nil
	}
	f, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, fmt.Errorf("number %s is out of range", n)
	}
	return f, nil
}

// A Time is a point in time as people write it: RFC 3339 with a zone, or a
// bare date, which means the end of that day in UTC.
type Time struct{ time.Time }

// UnmarshalText reads RFC 3339 or a bare date.
func (t *Time) UnmarshalText(text []byte) error {
	s := string(text)
	at, err := time.Parse(time.DateOnly, s)
	if err == nil {
		at = at.AddDate(0, 0, 1)
	} else if at, err = time.Parse(time.RFC3339Nano, s); err != nil {
		return fmt.Errorf("%s is neither a date such as 2027-02-01 nor RFC 3339 with a zone", quote(s))
	}
	if at = at.UTC(); at.Year() > 9999 { // which could be written, and never read again
		return fmt.Errorf("%s lies after the year 9999", quote(s))
	}
	t.Time = at
	return nil
}

// MarshalText writes RFC 3339 in UTC.
func (t Time) MarshalText() ([]byte, error) {
	return []byte(t.UTC().Format(time.RFC3339Nano)), nil
}

// UnmarshalJSON reads a string as [Time.UnmarshalText] does; null leaves t as
// it is. (Without it, the embedded time would refuse bare dates.)
func (t *Time) UnmarshalJSON(data []byte) error { return readTime(data, t.UnmarshalText) }

func readTime(data []byte, read func(text []byte) error) error {
	var s *string
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("a time is a string such as \"2027-02-01T12:00:00Z\"")
	}
	if s == nil {
		return nil
	}
	return read([]byte(*s))
}

// MarshalJSON writes RFC 3339 in UTC.
func (t Time) MarshalJSON() ([]byte, error) { return json.Marshal(t.UTC().Format(time.RFC3339Nano)) }

// A Start is a Time at which something begins: a bare date means the beginning
// of that day in UTC, so that what is from one day to another has both whole.
type Start struct{ Time }

// UnmarshalText reads RFC 3339 or a bare date.
func (s *Start) UnmarshalText(text []byte) error {
	if at, err := time.Parse(time.DateOnly, string(text)); err == nil {
		s.Time.Time = at
		return nil
	}
	return s.Time.UnmarshalText(text)
}

// UnmarshalJSON reads a string as [Start.UnmarshalText] does; null leaves s as
// it is.
func (s *Start) UnmarshalJSON(data []byte) error { return readTime(data, s.UnmarshalText) }

// A Duration is a length of time in Go's notation, such as "90s" or "24h".
type Duration time.Duration

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String writes d without needless zero units: "10m", not "10m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// UnmarshalText reads Go's notation. A negative length is refused.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%s is not a duration such as \"90s\" or \"24h\"", quote(string(text)))
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes Go's notation.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
