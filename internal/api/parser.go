package api

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// A parser reads JSON from left to right.
type parser struct {
	text string
	at   int
}

func (p *parser) space() {
	for p.at < len(p.text) {
		if c := p.text[p.at]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return
		}
		p.at++
	}
}

// peek returns the byte that comes next; 0 at the end.
func (p *parser) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

// next says whether c comes next, after any space, and goes on after it if so.
func (p *parser) next(c byte) bool {
	p.space()
	if p.peek() != c || p.at == len(p.text) {
		return false
	}
	p.at++
	return true
}

func (p *parser) word(w string) bool {
	if !strings.HasPrefix(p.text[p.at:], w) {
		return false
	}
	p.at += len(w)
	return true
}

// string reads a string.
func (p *parser) string() (s string, ok bool) {
	if !p.next('"') {
		return "", false
	}
	ascii := true
	for i := p.at; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			s, p.at = p.text[p.at:i], i+1
			return s, ascii || utf8.ValidString(s)
		case c == '\\':
			return p.escaped()
		case c < ' ':
			return "", false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return "", false
}

// escaped reads the rest of a string that has escapes in it.
func (p *parser) escaped() (s string, ok bool) {
	from := p.at - 1
	for i := p.at; i < len(p.text); i++ {
		switch p.text[i] {
		case '\\':
			i++
		case '"':
			p.at = i + 1
			return s, json.Unmarshal([]byte(p.text[from:p.at]), &s) == nil
		}
	}
	return "", false
}

// number returns a number as it is written, empty if there is none, and whether
// it has neither fraction nor exponent.
func (p *parser) number() (text string, whole bool) {
	from := p.at
	p.accept('-', '-')
	if !p.accept('0', '0') && !p.digits() {
		return "", false
	}
	whole = true
	if p.accept('.', '.') {
		if whole = false; !p.digits() {
			return "", false
		}
	}
	if p.accept('e', 'E') {
		whole = false
		p.accept('+', '-')
		if !p.digits() {
			return "", false
		}
	}
	return p.text[from:p.at], whole
}

// accept goes on after either of two bytes, and says whether one was there.
func (p *parser) accept(a, b byte) bool {
	if c := p.peek(); p.at < len(p.text) && (c == a || c == b) {
		p.at++
		return true
	}
	return false
}

// digits goes on after any digits, and says whether there were some.
func (p *parser) digits() bool {
	from := p.at
	for p.at < len(p.text) && p.text[p.at]-'0' <= 9 {
		p.at++
	}
	return p.at > from
}
