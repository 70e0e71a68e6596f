package provider

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/flyballdev/flyball/eval"
)

// An event is one event of a stream, or a comment, which has no name.
type event struct {
	name string
	data []byte
}

// An eventReader reads server-sent events, as the HTML standard describes
// them. It calls heard at each sign of life.
type eventReader struct {
	r     *bufio.Reader
	heard func()
}

func newEventReader(r io.Reader, heard func()) *eventReader {
	heard()
	return &eventReader{r: bufio.NewReaderSize(r, 64<<10), heard: heard}
}

// maxEventBytes bounds an event: a whole ruleset and what frames it.
const maxEventBytes = eval.MaxDocumentBytes + 4096

// next returns the next event that has data, or the next comment. Ids are
// left out, since a ruleset tells its version itself, and so are retry times,
// since the provider has its own.
func (r *eventReader) next() (event, error) {
	var e event
	for size := 0; ; {
		line, err := r.line()
		if err != nil {
			return event{}, err
		}
		if size += len(line); size > maxEventBytes {
			return event{}, errors.New("an event is too large")
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) == 0 && e.data != nil:
			if e.name == "" {
				e.name = "message"
			}
			return e, nil
		case len(line) == 0:
			e, size = event{}, 0
		case len(field) == 0:
			if e.name == "" && e.data == nil {
				return event{}, nil
			}
		case string(field) == "event":
			e.name = string(value)
		case string(field) == "data":
			if e.data != nil {
				e.data = append(e.data, '\n')
			}
			e.data = append(e.data, value...)
			if e.data == nil {
				e.data = []byte{}
			}
		}
	}
}

// line reads one line, without its end.
func (r *eventReader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := r.r.ReadSlice('\n')
		if len(part) > 0 {
			r.heard()
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > maxEventBytes:
			return nil, errors.New("a line is too long")
		}
	}
}
