package api

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/service"
)

// limitContext is how many bytes an evaluation context may have.
const limitContext = 64 << 10

// ofrepRequest is the body of an OFREP evaluation.
type ofrepRequest struct {
	Context flyball.Attributes `json:"context"`
}

// An asked is what a request of OFREP asks for: a context, in the form in which
// evaluators read it, and as it was written. It is used again and again.
type asked struct {
	context eval.Context
	written []attribute // as far as any answer can depend on them
	whole   []byte      // what the tag of an answer is made of, one for each context, once it is spelled
	buffer  []byte      // for the body, and then for whatever is put together
	key     []byte      // the scratch paper of bulk answers, with the two that follow
	numbers []byte
	met     []*encoded
}

// An attribute is one of a context as it was written.
type attribute struct{ name, json string }

var askedPool = sync.Pool{New: func() any { return new(asked) }}

// release gives a back. Its memory stays bounded: a large one is left to the
// garbage collector.
func (a *asked) release() {
	a.empty()
	if cap(a.buffer) <= maxBuffer {
		askedPool.Put(a)
	}
}

func (a *asked) empty() {
	a.context.Reset("")
	clear(a.written)
	clear(a.met)
	a.written, a.met, a.whole = a.written[:0], a.met[:0], a.whole[:0]
}

// maxBuffer is how large a buffer may be that is kept for the next request.
const maxBuffer = 512 << 10

// readContext reads the evaluation context of a request; a body that is absent
// is an empty context. Of the attributes it may leave out those that are not in
// reads.
func readContext(w http.ResponseWriter, r *http.Request, reads map[string]bool) (*asked, error) {
	a := askedPool.Get().(*asked)
	body, err := a.read(w, r)
	if err == nil {
		err = a.parse(body, reads)
	}
	if err != nil {
		a.release()
		return nil, err
	}
	return a, nil
}

// read is [readBody] without garbage, if the request says how long its body is.
func (a *asked) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	n := int(r.ContentLength)
	if n < 0 || n > limitContext {
		return readBody(w, r, limitContext)
	}
	a.buffer = slices.Grow(a.buffer[:0], n)[:n]
	if n == 0 {
		return nil, nil
	}
	if _, err := io.ReadFull(r.Body, a.buffer); err != nil {
		return nil, brokeOff(err)
	}
	return a.buffer, nil
}

// parse reads a body: in one go if it is as most are, and else by way of maps,
// which gives the same.
func (a *asked) parse(body []byte, reads map[string]bool) error {
	if len(body) == 0 {
		return nil
	}
	if a.quick(string(body)) {
		return nil
	}
	return a.thorough(body, reads)
}

// thorough reads any body, and tells what is wrong with it.
func (a *asked) thorough(body []byte, reads map[string]bool) error {
	var in ofrepRequest
	if tooDeep(body) {
		return flyball.FieldErrorf("context", "nests more than %d deep", maxNesting)
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return flyball.FieldErrorf("context", "not an evaluation context: %s", readable(err))
	}
	ec, err := service.ContextOf(in.Context)
	if err != nil {
		return err
	}
	canonical, err := json.Marshal(in.Context)
	if err != nil {
		return err
	}
	a.whole = append(append(a.whole[:0], 0), canonical...) // no context that is read quickly begins so
	a.context.Reset(ec.TargetingKey)
	a.written = a.written[:0]
	for _, name := range slices.Sorted(maps.Keys(in.Context)) {
		if !reads[name] {
			continue // of thousands of attributes, each search would be through all
		}
		value, err := json.Marshal(in.Context[name])
		if err != nil {
			return err
		}
		a.context.Set(name, in.Context[name])
		a.written = append(a.written, attribute{name, string(value)})
	}
	return nil
}

// spell writes the whole context down, in the order of the names, if it was read
// quickly. What was given twice stays in its order.
func (a *asked) spell() {
	if len(a.whole) > 0 {
		return
	}
	slices.SortStableFunc(a.written, func(x, y attribute) int { return cmp.Compare(x.name, y.name) })
	for i := range a.written {
		a.whole = appendText(appendText(a.whole, a.written[i].name), a.written[i].json)
	}
}

// only writes down what the context says of some attributes, whose names are
// sorted. What follows of it is the same if that is the same.
func (a *asked) only(dst []byte, names []string) []byte {
	i := 0
	for _, name := range names {
		for i < len(a.written) && a.written[i].name < name {
			i++
		}
		value := ""
		for ; i < len(a.written) && a.written[i].name == name; i++ {
			value = a.written[i].json // the last one counts
		}
		dst = appendText(dst, value)
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// maxQuick is how many attributes quick reads: more are better kept in a map.
const maxQuick = 64

// quick reads a body that is a context of at most 64 attributes, none of them an
// object or a list, and nothing else. It says false, and that means nothing, for
// all other bodies: those that are wrong, and those that are only unusual. Names
// count as they are spelled, so that {"Context": …}, which encoding/json takes
// too, is unusual. Before, a is as a new one.
func (a *asked) quick(body string) bool {
	p := parser{text: body}
	if !p.next('{') {
		return false
	}
	if !p.next('}') {
		if name, ok := p.string(); !ok || name != "context" || !p.next(':') || !p.next('{') {
			return false
		}
		if !p.next('}') && !a.attributes(&p) {
			return false
		}
		if !p.next('}') {
			return false
		}
	}
	p.space()
	return p.at == len(p.text)
}

// attributes reads what stands between the braces of an object, and the second
// brace.
func (a *asked) attributes(p *parser) bool {
	for range maxQuick {
		name, ok := p.string()
		if !ok || !p.next(':') {
			return false
		}
		p.space()
		from := p.at
		if !a.value(p, name) {
			return false
		}
		a.written = append(a.written, attribute{name, p.text[from:p.at]})
		if p.next('}') {
			return true
		}
		if !p.next(',') {
			return false
		}
	}
	return false
}

// value reads one attribute.
func (a *asked) value(p *parser, name string) bool {
	c := p.peek()
	if name == flyball.AttributeTargetingKey && c != '"' {
		return false
	}
	switch {
	case c == '"':
		text, ok := p.string()
		if !ok {
			return false
		}
		a.context.String(name, text)
		if name == flyball.AttributeTargetingKey {
			a.context.Retarget(text)
		}
		return true
	case c == 't':
		a.context.Bool(name, true)
		return p.word("true")
	case c == 'f':
		a.context.Bool(name, false)
		return p.word("false")
	case c == 'n':
		a.context.Set(name, nil)
		return p.word("null")
	}
	return a.number(p, name)
}

// number reads whole numbers as integers as long as they fit, and all others as
// floats.
func (a *asked) number(p *parser, name string) bool {
	text, whole := p.number()
	if whole {
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			a.context.Int(name, i)
			return true
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if text == "" || err != nil || math.IsInf(f, 0) {
		return false
	}
	a.context.Float(name, f)
	return true
}
