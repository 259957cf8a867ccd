package store

import (
	"context"
	"sort"
	"sync"
	"time"
)

// feedSize is how many events Memory keeps for those who follow late.
const feedSize = 1 << 16

// feed is a ring of the newest events, numbered from 1 without holes.
type feed struct {
	mu   sync.Mutex
	size uint64 // zero: nothing is kept
	ring []Event
	next uint64 // events so far
	last Cursor
	gone Cursor        // the newest event no longer kept
	wake chan struct{} // closed at the next event; nil when nobody waits
}

func (f *feed) revoked(o *Mark, v revocation, now time.Time, t int64) {
	f.append(Event{Kind: EventRevoke, Key: o.Key, Before: v.before, Until: wall(v.until, now, t), Why: o.Why}, now)
}

func (f *feed) banned(o *Mark, b ban, now time.Time, t int64) {
	f.append(Event{Kind: EventBan, Key: o.Key, Until: wall(b.until, now, t), Why: o.Why}, now)
}

func (f *feed) unbanned(o *Mark, now time.Time) {
	f.append(Event{Kind: EventUnban, Key: o.Key, Why: o.Why}, now)
}

// wall turns the store's clock back into wall time, for readers elsewhere.
func wall(end int64, now time.Time, t int64) time.Time {
	return now.Add(time.Duration(end - t)).Round(0)
}

func (f *feed) append(e Event, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.size == 0 {
		return
	}
	// The wall clock may be set back; the feed's never is.
	e.Cursor = Cursor{Milli: max(uint64(max(now.UnixMilli(), 0)), f.last.Milli), Seq: f.next + 1}
	if f.next < f.size {
		f.ring = append(f.ring, e)
	} else {
		at := &f.ring[f.next%f.size]
		f.gone = at.Cursor
		*at = e
	}
	f.next++
	f.last = e.Cursor
	if f.wake != nil {
		close(f.wake)
		f.wake = nil
	}
}

func (f *feed) tail() Cursor {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// follow calls apply without holding the lock: a slow reader delays nobody, and is told when the ring overtook it.
func (f *feed) follow(ctx context.Context, after Cursor, apply func(Event)) error {
	var batch [64]Event
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, wake, err := f.read(after, batch[:])
		if err != nil {
			return err
		}
		for _, e := range batch[:n] {
			if err := ctx.Err(); err != nil {
				return err
			}
			apply(e)
			after = e.Cursor
		}
		if n > 0 {
			continue
		}
		select {
		case <-wake:
		case <-ctx.Done():
		}
	}
}

// read copies the next events after a cursor, or returns what to wait for when there are none.
func (f *feed) read(after Cursor, into []Event) (n int, wake <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone.Compare(after) > 0 {
		return 0, nil, ErrGap
	}
	oldest := f.next - uint64(len(f.ring))
	skip := sort.Search(len(f.ring), func(i int) bool {
		return f.ring[(oldest+uint64(i))%f.size].Cursor.Compare(after) > 0
	})
	for at := oldest + uint64(skip); at < f.next && n < len(into); at++ {
		into[n] = f.ring[at%f.size]
		n++
	}
	if n == 0 {
		if f.wake == nil {
			f.wake = make(chan struct{})
		}
		wake = f.wake
	}
	return n, wake, nil
}
