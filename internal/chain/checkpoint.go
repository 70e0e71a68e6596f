package chain

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
)

// A Checkpoint is a signed statement about a log: at a time, its latest entry
// was this one. Kept where the log's keeper cannot reach it, it shows later
// whether the log up to there is what it was.
type Checkpoint struct {
	Installation string    `json:"installation" doc:"whose log it is"`
	Seq          int64     `json:"seq" doc:"the latest entry"`
	Hash         string    `json:"hash" doc:"the hash of that entry, and with it of all before"`
	At           time.Time `json:"at" doc:"when it was signed"`
	Key          string    `json:"key" doc:"which key signed it"`
	Signature    string    `json:"signature" doc:"Ed25519, in base64"`
}

// statement is what is signed.
func (c Checkpoint) statement() []byte {
	c.Signature = ""
	body, _ := json.Marshal(c) // texts, a number and a time of four digits' year always can be written
	return append([]byte("flyball audit checkpoint, first form\n"), body...)
}

// Sign returns the checkpoint, signed.
func (c Checkpoint) Sign(key ed25519.PrivateKey) Checkpoint {
	c.At = c.At.UTC()
	c.Key = KeyID(key.Public().(ed25519.PublicKey))
	c.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, c.statement()))
	return c
}

// Verify says whether the owner of a key made the checkpoint as it is.
func (c Checkpoint) Verify(key ed25519.PublicKey) error {
	signature, err := base64.StdEncoding.DecodeString(c.Signature)
	if err != nil || len(signature) != ed25519.SignatureSize {
		return flyball.FieldErrorf("checkpoint", "has no signature: make one with \"flyball audit checkpoint\"")
	}
	if own := KeyID(key); c.Key != own {
		return flyball.FieldErrorf("checkpoint", "was signed by the key %q, and the one given is %q: give the key of the installation that signed it", c.Key, own)
	}
	if c.At = c.At.UTC(); !ed25519.Verify(key, c.statement(), signature) {
		return flyball.FieldErrorf("checkpoint", "its signature does not hold: it was edited, or another key signed it")
	}
	return nil
}

// Agrees says whether a walk that has come to the checkpoint's entry has found
// what was signed.
func (c Checkpoint) Agrees(w Walk) *Break {
	if w.Seq < c.Seq {
		return broken(w.Seq+1, Truncated, "the log ends at entry %d, and had %d when the checkpoint was signed on %s", w.Seq, c.Seq, c.At.Format(time.DateTime))
	}
	if w.Hash != c.Hash {
		return broken(c.Seq, Rewritten, "its hash is not the one that was signed on %s: this entry, or one before it, was written anew with all that follow", c.At.Format(time.DateTime))
	}
	return nil
}

// KeyID names a public key in few letters.
func KeyID(key ed25519.PublicKey) string { return Sum(key)[:16] }

// ParseKey reads a public key in base64.
func ParseKey(text string) (ed25519.PublicKey, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, flyball.FieldErrorf("publicKey", "is not %d bytes in base64: \"flyball audit key\" prints it", ed25519.PublicKeySize)
	}
	return key, nil
}
