package eval

import "sync/atomic"

// A Holder hands every reader one whole ruleset, and swaps it in one step. The
// zero Holder is empty.
type Holder struct{ current atomic.Pointer[Ruleset] }

// Current returns the ruleset in force; nil before the first Offer. A nil
// ruleset evaluates every flag to PROVIDER_NOT_READY.
func (h *Holder) Current() *Ruleset { return h.current.Load() }

// Offer puts rs in force, unless one at least as new, by epoch and version, is
// in force already: a late answer to an old poll must not undo a kill.
func (h *Holder) Offer(rs *Ruleset) bool {
	for {
		old := h.current.Load()
		if old != nil && !old.id.Before(rs.id) {
			return false
		}
		if h.current.CompareAndSwap(old, rs) {
			return true
		}
	}
}
