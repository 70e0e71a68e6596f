package stats

import (
	"math"
	"testing"
)

func TestSingleStreamOracle(t *testing.T) {
	var o struct {
		Z   []float64
		Log []float64 `json:"log_stat"`
	}
	oracle(t, "single_stream_sr", &o)
	w := NewWatch(5, 1e9)
	for i, z := range o.Z {
		ratios := shiftRatios(z)
		w.Multiply(&ratios)
		nearLog(t, "log R", math.Log(w.Statistic()), o.Log[i])
	}
}

// A noisy stream: noise of Student's t with five degrees of freedom, each sample
// depending on the one before, over a daily wave.
type noisy struct {
	s         *stream
	rho, last float64
	t         float64
}

func (n *noisy) next() float64 {
	chi := 0.0
	for range 5 {
		z := n.s.normal()
		chi += z * z
	}
	student := n.s.normal() / math.Sqrt(chi/5) / math.Sqrt(5.0/3) // of variance 1
	n.last = n.rho*n.last + math.Sqrt(1-n.rho*n.rho)*student
	n.t++
	return 100 + 5*n.last + 10*math.Sin(2*math.Pi*n.t/86400)
}

const month = 30 * 86400 // samples, at one a second

func TestMonitorIsQuietOnHealthyStreams(t *testing.T) {
	const seed = 421
	n, hours := runs(40, 6), 12
	if nightly {
		hours = 48
	}
	alarms, naive := 0, 0
	for k, rho := range []float64{0, 0.5, 0.9} {
		for i := range n {
			stream := &noisy{s: seedOf(seed, 3*i+k), rho: rho}
			m, plain := NewMonitor(month), NewWatch(5, month)
			alarmed := false
			for range hours * 3600 {
				y := stream.next()
				alarmed = m.Observe(y) || alarmed
				if rho == 0.5 {
					ratios := shiftRatios((y - 100) / 5) // what is known of the level and the noise, not the rest
					plain.Multiply(&ratios)
				}
			}
			if alarmed {
				alarms++
			}
			if plain.Alarmed {
				naive++
			}
		}
	}
	days := float64(3*n*hours) / 24
	most := mostFalse(int(days*24), 1.0/30/24)
	t.Logf("%d alarms in %.0f stream-days, at most %d; without whitening %d of %d streams", alarms, days, most, naive, n)
	if alarms > most {
		t.Errorf("%d alarms in %.0f stream-days, at most %d may (seed %d)", alarms, days, most, seed)
	}
	if naive < n {
		t.Errorf("without whitening %d of %d alarm: the test does not show the trap (seed %d)", naive, n, seed)
	}
}

// Delays, in samples, as measured for such a detector.
func TestMonitorFindsAShift(t *testing.T) {
	const seed = 422
	n := runs(200, 100)
	for _, tt := range []struct{ shift, most float64 }{{2, 25.3}, {3, 10.8}, {5, 4.4}, {8, 3.1}, {-3, 10.8}} {
		var delays []float64
		early := 0
		for i := range n {
			stream, m := &noisy{s: seedOf(seed, i), rho: 0.5}, NewMonitor(month)
			for range 3600 {
				m.Observe(stream.next())
			}
			if m.Alarmed() {
				early++
				continue
			}
			for d := 1; d <= 3600; d++ {
				if m.Observe(stream.next() + 5*tt.shift) {
					delays = append(delays, float64(d))
					break
				}
			}
		}
		got := mean(delays)
		t.Logf("%+.0f standard deviations: %.1f samples", tt.shift, got)
		if most := tt.most * (1.15 + 2/math.Sqrt(float64(n))); got > most || len(delays)+early < n || early > n/20 {
			t.Errorf("%+v: %.1f samples, at most %.1f; %d found, %d early, of %d (seed %d)", tt, got, most, len(delays), early, n, seed)
		}
	}
}

// A shift that lasts is not learnt away before it is found, a stream that does not
// move at all alarms at nothing, and after a restart it is as before.
func TestMonitorKeepsItsGround(t *testing.T) {
	still := NewMonitor(month)
	for range 5000 {
		if still.Observe(7) {
			t.Fatal("a stream that does not move alarmed")
		}
	}
	stream, m := &noisy{s: newStream(423)}, NewMonitor(month)
	for range 3000 {
		m.Observe(stream.next())
	}
	level := m.Level
	m.Observe(math.NaN())
	for range 50 {
		m.Observe(stream.next() + 40)
	}
	if !m.Alarmed() || math.Abs(m.Level-level) > 3 {
		t.Errorf("alarmed %v, the level moved from %v to %v", m.Alarmed(), level, m.Level)
	}
	m.Restart()
	if m.Alarmed() || m.Observe(stream.next()) {
		t.Error("alarmed after a restart")
	}
}

// The average time to a false alarm is at least what was asked for, also if the
// treatment is as bad as the margin allows.
func TestRateWatchKeepsItsAverageRunLength(t *testing.T) {
	const seed = 424
	n := runs(1000, 300)
	const arl = 2000
	lengths := 0.0
	for i := range n {
		s, w, updates := seedOf(seed, i), NewRateWatch(Margin{Relative: 0.1}, arl), 0
		theta := 0.95 * 1.1 / (1 + 0.95*0.1) // a holdback of 5 %
		for updates < 40*arl {
			updates++
			if w.Observe(event(0.95, s.chance(theta))) {
				break
			}
		}
		lengths += float64(updates) / float64(n)
	}
	t.Logf("a false alarm after %.0f batches on average, %v or more were asked for", lengths, arl)
	if lengths < arl*(1-4/math.Sqrt(float64(n))) {
		t.Errorf("a false alarm after %.0f batches on average, %v were asked for (seed %d)", lengths, arl, seed)
	}
	s, w, updates := seedOf(seed, 0), NewRateWatch(Margin{Relative: 0.1}, arl), 0
	for theta := 0.95 * 3 / (1 + 0.95*2); !w.Observe(event(0.95, s.chance(theta))) && updates < 10*arl; {
		updates++
	}
	if updates > 1000 {
		t.Errorf("three times the errors at a holdback of 5 %%: not found in %d events (seed %d)", updates, seed)
	}
	if before := w; !w.Observe(Events{Share: 1, Treatment: 1}) || w != before {
		t.Error("a batch of one arm counts")
	}
	w.Restart()
	if w.Alarmed || w.Statistic() != 0 {
		t.Error("no restart")
	}
}

func TestHardLimit(t *testing.T) {
	type sample struct {
		t, x float64
		want bool
	}
	for name, tt := range map[string]struct {
		limit   HardLimit
		samples []sample
	}{
		"held for long enough": {HardLimit{Value: 90, Seconds: 30}, []sample{
			{0, 95, false}, {15, 91, false}, {29.9, 99, false}, {30, 92, true}, {31, 90, false}, {32, 95, false},
		}},
		"a dip begins it anew": {HardLimit{Value: 90, Seconds: 30}, []sample{
			{0, 95, false}, {20, 80, false}, {25, 95, false}, {50, 95, false}, {55, 95, true},
		}},
		"two lone samples are no duration": {HardLimit{Value: 90, Seconds: 30}, []sample{
			{0, 95, false}, {3600, 95, false}, {3615, 95, false}, {3630, 95, true},
		}},
		"a gap that is too long": {HardLimit{Value: 90, Seconds: 30, MaxGap: 5}, []sample{
			{0, 95, false}, {10, 95, false}, {30, 95, false},
		}},
		"below": {HardLimit{Value: 10, Below: true, Seconds: 1}, []sample{
			{0, 9, false}, {1, 9, true}, {2, 10, false},
		}},
		"what is no number, or comes late": {HardLimit{Value: 90, Seconds: 2}, []sample{
			{0, 95, false}, {1, math.NaN(), false}, {2, 95, true}, {1, 20, true}, {3, math.NaN(), true}, {3, 20, false},
		}},
		"at once": {HardLimit{Value: 90}, []sample{{5, 91, true}}},
	} {
		h := tt.limit
		for i, s := range tt.samples {
			if got := h.Observe(s.t, s.x); got != s.want {
				t.Errorf("%s: sample %d, %+v: exceeded %v", name, i, s, got)
			}
		}
	}
}
