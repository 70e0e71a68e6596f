package main

import (
	"context"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/bench/workload"
)

// A contestant evaluates flags.
type contestant struct {
	Name string `json:"name"`
	// on prepares it for one workload and one user; it is not ok if it does not
	// take part in that one.
	on func(w workload.Workload, user *flyball.EvaluationContext) (e evaluator, ok bool)
	// whole says that what it answers is a whole resolution, equal to the
	// floor's in each field, and not a value alone.
	whole bool
	// own says that its split is by a hash of its own, so that it puts others
	// into the tenth.
	own bool
}

// An evaluator evaluates flags for one user.
type evaluator struct {
	loop   func(keys []string, at, n int) // evaluates n times, by turns from a place on
	answer func(key string) any           // the value, as flyball.Flag has it
	full   func(key string) flyball.Resolution
}

// evaluating makes an evaluator of a call as programs make it. What turns its
// result into the value is not measured.
func evaluating[T any](call func(key string) T, value func(T) any) evaluator {
	return evaluator{
		loop:   func(keys []string, at, n int) { turn(call, keys, at, n) },
		answer: func(key string) any { return value(call(key)) },
	}
}

// turn is not inlined, so that no call can be left out because nobody wants to
// know.
//
//go:noinline
func turn[T any](call func(key string) T, keys []string, at, n int) {
	for range n {
		call(keys[at])
		if at++; at == len(keys) {
			at = 0
		}
	}
}

// resolving makes an evaluator of a call that returns a whole resolution.
func resolving(call func(key string) flyball.Resolution) evaluator {
	e := evaluating(call, func(r flyball.Resolution) any { return r.Value })
	e.full = call
	return e
}

func same[T any](v T) any { return v }

// contestants are all who take part: the floor, then ours, then peers. They
// are done with when ctx ends.
func contestants(ctx context.Context, server, token string) ([]contestant, error) {
	all := []contestant{}
	for _, enter := range []func() ([]contestant, error){
		func() ([]contestant, error) { return []contestant{{Name: "floor", on: floor, whole: true}}, nil },
		func() ([]contestant, error) { return ours() },
		func() ([]contestant, error) { return ourProvider(ctx, server, token) },
		func() ([]contestant, error) { return inMemory(ctx) },
		func() ([]contestant, error) { return launchDarkly(ctx) },
		func() ([]contestant, error) { return unleash(ctx) },
		func() ([]contestant, error) { return growthBook(ctx) },
		func() ([]contestant, error) { return goFeatureFlag(ctx) },
	} {
		entered, err := enter()
		if err != nil {
			return nil, err
		}
		all = append(all, entered...)
	}
	return all, nil
}
