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

// mannerOf reads the manner of a change from the query of its request.
func mannerOf(r *http.Request, o Operation) (*service.Manner, error) {
	m := &service.Manner{}
	if !o.Changes() || r.URL.RawQuery == "" {
		return m, nil
	}
	query := r.URL.Query()
	asked := 0
	for name, into := range map[string]func(){
		manDryRun:     func() { m.DryRun = true },
		manPropose:    func() { m.Propose = &service.Proposal{Operation: o.Name} },
		manBreakGlass: func() { m.BreakGlass = true },
	} {
		if !query.Has(name) {
			continue
		}
		if len(query[name]) > 1 {
			return nil, flyball.FieldErrorf(name, "stands twice in the query: say it once")
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
	for _, o := range operations {
		if o.Name != request.Operation {
			continue
		}
		if err := service.Allow(new(service.PrincipalOf(r.Context())), o.Access); err != nil {
			writeProblem(w, r, err)
			return
		}
		o.run(s.service, w, r, &service.Manner{Request: request.ID}, func(_ context.Context, into any) error {
			return json.NewDecoder(bytes.NewReader(request.Input)).Decode(into)
		})
		return
	}
	writeProblem(w, r, flyball.Errorf(flyball.Conflict, "change %s is of the capability %q, which this server does not have: propose it again", request.ID, request.Operation))
}

// manners are the parameters of a changing operation in the OpenAPI document.
func manners() []*huma.Param {
	var params []*huma.Param
	for _, m := range Manners() {
		params = append(params, &huma.Param{Name: m.Name, In: "query", Description: m.About, Schema: &huma.Schema{Type: huma.TypeBoolean}})
	}
	return params
}
