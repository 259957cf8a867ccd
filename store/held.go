package store

import (
	"sync"
	"time"
)

// held are the leases of this node's own sessions. The shared store may lose them, and while it is away they are what
// this node's share of a cap is compared with.
type held struct {
	mu    sync.Mutex
	by    map[leaseName]*heldLease
	count map[Key]int
	order []*heldLease
	hand  int
}

type leaseName struct {
	key  Key
	conn uint64
}

type heldLease struct {
	leaseName
	epoch NodeID // under which the shared store was last told
	since time.Time
	until time.Time // as Hold says; nobody holds a lease longer
	sure  bool      // the shared store has said that it knows it
	place int
}

// mostHeld bounds the leases of one node.
const mostHeld = 1 << 20

// take enters a lease unless its key has most already; one that is held stays.
func (h *held) take(name leaseName, epoch NodeID, most int, hold time.Duration, sure bool, now time.Time) (ok, isNew bool, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.by[name]; l != nil {
		l.until = later2(l.until, now.Add(hold))
		l.epoch, l.sure = epoch, sure
		return true, false, h.count[name.key]
	}
	if h.count[name.key] >= most {
		return false, false, h.count[name.key]
	}
	if h.by == nil {
		h.by, h.count = make(map[leaseName]*heldLease), make(map[Key]int)
	}
	l := &heldLease{leaseName: name, epoch: epoch, since: now, until: now.Add(hold), sure: sure, place: len(h.order)}
	h.by[name] = l
	h.count[name.key]++
	h.order = append(h.order, l)
	return true, true, h.count[name.key]
}

func later2(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// drop forgets a lease, and returns the epoch under which it was taken, zero when it was not held.
func (h *held) drop(name leaseName) (epoch NodeID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.by[name]
	if l == nil {
		return 0
	}
	h.forget(l)
	return l.epoch
}

func (h *held) forget(l *heldLease) {
	delete(h.by, l.leaseName)
	if h.count[l.key]--; h.count[l.key] == 0 {
		delete(h.count, l.key)
	}
	h.order = remove(h.order, l.place, func(moved *heldLease, at int) { moved.place = at })
}

func (h *held) of(k Key) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count[k]
}

func (h *held) has(name leaseName) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.by[name] != nil
}

func (h *held) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.order)
}

// doubt makes all leases taken after then ones to assert again.
func (h *held) doubt(then time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.order {
		if l.since.After(then) {
			l.sure = false
		}
	}
}

// unsure returns up to n leases of which the shared store may not know.
func (h *held) unsure(n int, now time.Time) (some []heldLease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for at := 0; at < len(h.order) && len(some) < n; at++ {
		l := h.order[at]
		if l.sure {
			continue
		}
		if !l.until.After(now) {
			h.forget(l)
			at--
			continue
		}
		some = append(some, *l)
	}
	return some
}

// roll returns the next n leases in turn, and forgets those that have lapsed.
func (h *held) roll(n int, now time.Time) (some []heldLease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(some) < min(n, len(h.order)) {
		if h.hand >= len(h.order) {
			h.hand = 0
		}
		l := h.order[h.hand]
		if !l.until.After(now) {
			h.forget(l) // these do not count: a flood of them goes in one turn
			continue
		}
		some = append(some, *l)
		h.hand++
	}
	return some
}

// asserted notes that the shared store knows a lease under epoch, and reports whether it is still held.
func (h *held) asserted(name leaseName, epoch NodeID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.by[name]
	if l == nil {
		return false
	}
	l.epoch, l.sure = epoch, true
	return true
}
