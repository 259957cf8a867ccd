package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wssecure/wssecure/internal/limit"
)

// Memory is the store of one process. Its memory is bounded, whatever clients send: rates live in 1,048,576 cells that
// forget the client nearest to a full bucket, handshake keys in a table of 100,000 that forgets the oldest, bans have
// 262,144 places to themselves and yield only to bans. Leases, revocation marks, logout ids and tickets share the
// places that are left; they are never forgotten, so when there is no room the answer is ErrFull.
//
// Nothing runs in the background: what has lapsed is not seen any more, and goes when something new comes.
type Memory struct {
	base     time.Time
	bounds   bounds
	rates    *limit.Cells
	replays  *limit.Seen
	shards   [shardCount]shard
	networks networks
	nodes    nodes
	feed     feed

	kept       atomic.Int64
	revoked    atomic.Int64 // keys with a mark, those of networks aside
	bytes      atomic.Int64
	lostBans   atomic.Uint64
	lastSweep  atomic.Int64
	beatsSwept atomic.Uint64
}

// bounds is how much a Memory holds.
type bounds struct {
	rates    int
	replays  int
	bans     int
	networks int
	kept     int // leases, marks, logout ids, tickets
	bytes    int // of ticket data in all
	feed     int // events kept for followers; negative: nobody follows
}

var defaultBounds = bounds{rates: 1 << 20, replays: 100_000, bans: 1 << 18, networks: 4096, kept: 1<<20 - 1<<18, bytes: 64 << 20, feed: feedSize}

const (
	shardCount = 64
	maxTicket  = 16 << 10 // bytes of data of one ticket
)

// NewMemory returns an empty store.
func NewMemory() *Memory { return newMemory(defaultBounds) }

func newMemory(b bounds) *Memory {
	m := &Memory{
		base:    time.Now(),
		bounds:  b,
		rates:   limit.NewCells(b.rates),
		replays: limit.NewSeen(b.replays),
		feed:    feed{size: uint64(max(b.feed, 0))},
	}
	for i := range m.shards {
		m.shards[i].secrets = make(map[sum]*secret)
	}
	return m
}

// Do implements Store. Memory waits for nobody and so ignores ctx: a lease is released under a context that has ended, too.
func (m *Memory) Do(_ context.Context, ops ...Op) error {
	now := m.rates.Now()
	var err error
	for _, op := range ops {
		switch o := op.(type) {
		case *Admit:
			m.admit(o, now)
		case *Release:
			m.release(o)
		case *Claim:
			m.claim(o, now)
		case *Put:
			m.put(o, now)
		case *Redeem:
			m.redeem(o, now)
		case *Mark:
			m.mark(o, time.Now()) // compares wall times
		case *Beat:
			m.beat(o, time.Now())
		default:
			err = ErrUnsupported
		}
	}
	return err
}

// Peek answers Admit, Claim and Redeem (as with Keep) as Do would now, and changes nothing. Other operations get ErrUnsupported.
func (m *Memory) Peek(ops ...Op) {
	now := m.rates.Now()
	for _, op := range ops {
		switch o := op.(type) {
		case *Admit:
			m.peekAdmit(o, now)
		case *Claim:
			m.peekClaim(o, now)
		case *Redeem:
			m.peekRedeem(o, now)
		default:
			op.fail(ErrUnsupported)
		}
	}
}

// Follow implements Store. The feed holds the last 65,536 events.
func (m *Memory) Follow(ctx context.Context, after Cursor, apply func(Event)) error {
	return m.feed.follow(ctx, after, apply)
}

// Evictions counts what was forgotten before its time for want of room: clients with a bucket not yet full, handshake
// keys and bans.
func (m *Memory) Evictions() uint64 {
	return m.rates.Evictions() + m.replays.Evictions() + m.lostBans.Load()
}

// at is the store's clock: nanoseconds since it was made, monotonic.
func (m *Memory) at(now time.Time) int64 { return int64(now.Sub(m.base)) }

// until turns a caller's wall time into the store's clock.
func (m *Memory) until(end, now time.Time) int64 { return later(m.at(now), end.Sub(now)) }

// later adds d to t; a century stands for everything longer, so that nothing overflows.
func later(t int64, d time.Duration) int64 {
	const century = 100 * 365 * 24 * time.Hour
	return t + int64(min(max(d, -century), century))
}

// hash is seeded: no client can choose keys that share a shard or a cell.
func (m *Memory) hash(k *Key) limit.Hash {
	switch k.Kind {
	case KeyIP, KeyNetwork:
		return m.rates.Join(m.rates.HashPrefix(k.Prefix), limit.Hash(k.Kind))
	}
	return m.rates.HashString(byte(k.Kind), k.ID)
}

func (m *Memory) shard(h limit.Hash) *shard { return &m.shards[h%shardCount] }

// shard holds the keys that carry more than a rate, and the single-use secrets.
type shard struct {
	mu      sync.Mutex
	chains  []*record // records by their hash, whose last bits have chosen the shard; a power of two of them, or none
	order   []*record // all records, for the sweep
	hand    int
	bans    []*record // those with a ban or its level
	banHand int

	secrets    map[sum]*secret
	secretsIn  []*secret
	secretHand int

	_ [64]byte // a neighbour's lock is on another cache line
}

// record is all that one key carries besides its rates. Exactly one step under the shard's lock judges it.
type record struct {
	key      Key
	hash     limit.Hash
	next     *record // of the same chain
	ban      ban
	mark     revocation
	leases   []lease
	place    int // in shard.order
	banPlace int // in shard.bans, or -1
}

const fewestChains = 8

func (s *shard) chain(h limit.Hash) **record {
	return &s.chains[uint64(h)/shardCount&uint64(len(s.chains)-1)]
}

// find gives what k carries, nil for nothing.
func (s *shard) find(h limit.Hash, k *Key) *record {
	if len(s.chains) == 0 {
		return nil
	}
	r := *s.chain(h)
	for r != nil && (r.hash != h || r.key != *k) {
		r = r.next
	}
	return r
}

func (s *shard) record(h limit.Hash, k *Key) *record {
	if r := s.find(h, k); r != nil {
		return r
	}
	if len(s.order) == len(s.chains) {
		s.lengthen()
	}
	at := s.chain(h)
	r := &record{key: *k, hash: h, next: *at, place: len(s.order), banPlace: -1}
	*at = r
	s.order = append(s.order, r)
	return r
}

func (s *shard) lengthen() {
	s.chains = make([]*record, max(fewestChains, 2*len(s.chains)))
	for _, r := range s.order {
		at := s.chain(r.hash)
		r.next, *at = *at, r
	}
}

// drop forgets a record that carries nothing any more.
func (s *shard) drop(r *record) {
	at := s.chain(r.hash)
	for *at != r {
		at = &(*at).next
	}
	*at = r.next
	s.order = remove(s.order, r.place, func(moved *record, at int) { moved.place = at })
}

// tidy drops what of r has lapsed, and r itself when nothing is left.
func (m *Memory) tidy(s *shard, r *record, t int64) {
	if r.banPlace >= 0 && r.ban.forget <= t {
		s.unban(r)
	}
	if r.mark.until != 0 && r.mark.until <= t {
		r.mark = revocation{}
		m.revoked.Add(-1)
		m.kept.Add(-1)
	}
	if len(r.leases) > 0 {
		m.prune(r, t)
	}
	if r.banPlace >= 0 || r.mark.until != 0 || len(r.leases) > 0 {
		return
	}
	s.drop(r)
}

// roll tidies a few entries for each one that comes, so the lapsed never pile up.
func (m *Memory) roll(s *shard, t int64, steps int) {
	for range min(steps, len(s.order)) {
		if s.hand >= len(s.order) {
			s.hand = 0
		}
		before := len(s.order)
		m.tidy(s, s.order[s.hand], t)
		if len(s.order) == before {
			s.hand++
		}
		if len(s.order) == 0 {
			break
		}
	}
	for range min(steps, len(s.secretsIn)) {
		if s.secretHand >= len(s.secretsIn) {
			s.secretHand = 0
		}
		if x := s.secretsIn[s.secretHand]; x.until <= t {
			m.forget(s, x)
		} else {
			s.secretHand++
		}
		if len(s.secretsIn) == 0 {
			break
		}
	}
}

// rollShard tidies one shard whole, the next one each time.
func (m *Memory) rollShard(t int64) {
	s := &m.shards[m.beatsSwept.Add(1)%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	m.roll(s, t, max(len(s.order), len(s.secretsIn)))
}

// sweep tidies everything, at most once a second, and reports whether it did. It is for a store that is full.
func (m *Memory) sweep(t int64) bool {
	last := m.lastSweep.Load()
	if last != 0 && t-last < int64(time.Second) || !m.lastSweep.CompareAndSwap(last, max(t, 1)) {
		return false
	}
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		m.roll(s, t, max(len(s.order), len(s.secretsIn)))
		s.mu.Unlock()
	}
	return true
}

// reserve takes one of the places that are never forgotten.
func (m *Memory) reserve() bool {
	if m.kept.Add(1) > int64(m.bounds.kept) {
		m.kept.Add(-1)
		return false
	}
	return true
}

// remove takes the element at i out of list by moving the last one there.
func remove[T any](list []T, i int, moved func(T, int)) []T {
	last := len(list) - 1
	if i != last {
		list[i] = list[last]
		moved(list[i], i)
	}
	var none T
	list[last] = none
	return list[:last]
}
