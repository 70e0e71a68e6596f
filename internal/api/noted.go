package api

import (
	"sync"
	"time"

	"github.com/flyballdev/flyball/internal/service"
)

// A noter tells that flags are in use of which nobody else tells: those that this
// server evaluates itself, and those of programs that count nothing. Of each it
// tells about once an hour.
type noter struct {
	tell func(environment string, flags []string) // nil is never told

	mu   sync.Mutex
	last map[notedAs]int64 // the hour in which it was told last
}

// notedAs is one flag, or all flags that a class of tokens sees.
type notedAs struct{ environment, flag, class string }

func (n *noter) flag(environment, key string) {
	if n.due(notedAs{environment: environment, flag: key}) {
		n.tell(environment, []string{key})
	}
}

func (n *noter) all(environment, class string, keys func() []string) {
	if n.due(notedAs{environment: environment, class: class}) {
		n.tell(environment, keys())
	}
}

func (n *noter) due(what notedAs) bool {
	if n.tell == nil {
		return false
	}
	hour := time.Now().Unix() / 3600
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last[what] == hour {
		return false
	}
	if n.last == nil || len(n.last) > maxNoted {
		n.last = map[notedAs]int64{}
	}
	n.last[what] = hour
	return true
}

const maxNoted = 50_000

// noteAll notes that a program evaluates all flags of a ruleset, as far as its
// token opens them.
func (s *Server) noteAll(head *service.Published, p *service.Principal) {
	s.noted.all(p.Environment, p.Class, func() (keys []string) {
		for _, f := range head.Doc().Flags {
			if visible(p, head.Compiled, f.Key) {
				keys = append(keys, f.Key)
			}
		}
		return keys
	})
}
