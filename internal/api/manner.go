package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// The manners in which every change can be made, as parameters of its query.
const (
	manDryRun     = "dryRun"
	manPropose    = "propose"
	manBreakGlass = "breakGlass"
)

// A Manner is one of the ways in which every change can be made.
type Manner struct{ Name, About string }

// Manners are the ways in which every change can be made, beside simply.
func Manners() []Manner {
	return []Manner{
		{manDryRun, "change nothing; tell the plan: the difference, who gets something else, and who must approve"},
		{manPropose, "change nothing; ask those who must approve"},
		{manBreakGlass, "make the change although others ought to approve it; somebody else must review it afterwards"},
	}
}

// notes keeps the input of what is proposed or planned, as it will be run again.
func notes(m *service.Manner, fields map[string]any) (err error) {
	for _, what := range []*service.Proposal{m.Propose, m.Keep} {
		if what != nil && what.Input == nil {
			if what.Input, err = json.Marshal(fields); err != nil {
				return err
			}
		}
	}
	return nil
}

// mannerOf reads the manner of a change from the query of its request.
func mannerOf(r *http.Request, o Operation) (*service.Manner, error) {
	if !o.Changes() {
		return &service.Manner{}, nil
	}
	return mannerIn(r, o.Name)
}

// mannerIn reads the manner in which a changing capability is to be used.
func mannerIn(r *http.Request, operation string) (*service.Manner, error) {
	m := &service.Manner{}
	if r.URL.RawQuery == "" {
		return m, nil
	}
	query := r.URL.Query()
	asked := 0
	for name, into := range map[string]func(){
		manDryRun:     func() { m.DryRun, m.Keep = true, &service.Proposal{Operation: operation} },
		manPropose:    func() { m.Propose = &service.Proposal{Operation: operation} },
		manBreakGlass: func() { m.BreakGlass = true },
	} {
		if !query.Has(name) {
			continue
		}
		yes, err := strconv.ParseBool(query.Get(name))
		if err != nil {
			return nil, flyball.FieldErrorf(name, "%q is neither true nor false", query.Get(name))
		}
		if yes {
			asked++
			into()
		}
	}
	if asked > 1 {
		return nil, flyball.FieldErrorf(manDryRun, "choose one of dryRun, propose and breakGlass")
	}
	return m, nil
}

// answered is what a change answers that was made in a manner: its plan, or the
// request for approval, if nothing was to be changed.
func answered(m *service.Manner, out any, err error) (any, error) {
	switch {
	case m.Propose != nil:
		if r := m.Proposed(); r != nil {
			return r, nil
		}
	case m.DryRun:
		if p := m.Plan(); p != nil {
			return p, nil
		}
	}
	if err == nil && m.Plans() { // nothing differs, and so there is nothing to plan
		return flyball.Plan{Risk: flyball.RiskNone, Edits: []flyball.Edit{}, Difference: []string{}, Why: []string{}}, nil
	}
	return out, err
}

// applyChange makes a change that was approved: it runs the capability again
// with the input that was proposed.
func (s *Server) applyChange(w http.ResponseWriter, r *http.Request) {
	if _, err := readBody(w, r, limitBody); err != nil {
		writeProblem(w, r, err)
		return
	}
	request, err := s.service.Change(r.Context(), service.ChangeID{ID: r.PathValue("id")})
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	s.runAgain(w, r, service.Proposal{Operation: request.Operation, Input: request.Input}, &service.Manner{Request: request.ID})
}

// applyPlan makes a change that was planned, if it is still exactly that one, or
// proposes it.
func (s *Server) applyPlan(w http.ResponseWriter, r *http.Request) {
	if _, err := readBody(w, r, limitBody); err != nil {
		writeProblem(w, r, err)
		return
	}
	digest := r.PathValue("digest")
	planned, err := s.service.PlannedChange(r.Context(), digest)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	m, err := mannerIn(r, planned.Operation)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	m.Digest = digest
	if m.Propose != nil {
		m.Propose.Input = planned.Input
	}
	s.runAgain(w, r, planned, m)
}

// runAgain runs a capability with an input that was kept.
func (s *Server) runAgain(w http.ResponseWriter, r *http.Request, what service.Proposal, m *service.Manner) {
	for _, o := range operations {
		if o.Name != what.Operation {
			continue
		}
		if err := service.Allow(new(service.PrincipalOf(r.Context())), o.Access); err != nil {
			writeProblem(w, r, err)
			return
		}
		o.run(s.service, w, r, m, func(_ context.Context, into any) error {
			return json.NewDecoder(bytes.NewReader(what.Input)).Decode(into)
		})
		return
	}
	writeProblem(w, r, flyball.Errorf(flyball.Conflict, "this server does not have the capability %q: propose it again", what.Operation))
}

// manners are the parameters of a changing operation in the OpenAPI document.
func manners() []*huma.Param {
	var params []*huma.Param
	for _, m := range Manners() {
		params = append(params, &huma.Param{Name: m.Name, In: "query", Description: m.About, Schema: &huma.Schema{Type: huma.TypeBoolean}})
	}
	return params
}
