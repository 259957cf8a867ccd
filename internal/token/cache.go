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

// A seen cache holds verified tokens with what was made of them. The index is a keyed hash; a hit is the whole text.
// Only tokens of the issuer get in, so strangers can neither fill it nor push anyone out.
type seen[T any] struct {
	shard [shards]shard[T]
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

func (s *seen[T]) get(sum uint64, text string, set *keySet, now time.Time) (value T, ok bool) {
	h := &s.shard[sum%shards]
	h.mu.RLock()
	e := h.m[sum]
	h.mu.RUnlock()
	if e == nil || e.text != text || !e.good(set, now) {
		return value, false
	}
	return e.value, true
}

func (s *seen[T]) put(sum uint64, e *entry[T], set *keySet, now time.Time) {
	// The text is a piece of a request's header block, which must not stay with it.
	e.text = strings.Clone(e.text)
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
	seed maphash.Seed // a second one: 64 bits may collide by chance, 128 do not
	mu   sync.Mutex
	set  *keySet // whose verdicts these are
	m    map[uint64]*verdictForged
}

type verdictForged struct {
	check   uint64
	ends    time.Time // from then on the token is refused as expired
	counted time.Time
}

// look reports whether text is known to be forged under set, and whether it was counted within the last minute; if
// not, it is now.
func (f *forged) look(sum uint64, text string, set *keySet, now time.Time) (known, again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.set != set {
		return false, false
	}
	v := f.m[sum]
	if v == nil || v.check != maphash.String(f.seed, text) || !now.Before(v.ends) {
		return false, false
	}
	return true, v.count(now)
}

// add remembers text as forged under set and reports whether somebody else has counted it within the last minute.
func (f *forged) add(sum uint64, text string, set *keySet, ends, now time.Time) (again bool) {
	check := maphash.String(f.seed, text)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.set != set {
		f.set, f.m = set, make(map[uint64]*verdictForged)
	}
	if v := f.m[sum]; v != nil && v.check == check {
		v.ends = ends
		return v.count(now)
	}
	for len(f.m) >= forgedEntries {
		delete(f.m, f.oldest())
	}
	f.m[sum] = &verdictForged{check: check, ends: ends, counted: now}
	return false
}

func (v *verdictForged) count(now time.Time) (again bool) {
	if now.Sub(v.counted) < countEvery {
		return true
	}
	v.counted = now
	return false
}

// oldest returns of a few entries the one counted longest ago.
func (f *forged) oldest() (victim uint64) {
	var first time.Time
	looked := 0
	for sum, v := range f.m {
		if looked == 0 || v.counted.Before(first) {
			victim, first = sum, v.counted
		}
		if looked++; looked == sampled {
			break
		}
	}
	return victim
}
