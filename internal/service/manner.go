package service

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/flyballdev/flyball"
)

// A Manner is how the changes of one request are to be made. Every capability
// takes one, since it goes with the context and is obeyed at the one door.
type Manner struct {
	DryRun     bool      // find everything out, change nothing
	Propose    *Proposal // ask others to approve
	BreakGlass bool      // do it though others ought to approve
	Request    string    // the id of the request for approval that is applied
	Said       string    // by whoever applies it
	PreviewBy  string    // the attribute by which the preview is divided; "" is none
	Digest     string    // of the one change that may be made; empty is any
	Keep       *Proposal // of a dry run: keep what was planned, to be made by its digest

	mu      sync.Mutex
	plan    *flyball.Plan
	request *flyball.ChangeRequest
}

// A Proposal is the capability that is proposed, and its input: what will be
// run when it is applied.
type Proposal struct {
	Operation string
	Input     json.RawMessage
	Secret    bool // the input holds secrets
}

type mannerKey struct{}

// WithManner returns ctx such that changes under it are made in a manner.
func WithManner(ctx context.Context, m *Manner) context.Context {
	return context.WithValue(ctx, mannerKey{}, m)
}

// usual is how changes are made of which nothing was said.
var usual = &Manner{}

func mannerOf(ctx context.Context) *Manner {
	if m, ok := ctx.Value(mannerKey{}).(*Manner); ok {
		return m
	}
	return usual
}

// Plans says whether nothing is to be changed.
func (m *Manner) Plans() bool { return m.DryRun || m.Propose != nil }

// Plan returns what the change would do; nil if none was planned.
func (m *Manner) Plan() *flyball.Plan {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.plan
}

func (m *Manner) planned(p *flyball.Plan) {
	if m == usual {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.plan = p
}

// Proposed returns the request that was made, for approval or, if the glass was
// broken, for review; nil if none was.
func (m *Manner) Proposed() *flyball.ChangeRequest {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.request
}

func (m *Manner) requested(r *flyball.ChangeRequest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.request = r
}
