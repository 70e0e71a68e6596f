package service

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/flyballdev/flyball"
)

// audit appends the entry of one version, or, with no ruleset, of a change
// that made none.
func (e *edit) audit(environment string, r *rulesetEdit) error {
	entry := flyball.AuditEntry{
		At: e.at, Actor: e.principal.Actor, Action: e.change.action, Subject: e.change.subject,
		Reason: e.change.reason, Request: e.principal.Request,
	}
	for _, edit := range e.edits {
		if environment == "" || edit.Environment == "" || edit.Environment == environment {
			entry.Edits = append(entry.Edits, edit)
		}
	}
	if r != nil {
		entry.Environment, entry.Version = environment, r.after.id.Version
		entry.BeforeHash, entry.AfterHash = r.before.digest, r.after.digest
	} else if environments := e.environments(); len(environments) == 1 {
		entry.Environment = environments[0]
	}
	e.account(&entry)
	if e.change.evidence != nil {
		body, err := json.Marshal(e.change.evidence)
		if err != nil {
			return fmt.Errorf("encode evidence: %w", err)
		}
		entry.Evidence = body
	}
	if err := e.tx.AppendAudit(&entry); err != nil {
		return err
	}
	e.entry = entry.Seq
	return nil
}

// account notes in an audit entry what was known before the change was made,
// and who consented.
func (e *edit) account(entry *flyball.AuditEntry) {
	entry.BreakGlass = e.glass
	if e.planned != nil {
		entry.Risk = e.planned.Risk
		for _, v := range e.planned.Previews {
			if entry.Environment == "" || v.Environment == entry.Environment {
				entry.Previews = append(entry.Previews, compact(v))
			}
		}
	}
	if e.request != nil {
		entry.Change, entry.Approvals = e.request.ID, e.request.Approvals
	}
}

// environments names those that the edits are about.
func (e *edit) environments() []string {
	var names []string
	for _, edit := range e.edits {
		if edit.Environment != "" && !slices.Contains(names, edit.Environment) {
			names = append(names, edit.Environment)
		}
	}
	return names
}
