//go:build race

package api_test

// raced says that the race detector is on, under which large bodies take long.
const raced = true
