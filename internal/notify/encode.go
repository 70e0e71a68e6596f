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

// request makes the request that tells a message.
func request(ctx context.Context, kind flyball.WebhookKind, to flyball.WebhookTarget, id string, m message, now time.Time) (*http.Request, error) {
	encode := generic
	if kind == flyball.WebhookSlack {
		encode = slack
	}
	body, err := encode(m)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the webhook's URL is malformed") // without the URL, which is a secret itself
	}
	timestamp := strconv.FormatInt(now.Unix(), 10)
	h := req.Header
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "flyball/"+flyball.ProgramVersion)
	h.Set(headerID, id)
	h.Set(headerTimestamp, timestamp)
	if to.Secret != "" {
		h.Set(headerSignature, sign(to.Secret, id, timestamp, body))
	}
	return req, nil
}

func sign(secret, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// maxEdits is how many bytes the edits of an entry may have to be told with
// it: a segment may have megabytes.
const maxEdits = 256 << 10

// generic is the entry with a message for people. An entry that is very long
// is told without the befores and afters of its edits; the audit log has them.
func generic(m message) ([]byte, error) {
	told := struct {
		Message string `json:"message"`
		Cut     bool   `json:"cut,omitempty"`
		flyball.AuditEntry
	}{Message: m.text(), AuditEntry: m.entry}
	size := 0
	for _, e := range told.Edits {
		size += len(e.Before) + len(e.After)
	}
	if told.Cut = size > maxEdits; told.Cut {
		told.Edits = nil
		for _, e := range m.entry.Edits[:min(len(m.entry.Edits), 1000)] {
			e.Before, e.After = nil, nil
			told.Edits = append(told.Edits, e)
		}
	}
	return json.Marshal(told)
}

// What Slack takes in one block of text.
const (
	maxHeader  = 150
	maxSection = 3000
)

// slack is the message as text blocks, without markup: what people wrote is
// never more than text.
func slack(m message) ([]byte, error) {
	plain := func(text string, most int) map[string]any {
		return map[string]any{"type": "plain_text", "text": escape(text, most), "emoji": false}
	}
	blocks := []any{map[string]any{"type": "header", "text": plain(m.title, maxHeader)}}
	for _, line := range m.lines {
		blocks = append(blocks, map[string]any{"type": "section", "text": plain(line, maxSection)})
	}
	return json.Marshal(map[string]any{"text": escape(m.text(), maxSection), "mrkdwn": false, "blocks": blocks})
}

// escape makes people's text harmless to Slack, which reads links and calls to
// whole channels from angle brackets, and cuts it to a number of characters,
// never within an escape.
func escape(s string, most int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		piece := string(r)
		switch r {
		case '&':
			piece = "&amp;"
		case '<':
			piece = "&lt;"
		case '>':
			piece = "&gt;"
		}
		size := len([]rune(piece))
		if n += size; n > most-1 {
			return b.String() + "…"
		}
		b.WriteString(piece)
	}
	return b.String()
}
