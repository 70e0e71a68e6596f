package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// The manners in which changes can be made, as parameters of their queries.
const (
	manDryRun     = "dryRun"
	manPropose    = "propose"
	manBreakGlass = "breakGlass"
	manPreviewBy  = "previewBy"
)

// PreviewBy is the attribute by which a plan's preview is divided. It goes with
// dryRun and propose.
var PreviewBy = Manner{manPreviewBy, "with dryRun or propose: divide who gets something else by an attribute of their contexts, such as country"}

// A Manner is one of the ways in which a change can be made.
type Manner struct{ Name, About string }

// Manners are the ways in which a capability can be used, beside simply: none, if
// it changes nothing. A decision is not proposed, and breaks no glass.
func (o Operation) Manners() []Manner {
	all := []Manner{
		{manDryRun, "change nothing; tell the plan: the difference, who gets something else, and who must approve"},
		{manPropose, "change nothing; ask those who must approve"},
		{manBreakGlass, "make the change although others ought to approve it; somebody else must review it afterwards"},
	}
	switch {
	case !o.Changes():
		return nil
	case o.Access == service.Approve:
		return all[:1]
	}
	return all
}

// mannerOf reads the manner of a change from the query of its request. A word in
// the query that is not known is refused, lest a misspelt dryRun changes
// something.
func mannerOf(r *http.Request, o Operation) (*service.Manner, error) {
	m := &service.Manner{}
	if r.URL.RawQuery == "" || !o.HasBody() {
		return m, nil // the query holds the input, which is checked as such
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, flyball.Errorf(flyball.Invalid, "the query is malformed: %v", err)
	}
	asked := 0
	for _, name := range slices.Sorted(maps.Keys(query)) {
		yes, err := strconv.ParseBool(query.Get(name))
		switch {
		case name == manPreviewBy && o.Changes() && len(query[name]) == 1:
			continue // looked at below
		case !slices.ContainsFunc(o.Manners(), func(m Manner) bool { return m.Name == name }):
			return nil, flyball.FieldErrorf(strings.ToValidUTF8(name, "\uFFFD"), "is not known in the query; a change takes dryRun, propose, breakGlass or previewBy there, and a decision dryRun")
		case err != nil || len(query[name]) > 1:
			return nil, flyball.FieldErrorf(name, "%q is neither true nor false", query[name])
		case !yes:
			continue
		case name == manDryRun:
			m.DryRun = true
		case name == manPropose:
			m.Propose = &service.Proposal{Operation: o.Name, Secret: o.Secret}
		case name == manBreakGlass:
			m.BreakGlass = true
		}
		asked++
	}
	if asked > 1 {
		return nil, flyball.FieldErrorf(manDryRun, "choose one of dryRun, propose and breakGlass")
	}
	if m.PreviewBy = query.Get(manPreviewBy); m.PreviewBy != "" {
		switch {
		case !m.Plans():
			return nil, flyball.FieldErrorf(manPreviewBy, "goes with dryRun or propose")
		case len(m.PreviewBy) > flyball.MaxSampledName || !utf8.ValidString(m.PreviewBy) || m.PreviewBy == flyball.AttributeTargetingKey:
			return nil, flyball.FieldErrorf(manPreviewBy, "is the name of an attribute, other than the targeting key, of at most %d bytes", flyball.MaxSampledName)
		}
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
			input, err := s.service.InputOf(request)
			if err != nil {
				return err
			}
			return json.Unmarshal(input, into)
		})
		return
	}
	writeProblem(w, r, flyball.Errorf(flyball.Conflict, "change %s is of the capability %q, which this server does not have: propose it again", request.ID, request.Operation))
}

// manners are the parameters of an operation in the OpenAPI document that say in
// which manner it is used.
func (o Operation) manners() (params []*huma.Param) {
	for _, m := range o.Manners() {
		params = append(params, &huma.Param{Name: m.Name, In: "query", Description: m.About, Schema: &huma.Schema{Type: huma.TypeBoolean}})
	}
	return append(params, &huma.Param{Name: PreviewBy.Name, In: "query", Description: PreviewBy.About, Schema: &huma.Schema{Type: huma.TypeString}})
}

const applyPath = "/api/v1/changes/{id}/apply"

// applyEntry is the part of [Server.applyChange] of the OpenAPI document. It is no
// row: what it takes and answers is that of the capability that was proposed.
func applyEntry() *huma.Operation {
	e := &huma.Operation{
		OperationID: "apply_change", Method: http.MethodPost, Path: applyPath, Tags: []string{"changes"},
		Summary:     "Make a change that was approved; it answers as the capability that was proposed.",
		Description: "On the command line: `flyball change apply 0f3a9c12d4e5`",
		Parameters:  []*huma.Param{{Name: "id", In: "path", Required: true, Description: "the change's id", Schema: &huma.Schema{Type: huma.TypeString}}},
		Responses:   map[string]*huma.Response{"200": jsonResponse("Done", "application/json", &huma.Schema{Type: huma.TypeObject})},
	}
	addProblems(e)
	return e
}
