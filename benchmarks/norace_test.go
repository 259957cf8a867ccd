//go:build !race

package benchmarks

// spilled is how many objects a sync.Pool loses on the way.
const spilled = 0
