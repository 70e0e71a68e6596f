package api

import "encoding/json"

// namedTwice returns a name that an object of a JSON text, which is sound, has
// twice. Readers of JSON do not agree on which of the two counts, and ours takes
// parts of both; what one person read and approved is what must be done.
func namedTwice(data []byte) (name string, ok bool) {
	type level struct {
		object bool
		names  map[string]bool
	}
	var levels []level
	inName := false // the next text is a name
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{':
			levels, inName = append(levels, level{object: true}), true
		case '[':
			levels, inName = append(levels, level{}), false
		case '}', ']':
			levels = levels[:len(levels)-1]
			inName = false
		case ',':
			inName = levels[len(levels)-1].object
		case '"':
			end := endOfText(data, i)
			if inName {
				l := &levels[len(levels)-1]
				if json.Unmarshal(data[i:end+1], &name) != nil || l.names[name] {
					return name, true
				}
				if l.names == nil {
					l.names = map[string]bool{}
				}
				l.names[name], inName = true, false
			}
			i = end
		}
	}
	return "", false
}

// endOfText returns where a text that begins at a quote has its last one.
func endOfText(data []byte, start int) int {
	for i := start + 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(data) - 1
}
