package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flyballdev/flyball"
)

// readBody reads a body of at most limit bytes. One that says
// it is longer is refused before any of it is read.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	tooLarge := flyball.Errorf(flyball.TooLarge, "the request body has more than %d bytes", limit)
	if r.ContentLength > limit {
		w.Header().Set("Connection", "close")
		return nil, tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return nil, tooLarge
	}
	if err != nil {
		return nil, brokeOff(err)
	}
	unhurried(w)
	return body, nil
}

func brokeOff(err error) error {
	return flyball.Errorf(flyball.Invalid, "the request body broke off: %v", err)
}

// unhurried lifts the deadline by which the request must have come, once it
// has: the answer may take longer, and a read that times out would end it.
func unhurried(w http.ResponseWriter) { http.NewResponseController(w).SetReadDeadline(time.Time{}) }

// decode reads the input of the capability from path, query and body, and
// tells everything that is wrong with it at once.
func (o Operation) decode(r *http.Request, body []byte, into any) (map[string]any, error) {
	fields := map[string]any{}
	if body = bytes.TrimSpace(body); !o.HasBody() {
		body = nil
	}
	if len(body) > 0 {
		if err := decodeObject(body, &fields); err != nil {
			return nil, err
		}
	}
	extra, err := o.parameters(r)
	if err != nil {
		return nil, err
	}
	for name, v := range extra {
		if given, ok := fields[name]; ok && given != v && !o.SamePerson(name, given, v) {
			return nil, flyball.FieldErrorf(name, "the body says %v and the path says %v", given, v)
		}
		fields[name] = v
	}
	if err := o.validate(fields); err != nil {
		return nil, err
	}
	merged, err := json.Marshal(extra)
	if err != nil {
		return nil, err
	}
	for _, data := range [][]byte{body, merged} {
		if len(data) == 0 {
			continue
		}
		if err := json.Unmarshal(data, into); err != nil {
			return nil, unfit(err)
		}
	}
	return fields, nil
}

// SamePerson says whether two texts name one person: "user:" may be left out.
func (o Operation) SamePerson(field string, a, b any) bool {
	one, isText := a.(string)
	other, areBoth := b.(string)
	return isText && areBoth && members(o.In)(field) == reflect.TypeFor[flyball.ActorID]() &&
		strings.TrimPrefix(one, "user:") == strings.TrimPrefix(other, "user:")
}

// maxNesting is how deep the JSON of a request may nest: twice what the
// deepest file that means something does.
const maxNesting = 64

// tooDeep says whether objects and lists nest too deep. It reads the bytes
// alone, so that nothing that follows has to take such a thing apart.
func tooDeep(data []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxNesting {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// decodeObject reads one JSON object and nothing after it.
func decodeObject(body []byte, fields *map[string]any) error {
	if tooDeep(body) {
		return flyball.Errorf(flyball.Invalid, "the request body nests more than %d deep", maxNesting)
	}
	var object flyball.Attributes
	if err := json.Unmarshal(body, &object); err != nil {
		return flyball.Errorf(flyball.Invalid, "the request body cannot be read as a JSON object: %s", readable(err))
	}
	if object == nil {
		return flyball.Errorf(flyball.Invalid, "the request body is not a JSON object")
	}
	*fields = object
	return nil
}

// unfit names the field whose value cannot be taken as it is written, such as a
// whole number with an exponent.
func unfit(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
		value, isNumber := strings.CutPrefix(e.Value, "number ")
		if isNumber && e.Type.Kind() != reflect.String {
			return flyball.FieldErrorf(e.Field, "%s is not a whole number that fits; write it in digits alone", value)
		}
		return flyball.FieldErrorf(e.Field, "cannot be a JSON %s", e.Value)
	}
	return flyball.Errorf(flyball.Invalid, "%s", readable(err))
}

func readable(err error) string { return strings.TrimPrefix(err.Error(), "json: ") }

// parameters reads what stands in the path and in the query.
func (o Operation) parameters(r *http.Request) (map[string]any, error) {
	found := map[string]any{}
	for _, name := range o.PathFields() {
		if found[name] = r.PathValue(name); !utf8.ValidString(r.PathValue(name)) {
			return nil, flyball.FieldErrorf(name, "is not text in UTF-8")
		}
	}
	if o.HasBody() {
		return found, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, flyball.Errorf(flyball.Invalid, "the query is malformed: %v", err)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(query)) {
		_, inPath := found[name]
		switch v, err := o.convert(name, query[name]); {
		case inPath:
			errs = append(errs, flyball.FieldErrorf(name, "stands in the path already"))
		case !utf8.ValidString(name + query[name][0]):
			errs = append(errs, flyball.FieldErrorf(strings.ToValidUTF8(name, "\uFFFD"), "is not text in UTF-8"))
		case err != nil:
			errs = append(errs, err)
		default:
			found[name] = v
		}
	}
	return found, errors.Join(errs...)
}

// convert makes of a query's text what the schema says the field is.
func (o Operation) convert(name string, values []string) (any, error) {
	property := o.Schema().Properties[name]
	if property == nil {
		return values[0], nil // validation tells that it is unknown
	}
	switch text := values[0]; resolve(property).Type {
	case huma.TypeBoolean:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, flyball.FieldErrorf(name, "%q is neither true nor false", text)
		}
		return b, nil
	case huma.TypeInteger:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, flyball.FieldErrorf(name, "%q is not a whole number", text)
		}
		return n, nil
	case huma.TypeArray:
		all := make([]any, len(values))
		for i, v := range values {
			all[i] = v
		}
		return all, nil
	case huma.TypeObject, "":
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return nil, flyball.FieldErrorf(name, "%q is not JSON", text)
		}
		return v, nil
	default:
		return text, nil
	}
}

var missing = regexp.MustCompile(`^expected required property (\S+) to be present$`)

// validate tells every field that does not fit, in order: by the schema, and
// then by the types themselves, which know more of times and lengths of time.
func (o Operation) validate(fields map[string]any) error {
	var result huma.ValidateResult
	huma.Validate(inputs, o.schema, huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, fields, &result)
	var errs []*flyball.Error
	blame := func(field, message string) {
		if !slices.ContainsFunc(errs, func(e *flyball.Error) bool { return e.Field == field }) {
			errs = append(errs, flyball.FieldErrorf(field, "%s", message))
		}
	}
	for _, err := range result.Errors {
		field, message := "", err.Error()
		if d, ok := errors.AsType[*huma.ErrorDetail](err); ok {
			field, message = d.Location, d.Message
		}
		if m := missing.FindStringSubmatch(message); m != nil {
			field, message = strings.TrimPrefix(field+"."+m[1], "."), "is required"
		}
		if message == "unexpected property" {
			message = fmt.Sprintf("is not known here; known are %s", known(o.schema, field))
		}
		blame(field, message)
	}
	misfits("", fields, o.In, blame)
	slices.SortStableFunc(errs, func(a, b *flyball.Error) int { return strings.Compare(a.Field, b.Field) })
	return errors.Join(asErrors(errs)...)
}

// known names the fields that may stand where an unknown one was found.
func known(s *huma.Schema, field string) string {
	parts := strings.FieldsFunc(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
	s = resolve(s)
	for _, part := range parts[:max(0, len(parts)-1)] {
		switch next := s.Properties[part]; {
		case next != nil:
			s = resolve(next)
		case s.Items != nil:
			s = resolve(s.Items)
		default:
			if sub, ok := s.AdditionalProperties.(*huma.Schema); ok {
				s = resolve(sub)
			}
		}
	}
	names := make([]string, 0, len(s.Properties))
	for name := range s.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
