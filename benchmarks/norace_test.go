//go:build !race

package benchmarks

// spilled is how many objects may be made anew, since a sync.Pool lost one.
const spilled = 0
