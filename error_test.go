package flyball_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
)

// told checks that an error tells exactly these problems, each as its field
// and its message, in order.
func told(t *testing.T, err error, want ...string) {
	t.Helper()
	var got []string
	for _, p := range flyball.Problems(err) {
		got = append(got, p.Error())
		if p.Code != flyball.Invalid {
			t.Errorf("%q has the code %s, want %s", p, p.Code, flyball.Invalid)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestAnErrorLeadsWithItsField(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{flyball.Errorf(flyball.Conflict, "version %d is gone", 3), "version 3 is gone"},
		{flyball.FieldErrorf("rules[0].id", "%q is taken", "staff"), `rules[0].id: "staff" is taken`},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestACodeIsFoundWhereverItIsInTheTree(t *testing.T) {
	conflict := flyball.Errorf(flyball.Conflict, "changed meanwhile")
	for _, tt := range []struct {
		name string
		err  error
		want flyball.Code
	}{
		{"the error itself", conflict, flyball.Conflict},
		{"a wrapped one", fmt.Errorf("put flag: %w", conflict), flyball.Conflict},
		{"the first of several", errors.Join(io.EOF, flyball.FieldErrorf("a", "b"), conflict), flyball.Invalid},
		{"any other error is a fault of ours", io.EOF, flyball.Internal},
		{"none", nil, flyball.Internal},
	} {
		if got := flyball.CodeOf(tt.err); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestProblemsAreAllThoseInTheTreeInOrder(t *testing.T) {
	a, b, c := flyball.FieldErrorf("a", "1"), flyball.FieldErrorf("b", "2"), flyball.Errorf(flyball.Conflict, "3")
	for _, tt := range []struct {
		name string
		err  error
		want []*flyball.Error
	}{
		{"none", nil, nil},
		{"one", a, []*flyball.Error{a}},
		{"joined, wrapped and joined again", fmt.Errorf("x: %w", errors.Join(errors.Join(a, io.EOF), fmt.Errorf("y: %w", errors.Join(b, c)))), []*flyball.Error{a, b, c}},
		{"two wrapped at once", fmt.Errorf("%w and %w", a, b), []*flyball.Error{a, b}},
		{"none of ours", errors.Join(io.EOF), nil},
	} {
		if diff := cmp.Diff(tt.want, flyball.Problems(tt.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestADetailLeavesTheErrorItIsAddedToAlone(t *testing.T) {
	first := flyball.FieldErrorf("a", "b").With("version", 1)
	second := first.With("version", 2).With("rollout", "r")
	if diff := cmp.Diff(map[string]any{"version": 1}, first.Details); diff != "" {
		t.Error(diff)
	}
	want := &flyball.Error{Code: flyball.Invalid, Field: "a", Message: "b", Details: map[string]any{"version": 2, "rollout": "r"}}
	if diff := cmp.Diff(want, second); diff != "" {
		t.Error(diff)
	}
}

func TestAboutTellsOneFlagsProblemsByItsOwnFields(t *testing.T) {
	err := errors.Join(
		flyball.FieldErrorf(`flags["a.b.c"].rules[0].if`, "x"),
		flyball.FieldErrorf(`flags["a.b"].seed`, "y").With("k", "v"),
		flyball.FieldErrorf(`segments["beta"].if`, "z"),
	)
	told(t, flyball.About("a.b", err), `flags["a.b.c"].rules[0].if: x`, "seed: y", `segments["beta"].if: z`)
	if got := flyball.Problems(flyball.About("a.b", err))[1].Details; got["k"] != "v" {
		t.Errorf("the details are lost: %v", got)
	}
	if err := flyball.About("a.b", nil); err != nil {
		t.Errorf("a problem of none: %v", err)
	}
}
