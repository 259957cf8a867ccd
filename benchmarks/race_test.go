//go:build race

package benchmarks

// spilled is how many objects a sync.Pool loses on the way: under the race
// detector, one of four on purpose.
const spilled = 1
