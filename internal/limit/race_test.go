//go:build race

package limit_test

// The race detector makes each access thirty times as slow, so tables are smaller, and what they forget noisier.
const (
	smaller = 16
	noise   = 2
)
