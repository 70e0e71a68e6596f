package stats

import "math"

// A Baseline is what is known of control's rate before a batch.
type Baseline struct {
	X float64 `json:"x"`
	N float64 `json:"n"`
}

const (
	baselineDoubt = 50   // trials without an event that it begins with, so as rather to say too little
	baselineSpan  = 4000 // trials after which older ones fade
	baselineFades = 0.75
	mostRate      = 0.9 // that an alternative supposes
)

func (b Baseline) rate() float64 { return b.X / (b.N + baselineDoubt) }

func (b *Baseline) learn(e Events) {
	b.X += float64(e.Control)
	b.N += float64(e.ControlTrials)
	if b.N > baselineSpan {
		b.X *= baselineFades
		b.N *= baselineFades
	}
}

// factors are those of a batch for each alternative: of each event in an arm,
// and of all trials together, had none of them had the event.
type factors struct{ treatment, control, none Alternatives }

// trialBets returns what the outcomes of a batch's trials are worth: for an
// alternative at which control's rate is c, as it was known before, and the
// treatment's t = ratio·grid·c,
//
//	treatment:  event t/(r·p),  none (1−t)/(1−r·p)
//	control:    event c/p,      none (1−c)/(1−p)
//
// with r the null ratio and p the rate at which the null is nearest to the
// alternative: that which solves π(1−p)(rp−t) + (1−π)(1−rp)(p−c) = 0. The null "the
// treatment's rate is at most r times control's, whatever that is" is a convex set
// of laws of one trial, so that this ratio has expectation at most 1 under all of
// them, [exact], and for any c (Grünwald, de Heide and Koolen, "Safe testing", 2024;
// Turner, Ly and Grünwald, "Generic E-variables for exact sequential k-sample
// tests", 2024). Over the trials of a batch it is so too, whether π was the chance of
// each to be treated or is the share that was. Where c is small it is the label
// process; the larger it is, the more a success tells as well.
func (l *Labels) trialBets(e Events) (b factors) {
	c, share, r := l.Base.rate(), e.Share, l.Ratio
	null := odds(share, r)
	for k, g := range l.Grid {
		t := min(r*g*c, mostRate)
		if !(c > 0) || r*c >= mostRate || g == 1 || (g > 1) != (t > r*c) {
			b.control[k] = null / odds(share, r*g)
			b.treatment[k] = b.control[k] * g
			b.none[k] = 1
			continue
		}
		half := (share*(r+t) + (1-share)*(1+r*c)) / 2
		mean := share*t + (1-share)*c
		p := mean / (half + math.Sqrt(half*half-r*mean))
		b.treatment[k] = t * (1 - r*p) / (r * p * (1 - t))
		b.control[k] = c * (1 - p) / (p * (1 - c))
		b.none[k] = math.Exp(float64(e.TreatmentTrials)*math.Log1p((r*p-t)/(1-r*p)) +
			float64(e.ControlTrials)*math.Log1p((p-c)/(1-p)))
	}
	return b
}

// observeTrials counts a batch whose trials are known.
func (l *Labels) observeTrials(t float64, e Events) {
	b := l.trialBets(e)
	if l.Limit > 0 && e.Treatment+e.Control == 1 && l.E() <= l.Limit {
		multiply(&b.treatment, &b.none)
		multiply(&b.control, &b.none)
		l.one(t, e, &b.treatment, &b.control)
	} else {
		power(&b.none, &b.treatment, e.Treatment)
		power(&b.none, &b.control, e.Control)
		l.Multiply(t, &b.none)
	}
	l.Base.learn(e)
}

// power multiplies a by b^n.
func power(a, b *Alternatives, n int64) {
	if n <= few {
		for range n {
			multiply(a, b)
		}
		return
	}
	for k := range a {
		a[k] *= math.Pow(b[k], float64(n))
	}
}
