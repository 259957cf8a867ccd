package limit

import (
	"hash/maphash"
	"sync"
	"time"
)

// Seen remembers values that may be used once, at most a fixed number of them; when it is full it forgets the oldest.
// Values are kept as 128 seeded bits, so that a value not seen before is never taken for one that was.
type Seen struct {
	base  time.Time
	seeds [2]maphash.Seed
	size  int

	mu      sync.Mutex
	n       int
	chains  []uint32   // the first slot of each; a power of two of them
	slots   []seenSlot // slot 0 is the ring's head: its newer is the oldest entry, its older the newest; it ends all chains
	free    uint32     // first free slot, linked by newer
	evicted uint64
}

// Digest stands for a value in Seen.
type Digest [2]uint64

type seenSlot struct {
	digest       Digest
	until        int64
	older, newer uint32
	next         uint32 // of its chain
}

const fewestChains = 8

// NewSeen returns a table for n values. Its memory grows with use up to about 55 bytes a value.
func NewSeen(n int) *Seen {
	return &Seen{
		base:   time.Now(),
		seeds:  [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		size:   max(n, 1),
		chains: make([]uint32, fewestChains),
		slots:  make([]seenSlot, 1),
	}
}

// Digest hashes a value.
func (s *Seen) Digest(value string) Digest {
	return Digest{maphash.String(s.seeds[0], value), maphash.String(s.seeds[1], value)}
}

// Add remembers d for ttl, and reports whether it was not remembered already.
func (s *Seen) Add(d Digest, ttl time.Duration, now time.Time) (first bool) {
	t := int64(now.Sub(s.base))
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.find(d); at != 0 {
		if s.slots[at].until > t {
			return false
		}
		s.drop(at)
	}
	// Two lapsed ones go for each that comes, so lapsed ones never pile up.
	for range 2 {
		if at := s.slots[0].newer; at != 0 && s.slots[at].until <= t {
			s.drop(at)
		}
	}
	if s.n == s.size {
		s.evicted++
		s.drop(s.slots[0].newer)
	}
	s.push(d, t+int64(min(max(ttl, 0), longest)))
	return true
}

// Has reports whether d is remembered.
func (s *Seen) Has(d Digest, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.find(d)
	return at != 0 && s.slots[at].until > int64(now.Sub(s.base))
}

// Withdraw forgets d.
func (s *Seen) Withdraw(d Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.find(d); at != 0 {
		s.drop(at)
	}
}

// Evictions counts the values that were forgotten before their time.
func (s *Seen) Evictions() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.evicted
}

// Len is the number of values remembered, those lapsed but not yet dropped included.
func (s *Seen) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *Seen) chain(d Digest) *uint32 { return &s.chains[d[0]&uint64(len(s.chains)-1)] }

// find gives the slot of d, 0 for none.
func (s *Seen) find(d Digest) uint32 {
	at := *s.chain(d)
	for at != 0 && s.slots[at].digest != d {
		at = s.slots[at].next
	}
	return at
}

func (s *Seen) push(d Digest, until int64) {
	at := s.free
	if at != 0 {
		s.free = s.slots[at].newer
	} else {
		at = uint32(len(s.slots))
		s.slots = append(s.slots, seenSlot{})
	}
	if s.n == len(s.chains) {
		s.lengthen()
	}
	newest, chain := s.slots[0].older, s.chain(d)
	s.slots[at] = seenSlot{digest: d, until: until, older: newest, next: *chain}
	s.slots[newest].newer = at
	s.slots[0].older = at
	*chain = at
	s.n++
}

// lengthen makes room for twice as many chains.
func (s *Seen) lengthen() {
	s.chains = make([]uint32, 2*len(s.chains))
	for at := s.slots[0].newer; at != 0; at = s.slots[at].newer {
		x := &s.slots[at]
		chain := s.chain(x.digest)
		x.next, *chain = *chain, at
	}
}

func (s *Seen) drop(at uint32) {
	x := &s.slots[at]
	chain := s.chain(x.digest)
	for *chain != at {
		chain = &s.slots[*chain].next
	}
	*chain = x.next
	s.slots[x.older].newer = x.newer
	s.slots[x.newer].older = x.older
	x.newer = s.free
	s.free = at
	s.n--
}
