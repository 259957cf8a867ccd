//go:build !race

package limit_test

const (
	smaller = 1
	noise   = 1
)
