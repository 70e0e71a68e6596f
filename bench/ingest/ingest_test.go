package main

import (
	"testing"
)

// A short run: whatever the machine does meanwhile, every observation counts once,
// and memory stays within its bound.
func TestEveryObservationIsCountedOnce(t *testing.T) {
	f, err := bench(t.Context(), config{seconds: 1, rounds: 1, rate: 20_000})
	if err != nil {
		t.Fatal(err)
	}
	if f.Sent == 0 || f.Wrong != 0 {
		t.Errorf("of %d observations the evidence counts %+d", f.Sent, f.Wrong)
	}
	if f.Peak == 0 || f.Peak > 256<<20 {
		t.Errorf("%d MB of memory, want at most 256", f.Peak>>20)
	}
	if len(f.Meanwhile) != 2 || f.Meanwhile[0].Busy.N == 0 || f.Meanwhile[1].Busy.N == 0 {
		t.Errorf("nothing was looked at meanwhile: %+v", f.Meanwhile)
	}
}
