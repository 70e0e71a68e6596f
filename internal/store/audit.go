package store

import (
	"fmt"
	"strconv"
	"time"

	"github.com/flyballdev/flyball"
)

// AppendAudit adds an entry to the audit log, for ever: the database itself
// refuses to change or delete it. It sets e.Seq, which rises by one without
// gaps, and cuts e.At to the microsecond, in UTC. A version of an environment
// has exactly one entry; a second is a conflict.
func (tx *Tx) AppendAudit(e *flyball.AuditEntry) error {
	before, err := tx.counter("audit", 1)
	if err != nil {
		return err
	}
	e.Seq, e.At = before+1, e.At.UTC().Truncate(time.Microsecond)
	body, err := encode(e)
	if err != nil {
		return fmt.Errorf("append to the audit log: %w", err)
	}
	n, err := tx.exec(`INSERT INTO audit (seq, at, environment, version, actor, subject, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		e.Seq, micros(e.At), e.Environment, e.Version, e.Actor.ID, e.Subject, body)
	switch {
	case err != nil:
		return fmt.Errorf("append to the audit log: %w", err)
	case n == 1:
		return nil
	}
	if _, err := tx.counter("audit", -1); err != nil {
		return err
	}
	e.Seq = 0
	return flyball.Errorf(flyball.Conflict, "version %d of %q has an audit entry already", e.Version, e.Environment)
}

// Versions returns the entries of an environment's versions after one, in their
// order.
func (tx *Tx) Versions(environment string, after int64) ([]flyball.AuditEntry, error) {
	all, err := list(tx, scanBody[flyball.AuditEntry],
		`SELECT body FROM audit WHERE environment = $1 AND version > 0 AND version > $2 ORDER BY version`, environment, after)
	if err != nil {
		return nil, fmt.Errorf("read the versions of %q: %w", environment, err)
	}
	return all, nil
}

// An AuditFilter selects entries of the audit log; its zero value selects the
// latest [DefaultAuditLimit].
type AuditFilter struct {
	Environment string
	Subject     string
	Actor       flyball.ActorID
	AfterSeq    int64 // only later entries
	BeforeSeq   int64 // only earlier entries, if not 0
	Limit       int   // at most so many; DefaultAuditLimit if 0
	OldestFirst bool
}

// DefaultAuditLimit is how many entries a filter without a limit selects.
const DefaultAuditLimit = 100

// Audit returns entries of the audit log, the latest first unless the filter
// says otherwise.
func (tx *Tx) Audit(which AuditFilter) ([]flyball.AuditEntry, error) {
	var f filter
	f.and(`seq > $`, which.AfterSeq)
	if which.BeforeSeq != 0 {
		f.and(`seq < $`, which.BeforeSeq)
	}
	if which.Environment != "" {
		f.and(`environment = $`, which.Environment)
	}
	if which.Subject != "" {
		f.and(`subject = $`, which.Subject)
	}
	if which.Actor != "" {
		f.and(`actor = $`, which.Actor)
	}
	order := ` ORDER BY seq DESC`
	if which.OldestFirst {
		order = ` ORDER BY seq`
	}
	limit := which.Limit
	if limit <= 0 {
		limit = DefaultAuditLimit
	}
	all, err := list(tx, scanBody[flyball.AuditEntry],
		`SELECT body FROM audit`+f.String()+order+` LIMIT `+strconv.Itoa(limit), f.args...)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	return all, nil
}
