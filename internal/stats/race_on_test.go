//go:build race

package stats

// The race detector makes arithmetic some ten times slower, and there is nothing
// here to race: the simulations are cut down under it.
const raceDetector = true
