package chain

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

// Texts are written as encoding/json writes them, by which bodies are made.
func FuzzTextsAreWrittenAsInBodies(f *testing.F) {
	for _, s := range []string{"", "payments.checkout", `"\`, "<b>&", "\x00\x1f\x7f", "ü\u2028\xff", "\U0001f600"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := json.Marshal(s)
		if got := appendText(nil, s); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q is written %s, want %s", s, got, want)
		}
	})
}

func TestALineIsTakenApartAsItWasMade(t *testing.T) {
	body := []byte(`{"seq":7,"reason":"a \"hash\":\"x\"","prev":"` + Genesis("x") + `"}`)
	line := Line(nil, body, Sum(body))
	got, hash, ok := Parse(line)
	if !ok || !bytes.Equal(got, body) || hash != Sum(body) {
		t.Errorf("%s became %s, %s, %v", line, got, hash, ok)
	}
	var entry flyball.AuditEntry
	if err := json.Unmarshal(line, &entry); err != nil || entry.Hash != hash || entry.Seq != 7 {
		t.Errorf("as JSON it is %+v, %v", entry, err)
	}
	for _, bad := range []string{"", "\n", "{}", `{"seq":1}`, string(line[:len(line)-2]), string(line[1:40]), "null"} {
		if _, _, ok := Parse([]byte(bad)); ok {
			t.Errorf("%q is an entry", bad)
		}
	}
}

func TestACheckpointHoldsForItsKeyAndItsLog(t *testing.T) {
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	key := ed25519.NewKeyFromSeed(seed)
	public := key.Public().(ed25519.PublicKey)
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	c := Checkpoint{Installation: "x", Seq: 9, Hash: "h", At: time.Date(2026, 11, 21, 19, 0, 0, 5000, time.FixedZone("", 3600))}.Sign(key)
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var read Checkpoint
	if err := json.Unmarshal(text, &read); err != nil || read.Verify(public) != nil {
		t.Errorf("read back: %v, %v", err, read.Verify(public))
	}
	if c.Verify(other) == nil {
		t.Error("it holds for another key")
	}
	for what, edit := range map[string]func(*Checkpoint){
		"installation": func(c *Checkpoint) { c.Installation = "y" }, "seq": func(c *Checkpoint) { c.Seq++ }, "hash": func(c *Checkpoint) { c.Hash = "i" },
		"time": func(c *Checkpoint) { c.At = c.At.Add(1) }, "key": func(c *Checkpoint) { c.Key = "" }, "signature": func(c *Checkpoint) { c.Signature = "" },
	} {
		edited := c
		if edit(&edited); edited.Verify(public) == nil {
			t.Errorf("it holds with another %s", what)
		}
	}
	for _, tt := range []struct {
		walk Walk
		want Kind
	}{{Walk{9, "h"}, ""}, {Walk{8, "h"}, Truncated}, {Walk{9, "i"}, Rewritten}} {
		got := Kind("")
		if b := c.Agrees(tt.walk); b != nil {
			got = b.Kind
		}
		if got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.walk, got, tt.want)
		}
	}
}
