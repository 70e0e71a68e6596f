package api

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/flyballdev/flyball"
)

// repeated returns the path of the first member that a JSON object has twice; ""
// if there is none, or if it is no JSON, which whoever decodes it tells. What is
// given twice would be read by one as the first and by another as the last, so
// that what somebody approved were not what is done.
func repeated(body []byte) string {
	if tooDeep(body) {
		return ""
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	path, _ := repeatedIn(d, "")
	return path
}

// once refuses a body in which something is given twice.
func once(body []byte) error {
	if path := repeated(body); path != "" {
		return flyball.FieldErrorf(strings.ToValidUTF8(path, "\uFFFD"), "is given twice: of two values, each reader might take another")
	}
	return nil
}

// repeatedIn reads one value, and says whether it came to its end.
func repeatedIn(d *json.Decoder, at string) (path string, ok bool) {
	token, err := d.Token()
	if err != nil {
		return "", false
	}
	switch token {
	case json.Delim('{'):
		seen := map[string]bool{}
		for d.More() {
			key, err := d.Token()
			name, isText := key.(string)
			if err != nil || !isText {
				return "", false
			}
			below := name
			if at != "" {
				below = at + "." + name
			}
			if seen[name] {
				return below, false
			}
			seen[name] = true
			if path, ok := repeatedIn(d, below); !ok {
				return path, false
			}
		}
	case json.Delim('['):
		for i := 0; d.More(); i++ {
			if path, ok := repeatedIn(d, at+"["+strconv.Itoa(i)+"]"); !ok {
				return path, false
			}
		}
	default:
		return "", true
	}
	_, err = d.Token()
	return "", err == nil
}
