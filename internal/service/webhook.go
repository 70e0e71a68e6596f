package service

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// WebhookView is a webhook as people see it: without its URL and its secret,
// and with how it fares.
type WebhookView struct {
	flyball.Webhook
	Host      string        `json:"host" doc:"where it is; the rest of its URL is never told"`
	Signed    bool          `json:"signed" doc:"whether it has a secret that signs messages"`
	TargetSet int64         `json:"targetSet" doc:"the version in which its URL or its secret was last written"`
	Version   int64         `json:"version" doc:"rises with each change"`
	Pending   int64         `json:"pending" doc:"messages that wait to be told"`
	Dead      int64         `json:"dead" doc:"messages that were given up"`
	Failures  int           `json:"failures,omitempty" doc:"failures in a row"`
	RestsTill *flyball.Time `json:"restsUntil,omitempty" doc:"until when it is left alone because of them"`
}

// PutWebhook is a webhook as it is to be.
type PutWebhook struct {
	flyball.Webhook
	flyball.WebhookTarget
	IfVersion int64  `json:"ifVersion,omitempty" doc:"the version that you read; a newer one is a conflict"`
	Reason    string `json:"reason" doc:"why it is made or changed"`
}

// auditedWebhook is what the audit log tells of a webhook.
type auditedWebhook struct {
	flyball.Webhook
	Host      string `json:"host"`
	Signed    bool   `json:"signed"`
	TargetSet int64  `json:"targetSet"`
}

func audited(w store.WebhookRecord) auditedWebhook {
	return auditedWebhook{Webhook: w.Webhook, Host: w.Host, Signed: w.Signed, TargetSet: w.Aimed}
}

// CreateWebhook makes a webhook. It is told what happens from now on.
func (s *Service) CreateWebhook(ctx context.Context, in PutWebhook) (WebhookView, error) {
	return s.putWebhook(ctx, "webhook.create", in, true)
}

// UpdateWebhook replaces a webhook; its URL, its secret and whether it is
// enabled stay if they are left out. What waits is told at once.
func (s *Service) UpdateWebhook(ctx context.Context, in PutWebhook) (WebhookView, error) {
	return s.putWebhook(ctx, "webhook.update", in, false)
}

func (s *Service) putWebhook(ctx context.Context, action string, in PutWebhook, create bool) (WebhookView, error) {
	if s.seal == nil {
		return WebhookView{}, flyball.Errorf(flyball.Unavailable, "this server has no key to keep a webhook's secrets with")
	}
	_, err := s.change(ctx, changeOf{
		access: Admin, action: action, subject: in.Key, reason: in.Reason,
		apply: func(e *edit) error {
			old, err := e.tx.Webhook(in.Key)
			if err := expect("webhook "+in.Key, create, old.Revision, err); err != nil {
				return err
			}
			return e.putWebhook(in, old)
		},
	})
	if err != nil {
		return WebhookView{}, err
	}
	return s.Webhook(ctx, KeyOf{Key: in.Key})
}

// putWebhook writes a webhook; an old one of revision 0 is none.
func (e *edit) putWebhook(in PutWebhook, old store.WebhookRecord) error {
	if in.IfVersion != 0 && in.IfVersion != old.Revision {
		return stale("webhook "+in.Key, in.IfVersion, old.Revision)
	}
	target, err := e.service.targetOf(old)
	if err != nil && in.URL == "" { // a new URL mends what cannot be read any more
		return err
	}
	next := old
	next.Webhook = in.Webhook
	was := target
	target = retarget(target, in)
	if next.Enabled == nil {
		if next.Enabled = old.Enabled; next.Enabled == nil {
			next.Enabled = new(true)
		}
	}
	if err := next.Webhook.Validate(target); err != nil {
		return err
	}
	if check := e.service.reachable; check != nil && target.URL != was.URL {
		if err := check(target.URL); err != nil {
			return flyball.FieldErrorf("url", "%s", err)
		}
	}
	for i, key := range next.Environments {
		if _, err := e.tx.Environment(key); flyball.CodeOf(err) == flyball.NotFound {
			return flyball.FieldErrorf(fmt.Sprintf("environments[%d]", i), "there is no environment %q", key)
		} else if err != nil {
			return err
		}
	}
	if target != was || err != nil {
		if err := e.service.aim(&next, target); err != nil {
			return err
		}
	}
	var before any
	if old.Revision > 0 {
		before = audited(old)
	} else if err := e.firstWebhook(); err != nil {
		return err
	}
	if changed, err := e.record("webhook", in.Key, "", before, audited(next)); err != nil || !changed {
		return err
	}
	if err := e.tx.PutWebhook(next); err != nil {
		return err
	}
	return e.wakeWebhook(in.Key)
}

// retarget returns where a webhook is after an update of it.
func retarget(target flyball.WebhookTarget, in PutWebhook) flyball.WebhookTarget {
	if in.Kind == flyball.WebhookSlack {
		target.Secret = "" // it would sign nothing
	}
	if in.URL != "" {
		target.URL = in.URL
	}
	if in.Secret != "" {
		target.Secret = in.Secret
	}
	return target
}

// aim seals a webhook's target.
func (s *Service) aim(w *store.WebhookRecord, to flyball.WebhookTarget) error {
	body, err := json.Marshal(to)
	if err != nil {
		return err
	}
	if w.Target, err = s.seal.Seal(body, w.Place()); err != nil {
		return err
	}
	w.Host, w.Signed, w.Aimed = to.Host(), to.Secret != "", w.Revision+1
	return nil
}

// targetOf returns where a webhook is; a new one is nowhere yet.
func (s *Service) targetOf(w store.WebhookRecord) (to flyball.WebhookTarget, err error) {
	if w.Revision == 0 {
		return to, nil
	}
	return w.OpenTarget(s.seal)
}

// firstWebhook makes deliveries begin at the end of the audit log if nobody
// was told of it until now: history is not news. It bounds how many there are.
func (e *edit) firstWebhook() error {
	all, err := e.tx.Webhooks()
	switch {
	case err != nil:
		return err
	case len(all) >= flyball.MaxWebhooks:
		return flyball.Errorf(flyball.Conflict, "there are %d webhooks, and no more are kept: delete one first", len(all))
	case len(all) > 0:
		return nil
	}
	last, err := e.tx.LastAudit()
	if err != nil {
		return err
	}
	return e.tx.SetTold(last)
}

// wakeWebhook makes all that waits for a webhook due now.
func (e *edit) wakeWebhook(key string) error {
	if err := e.tx.HurryDeliveries(key, e.at); err != nil {
		return err
	}
	return e.tx.PutWebhookHealth(key, store.WebhookHealth{})
}

// Webhook returns a webhook.
func (s *Service) Webhook(ctx context.Context, in KeyOf) (WebhookView, error) {
	all, err := s.ListWebhooks(ctx, None{})
	if err != nil {
		return WebhookView{}, err
	}
	for _, w := range all.Webhooks {
		if w.Key == in.Key {
			return w, nil
		}
	}
	return WebhookView{}, flyball.Errorf(flyball.NotFound, "there is no webhook %q", in.Key)
}

// Webhooks is a list of webhooks, by key.
type Webhooks struct {
	Webhooks []WebhookView `json:"webhooks"`
}

// ListWebhooks lists all webhooks and how they fare.
func (s *Service) ListWebhooks(ctx context.Context, _ None) (Webhooks, error) {
	out := Webhooks{Webhooks: []WebhookView{}}
	err := s.db.View(ctx, func(tx *store.Tx) error {
		out.Webhooks = out.Webhooks[:0]
		all, err := tx.Webhooks()
		if err != nil {
			return err
		}
		counts, err := tx.CountDeliveries()
		for _, w := range all {
			out.Webhooks = append(out.Webhooks, viewWebhook(w, counts))
		}
		return err
	})
	return out, err
}

func viewWebhook(w store.WebhookRecord, counts []store.DeliveryCount) WebhookView {
	v := WebhookView{
		Webhook: w.Webhook, Host: w.Host, Signed: w.Signed, TargetSet: w.Aimed, Version: w.Revision, Failures: w.Failures,
	}
	if w.Rest.After(time.Now()) {
		v.RestsTill = &flyball.Time{Time: w.Rest}
	}
	for _, c := range counts {
		switch {
		case c.Webhook != w.Key:
		case c.State == flyball.DeliveryPending:
			v.Pending = c.N
		case c.State == flyball.DeliveryDead:
			v.Dead = c.N
		}
	}
	return v
}

// WebhookIn names a webhook, and why something is done with it.
type WebhookIn struct {
	Key    string `json:"key"`
	Reason string `json:"reason" doc:"why"`
}

// DeleteWebhook takes a webhook away, with all that waits for it.
func (s *Service) DeleteWebhook(ctx context.Context, in WebhookIn) (Outcome, error) {
	return s.change(ctx, changeOf{
		access: Admin, action: "webhook.delete", subject: in.Key, reason: in.Reason,
		apply: func(e *edit) error {
			old, err := e.tx.Webhook(in.Key)
			if err != nil {
				return err
			}
			if _, err := e.record("webhook", in.Key, "", audited(old), nil); err != nil {
				return err
			}
			return e.tx.DeleteWebhook(in.Key)
		},
	})
}

// WebhookTested is what came of a test.
type WebhookTested struct {
	Delivered bool             `json:"delivered"`
	Status    int              `json:"status,omitempty" doc:"the HTTP status of the answer"`
	Error     string           `json:"error,omitempty" doc:"why it was not delivered"`
	Took      flyball.Duration `json:"took"`
}

// TestWebhook sends a message to a webhook at once, enabled or not, on the
// same way as all others, and tells what came of it.
func (s *Service) TestWebhook(ctx context.Context, in WebhookIn) (WebhookTested, error) {
	p, err := principalOf(ctx)
	if err != nil {
		return WebhookTested{}, err
	}
	_, err = s.change(ctx, changeOf{
		access: Admin, action: "webhook.test", subject: in.Key, reason: in.Reason,
		apply: func(e *edit) error {
			if _, err := e.tx.Webhook(in.Key); err != nil {
				return err
			}
			_, err := e.record("webhook", in.Key, "", map[string]bool{"tested": false}, map[string]bool{"tested": true})
			return err
		},
	})
	switch {
	case err != nil || mannerOf(ctx).Plans():
		return WebhookTested{}, err
	case s.tell == nil:
		return WebhookTested{}, flyball.Errorf(flyball.Unavailable, "this server tells webhooks nothing")
	}
	start := time.Now()
	status, err := s.tell(ctx, in.Key, flyball.AuditEntry{
		At: now(), Actor: p.Actor, Action: "webhook.test", Subject: in.Key, Reason: in.Reason, Request: p.Request, Edits: []flyball.Edit{},
	})
	out := WebhookTested{Delivered: err == nil, Status: status, Took: flyball.Duration(time.Since(start).Round(time.Millisecond))}
	if err != nil {
		out.Error = err.Error()
	}
	return out, nil
}

// ListDeliveries narrows a list of deliveries.
type ListDeliveries struct {
	Webhook string                `json:"webhook,omitempty" doc:"the webhook's key"`
	State   flyball.DeliveryState `json:"state,omitempty" doc:"only those that are so" enum:"pending,delivered,dead"`
	Limit   int                   `json:"limit,omitempty" minimum:"0" maximum:"1000" doc:"how many at most (default 100)"`
}

// Deliveries is a list of deliveries, those of the latest entries first.
type Deliveries struct {
	Deliveries []flyball.Delivery `json:"deliveries"`
	More       bool               `json:"more,omitempty" doc:"whether there are further ones"`
}

// ListDeliveries lists what webhooks were told, are to be told, or were not.
func (s *Service) ListDeliveries(ctx context.Context, in ListDeliveries) (out Deliveries, err error) {
	if in.Limit == 0 {
		in.Limit = 100
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		if in.Webhook != "" {
			if _, err := tx.Webhook(in.Webhook); err != nil {
				return err
			}
		}
		out.Deliveries, err = tx.Deliveries(store.DeliveryFilter{Webhook: in.Webhook, State: in.State, Limit: in.Limit + 1}) // one more tells whether there are more
		if out.More = len(out.Deliveries) > in.Limit; out.More {
			out.Deliveries = out.Deliveries[:in.Limit]
		}
		return err
	})
	return out, err
}

// Redeliver names a delivery that is to be made again.
type Redeliver struct {
	Key    string `json:"key" doc:"the webhook's key"`
	Seq    int64  `json:"seq" minimum:"1" doc:"the audit entry's number"`
	Reason string `json:"reason" doc:"why"`
}

// Redeliver tells a webhook an entry again, now, whatever came of it before.
func (s *Service) Redeliver(ctx context.Context, in Redeliver) (out flyball.Delivery, err error) {
	_, err = s.change(ctx, changeOf{
		access: Admin, action: "webhook.redeliver", subject: in.Key, reason: in.Reason,
		apply: func(e *edit) error {
			w, err := e.tx.Webhook(in.Key)
			if err != nil {
				return err
			}
			found, err := e.tx.Deliveries(store.DeliveryFilter{Webhook: in.Key, Seq: in.Seq})
			if err != nil {
				return err
			}
			if len(found) == 0 {
				return flyball.Errorf(flyball.NotFound, "entry %d was never told to %q, or is forgotten: \"flyball webhook deliveries %s\" lists those that are known", in.Seq, in.Key, in.Key)
			}
			out = flyball.Delivery{Webhook: in.Key, Seq: in.Seq, State: flyball.DeliveryPending, Due: &flyball.Time{Time: e.at}, Queued: e.at, At: e.at}
			if _, err := e.record("delivery", fmt.Sprintf("%s/%d", in.Key, in.Seq), "", found[0], out); err != nil {
				return err
			}
			w.Rest = time.Time{}
			if err := e.tx.PutWebhookHealth(in.Key, w.WebhookHealth); err != nil {
				return err
			}
			return e.tx.PutDelivery(out)
		},
	})
	return out, err
}
