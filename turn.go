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
	waiting atomic.Int32
	making  sync.Mutex
	freed   chan struct{} // holds a token where a turn has ended that somebody waits for
}

// take reports whether the turn is the caller's: false when ctx ended first, or the
// channel was closed.
func (t *turn) take(ctx context.Context, or <-chan struct{}) bool {
	for !t.taken.CompareAndSwap(false, true) {
		if !t.wait(ctx, or) {
			return false
		}
	}
	return true
}

// wait returns when it is worth trying again; false when it is not.
func (t *turn) wait(ctx context.Context, or <-chan struct{}) bool {
	freed := t.channel()
	t.waiting.Add(1)
	defer t.waiting.Add(-1)
	if !t.taken.Load() {
		return true // it ended before anybody could be told that we wait
	}
	select {
	case <-freed:
		return true
	case <-ctx.Done():
	case <-or:
	}
	return false
}

func (t *turn) channel() chan struct{} {
	t.making.Lock()
	defer t.making.Unlock()
	if t.freed == nil {
		t.freed = make(chan struct{}, 1)
	}
	return t.freed
}

// end lets one of those who wait try again, whoever it is: where thousands write to
// a slow peer, its every message would wake them all. Who finds the turn taken by
// somebody who has not waited waits for the end of that one.
func (t *turn) end() {
	t.taken.Store(false)
	if t.waiting.Load() == 0 {
		return
	}
	select {
	case t.channel() <- struct{}{}:
	default: // one is awake already, or about to be
	}
}
