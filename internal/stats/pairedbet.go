package stats

import "math"

// A Block pairs the mean of some treatment observations with that of the
// control observations of the same moment. No control observation may be in two
// blocks: the mean that errs low in one would err low in the next, and the bets
// would compound its luck.
type Block struct {
	Treatment float64 // mean of one or more observations
	Control   float64 // mean of one or more observations
	// DesignEffect is by how much the observations of one unit have so far
	// repeated each other (Moments.DesignEffect); 1 or less means that they are
	// independent.
	DesignEffect float64
}

// A PairedBet is the breaker for the mean of a metric that is never negative,
// such as latency. In each block alternative k bets a fraction of its capital on
// the treatment's being above the margin,
//
//	L[k] = max(0.01, 1 + λ[k]·(x_T − (1+d)·x_C − δ)),   λ[k] = F[k]/(δ + 2(1+d)·ĉ),
//
// where ĉ is control's mean as it was known before the block. If the mean is
// within the margin the bet cannot win on average, whatever the variance and
// however heavy the upper tail: the guarantee is [exact] as long as no block's
// control mean exceeds some 4ĉ, where the floor of 0.01 begins to bind
// (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
// betting", 2024).
//
// Where higher is better it bets on y = Cap − x, and the null, E x_T at least
// (1−d)·E x_C − δ, becomes E y_T at most (1−d)·E y_C + d·Cap + δ.
type PairedBet struct {
	Breaker
	Margin  Margin  `json:"margin"`
	Cap     float64 `json:"cap,omitempty"`
	Control float64 `json:"control"` // ĉ, in terms of y where higher is better
	Blocks  int64   `json:"blocks"`  // seen so far; the first only sets ĉ
}

// The fractions of the most that may be lost which the alternatives stake.
var fractions = Alternatives{0.02, 0.05, 0.12, 0.25, 0.5}

const (
	forget    = 0.05 // weight of a new block in ĉ
	leastLeft = 0.01 // part of its capital that a bet always keeps
)

// NewPairedBet returns the breaker of a mean with margin m. highest is needed
// only where higher is better: no observation may exceed it, so the caller caps
// those of both arms at it, at a value fixed before they were seen.
func NewPairedBet(m Margin, highest float64, s Schedule) PairedBet {
	return PairedBet{Breaker: NewBreaker(5, s), Margin: m, Cap: highest}
}

// Observe counts a block that closed at t, in seconds since the rollout's start.
// Values below 0, and above Cap where higher is better, count as the bound.
func (p *PairedBet) Observe(t float64, b Block) {
	x, c, slope, margin := max(b.Treatment, 0), max(b.Control, 0), 1+p.Margin.Relative, p.Margin.Absolute
	if p.Margin.HigherIsBetter {
		x, c = max(0, p.Cap-x), max(0, p.Cap-c)
		slope, margin = p.Margin.Ratio(), p.Margin.Absolute+p.Margin.Relative*p.Cap
	}
	if !(max(x, c, b.DesignEffect) <= MaxValue) {
		return
	}
	if scale := margin + 2*slope*p.Control; p.Blocks > 0 && scale > 0 {
		var ratios Alternatives
		d := p.temper(b.DesignEffect)
		excess := (x - slope*c - margin) / scale
		for k, f := range fractions {
			ratios[k] = max(leastLeft, 1+f*excess)
			if d > 1 {
				ratios[k] = math.Pow(ratios[k], 1/d)
			}
		}
		p.Multiply(t, &ratios)
	}
	if p.Blocks++; p.Blocks == 1 {
		p.Control = c
	} else {
		p.Control += forget * (c - p.Control)
	}
}
