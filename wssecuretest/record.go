package wssecuretest

import (
	"sync"
	"time"

	"github.com/wssecure/wssecure"
)

// A record keeps the guard's events.
type record struct {
	mu     sync.Mutex
	list   []wssecure.Event
	taken  map[wssecure.EventKind]int // how many events of the list wait has looked at, for each kind
	signal chan struct{}              // closed when the next event comes
}

func (r *record) add(e wssecure.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, e)
	if r.signal != nil {
		close(r.signal)
		r.signal = nil
	}
}

func (r *record) all() []wssecure.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]wssecure.Event(nil), r.list...)
}

func (r *record) kinds() []wssecure.EventKind {
	var kinds []wssecure.EventKind
	for _, e := range r.all() {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func (r *record) wait(kind wssecure.EventKind, d time.Duration) (wssecure.Event, bool) {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	for {
		e, ok, signal := r.next(kind)
		if ok {
			return e, true
		}
		select {
		case <-signal:
		case <-deadline.C:
			return wssecure.Event{}, false
		}
	}
}

func (r *record) next(kind wssecure.EventKind) (wssecure.Event, bool, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken == nil {
		r.taken = map[wssecure.EventKind]int{}
	}
	for i := r.taken[kind]; i < len(r.list); i++ {
		r.taken[kind] = i + 1
		if r.list[i].Kind == kind {
			return r.list[i], true, nil
		}
	}
	if r.signal == nil {
		r.signal = make(chan struct{})
	}
	return wssecure.Event{}, false, r.signal
}
