package service

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// digest stands for the exact change: its action, every edit, before and after,
// what the flags that it alters served before, and the flags, segments and metrics
// that these rest on. Made again, the same change has the same digest, whoever
// makes it and whenever; whoever edits anything that it touches, or rests on, in
// between makes it another.
func (e *edit) digest() (string, error) {
	h := sha256.New()
	write := func(parts ...string) {
		for _, p := range parts {
			fmt.Fprintf(h, "%d:%s", len(p), p)
		}
	}
	subject := e.change.subject
	for _, edit := range slices.SortedFunc(slices.Values(e.edits), inOrder) {
		key := edit.Key
		if madeUp(edit) {
			subject, key = strings.ReplaceAll(subject, key, ""), ""
		}
		before, after, err := lastingOf(edit)
		if err != nil {
			return "", fmt.Errorf("digest of %s %s: %w", edit.Noun, edit.Key, err)
		}
		write(edit.Noun, key, edit.Environment, before, after)
	}
	write(e.change.action, subject)
	for _, env := range e.altered() {
		r := e.rulesets[env]
		changed := eval.Changed(r.compiledBefore, r.after.compiled)
		for _, key := range changed {
			served, err := servedBy(r.compiledBefore.Flag(key))
			if err != nil {
				return "", err
			}
			write(env, key, served)
		}
		rests, err := restsOn(r.compiledBefore, r.after.compiled, changed)
		if err != nil {
			return "", err
		}
		write(rests...)
	}
	judged, err := e.judgedBy()
	if err != nil {
		return "", err
	}
	write(judged)
	return hex.EncodeToString(h.Sum(nil)), nil
}

// restsOn writes down what flags will ask of others, as they are before the change:
// the flags and the segments that they need, each once. Whoever edits one of them
// makes another change of it, though its own edits are the same.
func restsOn(before, after *eval.Ruleset, changed []string) (all []string, err error) {
	note := func(key string, v any) {
		body, failed := json.Marshal(v)
		all, err = append(all, key, string(body)), cmp.Or(err, failed)
	}
	segments, flags := map[string]bool{}, map[string]bool{}
	var segment func(key string)
	segment = func(key string) {
		s := cmp.Or(before.Segment(key), after.Segment(key)) // one that was not used yet is in after alone
		if segments[key] || s == nil {
			return
		}
		segments[key] = true
		note(key, s)
		if s.If != nil {
			for _, other := range s.If.Segments(nil) {
				segment(other)
			}
		}
	}
	for _, key := range changed {
		needed(after, key, flags, func(f *flyball.RulesetFlag) {
			_, told := slices.BinarySearch(changed, f.Key)
			if was := before.Flag(f.Key); was != nil && !told {
				still := *was
				still.Rollout = nil
				note(f.Key, still)
			}
			for _, r := range f.Rules {
				for _, s := range r.If.Segments(nil) {
					segment(s)
				}
			}
		})
	}
	return all, err
}

// judgedBy writes down the metrics by which a rollout that is started is judged.
func (e *edit) judgedBy() (string, error) {
	plan := e.started()
	if plan == nil {
		return "", nil
	}
	metrics, err := e.metrics(*plan)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(metrics)
	return string(body), err
}

// inOrder sorts edits of different nouns, in whichever order they were made.
func inOrder(a, b flyball.Edit) int {
	return cmp.Or(strings.Compare(a.Noun, b.Noun), strings.Compare(a.Key, b.Key), strings.Compare(a.Environment, b.Environment))
}

// servedBy writes down what a flag served, save for its rollout: one moves by
// itself, and that of an edited flag stands in the edit.
func servedBy(f *flyball.RulesetFlag) (string, error) {
	if f == nil {
		return "", nil
	}
	still := *f
	still.Rollout = nil
	body, err := json.Marshal(still)
	return string(body), err
}

// madeUp says that an edit makes something whose key is random.
func madeUp(e flyball.Edit) bool {
	return e.Before == nil && (e.Noun == "rollout" || e.Noun == "token")
}

// fleeting are the fields of nouns that are made up, or read off the clock, or
// name who acts, each time that the same change is made.
var fleeting = map[string][]string{
	"config":   {"killed.at", "killed.by", "rollout.id", "rollout.notAfter"},
	"rollout":  {"id", "startedBy", "startedAt", "steppedAt", "steppedIn", "since", "endedAt", "leaseUntil", "revision", "passed.by", "passed.at"},
	"token":    {"id", "createdBy", "createdAt", "expiresAt", "revokedAt"},
	"delivery": {"due", "queued", "at"},
	"user":     {"createdAt"},
	"link":     {"expiresAt"},
}

// renewed are the fields of nouns that change without anybody's doing.
var renewed = map[string][]string{
	"config":  {"rollout.notAfter"},
	"rollout": {"leaseUntil", "revision"},
}

// lastingOf returns a noun before and after an edit, in canonical JSON, without
// what is fleeting in what the edit made of it.
func lastingOf(e flyball.Edit) (before, after string, err error) {
	var b, a any
	for body, into := range map[*json.RawMessage]*any{&e.Before: &b, &e.After: &a} {
		if len(*body) == 0 {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(*body))
		d.UseNumber() // of two large whole numbers, each is itself
		if err := d.Decode(into); err != nil {
			return "", "", err
		}
	}
	for _, path := range fleeting[e.Noun] {
		drop(a, b, strings.Split(path, "."))
	}
	for _, path := range renewed[e.Noun] {
		drop(b, nil, strings.Split(path, "."))
		drop(a, nil, strings.Split(path, "."))
	}
	x, err := json.Marshal(b)
	if err != nil {
		return "", "", err
	}
	y, err := json.Marshal(a)
	return string(x), string(y), err
}

// drop takes a field out of a decoded noun, in each part of a list, unless it
// is what it was before.
func drop(v, before any, path []string) {
	switch v := v.(type) {
	case map[string]any:
		was, _ := before.(map[string]any)
		if len(path) > 1 {
			drop(v[path[0]], was[path[0]], path[1:])
		} else if old, ok := was[path[0]]; !ok || !reflect.DeepEqual(old, v[path[0]]) {
			delete(v, path[0])
		}
	case []any:
		was, _ := before.([]any)
		for i := range v {
			var old any
			if i < len(was) {
				old = was[i]
			}
			drop(v[i], old, path)
		}
	}
}
