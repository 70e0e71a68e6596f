package store

import (
	"encoding/json"
	"fmt"
	"strconv"

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
	if _, err := tx.exec(`INSERT INTO change_request (id, open, created_at, revision, body) VALUES ($1, $2, $3, 1, $4)`,
		r.ID, undecided(r.State), micros(r.CreatedAt), body); err != nil {
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
	n, err := tx.exec(`UPDATE change_request SET body = $1, open = $2, revision = revision + 1 WHERE id = $3 AND revision = $4`,
		body, undecided(r.State), r.ID, r.Revision)
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

// ChangeRequests returns requests for approval, the latest first: those that
// are open, or the latest of all.
func (tx *Tx) ChangeRequests(open bool, limit int) ([]RequestRecord, error) {
	var f filter
	if open {
		f.and(`open = $`, true)
	}
	all, err := list(tx, scanRequest, `SELECT body, revision FROM change_request`+f.String()+
		` ORDER BY created_at DESC, id LIMIT `+strconv.Itoa(limit), f.args...)
	if err != nil {
		return nil, fmt.Errorf("list changes: %w", err)
	}
	return all, nil
}

// undecided says that somebody must still look at a request.
func undecided(s flyball.RequestState) bool {
	return s == flyball.RequestOpen || s == flyball.RequestReview
}
