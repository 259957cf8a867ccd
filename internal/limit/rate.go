// Package limit keeps bounded tables: Cells counts rates in a fixed number of cells, Seen remembers a fixed number of
// single-use values. Whatever a client sends, neither grows beyond its size, and both say so when they had to forget.
package limit

import (
	"errors"
	"math"
	"time"
)

// Rate is N tokens per Per, with room for Burst of them; Burst zero stands for N.
type Rate struct {
	N     int
	Per   time.Duration
	Burst int
}

// longest bounds how far ahead of the clock a bucket can reach, so that no sum of times overflows a cell.
const longest = 5 * 365 * 24 * time.Hour

var (
	errRate  = errors.New("limit: a rate needs a positive N and a positive Per")
	errBurst = errors.New("limit: a negative burst")
	errLong  = errors.New("limit: an empty bucket takes over five years to fill")
)

// Valid tells what is wrong with r.
func (r Rate) Valid() error {
	if r.N <= 0 || r.Per <= 0 {
		return errRate
	}
	if r.Burst < 0 {
		return errBurst
	}
	l := NewLimit(r)
	if l.full > int64(longest) {
		return errLong
	}
	return nil
}

// Limit is a Rate made ready: GCRA in whole nanoseconds.
type Limit struct {
	every int64 // emission interval: one token's time, rounded up, so never more than N are admitted per Per
	full  int64 // the time an empty bucket takes to fill: burst × every
}

// NewLimit prepares r, which must be valid; an invalid one makes a Limit that admits next to nothing.
func NewLimit(r Rate) Limit {
	if r.N <= 0 || r.Per <= 0 || r.Burst < 0 {
		return Limit{every: int64(longest), full: int64(longest)}
	}
	burst := int64(r.Burst)
	if burst == 0 {
		burst = int64(r.N)
	}
	every := int64(r.Per) / int64(r.N)
	if every*int64(r.N) != int64(r.Per) {
		every++
	}
	if every > math.MaxInt64/burst {
		return Limit{every: every, full: math.MaxInt64}
	}
	return Limit{every: every, full: every * burst}
}
