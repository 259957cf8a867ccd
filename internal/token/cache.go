package token

import (
	"hash/maphash"
	"strings"
	"sync"
	"time"
)

const (
	shards       = 64
	shardEntries = 256     // times shards: 16,384 tokens
	shardBytes   = 1 << 20 // times shards: 64 MiB at the very most
	sampled      = 8       // entries looked at to find one to forget

	forgedEntries = 4096
	countEvery    = time.Minute
)

// A seen cache holds verified tokens with what was made of them. A hit is the whole text; the index is a hash of its
// end, which is signature: no two verified tokens share it, and a stranger's text with the same end just misses.
// Only tokens of the issuer get in, so strangers can neither fill it nor push anyone out.
type seen[T any] struct {
	seed  maphash.Seed
	shard [shards]shard[T]
}

const indexed = 64 // bytes at the end of a token

func (s *seen[T]) index(text string) uint64 {
	return maphash.String(s.seed, text[max(0, len(text)-indexed):])
}

type shard[T any] struct {
	mu    sync.RWMutex
	m     map[uint64]*entry[T]
	bytes int
	_     [24]byte // one shard to a cache line
}

type entry[T any] struct {
	text  string
	value T
	key   *key
	set   *keySet // of a token without kid: which key that means depends on the whole set
	ends  time.Time
}

// good reports whether the uncached token would be accepted too.
func (e *entry[T]) good(set *keySet, now time.Time) bool {
	return now.Before(e.ends) && !e.key.retired.Load() && (e.set == nil || e.set == set)
}

// weight estimates the memory of an entry: a decoded token takes some three times its text.
func (e *entry[T]) weight() int { return 512 + 4*len(e.text) }

func (s *seen[T]) get(text string, set *keySet, now time.Time) (value T, ok bool) {
	sum := s.index(text)
	h := &s.shard[sum%shards]
	h.mu.RLock()
	e := h.m[sum]
	h.mu.RUnlock()
	if e == nil || e.text != text || !e.good(set, now) {
		return value, false
	}
	return e.value, true
}

func (s *seen[T]) put(e *entry[T], set *keySet, now time.Time) {
	// The text is a piece of a request's header block, which must not stay with it.
	e.text = strings.Clone(e.text)
	sum := s.index(e.text)
	h := &s.shard[sum%shards]
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.m == nil {
		h.m = make(map[uint64]*entry[T])
	}
	h.forget(sum)
	for len(h.m) >= shardEntries || len(h.m) > 0 && h.bytes+e.weight() > shardBytes {
		h.forget(h.next(set, now))
	}
	h.m[sum] = e
	h.bytes += e.weight()
}

// drop forgets text.
func (s *seen[T]) drop(text string) {
	sum := s.index(text)
	h := &s.shard[sum%shards]
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.m[sum]; e != nil && e.text == text {
		h.forget(sum)
	}
}

func (h *shard[T]) forget(sum uint64) {
	if e := h.m[sum]; e != nil {
		h.bytes -= e.weight()
		delete(h.m, sum)
	}
}

// next returns a dead entry, or of a few the one that dies first. The map's order is random.
func (h *shard[T]) next(set *keySet, now time.Time) (victim uint64) {
	var first time.Time
	looked := 0
	for sum, e := range h.m {
		if !e.good(set, now) {
			return sum
		}
		if looked == 0 || e.ends.Before(first) {
			victim, first = sum, e.ends
		}
		if looked++; looked == sampled {
			break
		}
	}
	return victim
}

// forged remembers tokens whose signature does not verify, so that the same one costs neither a second check nor,
// within a minute, a second count. It holds nothing else: "key unknown" may be untrue a second later.
type forged struct {
	seeds [2]maphash.Seed
	mu    sync.Mutex
	set   *keySet // whose verdicts these are
	m     map[forgedID]*forgedToken
}

// A forgedID is a keyed hash of a whole token, of 128 bits: a good token must never be taken for a forged one.
type forgedID [2]uint64

type forgedToken struct {
	ends    time.Time // from then on the token is refused as expired
	counted time.Time
}

func (f *forged) id(text string) forgedID {
	return forgedID{maphash.String(f.seeds[0], text), maphash.String(f.seeds[1], text)}
}

// look reports whether text is known to be forged under set, and whether it was counted within the last minute; if
// not, it is now.
func (f *forged) look(text string, set *keySet, now time.Time) (known, again bool) {
	if f.empty() {
		return false, false
	}
	id := f.id(text)
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.m[id]
	if f.set != set || v == nil || !now.Before(v.ends) {
		return false, false
	}
	return true, v.count(now)
}

// empty reports whether there is nothing to look for, as mostly there is not.
func (f *forged) empty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.m) == 0
}

// add remembers text as forged under set and reports whether it was counted within the last minute.
func (f *forged) add(text string, set *keySet, ends, now time.Time) (again bool) {
	id := f.id(text)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.set != set {
		f.set, f.m = set, make(map[forgedID]*forgedToken)
	}
	if v := f.m[id]; v != nil {
		return v.count(now)
	}
	for len(f.m) >= forgedEntries {
		delete(f.m, earliest(f.m, func(t *forgedToken) time.Time { return t.counted }))
	}
	f.m[id] = &forgedToken{ends: ends, counted: now}
	return false
}

func (v *forgedToken) count(now time.Time) (again bool) {
	if now.Sub(v.counted) < countEvery {
		return true
	}
	v.counted = now
	return false
}

// earliest returns of a few entries the one whose time comes first: what a full table forgets.
func earliest[V any](m map[forgedID]V, at func(V) time.Time) (victim forgedID) {
	var first time.Time
	looked := 0
	for id, v := range m {
		if t := at(v); looked == 0 || t.Before(first) {
			victim, first = id, t
		}
		if looked++; looked == sampled {
			break
		}
	}
	return victim
}
