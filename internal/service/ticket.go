package service

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// ticketKey is the setting that holds the key by which tickets are signed. All
// nodes share it.
const ticketKey = "ticket-key"

func makeTicketKey(tx *store.Tx) (string, error) {
	key, found, err := tx.Setting(ticketKey)
	if err != nil || found {
		return key, err
	}
	key = newID(32)
	return key, tx.PutSetting(ticketKey, key)
}

// Ticket returns a ticket that stands for a principal's token until a time, and
// tells nothing of it but its id.
func (s *Service) Ticket(p Principal, until time.Time) string {
	body := p.Token + "." + strconv.FormatInt(until.Unix(), 36)
	return body + "." + s.sign(body)
}

func (s *Service) sign(body string) string {
	mac := hmac.New(sha256.New, []byte(s.ticketKey))
	mac.Write([]byte(body))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Redeem returns the principal that a ticket stands for, if both it and its
// token are still good.
func (s *Service) Redeem(ctx context.Context, ticket string, now time.Time) (Principal, error) {
	bad := flyball.Errorf(flyball.Unauthenticated, "the ticket is unknown or over: evaluate again for a new one")
	at := strings.LastIndexByte(ticket, '.')
	if at < 0 || len(ticket) > 200 || !hmac.Equal([]byte(s.sign(ticket[:at])), []byte(ticket[at+1:])) {
		return Principal{}, bad
	}
	id, until, _ := strings.Cut(ticket[:at], ".")
	unix, err := strconv.ParseInt(until, 36, 64)
	if err != nil || now.After(time.Unix(unix, 0)) {
		return Principal{}, bad
	}
	known, err := s.tokens.find(ctx, id, s.db)
	switch {
	case flyball.CodeOf(err) == flyball.NotFound:
		return Principal{}, bad
	case err != nil:
		return Principal{}, err
	case !known.live():
		return Principal{}, bad
	}
	return known.principal, nil
}
