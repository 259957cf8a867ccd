// Package weakservers has no code of its own. Its tests start servers that are weak
// on purpose, as their libraries' first examples are, and see that the scanner
// finds what is wrong with each, and nothing with a guard.
package weakservers
