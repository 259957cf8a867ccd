// Package limit keeps bounded tables: Cells counts rates in a fixed number of cells, Seen remembers a fixed number of
// single-use values. Whatever a client sends, neither grows beyond its size, and both say so when they had to forget.
package limit

import (
	"errors"
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
	_, err := r.Limit()
	return err
}

// Limit prepares r, or tells what is wrong with it.
func (r Rate) Limit() (Limit, error) {
	if r.N <= 0 || r.Per <= 0 {
		return closed, errRate
	}
	if r.Burst < 0 {
		return closed, errBurst
	}
	every := int64(r.Per) / int64(r.N)
	if every*int64(r.N) != int64(r.Per) {
		every++
	}
	burst := int64(r.Burst)
	if burst == 0 {
		burst = int64(r.N)
	}
	if every > int64(longest)/burst {
		return closed, errLong
	}
	return Limit{every: every, full: every * burst}, nil
}

// Limit is a Rate made ready: GCRA in whole nanoseconds.
type Limit struct {
	every int64 // emission interval: one token's time, rounded up, so that never more than N are admitted per Per
	full  int64 // the time an empty bucket takes to fill: burst × every
}

// Interval is the time in which one token comes back.
func (l Limit) Interval() time.Duration { return time.Duration(l.every) }

// closed is one token in five years: what an invalid rate becomes, shut and free of overflow.
var closed = Limit{every: int64(longest), full: int64(longest)}

// NewLimit prepares r. A rate that is not Valid makes a limit of one token in five years.
func NewLimit(r Rate) Limit {
	l, _ := r.Limit()
	return l
}

// cost is the time that n tokens stand for; beyond reports that even a full bucket does not hold n.
func (l Limit) cost(n int) (d int64, beyond bool) {
	if int64(n) > l.full/l.every {
		return l.full, true
	}
	return int64(n) * l.every, false
}
