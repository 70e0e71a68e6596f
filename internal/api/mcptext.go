package api

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/flyballdev/flyball"
)

// Limits of the text by others in one answer to an agent.
const (
	maxText  = 2 << 10  // of one text
	maxTexts = 16 << 10 // of all texts of an answer
)

// texts is what people, programs and metrics wrote, by what it is. It stands
// apart from everything else that an agent is told, under a name that says what
// it is: nothing in it is an instruction. The text of a refusal is among it,
// since it may quote what people wrote.
type texts map[string]string

// add adds a text without what could hide in it.
func (t texts) add(name, text string) {
	text = cleaned(text)
	size := len(text)
	for _, other := range t {
		size += len(other)
	}
	if text != "" && size <= maxTexts {
		t[name] = text
	}
}

// addJSON adds a value that people wrote.
func (t texts) addJSON(name string, v any) {
	if body, err := json.Marshal(v); err == nil {
		t.add(name, string(body))
	}
}

// cleaned returns a text without control characters, escape sequences of
// terminals, and characters that are not seen or turn others around, cut to what
// one text may have.
func cleaned(text string) string {
	var b strings.Builder
	runes := []rune(strings.ToValidUTF8(text, ""))
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == '\x1b' || r == '\u009b':
			i = escape(runes, i)
		case r == '\n' || r == '\t':
			b.WriteByte(' ')
		case hidden(r):
		default:
			if b.Len()+utf8.RuneLen(r) > maxText {
				return b.String()
			}
			b.WriteRune(r)
		}
	}
	return b.String()
}

// escape returns where the escape sequence that begins at i ends.
func escape(runes []rune, i int) int {
	csi := runes[i] == '\u009b'
	if !csi {
		if i+1 >= len(runes) {
			return i
		}
		i++
		switch runes[i] {
		case '[':
			csi = true
		case ']', 'P', '^', '_', 'X': // until it is ended by BEL or by ESC \
			for i+1 < len(runes) && runes[i+1] != '\a' && runes[i+1] != '\x1b' {
				i++
			}
			return i
		}
	}
	for csi && i+1 < len(runes) && runes[i+1] >= 0x20 && runes[i+1] < 0x7f {
		if i++; runes[i] >= 0x40 {
			break
		}
	}
	return i
}

// hidden says that a character is not seen, or makes others be seen elsewhere:
// controls, formats (zero-width, bidi, tags), private use, variation selectors
// and fillers.
func hidden(r rune) bool {
	switch {
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Variation_Selector, unicode.Zl, unicode.Zp):
		return true
	case r == '\u034f', r == '\u115f', r == '\u1160', r == '\u3164', r == '\uffa0', r == '\u2800', r == '\u17b4', r == '\u17b5':
		return true
	}
	return r >= 0xe0000 && r <= 0xe0fff || r&0xfffe == 0xfffe // tags, and what is no character
}

// A refused is what an agent is told of a refusal.
type refused struct {
	Code      flyball.Code   `json:"code"`
	Message   string         `json:"message"`
	Fields    []string       `json:"fields,omitempty"`
	Details   map[string]any `json:"details,omitempty"`
	Untrusted texts          `json:"untrusted_text,omitempty"`
}

// messages are what refusals say: fixed words, so that none carries what people
// wrote.
var messages = map[flyball.Code]string{
	flyball.Invalid:         "mend the named fields and call again",
	flyball.NotFound:        "there is no such thing",
	flyball.Conflict:        "it has changed meanwhile, is taken, or does not allow this in its present state: read it again",
	flyball.Unauthenticated: "the token is unknown, expired or revoked",
	flyball.Forbidden:       "this is not allowed to you: details tell the limit, what was asked, the largest that is allowed, and how to ask people for more",
	flyball.TooLarge:        "it is too large",
	flyball.Overloaded:      "the server is busy: try again later",
	flyball.Unavailable:     "a part that is needed is down: try again later",
}

// toldDetails are the details of a refusal that are the server's own words,
// keys and numbers.
var toldDetails = []string{"limit", "asked", "allowed", "how", "digest", "planned", "risk", "needs", "state", "rollout", "version", "role", "team", "environment", "at"}

// refusalOf is the answer to a call that was refused.
func refusalOf(err error) *mcp.CallToolResult {
	r := refused{Code: flyball.Internal, Message: "something went wrong on the server's side", Untrusted: texts{}}
	if p, ok := errors.AsType[*Problem](err); ok {
		r.Code = p.Code
		if r.Message, ok = messages[p.Code]; !ok {
			r.Message = "something went wrong on the server's side"
		}
		r.Untrusted.add("message", p.Detail)
		for _, f := range p.Errors {
			r.Fields = append(r.Fields, cleaned(f.Field))
		}
		for _, name := range toldDetails {
			if v, ok := p.Details[name]; ok {
				if r.Details == nil {
					r.Details = map[string]any{}
				}
				r.Details[name] = v
			}
		}
	} else if err != nil {
		r.Untrusted.add("message", err.Error())
	}
	body, err := json.Marshal(r)
	if err != nil {
		body = []byte(`{"code":"internal"}`)
	}
	return &mcp.CallToolResult{IsError: true, StructuredContent: json.RawMessage(body), Content: []mcp.Content{&mcp.TextContent{Text: string(body)}}}
}
