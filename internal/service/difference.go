package service

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"

	"github.com/flyballdev/flyball"
)

// difference tells edits in words, a line for each thing that differs.
func difference(edits []flyball.Edit) ([]string, error) {
	lines := []string{}
	rollouts := map[string]bool{} // whose edits stand among them, and tell more than what is served for them
	for _, e := range edits {
		if e.Noun == "rollout" {
			rollouts[e.Key] = true
		}
	}
	for _, e := range edits {
		words, err := inEdit(e, rollouts)
		if err != nil {
			return nil, err
		}
		lines = append(lines, words...)
	}
	return lines, nil
}

// inEdit tells one edit in words; what is served for some rollouts is told by
// theirs.
func inEdit(e flyball.Edit, rollouts map[string]bool) (lines []string, err error) {
	if e.Noun == "rollout" && e.After != nil {
		return ofRollout(e)
	}
	what := e.Noun + " " + e.Key
	if e.Environment != "" {
		what += " in " + e.Environment
	}
	var before, after any
	if e.After == nil {
		return []string{"gone: " + what}, nil
	}
	if e.Before == nil {
		lines = append(lines, "new: "+what)
	} else if err := json.Unmarshal(e.Before, &before); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(e.After, &after); err != nil {
		return nil, err
	}
	if e.Noun == "config" {
		withoutRollout(before, rollouts)
		withoutRollout(after, rollouts)
	}
	return append(lines, led(what, differ("", before, after))...), nil
}

// withoutRollout takes what is served for one of some rollouts out of a
// configuration.
func withoutRollout(config any, rollouts map[string]bool) {
	m, _ := config.(map[string]any)
	overlay, _ := m["rollout"].(map[string]any)
	if id, _ := overlay["id"].(string); rollouts[id] {
		delete(m, "rollout")
	}
}

// differ lists where two JSON values differ, by path. Lists of things with an id
// are compared by id.
func differ(path string, before, after any) []string {
	if reflect.DeepEqual(before, after) {
		return nil
	}
	b, bothMaps := before.(map[string]any)
	a, ok := after.(map[string]any)
	if bothMaps = bothMaps && ok; before == nil && ok {
		b, bothMaps = map[string]any{}, path == ""
	}
	if bothMaps {
		return differMaps(path, b, a)
	}
	if x, y, ok := byID(before, after); ok {
		return append(differMaps(path, x, y), reordered(path, before, after)...)
	}
	switch {
	case before == nil:
		return []string{fmt.Sprintf("%s: %s", path, inBrief(after))}
	case after == nil:
		return []string{fmt.Sprintf("%s: was %s, is gone", path, inBrief(before))}
	}
	return []string{fmt.Sprintf("%s: %s → %s", path, inBrief(before), inBrief(after))}
}

func differMaps(path string, b, a map[string]any) (lines []string) {
	keys := map[string]bool{}
	for k := range b {
		keys[k] = true
	}
	for k := range a {
		keys[k] = true
	}
	names := make([]string, 0, len(keys))
	for k := range keys {
		names = append(names, k)
	}
	sort.Strings(names)
	for _, k := range names {
		at := k
		if path != "" {
			at = path + "." + k
		}
		lines = append(lines, differ(at, b[k], a[k])...)
	}
	return lines
}

// byID turns two lists of objects that have ids into maps by id.
func byID(before, after any) (b, a map[string]any, ok bool) {
	index := func(v any) (map[string]any, bool) {
		list, ok := v.([]any)
		if !ok && v != nil {
			return nil, false
		}
		m := map[string]any{}
		for _, item := range list {
			o, ok := item.(map[string]any)
			if !ok {
				return nil, false
			}
			id, ok := o["id"].(string)
			if !ok {
				return nil, false
			}
			m[id] = o
		}
		return m, true
	}
	b, okB := index(before)
	a, okA := index(after)
	return b, a, okB && okA && (len(b) > 0 || len(a) > 0)
}

// reordered says in which order things that stayed stand now, if it is another.
func reordered(path string, before, after any) []string {
	order := func(v any) (ids []string) {
		list, _ := v.([]any)
		for _, item := range list {
			if o, ok := item.(map[string]any); ok {
				ids = append(ids, fmt.Sprint(o["id"]))
			}
		}
		return ids
	}
	b, a := order(before), order(after)
	kept := func(ids, in []string) []string {
		return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !slices.Contains(in, id) })
	}
	if slices.Equal(kept(b, a), kept(a, b)) {
		return nil
	}
	return []string{path + ": now in the order " + strings.Join(a, ", ")}
}

// longestValue is how many bytes of a value are told.
const longestValue = 200

func inBrief(v any) string {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(body) > longestValue {
		return strings.ToValidUTF8(string(body[:longestValue]), "") + "…"
	}
	return string(body)
}
