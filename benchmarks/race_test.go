//go:build race

package benchmarks

// spilled is how many objects may be made anew: under the race detector, a
// sync.Pool loses one of four on purpose.
const spilled = 2
