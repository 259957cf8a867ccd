package store

import (
	"sync"
	"time"

	"github.com/wssecure/wssecure/internal/limit"
)

// refusals remembers what the shared store has just refused, so that a flood asks it once and not each time.
type refusals struct {
	mu   sync.Mutex
	kept map[limit.Hash]refusal
	next int64 // when to sweep again, at the earliest
}

type refusal struct {
	limit limit.Limit // of OverRate
	n     int
	end   int64 // as the store has said
	until int64 // when it is asked again
}

const (
	mostRefusals   = 1 << 16
	longestRefusal = time.Second
)

// add remembers a refusal. A full table forgets what is over, else it takes no more: the store is asked then.
func (r *refusals) add(h limit.Hash, x refusal, t int64) {
	x.until = min(x.end, t+int64(longestRefusal))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept == nil {
		r.kept = make(map[limit.Hash]refusal)
	}
	if len(r.kept) >= mostRefusals {
		if t < r.next {
			return
		}
		r.next = t + int64(longestRefusal)
		for h, x := range r.kept {
			if x.until <= t {
				delete(r.kept, h)
			}
		}
		if len(r.kept) >= mostRefusals {
			return
		}
	}
	r.kept[h] = x
}

// holds returns how long a refusal of the same question lasts. Whoever was refused n tokens gets no more of them.
func (r *refusals) holds(h limit.Hash, l limit.Limit, n int, t int64) (left time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x, ok := r.kept[h]
	if !ok || x.limit != l || x.n > n {
		return 0
	}
	if x.until <= t {
		return 0
	}
	return time.Duration(x.end - t)
}

// admitted is for tokens taken after a refusal: the store has said when the first of them would be there, so the next is
// not there before its time, either. This keeps a flood over several nodes from asking twice for each token.
func (r *refusals) admitted(h limit.Hash, l limit.Limit, n int, t int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x, ok := r.kept[h]
	if !ok || x.limit != l {
		return
	}
	x.end += int64(n) * int64(l.Interval())
	if x.end <= t {
		delete(r.kept, h)
		return
	}
	x.until = min(x.end, t+int64(longestRefusal))
	r.kept[h] = x
}

// forget is for tokens that were given back.
func (r *refusals) forget(h limit.Hash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.kept, h)
}

// forgetAll is for a ban that was lifted: of a network, it may be behind the refusal of any address.
func (r *refusals) forgetAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.kept)
}
