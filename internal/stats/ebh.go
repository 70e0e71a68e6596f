package stats

import (
	"cmp"
	"slices"
)

// BenjaminiHochberg tells which of many null hypotheses to reject so that, of
// those rejected, at most a part alpha is expected to be true, given an e-value
// for each that may depend on the others in any way: the k largest, for the
// largest k whose k-th is at least K/(k·alpha) (Wang and Ramdas, "False discovery
// rate control with e-values", 2022). [exact]
func BenjaminiHochberg(e []float64, alpha float64) []bool {
	order := make([]int, len(e))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(e[b], e[a]) })
	reject := make([]bool, len(e))
	for k := len(order); k > 0; k-- {
		if e[order[k-1]] >= float64(len(e))/(float64(k)*alpha) {
			for _, i := range order[:k] {
				reject[i] = true
			}
			break
		}
	}
	return reject
}
