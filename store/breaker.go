package store

import (
	"math/rand/v2"
	"sync"
	"time"
)

// breaker keeps a store that does not answer from costing every handshake its budget. It opens after failuresInRow, or
// when more than half of a second's calls fail. While it is open nobody waits: one probe at a time, on a goroutine of its
// own, finds out whether the store is back.
type breaker struct {
	mu      sync.Mutex
	open    bool
	inRow   int
	window  time.Time // when the counting below began
	calls   int
	failed  int
	pause   time.Duration // before the next probe
	probeAt time.Time
	probing bool
}

const (
	failuresInRow = 5
	leastCalls    = 20
	breakerWindow = time.Second
	firstProbe    = 250 * time.Millisecond
	lastProbe     = 2 * time.Second
)

// pass reports whether a call may be made. When it may not, probe says that the caller should start one.
func (b *breaker) pass(now time.Time) (ok, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return true, false
	}
	if b.probing || now.Before(b.probeAt) {
		return false, false
	}
	b.probing = true
	return false, true
}

// note counts the outcome of a call, and reports whether the breaker has opened by it.
func (b *breaker) note(ok bool, now time.Time) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open {
		return false // of a call that began before
	}
	if now.Sub(b.window) >= breakerWindow {
		b.window, b.calls, b.failed = now, 0, 0
	}
	b.calls++
	if ok {
		b.inRow = 0
		return false
	}
	b.inRow++
	b.failed++
	if b.inRow < failuresInRow && (b.calls < leastCalls || 2*b.failed <= b.calls) {
		return false
	}
	b.open, b.pause = true, firstProbe
	b.setProbe(now)
	return true
}

// probed takes the outcome of a probe, and reports whether the breaker has closed by it.
func (b *breaker) probed(ok bool, now time.Time) (closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	if !ok {
		b.pause = min(2*b.pause, lastProbe)
		b.setProbe(now)
		return false
	}
	b.open, b.inRow = false, 0
	b.window, b.calls, b.failed = now, 0, 0
	return true
}

// setProbe adds jitter, so that nodes which lost the store together do not come back together.
func (b *breaker) setProbe(now time.Time) { b.probeAt = now.Add(b.pause + rand.N(b.pause/5)) }

func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}
