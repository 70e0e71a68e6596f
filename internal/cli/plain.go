package cli

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode"
)

// plain is s without what a terminal obeys in place of showing it, save for
// line ends and tabs: others wrote it, be it a reason or an instance's name.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

var escape = regexp.MustCompile(`\\(u[0-9a-fA-F]{4}|.)`)

// plainJSON is the same for all texts of a JSON document, whose order it keeps.
func plainJSON(doc json.RawMessage) json.RawMessage {
	shown := escape.ReplaceAllStringFunc(string(doc), func(written string) string {
		var text string
		if json.Unmarshal([]byte(`"`+written+`"`), &text) != nil || plain(text) == text {
			return written
		}
		return `\ufffd`
	})
	return json.RawMessage(plain(shown))
}
