// Package chain proves that an audit log is whole. Each entry holds the hash of
// the entry before it, and has a hash of its own over all that it says: who
// edits, removes or swaps entries must write every later one anew, and then a
// statement about the log that was signed earlier, a [Checkpoint], does not
// agree with it any more.
//
// It works on bytes as they were written. An entry is never decoded to be
// proved, so that a later version of the program proves what an earlier wrote.
package chain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Genesis stands for the entry before the first. It belongs to one
// installation, so that no log passes for the log of another.
func Genesis(installation string) string {
	return Sum([]byte("flyball audit log of " + installation))
}

// Sum is the hash of an entry, given its body: its JSON without the hash.
func Sum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// A Kind says what is wrong with a log.
type Kind string

// The kinds of breaks.
const (
	Edited    Kind = "edited"
	Missing   Kind = "missing"
	Reordered Kind = "reordered"
	Truncated Kind = "truncated" // entries at the end are missing
	Rewritten Kind = "rewritten" // it agrees with itself, and not with a checkpoint
	Foreign   Kind = "foreign"   // it is the log of another installation
)

// A Break is the first place where a log does not prove itself.
type Break struct {
	Seq  int64  `json:"seq" doc:"the first entry that is wrong"`
	Kind Kind   `json:"kind" enum:"edited,missing,reordered,truncated,rewritten,foreign"`
	Why  string `json:"why"`
}

// Error tells the break in a line.
func (b *Break) Error() string { return fmt.Sprintf("entry %d: %s: %s", b.Seq, b.Kind, b.Why) }

func broken(seq int64, kind Kind, format string, args ...any) *Break {
	return &Break{Seq: seq, Kind: kind, Why: fmt.Sprintf(format, args...)}
}

// A Row is an entry as a database holds it: its body, and beside it what it is
// found by.
type Row struct {
	Seq         int64
	At          time.Time
	Environment string
	Version     int64
	Actor       string
	Subject     string
	Body        []byte
	Hash        string
}

// A Walk goes through a log from one entry to the next. Its zero value, with
// [Genesis] as the hash, stands before the first entry.
type Walk struct {
	Seq  int64  // of the entry that was proved last
	Hash string // of the same
}

// Row proves the next entry of a database.
func (w *Walk) Row(r Row) *Break {
	if b := w.Next(r.Seq, r.Body, r.Hash); b != nil {
		return b
	}
	if !r.agrees() {
		return broken(r.Seq, Edited, "the columns by which it is found do not say what it says")
	}
	return nil
}

// Next proves the next entry: where it stands, its body and its hash. If that is
// broken, the walk stays where it is.
func (w *Walk) Next(seq int64, body []byte, hash string) *Break {
	switch want := w.Seq + 1; {
	case seq > want:
		return broken(want, Missing, "the log goes on with entry %d", seq)
	case seq < want:
		return broken(seq, Reordered, "it stands behind entry %d", w.Seq)
	}
	if !has(body, hash) {
		return broken(seq, Edited, "what it says does not have its hash")
	}
	if own, ok := SeqOf(body); !ok || own != seq {
		return broken(seq, Reordered, "entry %d stands in its place", own)
	}
	if !follows(body, w.Hash) {
		return broken(seq, Edited, "it does not follow from the entry before it: one of the two was written anew")
	}
	w.Seq, w.Hash = seq, hash
	return nil
}

// has says whether a hash is that of a body.
func has(body []byte, hash string) bool {
	sum := sha256.Sum256(body)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:]) == hash
}

// follows says whether a body ends with the hash of the entry before it.
func follows(body []byte, prev string) bool {
	body, ended := bytes.CutSuffix(body, []byte(`"}`))
	at := len(body) - len(prev)
	return ended && at >= 0 && string(body[at:]) == prev && bytes.HasSuffix(body[:at], []byte(`,"prev":"`))
}

// SeqOf reads the number that a body gives itself; every body begins with it.
func SeqOf(body []byte) (int64, bool) {
	rest, ok := bytes.CutPrefix(body, []byte(`{"seq":`))
	if end := bytes.IndexByte(rest, ','); ok && end > 0 {
		n, err := strconv.ParseInt(string(rest[:end]), 10, 64)
		return n, err == nil
	}
	return 0, false
}

// agrees says whether the body says what the columns say. In a body, a quote
// within a text is escaped, so that "subject": as it stands here can only be
// the name of a field; actor and action, which come before it, have none of
// that name.
func (r Row) agrees() bool {
	head := append(make([]byte, 0, 256), `{"seq":`...)
	head = strconv.AppendInt(head, r.Seq, 10)
	head = append(head, `,"at":"`...)
	head = r.At.UTC().AppendFormat(head, time.RFC3339Nano)
	head = appendText(append(head, `","actor":{"id":`...), r.Actor)
	rest, ok := bytes.CutPrefix(r.Body, head)
	if !ok {
		return false
	}
	from := bytes.Index(rest, []byte(`,"subject":`))
	if from < 0 {
		return false
	}
	tail := appendText(append(head[:0], `,"subject":`...), r.Subject)
	if r.Environment != "" {
		tail = appendText(append(tail, `,"environment":`...), r.Environment)
	}
	if r.Version != 0 {
		tail = strconv.AppendInt(append(tail, `,"version":`...), r.Version, 10)
	}
	return bytes.HasPrefix(rest[from:], append(tail, `,"reason":`...))
}

// appendText appends a text as encoding/json writes it.
func appendText(to []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string always can be written
			return append(to, quoted...)
		}
	}
	return append(append(append(to, '"'), s...), '"')
}

// hashName leads the hash of an entry, which is its last field.
const hashName = `,"hash":"`

// Line writes an entry as a line of an export: its body with its hash.
func Line(to, body []byte, hash string) []byte {
	to = append(to, body[:max(0, len(body)-1)]...)
	return append(append(append(to, hashName...), hash...), '"', '}', '\n')
}

// Parse takes a line of an export apart.
func Parse(line []byte) (body []byte, hash string, ok bool) {
	line = bytes.TrimRight(line, "\r\n")
	const tail = len(hashName) + 2*sha256.Size + len(`"}`)
	at := len(line) - tail
	if at < 1 || !bytes.HasPrefix(line[at:], []byte(hashName)) || !bytes.HasSuffix(line, []byte(`"}`)) {
		return nil, "", false
	}
	hash = string(line[at+len(hashName) : len(line)-2])
	return append(append(make([]byte, 0, at+1), line[:at]...), '}'), hash, true
}
