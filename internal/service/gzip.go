package service

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"slices"
)

// GzipHeader begins every gzip stream: deflate, no name, no time, any system.
var GzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}

// Deflate returns data as a piece of a deflate stream. It refers to nothing
// that comes before it and ends at a whole byte, so that it may stand anywhere
// in any stream, and a reader has all of it once it has its last byte.
func Deflate(data []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestSpeed) // the level is one that there is
	w.Write(data)                                // to memory, which does not fail
	w.Flush()
	return b.Bytes()
}

// Stored is Deflate for what is too small to be worth compressing.
func Stored(data []byte) []byte {
	var b []byte
	for len(data) > 0 {
		n := min(len(data), 1<<16-1)
		b = append(b, 0, byte(n), byte(n>>8), ^byte(n), ^byte(n>>8))
		b = append(b, data[:n]...)
		data = data[n:]
	}
	return append(b, 0, 0, 0, 0xff, 0xff) // nothing, which has readers hand out what they have
}

// GzipEnd returns what ends a gzip stream of so many bytes with this checksum.
func GzipEnd(sum uint32, size int64) []byte {
	b := []byte{3, 0} // a last block, empty
	b = binary.LittleEndian.AppendUint32(b, sum)
	return binary.LittleEndian.AppendUint32(b, uint32(size))
}

// Gzip returns data as gzip, given what [Deflate] made of it.
func Gzip(data, deflated []byte) []byte {
	return slices.Concat(GzipHeader, deflated, GzipEnd(crc32.ChecksumIEEE(data), int64(len(data))))
}
