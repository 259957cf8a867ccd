package wssecure

import (
	"context"
	"sync"
	"sync/atomic"
)

// turn is a lock whose wait can be given up. Mostly nobody else wants it, and
// then it costs one atomic step each way, a quarter of a channel in its place.
// Its zero value is free.
type turn struct {
	taken   atomic.Bool
	wanted  atomic.Bool // somebody waits, or is about to
	waiting sync.Mutex
	ended   chan struct{} // closed when a turn ends that somebody waits for
}

// take reports whether the turn is the caller's: false when ctx ended first, or the
// channel was closed.
func (t *turn) take(ctx context.Context, or <-chan struct{}) bool {
	for !t.taken.CompareAndSwap(false, true) {
		ended := t.wait()
		if t.taken.CompareAndSwap(false, true) {
			return true // it ended before anybody could be told that we wait
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return false
		case <-or:
			return false
		}
	}
	return true
}

func (t *turn) wait() <-chan struct{} {
	t.waiting.Lock()
	defer t.waiting.Unlock()
	if t.ended == nil {
		t.ended = make(chan struct{})
	}
	t.wanted.Store(true)
	return t.ended
}

// end lets those who wait try again.
func (t *turn) end() {
	t.taken.Store(false)
	if !t.wanted.Load() {
		return
	}
	t.waiting.Lock()
	defer t.waiting.Unlock()
	t.wanted.Store(false)
	if t.ended != nil {
		close(t.ended)
		t.ended = nil
	}
}
