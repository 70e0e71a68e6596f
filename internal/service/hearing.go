package service

import "sync"

// A hearing is how far this node has heard of the audit log, and wakes those who
// wait for more of it.
type hearing struct {
	mu     sync.Mutex
	newest int64
	next   chan struct{} // closed and replaced when there is a newer entry
}

// now returns the number of the newest entry, and what is closed when there is a
// newer one.
func (h *hearing) now() (newest int64, next <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next == nil {
		h.next = make(chan struct{})
	}
	return h.newest, h.next
}

// of tells of an entry; one that is known already wakes nobody.
func (h *hearing) of(entry int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if entry <= h.newest {
		return
	}
	h.newest = entry
	if h.next != nil {
		close(h.next)
		h.next = nil
	}
}

// Heard returns the number of the newest entry of the audit log that this node
// knows of, and a channel that is closed when it knows of a newer one.
func (s *Service) Heard() (newest int64, next <-chan struct{}) { return s.heard.now() }
