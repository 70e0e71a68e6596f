package store

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/chain"
)

// AppendAudit adds an entry to the audit log, for ever: the database itself
// refuses to change or delete it. It sets e.Seq, which rises by one without
// gaps, cuts e.At to the microsecond, in UTC, and sets the hashes that chain
// the entry to the one before. A version of an environment has exactly one
// entry; a second is a conflict.
func (tx *Tx) AppendAudit(e *flyball.AuditEntry) error {
	if e.Version > 0 {
		var seq int64
		taken, err := tx.one(`SELECT seq FROM audit WHERE environment = $1 AND version = $2 AND version > 0`, []any{e.Environment, e.Version}, &seq)
		if err != nil {
			return fmt.Errorf("append to the audit log: %w", err)
		}
		if taken {
			return flyball.Errorf(flyball.Conflict, "version %d of %q has an audit entry already", e.Version, e.Environment)
		}
	}
	before, err := tx.counter("audit", 1)
	if err != nil {
		return err
	}
	e.Seq, e.At = before+1, e.At.UTC().Truncate(time.Microsecond)
	if e.Prev, err = tx.auditHash(before); err != nil {
		return fmt.Errorf("append to the audit log: %w", err)
	}
	body, err := sealed(e)
	if err != nil {
		return fmt.Errorf("append to the audit log: %w", err)
	}
	_, err = tx.exec(`INSERT INTO audit (seq, at, environment, version, actor, subject, body, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		e.Seq, micros(e.At), e.Environment, e.Version, e.Actor.ID, e.Subject, body, e.Hash)
	if err == nil {
		err = tx.indexEdits(*e)
	}
	if err != nil {
		return fmt.Errorf("append to the audit log: %w", err)
	}
	return nil
}

// sealed returns the body of an entry, and sets the entry's hash over it.
func sealed(e *flyball.AuditEntry) (body string, err error) {
	e.Hash = ""
	if body, err = encode(e); err == nil {
		e.Hash = chain.Sum([]byte(body))
	}
	return body, err
}

// noHash stands for the hash of an entry that is not there any more. Nothing has
// it, so that the gap is found; what happens meanwhile, a kill perhaps, must not
// wait for that.
const noHash = "lost"

// auditHash returns the hash of an entry, and the genesis before the first.
func (tx *Tx) auditHash(seq int64) (hash string, err error) {
	if seq == 0 {
		installation, err := tx.Installation()
		return chain.Genesis(installation), err
	}
	found, err := tx.one(`SELECT hash FROM audit WHERE seq = $1`, []any{seq}, &hash)
	if err == nil && !found {
		hash = noHash
	}
	return hash, err
}

// indexEdits notes where nouns were edited.
func (tx *Tx) indexEdits(e flyball.AuditEntry) error {
	return inRuns(e.Edits, func(run []flyball.Edit) error {
		args := make([]any, 0, 4*len(run))
		for _, edit := range run {
			args = append(args, edit.Noun, edit.Environment, edit.Key, e.Seq)
		}
		_, err := tx.exec(`INSERT INTO audit_edit (noun, environment, key, seq) VALUES `+placeholders(len(run), 4)+` ON CONFLICT DO NOTHING`, args...)
		return err
	})
}

const installationSetting = "installation"

// Installation returns the id of the installation, to which its audit log
// belongs.
func (tx *Tx) Installation() (string, error) {
	id, found, err := tx.Setting(installationSetting)
	if err == nil && !found {
		err = errors.New("the installation has lost its id")
	}
	return id, err
}

// chainAudit names the installation, and chains the entries that were written
// before there was a chain. It is a part of a migration.
func chainAudit(tx *Tx) error {
	id := make([]byte, 16)
	rand.Read(id)
	if err := tx.PutSetting(installationSetting, hex.EncodeToString(id)); err != nil {
		return err
	}
	prev, err := tx.auditHash(0)
	if err != nil {
		return err
	}
	for seq := int64(0); ; {
		var body []byte
		found, err := tx.one(`SELECT seq, body FROM audit WHERE seq > $1 ORDER BY seq LIMIT 1`, []any{seq}, &seq, &body)
		if err != nil || !found {
			return err
		}
		var e flyball.AuditEntry
		if err := json.Unmarshal(body, &e); err != nil {
			return fmt.Errorf("entry %d of the audit log: %w", seq, err)
		}
		e.Prev = prev
		text, err := sealed(&e)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`UPDATE audit SET body = $1, hash = $2 WHERE seq = $3`, text, e.Hash, seq); err != nil {
			return err
		}
		if err := tx.indexEdits(e); err != nil {
			return err
		}
		prev = e.Hash
	}
}

// scanEntry reads the body and the hash of an entry.
func scanEntry(scan func(...any) error) (e flyball.AuditEntry, err error) {
	var body []byte
	var hash string
	if err := scan(&body, &hash); err != nil {
		return e, err
	}
	err = json.Unmarshal(body, &e)
	e.Hash = hash
	return e, err
}

// Versions returns the entries of an environment's versions after one, in their
// order.
func (tx *Tx) Versions(environment string, after int64) ([]flyball.AuditEntry, error) {
	all, err := list(tx, scanEntry,
		`SELECT body, hash FROM audit WHERE environment = $1 AND version > 0 AND version > $2 ORDER BY version`, environment, after)
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
	Action      string    // what was done, or a glob of it
	AfterSeq    int64     // only later entries
	BeforeSeq   int64     // only earlier entries, if not 0
	From, To    time.Time // only entries of this time on, and before that, if not zero
	Limit       int       // at most so many; DefaultAuditLimit if 0
	Bytes       int       // no further ones once these have so many; no bound if 0
	OldestFirst bool
}

// Size is how many bytes an entry has, about: what makes it large are the nouns that
// it keeps, before and after.
func Size(e flyball.AuditEntry) (n int) {
	for _, edit := range e.Edits {
		n += len(edit.Before) + len(edit.After)
	}
	return n + len(e.Evidence)
}

// DefaultAuditLimit is how many entries a filter without a limit selects.
const DefaultAuditLimit = 100

// Audit returns entries of the audit log, the latest first unless the filter
// says otherwise.
func (tx *Tx) Audit(which AuditFilter) ([]flyball.AuditEntry, error) {
	f := which.where()
	limit := which.Limit
	if limit <= 0 {
		limit = DefaultAuditLimit
	}
	end := ` ORDER BY seq DESC LIMIT ` + strconv.Itoa(limit)
	if which.OldestFirst {
		end = ` ORDER BY seq LIMIT ` + strconv.Itoa(limit)
	}
	where := f.String()
	if which.Action != "" {
		some, err := tx.ofActions(&f, which.Action, end)
		if err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		if some == "" {
			return nil, nil
		}
		where = ` WHERE seq IN (` + some + `)`
	}
	bytes := 0
	scan := func(scan func(...any) error) (e flyball.AuditEntry, err error) {
		if which.Bytes > 0 && bytes >= which.Bytes {
			return e, errEnough
		}
		e, err = scanEntry(scan)
		bytes += Size(e)
		return e, err
	}
	all, err := list(tx, scan, `SELECT body, hash FROM audit`+where+end, f.args...)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	return all, nil
}

// where is what the filter asks of an entry, save for its action.
func (which AuditFilter) where() (f filter) {
	f.and(`seq > $`, which.AfterSeq)
	if which.BeforeSeq != 0 {
		f.and(`seq < $`, which.BeforeSeq)
	}
	if !which.From.IsZero() {
		f.and(`at >= $`, micros(which.From))
	}
	if !which.To.IsZero() {
		f.and(`at < $`, micros(which.To))
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
	return f
}

// ofActions is a query for the entries of a filter whose action matches a glob.
// Of each action as many are read as are wanted and no more, by its index:
// however long the log, a rare action is found at once, and a frequent one is
// not sorted. It is empty if there is no such action.
func (tx *Tx) ofActions(f *filter, glob, end string) (string, error) {
	known, err := list(tx, func(scan func(...any) error) (action string, err error) { return action, scan(&action) },
		`WITH RECURSIVE known (action) AS (
			SELECT MIN(action) FROM audit
			UNION ALL SELECT (SELECT MIN(action) FROM audit WHERE action > known.action) FROM known WHERE known.action IS NOT NULL
		) SELECT action FROM known WHERE action IS NOT NULL`)
	if err != nil {
		return "", err
	}
	var some []string
	for i, action := range known {
		if matches, _ := path.Match(glob, action); matches {
			one := filter{where: f.where, args: f.args}
			one.and(`action = $`, action)
			f.args = one.args
			some = append(some, fmt.Sprintf(`SELECT seq FROM (SELECT seq FROM audit%s%s) AS a%d`, one.String(), end, i))
		}
	}
	return strings.Join(some, ` UNION ALL `), nil
}
