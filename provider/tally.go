package provider

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// A tally counts evaluations of one flag and variant, in lanes of which each
// goroutine keeps to its own, so that processors do not wait for each other's
// cache.
type tally struct{ lanes []laneCount }

type laneCount struct {
	n atomic.Int64
	_ [56]byte // a cache line each
}

// lanes is how many lanes a count has: a power of two, several for each
// processor, so that two goroutines rarely share one.
func lanes() int { return 1 << bits.Len(uint(8*runtime.GOMAXPROCS(0)-1)) }

// lane returns one of n lanes, n being a power of two; as long as its stack
// does not move, the same for one goroutine. There is nothing else cheap that
// tells goroutines apart: a random lane would move between the processors'
// caches at every second count.
func lane(n int) uint32 {
	var here byte
	// No two stacks share the same 2 KiB.
	stack := uint32(uintptr(unsafe.Pointer(&here)) >> 11)
	return stack * 0x9e3779b1 >> 7 & uint32(n-1) // Fibonacci hashing (Knuth, TAOCP 6.4)
}

func (t *tally) add() { t.lanes[lane(len(t.lanes))].n.Add(1) }

// take returns what was counted since it was last asked.
func (t *tally) take() (n int64) {
	for i := range t.lanes {
		if l := &t.lanes[i].n; l.Load() != 0 { // a swap would take the line from its processor
			n += l.Swap(0)
		}
	}
	return n
}

// tally returns the tally of a flag and a variant, always the same; nil if
// there are too many.
func (r *recorder) tally(flag, variant string) *tally {
	key := pair{flag, variant}
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tallies[key]
	if t == nil && len(r.tallies) < maxPairs {
		t = &tally{lanes: make([]laneCount, lanes())}
		r.tallies[key] = t
	}
	return t
}
