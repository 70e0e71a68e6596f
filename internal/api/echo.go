package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// An echo is what a row that replaces something takes beside its own input:
// what the row that shows the thing tells of it, so that an answer can be sent
// back as it came. Such fields must say what is so; none of them is set by it.
type echo struct {
	row  string       // the one that shows the thing
	of   reflect.Type // what it answers, or the part of it that is replaced
	path []string     // where in the answer that part is; "{x}" stands for a field of the path
}

// echoes says that the row replaces what another shows, or a part of that.
func (o Operation) echoes(row string, of any, path ...string) Operation {
	o.echo = &echo{row: row, of: reflect.TypeOf(of), path: path}
	return o
}

// passing are fields that change by themselves, so that what was read of them
// need not be so any more.
var passing = []string{"evaluations", "lastEvaluated", "lastSeen"}

// faring are further ones, of the thing itself and of no part of it: parts have
// names that people choose.
var faring = []string{"pending", "dead", "failures", "restsUntil"}

// cut parts a body into what the row takes and what only the row that shows
// the thing tells. The version that was shown is the one that was read.
func (o Operation) cut(body []byte) (rest []byte, told map[string]json.RawMessage, err error) {
	var fields map[string]json.RawMessage
	if o.echo == nil || tooDeep(body) || json.Unmarshal(body, &fields) != nil {
		return body, nil, nil // that is told where it is decoded
	}
	known, told := members(o.echo.of), map[string]json.RawMessage{}
	for name, v := range fields {
		if known(name) != nil && o.Schema().Properties[name] == nil {
			told[name] = v
			delete(fields, name)
		}
	}
	if len(told) == 0 {
		return body, nil, nil
	}
	for counter, expected := range map[string]string{"version": "ifVersion", "revision": "ifRevision"} {
		if v, ok := told[counter]; ok && fields[expected] == nil && o.Schema().Properties[expected] != nil {
			fields[expected] = v
		}
		delete(told, counter)
	}
	rest, err = json.Marshal(fields)
	return rest, told, err
}

// agree says which of the fields that are only told are not so.
func (o Operation) agree(ctx context.Context, s *service.Service, r *http.Request, told map[string]json.RawMessage) error {
	if len(told) == 0 {
		return nil
	}
	i := slices.IndexFunc(operations, func(other Operation) bool { return other.Name == o.echo.row })
	shown, err := operations[i].call(ctx, s, func(into any) error {
		named := map[string]string{}
		for _, field := range o.PathFields() {
			named[field] = r.PathValue(field)
		}
		key, err := json.Marshal(named)
		if err != nil {
			return err
		}
		return json.Unmarshal(key, into)
	})
	if err != nil {
		return err
	}
	body, err := json.Marshal(shown)
	if err != nil {
		return err
	}
	is, err := lasting(body)
	if err != nil {
		return err
	}
	for _, part := range o.echo.path {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			part = r.PathValue(strings.TrimSuffix(name, "}"))
		}
		m, _ := is.(map[string]any)
		is = m[part]
	}
	thing, ok := is.(map[string]any)
	if !ok {
		return nil // there is no such place, which the row itself tells
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(told)) {
		says, err := lasting(told[name])
		if err != nil {
			return err
		}
		if !slices.Contains(passing, name) && !slices.Contains(faring, name) && !reflect.DeepEqual(says, thing[name]) {
			errs = append(errs, flyball.FieldErrorf(name, "%s", otherwise(name, thing[name])))
		}
	}
	return errors.Join(errs...)
}

// lasting decodes JSON without the fields that change by themselves.
func lasting(body []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	var strip func(v any)
	strip = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			maps.DeleteFunc(v, func(name string, _ any) bool { return slices.Contains(passing, name) })
			for _, part := range v {
				strip(part)
			}
		case []any:
			for _, part := range v {
				strip(part)
			}
		}
	}
	strip(v)
	return v, nil
}

// otherwise says how to change a field that this row does not.
func otherwise(name string, is any) string {
	switch name {
	case "seed", "hashVersion":
		return fmt.Sprintf("is set once, at creation, and here it is %v: leave it out", is)
	case "flag":
		return fmt.Sprintf("this is about %v", is)
	case "killed":
		return "is not changed here: use \"flyball flag kill\" and \"flyball flag resume\", or leave it out"
	case "rollout":
		return "is not changed here: rollouts have their own commands; leave it out"
	case "environments":
		return "is not changed here: what an environment serves is said by \"flyball flag configure\"; leave it out"
	}
	if is == nil {
		return "is told and not set, and here it is not set: leave it out"
	}
	return fmt.Sprintf("is told and not set, and here it is %v: leave it out", is)
}
