// Package benchmarks measures the guard beside other libraries, and beside its
// own targets. `make bench` runs it and writes docs/benchmarks.md.
//
// Times swing on any machine that has other work, so a ratio is that of a pair
// whose sides alternate within one run (pair.go). What is exact, such as
// allocations, bytes and goroutines, is an ordinary test. Everything is a file
// for its subject: message_test.go, idle_test.go, handshake_test.go,
// limiter_test.go, refuse_test.go, flood_test.go, storm_test.go.
package benchmarks
