package flyball

import (
	"cmp"
	"strings"
)

// A Version is a semantic version, ready to be compared. Its text parts are
// substrings of what was parsed, so that parsing does not allocate.
type Version struct {
	major, minor, patch string // digits, without leading zeros
	pre                 string
}

// ParseVersion reads a version as Semantic Versioning 2.0 does; a leading v, a
// missing minor and a missing patch are accepted too. Build metadata is
// checked and ignored.
func ParseVersion(s string) (Version, bool) {
	if len(s) > 256 {
		return Version{}, false
	}
	s = strings.TrimPrefix(s, "v")
	s, build, hasBuild := strings.Cut(s, "+")
	core, pre, hasPre := strings.Cut(s, "-")
	if hasBuild && !validIdentifiers(build, false) || hasPre && !validIdentifiers(pre, true) {
		return Version{}, false
	}
	v := Version{major: "0", minor: "0", patch: "0", pre: pre}
	for i, into := range []*string{&v.major, &v.minor, &v.patch} {
		part, rest, more := strings.Cut(core, ".")
		if !numeric(part) {
			return Version{}, false
		}
		*into = part
		if !more {
			return v, true
		}
		if i == 2 {
			return Version{}, false
		}
		core = rest
	}
	return v, true
}

// Compare returns -1, 0 or 1 by the precedence of Semantic Versioning 2.0.
func (v Version) Compare(w Version) int {
	return cmp.Or(
		compareNumeric(v.major, w.major),
		compareNumeric(v.minor, w.minor),
		compareNumeric(v.patch, w.patch),
		comparePre(v.pre, w.pre))
}

func comparePre(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == "": // a release comes after its own pre-releases
		return 1
	case b == "":
		return -1
	}
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if c := compareIdentifier(x, y); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b)) // more parts win
}

func compareIdentifier(x, y string) int {
	switch xNumeric, yNumeric := numeric(x), numeric(y); {
	case xNumeric && yNumeric:
		return compareNumeric(x, y)
	case xNumeric: // numbers come before words
		return -1
	case yNumeric:
		return 1
	}
	return cmp.Compare(x, y)
}

// compareNumeric compares numbers of any length, by their digits.
func compareNumeric(x, y string) int {
	return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
}

// numeric says whether s is a number without leading zeros.
func numeric(s string) bool {
	return allDigits(s) && (s[0] != '0' || len(s) == 1)
}

func validIdentifiers(s string, noLeadingZeros bool) bool {
	for {
		part, rest, more := strings.Cut(s, ".")
		if part == "" || noLeadingZeros && allDigits(part) && !numeric(part) {
			return false
		}
		for i := range len(part) {
			c := part[i]
			if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' {
				return false
			}
		}
		if !more {
			return true
		}
		s = rest
	}
}

func allDigits(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
