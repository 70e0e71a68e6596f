package cli

import "runtime/debug"

// settle gives back the memory that only the start needed: the garbage of reading
// and compiling rulesets, and the code that initialises packages, which is spread
// over the whole program.
func settle() {
	debug.FreeOSMemory()
	unmapCode()
}
