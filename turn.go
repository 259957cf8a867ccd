package wssecure

import "sync"

// turn is a lock whose wait can be given up. Mostly nobody else wants it, and
// then it costs half of what a channel in its place would. Its zero value is
// free.
type turn struct {
	mu    sync.Mutex
	taken bool
	ended chan struct{} // closed when the turn ends; nil while nobody waits
}

// take reports whether the turn is the caller's: false when one of the channels
// was closed first.
func (t *turn) take(either, or <-chan struct{}) bool {
	for {
		t.mu.Lock()
		if !t.taken {
			t.taken = true
			t.mu.Unlock()
			return true
		}
		if t.ended == nil {
			t.ended = make(chan struct{})
		}
		ended := t.ended
		t.mu.Unlock()
		select {
		case <-ended:
		case <-either:
			return false
		case <-or:
			return false
		}
	}
}

// end lets those who wait try again.
func (t *turn) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken = false
	if t.ended != nil {
		close(t.ended)
		t.ended = nil
	}
}
