package api

import (
	"bytes"
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

// notes keeps the input of what is proposed or planned, as it will be run again.
func notes(m *service.Manner, fields map[string]any) error {
	input, err := json.Marshal(fields)
	noteInput(m, input)
	return err
}

func noteInput(m *service.Manner, input json.RawMessage) {
	for _, what := range []*service.Proposal{m.Propose, m.Keep} {
		if what != nil {
			what.Input = input
		}
	}
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
	again := &service.Proposal{Operation: o.Name, Secret: o.Secret}
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
			m.DryRun, m.Keep = true, again
		case name == manPropose:
			m.Propose = again
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

// approved is what a request to make a change that was approved runs.
func (s *Server) approved(r *http.Request) (service.Proposal, *service.Manner, error) {
	request, err := s.service.Change(r.Context(), service.ChangeID{ID: r.PathValue("id")})
	if err != nil {
		return service.Proposal{}, nil, err
	}
	dry, err := dryRunOf(r)
	if err != nil {
		return service.Proposal{}, nil, err
	}
	input, err := s.service.InputOf(request)
	return service.Proposal{Operation: request.Operation, Input: input}, &service.Manner{Request: request.ID, DryRun: dry}, err
}

// dryRunOf says whether a request to apply what was approved is only to find out
// whether it can be.
func dryRunOf(r *http.Request) (bool, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return false, flyball.Errorf(flyball.Invalid, "the query is malformed: %v", err)
	}
	for name, values := range query {
		switch yes, err := strconv.ParseBool(query.Get(name)); {
		case name != manDryRun:
			return false, flyball.FieldErrorf(strings.ToValidUTF8(name, "\uFFFD"), "is not known in the query, which takes dryRun here")
		case err != nil || len(values) > 1:
			return false, flyball.FieldErrorf(name, "%q is neither true nor false", values)
		default:
			return yes, nil
		}
	}
	return false, nil
}

// planned is what a request to make, or to propose, a change that was planned
// runs, if it is still exactly that one.
func (s *Server) planned(r *http.Request) (service.Proposal, *service.Manner, error) {
	what, err := s.service.PlannedChange(r.Context(), r.PathValue("digest"))
	if err != nil {
		return what, nil, err
	}
	o, err := row(what.Operation)
	if err != nil {
		return what, nil, err
	}
	m, err := mannerOf(r, o)
	if err != nil {
		return what, nil, err
	}
	m.Digest = r.PathValue("digest")
	noteInput(m, what.Input)
	return what, m, nil
}

// row returns the row of a capability that was kept by its name.
func row(name string) (Operation, error) {
	for _, o := range operations {
		if o.Name == name {
			return o, nil
		}
	}
	return Operation{}, flyball.Errorf(flyball.Conflict, "this server does not have the capability %q: propose it again", name)
}

// runAgain answers requests to run a capability with an input that was kept.
func (s *Server) runAgain(kept func(*http.Request) (service.Proposal, *service.Manner, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := readBody(w, r, limitBody)
		if err != nil {
			writeProblem(w, r, err)
			return
		}
		said, err := saidIn(body)
		if err != nil {
			writeProblem(w, r, err)
			return
		}
		what, m, err := kept(r)
		if err == nil && said != "" && m.Request == "" {
			err = flyball.FieldErrorf("reason", "was given when it was planned: leave it out")
		}
		if err != nil {
			writeProblem(w, r, err)
			return
		}
		m.Said = said
		o, err := row(what.Operation)
		if err == nil {
			err = service.Allow(new(service.PrincipalOf(r.Context())), o.Access)
		}
		if err != nil {
			writeProblem(w, r, err)
			return
		}
		o.run(s.service, w, r, m, func(_ context.Context, into any) error { return json.Unmarshal(what.Input, into) })
	}
}

// saidIn reads what whoever applies something says to that, if anything. All else
// was kept: whoever sends it, such as dryRun, is to hear that it does not count.
func saidIn(body []byte) (reason string, err error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return "", nil
	}
	if err := once(body); err != nil {
		return "", err
	}
	var fields map[string]any
	if err := decodeObject(body, &fields); err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		text, isText := fields[name].(string)
		switch {
		case name != "reason":
			return "", flyball.FieldErrorf(name, "is not known here: what is applied was kept when it was proposed or planned; dryRun stands in the query")
		case !isText || len(text) > flyball.MaxTextLen || strings.ContainsRune(text, 0):
			return "", flyball.FieldErrorf(name, "is text of at most %d bytes, without zero bytes", flyball.MaxTextLen)
		}
		reason = text
	}
	return reason, nil
}

// manners are the parameters of an operation in the OpenAPI document that say in
// which manner it is used.
func (o Operation) manners() (params []*huma.Param) {
	if !o.Changes() {
		return nil
	}
	for _, m := range o.Manners() {
		params = append(params, &huma.Param{Name: m.Name, In: "query", Description: m.About, Schema: &huma.Schema{Type: huma.TypeBoolean}})
	}
	return append(params, &huma.Param{Name: PreviewBy.Name, In: "query", Description: PreviewBy.About, Schema: &huma.Schema{Type: huma.TypeString}})
}

const (
	applyPath     = "/api/v1/changes/{id}/apply"
	applyPlanPath = "/api/v1/plans/{digest}/apply"
)

// applyEntries are the parts of the OpenAPI document that are about running again
// what was kept. They are no rows: what each takes and answers is that of the
// capability that was proposed or planned.
func applyEntries() []*huma.Operation {
	entry := func(id, path, tag, summary, about, name, names string) *huma.Operation {
		e := &huma.Operation{
			OperationID: id, Method: http.MethodPost, Path: path, Tags: []string{tag}, Summary: summary, Description: "On the command line: `flyball change apply " + about + "`",
			Parameters: []*huma.Param{{Name: name, In: "path", Required: true, Description: names, Schema: &huma.Schema{Type: huma.TypeString}}},
			Responses:  map[string]*huma.Response{"200": jsonResponse("Done", "application/json", &huma.Schema{Type: huma.TypeObject})},
		}
		addProblems(e)
		return e
	}
	change := entry("apply_change", applyPath, "changes", "Make a change that was approved; it answers as the capability that was proposed.", "0f3a9c12d4e5", "id", "the change's id")
	change.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{"reason": {Type: huma.TypeString, Description: "what you say to it, if anything; why it is made was said when it was proposed"}},
	}}}}
	change.Parameters = append(change.Parameters, &huma.Param{Name: manDryRun, In: "query", Description: "apply nothing; tell the plan, if it can be applied", Schema: &huma.Schema{Type: huma.TypeBoolean}})
	plan := entry("apply_plan", applyPlanPath, "plans", "Make a change that was planned in the last hour, if it is still exactly that one; it answers as the capability that was planned.", "DIGEST", "digest", "the plan's digest")
	if o, err := row("configure_flag"); err == nil { // as any other change
		plan.Parameters = append(plan.Parameters, o.manners()...)
	}
	return []*huma.Operation{change, plan}
}
