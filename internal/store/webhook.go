package store

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/flyballdev/flyball"
)

// A WebhookRecord is a webhook as the database has it.
type WebhookRecord struct {
	flyball.Webhook
	Host     string // of its URL, for people to see
	Signed   bool   // whether it has a secret
	Aimed    int64  // the revision at which its target was written
	Revision int64
	Target   []byte // sealed
	WebhookHealth
}

// WebhookHealth is how a webhook fares: failures in a row, and until when it
// is left alone because of them. It is no part of the webhook's revision.
type WebhookHealth struct {
	Failures int
	Rest     time.Time // zero if it is not
}

// webhookBody is what of a record stands in its body.
type webhookBody struct {
	flyball.Webhook
	Host   string `json:"host"`
	Signed bool   `json:"signed"`
	Aimed  int64  `json:"aimed"`
}

func scanWebhook(scan func(...any) error) (w WebhookRecord, err error) {
	var body []byte
	var rest int64
	if err := scan(&body, &w.Target, &w.Revision, &w.Failures, &rest); err != nil {
		return w, err
	}
	if rest > 0 {
		w.Rest = fromMicros(rest)
	}
	var b webhookBody
	err = json.Unmarshal(body, &b)
	w.Webhook, w.Host, w.Signed, w.Aimed = b.Webhook, b.Host, b.Signed, b.Aimed
	return w, err
}

// Webhooks returns all webhooks, by key.
func (tx *Tx) Webhooks() ([]WebhookRecord, error) {
	all, err := list(tx, scanWebhook, `SELECT body, target, revision, failures, rest FROM webhook ORDER BY key`)
	if err != nil {
		return nil, fmt.Errorf("list webhooks: %w", err)
	}
	return all, nil
}

// Webhook returns one webhook.
func (tx *Tx) Webhook(key string) (WebhookRecord, error) {
	found, err := list(tx, scanWebhook, `SELECT body, target, revision, failures, rest FROM webhook WHERE key = $1`, key)
	switch {
	case err != nil:
		return WebhookRecord{}, fmt.Errorf("read webhook %q: %w", key, err)
	case len(found) == 0:
		return WebhookRecord{}, notFound("webhook", key)
	}
	return found[0], nil
}

// PutWebhook changes a webhook that is still at a revision, or adds one that
// must not exist if that is 0.
func (tx *Tx) PutWebhook(w WebhookRecord) error {
	body, err := encode(webhookBody{Webhook: w.Webhook, Host: w.Host, Signed: w.Signed, Aimed: w.Aimed})
	if err != nil {
		return fmt.Errorf("put webhook %q: %w", w.Key, err)
	}
	query, args := `UPDATE webhook SET body = $1, target = $2, revision = revision + 1 WHERE key = $3 AND revision = $4`, []any{body, w.Target, w.Key, w.Revision}
	if w.Revision == 0 {
		query, args = `INSERT INTO webhook (body, target, key, revision) VALUES ($1, $2, $3, 1) ON CONFLICT DO NOTHING`, args[:3]
	}
	n, err := tx.exec(query, args...)
	if err != nil {
		return fmt.Errorf("put webhook %q: %w", w.Key, err)
	}
	if n == 1 {
		return nil
	}
	current, err := tx.Webhook(w.Key)
	if err != nil {
		return err
	}
	return stale("webhook", w.Key, w.Revision, current.Revision)
}

// DeleteWebhook takes a webhook away, with its deliveries.
func (tx *Tx) DeleteWebhook(key string) error {
	n, err := tx.exec(`DELETE FROM webhook WHERE key = $1`, key)
	switch {
	case err != nil:
		return fmt.Errorf("delete webhook %q: %w", key, err)
	case n == 0:
		return notFound("webhook", key)
	}
	return nil
}

// PutWebhookHealth keeps how a webhook fares.
func (tx *Tx) PutWebhookHealth(key string, h WebhookHealth) error {
	var rest int64
	if !h.Rest.IsZero() {
		rest = micros(h.Rest)
	}
	if _, err := tx.exec(`UPDATE webhook SET failures = $1, rest = $2 WHERE key = $3`, h.Failures, rest, key); err != nil {
		return fmt.Errorf("keep how webhook %q fares: %w", key, err)
	}
	return nil
}

// DueWebhooks returns the keys of webhooks that are to be told something now.
func (tx *Tx) DueWebhooks(now time.Time) ([]string, error) {
	all, err := list(tx, func(scan func(...any) error) (key string, err error) { return key, scan(&key) },
		`SELECT DISTINCT d.webhook FROM delivery d JOIN webhook w ON w.key = d.webhook
		WHERE d.state = 'pending' AND d.due <= $1 AND w.rest <= $1 ORDER BY d.webhook`, micros(now))
	if err != nil {
		return nil, fmt.Errorf("list the webhooks that are due: %w", err)
	}
	return all, nil
}

const deliveryColumns = `webhook, seq, state, attempts, due, status, error, queued, at`

func scanDelivery(scan func(...any) error) (d flyball.Delivery, err error) {
	var due, queued, at int64
	err = scan(&d.Webhook, &d.Seq, &d.State, &d.Attempts, &due, &d.Status, &d.Error, &queued, &at)
	d.Queued, d.At = fromMicros(queued), fromMicros(at)
	if d.State == flyball.DeliveryPending {
		d.Due = &flyball.Time{Time: fromMicros(due)}
	}
	return d, err
}

// QueueDelivery adds a delivery that is due now, unless it is there already.
func (tx *Tx) QueueDelivery(webhook string, seq int64, now time.Time) error {
	_, err := tx.exec(`INSERT INTO delivery (webhook, seq, state, attempts, due, status, error, queued, at)
		VALUES ($1, $2, $3, 0, $4, 0, '', $4, $4) ON CONFLICT DO NOTHING`, webhook, seq, flyball.DeliveryPending, micros(now))
	if err != nil {
		return fmt.Errorf("queue entry %d for webhook %q: %w", seq, webhook, err)
	}
	return nil
}

// PutDelivery keeps how far a delivery has come. One that was deleted
// meanwhile, with its webhook, stays so.
func (tx *Tx) PutDelivery(d flyball.Delivery) error {
	var due int64
	if d.Due != nil {
		due = micros(d.Due.Time)
	}
	_, err := tx.exec(`UPDATE delivery SET state = $1, attempts = $2, due = $3, status = $4, error = $5, at = $6, queued = $7 WHERE webhook = $8 AND seq = $9`,
		d.State, d.Attempts, due, d.Status, plain(d.Error), micros(d.At), micros(d.Queued), d.Webhook, d.Seq)
	if err != nil {
		return fmt.Errorf("keep the delivery of entry %d to webhook %q: %w", d.Seq, d.Webhook, err)
	}
	return nil
}

// A DeliveryFilter selects deliveries; its zero value selects all.
type DeliveryFilter struct {
	Webhook     string
	Seq         int64
	State       flyball.DeliveryState
	DueBy       time.Time // only those that are due then
	Limit       int       // at most so many; all if 0
	OldestFirst bool
}

// Deliveries returns deliveries, those of the latest entries first unless the
// filter says otherwise.
func (tx *Tx) Deliveries(which DeliveryFilter) ([]flyball.Delivery, error) {
	var f filter
	if which.Webhook != "" {
		f.and(`webhook = $`, which.Webhook)
	}
	if which.Seq != 0 {
		f.and(`seq = $`, which.Seq)
	}
	if which.State != "" {
		f.and(`state = $`, which.State)
	}
	if !which.DueBy.IsZero() {
		f.and(`due <= $`, micros(which.DueBy))
	}
	query := `SELECT ` + deliveryColumns + ` FROM delivery` + f.String() + ` ORDER BY seq DESC, webhook`
	if which.OldestFirst {
		query = `SELECT ` + deliveryColumns + ` FROM delivery` + f.String() + ` ORDER BY seq, webhook`
	}
	if which.Limit > 0 {
		query += ` LIMIT ` + strconv.Itoa(which.Limit)
	}
	all, err := list(tx, scanDelivery, query, f.args...)
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	return all, nil
}

// A DeliveryCount is how many deliveries of a webhook are in a state.
type DeliveryCount struct {
	Webhook string
	State   flyball.DeliveryState
	N       int64
}

// CountDeliveries counts deliveries by webhook and state.
func (tx *Tx) CountDeliveries() ([]DeliveryCount, error) {
	all, err := list(tx, func(scan func(...any) error) (c DeliveryCount, err error) {
		return c, scan(&c.Webhook, &c.State, &c.N)
	}, `SELECT webhook, state, COUNT(*) FROM delivery GROUP BY webhook, state ORDER BY webhook, state`)
	if err != nil {
		return nil, fmt.Errorf("count deliveries: %w", err)
	}
	return all, nil
}

// ForgetDeliveries deletes deliveries of a state that changed last before a
// time, and of each webhook all but the latest so many.
func (tx *Tx) ForgetDeliveries(webhook string, state flyball.DeliveryState, before time.Time, keep int) error {
	_, err := tx.exec(`DELETE FROM delivery WHERE webhook = $1 AND state = $2 AND (at < $3 OR seq <= COALESCE((
		SELECT seq FROM delivery WHERE webhook = $1 AND state = $2 ORDER BY seq DESC LIMIT 1 OFFSET $4), 0))`, webhook, state, micros(before), keep)
	if err != nil {
		return fmt.Errorf("forget deliveries of webhook %q: %w", webhook, err)
	}
	return nil
}

// ExpireDeliveries gives up what is pending for a webhook since before a time,
// and all but the latest so many of it.
func (tx *Tx) ExpireDeliveries(webhook string, before, now time.Time, keep int, why string) error {
	_, err := tx.exec(`UPDATE delivery SET state = $1, error = CASE WHEN error = '' THEN $2 ELSE error END, at = $3
		WHERE webhook = $4 AND state = $5 AND (queued < $6 OR seq <= COALESCE((
		SELECT seq FROM delivery WHERE webhook = $4 AND state = $5 ORDER BY seq DESC LIMIT 1 OFFSET $7), 0))`,
		flyball.DeliveryDead, why, micros(now), webhook, flyball.DeliveryPending, micros(before), keep)
	if err != nil {
		return fmt.Errorf("give up deliveries of webhook %q: %w", webhook, err)
	}
	return nil
}

// HurryDeliveries makes all that is pending for a webhook due now.
func (tx *Tx) HurryDeliveries(webhook string, now time.Time) error {
	_, err := tx.exec(`UPDATE delivery SET due = $1 WHERE webhook = $2 AND state = $3 AND due > $1`, micros(now), webhook, flyball.DeliveryPending)
	if err != nil {
		return fmt.Errorf("hurry the deliveries of webhook %q: %w", webhook, err)
	}
	return nil
}

// told is the setting that keeps up to which audit entry deliveries are queued.
const told = "webhook"

// Told returns the number of the last audit entry whose deliveries are queued.
func (tx *Tx) Told() (seq int64, err error) {
	text, found, err := tx.Setting(told)
	if err == nil && found {
		seq, err = strconv.ParseInt(text, 10, 64)
	}
	if err != nil {
		return 0, fmt.Errorf("read up to where deliveries are queued: %w", err)
	}
	return seq, nil
}

// SetTold keeps up to which audit entry deliveries are queued.
func (tx *Tx) SetTold(seq int64) error { return tx.PutSetting(told, strconv.FormatInt(seq, 10)) }

// LastAudit returns the number of the last audit entry, 0 if there is none.
func (tx *Tx) LastAudit() (seq int64, err error) {
	if _, err := tx.one(`SELECT value FROM counter WHERE name = 'audit'`, nil, &seq); err != nil {
		return 0, fmt.Errorf("read the end of the audit log: %w", err)
	}
	return seq, nil
}

// Place names where a webhook's target is sealed.
func (w WebhookRecord) Place() string { return "webhook " + strconv.Quote(w.Key) }

// OpenTarget decrypts where a webhook is.
func (w WebhookRecord) OpenTarget(s *Seal) (to flyball.WebhookTarget, err error) {
	body, err := s.Open(w.Target, w.Place())
	if err != nil {
		return to, err
	}
	return to, json.Unmarshal(body, &to)
}
