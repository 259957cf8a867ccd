package wssecure

import (
	"container/list"
	"context"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// This file lets handshakes of one address wait for one another. Each takes a
// token of its address before anything is spent on it, and gives it back when it
// is admitted with an identity. When a whole office comes at once, the first 300
// hold all there is until the first of them is through: until then the others
// wait, and are not told to go away. Nobody is judged without a token of the
// address all the same, and nobody waits when nobody is left who could give one
// back: a flood that is never admitted gets no more of us by it.

const queueShards = 64

// queues are the addresses some of whose handshakes are being judged.
type queues struct {
	seed    maphash.Seed
	waiting atomic.Int64
	shard   [queueShards]queueShard
}

type queueShard struct {
	mu     sync.Mutex
	of     map[netip.Prefix]queue
	closed bool
}

// queue is one address. Whoever waits is not being judged, and somebody else is:
// it ends with the last who is.
type queue struct {
	judged   int
	returned int        // tokens that were given back
	waiting  *list.List // of *queued, nil until somebody does
}

// queued is one handshake's part in the queue of its address. All but of is
// under the lock of its shard while it waits.
type queued struct {
	of       netip.Prefix
	judged   bool
	returned int           // by the queue, when it last took from the budget
	entry    *list.Element // while it waits
	turn     chan struct{} // closed when it need not wait any longer
}

func newQueues() *queues { return &queues{seed: maphash.MakeSeed()} }

func (q *queues) at(of netip.Prefix) *queueShard {
	return &q.shard[maphash.Comparable(q.seed, of)%queueShards]
}

// enter counts a handshake among those of an address that are being judged.
func (q *queues) enter(h *queued, of netip.Prefix) {
	s := q.at(of)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[netip.Prefix]queue{}
	}
	line := s.of[of]
	line.judged++
	s.of[of] = line
	h.of, h.judged, h.returned = of, true, line.returned
}

// leave ends what enter began. When the handshake has given its token back, the
// first who waits is judged in its place; when nobody is judged any more, nobody
// has anything to wait for.
func (q *queues) leave(h *queued, gaveBack bool) {
	if !h.judged {
		return
	}
	h.judged = false
	s := q.at(h.of)
	s.mu.Lock()
	defer s.mu.Unlock()
	line := s.of[h.of]
	if gaveBack {
		line.returned++
		if next := line.first(); next != nil {
			next.judged, next.returned = true, line.returned
			q.release(line, next)
			s.of[h.of] = line
			return
		}
	}
	line.judged--
	if line.judged > 0 {
		s.of[h.of] = line
		return
	}
	q.releaseAll(line)
	delete(s.of, h.of)
}

// wait returns true when it is worth asking the budget again, since a token was
// given back. It is for who is being judged.
func (q *queues) wait(ctx context.Context, h *queued, until time.Time) bool {
	if !h.judged {
		return false // the clock costs a refusal more than this does
	}
	left := time.Until(until)
	if left <= 0 || ctx.Err() != nil {
		return false
	}
	waits, again := q.line(h)
	if !waits {
		return again
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-h.turn:
		return h.judged
	case <-timer.C:
	case <-ctx.Done():
	}
	s := q.at(h.of)
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.entry != nil {
		q.release(s.of[h.of], h)
	}
	return h.judged // its turn may have come at the last moment
}

// line puts h behind those who wait, unless a token was given back since it asked
// the budget, or there is nobody to wait for, or no room. Who has waited before,
// and has lost its token to somebody quicker, stays in front.
func (q *queues) line(h *queued) (waits, again bool) {
	s := q.at(h.of)
	s.mu.Lock()
	defer s.mu.Unlock()
	line := s.of[h.of]
	switch {
	case s.closed:
		return false, false
	case line.returned != h.returned:
		h.returned = line.returned
		return false, true
	case line.judged == 1 || line.waiting != nil && line.waiting.Len() >= mostWaitingPerAddress:
		return false, false
	case q.waiting.Add(1) > mostWaiting:
		q.waiting.Add(-1)
		return false, false
	}
	if line.waiting == nil {
		line.waiting = list.New()
	}
	if h.turn == nil {
		h.entry = line.waiting.PushBack(h)
	} else {
		h.entry = line.waiting.PushFront(h)
	}
	h.turn = make(chan struct{})
	h.judged = false
	line.judged--
	s.of[h.of] = line
	return true, false
}

func (l queue) first() *queued {
	if l.waiting == nil || l.waiting.Len() == 0 {
		return nil
	}
	return l.waiting.Front().Value.(*queued)
}

func (q *queues) release(line queue, h *queued) {
	line.waiting.Remove(h.entry)
	h.entry = nil
	q.waiting.Add(-1)
	close(h.turn)
}

func (q *queues) releaseAll(line queue) {
	for h := line.first(); h != nil; h = line.first() {
		q.release(line, h)
	}
}

// close lets nobody wait any longer.
func (q *queues) close() {
	for i := range q.shard {
		s := &q.shard[i]
		s.mu.Lock()
		s.closed = true
		for _, line := range s.of {
			q.releaseAll(line)
		}
		s.mu.Unlock()
	}
}
