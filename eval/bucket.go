package eval

import (
	"math/bits"

	"github.com/flyballdev/flyball"
)

// Point places a unit on a ring of one million points, of which a seed makes
// one ring each: murmur3_x86_32 with seed 0 over the UTF-8 bytes of
// seed + ":" + unit, scaled to [0, 1,000,000). It is hash version 2 and will
// never change, since it decides who gets what. Raising a variant's weight
// moves its upper edge only, so nobody who has the first variant of a split
// loses it.
//
// The hash is MurmurHash3 by Austin Appleby (smhasher), and the scaling is
// Daniel Lemire's "Fast Random Integer Generation in an Interval" (2019).
func Point(seed, unit string) uint32 {
	return ring(seed).point(unit)
}

// Unit returns what of a context a split by an attribute places on the ring;
// an empty attribute is the targeting key.
func Unit(ec *flyball.EvaluationContext, by string) (unit string, ok bool) {
	at := compileAttribute(by)
	if at.unit {
		return ec.TargetingKey, ec.TargetingKey != ""
	}
	st := state{key: ec.TargetingKey, attributes: ec.Attributes}
	return st.value(nil, &at, 0).unit()
}

// ring returns the hash of what all units of a seed have in common.
func ring(seed string) hash { return hash{}.write(seed).write(":") }

func (m hash) point(unit string) uint32 {
	return uint32(uint64(m.write(unit).sum()) * flyball.PPM >> 32)
}

// A hash is murmur3_x86_32 of what was written so far. It is a value: a copy
// goes on from there, and so a seed is hashed once for all units.
type hash struct {
	h    uint32
	tail uint32 // the last n%4 bytes, which are no whole block yet
	n    uint32 // bytes written
}

func (m hash) write(s string) hash {
	shift := m.n % 4 * 8
	m.n += uint32(len(s))
	for len(s) >= 4 {
		w := uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
		m.h = block(m.h, m.tail|w<<shift)
		m.tail = w >> (32 - shift)
		s = s[4:]
	}
	for i := range len(s) {
		m.tail |= uint32(s[i]) << shift
		if shift += 8; shift == 32 {
			m.h = block(m.h, m.tail)
			m.tail, shift = 0, 0
		}
	}
	return m
}

func block(h, k uint32) uint32 {
	k = bits.RotateLeft32(k*0xcc9e2d51, 15) * 0x1b873593
	return bits.RotateLeft32(h^k, 13)*5 + 0xe6546b64
}

func (m hash) sum() uint32 {
	h := m.h ^ bits.RotateLeft32(m.tail*0xcc9e2d51, 15)*0x1b873593
	h ^= m.n
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}
