package eval

import "testing"

// The hashes are the reference implementation's, with seed 0.
func TestHashIsMurmur3(t *testing.T) {
	for text, want := range map[string]uint32{
		"": 0, "test": 0xba6bd213, "Hello, world!": 0xc0363e43,
		"The quick brown fox jumps over the lazy dog": 0x2e4ff723,
	} {
		for cut := range len(text) + 1 {
			if got := (hash{}).write(text[:cut]).write(text[cut:]).sum(); got != want {
				t.Errorf("%q cut at %d: %#x, want %#x", text, cut, got, want)
			}
		}
	}
}
