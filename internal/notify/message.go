package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
)

// The headers of what is told. The signature is the HMAC-SHA256, under the
// shared secret, of the id, the timestamp and the body, joined by dots: a
// receiver compares it in constant time, refuses an old timestamp, and has
// seen an id before if the entry came twice.
const (
	headerID        = "X-Flyball-Id"        // the entry's sequence number
	headerTimestamp = "X-Flyball-Timestamp" // seconds since 1970, of this try
	headerSignature = "X-Flyball-Signature" // "sha256=" and hexadecimal digits
)

// request makes the request that tells an entry.
func (f *Follower) request(ctx context.Context, e flyball.AuditEntry, now time.Time) (*http.Request, error) {
	body, err := encode(e, f.slack())
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the webhook's URL is malformed") // without the URL, which may be a secret itself
	}
	id, timestamp := strconv.FormatInt(e.Seq, 10), strconv.FormatInt(now.Unix(), 10)
	h := req.Header
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "flyball/"+flyball.ProgramVersion)
	h.Set(headerID, id)
	h.Set(headerTimestamp, timestamp)
	if f.Secret != "" {
		h.Set(headerSignature, sign(f.Secret, id, timestamp, body))
	}
	return req, nil
}

// slack says whether the URL is one of Slack's incoming webhooks.
func (f *Follower) slack() bool {
	u, err := url.Parse(f.URL)
	return err == nil && strings.EqualFold(u.Hostname(), "hooks.slack.com")
}

func sign(secret, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// encode returns the body that tells an entry: the entry itself, or for Slack
// a line of text.
func encode(e flyball.AuditEntry, slack bool) ([]byte, error) {
	if !slack {
		return json.Marshal(e)
	}
	return json.Marshal(map[string]any{"text": line(e), "mrkdwn": false})
}

// slackText makes people's text harmless: Slack reads links and calls to whole
// channels from angle brackets, and a line break would let a reason pose as
// another entry.
var slackText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\n", " ", "\r", " ", "\u2028", " ", "\u2029", " ")

// line tells an entry in one line of text.
func line(e flyball.AuditEntry) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s by %s", e.Subject, e.Action, e.Actor.ID)
	if e.Actor.OnBehalfOf != "" {
		fmt.Fprintf(&b, " for %s", e.Actor.OnBehalfOf)
	}
	if e.Environment != "" {
		fmt.Fprintf(&b, " in %s", e.Environment)
	}
	if e.Version != 0 {
		fmt.Fprintf(&b, " (version %d)", e.Version)
	}
	fmt.Fprintf(&b, ": %s", e.Reason)
	return slackText.Replace(b.String())
}
