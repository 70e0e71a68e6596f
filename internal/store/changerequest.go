package store

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/flyballdev/flyball"
)

// A RequestRecord is a request for approval and how often it was changed.
type RequestRecord struct {
	flyball.ChangeRequest
	Revision int64 `json:"-"`
}

func scanRequest(scan func(...any) error) (r RequestRecord, err error) {
	var body []byte
	if err := scan(&body, &r.Revision); err != nil {
		return r, err
	}
	return r, json.Unmarshal(body, &r.ChangeRequest)
}

// InsertChangeRequest adds a request for approval.
func (tx *Tx) InsertChangeRequest(r flyball.ChangeRequest) error {
	body, err := encode(r)
	if err != nil {
		return fmt.Errorf("insert change %q: %w", r.ID, err)
	}
	if _, err := tx.exec(`INSERT INTO change_request (id, state, proposer, created_at, expires_at, revision, body) VALUES ($1, $2, $3, $4, $5, 1, $6)`,
		r.ID, string(r.State), string(r.Proposer.ID), micros(r.CreatedAt), micros(r.ExpiresAt), body); err != nil {
		return fmt.Errorf("insert change %q: %w", r.ID, err)
	}
	return nil
}

// UpdateChangeRequest changes a request that is still at r.Revision: so an
// approval is never lost, and a request is applied once.
func (tx *Tx) UpdateChangeRequest(r RequestRecord) error {
	body, err := encode(r.ChangeRequest)
	if err != nil {
		return fmt.Errorf("update change %q: %w", r.ID, err)
	}
	n, err := tx.exec(`UPDATE change_request SET body = $1, state = $2, expires_at = $3, revision = revision + 1 WHERE id = $4 AND revision = $5`,
		body, string(r.State), micros(r.ExpiresAt), r.ID, r.Revision)
	if err != nil {
		return fmt.Errorf("update change %q: %w", r.ID, err)
	}
	if n == 1 {
		return nil
	}
	current, err := tx.ChangeRequest(r.ID)
	if err != nil {
		return err
	}
	return stale("change", r.ID, r.Revision, current.Revision)
}

// ChangeRequest returns one request for approval.
func (tx *Tx) ChangeRequest(id string) (RequestRecord, error) {
	found, err := list(tx, scanRequest, `SELECT body, revision FROM change_request WHERE id = $1`, id)
	switch {
	case err != nil:
		return RequestRecord{}, fmt.Errorf("read change %q: %w", id, err)
	case len(found) == 0:
		return RequestRecord{}, notFound("change", id)
	}
	return found[0], nil
}

// scanBriefly leaves out what can be large, row by row.
func scanBriefly(scan func(...any) error) (RequestRecord, error) {
	r, err := scanRequest(scan)
	r.Input, r.Plan.Edits, r.Plan.Previews = nil, []flyball.Edit{}, nil
	return r, err
}

// ChangeRequests returns requests for approval, without their input, edits and
// previews: first those that must be
// reviewed, then the latest; all of them, or those that somebody must still look
// at. If before is not empty, only those that come after it in the list.
func (tx *Tx) ChangeRequests(open bool, now time.Time, before string, limit int) ([]RequestRecord, error) {
	const place = `CASE WHEN state = 'review' THEN 0 ELSE 1 END, -created_at, id`
	const query = `SELECT body, revision FROM change_request WHERE (state = 'review' OR $1 OR state = 'open' AND expires_at > $2)
		AND ($3 = '' OR (` + place + `) > (SELECT ` + place + ` FROM change_request WHERE id = $3)) ORDER BY ` + place + ` LIMIT $4`
	all, err := list(tx, scanBriefly, query, !open, micros(now), before, limit)
	if err != nil {
		return nil, fmt.Errorf("list changes: %w", err)
	}
	return all, nil
}

// CountOpen counts the open requests of one proposer, and their bytes.
func (tx *Tx) CountOpen(proposer flyball.ActorID, now time.Time) (n int, bytes int64, err error) {
	if _, err = tx.one(`SELECT count(*), coalesce(sum(length(body)), 0) FROM change_request WHERE state = 'open' AND proposer = $1 AND expires_at > $2`,
		[]any{string(proposer), micros(now)}, &n, &bytes); err != nil {
		return 0, 0, fmt.Errorf("count open changes: %w", err)
	}
	return n, bytes, nil
}
