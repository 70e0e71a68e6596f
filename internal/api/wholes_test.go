package api

import (
	"fmt"
	"testing"
)

// However many contexts are asked for, what is kept of them is bounded.
func TestWhatIsKeptOfBulkAnswersIsBounded(t *testing.T) {
	w := wholes{byAnswer: map[string][]byte{}, byAsked: map[string][]byte{}}
	body, kept := make([]byte, maxWholes/10), 0
	for i := range 20 {
		if got := w.keep(fmt.Append(nil, i), body); got != nil {
			kept++
			if &got[0] == &body[0] {
				t.Fatal("what is kept is not a copy")
			}
		}
	}
	if kept != 9 || len(w.byAnswer) != 9 || w.bytes > maxWholes {
		t.Errorf("%d are kept, of %d bytes", kept, w.bytes)
	}
	if got := w.keep([]byte("a small one"), []byte("x")); string(got) != "x" {
		t.Error("what fits is not kept")
	}
	w.remember(make([]byte, maxAsking+1), body)
	for i := range 2 * maxAsked {
		w.remember(fmt.Append(nil, i), body)
	}
	if len(w.byAsked) != maxAsked || w.find(w.byAsked, []byte("7")) == nil {
		t.Errorf("%d contexts are remembered", len(w.byAsked))
	}
}
